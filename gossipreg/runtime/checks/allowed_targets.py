"""Reach: what the checks of one instance may contact, by the rules of its node."""

from __future__ import annotations

from collections.abc import Collection

import attrs

from gossipreg.targets import CheckRules, IPAddress


@attrs.frozen
class AllowedTargets:
    """The rules of a node, and the hosts that are its own for an instance: names or addresses."""

    rules: CheckRules = attrs.field(factory=CheckRules)
    own: tuple[str, ...] = ()

    def allows(self, host: str, address: IPAddress, own: Collection[IPAddress]) -> bool:
        """Whether a check of ``host`` may connect to ``address``; ``own`` are the addresses of `own`."""
        return self.rules.targets.allows(host, address, own)
