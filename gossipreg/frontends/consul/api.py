"""The Consul API: its routes, where its clients put a token, and answers for endpoints that do not exist here."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Final

import attrs

from gossipreg.errors import GossipregError
from gossipreg.frontends.consul import agent, agent_checks, agent_info, catalog, catalog_write, prepared_queries
from gossipreg.frontends.consul.context import (
    ConsulContext,
    ConsulState,
    error_response,
    permit,
    region_of,
    token_of,
)
from gossipreg.frontends.serving.context import ServerContext
from gossipreg.frontends.serving.request import Request, split_target
from gossipreg.frontends.serving.response import HttpError, Reply
from gossipreg.frontends.serving.router import Router
from gossipreg.frontends.serving.scopes import Action

Handler = Callable[[ConsulContext], Awaitable[Reply]]


def _missing(sentence: str) -> Handler:
    async def refuse(_ask: ConsulContext) -> Reply:
        raise HttpError(501, sentence)

    return refuse


_STORE = (
    "gossipreg has no key-value store: that takes consensus, and so servers. Settings of an instance go into its Meta; "
    "keep what needs a store in one: etcd, ZooKeeper, or your database."
)
_LOCKS = (
    "gossipreg has no sessions and no locks: those take consensus. Give the primary's role and a term to an instance "
    "(Meta.role, Meta.term), or lock in etcd, ZooKeeper or your database."
)
_ACL = "gossipreg has no ACLs: an agent's tokens and what each is for are in its --tokens-file."
_MESH = "gossipreg is no service mesh: it says who offers what, and proxies of your own choice follow it."
_EVENTS = "gossipreg fires no user events: follow what happens at /api/v1/events."
_SERVERS = "gossipreg has no servers to operate: see `gossipreg members`, or /api/v1/node."
_COORDINATES = (
    "gossipreg takes no coordinates from clients: an agent tells the round trips that it has measured itself, at "
    "/v1/coordinate/nodes."
)

#: What there is, by method and path.
_ROUTES: Final[tuple[tuple[str, str, Handler, Action], ...]] = (
    ("GET", "/v1/health/service/{name}", catalog.health_service, Action.READ_CLUSTER),
    ("GET", "/v1/health/checks/{name}", catalog.health_checks, Action.READ_CLUSTER),
    ("GET", "/v1/health/node/{node}", catalog.health_node, Action.READ_CLUSTER),
    ("GET", "/v1/health/state/{state}", catalog.health_state, Action.READ_CLUSTER),
    ("GET", "/v1/catalog/services", catalog.catalog_services, Action.READ_CLUSTER),
    ("GET", "/v1/catalog/service/{name}", catalog.catalog_service, Action.READ_CLUSTER),
    ("GET", "/v1/catalog/nodes", catalog.catalog_nodes, Action.READ_CLUSTER),
    ("GET", "/v1/catalog/node/{node}", catalog.catalog_node, Action.READ_CLUSTER),
    ("GET", "/v1/catalog/node-services/{node}", catalog.catalog_node_services, Action.READ_CLUSTER),
    ("GET", "/v1/catalog/datacenters", catalog.datacenters, Action.READ_CLUSTER),
    ("GET", "/v1/status/leader", agent_info.leader, Action.READ_CLUSTER),
    ("GET", "/v1/status/peers", agent_info.peers, Action.READ_CLUSTER),
    ("GET", "/v1/query", prepared_queries.list_all, Action.READ_CLUSTER),
    ("GET", "/v1/query/{query}", prepared_queries.get, Action.READ_CLUSTER),
    ("GET", "/v1/query/{query}/execute", prepared_queries.execute, Action.READ_CLUSTER),
    ("GET", "/v1/query/{query}/explain", prepared_queries.explain, Action.READ_CLUSTER),
    ("POST", "/v1/query", prepared_queries.create, Action.SET_POLICY),
    ("PUT", "/v1/query/{query}", prepared_queries.update, Action.SET_POLICY),
    ("DELETE", "/v1/query/{query}", prepared_queries.delete, Action.SET_POLICY),
    ("GET", "/v1/agent/self", agent_info.itself, Action.READ_STATUS),
    ("GET", "/v1/agent/host", agent_info.host, Action.READ_STATUS),
    ("GET", "/v1/agent/metrics", agent_info.metrics, Action.READ_STATUS),
    ("GET", "/v1/event/list", agent_info.events, Action.READ_CLUSTER),
    ("GET", "/v1/coordinate/datacenters", agent_info.coordinate_datacenters, Action.READ_CLUSTER),
    ("GET", "/v1/coordinate/nodes", agent_info.coordinate_nodes, Action.READ_CLUSTER),
    ("GET", "/v1/coordinate/node/{node}", agent_info.coordinate_node, Action.READ_CLUSTER),
    ("GET", "/v1/agent/members", agent_info.members, Action.READ_CLUSTER),
    ("GET", "/v1/agent/services", agent.services, Action.READ_CLUSTER),
    ("GET", "/v1/agent/service/{id}", agent.service, Action.READ_CLUSTER),
    ("GET", "/v1/agent/checks", agent_checks.checks, Action.READ_CHECKS),
    ("GET", "/v1/agent/health/service/id/{id}", agent.health_by_id, Action.READ_CLUSTER),
    ("GET", "/v1/agent/health/service/name/{name}", agent.health_by_name, Action.READ_CLUSTER),
    ("PUT", "/v1/catalog/register", catalog_write.register, Action.REGISTER),
    ("PUT", "/v1/catalog/deregister", catalog_write.deregister, Action.REGISTER),
    ("PUT", "/v1/agent/service/register", agent.register_service, Action.REGISTER),
    ("PUT", "/v1/agent/service/deregister/{id}", agent.deregister_service, Action.REGISTER),
    ("PUT", "/v1/agent/service/maintenance/{id}", agent.service_maintenance, Action.SET_MAINTENANCE),
    ("PUT", "/v1/agent/check/register", agent_checks.register_check, Action.REGISTER),
    ("PUT", "/v1/agent/check/deregister/{id}", agent_checks.deregister_check, Action.REGISTER),
    ("PUT", "/v1/agent/check/pass/{id}", agent_checks.pass_check, Action.REPORT_HEALTH),
    ("PUT", "/v1/agent/check/warn/{id}", agent_checks.warn_check, Action.REPORT_HEALTH),
    ("PUT", "/v1/agent/check/fail/{id}", agent_checks.fail_check, Action.REPORT_HEALTH),
    ("PUT", "/v1/agent/check/update/{id}", agent_checks.update_check, Action.REPORT_HEALTH),
    ("PUT", "/v1/agent/maintenance", agent.maintenance, Action.DRAIN),
    ("PUT", "/v1/agent/reload", agent_info.reload, Action.RELOAD),
    ("PUT", "/v1/agent/join/{address}", agent.join, Action.JOIN),
    ("PUT", "/v1/agent/leave", agent.leave, Action.LEAVE),
    ("PUT", "/v1/agent/force-leave/{node}", agent.force_leave, Action.FORGET),
)

#: What there is not, and what to use instead.
ABSENT: Final = {
    "/v1/kv": _STORE,
    "/v1/kv/{key...}": _STORE,
    "/v1/txn": _STORE,
    "/v1/snapshot": _STORE,
    "/v1/session/{what...}": _LOCKS,
    "/v1/acl/{what...}": _ACL,
    "/v1/agent/token/{what...}": _ACL,
    "/v1/connect/{what...}": _MESH,
    "/v1/agent/connect/{what...}": _MESH,
    "/v1/health/connect/{what...}": _MESH,
    "/v1/health/ingress/{what...}": _MESH,
    "/v1/catalog/connect/{what...}": _MESH,
    "/v1/config": _MESH,
    "/v1/config/{what...}": _MESH,
    "/v1/discovery-chain/{what...}": _MESH,
    "/v1/event/fire/{what...}": _EVENTS,
    "/v1/operator/{what...}": _SERVERS,
    "/v1/coordinate/update": _COORDINATES,
    "/v1/agent/monitor": "gossipreg logs to its standard error; what happens is told at /api/v1/events.",
}

_METHODS: Final = ("GET", "PUT", "POST", "DELETE")

PATHS: Final = Router[tuple[Handler, Action]](
    [(method, path, (handler, action)) for method, path, handler, action in _ROUTES]
    + [(method, path, (_missing(why), Action.ABSENT)) for path, why in ABSENT.items() for method in _METHODS],
    spanning=("id",),
)


#: Routes whose answer is about the one service that their path names.
_OF_ONE_SERVICE: Final = frozenset(
    {"/v1/health/service/{name}", "/v1/health/checks/{name}", "/v1/catalog/service/{name}"}
)


def _service(pattern: str, arguments: Mapping[str, str]) -> str | None:
    """The one service that the answer is about; None if it may be about several."""
    return arguments["name"] if pattern in _OF_ONE_SERVICE else None


@attrs.define(eq=False, repr=False)
class Consul:
    """Answers under ``/v1``."""

    _state: ConsulState | None = attrs.field(init=False, default=None)  # from the first request on

    @property
    def routes(self) -> tuple[tuple[str, str, Action], ...]:
        """See `CompatibilityApi`."""
        return tuple((method, pattern, action) for method, pattern, (_, action) in PATHS.routes)

    def token(self, request: Request) -> str | None:
        """See `CompatibilityApi`."""
        return token_of(request, split_target(request.target)[1])

    async def answer(self, request: Request, server: ServerContext) -> tuple[str, Reply]:
        """See `CompatibilityApi`."""
        pattern = ""
        try:
            path, query = split_target(request.target)
            found = PATHS.find(request.method, path)
            pattern = found.pattern
            handler, action = found.handler
            self._state = self._state or ConsulState.of(server.node)
            permit(server.access, token_of(request, query), action, _service(pattern, found.arguments))
            region = None
            if pattern not in ABSENT and not pattern.startswith("/v1/agent/"):
                region = region_of(query.first("dc"), server.node, only_own=pattern not in catalog.REGIONAL)
            return pattern, await handler(ConsulContext(server, request, query, found.arguments, self._state, region))
        except (HttpError, GossipregError) as error:
            return pattern, error_response(error)
