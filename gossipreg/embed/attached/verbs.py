"""Verbs of an attached node: those of `gossipreg.Node`, carried out by the agent. Its queries are in `queries`.

They have the names, parameters and docstrings of that node's: `gossipreg.embed` writes from it what programs call, and
a test compares them.
"""

# ruff: noqa: D102 -- what each does, `gossipreg.runtime.node` says

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

import attrs

from gossipreg.embed.attached.queries import AttachedQueries, members_only
from gossipreg.embed.attached.steps import Settled
from gossipreg.embed.attached.watches import AttachedEventWatch, AttachedServiceWatch, copied
from gossipreg.embed.host_thread import settle
from gossipreg.errors import InvalidInstance, NodeClosed
from gossipreg.keys import KEPT_SECONDS
from gossipreg.model import Health, Instance

if TYPE_CHECKING:
    from pathlib import Path

    from gossipreg.check import Check, CheckReport
    from gossipreg.model import ServiceTerm
    from gossipreg.node_info import JoinResult, NodeInfo
    from gossipreg.observations import ObserverReport
    from gossipreg.policy import Policy, Rule
    from gossipreg.regional import RegionalDirectory, RegionalService
    from gossipreg.spec import InstanceSpec
    from gossipreg.tokens import ClusterToken


class AttachedVerbs(AttachedQueries):
    """The node of an attached process. Any thread may call its queries; the rest are run by `AttachedThread.submit`."""

    @property
    def has_registered(self) -> bool:
        """Whether it has registered an instance, or may have."""
        return self._own.has_any

    def _ask(self, verb: str, **values: Any) -> Settled[Any]:
        self.link.check_open()
        return Settled(self.link.ask(verb, values))

    # About this node

    def info(self) -> NodeInfo:
        found: NodeInfo = self._answers.read("info")
        problems = found.problems
        if not self.link.is_connected:
            problems = (*problems, str(self.link.unreachable()))
        return attrs.evolve(found, problems=problems, warnings=(*found.warnings, *self._warnings))

    async def observer_reports(self) -> tuple[ObserverReport, ...]:
        found: tuple[ObserverReport, ...] = await self._ask("observer_reports")
        return found

    # Following changes

    def watch(self, service: str) -> AttachedServiceWatch:
        self.link.check_open()
        return AttachedServiceWatch(self.link, service)

    def events(
        self, service: str | None = None, *, panic: float = 0.0, healthy: bool = True, all_cells: bool = False
    ) -> AttachedEventWatch:
        self.link.check_open()
        stream = self.link.events(service, panic=float(panic), healthy=healthy, all_cells=all_cells)
        return AttachedEventWatch(self.link, *stream)

    async def wait_for(self, service: str, *, at_least: int = 1) -> tuple[Instance, ...]:
        async for change in self.watch(service):
            if len(change.instances) >= at_least:
                return change.instances
        raise NodeClosed(f"the node closed while waiting for {service!r}")

    async def wait_changed(self, service: str | None, index: int, region: str | None = None) -> None:
        is_elsewhere = region is not None and region != self.region
        if service is None or is_elsewhere:
            asked = {"service": service, "region": region} if is_elsewhere else {}
            while await self._ask("index", **asked) == index:
                await self._ask("wait_changed", **asked, index=index)
            return
        copy = await copied(self.link, service)
        while True:
            changed = copy.changed.next()
            if copy.view.index != index:
                return
            self.link.check_open()
            await Settled(changed)

    # Other regions

    async def fetch(self, service: str, region: str, *, patience: float = 3.0) -> RegionalService:
        found: RegionalService = await self._ask("fetch", service=service, region=region, patience=float(patience))
        return found

    async def fetch_directory(self, region: str, *, patience: float = 3.0) -> RegionalDirectory:
        found: RegionalDirectory = await self._ask("fetch_directory", region=region, patience=float(patience))
        return found

    def regional_events(
        self,
        service: str,
        *,
        region: str | None = None,
        failover: Sequence[str] = (),
        threshold: float = 0.0,
        tag: str | None = None,
        role: str | None = None,
    ) -> AttachedEventWatch:
        self.link.check_open()
        asked = self.link.regional_events(
            service, region=region, failover=tuple(failover), threshold=float(threshold), tag=tag, role=role
        )
        return AttachedEventWatch(self.link, *asked)

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
        return await self._own.register(spec)

    async def register_many(self, specs: Sequence[InstanceSpec]) -> tuple[Instance, ...]:
        return await self._own.register_many(specs)

    async def deregister(self, id: str) -> None:
        await self._own.deregister(id)

    async def set_maintenance(self, id: str, reason: str | None) -> Instance:
        return await self._own.set_maintenance(id, reason)

    # Health checks

    def checks(self, id: str | None = None) -> tuple[CheckReport, ...]:
        return tuple(self._answers.read("checks", id=id))

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

    # Policies and terms

    async def set_policy(self, rule: Rule) -> Policy:
        from gossipreg.policy import check_rule

        check_rule(rule)
        fields = {each.name: getattr(rule, each.name) for each in attrs.fields(type(rule))}
        plain = {name: dict(value) if isinstance(value, Mapping) else value for name, value in fields.items()}
        found: Policy = await self._ask("set_policy", kind=rule.kind, fields=plain)
        return found

    async def remove_policy(self, key: str) -> None:
        await self._ask("remove_policy", key=key)

    async def reset_term(self, service: str) -> ServiceTerm:
        found: ServiceTerm = await self._ask("reset_term", service=service)
        return found

    # Keys and tokens

    async def add_gossip_key(self, key: str) -> str:
        return str(await self._ask("add_gossip_key", key=key))

    async def use_gossip_key(self, id: str, *, kept: float = KEPT_SECONDS, force: bool = False) -> None:
        await self._ask("use_gossip_key", id=id, kept=float(kept), force=force)

    async def remove_gossip_key(self, id: str) -> None:
        await self._ask("remove_gossip_key", id=id)

    async def revoke_certificate(self, revocation: str) -> str:  # noqa: ARG002 -- a member's parameter
        members_only("revoke_certificate", "use the agent's HTTP API, or `gossipreg ca publish`")

    async def issue_certificate(self, request: str) -> str:  # noqa: ARG002 -- a member's parameter
        members_only("issue_certificate", "ask the agent's HTTP API")

    async def reread_keys(self) -> None:
        members_only("reread_keys", "send SIGHUP to the agent")

    async def use_identity(
        self,
        authority_file: Path,  # noqa: ARG002 -- a member's parameter
        identity_cert: Path | None = None,  # noqa: ARG002 -- a member's parameter
        identity_key: Path | None = None,  # noqa: ARG002 -- a member's parameter
    ) -> None:
        members_only("use_identity", "give the files to the agent, and send that SIGHUP")

    async def require_identity(self) -> None:
        members_only("require_identity", "set it for the agent, and send that SIGHUP")

    async def create_token(self, token: ClusterToken) -> ClusterToken:  # noqa: ARG002 -- a member's parameter
        members_only("create_token", "use the agent's HTTP API, or `gossipreg tokens`")

    async def revoke_token(self, name: str) -> None:  # noqa: ARG002 -- a member's parameter
        members_only("revoke_token", "use the agent's HTTP API, or `gossipreg tokens`")

    # Membership

    async def join(self, seeds: str | Iterable[str]) -> JoinResult:  # noqa: ARG002 -- a member's parameter
        members_only("join", "have the agent do it, by `gossipreg join`")

    async def forget(self, name: str) -> None:
        await self._ask("forget", name=name)

    async def drain(self, reason: str = "") -> None:  # noqa: ARG002 -- a member's parameter
        members_only("drain", "put an instance of this process into maintenance, or drain the agent")

    async def undrain(self) -> None:
        members_only("undrain", "have the agent do it")

    async def leave(self) -> None:
        self.link.stop()
        await self.wait_closed()

    async def wait_closed(self) -> None:
        waiting: Future[None] = Future()  # of its own, since a caller may cancel it
        self.link.ended.add_done_callback(lambda _: settle(waiting, None))
        await Settled(waiting)
