"""Consul's endpoints about the agent itself: its settings, its host, its metrics, the members, and its files."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from gossipreg.frontends.consul import catalog_rows
from gossipreg.frontends.consul.catalog_rows import Json
from gossipreg.frontends.consul.context import ConsulContext, json_response, text_response
from gossipreg.frontends.serving.node_metrics import exposition
from gossipreg.frontends.serving.prometheus import MEDIA
from gossipreg.frontends.serving.response import HttpError, Response, encode
from gossipreg.frontends.serving.time_slices import TimeSlicer
from gossipreg.model import Address, Member, Status
from gossipreg.text import shown

#: The version of Consul's API that this is: its clients compare it.
API_VERSION: Final = "1.18.0"

#: How Serf counts what a member is.
_SERF_STATUS: Final = {Status.ALIVE: 1, Status.SUSPECT: 1, Status.LEFT: 3, Status.FAILED: 4}

_PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")


async def itself(context: ConsulContext) -> Response:
    """The agent about itself."""
    info = context.node.info()
    me = next(each for each in context.node.members() if each.name == info.name)
    config = {
        "Datacenter": info.region,
        "PrimaryDatacenter": info.region,
        "NodeName": info.name,
        "NodeID": catalog_rows.node_id(info.name),
        "Revision": "gossipreg",
        "Server": True,
        "Version": API_VERSION,
    }
    stats = {name: str(count) for name, count in info.counters.items()}
    return json_response(
        {
            "Config": config,
            "DebugConfig": {"SerfAdvertiseAddrLAN": f"tcp://{info.address}"},
            "Coord": None,
            "Member": _member(me, info.region),
            "Meta": context.cluster().meta(me),
            "Stats": {"consul": {"leader_addr": _leader(context)}, "gossipreg": stats},
            "xDS": None,
        }
    )


async def members(context: ConsulContext) -> Response:
    """Every member that is remembered. ``?wan`` asks for those of all datacenters, named with theirs: it is one."""
    cluster = context.node.info().region
    keep = context.filter(_member(_ANY, cluster))
    rows = (_member(each, cluster) for each in context.node.members())
    if context.query.flag("wan"):
        rows = ({**row, "Name": f"{row['Name']}.{cluster}"} for row in rows)
    return Response(200, await TimeSlicer().json_list(row if keep(row) else None for row in rows))


def _member(member: Member, datacenter: str) -> Json:
    return {
        "Name": member.name,
        "Addr": member.address.host,
        "Port": member.address.port,
        "Tags": {"role": "node", "dc": datacenter, "id": catalog_rows.node_id(member.name), "zone": member.zone},
        "Status": _SERF_STATUS[member.status],
        "ProtocolMin": 1,
        "ProtocolMax": 5,
        "ProtocolCur": 2,
        "DelegateMin": 2,
        "DelegateMax": 5,
        "DelegateCur": 4,
    }


async def host(_: ConsulContext) -> Response:
    """The machine of this agent, as far as Python knows it; null is what it does not know."""
    memory = os.sysconf("SC_PHYS_PAGES") * _PAGE_BYTES
    cpu: list[Json] = [{"cpu": number, "modelName": platform.machine()} for number in range(os.cpu_count() or 1)]
    return json_response(
        {
            "Memory": {"total": memory, "available": None},
            "CPU": cpu,
            "Host": {
                "hostname": platform.node(),
                "os": platform.system().lower(),
                "platform": platform.system().lower(),
                "kernelVersion": platform.release(),
                "kernelArch": platform.machine(),
            },
            "Disk": None,
            "CollectionTime": time.time_ns(),
            "Errors": None,
        }
    )


async def metrics(context: ConsulContext) -> Response:
    """The counters in the form of Consul's metrics; with ``?format=prometheus`` what is at /metrics."""
    wanted = context.query.first("format")
    if wanted == "prometheus":
        return Response(200, exposition(context.node, context.server.requests), media=MEDIA)
    if wanted:
        raise HttpError(400, f"format: {shown(wanted)} is not prometheus")
    info = context.node.info()
    began = f"consul.{platform.node()}."
    gauges = {
        "runtime.alloc_bytes": _resident_bytes(),
        "members.alive": info.members.get(str(Status.ALIVE), 0),
        "catalog.service.count": info.services,
        "catalog.service.instance.count": info.instances,
    }
    counters = {f"gossipreg.{name}": count for name, count in info.counters.items()}
    return json_response(
        {
            "Timestamp": datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S +0000 UTC"),
            "Gauges": [{"Name": began + name, "Value": value, "Labels": {}} for name, value in gauges.items()],
            "Points": [],
            "Counters": [_counter(began + name, count) for name, count in counters.items()],
            "Samples": [],
        }
    )


def _counter(name: str, count: int) -> Json:
    return {
        "Name": name,
        "Count": count,
        "Rate": 0,
        "Sum": count,
        "Min": 0,
        "Max": 0,
        "Mean": 0,
        "Stddev": 0,
        "Labels": {},
    }


def _resident_bytes() -> int:
    """How much memory this process takes; 0 where the system does not tell."""
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * _PAGE_BYTES
    except (OSError, IndexError, ValueError):
        return 0


async def reload(context: ConsulContext) -> Response:
    """Read the agent's files again, as on SIGHUP; the answer comes when that is done."""
    if context.server.reload is None:
        raise HttpError(501, "this node has no files to read again: it runs within a program")
    await context.server.audit.write("reload", "done")
    await context.server.reload()
    return text_response(200)


# Agreement without a leader


async def leader(context: ConsulContext) -> Response:
    """The member with the lowest name of those that are there: the same from every agent that sees the same members.

    Programs ask for it to run something once in a datacenter, of whose cells there may be several. It is no lock: in a
    split, or while cells do not hear each other, there is one in each part.
    """
    return json_response(_leader(context))


def _leader(context: ConsulContext) -> str:
    there = [each for each in context.node.region_members() if catalog_rows.present(each) and not each.stale]
    return str(min(there, key=lambda each: each.name).address) if there else ""


async def peers(context: ConsulContext) -> Response:
    """Every member that is there, of all cells."""
    return json_response([str(each.address) for each in context.node.region_members() if catalog_rows.present(each)])


# Events and coordinates


async def events(_: ConsulContext) -> Response:
    """User events: none are fired here."""
    return Response(200, encode([]), ((b"x-consul-index", b"1"),))


async def coordinate_datacenters(context: ConsulContext) -> Response:
    """The coordinates of servers in all datacenters: there is one datacenter."""
    return json_response([{"Datacenter": context.state.datacenter, "AreaID": "lan", "Coordinates": []}])


async def coordinate_nodes(context: ConsulContext) -> Response:
    """Coordinates of the members to which this agent has measured a round trip, and its own."""
    return Response(200, encode(list(_coordinates(context).values())), ((b"x-consul-index", b"1"),))


async def coordinate_node(context: ConsulContext) -> Response:
    """The coordinates of one member."""
    found = _coordinates(context).get(context.arguments["node"])
    if found is None:
        raise HttpError(404, f"there are no coordinates of {context.arguments['node']}: no round trip was measured")
    return Response(200, encode([found]), ((b"x-consul-index", b"1"),))


def _coordinates(context: ConsulContext) -> Mapping[str, Json]:
    """By name. The distance of two is the sum of their heights: the round trip through this agent, at which it is 0."""
    node, found = context.node, {context.node.name: 0.0}
    for each in node.members():
        seconds = node.round_trip(each.name) if catalog_rows.present(each) else None
        if seconds is not None:
            found[each.name] = seconds
    if len(found) == 1:
        return {}
    return {name: {"Node": name, "Segment": "", "Coord": _coordinate(height)} for name, height in found.items()}


def _coordinate(height: float) -> dict[str, Any]:
    return {"Vec": [0.0] * 8, "Error": 0.0 if not height else 0.5, "Adjustment": 0.0, "Height": height}


_ANY: Final = Member("n", Address("127.0.0.1", 1), Status.ALIVE, 0, 0, zone="z")
