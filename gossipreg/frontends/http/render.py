"""JSON forms: how members, instances, checks and events look in JSON, in one place."""

from __future__ import annotations

from typing import Any, assert_never

from gossipreg.check import CheckReport
from gossipreg.events import CheckEvent, Event, InstanceEvent, MemberEvent, NodeEvent, RoleEvent, Snapshot
from gossipreg.frontends.serving.node_api import NodeApi
from gossipreg.frontends.serving.reliability import round_up
from gossipreg.identities import MemberIdentity
from gossipreg.model import Instance, Member, ServiceCount
from gossipreg.node_info import NodeInfo
from gossipreg.regional import CellInfo, RegionInfo

Json = dict[str, Any]


def instance(value: Instance) -> Json:
    """One instance, as registered and as it stands. Of its credentials it is told only whether there are any."""
    return {
        "id": value.id,
        "service": value.service,
        "host": value.host,
        "port": value.port,
        "tags": value.tags,
        "meta": value.meta,
        "weight": value.weight,
        "role": value.role,
        "term": value.term,
        "zone": value.zone,
        "health": value.health,
        "owner": value.owner,
        "reason": value.reason,
        "sealed": bool(value.sealed),
        "stale": value.stale,
        **({"region": value.region} if value.region else {}),
    }


def cell(value: CellInfo) -> Json:
    """A cell of the region, and how old what is known of it is."""
    return {
        "name": value.name,
        "own": value.own,
        "members": value.members,
        "failed": value.failed,
        "instances": value.instances,
        "relays": list(value.relays),
        "peers": list(map(str, value.peers)),
        "age": None if value.age is None else round_up(value.age),
        "stale": value.stale,
        "problem": value.problem,
    }


def region(value: RegionInfo) -> Json:
    """A region, and how well the node can reach it."""
    return {
        "name": value.name,
        "own": value.own,
        "agent": value.agent,
        "agents": list(value.agents),
        "connected": value.connected,
        "age": None if value.age is None else round_up(value.age),
        "stale": value.stale,
        "round_trip": None if value.round_trip is None else round(value.round_trip, 6),
        "services": value.services,
        "followed": value.followed,
        "instances": value.instances,
        "problem": value.problem,
    }


def service(count: ServiceCount) -> Json:
    """How many instances one service has."""
    return {"instances": count.instances, "healthy": count.healthy}


def member_identity(value: MemberIdentity) -> Json:
    """What one member proves of itself; times are in seconds since the epoch."""
    return {
        "certificate": value.certificate,
        "authority": value.authority,
        "until": value.until,
        "ready": value.ready,
    }


def member(value: Member) -> Json:
    """One member as this node sees it."""
    return {
        "name": value.name,
        "address": str(value.address),
        "status": str(value.status),
        "generation": value.generation,
        "incarnation": value.incarnation,
        "zone": value.zone,
        "draining": value.draining,
    }


def check(value: CheckReport, output: str | None) -> Json:
    """One check of this node's own, with its output as far as that is shown.

    Of its headers only the names are told: their values may be secrets.
    """
    asked = value.check
    return {
        "instance": value.instance,
        "service": value.service,
        "name": asked.name,
        "kind": asked.kind,
        "target": asked.target,
        "health": value.health,
        "reason": value.reason,
        "health_age": round(value.health_age, 3),
        "flapping": value.flapping,
        "needed": value.needed,
        "runs": value.runs,
        "run_age": None if value.run_age is None else round(value.run_age, 3),
        "took": None if value.took is None else round(value.took, 6),
        "output": output,
        "settings": {**asked.stated(), "headers": sorted(asked.headers)} if asked.headers else asked.stated(),
    }


def node(info: NodeInfo) -> Json:
    """A node about itself. The fingerprint is 16 hexadecimal digits: JSON readers round 64-bit numbers."""
    return {
        "name": info.name,
        "version": info.version,
        "protocol": info.protocol,
        "cluster": info.cluster,
        "region": info.region,
        "address": str(info.address),
        "generation": info.generation,
        "incarnation": info.incarnation,
        "zone": info.zone,
        "local_health": info.local_health,
        "isolated": info.isolated,
        "silence": round(info.silence, 3),
        "reachable": info.reachable,
        "joined": info.joined,
        "join_failures": {each.seed: {"reason": each.reason, "detail": each.detail} for each in info.join_failures},
        "draining": info.draining,
        "leaving": info.leaving,
        "serving_last_known": info.serving_last_known,
        "fingerprint": f"{info.fingerprint:016x}",
        "members": dict(info.members),
        "forgotten": info.forgotten,
        "services": info.services,
        "instances": info.instances,
        "counters": dict(info.counters),
        "paths": dict(info.paths),
        "clock_skew": None if info.clock_skew is None else round(info.clock_skew, 3) + 0.0,  # not -0.0
        "send_errors": dict(info.send_errors),
        "name_conflict": None if info.name_conflict is None else str(info.name_conflict),
        "problems": list(info.problems),
        "warnings": list(info.warnings),
    }


def event(value: Event) -> tuple[str, Json]:
    """An event's name on the stream, and its data."""
    match value:
        case Snapshot():
            return "snapshot", {
                "members": [member(each) for each in value.members],
                "instances": [instance(each) for each in value.instances],
            }
        case InstanceEvent():
            return f"instance-{value.kind}", instance(value.instance)
        case CheckEvent():
            return f"check-{value.kind}", {
                "instance": value.instance,
                "service": value.service,
                "check": value.check,
                "health": value.health,
            }
        case RoleEvent():
            return f"role-{value.kind}", {
                "service": value.service,
                "primary": None if value.primary is None else instance(value.primary),
                "contenders": [instance(each) for each in value.contenders],
            }
        case MemberEvent():
            return f"member-{value.kind}", member(value.member)
        case NodeEvent():
            return f"node-{value.kind}", {
                "name": value.name,
                "isolated": value.kind == "isolated",
                "reachable": round(value.reachable, 4),
            }
        case _:
            assert_never(value)


def written(node: NodeApi, value: Instance) -> Json:
    """What a write answers: the instance as lookups show it and, if it is not called as it was stated, a note."""
    note = node.note(value)
    return {**instance(value), **({"note": note} if note else {})}
