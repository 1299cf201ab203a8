"""Remote answer: what an agent of another region says of its services, read from untrusted JSON.

An instance is read by `InstanceSpec`, as one that a user registers, and checked as one that a peer gossips. Whatever
cannot be read makes the whole answer unusable: then another agent is asked.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

import attrs
import trio

from gossipreg import limits
from gossipreg.errors import GossipregError
from gossipreg.json_documents import read_json
from gossipreg.model import FENCED, NODE_SERVICE, Address, Health, Instance, Member, Status, is_name
from gossipreg.spec import InstanceSpec
from gossipreg.text import is_text, shown
from gossipreg.values import frozen

#: The fields of an instance that a specification has, too.
_SPECIFIED: Final = ("service", "id", "host", "port", "tags", "meta", "weight", "zone", "role", "term")

#: Length of what a service has too much of (characters).
_BEYOND_CHARS_MAX: Final = 64

#: Instances read between two turns of other tasks.
_STRIDE: Final = 64


class UnusableAnswer(Exception):
    """What an agent of another region sent cannot be used; the message says why."""


@frozen
class RemoteService:
    """One service in an answer."""

    index: int  # of the agent that answered
    healthy: tuple[Instance, ...]
    others: tuple[Instance, ...]
    members: Mapping[str, Member]
    size: int = 0  # of the tags, meta and reasons of its instances (characters)
    beyond: str = ""  # of what it has too much to be told; then nothing else of it is


@frozen
class RemoteDirectory:
    """The services of a region, each with its tags, and the digest that stands for them."""

    digest: str
    services: Mapping[str, tuple[str, ...]]
    is_whole: bool = True  # it lists all


@frozen
class RemoteAnswer:
    """One answer: what has changed of the services that were named in the request."""

    run: str  # of the agent: indexes are those of one run
    waited: float  # how long the agent held the request (seconds)
    age: float  # how old its own view is, when it hears no member (seconds)
    services: Mapping[str, RemoteService]
    left_off: frozenset[str]  # named, and neither told nor confirmed, because the answer was long enough
    directory: RemoteDirectory | None  # None: the same as before


async def read_answer(body: bytes, region: str, wanted: frozenset[str]) -> RemoteAnswer:
    """The answer in ``body`` about services of ``region``, of which ``wanted`` were named in the request.

    Raises `UnusableAnswer`.
    """
    if body.count(b"[") + body.count(b"{") > limits.REGION_ANSWER_BRACKETS_MAX:
        raise UnusableAnswer(f"it has more than {limits.REGION_ANSWER_BRACKETS_MAX} lists and objects")
    try:
        document = read_json(body)
    except ValueError:
        raise UnusableAnswer("it sends no JSON") from None
    table = _table(document, "the answer")
    if table.get("region") != region:
        raise UnusableAnswer(f"it is an agent of the region {shown(table.get('region'))}, not of {region!r}")
    node = table.get("node")
    if not isinstance(node, str) or not is_name(node):
        raise UnusableAnswer(f"its name is {shown(node)}")
    run = table.get("run")
    if not is_text(run, 1, limits.RUN_CHARS_MAX):
        raise UnusableAnswer("what tells its run from others is no short text")
    services: dict[str, RemoteService] = {}
    for name, told in _table(table.get("services"), "services").items():
        if name not in wanted:
            raise UnusableAnswer(f"it tells of {shown(name)}, which was not asked for")
        services[name] = await _service(_table(told, f"services.{name}"), name, region)
    left_off = table.get("left_off")
    if not isinstance(left_off, list) or not all(isinstance(each, str) for each in left_off):
        raise UnusableAnswer("left_off is no list of strings")
    return RemoteAnswer(
        str(run),
        _seconds(table.get("waited"), "waited"),
        _seconds(table.get("age"), "age"),
        services,
        frozenset(left_off),
        _directory(table.get("directory")),
    )


async def _service(table: dict[str, Any], name: str, region: str) -> RemoteService:
    index = table.get("index")
    if not isinstance(index, int) or isinstance(index, bool) or not 0 <= index < 2**63:
        raise UnusableAnswer(f"the index of {name} is {shown(index)}")
    beyond = table.get("beyond")
    if beyond is not None:
        if not is_text(beyond, 1, _BEYOND_CHARS_MAX):
            raise UnusableAnswer(f"what {name} has too much of is no short text")
        return RemoteService(index, (), (), {}, beyond=str(beyond))
    seen: set[tuple[str, str]] = set()
    parts: list[tuple[Instance, ...]] = []
    for part in ("healthy", "others"):
        rows = table.get(part)
        if not isinstance(rows, list):
            raise UnusableAnswer(f"{part} of {name} is {shown(rows)}, not a list")
        if len(seen) + len(rows) > limits.REGION_SERVICE_INSTANCES_MAX:
            raise UnusableAnswer(f"{name} has more than {limits.REGION_SERVICE_INSTANCES_MAX} instances")
        read = []
        for number, row in enumerate(rows):
            if number % _STRIDE == _STRIDE - 1:
                await trio.lowlevel.checkpoint()
            instance = read_instance(_table(row, f"an instance of {name}"), region)
            key = (instance.owner, instance.id)
            if instance.service != name or key in seen:
                raise UnusableAnswer(f"{shown(instance.id)} is told twice, or is no instance of {name}")
            seen.add(key)
            read.append(instance)
        parts.append(tuple(sorted(read, key=lambda each: (each.id, each.owner))))
    owners = {owner for owner, _ in seen}
    members = {}
    for member, row in _table(table.get("members"), f"members of {name}").items():
        if member in owners:
            members[member] = _member(member, _table(row, f"member {member}"))
    return RemoteService(index, parts[0], parts[1], members, sum(map(_size, parts[0])) + sum(map(_size, parts[1])))


def _size(instance: Instance) -> int:
    meta = sum(len(key) + len(value) for key, value in instance.meta.items())
    return sum(map(len, instance.tags)) + meta + len(instance.reason)


def read_instance(row: dict[str, Any], region: str) -> Instance:
    """An instance as another region's agent shows it. Raises `UnusableAnswer`."""
    owner, role, reason = row.get("owner"), row.get("role"), row.get("reason", "")
    if not isinstance(owner, str) or not is_name(owner):
        raise UnusableAnswer(f"an instance's owner is {shown(owner)}")
    if row.get("service") == NODE_SERVICE:
        raise UnusableAnswer(f"{NODE_SERVICE} is no service")
    stated = {key: row[key] for key in _SPECIFIED if key in row}
    if role == FENCED:
        del stated["role"]  # the only role that no instance states: its agents gave it
    try:
        spec = InstanceSpec.read(stated)
        if spec.host is None or spec.id is None:
            raise UnusableAnswer(f"an instance of {owner} lacks its host or its id")
        health = Health(str(row.get("health")))
        instance = attrs.evolve(
            spec.instance(member=owner, host=spec.host, zone=""), health=health, reason=reason, region=region
        )
        instance.check()
    except (GossipregError, ValueError) as error:
        raise UnusableAnswer(f"an instance of {owner} cannot be read: {error}") from None
    stale = row.get("stale", False)
    if not isinstance(stale, bool):
        raise UnusableAnswer(f"stale is {shown(stale)}")
    return attrs.evolve(instance, stale=stale, role=FENCED if role == FENCED else instance.role)


def _member(name: str, row: dict[str, Any]) -> Member:
    address, zone, draining = row.get("address"), row.get("zone", ""), row.get("draining", False)
    if not isinstance(address, str) or not isinstance(zone, str) or not isinstance(draining, bool):
        raise UnusableAnswer(f"member {name} is {shown(row)}")
    if zone and not is_name(zone):
        raise UnusableAnswer(f"the zone of member {name} is {shown(zone)}")
    try:
        return Member(name, Address.parse(address), Status.ALIVE, 0, 0, zone=zone, draining=draining)
    except GossipregError as error:
        raise UnusableAnswer(f"the address of member {name}: {error}") from None


def _directory(value: Any) -> RemoteDirectory | None:
    if value is None:
        return None
    table = _table(value, "directory")
    digest = table.get("digest")
    if not is_text(digest, 1, 64):
        raise UnusableAnswer("the digest of its directory is no short text")
    listed = _table(table.get("services"), "directory.services")
    if len(listed) > limits.REGION_NAMES_MAX:
        raise UnusableAnswer(f"it lists more than {limits.REGION_NAMES_MAX} services")
    services = {}
    for name, tags in listed.items():
        if not is_name(name) or not isinstance(tags, list) or len(tags) > limits.REGION_TAGS_MAX:
            raise UnusableAnswer(f"its directory lists {shown(name)}")
        if not all(is_text(tag, 1, limits.TAG_CHARS_MAX) for tag in tags):
            raise UnusableAnswer(f"its directory has tags of {name} that are no texts")
        services[name] = tuple(tags)
    is_whole = table.get("whole", True)
    if not isinstance(is_whole, bool):
        raise UnusableAnswer(f"whether its directory is whole is {shown(is_whole)}")
    return RemoteDirectory(str(digest), services, is_whole)


def _table(value: Any, what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise UnusableAnswer(f"{shown(what)} is {shown(value)}, not an object")
    return value


def _seconds(value: Any, what: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= limits.AGE_MAX:
        raise UnusableAnswer(f"{what} is {shown(value)}")
    seconds = float(value)
    assert math.isfinite(seconds)
    return seconds
