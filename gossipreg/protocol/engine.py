"""The engine: the whole protocol of one node as a state machine without I/O (sans-I/O).

Theory of operation. The engine connects the parts. The prober's findings become membership updates, peers' messages
are merged into the cluster state, and whatever was new is queued for broadcast. Every verb takes ``now`` (seconds on
any steady clock) and returns its outputs, so no output can be missed. The driver passes in every packet that is
readable, then calls `handle_timeout`, then sleeps until `deadline` or the next packet; one sleep serves every timer.

    receive, stream_frame, stream_ended      input from peers
    unsent                                   what this host's kernel refuses to send
    register, deregister                     requests of the user
    drain, undrain, leave, forget
    set_policy, remove_policy, reset_term, recall
    seeds                                    addresses at which to look for others
    handle_timeout                           run the timers that are due
    set_wall_clock                           what the wall clock shows
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from random import Random

import attrs

from gossipreg import limits
from gossipreg.config import Settings
from gossipreg.counters import Count
from gossipreg.errors import (
    InvalidInstance,
    InvalidPolicy,
    MemberPresent,
    NodeClosed,
    NotJoined,
    RecordTooLarge,
    UnknownInstance,
    UnknownMember,
    UnknownPolicy,
    UnknownTerm,
)
from gossipreg.model import Address, Instance, Status
from gossipreg.policy import Rule
from gossipreg.protocol.anti_entropy.reconcile import Compare, End, KeepOpen
from gossipreg.protocol.clock_watch import ClockWatch
from gossipreg.protocol.engine_settings import EngineSettings, engine_settings
from gossipreg.protocol.joining import Joining
from gossipreg.protocol.lifelines import Lifelines
from gossipreg.protocol.local_member import LocalMember
from gossipreg.protocol.membership.detector import Detector
from gossipreg.protocol.membership.identity import Identity, NameConflictQuery
from gossipreg.protocol.membership.member_update import MemberUpdate
from gossipreg.protocol.membership.members import Members
from gossipreg.protocol.membership.paths import PathChange, PathMonitor
from gossipreg.protocol.membership.peer_clocks import WallClock
from gossipreg.protocol.membership.probe import Ack, Nack, Ping, PingReq
from gossipreg.protocol.membership_handler import MembershipHandler
from gossipreg.protocol.message_context import MessageContext
from gossipreg.protocol.outbox import Outbox
from gossipreg.protocol.outputs import (
    InstancesChanged,
    IsolationChanged,
    MemberChanged,
    Output,
    PathChanged,
    PoliciesChanged,
    TermsChanged,
    Transmit,
)
from gossipreg.protocol.peer_streams import PeerStreams
from gossipreg.protocol.record_handler import RecordHandler
from gossipreg.protocol.registry.clock import Clock
from gossipreg.protocol.registry.payload import pack_instance
from gossipreg.protocol.registry.policies import PolicyVersion, pack_rule
from gossipreg.protocol.registry.records import Announcement, Record, TableDigest
from gossipreg.protocol.registry.registry import Change, Registry
from gossipreg.protocol.registry.terms import TermRegister
from gossipreg.protocol.registry.view import View, first_index
from gossipreg.protocol.state import ClusterState
from gossipreg.protocol.stream_sessions import Purpose, StreamSession, StreamSessions, answers, corrections
from gossipreg.protocol.wire.messages import SENDER_BYTES, Junk, Message, pack, pack_padded
from gossipreg.protocol.wire.reader import Reader

#: Time between sweeps that delete expired state (seconds). State is kept for minutes to a day.
_SWEEP_SECONDS = 5.0

#: How long sweeps, and tries of seeds that are not urgent, wait for another reason to wake this node (seconds). It is
#: woken by its probes every second, and each wake-up costs an idle node a quarter of its CPU.
_MAINTENANCE_WAIT = 5.0


#: Owners of one id that an error names.
_OWNERS_NAMED = 3


@attrs.define(eq=False, repr=False)
class Engine:
    """One node's protocol. Not safe for threads, except that `state.view` may be read from any."""

    settings: EngineSettings
    rng: Random
    identity: Identity
    state: ClusterState
    detector: Detector
    local_member: LocalMember
    membership_handler: MembershipHandler
    lifelines: Lifelines
    record_handler: RecordHandler
    streams: PeerStreams
    sessions: StreamSessions
    outbox: Outbox
    reader: Reader
    counters: Counter[str]
    joining: Joining
    clocks: ClockWatch
    _sweep_at: float
    _deadline: float | None = None  # the deadline, until a verb may have moved it
    isolated: bool = False  # as `is_isolated` was at the last timeout or packet, and as the driver was told

    @classmethod
    def create(
        cls,
        *,
        name: str,
        generation: int,
        address: Address,
        zone: str,
        settings: Settings,
        rng: Random,
        has_seeds: bool,
        packet_room: int,
        now: float,
        counters: Counter[str] | None = None,
        reader: Reader | None = None,
        index: int = 0,
        checks_clocks: bool = False,
    ) -> Engine:
        """Create the engine of a node booted in the millisecond ``generation``. It is alone until it learns of others.

        ``packet_room`` is the size of a datagram's payload before it is encoded (bytes). Engines of one thread may
        share a reader. ``checks_clocks``: see `ClockWatch.keeps_out`. ``index`` is below every index that the view
        gives, if an earlier run is known to have gone so far.
        """
        counters = Counter() if counters is None else counters
        settings = engine_settings(settings)
        identity = Identity(settings, name, generation, address, zone)
        members = Members(settings, rng, name)
        detector = Detector.create(settings, members, rng, now)
        state = ClusterState(
            settings,
            members,
            Registry(name),
            View(max(first_index(generation), index)),
            counters,
            Clock.started(name, generation, now),
        )
        outbox = Outbox(settings, state, packet_room)
        streams = PeerStreams(settings, rng, state, outbox)
        local_member = LocalMember(identity, state, detector, streams, outbox)
        membership_handler = MembershipHandler(identity, state, detector, streams, outbox)
        local_member.begin(now, alone=not has_seeds)
        return cls(
            settings=settings,
            rng=rng,
            identity=identity,
            state=state,
            detector=detector,
            local_member=local_member,
            membership_handler=membership_handler,
            lifelines=Lifelines(settings, name, members, streams, membership_handler, now),
            record_handler=RecordHandler(local_member, state, streams),
            streams=streams,
            sessions=streams.sessions,
            outbox=outbox,
            reader=Reader() if reader is None else reader,
            counters=counters,
            joining=Joining(
                settings,
                rng,
                identity,
                members,
                local_member,
                streams,
                outbox,
                has_seeds=has_seeds,
                deadline=now if has_seeds else now + settings.reconnect_interval,
                wait=settings.join_retry,
            ),
            sweep_at=now + _SWEEP_SECONDS,
            clocks=ClockWatch(state, outbox, checks_clocks),
        )

    # Reading

    @property
    def members(self) -> Members:
        """The membership list."""
        return self.state.members

    @property
    def paths(self) -> PathMonitor:
        """What passes on the path to each member: packets, streams, up to which size."""
        return self.outbox.paths

    @property
    def view(self) -> View:
        """The view that lookups read."""
        return self.state.view

    @property
    def fingerprint(self) -> int:
        """64 bits that identify the converged state."""
        return self.state.fingerprint.total

    @property
    def local_health(self) -> int:
        """The local health score; 0 is healthy."""
        return self.detector.health.score

    def is_isolated(self, now: float) -> bool:
        """Whether this node hears no member although there should be one.

        True from 4 probe intervals after the last packet or frame of a member, false again with the next one.
        """
        return self._misses_members and self.detector.is_isolated(now)

    def silence(self, now: float) -> float:
        """How long no member has been heard (seconds); 0 where there is none to hear."""
        return self.detector.reachability.silence(now) if self._misses_members else 0.0

    @property
    def _misses_members(self) -> bool:
        return bool(self.members.present) or self.members.has_failed or not self.identity.announced

    def clock_skew(self, now: float) -> float | None:
        """How far this node's wall clock is ahead of its peers' (seconds; below 0: behind); None when not known."""
        return self.clocks.skew(now)

    def deadline(self) -> float:
        """When `handle_timeout` must be called next, if nothing happens before (seconds)."""
        if self._deadline is None:
            self._deadline = self.state.broadcasts.deadline if self.identity.left else self._next_deadline()
        return self._deadline

    def _next_deadline(self) -> float:
        urgent = min(
            self.detector.deadline,
            self.state.broadcasts.deadline,
            self.local_member.deadline,
            self.lifelines.deadline,
            self.paths.deadline,
            self.joining.deadline if self.joining.is_urgent else math.inf,
        )
        return min(urgent, min(self.joining.deadline, self._sweep_at) + _MAINTENANCE_WAIT)

    def wants_timeout(self, now: float) -> bool:
        """Whether `handle_timeout` has anything to do at ``now``."""
        return self.outbox.is_waiting or self.state.registry.is_dirty or self.deadline() <= now

    def _done(self) -> list[Output]:
        """The outputs of the verb that ends here."""
        self._deadline = None
        changes = self.paths.changed()
        if changes:
            self._tell_of_paths(changes)
        services = self.state.terms.take_changed()
        if services:
            self.outbox.put(TermsChanged(services))
        return self.outbox.take()

    def _tell_of_paths(self, changes: list[PathChange]) -> None:
        self.outbox.fit_paths()
        for change in changes:
            member = self.members.by_run_id(change.run_id)
            if member is not None:
                self.outbox.put(PathChanged(member.name, change.passes, change.size, change.hears))

    # Requests of the user

    def register(self, instance: Instance, now: float, payload: bytes | None = None) -> list[Output]:
        """Register ``instance``, or replace its id's. Raises `InvalidInstance`, `RecordTooLarge`, `NodeClosed`.

        ``payload``: the instance as `pack_instance` packs it, from a caller that has checked and packed it already.
        """
        if payload is None:
            instance.check()
            payload = pack_instance(instance)
        self.check_registration(instance, len(payload))
        record, change = self.state.registry.offer(instance, self.identity.generation, payload)
        self._publish_own(record, change, now)
        self._refresh()
        return self._done()

    def check_registration(self, instance: Instance, size: int) -> None:
        """Raise what `register` would raise of a checked instance of ``size`` bytes; change nothing."""
        self._check_open()
        if size > limits.RECORD_BYTES_MAX:
            raise RecordTooLarge(
                None,
                f"instance {instance.id!r}: its record has {size} bytes, {limits.RECORD_BYTES_MAX} are allowed: "
                "shorten its meta or tags",
            )
        own = self.state.registry.table(self.identity.name)
        together = size if own is None else own.grown(instance.id, size)
        if together > limits.RECORDS_BYTES_PER_OWNER_MAX:
            raise RecordTooLarge(
                None,
                f"instance {instance.id!r}: with it the records of this node take {together} bytes together, "
                f"{limits.RECORDS_BYTES_PER_OWNER_MAX} are allowed: deregister some, or register it at another node",
            )
        if self.own(instance.id) is None and self.own_count() >= limits.RECORDS_PER_OWNER_MAX:
            raise InvalidInstance(
                None,
                f"instance {instance.id!r}: this node offers {self.own_count()} instances already, as many as are "
                "allowed: deregister some, or register it at another node",
            )
        if instance.term > max(limits.TERM_GIVEN_MAX, self.state.terms.seen(instance.service) + 1):
            raise InvalidInstance(
                "term",
                f"{instance.term} is too high: state up to {limits.TERM_GIVEN_MAX}, or the next one with `--term next`",
            )
        if instance.term and not self.state.terms.has_room(instance.service):
            raise InvalidInstance(
                "term",
                f"{len(self.state.terms)} services have terms already, as many as are allowed: reset those "
                "that are gone with `gossipreg role reset`",
            )

    def deregister(self, id: str, now: float) -> list[Output]:
        """Withdraw one of this node's own instances. Raises `UnknownInstance`, `NodeClosed`."""
        self._check_open()
        if self.own(id) is None:
            raise self.unknown_instance(id)
        record, change = self.state.registry.delete(id, self.identity.generation)
        self._publish_own(record, change, now)
        self._refresh()
        return self._done()

    def _publish_own(self, record: Record, change: Change, now: float) -> None:
        self.state.remake(record, change)
        if self.identity.announced:  # else everything is published when the join completes
            self.state.spread(record, now)
        self.state.raise_term(record, now, spread=self.identity.announced)

    def own(self, id: str) -> Instance | None:
        """This node's own instance of that id, as it was registered."""
        table = self.state.registry.table(self.identity.name)
        record = None if table is None else table.get(id)
        return None if record is None else record.instance

    def unknown_instance(self, id: str) -> UnknownInstance:
        """The error that this node owns no instance of that id; it names the members that own one."""
        owners = sorted(table.owner for table in self.state.registry.owners if table.get(id) is not None)
        if not owners:
            return UnknownInstance(f"this node owns no instance {id!r}, and no member does")
        members = [self.members.get(owner) for owner in owners[:_OWNERS_NAMED]]
        named = ", ".join(f"{member.name} at {member.address}" for member in members if member is not None)
        return UnknownInstance(f"this node owns no instance {id!r}: ask its owner{f', {named}' if named else ''}")

    def own_count(self) -> int:
        """How many instances this node has registered."""
        return len(self.state.registry.table(self.identity.name) or ())

    def set_policy(self, rule: Rule, now: float) -> list[Output]:
        """Put ``rule`` in force everywhere, replacing any of its key. Raises `InvalidPolicy`, `NodeClosed`."""
        return self.publish_policy(self.policy_version_of(rule, now), now)

    def remove_policy(self, key: str, now: float) -> list[Output]:
        """Remove the policy of that key everywhere. Raises `UnknownPolicy`, `NodeClosed`."""
        return self.publish_policy(self.policy_removal_of(key, now), now)

    def policy_version_of(self, rule: Rule, now: float) -> PolicyVersion:
        """The version that sets ``rule``: to be stored, then given to `publish_policy`. Raises as `set_policy` does."""
        self._check_open()
        rule.check()
        policies = self.state.policies
        if policies.rule(rule.key) is None and len(policies) >= limits.POLICIES_MAX:
            raise InvalidPolicy(
                None,
                f"policy {rule.key}: {len(policies)} are in force, as many as are allowed: remove some, see "
                "`gossipreg policy list`",
            )
        return self.clocks.new_policy_version(rule.key, pack_rule(rule), now)

    def policy_removal_of(self, key: str, now: float) -> PolicyVersion:
        """The version that removes the policy of that key. Raises as `remove_policy` does."""
        self._check_open()
        version = self.state.policies.get(key)
        if version is None or version.payload is None:
            raise UnknownPolicy(f"no policy {key!r:.80} is in force: see `gossipreg policy list`")
        return self.clocks.new_policy_version(key, None, now)

    def publish_policy(self, version: PolicyVersion, now: float) -> list[Output]:
        """Broadcast a version of this node's own, unless a later one of its policy has arrived since it was made."""
        self._check_open()
        keys = self.state.publish_policy(version, now)
        if keys:
            self.outbox.put(PoliciesChanged(keys))
        self._refresh()
        return self._done()

    def next_term(self, service: str) -> int:
        """One more than the highest term known of ``service``. Raises `NotJoined`.

        A node that was given seeds and has reached none of them knows only its own terms, so it gives none.
        """
        self._check_joined(f"give the next term of {service!r}")
        return self.state.terms.seen(service) + 1

    def reset_term(self, service: str, now: float) -> list[Output]:
        """Restart the terms of ``service`` everywhere, from the highest that its instances state now.

        Raises `UnknownTerm`, `NotJoined`, `NodeClosed`.
        """
        return self.say_reset(self.reset_of(service, now), now)

    def reset_of(self, service: str, now: float) -> TermRegister:
        """The register that resets the terms of ``service``: to be stored, then given to `say_reset`.

        Raises as `reset_term` does.
        """
        self._check_open()
        self._check_joined(f"reset the term of {service!r}")
        if self.state.terms.get(service) is None:
            raise UnknownTerm(f"no term of a service {service!r:.80} is known: see `gossipreg role list`")
        return self.clocks.new_reset(service, now)

    def say_reset(self, register: TermRegister, now: float) -> list[Output]:
        """Broadcast a reset made by this node."""
        self._check_open()
        self.state.handle_term_register(register, now, spread=True)
        self._refresh()
        return self._done()

    def _check_joined(self, what: str) -> None:
        if not self.identity.announced:
            raise NotJoined(
                f"node {self.identity.name!r} cannot {what}: it has reached no member yet, so it does not know which "
                "there were: wait until it has joined"
            )

    def recall(
        self, versions: Iterable[PolicyVersion], now: float, *, terms: Iterable[TermRegister] = ()
    ) -> list[Output]:
        """Restore what was known before a restart: policies, and the ``terms`` of services."""
        for version in versions:
            self.state.restore_policy(version, now)
        for register in terms:
            self.state.handle_term_register(register, now, spread=False, kept=True)
        self._refresh()
        return self._done()

    def forget_recalled(self) -> list[Output]:
        """Stop answering from what was known before this node started."""
        self.state.forget_recalled()
        self._refresh()
        return self._done()

    def drain(self, now: float) -> list[Output]:
        """Ask for no new work: from now on all own instances weigh 0 everywhere."""
        self._check_open()
        self.identity.drain()
        self.local_member.announce(now)
        self._refresh()
        return self._done()

    def undrain(self, now: float) -> list[Output]:
        """Ask for work again: all own instances have the weights they were registered with."""
        self._check_open()
        self.identity.undrain()
        self.local_member.announce(now)
        self._refresh()
        return self._done()

    def forget(self, name: str, now: float) -> list[Output]:
        """Forget a failed member on every node, with its instances; nothing happens if it has left.

        If it is alive after all, behind a partition, it learns of this when it is back, and refutes. Raises
        `UnknownMember`, `MemberPresent`, `NodeClosed`.
        """
        self._check_open()
        held = self.members.get(name)
        if held is None and name != self.identity.name:
            raise UnknownMember(f"no member {name!r:.80} is remembered: see `gossipreg members`")
        if held is None or name == self.identity.name:
            raise MemberPresent(f"{name!r} is this node itself: have it leave with `gossipreg leave`")
        if held.status.is_present:
            raise MemberPresent(f"{name!r} is {held.status}: only a member that failed can be forgotten")
        if held.status is Status.FAILED:
            self.membership_handler.forget(held, now)
            self._refresh()
        return self._done()

    def move(self, address: Address, now: float) -> list[Output]:
        """Move to ``address``: the host was renumbered. Others learn of it by a later generation."""
        self._check_open()
        self.local_member.move(address, now)
        self.lifelines.restart(now)
        self.joining.hurry(now)
        self._refresh()
        return self._done()

    def leave(self, now: float) -> list[Output]:
        """Leave the cluster. Keep calling `handle_timeout` for a while, so that the departure spreads."""
        self._check_open()
        self.identity.left = True
        self.local_member.announce(now)
        self._refresh()
        return self._done()

    def _check_open(self) -> None:
        if self.identity.left:
            raise NodeClosed(f"node {self.identity.name!r} has left the cluster: open a new one")

    def seeds(self, addresses: Sequence[Address], now: float) -> list[Output]:
        """Try the seeds at ``addresses``: several while no member was reached, else one that is not present."""
        self.joining.try_seeds(addresses, now)
        return self._done()

    # Input from peers

    def receive(self, data: bytes, source: Address, now: float) -> list[Output]:
        """Take the payload of a datagram. Junk is counted and dropped."""
        self.counters[Count.PACKETS_RECEIVED] += 1
        context, messages = self._read(data, source, None, now)
        for message in messages:
            self._handle(message, context, now)
        return self._done()

    def _read(
        self, data: bytes, source: Address, stream: int | None, now: float
    ) -> tuple[MessageContext, list[Message]]:
        try:
            sender, messages = self.reader.read(data)
        except Junk:
            self.counters[Count.JUNK_PACKETS] += 1
            return MessageContext(0, source, None, stream), []
        if self.reader.junk:
            self.counters[Count.JUNK_MESSAGES] += self.reader.junk
            self.counters[Count.JUNK_PACKETS] += not messages
            if self.reader.is_broken and not messages:
                return MessageContext(0, source, None, stream), []
        if sender == self.identity.run_id:
            self.counters[Count.OWN_PACKETS] += 1
            return MessageContext(0, source, None, stream), []
        member = self.members.by_run_id(sender)
        if member is not None:
            if self.detector.is_isolated(now):
                self.streams.hurry(now)  # what was broadcast meanwhile has not arrived, in either direction
                self._note_isolation(isolated=False, now=now)
            self.detector.heard(sender, now)
            if stream is None:
                self.paths.packet_heard(sender, now)
                if source == member.address:
                    self.members.prove(member.name)
            elif stream > 0:
                self.paths.stream_answered(sender)
            if member.status in (Status.SUSPECT, Status.FAILED) or member.is_forgotten:
                self.outbox.tell_accused(member, now)
        return MessageContext(sender, source, member, stream), messages

    def _handle(self, message: Message, context: MessageContext, now: float) -> None:
        if isinstance(message, MemberUpdate | Record | TableDigest | Announcement):
            self._handle_claim(message, context, now)
            return
        match message:
            case Ping():
                self._answer_ping(message, context, now)
            case Ack():
                self._handle_ack(message, context, now)
            case Nack():
                self._handle_nack(message, context, now)
            case PingReq():
                self._handle_ping_req(message, context, now)
            case NameConflictQuery():
                self.local_member.handle_name_conflict(message, context, now)
            case PolicyVersion():
                self.record_handler.handle_policy(message, context, now)
            case TermRegister():
                self.record_handler.handle_term_register(message, context, now)
            case KeepOpen() | WallClock():
                self._handle_aside(message, context)
            case _:
                if context.over_stream:
                    context.replies += answers(message, self.state, now)

    def _handle_claim(
        self, claim: MemberUpdate | Record | TableDigest | Announcement, context: MessageContext, now: float
    ) -> None:
        """Handle an update about one run of a member, or about its records."""
        if claim.generation > self.state.clock.latest_generation(now):
            self.counters[Count.GENERATIONS_FROM_THE_FUTURE] += 1
        elif isinstance(claim, MemberUpdate):
            self._handle_update(claim, context, now)
        else:
            self.record_handler.handle(claim, context, now)

    def _handle_aside(self, message: KeepOpen | WallClock, context: MessageContext) -> None:
        """Handle a message that concerns no member, no instance and no policy."""
        if isinstance(message, KeepOpen):
            self.streams.keep_open(context)
        else:
            context.clock = message.ms

    def _answer_ping(self, ping: Ping, context: MessageContext, now: float) -> None:
        ack = pack(Ack(ping.seq, 0, self.fingerprint))
        clock = pack(self.outbox.clock(now))
        if context.over_stream:
            context.replies += [clock, ack]
        elif context.member is None:
            self.outbox.put(
                Transmit(self.outbox.sender + ack, context.source)
            )  # a stranger gets no more bytes than it sent: no amplification
        else:
            self.outbox.send(context.source, clock, ack, now=now)
            if not self.identity.left:
                self.membership_handler.pinged(now)
        self._compare(ping.fingerprint, context, now)

    def _handle_ping_req(self, request: PingReq, context: MessageContext, now: float) -> None:
        if context.member is not None:
            pinging = self.detector.prober.ping_for(request, context.source, self.fingerprint, now)
            self.membership_handler.perform(pinging, now)

    def _handle_update(self, update: MemberUpdate, context: MessageContext, now: float) -> None:
        if update.name == self.identity.name:
            self.local_member.handle_own_update(update, context, now)
        else:
            self.membership_handler.handle(update, context, now)
            if update.refused and update.status is Status.SUSPECT:
                self.lifelines.refusal_reported(update, now)

    def _handle_nack(self, nack: Nack, context: MessageContext, now: float) -> None:
        if context.member is not None:
            self.detector.was_answered(context.sender, now)
        self.detector.prober.nacked(nack)

    def _handle_ack(self, ack: Ack, context: MessageContext, now: float) -> None:
        if context.member is not None:
            self.detector.was_answered(context.sender, now)
            found = self.detector.prober.acked(ack, context.sender, now)
            if context.over_stream and found:
                self.paths.stream_acked(context.sender, now)
            elif not context.over_stream and not ack.subject:
                self.paths.packet_acked(context.sender, ack.seq, now)
            self.clocks.acked(found, context, now)
            self.membership_handler.perform(found, now)
        if not ack.subject:
            self._compare(ack.fingerprint, context, now)

    # Streams

    def stream_frame(self, stream: int, frame: bytes, source: Address, now: float) -> list[Output]:
        """Take a frame of a stream: a positive number was given by `OpenStream`, a negative one is a peer's."""
        self.counters[Count.FRAMES_RECEIVED] += 1
        session = self.sessions.get(stream, source)
        if session is None:
            return []
        context, messages = self._read(frame, source, stream, now)
        if not context.sender:
            self.streams.close(stream)
            return self._ended(session, now)
        session.frames += 1
        context.news = session.news
        ended = False
        for message in messages:
            if isinstance(message, Compare):
                session.compared = True
                if context.member is not None:
                    self.paths.gossip_missed(context.sender, now)
            ended = ended or isinstance(message, End)
            self._handle(message, context, now)
            if isinstance(message, WallClock) and self.clocks.is_refused(context, session, now):
                self.clocks.refuse(stream, context, session, now)
                self.streams.close(stream)
                return self._ended(session, now)
        session.news = context.news
        if stream < 0 and context.clock is not None:
            context.replies.insert(0, pack(self.outbox.clock(now)))
        session.accepted = session.accepted or (session.compared and session.purpose is None)
        context.replies += corrections(context.stale, self.state)
        told_all = ended and not session.spoken and not context.replies
        if told_all and session.is_comparison and not session.compared:
            context.replies += self.local_member.introduce(now)
        self.streams.reply(stream, session, context.replies, ended=ended)
        if session.purpose in (Purpose.SEED_PING, Purpose.JOIN):
            self.joining.go_on()
        return self._done()

    def stream_ended(self, stream: int, now: float, *, refused: bool = False) -> list[Output]:
        """A stream was closed, by either side; ``refused`` when a kernel answered that no process listens there.

        That kernel may have been this host's own (a firewall). While it refuses packets as well, a refusal proves
        nothing.
        """
        session = self.streams.ended(stream)
        refused = refused and not self.detector.is_rejected
        return self._done() if session is None else self._ended(session, now, refused=refused)

    def unsent(self, to: Address, now: float) -> list[Output]:
        """This host's own kernel has refused to send a `Transmit` to ``to``: a firewall, no route, no such network."""
        self.counters[Count.PACKETS_UNSENT] += 1
        self.detector.unsent(to, now)
        return self._done()

    def _ended(self, session: StreamSession, now: float, *, refused: bool = False) -> list[Output]:
        if session.purpose is not None and not (session.answered or refused or self.detector.is_rejected):
            member = self.members.at(session.to)
            if member is not None:
                self.paths.stream_stalled(member.run_id, now)
        if session.purpose in (Purpose.LIFELINE, Purpose.RECHECK):
            self.lifelines.ended(session, now, refused=refused)
        elif session.purpose is Purpose.PROBE and refused:
            assert isinstance(session.about, int), "a probe is known by its sequence number"
            self.detector.prober.refused(session.about)
        elif session.purpose is Purpose.NAME_CONFLICT and refused:
            self.local_member.rival_gone(now, at=session.to)
        elif session.purpose in (Purpose.SEED_PING, Purpose.JOIN):
            if session.purpose is Purpose.JOIN and not self.identity.announced:
                self.streams.comparison_failed(session.to)
            self.joining.go_on()
        return self._done()

    def _compare(self, theirs: int, context: MessageContext, now: float) -> None:
        if context.member is None:
            peer, may_compare = context.source, not context.over_stream
        else:
            peer, may_compare = context.member.address, self.identity.announced or not context.over_stream
        self.streams.met(theirs, context.sender, peer, now, may_compare=may_compare and not self.identity.left)

    # Timers

    def handle_timeout(self, now: float, *, late: float = 0.0) -> list[Output]:
        """Run every timer due at ``now``. Call it after all readable packets were passed in.

        ``late`` (seconds) is how much later than asked for the driver called. A node that was itself stopped (SIGSTOP,
        a long collection, a starved CPU) declares no member failed for what it could not have received meanwhile.
        """
        if late > self.settings.lag_tolerance:
            self.counters[Count.LAGS] += 1
            self.detector.postpone(late, now)
        if not self.identity.left:
            self._run_timers(now)
        self.outbox.flush(now)
        self._refresh()
        return self._done()

    def set_wall_clock(self, ms: float, now: float) -> None:
        """The wall clock shows ``ms`` since the epoch. Without this call it runs evenly since the generation."""
        if self.clocks.set(ms, now):
            self.joining.hurry(now)
            self._deadline = None

    def expire_suspicions(self, now: float) -> list[Output]:
        """Expire the suspicions that are due and nothing else: for a node whose sending is blocked."""
        self.membership_handler.expire_suspicions(now)
        return self._done()

    def _run_timers(self, now: float) -> None:
        self.membership_handler.probe(now)
        self.membership_handler.expire_suspicions(now)
        self.lifelines.handle_timeout(now)
        self._test_paths(now)
        self.local_member.handle_timeout(now)
        self.joining.handle_timeout(now)
        self._note_isolation(isolated=self.is_isolated(now), now=now)
        if now >= self._sweep_at:
            self._sweep_at = now + _SWEEP_SECONDS
            self._sweep(now)

    def _note_isolation(self, *, isolated: bool, now: float) -> None:
        if isolated is not self.isolated:
            self.isolated = isolated
            self.outbox.put(IsolationChanged(isolated, self.silence(now)))

    def _test_paths(self, now: float) -> None:
        for test in self.paths.handle_timeout(now):
            member = self.members.by_run_id(test.run_id)
            if member is None:
                continue
            ping = Ping(test.seq, member.run_id, self.fingerprint)
            if test.over_stream:
                self.streams.open(Purpose.PROBE, member.address, [ping, End()], about=test.seq)
            elif test.size:
                self.outbox.send(member.address, pack_padded(ping, test.size - SENDER_BYTES))
            else:
                self.outbox.send(member.address, pack(ping))

    def _is_present(self, run_id: int) -> bool:
        member = self.members.by_run_id(run_id)
        return member is not None and member.status.is_present

    def _sweep(self, now: float) -> None:
        self.paths.sweep(self._is_present, now)
        self.detector.prober.expire(now)
        self.detector.expire(now)
        self.outbox.forget(now)
        self.clocks.sweep(now)
        for update in self.state.sweep(now):
            self.outbox.put(MemberChanged(update, None))

    def _refresh(self) -> None:
        if self.view.recalled and self.identity.announced and self.members.present:
            self.state.forget_recalled()
        changed = self.state.refresh()
        if changed:
            self.outbox.put(InstancesChanged(tuple(changed)))
