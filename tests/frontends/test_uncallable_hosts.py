"""A host that cannot be called is refused in every form of a registration, and the sentence names it and its field."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Final

import httpx
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from gossipreg.agent_config import AgentConfig
from gossipreg.check import Check
from gossipreg.cli import main
from gossipreg.config import Config
from gossipreg.errors import ConfigError, InvalidInstance
from gossipreg.frontends.http import serve_http
from gossipreg.frontends.serving.compatibility_api import load
from gossipreg.hosts import flaw, listening_flaw
from gossipreg.model import Address, Instance
from gossipreg.runtime.definitions import DefinitionFiles
from gossipreg.spec import InstanceSpec
from tests.frontends.eureka.posts import post
from tests.frontends.fake_node import FakeNode

#: Each of its own kind.
UNCALLABLE: Final = (
    *("0.0.0.0", "::", "::ffff:0.0.0.0", "0:0:0:0:0:0:0:0"),
    *("224.0.0.1", "239.255.255.250", "ff02::1", "255.255.255.255", "::ffff:224.0.0.1"),
    *("web:80", "10.0.0.1:80", "[::1]", "[::1]:80", "http://web"),
    *("1.2.3", "127.1", "010.0.0.1", "0x7f.1", "0x7f000001", "2130706433", "10.0.0.256", "1.2.3.4.5", "10.0.0.1."),
    *("app..svc", ".app", "a" * 64, f"{'a' * 64}.svc", "-web", "web-", "we b", "web/1", "a.".ljust(300, "b")),
    *("fd00::1%eth0", "::1%lo", "10.0.0.1%eth0", "fe80::1", "fe80::1%", "fe80::1%../eth0", "fe80::1%eth0%eth1"),
)

hosts = st.sampled_from(UNCALLABLE) | st.text(st.sampled_from("a1-_.:%[]/ 0xfe"), min_size=1, max_size=12)


@given(hosts)
def test_in_python(host: str) -> None:
    if flaw(host) is None:
        return
    for make in (
        lambda: InstanceSpec(service="orders", port=80, host=host).instance(member="web-1", host="10.0.0.1", zone=""),
        lambda: Instance(id="orders-1", service="orders", host=host, port=80).check(),
    ):
        with pytest.raises(InvalidInstance) as refused:
            make()
        assert refused.value.field == "host"
        assert str(flaw(host)) in str(refused.value)


@pytest.mark.parametrize("host", UNCALLABLE)
def test_in_a_file(tmp_path: Path, host: str) -> None:
    (tmp_path / "orders.toml").write_text(f'[[services]]\nservice = "orders"\nport = 80\nhost = "{host}"\n')
    [refused] = DefinitionFiles(None, tmp_path, commands=False).read().wrong
    assert f"host: {host!r:.40}"[:-1] in str(refused)
    assert str(flaw(host)) in str(refused)


@pytest.mark.parametrize("host", UNCALLABLE)
def test_as_the_target_of_a_check(host: str) -> None:
    """Here a port is part of the target, so that only what stands before it counts."""
    inside = f"[{host}]" if ":" in host else host
    targets: Mapping[str, str] = {
        "http": f"http://{inside.replace('%', '%25')}:80/",
        "tcp": f"{inside}:80",
        "grpc": f"{inside}:80/orders",
    }
    for kind, target in targets.items():
        if host in ("web/1", "http://web"):
            continue  # which is another target, at port 80 or a path
        with pytest.raises(InvalidInstance) as refused:
            Check(**{kind: target, "interval": 1.0})  # type: ignore[arg-type]
        assert refused.value.field == kind


@pytest.mark.parametrize("host", UNCALLABLE)
@pytest.mark.parametrize("setting", ["advertise", "join"])
def test_as_the_address_of_a_member(host: str, setting: str) -> None:
    given = f"[{host}]:7940" if ":" in host else f"{host}:7940"
    with pytest.raises(ConfigError) as refused:
        Config(**{setting: given})  # type: ignore[arg-type]
    assert setting in str(refused.value)


@pytest.mark.parametrize("host", [each for each in UNCALLABLE if listening_flaw(each) is not None])
@pytest.mark.parametrize("setting", ["bind", "http", "dns"])
def test_nor_can_most_of_them_be_listened_at(host: str, setting: str) -> None:
    given = f"[{host}]:7940" if ":" in host else f"{host}:7940"
    with pytest.raises(ConfigError) as refused:
        AgentConfig(**{setting: given})  # type: ignore[arg-type]
    assert setting in str(refused.value)


def test_every_address_of_a_machine_can_be_listened_at() -> None:
    for host in ("0.0.0.0", "[::]"):
        AgentConfig(bind=f"{host}:7940", http=f"{host}:8500", dns=f"{host}:8600", insecure=True)


#: What sends a host, and the name of its field there.
Form = Callable[[httpx.AsyncClient, str], Awaitable[httpx.Response]]


async def native(client: httpx.AsyncClient, host: str) -> httpx.Response:
    return await client.put("/api/v1/instances", json={"service": "orders", "port": 80, "host": host})


async def consul(client: httpx.AsyncClient, host: str) -> httpx.Response:
    body = {"Name": "orders", "Port": 80, "Address": host}
    return await client.put("/v1/agent/service/register", content=json.dumps(body))


async def catalog_node(client: httpx.AsyncClient, host: str) -> httpx.Response:
    return await client.put("/v1/catalog/register", content=json.dumps({"Node": "printer", "Address": host}))


async def catalog_service(client: httpx.AsyncClient, host: str) -> httpx.Response:
    service = {"Service": "orders", "Port": 80, "Address": host}
    body = {"Node": "alpha", "Service": service, "SkipNodeUpdate": True}
    return await client.put("/v1/catalog/register", content=json.dumps(body))


async def eureka(client: httpx.AsyncClient, host: str) -> httpx.Response:
    return await client.post("/eureka/apps/ORDERS", json=post(ipAddr=host))


async def test_on_the_command_line(address: Address, capsys: pytest.CaptureFixture[str]) -> None:
    def register(host: str) -> None:
        with pytest.raises(SystemExit) as ended:
            main(["register", "orders", "--port", "80", f"--host={host}", "--http", str(address)])
        assert ended.value.code == 2

    for host in UNCALLABLE:
        await trio.to_thread.run_sync(register, host)
        said = capsys.readouterr().err
        assert said.startswith("gossipreg: invalid value for '--host': "), said
        assert str(flaw(host)) in said


@pytest.mark.parametrize(
    ("form", "field"),
    [
        (native, "host"),
        (consul, "Address"),
        (catalog_node, "Address"),
        (catalog_service, "Service.Address"),
        (eureka, "ipAddr"),
    ],
)
async def test_over_http(nursery: trio.Nursery, form: Form, field: str) -> None:
    fake = FakeNode()
    serve = partial(
        serve_http, fake, Address("127.0.0.1", 0), leave=lambda: None, compatibility_apis=load(("consul", "eureka"))
    )
    address: Address = await nursery.start(serve)
    async with httpx.AsyncClient(base_url=f"http://{address}", trust_env=False) as client:
        for host in UNCALLABLE:
            answer = await form(client, host)
            assert answer.status_code == 400, (host, answer.text)
            said = answer.json()["error"] if form is native else answer.text
            assert said.startswith(f"{field}: "), said
            assert str(flaw(host)) in said
        assert not fake.services()
        assert (await form(client, "fe80::1%eth0")).is_success
        assert (await form(client, "web-1.example")).is_success
