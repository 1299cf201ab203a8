"""The node's interface: all that the frontends need of a node."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Protocol

import trio

from gossipreg.check import CheckReport
from gossipreg.errors import GossipregError, UnknownInstance
from gossipreg.events import Event
from gossipreg.identities import IdentityReport
from gossipreg.keys import GossipKey
from gossipreg.model import Address, Health, Instance, Member, ServiceCount, ServiceTerm
from gossipreg.node_info import JoinResult, NodeInfo
from gossipreg.observations import ObserverReport
from gossipreg.policy import Policy, Rule, UnreadablePolicy
from gossipreg.regional import CellInfo, RegionalDirectory, RegionalService, RegionInfo
from gossipreg.spec import InstanceSpec
from gossipreg.tokens import ClusterToken


class EventBatches(Protocol):
    """Events in batches, for ``async for``; to be closed when they are not wanted any more."""

    def __aiter__(self) -> AsyncIterator[tuple[Event, ...]]: ...

    def aclose(self) -> Awaitable[object]:
        """Give back what the iteration holds."""
        ...


class NodeApi(Protocol):
    """The part of a node that the frontends call. What changes or follows a closed node raises ``NodeClosed``."""

    @property
    def name(self) -> str:
        """The member's name, which is the owner of what is registered here."""
        ...

    @property
    def address(self) -> Address:
        """Where other members reach this node."""
        ...

    @property
    def counters(self) -> Counter[str]:
        """The counters of the node and of its frontends."""
        ...

    @property
    def region(self) -> str:
        """The region of its cluster."""
        ...

    @property
    def isolated(self) -> bool:
        """Whether it hears no member although there should be one."""
        ...

    @property
    def draining(self) -> bool:
        """Whether its instances should get no new work."""
        ...

    @property
    def leaving(self) -> bool:
        """Whether it has begun to leave."""
        ...

    @property
    def reachable(self) -> float:
        """The share of the other members that are alive, from 0 to 1."""
        ...

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
        """The service's instances that pass the filters; none for an unknown service. ``panic``: see `Node.lookup`.

        Raises ``UnknownRegion``.
        """
        ...

    def decode(self, service: str) -> Iterator[None]:
        """Decode the service's instances, some at each step, so that `lookup` does not take long: see `Node.decode`."""
        ...

    def cells(self) -> tuple[CellInfo, ...]:
        """The cells of the region, its own first; none in a flat cluster."""
        ...

    def regions(self) -> tuple[RegionInfo, ...]:
        """The regions that it knows, its own first."""
        ...

    def regional_service(self, service: str, region: str) -> RegionalService:
        """What it holds of a service in another region. Raises ``UnknownRegion``, ``RegionUnavailable``."""
        ...

    async def fetch(self, service: str, region: str, *, patience: float = ...) -> RegionalService:
        """The same, once it holds something: it waits up to ``patience`` seconds for that, a few if not told."""
        ...

    def regional_directory(self, region: str) -> RegionalDirectory:
        """The services of another region. Raises ``UnknownRegion``, ``RegionUnavailable``."""
        ...

    async def fetch_directory(self, region: str, *, patience: float = ...) -> RegionalDirectory:
        """The same, once it holds something: it waits up to ``patience`` seconds for that, a few if not told."""
        ...

    def with_failover(
        self,
        service: str,
        failover: Sequence[str],
        *,
        threshold: float = ...,
        tag: str | None = ...,
        role: str | None = ...,
    ) -> tuple[Instance, ...]:
        """The healthy instances here, or in the first of these regions that can serve. Raises ``UnknownRegion``."""
        ...

    def regional_events(
        self,
        service: str,
        *,
        region: str | None = None,
        failover: Sequence[str] = (),
        threshold: float = ...,
        tag: str | None = ...,
        role: str | None = ...,
    ) -> EventBatches:
        """As `events`, of the healthy instances of a service in another region, or of a failover.

        Raises ``UnknownRegion``.
        """
        ...

    def index(self, service: str | None = None, region: str | None = None) -> int:
        """The service's change index: it never falls, and rises whenever any lookup of the service may differ.

        Without a service, that of everything: services, members and policies; of another region, of its directory.
        """
        ...

    async def wait_changed(self, service: str | None, index: int, region: str | None = None) -> None:
        """Return when `index` gives another number than ``index``. Raises ``NodeClosed``."""
        ...

    def services(self) -> Mapping[str, ServiceCount]:
        """Every service that has an instance."""
        ...

    def members(self) -> tuple[Member, ...]:
        """Every member that is remembered, this node included; of its own cell, if it has one."""
        ...

    def region_members(self) -> tuple[Member, ...]:
        """Every member of all cells that is remembered; those of `members` in a flat cluster."""
        ...

    def round_trip(self, name: str) -> float | None:
        """The smoothed round trip to the member of that name (seconds); None if none was measured."""
        ...

    async def observer_reports(self) -> tuple[ObserverReport, ...]:
        """What this node and each member that is present believe of the others. Raises ``NodeClosed``."""
        ...

    def info(self) -> NodeInfo:
        """This node about itself."""
        ...

    def own(self, id: str) -> Instance | None:
        """This node's own registration of that id."""
        ...

    def own_ids(self) -> tuple[str, ...]:
        """The ids of this node's own registrations, in the order in which they were first registered."""
        ...

    def stated(self, instance: Instance) -> Instance | None:
        """The instance as its owner stated it, before policies and drains; None if it is gone."""
        ...

    async def register_spec(self, spec: InstanceSpec) -> Instance:
        """Register what ``spec`` describes, in place of this node's own of that id. Raises ``InvalidInstance``.

        Its credentials are sealed before anything else is done. Raises ``CredentialsUnavailable`` without a key.
        """
        ...

    async def register_many(self, specs: Sequence[InstanceSpec]) -> tuple[Instance, ...]:
        """Register what all of ``specs`` describe, or nothing. Raises ``InvalidInstance`` with the place of one."""
        ...

    async def deregister(self, id: str) -> None:
        """Remove this node's own instance. Raises ``UnknownInstance``."""
        ...

    @property
    def command_checks(self) -> str:
        """Which health checks may run commands here: off, own or api."""
        ...

    def checks(self, id: str | None = None) -> tuple[CheckReport, ...]:
        """The checks of this node's own instance of that id, or of all. Raises ``UnknownInstance``."""
        ...

    async def heartbeat(
        self,
        id: str,
        *,
        check: str | None = None,
        health: Health = Health.PASSING,
        note: str = "",
    ) -> None:
        """Say how an own instance is, to its ttl checks. Raises ``UnknownInstance``, ``InvalidInstance``."""
        ...

    async def set_maintenance(self, id: str, reason: str | None) -> Instance:
        """Take an own instance out, or with None back in. Raises ``UnknownInstance``, ``InvalidInstance``."""
        ...

    def credentials(self, instance: Instance) -> Mapping[str, str]:
        """What a client needs to log in to an instance. Raises ``CredentialsUnavailable``."""
        ...

    def next_term(self, service: str) -> int:
        """A term above all that were ever seen of a service. Raises ``NotJoined``, ``InvalidInstance``."""
        ...

    def terms(self) -> tuple[ServiceTerm, ...]:
        """The highest term of each service that ever had one, sorted by service."""
        ...

    async def reset_term(self, service: str) -> ServiceTerm:
        """Have the terms of a service count anew, from what is stated now. Raises ``UnknownTerm``, ``NotJoined``."""
        ...

    def note(self, instance: Instance) -> str:
        """Why an own instance, as it is shown, is not called as it was stated; empty if it is."""
        ...

    def policies(self) -> tuple[Policy, ...]:
        """The policies in force, sorted by key."""

    def unreadable_policies(self) -> tuple[UnreadablePolicy, ...]:
        """What was set that this version does not understand."""
        ...

    async def set_policy(self, rule: Rule) -> Policy:
        """Set a policy for the whole cluster, in place of one with its key. Raises ``InvalidPolicy``."""
        ...

    async def remove_policy(self, key: str) -> None:
        """Remove a policy from the whole cluster. Raises ``UnknownPolicy``."""
        ...

    def gossip_keys(self) -> tuple[GossipKey, ...]:
        """The keys that seal the gossip, the primary one first; empty in clear."""
        ...

    async def add_gossip_key(self, key: str) -> str:
        """Have every member hold a key; returns its id.

        Raises ``ConfigError``, ``KeyGivenUp``, ``GossipInClear``, ``TooManyKeys``.
        """
        ...

    async def use_gossip_key(self, id: str, *, kept: float = ..., force: bool = False) -> None:
        """Have every member seal with a key. Raises ``UnknownKey``, ``KeyNotHeld``, ``GossipInClear``."""
        ...

    async def remove_gossip_key(self, id: str) -> None:
        """Have every member give up a key. Raises ``UnknownKey``, ``KeyInUse``, ``GossipInClear``."""
        ...

    def identity(self) -> IdentityReport:
        """The certificate of each member, what was revoked, and which hosts were refused."""
        ...

    async def revoke_certificate(self, revocation: str) -> str:
        """Have every member expel the holder of a certificate; its serial number. Raises ``InvalidCertificate``."""
        ...

    async def issue_certificate(self, request: str) -> str:
        """Sign the certificate that a node asks for.

        Raises ``InvalidCertificate``, ``NotAnIssuer``, ``CertificateRefused``.
        """
        ...

    def tokens(self) -> tuple[ClusterToken, ...]:
        """The tokens that the whole cluster knows, sorted by name."""
        ...

    def tokens_with(self, digest: bytes) -> tuple[ClusterToken, ...]:
        """Those of the cluster's tokens that have this SHA-256."""
        ...

    async def create_token(self, token: ClusterToken) -> ClusterToken:
        """Have every agent accept a token. Raises ``InvalidToken``, ``TooManyTokens``, ``GossipInClear``."""
        ...

    async def revoke_token(self, name: str) -> None:
        """Have no agent accept a token of the cluster any more. Raises ``UnknownToken``."""
        ...

    @property
    def drained(self) -> str | None:
        """The reason of its drain, which may be empty; None if it is not drained."""
        ...

    async def join(self, seeds: str | Iterable[str]) -> JoinResult:
        """Join the members at ``seeds``. Raises ``ConfigError`` for what is no address, ``JoinFailed`` if all fail."""
        ...

    async def forget(self, name: str) -> None:
        """Have a failed member forgotten everywhere. Raises ``UnknownMember``, ``MemberPresent``."""
        ...

    async def drain(self, reason: str = "") -> None:
        """Drain: ask for no new work, and stay. Raises ``StorageError``, and then nothing has changed."""
        ...

    async def undrain(self) -> None:
        """End the drain. Raises ``StorageError``, and then nothing has changed."""
        ...

    def events(
        self,
        service: str | None = None,
        *,
        panic: float = 0.0,
        healthy: bool = True,
        all_cells: bool = False,
    ) -> EventBatches:
        """Batches of events: first a ``Snapshot`` alone, then what changes. Ends, or raises, when the node closes.

        Without ``healthy``, also about instances that cannot serve; with ``all_cells``, about `region_members`.
        """
        ...

    async def wait_closed(self) -> None:
        """Return when the node is closed. Raises what closed it, if that was an error."""
        ...


def each_check(node: NodeApi) -> Iterator[CheckReport]:
    """The checks of all instances that ``node`` owns, each made when it is asked for: to be read in time slices.

    What is registered or withdrawn meanwhile may be left out.
    """
    for id_ in node.own_ids():
        with suppress(UnknownInstance):
            yield from node.checks(id_)


async def fetch_each(node: NodeApi, awaited: Iterable[tuple[str, str]], patience: float) -> None:
    """Return when the node holds something of each of these services, each with its region, or knows why it does not.

    All are asked at once, and have up to ``patience`` seconds together. Raises nothing: what is held then tells.
    """

    async def fetch(service: str, region: str) -> None:
        with suppress(GossipregError):
            await node.fetch(service, region, patience=patience)

    async with trio.open_nursery() as nursery:
        for each in awaited:
            nursery.start_soon(fetch, *each)
