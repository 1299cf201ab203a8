"""A client of the Consul API without sockets."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

import attrs

from gossipreg.frontends.consul import create_api
from gossipreg.frontends.serving.access import Access
from gossipreg.frontends.serving.compatibility_api import CompatibilityApi
from gossipreg.frontends.serving.context import ServerContext
from gossipreg.frontends.serving.failover_list import FailoverList
from gossipreg.frontends.serving.node_api import NodeApi
from gossipreg.frontends.serving.request import Request
from gossipreg.frontends.serving.response import DeferredResponse, Response
from tests.frontends import wire


@attrs.frozen
class Said(wire.Said):
    """One answer."""

    @property
    def text(self) -> str:
        return self.body.decode()

    @property
    def index(self) -> int:
        return int(self.headers["x-consul-index"])


@attrs.define(eq=False)
class Client:
    """A client of one node."""

    node: NodeApi
    access: Access = attrs.field(factory=Access)
    reload: Callable[[], Awaitable[None]] | None = None
    failover: FailoverList = attrs.field(factory=FailoverList)
    left: list[str] = attrs.field(factory=list)
    _api: CompatibilityApi = attrs.field(factory=create_api)
    _server: ServerContext = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._server = ServerContext(
            self.node, lambda: self.left.append("leave"), self.access, self.reload, failover=self.failover
        )

    async def ask(
        self, method: str, path: str, body: object = None, headers: tuple[tuple[bytes, bytes], ...] = ()
    ) -> Said:
        data = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        request = Request(method, f"/v1/{path}", body=data, headers=headers)
        _, reply = await self._api.answer(request, self._server)
        answer = await reply.answer() if isinstance(reply, DeferredResponse) else reply
        assert isinstance(answer, Response)
        media = {"content-type": answer.media.decode()} if answer.body else {}
        return Said(
            answer.status, {name.decode(): value.decode() for name, value in answer.headers} | media, answer.body
        )

    async def get(self, path: str) -> Any:
        said = await self.ask("GET", path)
        assert said.status == 200, said
        return said.json

    async def put(self, path: str, body: object = None) -> None:
        said = await self.ask("PUT", path, body)
        assert (said.status, said.body) == (200, b""), said
