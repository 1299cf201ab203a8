"""Verbs of an attached node: those of `gossipreg.Node`, answered from copies or by the agent.

They have the names, parameters and docstrings of that node's: `gossipreg.embed` writes from it what programs call, and
a test compares them.
"""

# ruff: noqa: D102 -- what each does, `gossipreg.runtime.node` says

from __future__ import annotations

import logging
import random
from collections import Counter
from collections.abc import Awaitable, Generator, Iterable, Mapping, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NoReturn, Self, TypeVar

import attrs

from gossipreg.changes import InstanceDiff, member_transition
from gossipreg.config import Attach
from gossipreg.embed.attached.copies import CopiedView, EventsCopy, ServiceCopy
from gossipreg.embed.attached.link import Link
from gossipreg.embed.host_thread import settle
from gossipreg.errors import (
    AgentUnreachable,
    InvalidInstance,
    MemberOnly,
    NodeClosed,
    NoInstance,
    UnknownInstance,
    naming,
)
from gossipreg.keys import KEPT_SECONDS
from gossipreg.model import Address, Event, Health, Instance, MemberEvent, ServiceChange, Snapshot
from gossipreg.protocol.registry.choose import by_weight, by_weight_among, matching, why_none

if TYPE_CHECKING:
    from gossipreg.check import Check, CheckReport
    from gossipreg.keys import GossipKey
    from gossipreg.model import (
        JoinResult,
        Member,
        NodeInfo,
        RegionalDirectory,
        RegionalService,
        RegionInfo,
        ServiceCount,
        ServiceTerm,
    )
    from gossipreg.policy import Policy, Rule, UnreadablePolicy
    from gossipreg.spec import InstanceSpec
    from gossipreg.tokens import ClusterToken

log = logging.getLogger(__name__)

T = TypeVar("T")

#: How long a read that needs the agent waits for it (seconds). The agent of a host answers within a millisecond.
_READ_SECONDS: Final = 5.0


@attrs.frozen
class _Registered:
    """What the program has registered under an id: how it asked for that, and what the agent made of it."""

    document: Mapping[str, Any]
    instance: Instance
    maintenance: str | None = None


class _Settled(Awaitable[T]):
    """Waits for a future in a coroutine that no event loop runs."""

    def __init__(self, future: Future[T]) -> None:
        self._future = future

    def __await__(self) -> Generator[Future[T], None, T]:
        if not self._future.done():
            yield self._future
        return self._future.result()


class AttachedVerbs:
    """The node of an attached process. Reads may be called from any thread; the rest by `AttachedThread.submit`."""

    def __init__(self, attach: Attach) -> None:
        self.link = Link(attach, self._register_again)
        self._rng = random.Random()
        self._registered: dict[str, _Registered] = {}
        self._gone: set[str] = set()  # ids of which the agent may not know that they are not offered any more
        self._last: dict[Any, Any] = {}  # what reads were last answered, for when the agent is away
        self._panics: dict[Any, tuple[int, tuple[Instance, ...]]] = {}  # by service and more: of which index
        self._warnings: dict[str, None] = {}
        self._closed: Future[None] = Future()
        self.has_ended = False
        self.has_registered = False

    def close(self) -> None:
        """Answer no more."""
        self.has_ended = True
        self._closed.set_result(None)

    # Asking

    def _ask(self, verb: str, **values: Any) -> _Settled[Any]:
        self._check_open()
        return _Settled(self.link.ask(verb, values))

    def _read(self, verb: str, **values: Any) -> Any:
        """What the agent answers; while it is away, what it last answered. Raises ``AgentUnreachable``."""
        self._check_open()
        key = verb, *values.values()
        if not self.link.is_connected and key in self._last:
            return self._last[key]
        future = self.link.ask(verb, values)
        try:
            answer = future.result(_READ_SECONDS)
        except (FutureTimeout, AgentUnreachable) as error:
            future.cancel()
            if key in self._last:
                return self._last[key]
            if isinstance(error, AgentUnreachable):
                raise
            raise AgentUnreachable(
                f"the agent at {self.link.attach.agent} has not answered within {_READ_SECONDS:g} s"
            ) from None
        if len(self._last) >= _LAST_MAX:
            self._last.clear()
        self._last[key] = answer
        return answer

    def _read_now(self, verb: str, **values: Any) -> Any:
        """The same, of what a former answer would be no answer to: while the agent is away there is none."""
        self._last.pop((verb, *values.values()), None)
        return self._read(verb, **values)

    def _read_instances(self, verb: str, **values: Any) -> tuple[Instance, ...]:
        """The same, of instances: while the agent is away they are marked stale, as those of copies are."""
        found: tuple[Instance, ...] = self._read(verb, **values)
        return found if self.link.is_connected else tuple(attrs.evolve(each, stale=True) for each in found)

    def _check_open(self) -> None:
        if self.has_ended:
            raise NodeClosed("the node is closed: open a new one")

    def _copy(self, service: str) -> ServiceCopy | None:
        """The copy of a service, when it is there; None if there is no room for one more."""
        copy = self.link.services.get(service)
        if copy is not None and copy.is_there:
            return copy
        if copy is None and not self.link.may_follow:
            return None
        copy, first = self.link.follow(service)
        if first is not None:
            try:
                first.result(_READ_SECONDS)
            except FutureTimeout:
                raise self.link.unreachable() from None
        return copy

    async def _copied(self, service: str) -> ServiceCopy:
        """The same for a task, which waits without blocking."""
        self._check_open()
        copy, first = self.link.follow(service)
        if first is not None:
            await _Settled(first)
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
    def draining(self) -> bool:
        return self.has_ended or bool(self.link.node["draining"])

    @property
    def leaving(self) -> bool:
        return self.has_ended or self.link.is_stopping

    @property
    def reachable(self) -> float:
        return float(self.link.node["reachable"]) if self.link.is_connected else 0.0

    def info(self) -> NodeInfo:
        found: NodeInfo = self._read("info")
        problems = found.problems
        if not self.link.is_connected:
            problems = (*problems, str(self.link.unreachable()))
        return attrs.evolve(found, problems=problems, warnings=(*found.warnings, *self._warnings))

    def warn(self, sentence: str) -> None:
        if sentence not in self._warnings:
            self._warnings[sentence] = None
            log.warning("%s", sentence)

    # Looking up

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
            return self._read_instances("lookup", service=service, **selected, panic=0.0, region=region)
        if self.has_ended:
            if not last_known:
                self._check_open()
            return self._last_known(service, healthy=healthy, tag=tag, zone=zone, role=role)
        copy = self._copy(service)
        if copy is None:
            values = {"healthy": healthy, "tag": tag, "zone": zone, "role": role, "panic": float(panic or 0)}
            return self._read_instances("lookup", service=service, **values)
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
            known = view.index, tuple(self._read("lookup", service=service, **values))
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
        if tag is None and zone is None and role is None and not panic and not self.has_ended:
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
            copy = self.link.services.get(service)
            view = CopiedView() if copy is None else copy.view
            raise NoInstance(why_none(service, view, tag=tag, zone=zone, role=role))
        return picked

    def _last_known(
        self, service: str, *, healthy: bool, tag: str | None, zone: str | None, role: str | None
    ) -> tuple[Instance, ...]:
        copy = self.link.services.get(service)
        view = CopiedView() if copy is None else copy.view
        found = matching(view.healthy if healthy else view.instances, tag=tag, zone=zone, role=role)
        return tuple(attrs.evolve(each, stale=True) for each in found)

    # Other regions: the agent holds what it knows of them, and is asked each time

    def regions(self) -> tuple[RegionInfo, ...]:
        found: tuple[RegionInfo, ...] = self._read_now("regions")
        return found

    def regional_service(self, service: str, region: str) -> RegionalService:
        found: RegionalService = self._read_now("regional_service", service=service, region=region)
        return found

    def regional_directory(self, region: str) -> RegionalDirectory:
        found: RegionalDirectory = self._read_now("regional_directory", region=region)
        return found

    async def fetch(self, service: str, region: str, *, patience: float = 3.0) -> RegionalService:
        found: RegionalService = await self._ask("fetch", service=service, region=region, patience=float(patience))
        return found

    async def fetch_directory(self, region: str, *, patience: float = 3.0) -> RegionalDirectory:
        found: RegionalDirectory = await self._ask("fetch_directory", region=region, patience=float(patience))
        return found

    def with_failover(self, service: str, failover: Sequence[str]) -> tuple[Instance, ...]:
        if not failover:
            return self.lookup(service)
        return self._read_instances("with_failover", service=service, failover=tuple(failover))

    def regional_events(
        self, service: str, *, region: str | None = None, failover: Sequence[str] = ()
    ) -> AttachedEventWatch:
        self._check_open()
        return AttachedEventWatch(self, *self.link.regional_events(service, region=region, failover=tuple(failover)))

    def index(self, service: str | None = None, region: str | None = None) -> int:
        if region is not None and region != self.region:
            return int(self._read("index", service=service, region=region))
        if service is None:
            return int(self._read("index"))
        copy = self._copy(service)
        return 0 if copy is None else copy.view.index

    async def wait_changed(self, service: str | None, index: int, region: str | None = None) -> None:
        is_elsewhere = region is not None and region != self.region
        if service is None or is_elsewhere:
            asked = {"service": service, "region": region} if is_elsewhere else {}
            while await self._ask("index", **asked) == index:
                await self._ask("wait_changed", **asked, index=index)
            return
        copy = await self._copied(service)
        while True:
            changed = copy.changed.next()
            if copy.view.index != index:
                return
            self._check_open()
            await _Settled(changed)

    def services(self) -> Mapping[str, ServiceCount]:
        found: Mapping[str, ServiceCount] = self._read("services")
        return found

    def members(self) -> tuple[Member, ...]:
        found: tuple[Member, ...] = self._read("members")
        return found

    def round_trip(self, name: str) -> float | None:
        found: float | None = self._read("round_trip", name=name)
        return found

    def own(self, id: str) -> Instance | None:
        found = self._registered.get(id)
        return None if found is None else found.instance

    def own_ids(self) -> tuple[str, ...]:
        return tuple(self._registered.copy())

    def stated(self, instance: Instance) -> Instance | None:
        found: Instance | None = self._read("stated", **_named(instance))
        return found

    def credentials(self, instance: Instance) -> Mapping[str, str]:
        found: Mapping[str, str] = self._read("credentials", **_named(instance))
        return found

    def next_term(self, service: str) -> int:
        return int(self._read_now("next_term", service=service))

    def note(self, instance: Instance) -> str:
        return str(self._read("note", **_named(instance)))

    def terms(self) -> tuple[ServiceTerm, ...]:
        found: tuple[ServiceTerm, ...] = self._read("terms")
        return found

    async def reset_term(self, service: str) -> ServiceTerm:
        found: ServiceTerm = await self._ask("reset_term", service=service)
        return found

    def watch(self, service: str) -> AttachedServiceWatch:
        self._check_open()
        return AttachedServiceWatch(self, service)

    def events(self, service: str | None = None, *, panic: float = 0.0, healthy: bool = True) -> AttachedEventWatch:
        self._check_open()
        return AttachedEventWatch(self, *self.link.events(service, panic=float(panic), healthy=healthy))

    async def wait_for(self, service: str, *, at_least: int = 1) -> tuple[Instance, ...]:
        async for change in self.watch(service):
            if len(change.instances) >= at_least:
                return change.instances
        raise NodeClosed(f"the node closed while waiting for {service!r}")

    # Registering

    async def register(
        self,
        service: str,
        *,
        port: int,
        host: str | None = None,
        tags: Sequence[str] = (),
        meta: Mapping[str, str] | None = None,
        weight: int = 1,
        zone: str | None = None,
        role: str | None = None,
        term: int = 0,
        id: str | None = None,
        checks: Sequence[Check | Mapping[str, object]] = (),
        credentials: Mapping[str, str] | None = None,
    ) -> Instance:
        from gossipreg.spec import InstanceSpec  # a process that only looks up does without

        spec = InstanceSpec(
            service=service,
            port=port,
            host=host,
            id=id,
            tags=tags,
            meta={} if meta is None else meta,
            weight=weight,
            zone=zone,
            role=role,
            term=term,
            checks=checks,
            credentials={} if credentials is None else credentials,
        )
        return await self.register_spec(spec)

    async def register_spec(self, spec: InstanceSpec) -> Instance:
        document = self._document(spec)
        try:
            (shown,) = await self._register([document])
        except InvalidInstance as error:
            raise _without_place(error) from None
        return shown

    async def register_many(self, specs: Sequence[InstanceSpec]) -> tuple[Instance, ...]:
        documents = []
        for place, spec in enumerate(specs):
            with naming(f"[{place}]"):
                documents.append(self._document(spec))
        return await self._register(documents)

    def _document(self, spec: InstanceSpec) -> dict[str, Any]:
        """``spec`` as the agent reads it. Raises ``InvalidInstance`` for what no node would register."""
        node = self.link.node
        instance = spec.instance(member=node["name"], host=node["address"].host, zone=node["zone"])
        return {
            "service": spec.service,
            "port": spec.port,
            "host": spec.host,
            "id": instance.id,
            "tags": list(instance.tags),
            "meta": dict(instance.meta),
            "weight": spec.weight,
            "zone": spec.zone,
            "role": spec.role,
            "term": spec.term,
            "checks": [each.stated() for each in spec.checks],
            "credentials": dict(spec.credentials),
        }

    async def _register(self, documents: list[dict[str, Any]]) -> tuple[Instance, ...]:
        self.has_registered = True
        try:
            answers = await self._ask("register_many", specs=documents)
        except AgentUnreachable:
            self._gone |= {document["id"] for document in documents} - self._registered.keys()
            raise
        for document, (shown, own) in zip(documents, answers, strict=True):
            before = self._registered.get(shown.id)
            self._registered[shown.id] = _Registered(document, own, None if before is None else before.maintenance)
            self._gone.discard(shown.id)
        return tuple(shown for shown, _ in answers)

    async def deregister(self, id: str) -> None:
        known = self._registered.pop(id, None)
        try:
            await self._ask("deregister", id=id)
        except UnknownInstance:
            if known is None:  # else it went while the stream was interrupted
                raise
        except AgentUnreachable:
            self._gone.add(id)
            raise

    def _register_again(self) -> None:
        """Have the agent know what it knew before the stream was interrupted. In the link's thread."""
        for id_, each in list(self._registered.items()):
            again = self.link.ask("register_many", {"specs": [each.document]}, again=False)
            again.add_done_callback(partial(_log_failure, id_))
            if each.maintenance is not None:
                self.link.ask("set_maintenance", {"id": id_, "reason": each.maintenance}, again=False)
        for id_ in list(self._gone):
            self.link.ask("deregister", {"id": id_}, again=False)  # within its grace it is still there
        self._gone.clear()

    # Health checks

    @property
    def command_checks(self) -> str:
        return str(self.link.node["command_checks"])

    def checks(self, id: str | None = None) -> tuple[CheckReport, ...]:
        return tuple(self._read("checks", id=id))

    async def heartbeat(
        self,
        id: str,
        *,
        check: str | None = None,
        health: Health = Health.PASSING,
        note: str = "",
    ) -> None:
        if health is Health.MAINTENANCE:
            raise InvalidInstance("health", "'maintenance' is not passing, warning or critical: call set_maintenance")
        await self._ask("heartbeat", id=id, check=check, health=str(health), note=note)

    async def set_maintenance(self, id: str, reason: str | None) -> Instance:
        shown, own = await self._ask("set_maintenance", id=id, reason=reason)
        if id in self._registered:
            self._registered[id] = attrs.evolve(self._registered[id], instance=own, maintenance=reason)
        found: Instance = shown
        return found

    # Policies, and what concerns all nodes

    def policies(self) -> tuple[Policy, ...]:
        found: tuple[Policy, ...] = self._read("policies")
        return found

    def unreadable_policies(self) -> tuple[UnreadablePolicy, ...]:
        found: tuple[UnreadablePolicy, ...] = self._read("unreadable_policies")
        return found

    async def set_policy(self, rule: Rule) -> Policy:
        from gossipreg.policy import check_rule

        check_rule(rule)
        fields = {each.name: getattr(rule, each.name) for each in attrs.fields(type(rule))}
        plain = {name: dict(value) if isinstance(value, Mapping) else value for name, value in fields.items()}
        found: Policy = await self._ask("set_policy", kind=rule.kind, fields=plain)
        return found

    async def remove_policy(self, key: str) -> None:
        await self._ask("remove_policy", key=key)

    def gossip_keys(self) -> tuple[GossipKey, ...]:
        found: tuple[GossipKey, ...] = self._read("gossip_keys")
        return found

    async def add_gossip_key(self, key: str) -> str:
        return str(await self._ask("add_gossip_key", key=key))

    async def use_gossip_key(self, id: str, *, kept: float = KEPT_SECONDS, force: bool = False) -> None:
        await self._ask("use_gossip_key", id=id, kept=float(kept), force=force)

    async def remove_gossip_key(self, id: str) -> None:
        await self._ask("remove_gossip_key", id=id)

    async def reread_keys(self) -> None:
        _members_only("reread_keys", "send SIGHUP to the agent")

    def tokens(self) -> tuple[ClusterToken, ...]:
        _members_only("tokens", "use the agent's HTTP API, or `gossipreg tokens`")

    def tokens_with(self, digest: bytes) -> tuple[ClusterToken, ...]:  # noqa: ARG002 -- a member's parameter
        _members_only("tokens_with", "use the agent's HTTP API, or `gossipreg tokens`")

    async def create_token(self, token: ClusterToken) -> ClusterToken:  # noqa: ARG002
        _members_only("create_token", "use the agent's HTTP API, or `gossipreg tokens`")

    async def revoke_token(self, name: str) -> None:  # noqa: ARG002
        _members_only("revoke_token", "use the agent's HTTP API, or `gossipreg tokens`")

    async def join(self, seeds: str | Iterable[str]) -> JoinResult:  # noqa: ARG002 -- a member's parameter
        _members_only("join", "have the agent do it, by `gossipreg join`")

    async def forget(self, name: str) -> None:
        await self._ask("forget", name=name)

    # Draining and leaving

    @property
    def drained(self) -> str | None:
        found: str | None = self.link.node["drained"]
        return found

    async def drain(self, reason: str = "") -> None:  # noqa: ARG002 -- a member's parameter
        _members_only("drain", "put an instance of this process into maintenance, or drain the agent")

    async def undrain(self) -> None:
        _members_only("undrain", "have the agent do it")

    async def leave(self) -> None:
        self.link.stop()
        await self.wait_closed()

    @property
    def counters(self) -> Counter[str]:
        return Counter(self._read("info").counters)

    @property
    def is_closed(self) -> bool:
        return self.has_ended

    async def wait_closed(self) -> None:
        waiting: Future[None] = Future()  # of its own, since a caller may cancel it
        self._closed.add_done_callback(lambda _: settle(waiting, None))
        await _Settled(waiting)


#: Answers of reads that are remembered for when the agent is away.
_LAST_MAX: Final = 1024


def _named(instance: Instance) -> dict[str, str]:
    return {"service": instance.service, "id": instance.id, "owner": instance.owner}


def _members_only(verb: str, remedy: str) -> NoReturn:
    raise MemberOnly(f"{verb} is for a member, and this process is attached to one: {remedy}")


def _without_place(error: InvalidInstance) -> InvalidInstance:
    """The error about the only one of a list, as one about that."""
    field = error.field
    if field is not None and field.startswith("[0]"):
        field = field.removeprefix("[0]").removeprefix(".") or None
    return type(error)(field, error.problem, value=error.value, expected=error.expected)


def _log_failure(id: str, done: Future[Any]) -> None:
    if (
        not done.cancelled()
        and (error := done.exception()) is not None
        and not isinstance(error, NodeClosed | AgentUnreachable)
    ):
        log.warning("instance %s is not registered again: %s", id, error)


class AttachedServiceWatch:
    """One service's healthy instances over time, compared with what was reported last, as members' watches do."""

    def __init__(self, node: AttachedVerbs, service: str) -> None:
        self._node = node
        self._service = service
        self._seen: tuple[Instance, ...] | None = None

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> ServiceChange:
        while True:
            if self._node.has_ended:
                raise StopAsyncIteration
            try:
                copy = await self._node._copied(self._service)  # noqa: SLF001 - it is the node's
            except NodeClosed:
                raise StopAsyncIteration from None
            changed = copy.changed.next()
            step = self._step(copy.view)
            if step is not None:
                return step
            await _Settled(changed)

    def _step(self, view: CopiedView) -> ServiceChange | None:
        is_first = self._seen is None
        diff = InstanceDiff.between(self._seen or (), view.watched)
        if not (is_first or diff):
            return None
        self._seen = view.watched
        return ServiceChange(
            self._service, view.index, view.watched, diff.added, diff.changed, diff.removed, snapshot=is_first
        )


class AttachedEventWatch:
    """Members and instances over time, compared with what was reported last."""

    def __init__(self, node: AttachedVerbs, number: int, copy: EventsCopy) -> None:
        self._node = node
        self._number = number
        self._copy = copy
        self._is_first = True
        self._members: dict[str, Any] = {}
        self._instances: dict[Any, Instance] = {}

    def __aiter__(self) -> Self:
        return self

    async def aclose(self) -> None:
        """Have the agent tell no more."""
        self._node.link.unfollow(self._number)

    def __del__(self) -> None:
        self._node.link.unfollow(self._number)

    async def __anext__(self) -> tuple[Event, ...]:
        while True:
            if self._node.has_ended:
                raise StopAsyncIteration
            changed = self._copy.changed.next()
            if self._copy.refusal is not None:
                raise self._copy.refusal
            if self._copy.is_there and (batch := self._step()):
                return batch
            await _Settled(changed)

    def _step(self) -> tuple[Event, ...]:
        members, instances = dict(self._copy.members), dict(self._copy.instances)
        others = self._copy.take_others()
        before, self._members = self._members, members
        seen, self._instances = self._instances, instances
        if self._is_first:
            self._is_first = False
            return (
                Snapshot(
                    tuple(members[name] for name in sorted(members)),
                    tuple(instances[key] for key in sorted(instances)),
                ),
            )
        batch: list[Event] = []
        for name in dict.fromkeys([*before, *members]):
            was, now = before.get(name), members.get(name)
            kind = member_transition(was, now)
            told = now or was
            if kind is not None and told is not None:
                batch.append(MemberEvent(kind, told))
        batch += InstanceDiff.between(seen.values(), instances.values()).events()
        return (*batch, *others)
