"""Lifelines: idle streams to ring neighbours, whose kernels end them when the process dies.

Theory of operation (design §4.2, docs/decisions/0009). A killed process sends nothing, but its kernel does: it ends
every stream of the process, and refuses new ones. So each node holds a lifeline, an idle stream, to the members that
come next after it on a ring (`membership.ring`); each member is thus watched by as many. When a lifeline ends and the
member has not left, the node rechecks it at once over a new stream. If that is *refused* the node reports it to the
others that watch the same member, and they recheck, too. Two distinct refusals prove the failure, in a few
milliseconds instead of seconds. If the recheck is answered, or simply lost, only a new lifeline follows; a host that
went silent is left to the prober.
"""

from __future__ import annotations

import attrs

from gossipreg.protocol.anti_entropy.reconcile import KeepOpen
from gossipreg.protocol.engine_settings import EngineSettings
from gossipreg.protocol.membership.member_update import MemberUpdate
from gossipreg.protocol.membership.members import Members
from gossipreg.protocol.membership.probe import Ping
from gossipreg.protocol.membership_handler import MembershipHandler
from gossipreg.protocol.peer_streams import PeerStreams
from gossipreg.protocol.stream_sessions import Purpose, StreamSession
from gossipreg.values import frozen

#: Least time between two reviews of the lifelines (seconds): while a cluster forms, the ring changes all the time.
_LOOK_SECONDS = 0.3

#: Time between two reviews when no member came or went: one may have restarted behind a cut link (seconds).
_REVIEW_SECONDS = 30.0

#: Time until a lifeline that ended, or could not be had, is tried again (seconds).
_RETRY_SECONDS = 5.0

#: Least time between two first rechecks of one run, when others report that they were refused (seconds).
_RECHECK_GAP_SECONDS = 1.0

#: Rechecks after a lifeline ended, if the first ones are neither refused nor answered (a process takes a while to die).
_RECHECKS_MAX = 3


#: Time between two pings on lifelines, one lifeline after the other, and how long a ping may be without an answer
#: (seconds). A firewall that begins to drop streams ends none of them. All at once, every 10 s, would be 45 % more
#: packets on an idle cluster.
_PING_SECONDS = 30.0
_ANSWER_SECONDS = 5.0


@frozen
class _Recheck:
    """A liveness recheck of a member whose lifeline ended."""

    target: MemberUpdate
    number: int  # the first recheck is 1


@attrs.define(eq=False, repr=False)
class Lifelines:
    """The lifelines of one node, and the rechecks under way."""

    settings: EngineSettings
    own_name: str
    members: Members
    streams: PeerStreams
    membership_handler: MembershipHandler
    _look_at: float
    _looked_at: int = 0  # the ring's changes, at the last look
    _retry_at: float = float("inf")
    _lifelines: dict[int, int] = attrs.field(factory=dict)  # run id watched -> stream
    _ping_at: float = float("inf")  # when lifelines are pinged next, or those without an answer given up
    _pinged: dict[int, int] = attrs.field(factory=dict)  # stream pinged -> frames that had come on it
    _next_ping: int = 0  # pings so far, each on the next lifeline
    _rechecked_at: dict[int, float] = attrs.field(factory=dict)  # run id -> when it was last rechecked

    @property
    def deadline(self) -> float:
        """When `handle_timeout` is wanted (seconds)."""
        return min(self._ping_at, self._maintain_at)

    @property
    def _maintain_at(self) -> float:
        return self._look_at if self.members.ring.changes != self._looked_at else self._retry_at

    def handle_timeout(self, now: float) -> None:
        """Open the lifelines that are wanted, close all others, and ping one now and then."""
        if now >= self._ping_at:
            self._ping(now)
        if now >= self._maintain_at:
            self._maintain(now)

    def _ping(self, now: float) -> None:
        """Give up the lifelines on which nothing came since they were pinged; then ping the next, or all after that."""
        pinged, self._pinged = self._pinged, {}
        open_sessions = [
            (run_id, stream, self.streams.sessions.find(stream)) for run_id, stream in self._lifelines.items()
        ]
        held = [
            (run_id, stream, session.frames)
            for run_id, stream, session in open_sessions
            if session is not None and session.answered
        ]
        stalled = [(run_id, stream) for run_id, stream, frames in held if pinged.get(stream) == frames]
        for run_id, stream in stalled:
            del self._lifelines[run_id]
            self.streams.close(stream)
            self.streams.outbox.paths.stream_stalled(run_id, now)
            self._retry_at = min(self._retry_at, now)
        if stalled:  # streams may be lost to more than one: look at the others now
            due = [each for each in held if each[1] not in pinged]
        else:
            due = [] if pinged or not held else [held[self._next_ping % len(held)]]
            self._next_ping += len(due)
        for run_id, stream, frames in due:
            self._pinged[stream] = frames
            self.streams.send(stream, [Ping(0, run_id, self.streams.state.fingerprint.total)])
        waits = _ANSWER_SECONDS if self._pinged else _PING_SECONDS - _ANSWER_SECONDS
        self._ping_at = now + waits if self._lifelines else float("inf")

    def _maintain(self, now: float) -> None:
        self._looked_at = self.members.ring.changes
        self._look_at = now + _LOOK_SECONDS
        self._retry_at = now + _REVIEW_SECONDS
        self._rechecked_at = {
            run_id: at for run_id, at in self._rechecked_at.items() if now - at < _RECHECK_GAP_SECONDS
        }
        wanted = {update.run_id: update for update in self._wanted()}
        for run_id in [run_id for run_id in self._lifelines if run_id not in wanted]:
            self.streams.close(self._lifelines.pop(run_id))
        for run_id, update in wanted.items():
            if run_id not in self._lifelines:
                stream = self.streams.open(Purpose.LIFELINE, update.destination, [KeepOpen()], about=update, idle=True)
                if stream is not None:
                    self._lifelines[run_id] = stream
                    self._ping_at = min(self._ping_at, now + _PING_SECONDS)

    def restart(self, now: float) -> None:
        """Close every lifeline, to be opened anew: they end at an address that is no longer ours."""
        for stream in self._lifelines.values():
            self.streams.close(stream)
        self._lifelines.clear()
        self._retry_at = now

    def _wanted(self) -> list[MemberUpdate]:
        names = self.members.ring.after(self.own_name, self.settings.lifelines)
        updates = [self.members.get(name) for name in names]
        return [update for update in updates if update is not None]

    def ended(self, session: StreamSession, now: float, *, refused: bool) -> None:
        """A lifeline or a recheck has ended."""
        if isinstance(session.about, _Recheck):
            if refused:
                self._refused(session.about.target, now)
            elif not session.answered and session.about.number < _RECHECKS_MAX:
                self._recheck(session.about.target, session.about.number + 1, now)
            return
        target = session.about
        assert isinstance(target, MemberUpdate), "a lifeline is known by its member"
        self._lifelines.pop(target.run_id, None)
        self._retry_at = min(self._retry_at, now + _RETRY_SECONDS)
        if (
            session.answered
        ):  # one that was never established proves nothing, not even when it was refused: that may be a firewall
            self._recheck(target, 1, now)

    def refusal_reported(self, accusation: MemberUpdate, now: float) -> None:
        """A member was refused: each of its nearest predecessors on the ring rechecks it, for two refusals are proof.

        Those that held a lifeline recheck anyway; but where several die at once, they may be among the dead.
        """
        near = self.members.ring.before(accusation.name, 2 * self.settings.lifelines)
        if (
            self.own_name in near
            and now - self._rechecked_at.get(accusation.run_id, -_RECHECK_GAP_SECONDS) >= _RECHECK_GAP_SECONDS
        ):
            self._recheck(accusation, 1, now)

    def _recheck(self, target: MemberUpdate, number: int, now: float) -> None:
        held = self.members.get(target.name)
        if held is None or held.run_id != target.run_id or not held.status.is_present:
            return
        self._rechecked_at[target.run_id] = now
        ping = Ping(0, target.run_id, self.streams.state.fingerprint.total)
        self.streams.ping(Purpose.RECHECK, target.destination, ping, about=_Recheck(target, number))

    def _refused(self, target: MemberUpdate, now: float) -> None:
        """Report to all members, first to those that watch the same member, that its kernel has refused us."""
        watchers = self.members.ring.before(target.name, self.settings.lifelines)
        self.membership_handler.refused(target, [name for name in watchers if name != self.own_name], now)
