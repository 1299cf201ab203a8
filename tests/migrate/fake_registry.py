"""Registries in memory: they hold copies as the real ones do, and can be out of reach."""

from __future__ import annotations

from typing import Any

import attrs

from gossipreg.migrate.registry import MARK, ListedInstance, RegistryRefused, RegistryUnreachable, origin_of


def original(id: str, service: str = "orders", **fields: Any) -> ListedInstance:
    """An instance that is no copy."""
    port = fields.pop("port", 8080)
    record = {"meta": fields.pop("meta", {}), "port": port, "weight": fields.pop("weight", 1)}
    host = fields.pop("host", f"10.0.0.{sum(id.encode()) % 250}")
    return ListedInstance(service=service, id=id, host=host, port=port, record=record, **fields)


@attrs.define(eq=False)
class FakeRegistry:
    """One side. ``calls`` has every change that it was asked for."""

    name: str
    held: dict[tuple[str, str], ListedInstance] = attrs.field(factory=dict)
    calls: list[tuple[str, str]] = attrs.field(factory=list)
    is_away: bool = False
    refuses: frozenset[str] = frozenset()
    hides: frozenset[str] = frozenset()  # what its list, from a cache, does not have yet
    elsewhere: frozenset[str] = frozenset()  # held by another node, which the list does not tell
    lasting: dict[str, float | None] = attrs.field(factory=dict)

    def hold(self, *instances: ListedInstance) -> None:
        self.held |= {each.key: each for each in instances}

    def drop(self, *ids: str) -> None:
        self.held = {key: each for key, each in self.held.items() if each.id not in ids}

    @property
    def copies(self) -> dict[str, str]:
        """The side that each copy is from, by id."""
        return {each.id: each.origin for each in self.held.values() if each.origin}

    def _answer(self) -> None:
        if self.is_away:
            raise RegistryUnreachable(f"{self.name} does not answer")

    def instances(self) -> list[ListedInstance]:
        self._answer()
        return [each for each in self.held.values() if each.id not in self.hides]

    def write(self, instance: ListedInstance, mark: str, seconds: float | None) -> None:
        self._answer()
        if instance.id in self.refuses:
            raise RegistryRefused("400: not that one")
        assert MARK
        origin, digest = origin_of(mark)
        self.calls.append(("write", instance.id))
        self.lasting[instance.id] = seconds
        self.held[instance.key] = attrs.evolve(instance, origin=origin, copied_digest=digest)

    def renew(self, instance: ListedInstance, seconds: float | None) -> bool:
        self._answer()
        if instance.key not in self.held:
            return False
        self.calls.append(("renew", instance.id))
        held = self.held[instance.key]
        self.held[instance.key] = attrs.evolve(held, health=instance.health, reason=instance.reason)
        return True

    def holds(self, copy: ListedInstance) -> bool:
        return copy.node != "other"

    def remove(self, copy: ListedInstance) -> bool:
        self._answer()
        self.calls.append(("remove", copy.id))
        return copy.id not in self.elsewhere and self.held.pop(copy.key, None) is not None
