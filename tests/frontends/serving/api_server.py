"""A client of a compatibility API without sockets, and the fake node that is asked."""

from __future__ import annotations

import json
from typing import Any

import attrs

from gossipreg.frontends.serving.access import Access
from gossipreg.frontends.serving.compatibility_api import CompatibilityApi
from gossipreg.frontends.serving.context import ServerContext
from gossipreg.frontends.serving.request import Request
from gossipreg.frontends.serving.response import DeferredResponse, Response
from gossipreg.model import Instance
from tests.frontends.fake_node import FakeNode


@attrs.frozen
class Said:
    """What the API answered."""

    status: int
    document: Any
    headers: tuple[tuple[bytes, bytes], ...]


@attrs.define(eq=False)
class ApiClient:
    """Asks ``api`` about ``node``."""

    api: CompatibilityApi
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
        server = ServerContext(self.node, lambda: None, self.access)
        request = Request(method, target, announces_body=bool(body), body=body, token=token)
        _, reply = await self.api.answer(request, server)
        if isinstance(reply, DeferredResponse):
            reply = await reply.answer()
        assert isinstance(reply, Response), reply
        return Said(reply.status, json.loads(reply.body) if reply.body else None, reply.headers)
