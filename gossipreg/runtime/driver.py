"""Driver: runs one engine on trio. It hands in what is readable, fires timers, and performs the outputs.

The socket is drained before any timer fires, so that an ack that has arrived always counts. The engine is told how
late a timer fired, so that a node that was itself stopped suspects no member for it (design §4.2, "own lag").
"""

from __future__ import annotations

import logging
import socket
import time
from collections import Counter
from collections.abc import Callable, Sequence

import attrs
import trio

from gossipreg import limits
from gossipreg.errors import GossipregError, NameConflict
from gossipreg.model import Address, Status
from gossipreg.protocol.engine import Engine
from gossipreg.protocol.outputs import (
    CellChanged,
    ClockChanged,
    ClockRefused,
    CloseStream,
    InstancesChanged,
    IsolationChanged,
    JoinEnded,
    KeepStream,
    MemberChanged,
    MemberExpelled,
    MessageFailed,
    NameConflicted,
    NameConflictFound,
    ObservationsEnded,
    ObservationsRequested,
    OpenStream,
    Output,
    PathChanged,
    PoliciesChanged,
    PolicyFromFuture,
    RemoteMembersChanged,
    SeekSeeds,
    SendFrame,
    StatementRefused,
    TermsChanged,
    Transmit,
)
from gossipreg.protocol.registry.key_statements import is_about_keys
from gossipreg.protocol.registry.view import first_index
from gossipreg.protocol.wire.keyring import GossipKeyring
from gossipreg.runtime.change_log import ChangeLog
from gossipreg.runtime.datagrams import Datagrams
from gossipreg.runtime.diagnostics import ClockReporter, LogLimiter, PrimaryConflicts, clock_detail, log_path
from gossipreg.runtime.joining import JoinFailureReason, JoinReport, Seeds
from gossipreg.runtime.observer_reports import ObserverReports
from gossipreg.runtime.streams import Streams
from gossipreg.runtime.supervision import log_bug, log_contained, run_contained, run_restarting

log = logging.getLogger(__name__)

#: Batches of packets that are handed in before due timers fire: some 30 ms of a flood.
_BATCHES_MAX = 16

#: Outputs that report what happened; the others are actions to perform.
News = (
    MemberChanged
    | PathChanged
    | ClockChanged
    | ClockRefused
    | PolicyFromFuture
    | StatementRefused
    | MessageFailed
    | MemberExpelled
    | InstancesChanged
    | PoliciesChanged
    | TermsChanged
    | IsolationChanged
    | CellChanged
    | RemoteMembersChanged
    | NameConflicted
    | NameConflictFound
)


#: Least time between two lines about nodes that claim our name (seconds): a peer can cause any number of them.
_REPEAT_SECONDS = 60.0


@attrs.define(eq=False, repr=False)
class Driver:
    """One engine, its sockets, and the loop that keeps them going."""

    engine: Engine
    datagrams: Datagrams
    seeds: Seeds
    change_log: ChangeLog
    cluster: str
    keyring: GossipKeyring | None = attrs.field(repr=False)
    nursery: trio.Nursery
    on_failure: Callable[[GossipregError], None] | None = None
    streams: Streams = attrs.field(init=False)
    join_report: JoinReport = attrs.field(init=False)
    observer_reports: ObserverReports = attrs.field(init=False)
    clock_reporter: ClockReporter = attrs.field(factory=ClockReporter)
    refused_sources: Counter[str] = attrs.field(factory=Counter)  # what identity has refused, by the host it came from
    _primary_conflicts: PrimaryConflicts = attrs.field(init=False)
    _log_limiter: LogLimiter = attrs.field(factory=lambda: LogLimiter(_REPEAT_SECONDS, 1))
    _sleep: trio.CancelScope = attrs.field(factory=trio.CancelScope)

    def __attrs_post_init__(self) -> None:
        self.join_report = JoinReport(self.cluster, self.seeds, trio.current_time())
        self.observer_reports = ObserverReports(self.engine, self.say)
        self.streams = Streams(
            self.cluster,
            self.keyring,
            self.engine.settings.stream_patience,
            self.engine.counters,
            self.frame,
            self.ended,
            self.nursery,
            self.join_report,
            self.datagrams.errors,
            self.datagrams.codec.vouch,
        )
        self._primary_conflicts = PrimaryConflicts(self.engine.view)
        self._tell_time()

    def _tell_time(self) -> None:
        """Tell the engine both clocks: the wall clock may be set, the steady one stops while the host is suspended."""
        self.engine.set_wall_clock(time.time() * 1000, trio.current_time())

    async def serve(self, listener: socket.socket) -> None:
        """Accept streams until cancelled."""
        await self.streams.serve(listener)

    def disown(self) -> None:
        """Close this process's copies of all sockets, in a fork of the process that owns them; no peer notices."""
        self.datagrams.disown()
        self.streams.disown()

    async def run(self) -> None:
        """Run until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._keep_time)
            if self.seeds:
                nursery.start_soon(run_restarting, self.engine.counters, "the join report", self.join_report.run)
            while True:
                await self.datagrams.wait()
                await self._turn()
                self._sleep.deadline = self.engine.deadline()

    async def _keep_time(self) -> None:
        """Fire the engine's timers when they are due.

        A task of its own: otherwise each packet would set up the wait for the next timer anew, and each timer the wait
        for the next packet. That is a noticeable part of the cost of an idle node.
        """
        while True:
            with trio.CancelScope(deadline=self.engine.deadline()) as self._sleep:
                await trio.sleep_forever()
            await self._turn()

    async def _turn(self) -> None:
        """Hand in what can be read, then fire due timers.

        Other tasks run between two batches, timers do not: an ack that has arrived counts, however much junk came
        before it. A flood that never ends is read up to a bound, so that timers fire all the same.
        """
        due = self._sleep.deadline  # of the next timer, or now: the engine must know how late it is
        self._tell_time()
        for _ in range(_BATCHES_MAX):
            for payload, source in self.datagrams.receive():
                self.perform(self.engine.receive(payload, source, trio.current_time()))
            if self.datagrams.is_drained:
                break
            await trio.lowlevel.checkpoint()
        now = trio.current_time()
        if self.engine.wants_timeout(now):
            self.perform(self.engine.handle_timeout(now, late=max(0.0, now - due)))

    def frame(self, stream: int, frame: bytes, source: Address) -> None:
        """Handle a frame that came in on a stream."""
        self.perform(self.engine.stream_frame(stream, frame, source, trio.current_time()))
        self._settle_up()

    def ended(self, stream: int, refused: bool) -> None:
        """Handle the end of a stream."""
        self.perform(self.engine.stream_ended(stream, trio.current_time(), refused=refused))
        self._settle_up()

    def say(self, outputs: Sequence[Output]) -> None:
        """Perform what a call of the engine by the user's code returned."""
        self.perform(outputs)
        self._settle_up()

    def _settle_up(self) -> None:
        """Sleep no longer than until the next timer, after a call from outside the loop: one may be due sooner now."""
        now = trio.current_time()
        due = now if self.engine.wants_timeout(now) else self.engine.deadline()
        self._sleep.deadline = min(self._sleep.deadline, due)

    def perform(self, outputs: Sequence[Output]) -> None:
        """Perform the outputs in order."""
        for output in outputs:
            match output:
                case Transmit():
                    self._transmit(output)
                case OpenStream():
                    self.streams.open(output)
                case KeepStream():
                    self.streams.keep(output.stream)
                case SendFrame():
                    self.streams.send(output.stream, output.frame)
                case CloseStream():
                    self.streams.close(output.stream)
                case SeekSeeds():
                    self.nursery.start_soon(run_contained, self.engine.counters, "the look for seeds", self._seek)
                case JoinEnded():
                    self.join_report.attempt_ended(output.peer, compared=output.compared)
                case ObservationsRequested():
                    self.observer_reports.tell(output.stream)
                case ObservationsEnded():
                    self.observer_reports.ended(output.report)
                case _:
                    try:
                        self._tell(output)
                    except Exception as error:  # noqa: BLE001 - it is logged
                        log_bug(self.engine.counters, "reporting a change", error)

    def _tell(self, news: News) -> None:
        """Report what happened."""
        match news:
            case MemberChanged() | RemoteMembersChanged():
                self._tell_of_members(news)
            case PathChanged() | CellChanged():
                _log_reach(news)
            case InstancesChanged():
                self.change_log.write(("service", name) for name in news.services)
                self._primary_conflicts.warn(news.services)
            case PoliciesChanged():
                self.change_log.write(("policy", key) for key in news.keys)
                if any(map(is_about_keys, news.keys)):
                    self.change_log.write([("keys", "")])
            case TermsChanged():
                self.change_log.write(("term", service) for service in news.services)
            case IsolationChanged():
                self._tell_of_isolation(news)
            case NameConflictFound() | NameConflicted():
                self._tell_of_conflict(news)
            case ClockRefused(joining=True):
                self.join_report.failed(news.peer, JoinFailureReason.CLOCK, clock_detail(news.skew))
            case MessageFailed(what, source, error):
                log_contained(self.engine.counters, f"{what} of {source}", error)
            case StatementRefused() | MemberExpelled():
                self._tell_of_identity(news)
            case _:
                self.clock_reporter.tell(news, trio.current_time())

    def _transmit(self, packet: Transmit) -> None:
        if not self.datagrams.send(packet.data, packet.to):
            self.perform(self.engine.unsent(packet.to, trio.current_time()))

    async def _seek(self) -> None:
        addresses = await self.seeds.resolve(ipv6=":" in self.engine.identity.address.host)
        self.join_report.resolved()
        self.say(self.engine.seeds(addresses, trio.current_time()))

    def _tell_of_members(self, change: MemberChanged | RemoteMembersChanged) -> None:
        if isinstance(change, RemoteMembersChanged):  # the log tells of other cells as wholes
            self.change_log.write(("member", name) for name in change.names)
            return
        known = change.after or change.before
        assert known is not None, "a change is of something"
        if known.name == self.engine.identity.name:  # it may have a later generation
            self.change_log.raise_to(first_index(known.generation))
        self.change_log.write([("member", known.name)])
        if known.name == self.engine.identity.name:
            self.join_report.joined.set()  # before it has joined a node does not report on itself
        if change.after is None:
            log.info("member %s is forgotten", known.name)
        elif change.before is None or change.before.status is not known.status:
            level = logging.WARNING if known.status in (Status.SUSPECT, Status.FAILED) else logging.INFO
            log.log(level, "member %s at %s is %s", known.name, known.address, known.status)

    def _tell_of_isolation(self, change: IsolationChanged) -> None:
        self.change_log.write([("node", self.engine.identity.name)])
        if not self.join_report.joined.is_set():
            return  # the join report says why
        if change.isolated:
            log.warning("isolated: no member was heard for %.1f s; answers of this node may be stale", change.silence)
        else:
            log.info("no longer isolated: a member is heard again, after %.1f s", change.silence)

    def _tell_of_conflict(self, news: NameConflictFound | NameConflicted) -> None:
        if isinstance(news, NameConflictFound):
            self._name_conflict_found(news)
        else:
            self._conflicted(news)

    def _tell_of_identity(self, news: StatementRefused | MemberExpelled) -> None:
        if isinstance(news, StatementRefused):
            self._tell_of_refusal(news)
        else:
            member = news.member
            log.warning("%s at %s is expelled: its certificate was revoked or has ended", member.name, member.address)

    def _tell_of_refusal(self, refused: StatementRefused) -> None:
        host = refused.source.host
        is_listed = host in self.refused_sources or len(self.refused_sources) < limits.REFUSED_SOURCES_MAX
        self.refused_sources[host if is_listed else "other"] += 1
        sender = "an unknown node" if refused.sender is None else refused.sender
        if self._log_limiter.admit(("statement", refused.source.host), trio.current_time()):
            log.warning("%s at %s sent what is refused: %s: %s", sender, refused.source, refused.what, refused.why)

    def _name_conflict_found(self, conflict: NameConflictFound) -> None:
        name = self.engine.identity.name
        if conflict.yielding:
            assert self.on_failure is not None, "the owner of a driver sets on_failure"
            self.on_failure(
                NameConflict(
                    f"the name {name!r} is held by the member at {conflict.other}, which is older: "
                    "stop that one, or give this node another --name"
                )
            )
        elif self._log_limiter.admit("contest", trio.current_time()):
            log.warning("another node at %s claims our name %r; it is told to stop", conflict.other, name)

    def _conflicted(self, conflict: NameConflicted) -> None:
        name = self.engine.identity.name
        if conflict.other is None:
            log.warning("the name %r is ours again: the other node that had it is gone", name)
        else:
            log.error(
                "the name %r is held by the member at %s, which is older; this node goes on, but the others do not see "
                "what it offers: stop one of the two, or give this one another --name",
                name,
                conflict.other,
            )


def _log_reach(change: PathChanged | CellChanged) -> None:
    if isinstance(change, PathChanged):
        log_path(change)
    elif change.reachable:
        log.info("the cell %s is heard again", change.cell)
    elif change.age is None:
        log.warning("nothing was heard of the cell %s yet: none of its members answers", change.cell)
    else:
        log.warning(
            "nothing was heard of the cell %s for %.0f s: what it has registered is stale", change.cell, change.age
        )
