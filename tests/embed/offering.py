"""A lookup source with fixed answers: all that choosers need of a node."""

from __future__ import annotations

import attrs

from gossipreg.model import Instance
from gossipreg.protocol.registry.choose import matching


def offer(id: str, service: str = "orders", **fields: object) -> Instance:
    """An instance on a host of its own name."""
    return Instance(**{"id": id, "service": service, "host": f"{id}.test", "port": 80, "owner": id} | fields)  # type: ignore[arg-type]


@attrs.define
class FakeRegistry:
    """The instances that there are."""

    instances: tuple[Instance, ...] = ()

    def lookup(
        self,
        service: str,
        *,
        healthy: bool = True,
        tag: str | None = None,
        zone: str | None = None,
        role: str | None = None,
        panic: float | None = None,
        last_known: bool = False,
    ) -> tuple[Instance, ...]:
        able = (each for each in self.instances if each.service == service and each.health.can_serve >= healthy)
        found = (each for each in able if panic or not each.stale)
        return matching(found, tag=tag, zone=zone, role=role)
