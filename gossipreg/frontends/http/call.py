"""Knows what a handler is handed: one request that found its route, and the room it may act in."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import attrs

from gossipreg.frontends.http.access import Access
from gossipreg.frontends.http.answers import Refusal
from gossipreg.frontends.http.frames import Frames
from gossipreg.frontends.http.lookups import Lookups
from gossipreg.frontends.http.registry import Registry
from gossipreg.frontends.http.request import Request
from gossipreg.frontends.http.scopes import Action
from gossipreg.text import shown

if TYPE_CHECKING:
    from gossipreg.frontends.serving.compatibility_api import Dialect

_YES_OR_NO = {"": True, "true": True, "1": True, "false": False, "0": False}


@attrs.frozen
class Room:
    """What the handlers share: the node, its cached lookups, the way to make it leave, who may do what, dialects."""

    node: Registry
    leave: Callable[[], None]
    lookups: Lookups
    access: Access = attrs.field(factory=Access)
    dialects: tuple[Dialect, ...] = ()
    frames: Frames = attrs.field(factory=Frames)
    requests: Counter[tuple[str, str, int]] = attrs.field(factory=Counter)  # answered, by method, route and status


def may_read_status(room: Room, request: Request) -> bool:
    """Whether the client may know more of the agent than whether it is up."""
    return room.access.allows(request.token, Action.READ_STATUS)


@attrs.frozen
class Call:
    """One request to one handler. ``argument`` is what the path's capitals stand for, decoded; else empty."""

    room: Room
    request: Request
    argument: str
    query: Mapping[str, str]

    @property
    def node(self) -> Registry:
        """The node that is asked."""
        return self.room.node

    def flag(self, name: str) -> bool:
        """A yes-or-no of the query; its bare name is a yes. Raises a 400 ``Refusal`` for anything else."""
        text = self.query.get(name, "false")
        try:
            return _YES_OR_NO[text]
        except KeyError:
            raise Refusal(400, f"{name}: {shown(text)} is neither true, false, 1 nor 0") from None

    def share(self, name: str) -> float:
        """A share of the query, from 0 to 1; 0 if it is not there. Raises a 400 ``Refusal`` for anything else."""
        text = self.query.get(name, "0")
        try:
            share = float(text)
        except ValueError:
            share = -1.0
        if not 0 <= share <= 1:
            raise Refusal(400, f"{name}: {shown(text)} is not a share from 0 to 1")
        return share

    def text(self, name: str) -> str | None:
        """A text of the query, if it is there. Raises a 400 ``Refusal`` if it is there but empty."""
        text = self.query.get(name)
        if text == "":
            raise Refusal(400, f"{name}: is empty: write {name}=VALUE, or leave it out")
        return text
