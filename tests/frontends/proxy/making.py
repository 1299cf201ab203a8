"""What tests of the balancer make: instances, members, and events about them."""

from __future__ import annotations

from typing import Any, Literal

from gossipreg.events import InstanceEvent, MemberEvent, Snapshot
from gossipreg.model import Address, Instance, Member, Status


def instance(name: str = "a", **fields: Any) -> Instance:
    """An instance of ``orders`` that the member ``name`` owns."""
    given = {"id": f"orders-{name}", "service": "orders", "host": "127.0.0.1", "port": 8080, "owner": name}
    return Instance(**{**given, **fields})


def member(name: str, status: Status = Status.ALIVE) -> Member:
    return Member(name=name, address=Address("127.0.0.1", 7940), status=status, generation=1, incarnation=0)


def snapshot(*instances: Instance) -> Snapshot:
    return Snapshot((), instances)


def added(each: Instance) -> InstanceEvent:
    return InstanceEvent("added", each)


def removed(each: Instance) -> InstanceEvent:
    return InstanceEvent("removed", each)


def seen(kind: Literal["suspect", "alive", "failed"], name: str) -> MemberEvent:
    return MemberEvent(kind, member(name))
