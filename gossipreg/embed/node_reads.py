"""Reads of a node from memory: the same in every kind of program, from any thread, without its loop.

Written by ``python -m tests.embed.node_modules`` from the methods of `gossipreg.Node`: change those.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import attrs

from gossipreg.embed.embedded_node import EmbeddedNode

if TYPE_CHECKING:
    from gossipreg.identities import IdentityReport
    from gossipreg.keys import GossipKey
    from gossipreg.model import Address, Instance, Member, ServiceCount, ServiceTerm
    from gossipreg.policy import Policy, UnreadablePolicy
    from gossipreg.regional import CellInfo, RegionalDirectory, RegionalService, RegionInfo
    from gossipreg.tokens import ClusterToken


@attrs.define(eq=False, repr=False)
class NodeReads(EmbeddedNode):
    """The reads of a node that runs in a thread of its own."""

    @property
    def cluster(self) -> str:
        """The cluster's name."""
        return self._node.cluster

    @property
    def region(self) -> str:
        """The region of the cluster, which Consul's clients know as the datacenter; the cluster's name by default."""
        return self._node.region

    @property
    def name(self) -> str:
        """This member's name."""
        return self._node.name

    @property
    def address(self) -> Address:
        """The address at which other members reach this node."""
        return self._node.address

    @property
    def isolated(self) -> bool:
        """Whether no message of a member has come for 4 probe intervals, so that answers may be stale."""
        return self._node.isolated

    @property
    def reachable(self) -> float:
        """The share of the other members, without those that left, that are alive; 1.0 if there are no others."""
        return self._node.reachable

    @property
    def draining(self) -> bool:
        """Whether this node asks that its instances get no new work: it drains, or has left."""
        return self._node.draining

    @property
    def drained(self) -> str | None:
        """The reason with which this node drains, which may be empty; None if it does not."""
        return self._node.drained

    @property
    def leaving(self) -> bool:
        """Whether this node has begun to leave the cluster, or has left it."""
        return self._node.leaving

    @property
    def is_closed(self) -> bool:
        """Whether the node has left or was closed."""
        return self._node.is_closed

    @property
    def command_checks(self) -> str:
        """Which health checks may run commands on this node: see `Config`."""
        return self._node.command_checks

    @property
    def counters(self) -> Counter[str]:
        """The counters of this node and of its frontends."""
        return self._node.counters

    def warn(self, sentence: str) -> None:
        """Log a warning about how this node is set up, once, and show it in `info` for as long as the node lives.

        For code around a node, such as a listener beyond loopback. ``sentence`` names the danger and the remedy.
        """
        self._node.warn(sentence)

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
        return self._node.lookup(
            service,
            healthy=healthy,
            tag=tag,
            zone=zone,
            role=role,
            panic=panic,
            last_known=last_known,
            region=region,
        )

    def decode(self, service: str) -> Iterator[None]:
        """Decode the instances of ``service``, some at each step, which takes nothing where that has been done.

        Instances are packed until a service is first looked up, and that lookup decodes all of them: some 10 µs each.
        A program that must not stop for so long steps through this iterator before it, and does other work between.
        """
        return self._node.decode(service)

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
        return self._node.pick(
            service,
            tag=tag,
            zone=zone,
            role=role,
            panic=panic,
            last_known=last_known,
            region=region,
        )

    def services(self) -> Mapping[str, ServiceCount]:
        """The services that have instances, each with the numbers of all and of healthy ones."""
        return self._node.services()

    def members(self) -> tuple[Member, ...]:
        """The remembered members, this node included, sorted by name."""
        return self._node.members()

    def region_members(self) -> tuple[Member, ...]:
        """The remembered members of all cells of the region, sorted by name; those of `members` in a flat cluster.

        Those of another cell are as that cell last stated them, and stale while nothing is heard of it.
        """
        return self._node.region_members()

    def round_trip(self, name: str) -> float | None:
        """The smoothed round trip to the member of that name (seconds); None if none was measured."""
        return self._node.round_trip(name)

    def stated(self, instance: Instance) -> Instance | None:
        """``instance`` as its owner stated it, before policies, its role's term and its owner's drain or failure.

        None if it is gone.
        """
        return self._node.stated(instance)

    def credentials(self, instance: Instance) -> Mapping[str, str]:
        """The credentials with which a client logs in to ``instance``. Raises ``CredentialsUnavailable``."""
        return self._node.credentials(instance)

    def index(self, service: str | None = None, region: str | None = None) -> int:
        """A number that grows whenever a lookup of ``service`` may answer differently; it never falls.

        Without a service it grows whenever any service, member or policy has changed; in another ``region`` whenever a
        service has come or gone. Raises ``UnknownRegion``.
        """
        return self._node.index(service, region)

    def cells(self) -> tuple[CellInfo, ...]:
        """The cells of the region, this node's own first, with the age of what is known; none in a flat cluster."""
        return self._node.cells()

    def regions(self) -> tuple[RegionInfo, ...]:
        """The regions that this node knows, its own first, with how well it can reach each."""
        return self._node.regions()

    def regional_service(self, service: str, region: str) -> RegionalService:
        """What this node holds of ``service`` in another region, with its age. It is followed from now on.

        Raises ``UnknownRegion``, and ``RegionUnavailable`` if the node holds nothing of it: see `fetch`.
        """
        return self._node.regional_service(service, region)

    def regional_directory(self, region: str) -> RegionalDirectory:
        """The services of another region, as far as this node may see them.

        Raises ``UnknownRegion``, and ``RegionUnavailable`` if no agent there has told them.
        """
        return self._node.regional_directory(region)

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
        return self._node.with_failover(service, failover, threshold=threshold, tag=tag, role=role)

    def own(self, id: str) -> Instance | None:
        """This node's own instance of that id as it was registered, or None."""
        return self._node.own(id)

    def own_ids(self) -> tuple[str, ...]:
        """The ids of this node's own instances, in the order in which they were first registered."""
        return self._node.own_ids()

    def note(self, instance: Instance) -> str:
        """Why ``instance``, as `register` or `set_maintenance` returned it, is not called as it was registered.

        Empty if it is. Reasons are: it is fenced, a policy changes its weight, a check has not passed, this node
        drains.
        """
        return self._node.note(instance)

    def policies(self) -> tuple[Policy, ...]:
        """The policies in force, sorted by key."""
        return self._node.policies()

    def unreadable_policies(self) -> tuple[UnreadablePolicy, ...]:
        """The policies that this release cannot read and so does not obey; `remove_policy` removes them."""
        return self._node.unreadable_policies()

    def terms(self) -> tuple[ServiceTerm, ...]:
        """The highest term of each service that ever had one, sorted by service."""
        return self._node.terms()

    def next_term(self, service: str) -> int:
        """One more than the highest term that this node knows of ``service``, by present and past instances.

        For an instance that becomes the primary. Two nodes may return the same number at the same time: see
        docs/roles.md. Raises ``NotJoined`` until the node has reached a member, if it was given seeds, and
        ``InvalidInstance`` if the highest term is the greatest possible.
        """
        return self._node.next_term(service)

    def gossip_keys(self) -> tuple[GossipKey, ...]:
        """The keys that seal the gossip, the primary one first, and the members that hold each; empty in clear."""
        return self._node.gossip_keys()

    def identity(self) -> IdentityReport:
        """What this node knows of the identities in its cluster: the certificate of each member, and what was revoked.

        Credentials are listed as exposed if they were registered when this node learned of a revocation, and have not
        been sealed anew since.
        """
        return self._node.identity()

    def tokens(self) -> tuple[ClusterToken, ...]:
        """The tokens of the HTTP API that the whole cluster knows, sorted by name; expired ones are listed, too."""
        return self._node.tokens()

    def tokens_with(self, digest: bytes) -> tuple[ClusterToken, ...]:
        """Those of the cluster's tokens whose SHA-256 is ``digest``: one, or none. In clear there are none.

        Where the gossip is in clear, any program that reaches a member could state a token.
        """
        return self._node.tokens_with(digest)
