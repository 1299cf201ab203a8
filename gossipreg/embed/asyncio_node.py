"""Node of an asyncio program: calls run in the node's thread, and are awaited.

Written by ``python -m tests.embed.node_modules`` from the methods of `gossipreg.Node`: change those.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from gossipreg.embed.asyncio_calls import AsyncioCalls, AsyncioWatch
from gossipreg.embed.watch_steps import WatchSteps
from gossipreg.keys import KEPT_SECONDS
from gossipreg.model import Health

if TYPE_CHECKING:
    from gossipreg.check import Check, CheckReport
    from gossipreg.events import Event, ServiceChange
    from gossipreg.model import Instance, ServiceTerm
    from gossipreg.node_info import JoinResult, NodeInfo
    from gossipreg.observations import ObserverReport
    from gossipreg.policy import Policy, Rule
    from gossipreg.regional import RegionalDirectory, RegionalService
    from gossipreg.spec import InstanceSpec
    from gossipreg.tokens import ClusterToken


@attrs.define(eq=False, repr=False)
class AsyncioNode(AsyncioCalls):
    """One member of the cluster, living in this process. Get one from `open_node`.

    The reads may be called from any thread, the rest from any event loop of this process.
    """

    async def info(self) -> NodeInfo:
        """This node's description of itself: its identity, its state, counters, problems and warnings."""
        return await self._read(self._node.info)

    async def observer_reports(self) -> tuple[ObserverReport, ...]:
        """What this node and each member that is present believe of the others: this node's own first, then by name.

        The members are asked: it takes seconds where some do not answer. Raises ``NodeClosed``.
        """
        return await self._call(self._node.observer_reports)

    def watch(self, service: str) -> AsyncioWatch[ServiceChange]:
        """Watch the healthy instances of ``service``: first a snapshot, then diffs. Raises ``NodeClosed``."""
        return AsyncioWatch(WatchSteps(self._thread, self._node.watch(service)))

    def events(
        self,
        service: str | None = None,
        *,
        panic: float = 0.0,
        healthy: bool = True,
        all_cells: bool = False,
    ) -> AsyncioWatch[tuple[Event, ...]]:
        """Watch members and instances, in batches: first a ``Snapshot``, then what changed. Raises ``NodeClosed``.

        With ``service``, of the instances only that service's. ``panic``: as in `lookup`. Without ``healthy``, also the
        instances that cannot serve: then one is removed only when it is gone. With ``all_cells``, also the members of
        the region's other cells: those of `region_members`.
        """
        return AsyncioWatch(
            WatchSteps(self._thread, self._node.events(service, panic=panic, healthy=healthy, all_cells=all_cells)),
        )

    async def wait_for(self, service: str, *, at_least: int = 1) -> tuple[Instance, ...]:
        """Wait until ``service`` has ``at_least`` healthy instances or more; returns them. Raises ``NodeClosed``."""
        return await self._call(lambda: self._node.wait_for(service, at_least=at_least))

    async def wait_changed(self, service: str | None, index: int, region: str | None = None) -> None:
        """Return when the change index of ``service`` (None: of everything) differs from ``index``; see `index`.

        Raises ``NodeClosed``, or what closed the node.
        """
        await self._call(lambda: self._node.wait_changed(service, index, region))

    async def fetch(self, service: str, region: str, *, patience: float = 3.0) -> RegionalService:
        """As `regional_service`, once an agent there has answered; waits up to ``patience`` seconds for that."""
        return await self._call(lambda: self._node.fetch(service, region, patience=patience))

    async def fetch_directory(self, region: str, *, patience: float = 3.0) -> RegionalDirectory:
        """As `regional_directory`, once an agent there has answered; waits up to ``patience`` seconds for that."""
        return await self._call(lambda: self._node.fetch_directory(region, patience=patience))

    def regional_events(
        self,
        service: str,
        *,
        region: str | None = None,
        failover: Sequence[str] = (),
        threshold: float = 0.0,
        tag: str | None = None,
        role: str | None = None,
    ) -> AsyncioWatch[tuple[Event, ...]]:
        """Watch the healthy instances of ``service`` in another ``region``, or in that which `with_failover` chooses.

        In batches, first a ``Snapshot`` without members. ``tag`` and ``role`` affect only the choice of the region:
        only instances that match count for it, but all healthy instances of that region are reported. Raises
        ``UnknownRegion``, ``NodeClosed``.
        """
        return AsyncioWatch(
            WatchSteps(
                self._thread,
                self._node.regional_events(
                    service,
                    region=region,
                    failover=failover,
                    threshold=threshold,
                    tag=tag,
                    role=role,
                ),
            ),
        )

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
        return await self._call(
            lambda: self._node.register(
                service,
                port=port,
                host=host,
                tags=tags,
                meta=meta,
                weight=weight,
                zone=zone,
                role=role,
                term=term,
                id=id,
                checks=checks,
                credentials=credentials,
            ),
        )

    async def register_spec(self, spec: InstanceSpec) -> Instance:
        """Register the instance that ``spec`` describes. Returns and raises as `register` does."""
        return await self._call(lambda: self._node.register_spec(spec))

    async def register_many(self, specs: Sequence[InstanceSpec]) -> tuple[Instance, ...]:
        """Register all instances that ``specs`` describe or, if one of them cannot be registered, none.

        They share one write to disk, one change of each service's index, and their packets. Returns the instances in
        the order of ``specs``, as `register` does, and raises likewise. An error about one of them puts its index
        before the field, as in ``[3].port``. Two with the same id are an error.
        """
        return await self._call(lambda: self._node.register_many(specs))

    async def deregister(self, id: str) -> None:
        """Withdraw this node's own instance ``id``. Raises ``UnknownInstance``, ``NodeClosed``, ``StorageError``."""
        await self._call(lambda: self._node.deregister(id))

    async def set_maintenance(self, id: str, reason: str | None) -> Instance:
        """Put this node's own instance ``id`` into maintenance, with a ``reason`` that all nodes show; None ends it.

        The instance stays in maintenance over a restart, and when it is registered again. Its checks go on. Returns it
        as lookups show it. Raises ``UnknownInstance``, ``InvalidInstance``, ``NodeClosed``, ``StorageError``.
        """
        return await self._call(lambda: self._node.set_maintenance(id, reason))

    async def checks(self, id: str | None = None) -> tuple[CheckReport, ...]:
        """The checks of this node's own instance ``id``, or of all its instances, in the order of registration.

        Raises ``UnknownInstance``, ``NodeClosed``.
        """
        return await self._read(lambda: self._node.checks(id))

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
        await self._call(lambda: self._node.heartbeat(id, check=check, health=health, note=note))

    async def set_policy(self, rule: Rule) -> Policy:
        """Put ``rule`` into force on every node, replacing the policy of its key; returns the policy now in force.

        With a data directory it is on disk before it is published. Raises ``InvalidPolicy``, ``NodeClosed``, and
        ``StorageError`` if the disk refuses it: then it is in force nowhere.
        """
        return await self._call(lambda: self._node.set_policy(rule))

    async def remove_policy(self, key: str) -> None:
        """Remove the policy of that key on every node. Raises ``UnknownPolicy``, ``NodeClosed``, ``StorageError``."""
        await self._call(lambda: self._node.remove_policy(key))

    async def reset_term(self, service: str) -> ServiceTerm:
        """Restart the terms of ``service`` on every node, from the highest that its instances state now.

        The only way to lower a term that was given by mistake: deregister the instance that states it, then reset. The
        result names the node and the time of the reset. Raises ``UnknownTerm``, ``NotJoined``, ``NodeClosed``, and
        ``StorageError`` if this node's disk refuses it: then nothing has changed.
        """
        return await self._call(lambda: self._node.reset_term(service))

    async def add_gossip_key(self, key: str) -> str:
        """Have every member hold ``key``, too: 32 bytes in base64; returns its id. Idempotent.

        It travels sealed with the present primary key. With a data directory it is on disk first. Raises
        ``ConfigError`` if it is no key, ``KeyGivenUp`` if the cluster has given it up, ``GossipInClear``,
        ``TooManyKeys``, ``NotJoined``, ``NodeClosed``, ``StorageError``.
        """
        return await self._call(lambda: self._node.add_gossip_key(key))

    async def use_gossip_key(self, id: str, *, kept: float = KEPT_SECONDS, force: bool = False) -> None:
        """Have every member seal with the key of that id, and give up every other after ``kept`` seconds.

        ``kept`` is from 0 to 366 days. Waits some seconds for members that do not hold the key yet. Raises
        ``KeyNotHeld`` if one does not, unless ``force``; ``ConfigError`` for another ``kept``; ``UnknownKey``,
        ``GossipInClear``, ``NotJoined``, ``NodeClosed``, ``StorageError``.
        """
        await self._call(lambda: self._node.use_gossip_key(id, kept=kept, force=force))

    async def remove_gossip_key(self, id: str) -> None:
        """Have every member give up the key of that id at once, even if it is in the member's key file.

        Waits some seconds for members that have not said which keys they hold. Raises ``KeyInUse`` if a present member
        seals with it, or may do so; ``UnknownKey``, ``GossipInClear``, ``NotJoined``,
        ``NodeClosed``, ``StorageError``.
        """
        await self._call(lambda: self._node.remove_gossip_key(id))

    async def revoke_certificate(self, revocation: str) -> str:
        """Have every member expel the holder of a certificate; returns the certificate's serial number.

        ``revocation``: the line that ``gossipreg ca revoke`` writes. With a data directory it is on disk first. Raises
        ``InvalidCertificate`` if none of this node's authorities has signed it, ``NodeClosed``, ``StorageError``.
        """
        return await self._call(lambda: self._node.revoke_certificate(revocation))

    async def issue_certificate(self, request: str) -> str:
        """Sign a certificate for a node that has a join token, or renew the one that it has; returns it.

        ``request`` and the result are lines of text. The use of a token is on disk before this returns. Raises
        ``InvalidCertificate`` for what is no request, ``NotAnIssuer`` if this node has no issuer's key or the token is
        another issuer's, ``CertificateRefused``, ``NodeClosed``, ``StorageError``.
        """
        return await self._call(lambda: self._node.issue_certificate(request))

    async def reread_keys(self) -> None:
        """Read ``key_file``, ``credential_key_file`` and the files of identity again. Raises ``ConfigError``."""
        await self._call(self._node.reread_keys)

    async def use_identity(
        self,
        authority_file: Path,
        identity_cert: Path | None = None,
        identity_key: Path | None = None,
    ) -> None:
        """Use these files from now on, in place of the settings with the same names.

        A node that had no identity signs and verifies from then on, as if it had been started with
        ``identity=prefer``: it begins a new run, in which its instances are registered again. Raises ``ConfigError``
        for files that cannot be used; then nothing has changed.
        """
        await self._call(lambda: self._node.use_identity(authority_file, identity_cert, identity_key))

    async def require_identity(self) -> None:
        """Accept only signed statements of members from now on, as if started with ``identity=require``.

        Raises ``ConfigError`` if this node has no certificate or no identity, or if a present member or policy would be
        rejected from then on, which the error names. Then nothing has changed.
        """
        await self._call(self._node.require_identity)

    async def create_token(self, token: ClusterToken) -> ClusterToken:
        """Have every agent that requires tokens accept ``token``, too. It replaces a token of the same name.

        With a data directory it is on disk first. Raises ``InvalidToken``, ``TooManyTokens``, ``GossipInClear``,
        ``NodeClosed``, ``StorageError``.
        """
        return await self._call(lambda: self._node.create_token(token))

    async def revoke_token(self, name: str) -> None:
        """Revoke the cluster's token of that name: no agent accepts it any more.

        Raises ``UnknownToken``, ``NodeClosed``, ``StorageError``.
        """
        await self._call(lambda: self._node.revoke_token(name))

    async def join(self, seeds: str | Iterable[str]) -> JoinResult:
        """Join the members at ``seeds``, addresses or host names: their cluster and this one become one.

        Each is tried once, and those that fail are in the result. Returns when the states have been compared, after 30
        s at the latest. A seed that is this node itself or a member already counts as joined. Raises ``ConfigError``
        for what is no address, ``JoinFailed`` if none was joined, ``NodeClosed``, and ``NameConflict`` if this node has
        not joined before and its name is in use there.
        """
        return await self._call(lambda: self._node.join(seeds))

    async def forget(self, name: str) -> None:
        """Remove a failed member and its instances on every node at once; nothing happens if it has left.

        A member that is alive behind a partition is back when the partition heals. Raises ``UnknownMember``,
        ``MemberPresent`` for a member that is alive or suspect, and ``NodeClosed``.
        """
        await self._call(lambda: self._node.forget(name))

    async def drain(self, reason: str = "") -> None:
        """Give every instance of this node the weight 0 on every node, until `undrain`; the node stays a member.

        ``reason`` is a text for users, of at most 160 characters. With a data directory the node still drains after a
        restart. Idempotent. Raises ``InvalidInstance``, ``NodeClosed``, ``StorageError``.
        """
        await self._call(lambda: self._node.drain(reason))

    async def undrain(self) -> None:
        """End `drain`: every instance has the weight that it was registered with. Idempotent.

        Raises ``NodeClosed``, ``StorageError``.
        """
        await self._call(self._node.undrain)

    async def leave(self) -> None:
        """Leave gracefully: drain, announce the departure, wait until it has spread, close. Idempotent."""
        await self._leave()

    async def wait_closed(self) -> None:
        """Return when the node has left or was closed. Raises ``NameConflict`` if it had to yield its name."""
        await self._wait_closed()
