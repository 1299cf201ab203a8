"""A program that is offered as an instance: by blocks, by ASGI's lifespan, in forks."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from typing import Any

import pytest
import trio

from gossipreg import BindError, InvalidInstance, NodeClosed, Status
from gossipreg.embed.asgi import OfferedApp
from gossipreg.embed.offering import Offer
from gossipreg.embed.server_hooks import aiohttp_context, gunicorn_hooks
from gossipreg.embed.threads import BlockingNode, open_node
from tests.embed.programs import run
from tests.embed.seeing import config
from tests.runtime.nodes import PATIENCE

Message = MutableMapping[str, Any]


@pytest.fixture
def node() -> Iterator[BlockingNode]:
    """The member that sees the program."""
    with open_node(config("ann")) as node:
        yield node


def offer_to(node: BlockingNode, **fields: Any) -> Offer:
    return Offer(config("bob", node), "shop", signals=(), **{"port": 80} | fields)


def status_of_bob(node: BlockingNode) -> Status:
    return {member.name: member.status for member in node.members()}["bob"]


def test_a_program_is_offered_for_as_long_as_the_block(node: BlockingNode) -> None:
    with (offer := offer_to(node, tags=["v2"])):
        [found] = node.wait_for("shop", timeout=PATIENCE)
        assert (found.port, found.tags) == (80, ("v2",))
        assert offer.start() is offer.node, "it is started once"
    assert status_of_bob(node) is Status.LEFT
    with pytest.raises(NodeClosed):
        offer.node.lookup("shop")
    with offer:  # again, by another node
        node.wait_for("shop", timeout=PATIENCE)


def test_an_offer_that_was_not_started_says_so(node: BlockingNode) -> None:
    offer = offer_to(node)
    offer.stop()
    with pytest.raises(NodeClosed, match=r"^'shop' is not offered by this process: start the offer first$"):
        offer.node.lookup("shop")


def test_a_node_that_cannot_offer_leaves(node: BlockingNode) -> None:
    offer = offer_to(node, port=-1)
    with pytest.raises(InvalidInstance), offer:
        pass
    assert offer.node.is_closed


def test_the_configuration_may_be_made_where_the_offer_starts(node: BlockingNode) -> None:
    with Offer(lambda: config(f"web-{os.getpid()}", node), "shop", port=80, signals=()) as offer:
        assert offer.node.name == f"web-{os.getpid()}"


def test_a_fork_starts_an_offer_of_its_own() -> None:
    said = run(
        """
        import os, sys, warnings
        warnings.simplefilter("ignore", DeprecationWarning)  # of forks where there are threads: that is the matter here
        from gossipreg import NodeClosed
        from gossipreg.embed.offering import Offer
        from tests.embed.seeing import config
        with Offer(lambda: config(None), "shop", port=80) as offer:
            first = offer.node.name
            if os.fork() == 0:
                try:
                    offer.node.lookup("shop")
                except NodeClosed:
                    print("the parent's node is not the child's", flush=True)
                with offer:
                    print(offer.node.name != first, flush=True)
                os._exit(0)
            os.wait()
            print(len(offer.node.lookup("shop")))
        """
    )
    assert said == "the parent's node is not the child's\nTrue\n1\n"


def test_hooks_of_gunicorn_and_contexts_of_aiohttp_start_and_stop_it(node: BlockingNode) -> None:
    offer = offer_to(node)
    post_worker_init, worker_exit = gunicorn_hooks(offer)
    post_worker_init(object())
    node.wait_for("shop", timeout=PATIENCE)
    worker_exit(object(), object())
    assert status_of_bob(node) is Status.LEFT

    async def live() -> None:
        contexts = aiohttp_context(offer)(object())
        await anext(contexts)
        assert not offer.node.is_closed
        with pytest.raises(StopAsyncIteration):
            await anext(contexts)
        assert offer.node.is_closed

    asyncio.run(live())


@pytest.mark.parametrize("run_loop", [asyncio.run, trio.run], ids=["asyncio", "trio"])
def test_a_block_of_an_event_loop_that_is_cancelled_leaves_first(
    node: BlockingNode, run_loop: Callable[[Any], object]
) -> None:
    async def live() -> None:
        async with offer_to(node):
            node.wait_for("shop", timeout=PATIENCE)
            raise ValueError("of the block")

    with pytest.raises(ValueError, match="of the block"):
        run_loop(live() if run_loop is asyncio.run else live)
    assert status_of_bob(node) is Status.LEFT


# ASGI


class Server:
    """An ASGI server that runs a lifespan and notes what it hears."""

    def __init__(self, offer: Offer, node: BlockingNode) -> None:
        self.offer = offer
        self.node = node
        self.said: list[tuple[str, bool]] = []
        self.asked = iter(["lifespan.startup", "lifespan.shutdown"])

    async def receive(self) -> Message:
        asked = next(self.asked)
        if asked == "lifespan.shutdown":
            self.node.wait_for("shop", timeout=PATIENCE)
        return {"type": asked}

    async def send(self, message: Message) -> None:
        self.said.append((str(message["type"]), self.is_offered))

    @property
    def is_offered(self) -> bool:
        try:
            return not self.offer.node.is_closed
        except NodeClosed:
            return False

    def serve(self, app: Callable[..., Awaitable[None]], run_loop: Callable[[Any], object] = asyncio.run) -> None:
        async def live() -> None:
            await OfferedApp(app, self.offer)({"type": "lifespan"}, self.receive, self.send)

        run_loop(live() if run_loop is asyncio.run else live)


async def refuses(scope: Message, receive: object, send: object) -> None:
    raise ValueError(f"not for {scope['type']}")


async def ends_at_once(scope: Message, receive: object, send: object) -> None:
    return


async def fails_when_it_is_asked(scope: Message, receive: Callable[[], Awaitable[Message]], send: object) -> None:
    await receive()
    raise ValueError("no lifespan")


@pytest.mark.parametrize("app", [refuses, ends_at_once, fails_when_it_is_asked])
@pytest.mark.parametrize("run_loop", [asyncio.run, trio.run], ids=["asyncio", "trio"])
def test_an_application_without_a_lifespan_gets_one(
    node: BlockingNode, app: Callable[..., Awaitable[None]], run_loop: Callable[[Any], object]
) -> None:
    server = Server(offer_to(node), node)
    server.serve(app, run_loop)
    assert server.said == [("lifespan.startup.complete", True), ("lifespan.shutdown.complete", False)]
    assert status_of_bob(node) is Status.LEFT


def test_an_application_with_a_lifespan_is_offered_when_it_has_started_and_not_any_more_when_it_stops(
    node: BlockingNode,
) -> None:
    server = Server(offer_to(node), node)
    seen = []

    async def app(scope: Message, receive: Callable[[], Awaitable[Message]], send: Callable[[Message], Any]) -> None:
        for _ in range(2):
            message = await receive()
            seen.append((message["type"], server.is_offered))
            await send({"type": f"{message['type']}.complete"})

    server.serve(app)
    assert seen == [("lifespan.startup", False), ("lifespan.shutdown", False)]
    assert server.said == [("lifespan.startup.complete", True), ("lifespan.shutdown.complete", False)]


def test_an_application_that_fails_while_it_serves_leaves(node: BlockingNode) -> None:
    server = Server(offer_to(node), node)

    async def app(scope: Message, receive: Callable[[], Awaitable[Message]], send: Callable[[Message], Any]) -> None:
        await receive()
        await send({"type": "lifespan.startup.complete"})
        node.wait_for("shop", timeout=PATIENCE)
        raise ValueError("while it serves")

    with pytest.raises(ValueError, match="while it serves"):
        server.serve(app)
    assert status_of_bob(node) is Status.LEFT


def test_a_node_that_cannot_start_fails_the_start_up(node: BlockingNode) -> None:
    server = Server(Offer(config("bob", bind=str(node.address)), "shop", port=80), node)
    with pytest.raises(BindError):
        server.serve(ends_at_once)
    assert server.said == [("lifespan.startup.failed", False)]


def test_other_connections_are_passed_on(node: BlockingNode) -> None:
    seen = []

    async def app(scope: Message, receive: object, send: object, *more: object) -> None:
        seen.append((scope["type"], more))

    server = Server(offer_to(node), node)
    asyncio.run(OfferedApp(app, offer_to(node))({"type": "http"}, server.receive, server.send, "more"))
    assert seen == [("http", ("more",))]
