"""Node: the API of a running node: register, look up, pick, watch, leave. Its queries are in `node_queries`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path

import attrs
import trio

from gossipreg.check import Check, CheckReport
from gossipreg.errors import InvalidInstance, NodeClosed, naming
from gossipreg.key_format import parse_key
from gossipreg.keys import KEPT_SECONDS
from gossipreg.model import Health, Instance, ServiceTerm, check_reason
from gossipreg.node_info import JoinResult, NodeInfo
from gossipreg.observations import ObserverReport
from gossipreg.policy import Policy, Rule, check_rule
from gossipreg.protocol.registry.checks import Finding
from gossipreg.regional import RegionalDirectory, RegionalService
from gossipreg.runtime.node_info import node_info
from gossipreg.runtime.node_queries import NodeQueries
from gossipreg.runtime.regions.failover import RETURN_SECONDS
from gossipreg.runtime.watches import EventWatch, RegionalWatch, ServiceWatch
from gossipreg.spec import InstanceSpec
from gossipreg.tokens import ClusterToken


@attrs.define(eq=False, repr=False)
class Node(NodeQueries):
    """One member of the cluster, living in this process. Get one from `open_node`.

    Its properties and other queries, which the base class declares, may be called from any thread. The methods declared
    here may be called only from the trio task tree that opened the node. After a change to a public method's name,
    parameters or docstring, run ``python -m tests.embed.node_modules``.
    """

    # About this node

    def info(self) -> NodeInfo:
        """This node's description of itself: its identity, its state, counters, problems and warnings."""
        return node_info(self._lifecycle)

    async def observer_reports(self) -> tuple[ObserverReport, ...]:
        """What this node and each member that is present believe of the others: this node's own first, then by name.

        The members are asked: it takes seconds where some do not answer. Raises ``NodeClosed``.
        """
        self._context.check_open()
        return await self._context.driver.observer_reports.collect()

    # Following changes

    def watch(self, service: str) -> ServiceWatch:
        """Watch the healthy instances of ``service``: first a snapshot, then diffs. Raises ``NodeClosed``."""
        self._context.check_open()
        return ServiceWatch(service, self._engine.view, self._context.change_log, lambda: self._context.failure)

    def events(
        self, service: str | None = None, *, panic: float = 0.0, healthy: bool = True, all_cells: bool = False
    ) -> EventWatch:
        """Watch members and instances, in batches: first a ``Snapshot``, then what changed. Raises ``NodeClosed``.

        With ``service``, of the instances only that service's. ``panic``: as in `lookup`. Without ``healthy``, also the
        instances that cannot serve: then one is removed only when it is gone. With ``all_cells``, also the members of
        the region's other cells: those of `region_members`.
        """
        self._context.check_open()
        catalog = self._context.catalog
        return EventWatch(
            service,
            self._engine.view,
            catalog.region_member if all_cells else catalog.member,
            catalog.region_members if all_cells else catalog.members,
            self._registrar.health.flapping_event,
            self._registrar.monitor.flapping,
            self._context.change_log,
            catalog.isolation,
            lambda: self._context.failure,
            panic=panic,
            healthy=healthy,
        )

    async def wait_for(self, service: str, *, at_least: int = 1) -> tuple[Instance, ...]:
        """Wait until ``service`` has ``at_least`` healthy instances or more; returns them. Raises ``NodeClosed``."""
        async for change in self.watch(service):
            if len(change.instances) >= at_least:
                return change.instances
        raise NodeClosed(f"node {self.name!r} closed while waiting for {service!r}")

    async def wait_changed(self, service: str | None, index: int, region: str | None = None) -> None:
        """Return when the change index of ``service`` (None: of everything) differs from ``index``; see `index`.

        Raises ``NodeClosed``, or what closed the node.
        """
        if region is not None and region != self.region:
            await self._context.following(region).wait_changed(service, region, index)
            return
        change_log = self._context.change_log
        while not change_log.closed and self.index(service) == index:
            await (change_log.wait(index) if service is None else change_log.wait_for(("service", service)))
        await trio.lowlevel.checkpoint()
        if self.index(service) == index:
            raise self._context.failure or NodeClosed(f"node {self.name!r} is closed")

    # Other regions

    async def fetch(self, service: str, region: str, *, patience: float = 3.0) -> RegionalService:
        """As `regional_service`, once an agent there has answered; waits up to ``patience`` seconds for that."""
        return await self._context.following(region).fetch(service, region, patience)

    async def fetch_directory(self, region: str, *, patience: float = 3.0) -> RegionalDirectory:
        """As `regional_directory`, once an agent there has answered; waits up to ``patience`` seconds for that."""
        return await self._context.following(region).fetch_directory(region, patience)

    def regional_events(
        self,
        service: str,
        *,
        region: str | None = None,
        failover: Sequence[str] = (),
        threshold: float = 0.0,
        tag: str | None = None,
        role: str | None = None,
    ) -> RegionalWatch:
        """Watch the healthy instances of ``service`` in another ``region``, or in that which `with_failover` chooses.

        In batches, first a ``Snapshot`` without members. ``tag`` and ``role`` affect only the choice of the region:
        only instances that match count for it, but all healthy instances of that region are reported. Raises
        ``UnknownRegion``, ``NodeClosed``.
        """
        self._context.check_open()
        own = self._context.change_log
        if region is not None and region != self.region:
            regions = self._context.following(region)
            read, logs = partial(regions.held, service, region), [own, *regions.change_logs([region])]
        elif failover:
            regions = self._context.following(failover[0])
            named = regions.in_order(failover)
            read = partial(self._failed_over_whole, service, failover, threshold, tag, role)
            return RegionalWatch(
                read, [own, *regions.change_logs(named)], lambda: self._context.failure, RETURN_SECONDS / 4
            )
        else:
            read, logs = partial(self.lookup, service), [own]
        return RegionalWatch(read, logs, lambda: self._context.failure)

    def _failed_over_whole(
        self, service: str, failover: Sequence[str], threshold: float, tag: str | None, role: str | None
    ) -> tuple[Instance, ...]:
        offer = self._failed_over(service, failover, threshold, tag, role)
        if tag is None and role is None:
            return offer.healthy
        return self.lookup(service, region=None if offer.region == self.region else offer.region)

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
        return await self._registrar.register(self._registrar.registration(spec))

    async def register_many(self, specs: Sequence[InstanceSpec]) -> tuple[Instance, ...]:
        """Register all instances that ``specs`` describe or, if one of them cannot be registered, none.

        They share one write to disk, one change of each service's index, and their packets. Returns the instances in
        the order of ``specs``, as `register` does, and raises likewise. An error about one of them puts its index
        before the field, as in ``[3].port``. Two with the same id are an error.
        """
        registrations = []
        for place, spec in enumerate(specs):
            with naming(f"[{place}]"):
                registrations.append(self._registrar.registration(spec))
        return await self._registrar.register_many(registrations)

    async def deregister(self, id: str) -> None:
        """Withdraw this node's own instance ``id``. Raises ``UnknownInstance``, ``NodeClosed``, ``StorageError``."""
        await self._registrar.deregister(id)

    async def set_maintenance(self, id: str, reason: str | None) -> Instance:
        """Put this node's own instance ``id`` into maintenance, with a ``reason`` that all nodes show; None ends it.

        The instance stays in maintenance over a restart, and when it is registered again. Its checks go on. Returns it
        as lookups show it. Raises ``UnknownInstance``, ``InvalidInstance``, ``NodeClosed``, ``StorageError``.
        """
        return await self._registrar.set_maintenance(id, reason)

    # Health checks

    def checks(self, id: str | None = None) -> tuple[CheckReport, ...]:
        """The checks of this node's own instance ``id``, or of all its instances, in the order of registration.

        Raises ``UnknownInstance``, ``NodeClosed``.
        """
        self._context.check_open()
        registrar = self._registrar
        return registrar.health.reports(
            registrar.registrations.values() if id is None else [registrar.registration_of(id)]
        )

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

    # Policies and terms

    async def set_policy(self, rule: Rule) -> Policy:
        """Put ``rule`` into force on every node, replacing the policy of its key; returns the policy now in force.

        With a data directory it is on disk before it is published. Raises ``InvalidPolicy``, ``NodeClosed``, and
        ``StorageError`` if the disk refuses it: then it is in force nowhere.
        """
        check_rule(rule)
        return await self._lifecycle.policies.set_policy(rule)

    async def remove_policy(self, key: str) -> None:
        """Remove the policy of that key on every node. Raises ``UnknownPolicy``, ``NodeClosed``, ``StorageError``."""
        await self._lifecycle.policies.remove_policy(key)

    async def reset_term(self, service: str) -> ServiceTerm:
        """Restart the terms of ``service`` on every node, from the highest that its instances state now.

        The only way to lower a term that was given by mistake: deregister the instance that states it, then reset. The
        result names the node and the time of the reset. Raises ``UnknownTerm``, ``NotJoined``, ``NodeClosed``, and
        ``StorageError`` if this node's disk refuses it: then nothing has changed.
        """
        return await self._lifecycle.policies.reset_term(service)

    # Keys and tokens

    async def add_gossip_key(self, key: str) -> str:
        """Have every member hold ``key``, too: 32 bytes in base64; returns its id. Idempotent.

        It travels sealed with the present primary key. With a data directory it is on disk first. Raises
        ``ConfigError`` if it is no key, ``KeyGivenUp`` if the cluster has given it up, ``GossipInClear``,
        ``TooManyKeys``, ``NotJoined``, ``NodeClosed``, ``StorageError``.
        """
        return await self._lifecycle.keyring.add(parse_key(key, where="key"))

    async def use_gossip_key(self, id: str, *, kept: float = KEPT_SECONDS, force: bool = False) -> None:
        """Have every member seal with the key of that id, and give up every other after ``kept`` seconds.

        ``kept`` is from 0 to 366 days. Waits some seconds for members that do not hold the key yet. Raises
        ``KeyNotHeld`` if one does not, unless ``force``; ``ConfigError`` for another ``kept``; ``UnknownKey``,
        ``GossipInClear``, ``NotJoined``, ``NodeClosed``, ``StorageError``.
        """
        await self._lifecycle.keyring.use(id, kept=kept, force=force)

    async def remove_gossip_key(self, id: str) -> None:
        """Have every member give up the key of that id at once, even if it is in the member's key file.

        Waits some seconds for members that have not said which keys they hold. Raises ``KeyInUse`` if a present member
        seals with it, or may do so; ``UnknownKey``, ``GossipInClear``, ``NotJoined``,
        ``NodeClosed``, ``StorageError``.
        """
        await self._lifecycle.keyring.remove(id)

    async def revoke_certificate(self, revocation: str) -> str:
        """Have every member expel the holder of a certificate; returns the certificate's serial number.

        ``revocation``: the line that ``gossipreg ca revoke`` writes. With a data directory it is on disk first. Raises
        ``InvalidCertificate`` if none of this node's authorities has signed it, ``NodeClosed``, ``StorageError``.
        """
        return await self._lifecycle.identity.revoke(revocation)

    async def issue_certificate(self, request: str) -> str:
        """Sign a certificate for a node that has a join token, or renew the one that it has; returns it.

        ``request`` and the result are lines of text. The use of a token is on disk before this returns. Raises
        ``InvalidCertificate`` for what is no request, ``NotAnIssuer`` if this node has no issuer's key or the token is
        another issuer's, ``CertificateRefused``, ``NodeClosed``, ``StorageError``.
        """
        self._context.check_open()
        return await self._lifecycle.issuing.issue(request)

    async def reread_keys(self) -> None:
        """Read ``key_file``, ``credential_key_file`` and the files of identity again. Raises ``ConfigError``."""
        await self._lifecycle.identity.reread()
        await self._lifecycle.keyring.reread()

    async def use_identity(
        self, authority_file: Path, identity_cert: Path | None = None, identity_key: Path | None = None
    ) -> None:
        """Use these files from now on, in place of the settings with the same names.

        A node that had no identity signs and verifies from then on, as if it had been started with
        ``identity=prefer``: it begins a new run, in which its instances are registered again. Raises ``ConfigError``
        for files that cannot be used; then nothing has changed.
        """
        self._context.check_open()
        await self._lifecycle.identity.use(authority_file, identity_cert, identity_key)

    async def require_identity(self) -> None:
        """Accept only signed statements of members from now on, as if started with ``identity=require``.

        Raises ``ConfigError`` if this node has no certificate or no identity, or if a present member or policy would be
        rejected from then on, which the error names. Then nothing has changed.
        """
        self._context.check_open()
        await self._lifecycle.identity.require()

    async def create_token(self, token: ClusterToken) -> ClusterToken:
        """Have every agent that requires tokens accept ``token``, too. It replaces a token of the same name.

        With a data directory it is on disk first. Raises ``InvalidToken``, ``TooManyTokens``, ``GossipInClear``,
        ``NodeClosed``, ``StorageError``.
        """
        self._lifecycle.keyring.check_sealed()
        return await self._lifecycle.policies.create_token(token)

    async def revoke_token(self, name: str) -> None:
        """Revoke the cluster's token of that name: no agent accepts it any more.

        Raises ``UnknownToken``, ``NodeClosed``, ``StorageError``.
        """
        await self._lifecycle.policies.revoke_token(name)

    # Membership

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

    async def wait_closed(self) -> None:
        """Return when the node has left or was closed. Raises ``NameConflict`` if it had to yield its name."""
        await self._context.wait_closed()
