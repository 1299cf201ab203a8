"""Clock watch: how the node reacts to wall clocks that are off: its own, those of newcomers, and stamps of policies.

See `membership.peer_clocks` for how the distance is measured, and docs/decisions/0032 for what follows from it.
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from gossipreg.counters import Count
from gossipreg.errors import ClockWrong
from gossipreg.protocol.membership.peer_clocks import CLOCK_SKEW_MAX, PeerClocks
from gossipreg.protocol.membership.probe import ProbeAcked, ProbeEvent
from gossipreg.protocol.message_context import MessageContext
from gossipreg.protocol.outbox import Outbox
from gossipreg.protocol.outputs import ClockChanged, ClockRefused, PoliciesChanged, PolicyFromFuture, SendFrame
from gossipreg.protocol.registry.clock import AHEAD_MAX
from gossipreg.protocol.registry.policy_version import PolicyVersion
from gossipreg.protocol.registry.terms import TermRegister
from gossipreg.protocol.state import ClusterState
from gossipreg.protocol.stream_sessions import StreamSession
from gossipreg.protocol.wire.messages import pack

#: A step of the wall clock against the steady one from which on it counts as set (ms). NTP slews smaller ones.
_SET_MS = 1000.0

#: How much nearer than `AHEAD_MAX` a stamp of ours must be to the peers' clocks (ms): readings differ a little.
_AHEAD_MARGIN_MS = 60_000


@attrs.define(eq=False, repr=False)
class ClockWatch:
    """This node's wall clock beside those of others.

    ``keeps_out``: whether a node whose clock is off is not let in, because its sealed packets would be refused.
    """

    state: ClusterState
    outbox: Outbox
    keeps_out: bool = False
    readings: PeerClocks = attrs.field(factory=PeerClocks)
    _is_off: bool = False  # whether this node's clock was last seen to differ from its peers'

    def skew(self, now: float) -> float | None:
        """How far this node's wall clock is ahead of its peers' (seconds; below 0: behind); None when not known."""
        return self.readings.skew(self.state.clock.offset, now)

    def set(self, ms: float, now: float) -> bool:
        """The wall clock shows ``ms`` since the epoch; whether it was set since it was last told."""
        before = self.state.clock.offset
        self.state.clock.set(ms, now)
        moved = self.state.clock.offset - before
        if abs(moved) <= _SET_MS:
            return False
        if moved < 0:
            self.state.clock.note_future_stamps()
        self.report_skew(now)
        return True

    def acked(self, found: Sequence[ProbeEvent], context: MessageContext, now: float) -> None:
        """An ack shows its sender's clock; how long ago that was is known if it came in time."""
        if context.clock is None:
            return
        for each in found:
            if isinstance(each, ProbeAcked) and each.rtt is not None:
                self.readings.note(context.sender, context.clock, now - each.rtt / 2)
                self.report_skew(now)

    def report_skew(self, now: float) -> None:
        """Report that this node's clock is off, or right again, when that changes."""
        skew = self.skew(now)
        is_off = skew is not None and abs(skew) > CLOCK_SKEW_MAX
        if is_off is not self._is_off:
            self._is_off = is_off
            self.outbox.put(ClockChanged(skew if is_off else None))

    # Newcomers

    def is_refused(self, context: MessageContext, session: StreamSession, now: float) -> bool:
        """Whether an unknown peer's clock is too far from ours: its packets would be refused, and ours by it.

        A node that wants to join is stricter by a second, so that both sides reach the same conclusion.
        """
        if not self.keeps_out or context.member is not None or context.clock is None:
            return False
        most = CLOCK_SKEW_MAX if session.purpose is None else CLOCK_SKEW_MAX - 1
        return abs(context.clock - self.state.clock.wall(now)) > 1000 * most

    def refuse(self, stream: int, context: MessageContext, session: StreamSession, now: float) -> None:
        """Send an unknown peer whose clock is off our own clock, so that it can report why the session ends."""
        assert context.clock is not None, "it was refused for its clock"
        skew = (context.clock - self.state.clock.wall(now)) / 1000
        joining = session.purpose is not None
        self.state.counters[Count.STREAMS_CLOCK_SKEW] += 1
        self.outbox.put(ClockRefused(session.to if joining else context.source, skew, joining))
        if joining:
            self.readings.note(context.sender, context.clock, now)
            self.report_skew(now)
        else:
            self.outbox.put(SendFrame(stream, self.outbox.sender + pack(self.outbox.clock(now))))

    # Policies, and resets of terms

    def new_policy_version(self, key: str, payload: bytes | None, now: float) -> PolicyVersion:
        """A version that all nodes will take. Raises `ClockWrong` when our clock is so far off that they would not."""
        self._check_skew(f"policy {key:.80}", now)
        version = self.state.policy_state.new_version(key, payload, now)
        held = self.state.policies.get(key)
        if held is not None and version.rank <= held.rank:
            raise self._outranked(f"policy {key:.80}", held.writer, held.ms, now)
        return version

    def new_reset(self, service: str, now: float) -> TermRegister:
        """A reset of a service's terms that all nodes will take. Raises `ClockWrong` as `new_policy_version` does."""
        self._check_skew(f"role {service}", now)
        register = self.state.term_state.new_reset(service, now)
        held = self.state.terms.get(service)
        if held is not None and register.epoch <= held.epoch:
            raise self._outranked(f"role {service}", held.writer, held.ms, now)
        return register

    def _check_skew(self, what: str, now: float) -> None:
        skew = self.skew(now)
        if skew is not None and 1000 * skew > AHEAD_MAX - _AHEAD_MARGIN_MS:
            raise ClockWrong(
                f"{what}: this node's clock is {skew:.0f} s ahead of its peers', which would refuse it: set the clock "
                "right, then try again"
            )

    def _outranked(self, what: str, writer: str, ms: int, now: float) -> ClockWrong:
        return ClockWrong(
            f"{what}: what {writer!r} last said of it is stamped "
            f"{(ms - self.state.clock.wall(now)) / 1000:.0f} s ahead of this node's clock: set the clock right, or "
            "wait until it is said anew, then try again"
        )

    def sweep(self, now: float) -> None:
        """Publish again what is stamped so far ahead that no other node would take it, if our clock was wrong."""
        self.report_skew(now)
        if not self.state.clock.may_hold_future_stamps or self._is_off:
            return
        for version, keys in self.state.policy_state.restamp(now):
            ahead = (version.ms - self.state.clock.wall(now)) / 1000
            self.outbox.put(PolicyFromFuture(version.key, version.writer, ahead, restamped=True))
            self.outbox.put(PoliciesChanged(keys))
        for register in self.state.term_state.restamp(now):
            ahead = (register.ms - self.state.clock.wall(now)) / 1000
            self.outbox.put(PolicyFromFuture(f"role {register.service}", register.writer, ahead, restamped=True))
