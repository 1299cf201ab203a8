"""Screen model of `gossipreg top`: what the agent sees now, since when, and what has happened lately.

Times are seconds since the epoch; the caller passes the current time.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import attrs

from gossipreg.cli.top.problems import ClusterFacts, Problem, find_problems

#: What details are shown of: "members" or "services", and the name.
Opened = tuple[str, str]

#: Events, and samples of each service, that are kept: more than the tallest and the widest screen can show.
_EVENTS: Final = 500
_SAMPLES: Final = 300


class EventRow(NamedTuple):
    """One event of the agent's stream, and when it was heard."""

    at: float
    name: str
    data: Mapping[str, Any]


@attrs.define(eq=False, repr=False)
class MemberRow:
    """One member as the agent sees it, and since when it does so; None if that is not known."""

    member: Mapping[str, Any]
    since: float | None


@attrs.define(eq=False, repr=False)
class ServiceRow:
    """One service: its healthy instances, how many there are, and the least number healthy in each second."""

    total: int = 0
    healthy: set[tuple[str, str]] = attrs.field(factory=set)  # owner and id
    since: float | None = None  # the latest change of one of its instances
    samples: deque[tuple[int, int]] = attrs.field(factory=lambda: deque(maxlen=_SAMPLES))  # healthy, of how many
    worst: int | None = None  # since the last sample

    def count(self) -> None:
        """Record that the number of healthy instances has changed."""
        self.worst = len(self.healthy) if self.worst is None else min(self.worst, len(self.healthy))
        self.total = max(self.total, len(self.healthy))

    def sample(self, total: int) -> None:
        """Record how many there are and, once that is known, the worst moment of the past second."""
        self.total = max(total, len(self.healthy))
        if self.worst is not None:
            self.samples.append((self.worst, max(self.total, self.worst)))
            self.worst = len(self.healthy)


@attrs.define(eq=False, repr=False)
class ScreenModel:
    """Everything that is shown. Events are applied as they come; the rest is refreshed once a second."""

    node: Mapping[str, Any] = attrs.field(factory=dict)
    members: dict[str, MemberRow] = attrs.field(factory=dict)
    services: dict[str, ServiceRow] = attrs.field(factory=dict)
    events: deque[EventRow] = attrs.field(factory=lambda: deque(maxlen=_EVENTS))
    packets: float | None = None  # a second, both ways
    bytes: float | None = None
    problems: list[Problem] = attrs.field(factory=list)  # as they were found last, gravest first
    instances: dict[tuple[str, str], Mapping[str, Any]] = attrs.field(factory=dict)  # healthy ones, by owner and id
    instance_since: dict[tuple[str, str], float] = attrs.field(factory=dict)  # latest change, by owner and id
    opened: Opened | None = None  # what details are shown of
    told_members: list[Mapping[str, Any]] = attrs.field(factory=list)  # with their versions and round trips
    told_instances: dict[str, list[Mapping[str, Any]]] = attrs.field(factory=dict)  # all of the service that is opened
    told_checks: list[Mapping[str, Any]] = attrs.field(factory=list)  # of the agent
    failed: dict[str, str] = attrs.field(factory=dict)  # why the "events" or the "node" are not known now, if so
    _has_begun: bool = False  # there was a snapshot
    _has_recalled: bool = False  # what had happened before is among the events
    _asked: float | None = None  # when the counters were last read

    @property
    def is_known(self) -> bool:
        """Whether there is something to show: everything, or why not."""
        return self._has_begun or bool(self.failed)

    def apply(self, name: str, data: Mapping[str, Any], now: float) -> None:
        """Apply one event of the agent's stream."""
        if name == "snapshot":
            self._apply_snapshot(data)
            return
        self.events.append(EventRow(now, name, data))
        if name.startswith("member-"):
            self.members[data["name"]] = MemberRow(data, now)
        elif name.startswith("instance-"):
            service = self.services.setdefault(data["service"], ServiceRow())
            key = (data["owner"], data["id"])
            if name == "instance-removed":
                self.instances.pop(key, None)
            else:
                self.instances[key] = data
            (service.healthy.discard if name == "instance-removed" else service.healthy.add)(key)
            service.since = self.instance_since[key] = now
            if name == "instance-removed":
                del self.instance_since[key]
            service.count()

    def _apply_snapshot(self, data: Mapping[str, Any]) -> None:
        """Apply a snapshot. A member whose status is unchanged keeps its time."""
        self.failed.pop("events", None)
        self._has_begun = True
        before, self.members = self.members, {}
        for member in data["members"]:
            row = before.get(member["name"])
            same = row is not None and row.member["status"] == member["status"]
            self.members[member["name"]] = MemberRow(member, row.since if row is not None and same else None)
        self.instances = {(each["owner"], each["id"]): each for each in data["instances"]}
        for service in self.services.values():
            service.healthy.clear()
        for instance in data["instances"]:
            service = self.services.setdefault(instance["service"], ServiceRow())
            service.healthy.add((instance["owner"], instance["id"]))
        for service in self.services.values():
            service.count()

    def recall(self, history: Mapping[str, Any], now: float) -> None:
        """Take in the agent's account of the last hour: since when all is as it is, and what has happened.

        Its times are of the agent's clock, which may differ from the one here.
        """
        ahead = history["now"] - now
        since = history["since"]
        for name, at in since["members"].items():
            if name in self.members:
                self.members[name].since = at - ahead
        known = {row.member["name"]: row.member for row in self.members.values()}
        for each in since["instances"]:
            self.instance_since.setdefault((each["owner"], each["id"]), each["at"] - ahead)
        latest = self.events[0].at if self.events else now
        for each in [*since["instances"], *(each for each in history["changes"] if "service" in each)]:
            service = self.services.get(each["service"])
            if service is not None:
                service.since = max(service.since or 0.0, each["at"] - ahead)
        earlier = [
            EventRow(each["at"] - ahead, each["event"], _as_event(each, known))
            for each in history["changes"]
            if each["at"] - ahead < latest and each["event"].startswith(("member-", "instance-"))
        ]
        heard = [*earlier, *self.events] if not self._has_recalled else [*self.events]
        self._has_recalled = True
        self.events.clear()
        self.events.extend(heard)

    def refresh(self, node: Mapping[str, Any], services: Mapping[str, Any], now: float) -> None:
        """Take in what the agent reports about itself, and how many instances each service has."""
        self.failed.pop("node", None)
        self.packets = self._rate("packets", node, now)
        self.bytes = self._rate("bytes", node, now)
        self.node, self._asked = node, now
        for name in [*self.services.keys() - services.keys()]:
            del self.services[name]
        for name, count in services.items():
            service = self.services.setdefault(name, ServiceRow())
            if self._has_begun and service.worst is None:
                service.count()  # it has no healthy instance, so no event mentions it
            service.sample(count["instances"])

    def find_problems(
        self,
        others: Sequence[Mapping[str, Any]],
        checks: Sequence[Mapping[str, Any]],
        observed: Mapping[str, Any] | None,
        now: float,
    ) -> None:
        """Find what is wrong. ``others``: instances that cannot serve; the rest: see `ClusterFacts`."""
        sick = {(each["owner"], each["id"]): each for each in others}
        facts = ClusterFacts(
            node=self.node,
            members=[row.member for row in self.members.values()],
            since={name: row.since for name, row in self.members.items()},
            instances=list((self.instances | sick).values()),
            checks=checks,
            observed=observed,
        )
        known = {each.key: each.since for each in self.problems}
        found = find_problems(facts)
        self.problems = [
            attrs.evolve(each, since=each.since or known.get(each.key) or self._service_since(each.key) or now)
            for each in found
        ]

    def _service_since(self, key: str) -> float | None:
        """Since when a problem of a service is known, by its key: the latest change there."""
        kind, _, name = key.partition(" ")
        service = self.services.get(name) if kind in ("d", "h", "c") else None
        return None if service is None else service.since

    def _rate(self, what: str, node: Mapping[str, Any], now: float) -> float | None:
        if self._asked is None or now <= self._asked or node["generation"] != self.node["generation"]:
            return None
        ways = [f"{what}_{way}" for way in ("sent", "received")]
        counted = sum(node["counters"].get(way, 0) - self.node["counters"].get(way, 0) for way in ways)
        return float(counted) / (now - self._asked)


def _as_event(change: Mapping[str, Any], members: Mapping[str, Mapping[str, Any]]) -> Mapping[str, Any]:
    """A change of the last hour as an event would tell it, as far as that is known: not its address and its weight."""
    if "member" in change:
        known = members.get(change["member"], {})
        return {"name": change["member"], "address": known.get("address", ""), **change}
    return {"host": "", "port": 0, "weight": change.get("is", {}).get("weight", ""), **change}
