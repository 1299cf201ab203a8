"""Knows what a handler is handed: one request that found its route, and the room it may act in."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import attrs

from gossipreg.frontends.http.event_encoder import EventEncoder
from gossipreg.frontends.http.lookups import LookupCache
from gossipreg.frontends.serving.access import Access
from gossipreg.frontends.serving.node_api import NodeApi
from gossipreg.frontends.serving.request import Request
from gossipreg.frontends.serving.response import HttpError
from gossipreg.frontends.serving.scopes import Action
from gossipreg.text import shown

if TYPE_CHECKING:
    from gossipreg.frontends.serving.compatibility_api import CompatibilityApi

_YES_OR_NO = {"": True, "true": True, "1": True, "false": False, "0": False}


@attrs.frozen
class ServerContext:
    """What all handlers share: the node, its cached lookups, access rules, compatibility APIs, the way to leave."""

    node: NodeApi
    leave: Callable[[], None]
    lookups: LookupCache
    access: Access = attrs.field(factory=Access)
    compatibility_apis: tuple[CompatibilityApi, ...] = ()
    event_encoder: EventEncoder = attrs.field(factory=EventEncoder)
    requests: Counter[tuple[str, str, int]] = attrs.field(factory=Counter)  # answered, by method, route and status


def may_read_status(server: ServerContext, request: Request) -> bool:
    """Whether the client may know more of the agent than whether it is up."""
    return server.access.allows(request.token, Action.READ_STATUS)


@attrs.frozen
class RequestContext:
    """One request to one handler. ``argument`` is what the path's capitals stand for, decoded; else empty."""

    server: ServerContext
    request: Request
    argument: str
    query: Mapping[str, str]

    @property
    def node(self) -> NodeApi:
        """The node that is asked."""
        return self.server.node

    def flag(self, name: str) -> bool:
        """A yes-or-no of the query; its bare name is a yes. Raises a 400 ``HttpError`` for anything else."""
        text = self.query.get(name, "false")
        try:
            return _YES_OR_NO[text]
        except KeyError:
            raise HttpError(400, f"{name}: {shown(text)} is neither true, false, 1 nor 0") from None

    def share(self, name: str) -> float:
        """A share of the query, from 0 to 1; 0 if it is not there. Raises a 400 ``HttpError`` for anything else."""
        text = self.query.get(name, "0")
        try:
            share = float(text)
        except ValueError:
            share = -1.0
        if not 0 <= share <= 1:
            raise HttpError(400, f"{name}: {shown(text)} is not a share from 0 to 1")
        return share

    def text(self, name: str) -> str | None:
        """A text of the query, if it is there. Raises a 400 ``HttpError`` if it is there but empty."""
        text = self.query.get(name)
        if text == "":
            raise HttpError(400, f"{name}: is empty: write {name}=VALUE, or leave it out")
        return text
