"""Consul's ``catalog/register`` and ``catalog/deregister``: nodes and services that no agent runs on.

Such a node and its services are records of the agent that was asked: they last as long as it does, and over its
restarts with a data directory. The state of their checks is what was written last; nothing here checks them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import attrs

from gossipreg import limits
from gossipreg.check import Check
from gossipreg.frontends.consul import catalog_rows
from gossipreg.frontends.consul.context import ConsulContext, check_datacenter, json_response
from gossipreg.frontends.consul.kept import AS_WRITTEN, KEPT, KeptCheck, KeptService, Standing, kept_of, shown_meta
from gossipreg.frontends.consul.posted import JsonObject, host_of, tagged_of, weight_of
from gossipreg.frontends.serving.response import HttpError, Response
from gossipreg.model import NODE_SERVICE, Instance
from gossipreg.spec import InstanceSpec
from gossipreg.text import shown
from gossipreg.values import frozen

#: The name of the check that gives an instance the state that was written.
_WRITTEN: Final = "catalog"


async def register(context: ConsulContext) -> Response:
    """Write a node, a service on it, checks of either, or all of these."""
    table = JsonObject.parse(context.request.body)
    check_datacenter(table.text("Datacenter"), context.state.datacenter)
    name = table.text("Node")
    if not name:
        raise HttpError(400, "Must provide node name")
    if "/" in name:
        raise HttpError(400, f"Node: {shown(name)}: a node's name has no slash")
    checks = [table.table("Check")] if table.get("Check") else []
    checks += table.tables("Checks")
    async with context.server.turn:
        node = _Node.of(context, name)
        service = table.table("Service")
        wanted = _service_id(service) if table.get("Service") else ""
        services = {catalog_rows.shown_id(each): each for each in node.services()}
        of_node = [each for each in checks if not each.text("ServiceID")]
        for each in checks:
            id_ = each.text("ServiceID")
            if id_ and id_ != wanted and id_ not in services:
                raise HttpError(400, f"Missing service registration: {shown(id_)} is not registered on {shown(name)}")
        changes_all = False
        if not node.is_member:
            changes_all = await node.write(table, of_node)
        elif of_node:
            raise HttpError(400, f"{shown(name)} is this agent: PUT its own checks to agent/check/register")
        touched = dict.fromkeys(id_ for id_ in (wanted, *(each.text("ServiceID") for each in checks)) if id_)
        for id_ in touched:
            posted = [each for each in checks if each.text("ServiceID") == id_]
            before = services.get(id_)
            spec, kept = _read_service(service, node) if id_ == wanted else _as_it_is(services[id_])
            own = context.node.own(spec.id or "")
            if id_ not in services and own is not None:
                raise HttpError(409, f"{shown(spec.id)} is the id of an instance that was registered here otherwise")
            known = KeptService() if before is None else kept_of(before) or KeptService()
            services[id_] = await node.offer(spec, _with_checks(kept, known, posted))
        for id_, there in services.items():
            if changes_all and id_ not in touched:
                await node.offer(*_as_it_is(there))
    return json_response(True)


async def deregister(context: ConsulContext) -> Response:
    """Remove a service or a check of a node, or the node with all that it has. What is not there is no error."""
    table = JsonObject.parse(context.request.body)
    check_datacenter(table.text("Datacenter"), context.state.datacenter)
    name, service, check = table.text("Node"), table.text("ServiceID"), table.text("CheckID")
    if not name:
        raise HttpError(400, "Must provide node")
    async with context.server.turn:
        node = _Node.of(context, name)
        if service:
            await node.drop_service(service)
        elif check:
            await node.drop_check(check)
        else:
            for each in list(node.services()):
                await context.node.deregister(each.id)
            if node.record is not None:
                await context.node.deregister(node.record.id)
    return json_response(True)


@frozen
class _Node:
    """A node of the catalog that this agent may write: one that no agent runs on, or its own."""

    context: ConsulContext
    name: str
    is_member: bool

    @classmethod
    def of(cls, context: ConsulContext, name: str) -> _Node:
        """The node of that name. Raises a 409 ``HttpError`` if another agent has it."""
        members = {each.name for each in context.node.region_members()}
        if name in members and name != context.node.name:
            raise HttpError(409, f"{shown(name)} is an agent: register at that agent, with PUT agent/service/register")
        for each in context.node.lookup(NODE_SERVICE, healthy=False):
            if each.id == _record_id(name) and each.owner != context.node.name and not each.stale:
                raise HttpError(409, f"{shown(name)} was registered at the agent {each.owner}: ask that one")
        return cls(context, name, name in members)

    @property
    def record(self) -> Instance | None:
        """What is known of the node itself; None of a member, or if there is nothing."""
        return self.context.node.own(_record_id(self.name))

    @property
    def address(self) -> str:
        """Where it is."""
        record = self.record
        return self.context.node.address.host if record is None else record.host

    def services(self) -> Iterator[Instance]:
        """What was written of its services, as they stand."""
        node, prefix = self.context.node, f"{self.name}/"
        for id_ in node.own_ids():
            stated = node.own(id_) if id_.startswith(prefix) else None
            kept = None if stated is None or stated.service == NODE_SERVICE else kept_of(stated)
            if stated is not None and kept is not None and kept.node == self.name:
                yield stated

    async def write(self, table: JsonObject, checks: list[JsonObject]) -> bool:
        """Write the node itself, and checks of it. Returns whether that changes its services.

        A service has the node's address if it has none of its own, and the state of the node's checks.
        """
        before = self.record
        skip = table.truth("SkipNodeUpdate")
        known = KeptService() if before is None else kept_of(before) or KeptService()
        address = host_of(table)
        if not address and not skip:
            raise HttpError(400, "Must provide address if SkipNodeUpdate is not set")
        if before is not None and skip:
            host, meta, extra, has_address = before.host, shown_meta(before), known.extra, known.has_address
        else:
            host, meta, has_address = address or self.address, table.map("NodeMeta"), bool(address)
            extra = {"ID": table.text("ID"), "TaggedAddresses": table.map("TaggedAddresses")}
        if any("." in key for key in meta):
            raise HttpError(400, "NodeMeta: a key has letters, digits, '_' and '-'")
        kept = KeptService(has_address=has_address, node=self.name, extra=extra)
        kept = _with_checks(kept, known, checks)
        await self._put(host, meta, kept)
        return before is None or before.host != host or known.standings != kept.standings

    async def _put(self, host: str, meta: Mapping[str, str], kept: KeptService) -> None:
        spec = InstanceSpec(
            service=NODE_SERVICE, id=_record_id(self.name), host=host, port=0, meta={**meta, KEPT: kept.text()}
        )
        record = self.record
        if record is None or (record.host, record.meta) != (spec.host, spec.meta):
            await self.context.node.register_spec(spec)

    async def offer(self, spec: InstanceSpec, kept: KeptService) -> Instance:
        """Register a service of the node, in the gravest state of its checks and the node's."""
        record = self.record
        of_node = kept_of(record) if record is not None else None
        standings = {**(KeptService() if of_node is None else of_node).standings, **kept.standings}
        states = [each.status for each in standings.values()]
        worst = max(states, key=catalog_rows.STATES.index, default=catalog_rows.PASSING)
        written = Check(name=_WRITTEN, ttl=limits.CHECK_SECONDS_MAX, initial=worst)
        return await self.context.node.register_spec(
            attrs.evolve(
                spec,
                host=spec.host if kept.has_address else self.address,
                meta={**spec.meta, KEPT: kept.text()},
                checks=() if worst == catalog_rows.PASSING else (written,),
            )
        )

    async def drop_service(self, id_: str) -> None:
        """Remove a service."""
        for each in list(self.services()):
            if catalog_rows.shown_id(each) == id_:
                await self.context.node.deregister(each.id)

    async def drop_check(self, id_: str) -> None:
        """Remove a check of the node or of a service of it."""
        record = self.record
        of_node = None if record is None else kept_of(record)
        changes_all = of_node is not None and id_ in of_node.checks
        if record is not None and of_node is not None and changes_all:
            await self._put(record.host, shown_meta(record), _without(of_node, id_))
        for each in list(self.services()):
            spec, kept = _as_it_is(each)
            if changes_all or id_ in kept.checks:
                await self.offer(spec, _without(kept, id_))


def _record_id(name: str) -> str:
    return f"{NODE_SERVICE}/{name}"


def _service_id(table: JsonObject) -> str:
    id_ = table.text("ID") or table.text("Service")
    if not id_:
        raise HttpError(400, "Must provide service name (Service.Service) when service ID is provided")
    return id_


def _read_service(table: JsonObject, node: _Node) -> tuple[InstanceSpec, KeptService]:
    meta, id_ = table.map("Meta"), _service_id(table)
    if KEPT in meta:
        raise HttpError(400, f"Service.Meta: the key {KEPT} is taken: choose another")
    if NODE_SERVICE in (table.text("Service"), id_):
        raise HttpError(400, f"Service: {NODE_SERVICE} is taken by what nodes state of themselves: choose another name")
    address, weights = host_of(table), table.table("Weights")
    has_weights = bool(weights.whole("Passing") or weights.whole("Warning"))  # clients in Go write zeros for none
    spec = InstanceSpec(
        service=table.text("Service") or id_,
        id=f"{node.name}/{id_}",
        host=address or node.address,
        port=table.whole("Port") or 0,
        tags=table.texts("Tags"),
        meta=meta,
        weight=weight_of(table if has_weights else JsonObject.of({}), meta),
    )
    kept = KeptService(
        has_address=bool(address),
        tagged=tagged_of(table),
        override=table.truth("EnableTagOverride"),
        warning_weight=weights.whole("Warning") if has_weights else None,
        node=node.name,
        id=id_,
        extra={key: table.get(key) for key in AS_WRITTEN if table.get(key)},
    )
    return spec, kept


def _as_it_is(instance: Instance) -> tuple[InstanceSpec, KeptService]:
    spec = InstanceSpec(
        service=instance.service,
        id=instance.id,
        host=instance.host,
        port=instance.port,
        tags=instance.tags,
        meta=shown_meta(instance),
        weight=instance.weight,
    )
    return spec, kept_of(instance) or KeptService()


def _with_checks(kept: KeptService, before: KeptService, posted: list[JsonObject]) -> KeptService:
    """With the checks that there were ``before``, and those that are posted in place of any of the same id."""
    checks, standings = dict(before.checks), dict(before.standings)
    for each in posted:
        title = each.text("Name")
        id_ = each.text("CheckID") or title
        status = each.text("Status") or catalog_rows.CRITICAL
        if not id_:
            raise HttpError(400, f"{each.where}CheckID: is missing, and so is Name")
        if status not in catalog_rows.STATES:
            raise each.wrong("Status", "passing, warning or critical")
        checks[id_] = KeptCheck(id_, title, each.text("Notes"), each.text("Type"))
        standings[id_] = Standing(status, each.text("Output"))
    return attrs.evolve(kept, checks=checks, standings=standings)


def _without(kept: KeptService, id_: str) -> KeptService:
    def rest(found: Mapping[str, Any]) -> dict[str, Any]:
        return {key: value for key, value in found.items() if key != id_}

    return attrs.evolve(kept, checks=rest(kept.checks), standings=rest(kept.standings))
