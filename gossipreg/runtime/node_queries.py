"""Node queries: what a node answers from memory, in any thread: lookups, members, own instances, policies."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

import attrs

from gossipreg.counters import Count
from gossipreg.errors import NoInstance
from gossipreg.identities import IdentityReport
from gossipreg.keys import GossipKey
from gossipreg.model import Address, Instance, Member, ServiceCount, ServiceTerm
from gossipreg.policy import Policy, UnreadablePolicy
from gossipreg.protocol.engine import Engine
from gossipreg.protocol.registry.choose import by_weight, by_weight_among, matching, why_none
from gossipreg.regional import CellInfo, RegionalDirectory, RegionalService, RegionInfo
from gossipreg.runtime.lifecycle import NodeLifecycle
from gossipreg.runtime.node_context import NodeContext
from gossipreg.runtime.regions.failover import RegionalOffer, offers_of
from gossipreg.runtime.registrar import Registrar
from gossipreg.runtime.registrations import registration_note
from gossipreg.tokens import ClusterToken


@attrs.define(eq=False, repr=False)
class NodeQueries:
    """The queries of a `Node`, of which this is the base class. Any thread may call every method.

    None waits, and none changes what another one answers. A lookup takes no lock: it reads one immutable value of the
    view. Most raise ``NodeClosed`` once the node is closed, or what closed it.
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
        return self._engine.isolation.reported  # set once in an interval: cheap, since every HTTP answer has this

    @property
    def reachable(self) -> float:
        """The share of the other members, without those that left, that are alive; 1.0 if there are no others."""
        return self._engine.members.reachable

    @property
    def draining(self) -> bool:
        """Whether this node asks that its instances get no new work: it drains, or has left."""
        return self._engine.identity.draining or self._engine.identity.left

    @property
    def drained(self) -> str | None:
        """The reason with which this node drains, which may be empty; None if it does not."""
        return self._lifecycle.drained

    @property
    def leaving(self) -> bool:
        """Whether this node has begun to leave the cluster, or has left it."""
        return self._lifecycle.leaving

    @property
    def is_closed(self) -> bool:
        """Whether the node has left or was closed."""
        return self._context.is_closed

    @property
    def command_checks(self) -> str:
        """Which health checks may run commands on this node: see `Config`."""
        return self._registrar.command_checks

    @property
    def counters(self) -> Counter[str]:
        """The counters of this node and of its frontends."""
        return self._context.counters

    def warn(self, sentence: str) -> None:
        """Log a warning about how this node is set up, once, and show it in `info` for as long as the node lives.

        For code around a node, such as a listener beyond loopback. ``sentence`` names the danger and the remedy.
        """
        self._lifecycle.warn(sentence)

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
            self._context.counters[Count.PANICKED_LOOKUPS] += 1
            instances = view.lost.instances
        if tag is None and zone is None and role is None:
            return instances
        return matching(instances, tag=tag, zone=zone, role=role)

    def decode(self, service: str) -> Iterator[None]:
        """Decode the instances of ``service``, some at each step, which takes nothing where that has been done.

        Instances are packed until a service is first looked up, and that lookup decodes all of them: some 10 µs each.
        A program that must not stop for so long steps through this iterator before it, and does other work between.
        """
        return self._engine.view.service(service).rows.decode()

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

    def services(self) -> Mapping[str, ServiceCount]:
        """The services that have instances, each with the numbers of all and of healthy ones."""
        if self._context.has_ended:
            self._context.check_open()
        return self._context.catalog.services()

    def members(self) -> tuple[Member, ...]:
        """The remembered members, this node included, sorted by name."""
        if self._context.has_ended:
            self._context.check_open()
        return self._context.catalog.members()

    def region_members(self) -> tuple[Member, ...]:
        """The remembered members of all cells of the region, sorted by name; those of `members` in a flat cluster.

        Those of another cell are as that cell last stated them, and stale while nothing is heard of it.
        """
        if self._context.has_ended:
            self._context.check_open()
        return self._context.catalog.region_members()

    def round_trip(self, name: str) -> float | None:
        """The smoothed round trip to the member of that name (seconds); None if none was measured."""
        if self._context.has_ended:
            self._context.check_open()
        return self._context.catalog.round_trip(name)

    def stated(self, instance: Instance) -> Instance | None:
        """``instance`` as its owner stated it, before policies, its role's term and its owner's drain or failure.

        None if it is gone.
        """
        return self._context.catalog.stated(instance)

    def credentials(self, instance: Instance) -> Mapping[str, str]:
        """The credentials with which a client logs in to ``instance``. Raises ``CredentialsUnavailable``."""
        return self._registrar.keyring.open(instance)

    def index(self, service: str | None = None, region: str | None = None) -> int:
        """A number that grows whenever a lookup of ``service`` may answer differently; it never falls.

        Without a service it grows whenever any service, member or policy has changed; in another ``region`` whenever a
        service has come or gone. Raises ``UnknownRegion``.
        """
        if region is not None and region != self.region:
            return self._context.following(region).index(service, region)
        return self._context.change_log.position if service is None else self._engine.view.service(service).index

    # Other cells, and other regions

    def cells(self) -> tuple[CellInfo, ...]:
        """The cells of the region, this node's own first, with the age of what is known; none in a flat cluster."""
        return self._context.catalog.cells()

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

    def regional_service(self, service: str, region: str) -> RegionalService:
        """What this node holds of ``service`` in another region, with its age. It is followed from now on.

        Raises ``UnknownRegion``, and ``RegionUnavailable`` if the node holds nothing of it: see `fetch`.
        """
        return self._context.following(region).service(service, region)

    def regional_directory(self, region: str) -> RegionalDirectory:
        """The services of another region, as far as this node may see them.

        Raises ``UnknownRegion``, and ``RegionUnavailable`` if no agent there has told them.
        """
        return self._context.following(region).directory(region)

    def with_failover(
        self,
        service: str,
        failover: Sequence[str],
        *,
        threshold: float = 0.0,
        tag: str | None = None,
        role: str | None = None,
    ) -> tuple[Instance, ...]:
        """The healthy instances of ``service`` here, or if it cannot serve here, in the first region that can.

        ``failover`` are regions in order; ``nearest`` stands for those that it does not name, the one with the shortest
        round trip first. Below the share ``threshold`` of instances that can take work, from 0 to 1, a region cannot
        serve. A better region is used again when it could serve for 10 s. Regions that cannot be reached come last,
        with what was known of them, marked stale. All are followed from now on. Raises ``UnknownRegion``.
        """
        here = self.lookup(service, tag=tag, role=role)
        if not failover:
            return here
        return self._failed_over(service, failover, threshold, tag, role).healthy

    def _failed_over(
        self, service: str, failover: Sequence[str], threshold: float, tag: str | None, role: str | None
    ) -> RegionalOffer:
        asked = (service, tuple(failover), threshold, tag, role)
        own = RegionalOffer.of(
            self.region, self.lookup(service), self.lookup(service, healthy=False), tag=tag, role=role
        )
        failovers = self._context.failovers
        regions = self._context.following(failover[0]).in_order(failover, failovers.used(asked))
        return failovers.choose(asked, offers_of(self, asked, own, regions))

    # Own instances

    def own(self, id: str) -> Instance | None:
        """This node's own instance of that id as it was registered, or None."""
        return self._engine.local_registry.own(id)

    def own_ids(self) -> tuple[str, ...]:
        """The ids of this node's own instances, in the order in which they were first registered."""
        return tuple(self._registrar.registrations.copy())

    def note(self, instance: Instance) -> str:
        """Why ``instance``, as `register` or `set_maintenance` returned it, is not called as it was registered.

        Empty if it is. Reasons are: it is fenced, a policy changes its weight, a check has not passed, this node
        drains.
        """
        return registration_note(instance, self._engine)

    # What concerns all nodes

    def policies(self) -> tuple[Policy, ...]:
        """The policies in force, sorted by key."""
        if self._context.has_ended:
            self._context.check_open()
        return self._engine.state.policies.in_force

    def unreadable_policies(self) -> tuple[UnreadablePolicy, ...]:
        """The policies that this release cannot read and so does not obey; `remove_policy` removes them."""
        if self._context.has_ended:
            self._context.check_open()
        return self._engine.state.policies.unreadable

    def terms(self) -> tuple[ServiceTerm, ...]:
        """The highest term of each service that ever had one, sorted by service."""
        if self._context.has_ended:
            self._context.check_open()
        return self._context.catalog.terms()

    def next_term(self, service: str) -> int:
        """One more than the highest term that this node knows of ``service``, by present and past instances.

        For an instance that becomes the primary. Two nodes may return the same number at the same time: see
        docs/roles.md. Raises ``NotJoined`` until the node has reached a member, if it was given seeds, and
        ``InvalidInstance`` if the highest term is the greatest possible.
        """
        if self._context.has_ended:
            self._context.check_open()
        return self._lifecycle.policies.next_term(service)

    def gossip_keys(self) -> tuple[GossipKey, ...]:
        """The keys that seal the gossip, the primary one first, and the members that hold each; empty in clear."""
        if self._context.has_ended:
            self._context.check_open()
        return self._lifecycle.keyring.keys()

    def identity(self) -> IdentityReport:
        """What this node knows of the identities in its cluster: the certificate of each member, and what was revoked.

        Credentials are listed as exposed if they were registered when this node learned of a revocation, and have not
        been sealed anew since.
        """
        if self._context.has_ended:
            self._context.check_open()
        return self._lifecycle.identity.report()

    def tokens(self) -> tuple[ClusterToken, ...]:
        """The tokens of the HTTP API that the whole cluster knows, sorted by name; expired ones are listed, too."""
        if self._context.has_ended:
            self._context.check_open()
        return self._engine.state.policies.tokens

    def tokens_with(self, digest: bytes) -> tuple[ClusterToken, ...]:
        """Those of the cluster's tokens whose SHA-256 is ``digest``: one, or none. In clear there are none.

        Where the gossip is in clear, any program that reaches a member could state a token.
        """
        return () if self._lifecycle.keyring.keyring is None else self._engine.state.policies.tokens_of(digest)

    def _last_known(
        self, service: str, *, healthy: bool, tag: str | None, zone: str | None, role: str | None
    ) -> tuple[Instance, ...]:
        view = self._engine.view.service(service)
        found = matching(view.healthy if healthy else view.instances, tag=tag, zone=zone, role=role)
        return tuple(attrs.evolve(each, stale=True) for each in found)
