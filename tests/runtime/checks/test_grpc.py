"""A gRPC check works with the health service of grpcio, and takes no other server for one."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import attrs
import pytest

from gossipreg.check import Check
from gossipreg.model import Health
from gossipreg.protocol.registry.checks import Finding
from gossipreg.runtime.checks.dialing import AllowedTargets
from gossipreg.runtime.checks.probing import probe
from tests.runtime.checks.targets import serving

pytest.importorskip("h2", reason="the extra grpc is not installed")
grpc = pytest.importorskip("grpc", reason="grpcio, the peer of this test, is not installed")
health = pytest.importorskip("grpc_health.v1.health", reason="grpcio-health-checking is not installed")
health_pb2 = pytest.importorskip("grpc_health.v1.health_pb2")
added = pytest.importorskip("grpc_health.v1.health_pb2_grpc")


@attrs.frozen
class Peer:
    """A real gRPC server with a health service."""

    port: int
    servicer: Any

    def say(self, service: str, status: str) -> None:
        self.servicer.set(service, health_pb2.HealthCheckResponse.ServingStatus.Value(status))


@pytest.fixture
def peer() -> Iterator[Peer]:
    server = grpc.server(ThreadPoolExecutor(2))
    servicer = health.HealthServicer()
    added.add_HealthServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield Peer(port, servicer)
    server.stop(None).wait()


async def ask(port: int, service: str = "") -> Finding | None:
    return await probe(Check(grpc=f"127.0.0.1:{port}{service}", timeout=60), commands=False, allowed=AllowedTargets())


async def test_what_the_server_says_of_itself_and_of_a_service_decides(peer: Peer) -> None:
    peer.say("", "SERVING")
    assert await ask(peer.port) == Finding(Health.PASSING, "SERVING")
    name = "orders." + "Orders" * 40  # longer than one byte can say
    peer.say(name, "NOT_SERVING")
    assert await ask(peer.port, f"/{name}") == Finding(Health.CRITICAL, "NOT_SERVING")
    peer.say(name, "SERVING")
    assert await ask(peer.port, f"/{name}") == Finding(Health.PASSING, "SERVING")
    peer.say(name, "UNKNOWN")
    assert await ask(peer.port, f"/{name}") == Finding(Health.CRITICAL, "UNKNOWN")


async def test_a_service_that_the_server_does_not_know_is_critical(peer: Peer) -> None:
    finding = await ask(peer.port, "/missing")
    assert finding is not None
    assert finding.health is Health.CRITICAL
    assert finding.text.startswith("gRPC status 5 ")


async def test_what_does_not_speak_grpc_is_critical() -> None:
    async with serving() as target:
        finding = await ask(target.port)
        assert finding is not None
        assert finding.health is Health.CRITICAL
        assert finding.text.startswith(("what answers does not speak HTTP/2", "it hung up"))
