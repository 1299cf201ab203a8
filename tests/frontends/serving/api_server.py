"""A place to ask a dialect without a door: a fake node, and what it answers."""

from __future__ import annotations

import json
from typing import Any

import attrs

from gossipreg.frontends.http.access import Access
from gossipreg.frontends.http.answers import Answer
from gossipreg.frontends.http.call import Room
from gossipreg.frontends.http.lookups import Lookups
from gossipreg.frontends.http.request import Request
from gossipreg.frontends.http.waiting import Waiting
from gossipreg.frontends.serving.compatibility_api import Dialect
from gossipreg.model import Instance
from tests.frontends.http.fake_node import FakeNode


@attrs.frozen
class Said:
    """What the dialect answered."""

    status: int
    document: Any
    headers: tuple[tuple[bytes, bytes], ...]


@attrs.define(eq=False)
class Desk:
    """Asks ``dialect`` about ``node``."""

    dialect: Dialect
    node: FakeNode = attrs.field(factory=FakeNode)
    access: Access = attrs.field(factory=Access)

    def hold(self, id: str, **fields: Any) -> Instance:
        """Have the node know an instance of another's."""
        asked = {"service": "orders", "host": "10.0.0.1", "port": 80, "owner": "beta", **fields}
        instance = Instance(id=id, **asked)
        self.node.hold(instance)
        return instance

    async def ask(self, method: str, target: str, body: bytes = b"", token: str | None = None) -> Said:
        """The answer, waited for where that is wanted."""
        room = Room(self.node, lambda: None, Lookups(self.node), self.access)
        request = Request(method, target, announces_body=bool(body), body=body, token=token)
        _, reply = await self.dialect.answer(request, room)
        if isinstance(reply, Waiting):
            reply = await reply.answer()
        assert isinstance(reply, Answer), reply
        return Said(reply.status, json.loads(reply.body) if reply.body else None, reply.headers)
