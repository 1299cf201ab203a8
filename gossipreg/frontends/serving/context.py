"""Contexts: what a handler is given, which is one request and what all requests share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from typing import cast

import attrs
import trio

from gossipreg.frontends.serving.access import Access
from gossipreg.frontends.serving.audit_log import AuditLog
from gossipreg.frontends.serving.failover_list import FailoverList
from gossipreg.frontends.serving.node_api import NodeApi
from gossipreg.frontends.serving.request import QueryParameters, Request
from gossipreg.frontends.serving.scoped_node import ScopedNode
from gossipreg.frontends.serving.scopes import Action
from gossipreg.values import frozen


@frozen
class ServerContext:
    """What all requests of a listener share. ``leave`` makes the node leave, and returns at once.

    ``reload`` has the agent's files read again; None where there is no agent. ``turn`` is held by a compatibility API
    from reading an instance to replacing it. ``audit`` records what requests change.
    """

    own_node: NodeApi
    leave: Callable[[], None]
    access: Access = attrs.field(factory=Access)
    reload: Callable[[], Awaitable[None]] | None = None
    audit: AuditLog = attrs.field(factory=AuditLog)
    failover: FailoverList = attrs.field(factory=FailoverList)  # where clients cannot name one
    turn: trio.Lock = attrs.field(factory=trio.Lock)
    requests: Counter[tuple[str, str, int]] = attrs.field(factory=Counter)  # answered, by method, route and status
    node: NodeApi = attrs.field(init=False)  # as requests may change it

    @node.default
    def _(self) -> NodeApi:
        return cast("NodeApi", ScopedNode(self.own_node, self.audit))

    def may_read_status(self, request: Request) -> bool:
        """Whether the client may know more of the agent than whether it is up."""
        return self.access.allows(request.token, Action.READ_STATUS)


@frozen
class RequestContext:
    """One request to one handler. ``arguments`` are the values of the path's placeholders, decoded."""

    server: ServerContext
    request: Request
    query: QueryParameters
    arguments: Mapping[str, str]

    @property
    def node(self) -> NodeApi:
        """The node that is asked."""
        return self.server.node

    def is_admitted(self) -> bool:
        """Whether the token of the request is still one of this agent's, for an answer that goes on."""
        access, token = self.server.access, self.request.token
        return access.is_open or (token is not None and access.find(token) is not None)
