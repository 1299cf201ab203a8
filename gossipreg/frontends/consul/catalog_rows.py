"""Catalog rows: members, instances and their health in Consul's form.

Consul keeps a row for every check. Of another member's checks only the resulting health is known here. So an instance
has one check, ``service:ID``, that says this, and beside it the check of its node, ``serfHealth``.

Consul has neither weight 0 nor suspicion. An instance of weight 0, drained or by a policy, is shown in
maintenance; and a member that lookups avoid, because it has failed or is about to, fails its ``serfHealth``. So a
client that knows nothing of either leaves such instances alone, as it should.
"""

from __future__ import annotations

import functools
import uuid
from collections.abc import Collection, Iterable, Iterator, Mapping
from ipaddress import IPv4Address
from typing import Any, Final

import attrs

from gossipreg.frontends.consul.kept import AS_WRITTEN, KEPT, KeptCheck, KeptService, kept_of, shown_meta
from gossipreg.frontends.serving.joint_registration import seen_by
from gossipreg.frontends.serving.kept_meta import JOINT
from gossipreg.model import NODE_REASON, Health, Instance, Member, Status
from gossipreg.values import frozen

Json = dict[str, Any]

PASSING: Final = "passing"
WARNING: Final = "warning"
CRITICAL: Final = "critical"
STATES: Final = (PASSING, WARNING, CRITICAL)

SERF: Final = "serfHealth"

#: Members get their node ids from their names: the same from every agent, and after every restart.
_NODES: Final = uuid.UUID("6d1c0c6e-5e9e-5c3b-9b1f-0f6a2d5c7e41")

#: The check of an instance that was not registered by a client of Consul's.
_UNNAMED: Final = KeptCheck("", "", "", "")

#: Why a check is critical that has not been run. Consul says nothing then.
_NOT_CHECKED: Final = "not checked yet"

#: Why a node is taken out, where its client gave no reason, or none is known.
NO_NODE_REASON: Final = (
    "Maintenance mode is enabled for this node, but no reason was provided. This is a default message."
)

#: Consul counts changes of every row. Here the answer as a whole has an index, in its header; rows have none.
_INDEXES: Final = {"CreateIndex": 1, "ModifyIndex": 1}


@functools.lru_cache(maxsize=4096)
def node_id(name: str) -> str:
    """The id of the node of that name."""
    return str(uuid.uuid5(_NODES, name))


def node_name(instance: Instance) -> str:
    """The node that an instance is on: its owner, or one that no agent runs on."""
    kept = kept_of(instance)
    return kept.node if kept is not None and kept.node else instance.owner


def shown_id(instance: Instance) -> str:
    """The id of an instance as it was written: ours has before it the node that it was written for."""
    kept = kept_of(instance)
    return kept.id if kept is not None and kept.id else instance.id


@frozen
class CatalogInstance:
    """One instance as its row shows it: with its owner, and whether lookups return it."""

    instance: Instance
    owner: Member | None  # None: it is known from a snapshot only
    healthy: bool

    @property
    def reachable(self) -> bool:
        """Whether its owner is there, as far as this instance tells."""
        return self.healthy if self.instance.health.can_serve else not self.instance.stale


@frozen
class CatalogContext:
    """What all rows of one answer share: the datacenter's name, and the members by name."""

    datacenter: str
    members: Mapping[str, Member]
    facts: Mapping[str, Instance] = attrs.field(factory=dict)  # what nodes state of themselves, by their names
    written: Mapping[str, Instance] = attrs.field(factory=dict)  # nodes without an agent, by their names

    def seen(self, instances: Collection[Instance], healthy: Collection[Instance]) -> Iterator[CatalogInstance]:
        """The instances of one service, of which ``healthy`` are returned by lookups; each is made when asked for."""
        if len(healthy) == len(instances):
            for each in instances:
                yield CatalogInstance(each, self.members.get(each.owner), healthy=True)
            return
        able = {(each.owner, each.id) for each in healthy}
        for each in instances:
            yield CatalogInstance(each, self.members.get(each.owner), (each.owner, each.id) in able)

    # Nodes

    def node(self, member: Member) -> Json:
        """A member, as a node of the catalog."""
        return self._node(member.name, member.address.host, self.meta(member))

    def meta(self, member: Member) -> dict[str, str]:
        """The meta of a node: its zone, and what it was started with."""
        stated = self.facts.get(member.name)
        own = {} if stated is None else {key: value for key, value in stated.meta.items() if "." not in key}
        return {"zone": member.zone, **own} if member.zone else own

    def node_checks(self, name: str) -> list[Json]:
        """The checks of a node itself but for ``serfHealth``: that it is taken out, if it is, and its own."""
        stated, member = self.facts.get(name), self.members.get(name)
        kept = None if stated is None else kept_of(stated)
        found = []
        if member is not None and member.draining:
            found.append(node_maintenance(name, (kept.maintenance if kept is not None else "") or NO_NODE_REASON))
        if stated is not None and kept is not None and not stated.stale:
            found += _kept_checks(stated, kept, of=None)
        return found

    def node_of(self, seen: CatalogInstance) -> Json:
        """The node that an instance is on."""
        name = node_name(seen.instance)
        if name != seen.instance.owner and name not in self.members:
            stated = self.written.get(name)
            return self._node(name, seen.instance.host, {}) if stated is None else self.written_node(stated)
        if seen.owner is None:
            return self._node(seen.instance.owner, seen.instance.host, {})
        return self.node(seen.owner)

    def written_node(self, stated: Instance) -> Json:
        """A node that no agent runs on, as it was written."""
        kept = kept_of(stated) or KeptService()
        row = self._node(kept.node, stated.host, shown_meta(stated))
        tagged, id_ = kept.extra.get("TaggedAddresses"), kept.extra.get("ID")
        address = stated.host if kept.has_address else ""  # it was written only with its services yet
        return {**row, "Address": address, "ID": id_ if isinstance(id_, str) else "", "TaggedAddresses": tagged or {}}

    def _node(self, name: str, host: str, meta: dict[str, str]) -> Json:
        return {
            "ID": node_id(name),
            "Node": name,
            "Address": host,
            "Datacenter": self.datacenter,
            "TaggedAddresses": {"lan": host, "wan": host} | ({"lan_ipv4": host, "wan_ipv4": host} if _v4(host) else {}),
            "Meta": meta,
            **_INDEXES,
        }

    def entry(self, seen: CatalogInstance) -> Json:
        """An instance with its node and its checks."""
        return {"Node": self.node_of(seen), "Service": service(seen.instance), "Checks": self.checks(seen)}

    def checks(self, seen: CatalogInstance) -> list[Json]:
        """The checks of an instance: its node's, its own, and that it is taken out, if it is."""
        owner, name = seen.instance.owner, node_name(seen.instance)
        own = self.own_checks(seen.instance)
        if name in self.written and name not in self.members:
            return [*self.written_checks(name), *own]
        return [self.serf(owner, reachable=seen.reachable), *self.node_checks(owner), *own]

    def state(self, seen: CatalogInstance) -> str:
        """What the checks of an instance come to. For one that simply passes, none of them is written out."""
        instance, owner = seen.instance, seen.owner
        if (
            seen.healthy
            and instance.health is Health.PASSING
            and instance.weight
            and JOINT not in instance.meta
            and node_name(instance) == instance.owner
            and (owner is None or not owner.draining)
            and not self.has_node_checks(instance.owner)
        ):
            return PASSING
        return worst(self.checks(seen))

    def has_node_checks(self, name: str) -> bool:
        """Whether a node has checks of its own."""
        stated = self.facts.get(name)
        kept = None if stated is None else kept_of(stated)
        return kept is not None and bool(kept.checks)

    def serf(self, name: str, *, reachable: bool) -> Json:
        """The check of a node itself. What it says of one in a cell that is not heard, it says so."""
        status, output = (
            (PASSING, "Agent alive and reachable") if reachable else (CRITICAL, "Agent not live or unreachable")
        )
        member = self.members.get(name)
        if member is not None and member.stale:
            output = f"Nothing is heard of its cell {member.cell}"
        return _row(name, SERF, "Serf Health Status", status, output)

    def written_checks(self, name: str) -> list[Json]:
        """The checks of a node that no agent runs on."""
        stated = self.written.get(name)
        kept = None if stated is None else kept_of(stated)
        return [] if stated is None or kept is None else list(_kept_checks(stated, kept, of=None))

    def own_checks(self, instance: Instance) -> list[Json]:
        """The checks of an instance without its node's."""
        owner = self.members.get(instance.owner)
        return own_checks(instance, draining=owner is not None and owner.draining)

    def row(self, seen: CatalogInstance) -> Json:
        """An instance and its node, side by side."""
        node, offered = self.node_of(seen), service(seen.instance)
        return {
            "ID": node["ID"],
            "Node": node["Node"],
            "Address": node["Address"],
            "Datacenter": node["Datacenter"],
            "TaggedAddresses": node["TaggedAddresses"],
            "NodeMeta": node["Meta"],
            "ServiceKind": "",
            "ServiceID": offered["ID"],
            "ServiceName": offered["Service"],
            "ServiceTags": offered["Tags"],
            "ServiceAddress": offered["Address"],
            "ServiceTaggedAddresses": offered.get("TaggedAddresses", {}),
            "ServiceWeights": offered["Weights"],
            "ServiceMeta": offered["Meta"],
            "ServicePort": offered["Port"],
            "ServiceEnableTagOverride": offered["EnableTagOverride"],
            **_INDEXES,
            **({"ServiceLocality": offered["Locality"]} if "Locality" in offered else {}),
        }


def service(instance: Instance) -> Json:
    """An instance. Its current role and term are in its meta."""
    instance = seen_by(instance, KEPT)
    kept = kept_of(instance) or KeptService()
    meta = shown_meta(instance)
    if instance.role is not None:
        meta["role"] = instance.role
    if instance.term:
        meta["term"] = str(instance.term)
    at = {"Address": instance.host, "Port": instance.port}
    tagged = {"lan_ipv4": at, "wan_ipv4": at} if kept.has_address and _v4(instance.host) else {}
    warning = instance.weight if kept.warning_weight is None else kept.warning_weight
    shape: Json = {
        "ID": shown_id(instance),
        "Service": instance.service,
        "Tags": list(instance.tags),
        "Address": instance.host if kept.has_address else "",
        "TaggedAddresses": {**tagged, **kept.tagged},
        "Meta": meta,
        "Port": instance.port,
        "Weights": {"Passing": instance.weight, "Warning": warning},
        "EnableTagOverride": kept.override,
        **_INDEXES,
    }
    shape |= {key: kept.extra[key] for key in AS_WRITTEN if key in kept.extra}
    if not shape["TaggedAddresses"]:
        del shape["TaggedAddresses"]  # as Consul does
    if instance.zone or kept.region:
        shape["Locality"] = {"Region": kept.region, "Zone": instance.zone}
    return shape


def own_service(instance: Instance, datacenter: str) -> Json:
    """An instance as its own agent shows it."""
    row = {key: value for key, value in service(instance).items() if key not in _INDEXES}
    return {**row, "Datacenter": datacenter}


def own_checks(instance: Instance, *, draining: bool = False) -> list[Json]:
    """The checks of an instance without its node's; ``draining`` tells whether that is what it weighs nothing for."""
    instance = seen_by(instance, KEPT)
    if instance.health is Health.MAINTENANCE:
        return [_maintenance(instance, instance.reason or "it is in maintenance")]
    kept = kept_of(instance)
    found = [_check(instance, _UNNAMED)] if kept is None else list(_kept_checks(instance, kept, of=instance))
    if not instance.weight and not draining:
        found.append(_maintenance(instance, "its weight is 0: it is drained, or a policy gives it no share"))
    return found


def node_maintenance(node: str, why: str) -> Json:
    """The check of a node that was taken out."""
    return _row(node, "_node_maintenance", "Node Maintenance Mode", CRITICAL, "", notes=why, kind="maintenance")


def present(member: Member) -> bool:
    """Whether a member is there, for all that its own status tells."""
    return member.status in (Status.ALIVE, Status.SUSPECT)


def worst(found: Iterable[Json]) -> str:
    """What checks come to."""
    return max((each["Status"] for each in found), key=STATES.index, default=PASSING)


def _kept_checks(instance: Instance, kept: KeptService, *, of: Instance | None) -> Iterator[Json]:
    """The checks that a client registered. The gravest has the health of the instance, whose reason begins with it.

    They are ``of`` a service, or None: of a node. How the others are is not known here: they are shown as passing. If
    none of them is the reason, the instance has a check more, which says it.
    """
    if kept.node:
        for id_, each in kept.checks.items():
            stands = kept.standings.get(id_)
            if stands is not None:
                yield _named_check(kept.node, each, stands.status, stands.output, of)
        return
    named, colon, output = instance.reason.partition(": ")
    cause = named if instance.health is not Health.PASSING and named in kept.checks else ""
    is_the_nodes = instance.reason.startswith(NODE_REASON)  # whose own check is shown beside
    if of is not None and not cause and instance.health is not Health.PASSING and not is_the_nodes:
        yield _check(instance, attrs.evolve(_UNNAMED, id=_free_id(instance, named if colon else "", kept)))
    for name, each in kept.checks.items():
        if name == cause:
            output = output if colon and output != _NOT_CHECKED else ""
            yield _named_check(instance.owner, each, str(instance.health), output, of)
        else:
            yield _named_check(instance.owner, each, PASSING, "", of)


def _free_id(instance: Instance, name: str, kept: KeptService) -> str:
    """The id of a check that another API registered, where a client of Consul's has given it the usual one."""
    usual = f"service:{instance.id}"
    return f"{usual}:{name}" if name and usual in {each.id for each in kept.checks.values()} else usual


def _check(instance: Instance, called: KeptCheck) -> Json:
    called = attrs.evolve(called, id=called.id or f"service:{instance.id}")
    return _named_check(instance.owner, called, str(instance.health), instance.reason, instance)


def _named_check(node: str, called: KeptCheck, status: str, output: str, of: Instance | None) -> Json:
    title = called.title or ("" if of is None else f"Service '{of.service}' check")
    return _row(node, called.id, title, status, output, of=of, notes=called.notes, kind=called.type)


def _maintenance(instance: Instance, why: str) -> Json:
    id_ = f"_service_maintenance:{instance.id}"
    return _row(
        instance.owner, id_, "Service Maintenance Mode", CRITICAL, "", of=instance, notes=why, kind="maintenance"
    )


def _row(
    node: str,
    id_: str,
    name: str,
    status: str,
    output: str,
    *,
    of: Instance | None = None,
    notes: str = "",
    kind: str = "",
) -> Json:
    return {
        "Node": node,
        "CheckID": id_,
        "Name": name,
        "Status": status,
        "Notes": notes,
        "Output": output,
        "ServiceID": "" if of is None else shown_id(of),
        "ServiceName": "" if of is None else of.service,
        "ServiceTags": [] if of is None else list(of.tags),
        "Type": kind,
        "Definition": {},
        **_INDEXES,
    }


@functools.lru_cache(maxsize=4096)
def _v4(host: str) -> bool:
    try:
        IPv4Address(host)
    except ValueError:
        return False
    return True
