"""gRPC's own resolver finds instances by DNS, and their replacements when they go."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio

from gossipreg.model import Address
from tests.drills.agents import fixed_address
from tests.drills.waiting import eventually
from tests.peers.results import record
from tests.peers.stage import adapted, open_stage, written

grpc = pytest.importorskip("grpc", reason="grpcio is not installed")

pytestmark = pytest.mark.peer


def serve(address: str, name: str) -> Any:
    """A server at ``address`` that answers every call with its name."""
    say = grpc.unary_unary_rpc_method_handler(lambda _request, _context: name.encode())
    server = grpc.server(ThreadPoolExecutor(2))
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("test.Names", {"Ask": say})])
    server.add_insecure_port(address)
    server.start()
    return server


def ask(channel: Any) -> str:
    """The name of the server that answers one call; empty if none does."""
    try:
        answer: bytes = channel.unary_unary("/test.Names/Ask")(b"", timeout=2)
    except grpc.RpcError:
        return ""
    return answer.decode()


async def test_it_follows_by_dns_as_the_page_says(tmp_path: Path) -> None:
    port = Address.parse(fixed_address()).port
    async with open_stage(tmp_path) as stage:
        code = adapted(written("clients/grpc.md", "python"), {"127.0.0.1:8600": stage.dns, "50051": port})
        hosts = {"one": "127.0.0.2", "two": "127.0.0.3", "three": "127.0.0.4"}
        servers = {name: serve(f"{host}:{port}", name) for name, host in hosts.items()}
        await stage.beta.register("orders", port, id="one", host=hosts["one"])
        await stage.gamma.register("orders", port, id="two", host=hosts["two"])
        await stage.reaches_alpha("one", "two")
        defined: dict[str, Any] = {}
        exec(code, defined)
        channel = defined["channel"]

        async def reaches(*names: str) -> None:
            answers = Counter([await trio.to_thread.run_sync(ask, channel) for _ in range(12)])
            assert set(answers) == set(names)

        try:
            await eventually(partial(reaches, "one", "two"))
            await stage.beta.register("orders", port, id="three", host=hosts["three"])
            await stage.reaches_alpha("one", "two", "three")
            await stage.gamma.kill()
            await stage.reaches_alpha("one", "three")
            servers["two"].stop(None)  # the host has gone down with its agent
            seconds = await eventually(partial(reaches, "one", "three"))
        finally:
            channel.close()
            for server in servers.values():
                server.stop(None).wait()
    record(
        client="gRPC (Python)",
        version=grpc.__version__,
        api="DNS",
        did="follows addresses of `dns:///`, when a connection ends",
        weights="do not reach it",
        seconds=seconds,
    )
