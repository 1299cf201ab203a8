"""Reachability: evidence that this node hears others and is heard by them, without which it declares no member failed.

In the Lifeguard experiment nearly all false positives come from observers that were themselves cut off. A node that
hears no member cannot tell a dead cluster from a dead network card, so it reports itself isolated. A node whose own
output is lost is worse off: it hears all and is answered by none. So the witness that a failure needs is a peer that
*answered*: an ack or a nack proves both directions (docs/decisions/0005, 0036).

A kernel that refuses to send says so at once. As long as it does, and no peer has answered since, a refused
connection proves nothing either: it may be this host's own firewall that refuses. A refusal says something about the
present only: a dead peer never answers, so old refusals must lapse with time.
"""

from __future__ import annotations

import attrs

from gossipreg.model import Address

#: Distinct destinations that this host's kernel must refuse to send to, while no peer answers, for the fault to be
#: here: one alone may be a stale address, or one of the wrong family.
_REJECTIONS = 2


@attrs.define(eq=False, repr=False)
class _LastTwo:
    """The last two distinct runs of which something was seen, and when (seconds)."""

    last: tuple[int, float] = (0, -1.0)
    other: tuple[int, float] = (0, -1.0)

    def note(self, run_id: int, now: float) -> None:
        if run_id != self.last[0]:
            self.other = self.last
        self.last = (run_id, now)

    def has_any_but(self, accused: int, since: float) -> bool:
        run_id, at = self.last if self.last[0] != accused else self.other
        return run_id != 0 and at > since


@attrs.define(eq=False, repr=False)
class Reachability:
    """The members heard and those that answered lately, and the sends that this host's kernel refused (seconds)."""

    started: float
    rejected_at: float = float("-inf")  # when the kernel last refused to send while no peer answered
    _heard: _LastTwo = attrs.field(factory=_LastTwo)
    _answered: _LastTwo = attrs.field(factory=_LastTwo)
    _unsent: dict[Address, float] = attrs.field(factory=dict)  # destination -> when refused last, since the last answer

    def heard(self, run_id: int, now: float) -> None:
        """A packet of the member ``run_id`` came in."""
        self._heard.note(run_id, now)

    def answered(self, run_id: int, now: float) -> None:
        """The member ``run_id`` has answered a message of this node."""
        self._answered.note(run_id, now)
        self._unsent.clear()

    def unsent(self, to: Address, others: int, now: float, *, since: float) -> None:
        """The kernel refused to send to ``to``; ``others`` members are present beside this node.

        Earlier refusals count from ``since`` on (seconds).
        """
        self._unsent.pop(to, None)
        self._unsent[to] = now
        if len(self._unsent) > _REJECTIONS:
            del self._unsent[next(iter(self._unsent))]
        if self.is_rejected(others, since):
            self.rejected_at = now

    def is_rejected(self, others: int, since: float) -> bool:
        """Whether this host's kernel has refused this node's packets to ``others`` members alike after ``since``."""
        refused = sum(at > since for at in self._unsent.values())
        return refused >= max(1, min(_REJECTIONS, others))

    @property
    def nearest(self) -> list[int]:
        """The run ids that are the likeliest to answer now: the last that did, then the last that were heard."""
        both = (self._answered.last, self._answered.other, self._heard.last, self._heard.other)
        return list(dict.fromkeys(run_id for run_id, _ in sorted(both, key=lambda each: -each[1]) if run_id))

    def expect(self, now: float) -> None:
        """From ``now`` on there is a member to hear: silence before that does not count."""
        self.started = now

    def silence(self, now: float) -> float:
        """How long no member has been heard (seconds)."""
        return now - self.last

    @property
    def last(self) -> float:
        """When a member was last heard, or when this node began (seconds)."""
        return max(self.started, self._heard.last[1])

    def has_heard(self, since: float) -> bool:
        """Whether any member was heard after ``since``."""
        return self._heard.last[1] > since

    def has_witness(self, accused: int, since: float) -> bool:
        """Whether any member but the run ``accused`` has answered after ``since``."""
        return self._answered.has_any_but(accused, since)
