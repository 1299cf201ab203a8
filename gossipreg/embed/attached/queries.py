"""Queries of an attached node: those of `gossipreg.Node`, answered from copies or by the agent, in any thread."""

# ruff: noqa: D102 -- what each does, `gossipreg.runtime.node_queries` says

from __future__ import annotations

import logging
import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import TimeoutError as FutureTimeout
from typing import TYPE_CHECKING, Any, NoReturn

import attrs

from gossipreg.config import Attach
from gossipreg.embed.attached.answers import READ_SECONDS, Answers
from gossipreg.embed.attached.copies import CopiedView, ServiceCopy
from gossipreg.embed.attached.link import Link
from gossipreg.embed.attached.registered import RegisteredInstances
from gossipreg.errors import MemberOnly, NoInstance
from gossipreg.model import Address, Instance
from gossipreg.protocol.registry.choose import by_weight, by_weight_among, matching, why_none

if TYPE_CHECKING:
    from gossipreg.identities import IdentityReport
    from gossipreg.keys import GossipKey
    from gossipreg.model import Member, ServiceCount, ServiceTerm
    from gossipreg.policy import Policy, UnreadablePolicy
    from gossipreg.regional import CellInfo, RegionalDirectory, RegionalService, RegionInfo
    from gossipreg.tokens import ClusterToken

log = logging.getLogger(__name__)


class AttachedQueries:
    """The queries of an attached node. Any thread may call every method; some wait for the agent, as it answers.

    They have the names, parameters and types of those of a member: the classes that programs use hold a node of either
    kind (`EmbeddedNode`), so a type checker compares the two, and a test their parameters.
    """

    def __init__(self, attach: Attach) -> None:
        self.link = Link(attach, self._back)
        self._answers = Answers(self.link)
        self._own = RegisteredInstances(self.link)
        self._rng = random.Random()
        self._panics: dict[Any, tuple[int, tuple[Instance, ...]]] = {}  # by service and more: of which index
        self._warnings: dict[str, None] = {}

    def _back(self) -> None:
        self._own.register_again()

    def _copy(self, service: str) -> ServiceCopy | None:
        """The copy of a service, when it is there; None if there is no room for one more."""
        copy = self.link.copy_of(service)
        if copy is not None and copy.is_there:
            return copy
        if copy is None and not self.link.may_follow:
            return None
        copy, first = self.link.follow(service)
        if first is not None:
            try:
                first.result(READ_SECONDS)
            except FutureTimeout:
                first.cancel()
                raise self.link.unreachable() from None
        return copy

    # About this node

    @property
    def cluster(self) -> str:
        return str(self.link.node["cluster"])

    @property
    def region(self) -> str:
        return str(self.link.node["region"])

    @property
    def name(self) -> str:
        return str(self.link.node["name"])

    @property
    def address(self) -> Address:
        found: Address = self.link.node["address"]
        return found

    @property
    def isolated(self) -> bool:
        return not self.link.is_connected or bool(self.link.node["isolated"])

    @property
    def reachable(self) -> float:
        return float(self.link.node["reachable"]) if self.link.is_connected else 0.0

    @property
    def draining(self) -> bool:
        return self.link.has_ended or bool(self.link.node["draining"])

    @property
    def drained(self) -> str | None:
        found: str | None = self.link.node["drained"]
        return found

    @property
    def leaving(self) -> bool:
        return self.link.has_ended or self.link.is_stopping

    @property
    def is_closed(self) -> bool:
        return self.link.has_ended

    @property
    def command_checks(self) -> str:
        return str(self.link.node["command_checks"])

    @property
    def counters(self) -> Counter[str]:
        return Counter(self._answers.read("info").counters)

    def warn(self, sentence: str) -> None:
        if sentence not in self._warnings:
            self._warnings[sentence] = None
            log.warning("%s", sentence)

    # Looking up

    def decode(self, service: str) -> Iterator[None]:
        del service  # copies are decoded as they come
        return iter(())

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
        region: str | None = None,
    ) -> tuple[Instance, ...]:
        if region is not None and region != self.region:
            selected = {"healthy": healthy, "tag": tag, "zone": zone, "role": role}
            return self._answers.instances("lookup", service=service, **selected, panic=0.0, region=region)
        if self.link.has_ended:
            if not last_known:
                self.link.check_open()
            return self._last_known(service, healthy=healthy, tag=tag, zone=zone, role=role)
        copy = self._copy(service)
        if copy is None:
            values = {"healthy": healthy, "tag": tag, "zone": zone, "role": role, "panic": float(panic or 0)}
            return self._answers.instances("lookup", service=service, **values)
        view = copy.view
        instances = view.healthy if healthy else view.instances
        if panic and healthy and len(view.healthy) < len(view.instances):
            instances = self._panicked(service, view, float(panic))
        if tag is None and zone is None and role is None:
            return instances
        return matching(instances, tag=tag, zone=zone, role=role)

    def _panicked(self, service: str, view: CopiedView, panic: float) -> tuple[Instance, ...]:
        """What to call in a panic: the agent knows which owners were lost at once. Asked once for each change."""
        if not self.link.is_connected:
            return view.healthy
        known = self._panics.get((service, panic))
        if known is None or known[0] != view.index:
            values = {"healthy": True, "tag": None, "zone": None, "role": None, "panic": panic}
            known = view.index, tuple(self._answers.read("lookup", service=service, **values))
            self._panics[service, panic] = known
        return known[1]

    def pick(
        self,
        service: str,
        *,
        tag: str | None = None,
        zone: str | None = None,
        role: str | None = None,
        panic: float | None = None,
        last_known: bool = False,
        region: str | None = None,
    ) -> Instance:
        if region is not None and region != self.region:
            chosen = by_weight_among(self.lookup(service, tag=tag, zone=zone, role=role, region=region), self._rng)
            if chosen is None:
                raise NoInstance(f"no instance of {service!r} in the region {region!r} can be called now")
            return chosen
        if tag is None and zone is None and role is None and not panic and not self.link.has_ended:
            copy = self._copy(service)
            if copy is not None:
                view = copy.view
                picked = by_weight(view, self._rng)
                if picked is None:
                    raise NoInstance(why_none(service, view, tag=tag, zone=zone, role=role))
                return picked
        found = self.lookup(service, tag=tag, zone=zone, role=role, panic=panic, last_known=last_known)
        picked = by_weight_among(found, self._rng)
        if picked is None:
            copy = self.link.copy_of(service)
            view = CopiedView() if copy is None else copy.view
            raise NoInstance(why_none(service, view, tag=tag, zone=zone, role=role))
        return picked

    def _last_known(
        self, service: str, *, healthy: bool, tag: str | None, zone: str | None, role: str | None
    ) -> tuple[Instance, ...]:
        copy = self.link.copy_of(service)
        view = CopiedView() if copy is None else copy.view
        found = matching(view.healthy if healthy else view.instances, tag=tag, zone=zone, role=role)
        return tuple(attrs.evolve(each, stale=True) for each in found)

    def services(self) -> Mapping[str, ServiceCount]:
        found: Mapping[str, ServiceCount] = self._answers.read("services")
        return found

    def members(self) -> tuple[Member, ...]:
        found: tuple[Member, ...] = self._answers.read("members")
        return found

    def region_members(self) -> tuple[Member, ...]:
        found: tuple[Member, ...] = self._answers.read("region_members")
        return found

    def round_trip(self, name: str) -> float | None:
        found: float | None = self._answers.read("round_trip", name=name)
        return found

    def stated(self, instance: Instance) -> Instance | None:
        found: Instance | None = self._answers.read("stated", **named(instance))
        return found

    def credentials(self, instance: Instance) -> Mapping[str, str]:
        found: Mapping[str, str] = self._answers.read("credentials", **named(instance))
        return found

    def index(self, service: str | None = None, region: str | None = None) -> int:
        if region is not None and region != self.region:
            return int(self._answers.read("index", service=service, region=region))
        if service is None:
            return int(self._answers.read("index"))
        copy = self._copy(service)
        return 0 if copy is None else copy.view.index

    def cells(self) -> tuple[CellInfo, ...]:
        found: tuple[CellInfo, ...] = self._answers.read_now("cells")
        return found

    # Other regions: the agent holds what it knows of them, and is asked each time

    def regions(self) -> tuple[RegionInfo, ...]:
        found: tuple[RegionInfo, ...] = self._answers.read_now("regions")
        return found

    def regional_service(self, service: str, region: str) -> RegionalService:
        found: RegionalService = self._answers.read_now("regional_service", service=service, region=region)
        return found

    def regional_directory(self, region: str) -> RegionalDirectory:
        found: RegionalDirectory = self._answers.read_now("regional_directory", region=region)
        return found

    def with_failover(
        self,
        service: str,
        failover: Sequence[str],
        *,
        threshold: float = 0.0,
        tag: str | None = None,
        role: str | None = None,
    ) -> tuple[Instance, ...]:
        if not failover:
            return self.lookup(service, tag=tag, role=role)
        return self._answers.instances(
            "with_failover",
            service=service,
            failover=tuple(failover),
            threshold=float(threshold),
            tag=tag,
            role=role,
        )

    # Own instances

    def own(self, id: str) -> Instance | None:
        return self._own.instance(id)

    def own_ids(self) -> tuple[str, ...]:
        return self._own.ids()

    def note(self, instance: Instance) -> str:
        return str(self._answers.read("note", **named(instance)))

    # What concerns all nodes

    def policies(self) -> tuple[Policy, ...]:
        found: tuple[Policy, ...] = self._answers.read("policies")
        return found

    def unreadable_policies(self) -> tuple[UnreadablePolicy, ...]:
        found: tuple[UnreadablePolicy, ...] = self._answers.read("unreadable_policies")
        return found

    def terms(self) -> tuple[ServiceTerm, ...]:
        found: tuple[ServiceTerm, ...] = self._answers.read("terms")
        return found

    def next_term(self, service: str) -> int:
        return int(self._answers.read_now("next_term", service=service))

    def gossip_keys(self) -> tuple[GossipKey, ...]:
        found: tuple[GossipKey, ...] = self._answers.read("gossip_keys")
        return found

    def identity(self) -> IdentityReport:
        members_only("identity", "use the agent's HTTP API, or `gossipreg ca members`")

    def tokens(self) -> tuple[ClusterToken, ...]:
        members_only("tokens", "use the agent's HTTP API, or `gossipreg tokens`")

    def tokens_with(self, digest: bytes) -> tuple[ClusterToken, ...]:  # noqa: ARG002 -- a member's parameter
        members_only("tokens_with", "use the agent's HTTP API, or `gossipreg tokens`")


def named(instance: Instance) -> dict[str, str]:
    """The arguments that name ``instance`` to the agent."""
    return {"service": instance.service, "id": instance.id, "owner": instance.owner}


def members_only(verb: str, remedy: str) -> NoReturn:
    """Raise ``MemberOnly`` for a verb that an attached process has no use for."""
    raise MemberOnly(f"{verb} is for a member, and this process is attached to one: {remedy}")
