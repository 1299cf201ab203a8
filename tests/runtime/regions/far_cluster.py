"""A far cluster in virtual time: its agents serve with the real code, over a network that a test rules."""

from __future__ import annotations

import json
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import attrs
import trio

from gossipreg.counters import all_at_zero
from gossipreg.federation import AgentPlace, Federation
from gossipreg.frontends.http.lookups import LookupCache
from gossipreg.frontends.http.native_api import NativeApi
from gossipreg.frontends.serving.access import Access, bound_token
from gossipreg.frontends.serving.context import ServerContext
from gossipreg.frontends.serving.request import Request
from gossipreg.frontends.serving.response import DeferredResponse, Response
from gossipreg.model import Instance
from gossipreg.runtime.regions.agent_connection import AgentFailed, AgentLink, Progress
from gossipreg.runtime.regions.regions import Regions
from gossipreg.runtime.regions.remote_region import RemoteRequest
from tests.frontends.fake_node import FakeNode

OWN = "us"
FAR = "eu"


def orders(number: int, *, owner: str = "beta", **more: object) -> Instance:
    fields = {"id": f"o{number}", "service": "orders", "host": f"10.1.0.{number}", "port": 80, "owner": owner, **more}
    return Instance(**fields)  # type: ignore[arg-type]


@attrs.define(eq=False)
class FarAgent:
    """One agent of the far cluster."""

    node: FakeNode = attrs.field(factory=lambda: FakeNode(region=FAR))
    access: Access = attrs.field(factory=Access)
    token: str | None = None  # that the follower shows
    latency: float = 0.04  # each way (seconds)
    is_cut: bool = False  # nothing passes, either way, and nothing says so
    is_down: bool = False  # its host refuses connections
    garble: Callable[[bytes], bytes] = bytes  # what becomes of its answers
    parts: int = 0  # in which its answers come, one a second
    part_bytes: int = 0
    asked: list[RemoteRequest] = attrs.field(factory=list)
    connections: int = 0
    _api: NativeApi = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._api = NativeApi(LookupCache(self.node))

    def replace(self, node: FakeNode) -> None:
        """Let it be another run of the agent: requests that are held end with their connections."""
        self.node, self._api = node, NativeApi(LookupCache(node))

    async def carried(self) -> None:
        """Wait for a packet to arrive."""
        if self.is_down:
            raise AgentFailed("the connection broke")
        if not self.is_cut:
            await trio.sleep(self.latency)
        if self.is_cut:
            await trio.sleep_forever()

    async def serve(self, request: RemoteRequest) -> bytes:
        self.asked.append(request)
        body = json.dumps({**attrs.asdict(request), "region": OWN}).encode()
        server = ServerContext(self.node, lambda: None, self.access)
        bound_token.set(None if self.token is None else self.access.find(self.token))
        _, reply = await self._api.answer(Request("POST", "/api/v1/follow", body=body, token=self.token), server)
        answer = await reply.answer() if isinstance(reply, DeferredResponse) else reply
        assert isinstance(answer, Response)
        if answer.status != 200:
            raise AgentFailed(f"it answers {answer.status}: {json.loads(answer.body)['error']}")
        return self.garble(answer.body)


@attrs.define(eq=False)
class FarConnection:
    agent: FarAgent

    async def ask(self, request: RemoteRequest, progress: Progress) -> bytes:
        await self.agent.carried()
        body = await self.agent.serve(request)
        for _ in range(self.agent.parts):
            progress(self.agent.part_bytes)
            await trio.sleep(1.0)
        await self.agent.carried()
        return body

    async def aclose(self) -> None:
        self.agent.connections -= 1
        await trio.lowlevel.checkpoint()


@attrs.define(eq=False)
class FarCluster:
    """The agents of a region, by the addresses under which a node in another region knows them."""

    agents: dict[str, FarAgent]
    imports: tuple[str, ...] = ("*",)

    @classmethod
    def of(cls, *agents: FarAgent, imports: tuple[str, ...] = ("*",)) -> FarCluster:
        for number, each in enumerate(agents, 1):
            each.node.name = f"far-{number}"
        return cls({f"http://10.1.0.{number}:8500": each for number, each in enumerate(agents, 1)}, imports)

    async def connect(self, federation: Federation, place: AgentPlace, region: str) -> AgentLink:
        agent = self.agents[str(place)]
        assert (federation.region, region) == (FAR, OWN)
        with trio.move_on_after(10):
            await agent.carried()
            agent.connections += 1
            return FarConnection(agent)
        raise AgentFailed("it does not accept a connection within 10 s")

    @property
    def federation(self) -> Federation:
        """How a node in another region is told of it."""
        return Federation(region=FAR, agents=tuple(self.agents), imports=self.imports)

    @asynccontextmanager
    async def followed(self) -> AsyncIterator[Regions]:
        """What a node in another region knows of it."""
        federation = self.federation
        regions = Regions.of(
            OWN,
            [federation],
            all_at_zero(),
            index=1000,
            rng=random.Random(3),
            connect=self.connect,
            now=trio.current_time,
        )
        async with trio.open_nursery() as nursery:
            nursery.start_soon(regions.run)
            yield regions
            nursery.cancel_scope.cancel()
