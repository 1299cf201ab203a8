"""Node: the API of a running node: register, look up, pick, watch, leave."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import attrs
import trio

from gossipreg.check import Check, CheckReport
from gossipreg.config import parse_key
from gossipreg.counters import Count
from gossipreg.errors import InvalidInstance, NodeClosed, NoInstance, UnknownRegion, naming
from gossipreg.keys import KEPT_SECONDS, GossipKey
from gossipreg.model import (
    NODE_SERVICE,
    PRIMARY,
    Address,
    CheckEvent,
    Health,
    Instance,
    JoinResult,
    Member,
    NodeEvent,
    NodeInfo,
    RegionalDirectory,
    RegionalService,
    RegionInfo,
    ServiceCount,
    ServiceTerm,
    check_reason,
)
from gossipreg.policy import Policy, Rule, UnreadablePolicy, check_rule
from gossipreg.protocol.engine import Engine
from gossipreg.protocol.membership.member_update import MemberUpdate
from gossipreg.protocol.registry.checks import Finding
from gossipreg.protocol.registry.choose import by_weight, by_weight_among, matching, why_none
from gossipreg.protocol.registry.panic import Lost
from gossipreg.protocol.registry.terms import TermRegister
from gossipreg.runtime.lifecycle import NodeLifecycle
from gossipreg.runtime.node_context import NodeContext
from gossipreg.runtime.node_info import node_info
from gossipreg.runtime.regions.failover import failed_over
from gossipreg.runtime.registrar import Registrar
from gossipreg.runtime.registrations import LocalRegistration, registration_note
from gossipreg.runtime.watches import EventWatch, RegionalWatch, ServiceWatch
from gossipreg.spec import InstanceSpec
from gossipreg.tokens import ClusterToken

if TYPE_CHECKING:
    from gossipreg.runtime.regions.regions import Regions

_Read = TypeVar("_Read", bound=Callable[..., object])


def any_thread(read: _Read) -> _Read:
    """Mark a method that answers from memory, so that any thread may call it. `gossipreg.embed` is made from this."""
    return read


@attrs.define(eq=False, repr=False)
class Node:
    """One member of the cluster, living in this process. Get one from `open_node`.

    Properties, and the methods marked with ``any_thread``, may be read from any thread; the others may be called only
    from the trio task tree that opened the node. After a change to a public method's name, parameters or docstring, run
    ``python -m tests.embed.node_modules``.
    """

    _lifecycle: NodeLifecycle
    _context: NodeContext = attrs.field(init=False)
    _registrar: Registrar = attrs.field(init=False)
    _engine: Engine = attrs.field(init=False)
    _rng: random.Random = attrs.field(init=False, factory=random.Random)

    def __attrs_post_init__(self) -> None:
        self._context = self._lifecycle.context
        self._registrar = self._lifecycle.registrar
        self._engine = self._context.engine

    # About this node

    @property
    def cluster(self) -> str:
        """The cluster's name."""
        return self._context.cluster

    @property
    def region(self) -> str:
        """The region of the cluster, which Consul's clients know as the datacenter; the cluster's name by default."""
        return self._context.region

    @property
    def name(self) -> str:
        """This member's name."""
        return self._engine.identity.name

    @property
    def address(self) -> Address:
        """The address at which other members reach this node."""
        return self._engine.identity.address

    @property
    def isolated(self) -> bool:
        """Whether no message of a member has come for 4 probe intervals, so that answers may be stale."""
        return self._engine.isolated  # updated once in an interval: every HTTP answer has this, so it must be cheap

    @property
    def draining(self) -> bool:
        """Whether this node asks that its instances get no new work: it drains, or has left."""
        return self._engine.identity.draining or self._engine.identity.left

    @property
    def leaving(self) -> bool:
        """Whether this node has begun to leave the cluster, or has left it."""
        return self._lifecycle.leaving

    @property
    def reachable(self) -> float:
        """The share of the other members, without those that left, that are alive; 1.0 if there are no others."""
        return self._engine.members.reachable

    def info(self) -> NodeInfo:
        """This node's description of itself: its identity, its state, counters, problems and warnings."""
        return node_info(self._lifecycle, self._members(), self._services())

    @any_thread
    def warn(self, sentence: str) -> None:
        """Log a warning about how this node is set up, once, and show it in `info` for as long as the node lives.

        For code around a node, such as a listener beyond loopback. ``sentence`` names the danger and the remedy.
        """
        self._lifecycle.warn(sentence)

    # Looking up

    @any_thread
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
        """The instances of ``service`` that can serve, or all with ``healthy=False``, sorted by id; from memory.

        ``tag``, ``zone`` and ``role`` select; None selects all. ``panic`` is a share from 0 to 1: when less than this
        share can be reached because many owners failed at once, the lost instances are included, marked stale.
        A closed node raises ``NodeClosed``, or what closed it; with ``last_known`` it answers with what it knew when it
        closed, all marked stale, for a program that ends its last requests.

        ``region`` is where they are wanted; None is the node's own. Another one is answered from what the node holds of
        it, marked stale when no agent there confirms it any more; ``panic`` then means nothing. Raises
        ``UnknownRegion``, and ``RegionUnavailable`` if it holds nothing, as at first: `fetch` waits for it.
        """
        if region is not None and region != self.region:
            found = self.regional_service(service, region)
            return matching(found.healthy if healthy else found.instances, tag=tag, zone=zone, role=role)
        if self._context.has_ended:
            if not last_known:
                self._context.check_open()
            return self._last_known(service, healthy=healthy, tag=tag, zone=zone, role=role)
        view = self._engine.view.service(service)
        instances = view.healthy if healthy else view.instances
        if panic and healthy and view.lost is not None and view.lost.share < panic:
            instances = self._panicked(view.lost)
        if tag is None and zone is None and role is None:
            return instances
        return matching(instances, tag=tag, zone=zone, role=role)

    @any_thread
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
        """One of the instances that `lookup` returns, at random in proportion to weights. Raises ``NoInstance``."""
        if region is not None and region != self.region:
            found = self.lookup(service, tag=tag, zone=zone, role=role, region=region)
            picked = by_weight_among(found, self._rng)
            if picked is None:
                raise NoInstance(f"no instance of {service!r} in the region {region!r} can be called now")
            return picked
        has_ended = self._context.has_ended
        if has_ended and not last_known:
            self._context.check_open()
        view = self._engine.view.service(service)
        if tag is None and zone is None and role is None and not panic and not has_ended:
            picked = by_weight(view, self._rng)
        else:
            found = self.lookup(service, tag=tag, zone=zone, role=role, panic=panic, last_known=last_known)
            picked = by_weight_among(found, self._rng)
        if picked is None:
            raise NoInstance(why_none(service, view, tag=tag, zone=zone, role=role))
        return picked

    def _followed(self, region: str) -> Regions:
        """The regions that are followed, of which ``region`` is one, or may be. Raises ``UnknownRegion``."""
        if self._context.has_ended:
            self._context.check_open()
        if self._context.regions is None:
            raise UnknownRegion(
                f"no region {region!r} is known here: this node is in {self.region!r} and follows no other"
            )
        return self._context.regions

    def _last_known(
        self, service: str, *, healthy: bool, tag: str | None, zone: str | None, role: str | None
    ) -> tuple[Instance, ...]:
        view = self._engine.view.service(service)
        found = matching(view.healthy if healthy else view.instances, tag=tag, zone=zone, role=role)
        return tuple(attrs.evolve(each, stale=True) for each in found)

    def _panicked(self, lost: Lost) -> tuple[Instance, ...]:
        self._context.counters[Count.PANICKED_LOOKUPS] += 1
        return lost.instances

    # Other regions

    @any_thread
    def regions(self) -> tuple[RegionInfo, ...]:
        """The regions that this node knows, its own first, with how well it can reach each."""
        counts = self.services()
        own = RegionInfo(
            name=self.region,
            own=True,
            services=len(counts),
            followed=len(counts),
            instances=sum(count.instances for count in counts.values()),
        )
        return (own, *(() if self._context.regions is None else self._context.regions.infos()))

    @any_thread
    def regional_service(self, service: str, region: str) -> RegionalService:
        """What this node holds of ``service`` in another region, with its age. It is followed from now on.

        Raises ``UnknownRegion``, and ``RegionUnavailable`` if the node holds nothing of it: see `fetch`.
        """
        return self._followed(region).service(service, region)

    @any_thread
    def regional_directory(self, region: str) -> RegionalDirectory:
        """The services of another region, as far as this node may see them.

        Raises ``UnknownRegion``, and ``RegionUnavailable`` if no agent there has told them.
        """
        return self._followed(region).directory(region)

    async def fetch(self, service: str, region: str, *, patience: float = 3.0) -> RegionalService:
        """As `regional_service`, once an agent there has answered; waits up to ``patience`` seconds for that."""
        return await self._followed(region).fetch(service, region, patience)

    async def fetch_directory(self, region: str, *, patience: float = 3.0) -> RegionalDirectory:
        """As `regional_directory`, once an agent there has answered; waits up to ``patience`` seconds for that."""
        return await self._followed(region).fetch_directory(region, patience)

    @any_thread
    def with_failover(self, service: str, failover: Sequence[str]) -> tuple[Instance, ...]:
        """The healthy instances of ``service`` here, or if there are none, in the first region that has some.

        ``failover`` are regions in order; ``nearest`` stands for those that it does not name, the one with the shortest
        round trip first. Regions that cannot be reached come last, with what was known of them, marked stale. All of
        them are followed from now on. Raises ``UnknownRegion``.
        """
        here = self.lookup(service)
        if not failover:
            return here
        return failed_over(self, service, here, self._followed(failover[0]).in_order(failover))

    def regional_events(
        self, service: str, *, region: str | None = None, failover: Sequence[str] = ()
    ) -> RegionalWatch:
        """Watch the healthy instances of ``service`` in another ``region``, or those that `with_failover` returns.

        In batches, first a ``Snapshot`` without members. Raises ``UnknownRegion``, ``NodeClosed``.
        """
        self._context.check_open()
        own = self._context.change_log
        if region is not None and region != self.region:
            regions = self._followed(region)
            read, logs = partial(regions.held, service, region), [own, *regions.change_logs([region])]
        elif failover:
            regions = self._followed(failover[0])
            named = regions.in_order(failover)
            read, logs = partial(self.with_failover, service, failover), [own, *regions.change_logs(named)]
        else:
            read, logs = partial(self.lookup, service), [own]
        return RegionalWatch(read, logs, lambda: self._context.failure)

    @any_thread
    def index(self, service: str | None = None, region: str | None = None) -> int:
        """A number that grows whenever a lookup of ``service`` may answer differently; it never falls.

        Without a service it grows whenever any service, member or policy has changed; in another ``region`` whenever a
        service has come or gone. Raises ``UnknownRegion``.
        """
        if region is not None and region != self.region:
            return self._followed(region).index(service, region)
        return self._context.change_log.position if service is None else self._engine.view.service(service).index

    async def wait_changed(self, service: str | None, index: int, region: str | None = None) -> None:
        """Return when `index` differs from ``index``. Raises ``NodeClosed``, or what closed the node."""
        if region is not None and region != self.region:
            await self._followed(region).wait_changed(service, region, index)
            return
        change_log = self._context.change_log
        while not change_log.closed and self.index(service) == index:
            await (change_log.wait(index) if service is None else change_log.wait_for(("service", service)))
        await trio.lowlevel.checkpoint()
        if self.index(service) == index:
            raise self._context.failure or NodeClosed(f"node {self.name!r} is closed")

    @any_thread
    def services(self) -> Mapping[str, ServiceCount]:
        """The services that have instances, each with the numbers of all and of healthy ones."""
        if self._context.has_ended:
            self._context.check_open()
        return self._services()

    def _services(self) -> Mapping[str, ServiceCount]:
        return {name: count for name, count in self._engine.view.counts().items() if name != NODE_SERVICE}

    @any_thread
    def members(self) -> tuple[Member, ...]:
        """The remembered members, this node included, sorted by name."""
        if self._context.has_ended:
            self._context.check_open()
        return self._members()

    def _members(self) -> tuple[Member, ...]:
        snapshot = {update.name: update for update in self._engine.members.snapshot()}
        snapshot[self.name] = self._engine.identity.own_update()
        return tuple(snapshot[name].as_member() for name in sorted(snapshot))

    @any_thread
    def round_trip(self, name: str) -> float | None:
        """The smoothed round trip to the member of that name (seconds); None if none was measured."""
        if self._context.has_ended:
            self._context.check_open()
        update = self._engine.members.get(name)
        return None if update is None else self._engine.detector.prober.trips.smoothed(update.run_id)

    @any_thread
    def own(self, id: str) -> Instance | None:
        """This node's own instance of that id as it was registered, or None."""
        return self._engine.own(id)

    @any_thread
    def own_ids(self) -> tuple[str, ...]:
        """The ids of this node's own instances, in the order in which they were first registered."""
        return tuple(self._registrar.registrations.copy())

    @any_thread
    def stated(self, instance: Instance) -> Instance | None:
        """``instance`` as its owner stated it, before policies, its role's term and its owner's drain or failure.

        None if it is gone.
        """
        record = self._engine.state.registry.records_of(instance.service).get((instance.id, instance.owner))
        return None if record is None else record.instance

    @any_thread
    def credentials(self, instance: Instance) -> Mapping[str, str]:
        """The credentials with which a client logs in to ``instance``. Raises ``CredentialsUnavailable``."""
        return self._registrar.keyring.open(instance)

    @any_thread
    def next_term(self, service: str) -> int:
        """One more than the highest term that this node knows of ``service``, by present and past instances.

        For an instance that becomes the primary. Two nodes may return the same number at the same time: see
        docs/roles.md. Raises ``NotJoined`` until the node has reached a member, if it was given seeds, and
        ``InvalidInstance`` if the highest term is the greatest possible.
        """
        if self._context.has_ended:
            self._context.check_open()
        return self._lifecycle.policies.next_term(service)

    @any_thread
    def note(self, instance: Instance) -> str:
        """Why ``instance``, as `register` or `set_maintenance` returned it, is not called as it was registered.

        Empty if it is. Reasons are: it is fenced, a policy changes its weight, a check has not passed, this node
        drains.
        """
        return registration_note(instance, self._engine)

    @any_thread
    def terms(self) -> tuple[ServiceTerm, ...]:
        """The highest term of each service that ever had one, sorted by service."""
        if self._context.has_ended:
            self._context.check_open()
        return tuple(self._term(register) for register in self._engine.state.terms)

    def _term(self, register: TermRegister) -> ServiceTerm:
        instances = self._engine.view.service(register.service).instances
        primary = next((each for each in instances if each.role == PRIMARY), None)
        reset = register.reset
        return ServiceTerm(
            register.service,
            register.claimed,
            register.seen,
            primary,
            None if reset is None else reset.writer,
            None if reset is None else reset.ms / 1000,
        )

    async def reset_term(self, service: str) -> ServiceTerm:
        """Restart the terms of ``service`` on every node, from the highest that its instances state now.

        The only way to lower a term that was given by mistake: deregister the instance that states it, then reset. The
        result names the node and the time of the reset. Raises ``UnknownTerm``, ``NotJoined``, ``NodeClosed``, and
        ``StorageError`` if this node's disk refuses it: then nothing has changed.
        """
        await self._lifecycle.policies.reset_term(service)
        return self._term(self._engine.state.terms.get(service) or TermRegister(service))

    def watch(self, service: str) -> ServiceWatch:
        """Watch the healthy instances of ``service``: first a snapshot, then diffs. Raises ``NodeClosed``."""
        self._context.check_open()
        return ServiceWatch(service, self._engine.view, self._context.change_log, lambda: self._context.failure)

    def events(self, service: str | None = None, *, panic: float = 0.0, healthy: bool = True) -> EventWatch:
        """Watch members and instances, in batches: first a ``Snapshot``, then what changed. Raises ``NodeClosed``.

        With ``service``, of the instances only that service's. ``panic``: as in `lookup`. Without ``healthy``, also the
        instances that cannot serve: then one is removed only when it is gone.
        """
        self._context.check_open()
        return EventWatch(
            service,
            self._engine.view,
            self._member,
            self.members,
            self._flap,
            self._registrar.monitor.flapping,
            self._context.change_log,
            lambda: NodeEvent("isolated" if self.isolated else "heard", self.name, self.reachable),
            lambda: self._context.failure,
            panic=panic,
            healthy=healthy,
        )

    def _flap(self, entry: str) -> CheckEvent | None:
        """The event of one of this node's own checks, named by its instance's id and its own name."""
        id_, _, name = entry.partition(" ")
        registration, state = self._registrar.registrations.get(id_), self._registrar.monitor.state(id_, name)
        if registration is None or state is None:
            return None
        return CheckEvent(
            "flapping" if state.flapping else "steady", id_, registration.instance.service, name, state.health
        )

    def _member(self, name: str) -> Member | None:
        update: MemberUpdate | None = self._engine.members.get(name)
        if name == self.name:
            update = self._engine.identity.own_update()
        return None if update is None else update.as_member()

    async def wait_for(self, service: str, *, at_least: int = 1) -> tuple[Instance, ...]:
        """Wait until ``service`` has ``at_least`` healthy instances or more; returns them. Raises ``NodeClosed``."""
        async for change in self.watch(service):
            if len(change.instances) >= at_least:
                return change.instances
        raise NodeClosed(f"node {self.name!r} closed while waiting for {service!r}")

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
        """Register an instance, or replace this node's own instance of the same id; returns it as lookups show it.

        The result has the role that its term allows (``fenced`` below a higher term), the weight that policies give it,
        and the health of its checks; `note` says why it differs from what was registered.

        ``host`` and ``zone`` default to this node's own. The default ``id`` is made of service, member (or the given
        host) and port, so that registering again replaces the instance; an unchanged check keeps its state. Without
        ``checks`` the instance can serve as long as this node lives. ``credentials``, with which clients log in, are
        sealed under the credential key. With a data directory the registration is on disk when this returns. Raises
        ``InvalidInstance``, ``RecordTooLarge``, ``NodeClosed``, ``StorageError``, and ``CredentialsUnavailable`` for
        credentials without a credential key.
        """
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
        """Register the instance that ``spec`` describes. Returns and raises as `register` does."""
        return await self._registrar.register(self._registration(spec))

    async def register_many(self, specs: Sequence[InstanceSpec]) -> tuple[Instance, ...]:
        """Register all instances that ``specs`` describe or, if one of them cannot be registered, none.

        They share one write to disk, one change of each service's index, and their packets. Returns the instances in
        the order of ``specs``, as `register` does, and raises likewise. An error about one has its place before the
        field, as in ``[3].port``; two of the same id are an error.
        """
        registrations = []
        for place, spec in enumerate(specs):
            with naming(f"[{place}]"):
                registrations.append(self._registration(spec))
        return await self._registrar.register_many(registrations)

    def _registration(self, spec: InstanceSpec) -> LocalRegistration:
        if self.command_checks == "off" and spec.runs_commands:
            raise InvalidInstance("checks", 'commands are off on this node: set command_checks to "own" or "api"')
        zone = self._engine.identity.zone
        return LocalRegistration.of(spec, member=self.name, host=self.address.host, zone=zone)

    async def deregister(self, id: str) -> None:
        """Withdraw this node's own instance ``id``. Raises ``UnknownInstance``, ``NodeClosed``, ``StorageError``."""
        await self._registrar.deregister(id)

    # Health checks

    @property
    def command_checks(self) -> str:
        """Which health checks may run commands on this node: see `Config`."""
        return self._registrar.command_checks

    def checks(self, id: str | None = None) -> tuple[CheckReport, ...]:
        """The checks of this node's own instance ``id``, or of all its instances, in the order of registration.

        Raises ``UnknownInstance``, ``NodeClosed``.
        """
        self._context.check_open()
        registrations = (
            list(self._registrar.registrations.values()) if id is None else [self._registrar.registration_of(id)]
        )
        reports = (
            self._registrar.monitor.reports(registration.instance.id, registration.instance.service)
            for registration in registrations
        )
        return tuple(report for each in reports for report in each)

    async def heartbeat(
        self,
        id: str,
        *,
        check: str | None = None,
        health: Health = Health.PASSING,
        note: str = "",
    ) -> None:
        """Report the health of this node's own instance ``id`` to its ttl check named ``check``, or to all of them.

        ``health`` is passing, warning or critical; ``note`` is shown beside it. Raises ``UnknownInstance``,
        ``NodeClosed``, and ``InvalidInstance`` if there is no such ttl check.
        """
        if health is Health.MAINTENANCE:
            raise InvalidInstance("health", "'maintenance' is not passing, warning or critical: call set_maintenance")
        self._registrar.registration_of(id)
        self._registrar.monitor.beat(
            id, check, Finding(health, note or ("" if health is Health.PASSING else "as it says"))
        )
        await trio.lowlevel.checkpoint()

    async def set_maintenance(self, id: str, reason: str | None) -> Instance:
        """Put this node's own instance ``id`` into maintenance, with a ``reason`` that all nodes show; None ends it.

        The instance stays in maintenance over a restart, and when it is registered again. Its checks go on. Returns it
        as lookups show it. Raises ``UnknownInstance``, ``InvalidInstance``, ``NodeClosed``, ``StorageError``.
        """
        if reason is not None:
            attrs.evolve(self._registrar.registration_of(id).instance, reason=reason).check()
        return await self._registrar.change(id, lambda registration: attrs.evolve(registration, maintenance=reason))

    # Policies, and what concerns all nodes

    @any_thread
    def policies(self) -> tuple[Policy, ...]:
        """The policies in force, sorted by key."""
        if self._context.has_ended:
            self._context.check_open()
        return self._engine.state.policies.in_force

    @any_thread
    def unreadable_policies(self) -> tuple[UnreadablePolicy, ...]:
        """The policies that this release cannot read and so does not obey; `remove_policy` removes them."""
        if self._context.has_ended:
            self._context.check_open()
        return self._engine.state.policies.unreadable

    async def set_policy(self, rule: Rule) -> Policy:
        """Put ``rule`` into force on every node, replacing the policy of its key; returns the policy now in force.

        With a data directory it is on disk before it is published. Raises ``InvalidPolicy``, ``NodeClosed``, and
        ``StorageError`` if the disk refuses it: then it is in force nowhere.
        """
        check_rule(rule)
        await self._lifecycle.policies.set_policy(rule)
        version = self._engine.state.policies.get(rule.key)
        policy = None if version is None else version.policy
        return policy or Policy(rule, self.name, time.time())  # else it was removed in this very moment

    async def remove_policy(self, key: str) -> None:
        """Remove the policy of that key on every node. Raises ``UnknownPolicy``, ``NodeClosed``, ``StorageError``."""
        await self._lifecycle.policies.remove_policy(key)

    @any_thread
    def gossip_keys(self) -> tuple[GossipKey, ...]:
        """The keys that seal the gossip, the primary one first, and the members that hold each; empty in clear."""
        if self._context.has_ended:
            self._context.check_open()
        return self._lifecycle.keyring.keys()

    async def add_gossip_key(self, key: str) -> str:
        """Have every member hold ``key``, too: 32 bytes in base64; returns its id. Idempotent.

        It travels sealed with the present primary key. With a data directory it is on disk first. Raises
        ``ConfigError`` if it is no key, ``KeyGivenUp`` if the cluster has given it up, ``GossipInClear``,
        ``TooManyKeys``, ``NotJoined``, ``NodeClosed``, ``StorageError``.
        """
        return await self._lifecycle.keyring.add(parse_key(key, where="key"))

    async def use_gossip_key(self, id: str, *, kept: float = KEPT_SECONDS, force: bool = False) -> None:
        """Have every member seal with the key of that id, and give up every other after ``kept`` seconds.

        Waits some seconds for members that do not hold it yet. Raises ``KeyNotHeld`` if one does not, unless ``force``;
        ``UnknownKey``, ``GossipInClear``, ``NotJoined``, ``NodeClosed``, ``StorageError``.
        """
        await self._lifecycle.keyring.use(id, kept=kept, force=force)

    async def remove_gossip_key(self, id: str) -> None:
        """Have every member give up the key of that id at once, also where a file holds it.

        Waits some seconds for members that have not said which keys they hold. Raises ``KeyInUse`` if a present member
        seals with it, or may do so; ``UnknownKey``, ``GossipInClear``, ``NotJoined``,
        ``NodeClosed``, ``StorageError``.
        """
        await self._lifecycle.keyring.remove(id)

    async def reread_keys(self) -> None:
        """Read ``key_file``, ``credential_key_file`` and the files of identity again. Raises ``ConfigError``."""
        await self._lifecycle.identity.reread()
        await self._lifecycle.keyring.reread()

    @any_thread
    def tokens(self) -> tuple[ClusterToken, ...]:
        """The tokens of the HTTP API that the whole cluster knows, sorted by name; expired ones are listed, too."""
        if self._context.has_ended:
            self._context.check_open()
        return self._engine.state.policies.tokens

    @any_thread
    def tokens_with(self, digest: bytes) -> tuple[ClusterToken, ...]:
        """Those of the cluster's tokens whose SHA-256 is ``digest``: one, or none. In clear there are none.

        Where the gossip is in clear, any program that reaches a member could state a token.
        """
        return () if self._lifecycle.keyring.keyring is None else self._engine.state.policies.tokens_of(digest)

    async def create_token(self, token: ClusterToken) -> ClusterToken:
        """Have every agent that asks for tokens accept ``token``, too, in place of one of its name.

        With a data directory it is on disk first. Raises ``InvalidToken``, ``TooManyTokens``, ``GossipInClear``,
        ``NodeClosed``, ``StorageError``.
        """
        self._lifecycle.keyring.check_sealed()
        await self._lifecycle.policies.create_token(token)
        found = (each for each in self.tokens() if each.name == token.name)
        return next(found, token)  # else it was revoked in this very moment

    async def revoke_token(self, name: str) -> None:
        """Have no agent accept the cluster's token of that name any more.

        Raises ``UnknownToken``, ``NodeClosed``, ``StorageError``.
        """
        await self._lifecycle.policies.revoke_token(name)

    async def join(self, seeds: str | Iterable[str]) -> JoinResult:
        """Join the members at ``seeds``, addresses or host names: their cluster and this one become one.

        Each is tried once, and those that fail are in the result. Returns when the states have been compared, after 30
        s at the latest. A seed that is this node itself or a member already counts as joined. Raises ``ConfigError``
        for what is no address, ``JoinFailed`` if none was joined, ``NodeClosed``, and ``NameConflict`` if this node has
        not joined before and its name is in use there.
        """
        return await self._lifecycle.join(seeds)

    async def forget(self, name: str) -> None:
        """Remove a failed member and its instances on every node at once; nothing happens if it has left.

        A member that is alive behind a partition is back when the partition heals. Raises ``UnknownMember``,
        ``MemberPresent`` for a member that is alive or suspect, and ``NodeClosed``.
        """
        self._lifecycle.forget(name)
        await trio.lowlevel.checkpoint()

    # Draining and leaving

    @property
    def drained(self) -> str | None:
        """The reason with which this node drains, which may be empty; None if it does not."""
        return self._lifecycle.drained

    async def drain(self, reason: str = "") -> None:
        """Give every instance of this node the weight 0 on every node, until `undrain`; the node stays a member.

        ``reason`` is a text for users, of at most 160 characters. With a data directory the node still drains after a
        restart. Idempotent. Raises ``InvalidInstance``, ``NodeClosed``, ``StorageError``.
        """
        check_reason(reason)
        await self._lifecycle.set_draining(reason)

    async def undrain(self) -> None:
        """End `drain`: every instance has the weight that it was registered with. Idempotent.

        Raises ``NodeClosed``, ``StorageError``.
        """
        await self._lifecycle.set_draining(None)

    async def leave(self) -> None:
        """Leave gracefully: drain, announce the departure, wait until it has spread, close. Idempotent."""
        await self._lifecycle.leave()

    @property
    def counters(self) -> Counter[str]:
        """The counters of this node and of its frontends."""
        return self._context.counters

    @property
    def is_closed(self) -> bool:
        """Whether the node has left or was closed."""
        return self._context.is_closed

    async def wait_closed(self) -> None:
        """Return when the node has left or was closed. Raises ``NameConflict`` if it had to yield its name."""
        await self._context.wait_closed()
