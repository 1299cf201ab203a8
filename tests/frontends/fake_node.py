"""A registry without a cluster: what a node answers, from memory, changed only by what a test tells it."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncGenerator, Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal

import attrs
import trio

from gossipreg.check import Check, CheckReport
from gossipreg.config import read_seeds
from gossipreg.errors import (
    CertificateRefused,
    CredentialsUnavailable,
    InvalidCertificate,
    JoinFailed,
    KeyGivenUp,
    KeyInUse,
    KeyNotHeld,
    MemberPresent,
    NodeClosed,
    NotAnIssuer,
    NotJoined,
    RegionUnavailable,
    UnknownInstance,
    UnknownKey,
    UnknownMember,
    UnknownPolicy,
    UnknownRegion,
    UnknownTerm,
    UnknownToken,
)
from gossipreg.events import Event, InstanceEvent, MemberEvent, Snapshot
from gossipreg.identities import ExposedCredentials, IdentityReport, RevokedCertificate
from gossipreg.key_format import key_id, parse_key
from gossipreg.keys import GossipKey
from gossipreg.model import NODE_SERVICE, Address, Health, Instance, Member, ServiceCount, ServiceTerm, Status
from gossipreg.node_info import JoinFailure, JoinResult, NodeInfo
from gossipreg.observations import ObserverReport
from gossipreg.policy import Policy, Rule, UnreadablePolicy
from gossipreg.regional import CellInfo, RegionalDirectory, RegionalService, RegionInfo
from gossipreg.runtime.regions.failover import Failovers, RegionalOffer, offers_of
from gossipreg.spec import InstanceSpec
from gossipreg.tokens import ClusterToken


def member(name: str, port: int, status: Status = Status.ALIVE) -> Member:
    return Member(
        name=name,
        address=Address("127.0.0.1", port),
        status=status,
        generation=1_700_000_000_000,
        incarnation=0,
        zone="north",
    )


@attrs.define(eq=False)
class FakeNode:
    """It owns what is registered with it; ``hold`` gives it what others own. Closed, it still answers what it knew."""

    name: str = "alpha"
    address: Address = Address("127.0.0.1", 7940)
    cluster: str = "default"
    _region: str = ""
    generation: int = 1_700_000_000_000
    draining: bool = False
    drained: str | None = None
    leaving: bool = False
    joined: bool = True
    join_failures: tuple[JoinFailure, ...] = ()
    isolated: bool = False
    reachable: float = 1.0
    command_checks: str = "off"
    joinable: tuple[str, ...] = ("10.0.0.6:7940",)
    decoded: list[str] = attrs.field(factory=list)
    lookups: int = 0
    checked: dict[str, tuple[Check, ...]] = attrs.field(factory=dict)  # by id
    keys: dict[str, GossipKey] = attrs.field(factory=dict)  # by id
    given_up: set[str] = attrs.field(factory=set)  # ids of keys
    cluster_tokens: dict[str, ClusterToken] = attrs.field(factory=dict)  # by name
    identities: IdentityReport = IdentityReport("off", None, (), (), {})
    is_issuer: bool = True
    rules: dict[str, Rule] = attrs.field(factory=dict)  # by key
    secrets: dict[str, Mapping[str, str]] = attrs.field(factory=dict)  # by id
    counters: Counter[str] = attrs.field(factory=Counter)
    of_cells: tuple[CellInfo, ...] = ()
    elsewhere: dict[str, dict[str, RegionalService]] = attrs.field(factory=dict)  # by region and service
    far_index: int = 7
    cut: bool = False  # nothing is known of any other region
    patience: float | None = None  # with which the last `fetch` was asked (seconds)
    highest: dict[str, int] = attrs.field(factory=dict)  # term that was ever stated, by service
    round_trips: dict[str, float] = attrs.field(factory=dict)  # seconds, by member
    reports: tuple[ObserverReport, ...] = ()  # that `observer_reports` gives
    observed: int = 0  # how often that was asked for
    notes: dict[str, str] = attrs.field(factory=dict)  # by id
    beats: list[tuple[str, str | None, Health, str]] = attrs.field(factory=list)
    _instances: dict[tuple[str, str], Instance] = attrs.field(factory=dict)  # by owner and id
    _members: dict[str, Member] = attrs.field(factory=dict)
    _changes: Counter[str] = attrs.field(factory=Counter)  # of each service
    _everything: int = 0  # changes of whatever it be
    _bell: trio.Event = attrs.field(factory=trio.Event)
    _closed: trio.Event = attrs.field(factory=trio.Event)
    _hidden: int = 0  # of the listeners, those that follow all instances, as the listener's own history does
    _listeners: dict[trio.MemorySendChannel[tuple[Event, ...]], str | None] = attrs.field(factory=dict)

    def __attrs_post_init__(self) -> None:
        self._members[self.name] = member(self.name, self.address.port)

    # What the frontends call

    @property
    def region(self) -> str:
        return self._region or self.cluster

    def decode(self, service: str) -> Iterator[None]:
        self.decoded.append(service)
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
        region: str | None = None,
    ) -> tuple[Instance, ...]:
        self.lookups += 1
        if region not in (None, self.region):
            found = self.regional_service(service, str(region))
            return found.healthy if healthy else found.instances
        return tuple(
            each
            for each in self._sorted()
            if each.service == service
            and (each.health.can_serve or not healthy)
            and (panic or not each.stale or not healthy)
            and (tag is None or tag in each.tags)
            and (zone is None or zone == each.zone)
            and (role is None or role == each.role)
        )

    def cells(self) -> tuple[CellInfo, ...]:
        return self.of_cells

    def regions(self) -> tuple[RegionInfo, ...]:
        others = [RegionInfo(name=name, agent="http://10.1.0.1:8500", round_trip=0.08) for name in self.elsewhere]
        return (RegionInfo(name=self.region, own=True, services=len(self.services())), *others)

    def regional_service(self, service: str, region: str) -> RegionalService:
        held = self._elsewhere(region)
        if service in held:
            return held[service]
        return RegionalService(
            service=service, region=region, index=self.far_index, instances=(), healthy=(), age=0.0, stale=False
        )

    async def fetch(self, service: str, region: str, *, patience: float = 3.0) -> RegionalService:
        self.patience = patience
        return self.regional_service(service, region)

    def regional_directory(self, region: str) -> RegionalDirectory:
        tags = {
            name: tuple(sorted({tag for each in found.instances for tag in each.tags}))
            for name, found in self._elsewhere(region).items()
            if found.instances
        }
        return RegionalDirectory(region=region, index=self.far_index, services=tags, age=0.5, stale=False)

    async def fetch_directory(self, region: str, *, patience: float = 3.0) -> RegionalDirectory:
        self.patience = patience
        return self.regional_directory(region)

    def _elsewhere(self, region: str) -> dict[str, RegionalService]:
        if region not in self.elsewhere:
            raise UnknownRegion(f"no region {region!r} is known here: this node is in {self.region!r}")
        if self.cut:
            raise RegionUnavailable(f"nothing is known of the region {region!r}")
        return self.elsewhere[region]

    def with_failover(
        self,
        service: str,
        failover: Sequence[str],
        *,
        threshold: float = 0.0,
        tag: str | None = None,
        role: str | None = None,
    ) -> tuple[Instance, ...]:
        asked = (service, tuple(failover), threshold, tag, role)
        every = self.lookup(service, healthy=False)
        own = RegionalOffer.of(self.region, self.lookup(service), every, tag=tag, role=role)
        return Failovers(trio.current_time).choose(asked, offers_of(self, asked, own, failover)).healthy

    def regional_events(
        self,
        service: str,
        *,
        region: str | None = None,
        failover: Sequence[str] = (),
        threshold: float = 0.0,
        tag: str | None = None,
        role: str | None = None,
    ) -> AsyncGenerator[tuple[Event, ...], None]:
        found = (
            self.lookup(service, region=region)
            if region
            else self.with_failover(service, failover, threshold=threshold, tag=tag, role=role)
        )

        async def events() -> AsyncGenerator[tuple[Event, ...], None]:
            yield (Snapshot((), found),)

        return events()

    def index(self, service: str | None = None, region: str | None = None) -> int:
        if region not in (None, self.region):
            if service is None:
                return self.far_index
            return self.regional_service(service or "", str(region)).index
        return 1 + (self._everything if service is None else self._changes[service])

    async def wait_changed(self, service: str | None, index: int, region: str | None = None) -> None:
        while self.index(service, region) == index:
            if self._closed.is_set():
                raise NodeClosed(f"node {self.name} is closed")
            await self._bell.wait()

    def services(self) -> Mapping[str, ServiceCount]:
        every = Counter(each.service for each in self._sorted() if each.service != NODE_SERVICE)
        healthy = Counter(each.service for each in self._sorted() if each.health.can_serve)
        return {service: ServiceCount(count, healthy[service]) for service, count in every.items()}

    def members(self) -> tuple[Member, ...]:
        return tuple(each for each in self.region_members() if not each.cell)

    def region_members(self) -> tuple[Member, ...]:
        """Those that name a cell are of another one."""
        return tuple(self._members[name] for name in sorted(self._members))

    def round_trip(self, name: str) -> float | None:
        return self.round_trips.get(name)

    async def observer_reports(self) -> tuple[ObserverReport, ...]:
        await trio.lowlevel.checkpoint()
        self.observed += 1
        return self.reports or (ObserverReport(self.name, "north", version="0.1.0"),)

    def info(self) -> NodeInfo:
        return NodeInfo(
            name=self.name,
            cluster=self.cluster,
            region=self.region,
            address=self.address,
            generation=self.generation,
            incarnation=0,
            zone="north",
            local_health=0,
            joined=self.joined,
            join_failures=self.join_failures,
            send_errors={"EPERM": 1},
            isolated=self.isolated,
            reachable=self.reachable,
            draining=self.draining,
            leaving=self.leaving,
            serving_last_known=False,
            fingerprint=0x0123456789ABCDEF,
            members=Counter(str(each.status) for each in self._members.values()),
            services=len(self.services()),
            instances=len(self._instances),
            version="0.1.0",
            counters={"packets_sent": 12, "packets_received": 11},
        )

    def own(self, id: str) -> Instance | None:
        return self._instances.get((self.name, id))

    def own_ids(self) -> tuple[str, ...]:
        return tuple(id_ for owner, id_ in self._instances if owner == self.name)

    def stated(self, instance: Instance) -> Instance | None:
        return self._instances.get((instance.owner, instance.id))

    async def register(self, service: str, *, port: int, **fields: Any) -> Instance:
        """Register by keywords, as a test does."""
        return await self.register_spec(InstanceSpec(service=service, port=port, **fields))

    async def register_spec(self, spec: InstanceSpec) -> Instance:
        self._check_open()
        instance = spec.instance(member=self.name, host=self.address.host, zone="north")
        if spec.credentials:
            instance = attrs.evolve(instance, sealed=b"sealed")
        self.secrets[instance.id] = spec.credentials
        self.hold(instance)
        self.checked[instance.id] = spec.checks
        return instance

    async def register_many(self, specs: Sequence[InstanceSpec]) -> tuple[Instance, ...]:
        return tuple([await self.register_spec(spec) for spec in specs])

    def credentials(self, instance: Instance) -> Mapping[str, str]:
        """What was registered here; what others own is sealed with a key that it has not."""
        if instance.owner != self.name:
            raise CredentialsUnavailable("sealed with a key which is not here")
        return self.secrets[instance.id]

    def next_term(self, service: str) -> int:
        if not self.joined:
            raise NotJoined(
                f"node {self.name!r} cannot give the next term of {service!r}: it has reached no member yet"
            )
        return 1 + self.highest.get(service, 0)

    def terms(self) -> tuple[ServiceTerm, ...]:
        return tuple(self._term(service) for service in sorted(self.highest))

    async def reset_term(self, service: str) -> ServiceTerm:
        if service not in self.highest:
            raise UnknownTerm(f"no term of a service {service!r} is known: see `gossipreg role list`")
        self.highest[service] = max((each.term for each in self.lookup(service, healthy=False)), default=0)
        return attrs.evolve(self._term(service), reset_by=self.name, reset_at=1767225600.0)

    def _term(self, service: str) -> ServiceTerm:
        primary = next(iter(self.lookup(service, role="primary")), None)
        return ServiceTerm(service, self.highest[service], self.highest[service], primary)

    def note(self, instance: Instance) -> str:
        return self.notes.get(instance.id, "")

    def unreadable_policies(self) -> tuple[UnreadablePolicy, ...]:
        return (UnreadablePolicy("canary:orders", "beta", 5.0),)

    def policies(self) -> tuple[Policy, ...]:
        """Those set here, all by one writer at one moment."""
        return tuple(Policy(self.rules[key], self.name, 1767225600.0) for key in sorted(self.rules))

    async def set_policy(self, rule: Rule) -> Policy:
        self._check_open()
        rule.check()
        self.rules[rule.key] = rule
        self._ring()
        return Policy(rule, self.name, 1767225600.0)

    async def remove_policy(self, key: str) -> None:
        self._check_open()
        if self.rules.pop(key, None) is None:
            raise UnknownPolicy(f"no policy {key!r} is in force: see `gossipreg policy list`")
        self._ring()

    def gossip_keys(self) -> tuple[GossipKey, ...]:
        self._check_open()
        return tuple(self.keys.values())

    def identity(self) -> IdentityReport:
        return self.identities

    async def revoke_certificate(self, revocation: str) -> str:
        if not revocation.startswith("gossipreg-revocation-1 "):
            raise InvalidCertificate("the revocation: not a revocation, as `gossipreg ca revoke` writes it")
        gone = RevokedCertificate("00" * 8, ("beta",), 1767225600.0, (ExposedCredentials("alpha", "db", "db-1"),))
        self.identities = attrs.evolve(self.identities, revoked=(gone,))
        return gone.certificate

    async def issue_certificate(self, request: str) -> str:
        if not request.startswith("gossipreg-certificate-request-1 "):
            raise InvalidCertificate("the request: not a node's request for a certificate")
        if not self.is_issuer:
            raise NotAnIssuer("this agent signs no certificates: it has no issuer_key_file")
        if request.endswith(" none"):
            raise CertificateRefused("the join token is wrong")
        return "gossipreg-certificate-1 AAAA"

    def tokens(self) -> tuple[ClusterToken, ...]:
        return tuple(sorted(self.cluster_tokens.values(), key=lambda each: each.name))

    def tokens_with(self, digest: bytes) -> tuple[ClusterToken, ...]:
        return tuple(each for each in self.tokens() if each.digest == digest.hex())

    async def create_token(self, token: ClusterToken) -> ClusterToken:
        token.check()
        return self.cluster_tokens.setdefault(token.name, attrs.evolve(token, writer=self.name, at=1.0))

    async def revoke_token(self, name: str) -> None:
        if self.cluster_tokens.pop(name, None) is None:
            raise UnknownToken(f"the cluster knows no token {name!r}: see `gossipreg tokens list`")

    async def add_gossip_key(self, key: str) -> str:
        id_ = key_id(parse_key(key, where="key"))
        if id_ in self.given_up:
            raise KeyGivenUp(f"key {id_} was given up by the cluster")
        self.keys[id_] = GossipKey(id_, not self.keys, (self.name,), (), ("beta",), None)
        return id_

    async def use_gossip_key(self, id: str, *, kept: float = 3600.0, force: bool = False) -> None:
        if id not in self.keys:
            raise UnknownKey(f"this node holds no key {id!r}")
        if self.keys[id].not_held_by and not force:
            raise KeyNotHeld(f"key {id} is not held by beta")
        self.keys = {
            name: attrs.evolve(each, primary=name == id, until=1767225600.0 + kept if each.primary else None)
            for name, each in self.keys.items()
        }

    async def remove_gossip_key(self, id: str) -> None:
        if id not in self.keys:
            raise UnknownKey(f"no member holds a key {id!r}")
        if self.keys[id].primary:
            raise KeyInUse(f"key {id} is used by alpha")
        del self.keys[id]
        self.given_up.add(id)

    async def deregister(self, id: str) -> None:
        self._check_open()
        if (self.name, id) not in self._instances:
            raise UnknownInstance(f"this node owns no instance {id!r}")
        self.drop(self._instances[self.name, id])

    def checks(self, id: str | None = None) -> tuple[CheckReport, ...]:
        """All pass since three seconds."""
        if id is not None and self.own(id) is None:
            raise UnknownInstance(f"this node owns no instance {id!r}")
        return tuple(
            CheckReport(
                instance=each,
                service=self._instances[self.name, each].service,
                check=check,
                health=Health.PASSING,
                reason="",
                health_age=3.0,
                flapping=False,
                needed=1,
                runs=4,
                run_age=0.5,
                took=0.002,
                output="200 OK",
            )
            for each, checks in self.checked.items()
            if id in (None, each)
            for check in checks
        )

    async def heartbeat(
        self,
        id: str,
        *,
        check: str | None = None,
        health: Health = Health.PASSING,
        note: str = "",
    ) -> None:
        self.checks(id)
        self.beats.append((id, check, health, note))

    async def set_maintenance(self, id: str, reason: str | None) -> Instance:
        self.checks(id)
        out = {"health": Health.MAINTENANCE, "reason": reason}
        back = {"health": Health.PASSING, "reason": ""}
        self.hold(attrs.evolve(self._instances[self.name, id], **(back if reason is None else out)))
        return self._instances[self.name, id]

    async def join(self, seeds: str | Iterable[str]) -> JoinResult:
        """Those of ``joinable`` are joined, and nothing listens at the others."""
        self._check_open()
        wanted = read_seeds(seeds)
        joined = tuple(each for each in wanted if each in self.joinable)
        detail = "nothing listens there: the connection is refused"
        failures = tuple(JoinFailure(each, "refused", detail) for each in wanted if each not in joined)
        if not joined:
            raise JoinFailed("not joined: " + "; ".join(f"{each.seed}: {each.detail}" for each in failures))
        return JoinResult(joined, failures)

    async def forget(self, name: str) -> None:
        self._check_open()
        if name not in self._members:
            raise UnknownMember(f"no member {name!r} is remembered: see `gossipreg members`")
        if self._members[name].cell:
            raise UnknownMember(f"{name!r} is a member of the cell {self._members[name].cell!r}")
        if self._members[name].status.is_present:
            raise MemberPresent(f"{name!r} is {self._members[name].status}: only a member that failed can be forgotten")
        self._members[name] = attrs.evolve(self._members[name], status=Status.LEFT)
        self._ring()

    async def drain(self, reason: str = "") -> None:
        self.draining = True
        self.drained = reason

    async def undrain(self) -> None:
        self.draining = False
        self.drained = None

    async def events(
        self,
        service: str | None = None,
        *,
        panic: float = 0.0,
        healthy: bool = True,
        all_cells: bool = False,
    ) -> AsyncGenerator[tuple[Event, ...], None]:
        self._check_open()
        members = self.region_members() if all_cells else self.members()
        into, out_of = trio.open_memory_channel[tuple[Event, ...]](100)
        self._listeners[into] = service
        self._hidden += not healthy
        try:
            yield (Snapshot(members, tuple(i for i in self._sorted() if service in (None, i.service))),)
            async with out_of:
                async for batch in out_of:
                    yield batch
        finally:
            del self._listeners[into]
            self._hidden -= not healthy
            into.close()

    async def wait_closed(self) -> None:
        await self._closed.wait()

    # What a test tells it

    def hold_elsewhere(
        self, region: str, service: str, *instances: Instance, age: float = 0.5, stale: bool = False
    ) -> None:
        """Know ``instances`` of a service in another region."""
        self.far_index += 1
        there = tuple(attrs.evolve(each, region=region, stale=stale) for each in instances)
        members = {each.owner: attrs.evolve(member(each.owner, 7940), zone=each.zone) for each in there}
        self.elsewhere.setdefault(region, {})[service] = RegionalService(
            service=service,
            region=region,
            index=self.far_index,
            instances=there,
            healthy=tuple(each for each in there if each.health.can_serve),
            members=members,
            age=age,
            stale=stale,
        )
        self._ring()

    @property
    def listeners(self) -> int:
        return len(self._listeners) - self._hidden

    def hold(self, instance: Instance) -> None:
        """See ``instance`` come or change, of whichever owner."""
        if instance.term:
            self.highest[instance.service] = max(instance.term, self.highest.get(instance.service, 0))
        key = (instance.owner, instance.id)
        kind: Literal["changed", "added"] = "changed" if key in self._instances else "added"
        self._instances[key] = instance
        self._stream_events(InstanceEvent(kind, instance))

    def drop(self, instance: Instance) -> None:
        del self._instances[instance.owner, instance.id]
        self._stream_events(InstanceEvent("removed", instance))

    def fail_checks(self, instance: Instance) -> None:
        self.hold(attrs.evolve(instance, health=Health.CRITICAL))

    def see(self, kind: Literal["joined", "suspect", "alive", "failed", "left"], seen: Member) -> None:
        self._members[seen.name] = seen
        self._publish(MemberEvent(kind, seen), None)

    @property
    def waiting(self) -> int:
        """How many wait for a change."""
        return self._bell.statistics().tasks_waiting

    def close(self) -> None:
        self._closed.set()
        self._bell.set()
        for channel in self._listeners:
            channel.close()

    def _stream_events(self, event: InstanceEvent) -> None:
        self._changes[event.instance.service] += 1
        self._publish(event, event.instance.service)

    def _ring(self) -> None:
        self._everything += 1
        self._bell.set()
        self._bell = trio.Event()

    def _publish(self, event: Event, service: str | None) -> None:
        self._ring()
        for channel, wanted in self._listeners.items():
            if service is None or wanted in (None, service):
                channel.send_nowait((event,))

    def _sorted(self) -> list[Instance]:
        return [self._instances[key] for key in sorted(self._instances)]

    def _check_open(self) -> None:
        if self._closed.is_set():
            raise NodeClosed(f"node {self.name} is closed")
