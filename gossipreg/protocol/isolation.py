"""Isolation: whether this node hears no other member although there should be one, and how that is reported."""

from __future__ import annotations

import attrs

from gossipreg.protocol.membership.detector import Detector
from gossipreg.protocol.membership.identity import Identity
from gossipreg.protocol.membership.members import Members
from gossipreg.protocol.outbox import Outbox
from gossipreg.protocol.outputs import IsolationChanged


@attrs.define(eq=False, repr=False)
class Isolation:
    """The silence around one node, and whether its isolation was ``reported`` to the driver."""

    identity: Identity
    members: Members
    detector: Detector
    outbox: Outbox
    reported: bool = False

    def is_isolated(self, now: float) -> bool:
        """Whether no member was heard for 4 probe intervals although there should be one."""
        return self._misses_members and self.detector.is_isolated(now)

    def silence(self, now: float) -> float:
        """How long no member has been heard (seconds); 0 where there is none to hear."""
        return self.detector.reachability.silence(now) if self._misses_members else 0.0

    @property
    def _misses_members(self) -> bool:
        return bool(self.members.present) or self.members.has_failed or not self.identity.announced

    def note(self, *, isolated: bool, now: float) -> None:
        """Report that this node is ``isolated``, or no more, if that has changed."""
        if isolated is not self.reported:
            self.reported = isolated
            self.outbox.put(IsolationChanged(isolated, self.silence(now)))
