"""Every request has a name, in its answer and in the log."""

from __future__ import annotations

import base64
import json
import logging
import re
from functools import partial
from pathlib import Path

import httpx
import pytest
import trio

from gossipreg.agent_config import COMPATIBILITY_APIS
from gossipreg.cli.logs import _Json
from gossipreg.errors import StorageError
from gossipreg.frontends.http import serve_http
from gossipreg.frontends.http.native_api import NativeApi
from gossipreg.frontends.serving import access_log
from gossipreg.frontends.serving.access import Access
from gossipreg.frontends.serving.access_log import LogLevels
from gossipreg.frontends.serving.compatibility_api import load
from gossipreg.frontends.serving.request_id import is_sane, new_name
from gossipreg.model import Address, Instance
from gossipreg.spec import InstanceSpec
from tests.frontends.fake_node import FakeNode
from tests.frontends.serving.test_access import READER, TOKENS, written
from tests.frontends.wire import acceptor, answers, ask, dial, get, put, read_until

LOGGER = access_log.log.name


def lines(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    return [record for record in caplog.records if record.name == LOGGER]


# The name


async def test_every_answer_has_a_name_of_its_own(fake: FakeNode, nursery: trio.Nursery) -> None:
    requests = [get("/api/v1/services/orders")] * 3 + [get("/nothing"), put(b"{}"), b"nonsense\r\n\r\n"]
    said = await ask(dial(acceptor(fake), nursery), *requests)
    names = [each.headers["x-request-id"] for each in said]
    assert len(names) == len(set(names)) == len(requests)
    assert all(is_sane(name.encode()) for name in names)


async def test_polls_on_one_connection_have_names_of_their_own_too(fake: FakeNode, nursery: trio.Nursery) -> None:
    stream, names = dial(acceptor(fake), nursery), set()
    for _ in range(4):
        await stream.send_all(get("/api/v1/services/orders"))
        [answer] = answers(await read_until(stream, b"]}"))
        names.add(answer.headers["x-request-id"])
    assert len(names) == 4
    await stream.aclose()


async def test_a_client_may_name_its_request(client: httpx.AsyncClient) -> None:
    for _ in range(3):  # the second and third are answered by the short way
        answer = await client.get("/api/v1/services/orders", headers={"X-Request-Id": "trace-7/a:1"})
        assert answer.headers["x-request-id"] == "trace-7/a:1"
    answer = await client.put("/api/v1/instances", json={}, headers={"X-Request-Id": "trace-8"})
    assert (answer.status_code, answer.headers["x-request-id"]) == (400, "trace-8")


@pytest.mark.parametrize("name", ["", "two words", "x" * 129, "\xfc", 'a"b', "<a>", "a;b"])
async def test_a_name_that_could_mislead_a_log_is_replaced(fake: FakeNode, nursery: trio.Nursery, name: str) -> None:
    [answer] = await ask(dial(acceptor(fake), nursery), get("/healthz", f"X-Request-Id: {name}"))
    assert answer.status == 200
    assert answer.headers["x-request-id"] != name


async def test_a_stream_of_events_has_a_name(fake: FakeNode, nursery: trio.Nursery) -> None:
    stream = dial(acceptor(fake), nursery)
    await stream.send_all(get("/api/v1/events", "X-Request-Id: mine"))
    assert b"x-request-id: mine\r\n" in await read_until(stream, b"\r\n\r\n")
    await stream.aclose()


def test_names_that_we_make_are_sane_and_differ() -> None:
    names = [new_name() for _ in range(100)]
    assert len(set(names)) == 100
    assert all(map(is_sane, names))


# The log


async def test_a_change_is_logged_with_all_that_is_known_of_it(
    client: httpx.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, LOGGER)
    body = {"service": "orders", "port": 80, "id": "a"}
    await client.put("/api/v1/instances", json=body, headers={"X-Request-Id": "mine"})
    [line] = lines(caplog)
    assert line.levelno == logging.INFO
    assert re.fullmatch(r"PUT /api/v1/instances 201 in \d+\.\d ms \(request mine\)", line.getMessage())
    told = json.loads(_Json().format(line))
    assert isinstance(told.pop("ms"), float)
    assert {key: told[key] for key in ("method", "route", "status", "request_id", "token")} == {
        "method": "PUT",
        "route": "/api/v1/instances",
        "status": 201,
        "request_id": "mine",
        "token": None,
    }


@pytest.mark.parametrize(
    ("method", "route", "status", "level"),
    [
        ("GET", "/api/v1/node", 200, logging.DEBUG),
        ("PUT", "/api/v1/heartbeats/ID", 204, logging.DEBUG),
        ("POST", "/api/v1/follow", 200, logging.DEBUG),
        ("PUT", "/eureka/apps/{app}/{id}", 200, logging.DEBUG),
        ("HEAD", "/v1/status/leader", 200, logging.DEBUG),
        ("PUT", "/api/v1/instances", 201, logging.INFO),
        ("DELETE", "/api/v1/instances/ID", 204, logging.INFO),
        ("PUT", "/api/v1/instances", 400, logging.DEBUG),
        ("", "", 404, logging.DEBUG),
        ("", "", 403, logging.WARNING),
        ("GET", "/api/v1/node", 401, logging.WARNING),
        ("GET", "/healthz", 503, logging.WARNING),
        ("PUT", "/api/v1/instances", 500, logging.ERROR),
        ("GET", "/v1/kv/{key...}", 501, logging.INFO),
    ],
)
def test_a_line_is_as_loud_as_what_it_says(method: str, route: str, status: int, level: int) -> None:
    levels = LogLevels(NativeApi.routine | {("PUT", "/eureka/apps/{app}/{id}")})
    assert levels.of((method, route, status)) == levels.of((method, route, status)) == level


async def test_a_token_is_logged_by_its_name_only(
    tmp_path: Path, fake: FakeNode, nursery: trio.Nursery, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, LOGGER)
    access = Access.from_file(written(tmp_path / "tokens.toml", TOKENS))
    bound = await nursery.start(partial(serve_http, fake, Address("127.0.0.1", 0), leave=lambda: None, access=access))
    async with httpx.AsyncClient(base_url=f"http://{bound}", trust_env=False) as client:
        headers = {"Authorization": f"Bearer {READER}"}
        await client.get("/api/v1/node", headers=headers)
        await client.delete("/api/v1/instances/a", headers=headers)
        await client.get("/api/v1/node", headers={"Authorization": "Bearer an-unknown-token-of-ann"})
    read, refused, unknown = lines(caplog)
    assert [each.levelno for each in (read, refused, unknown)] == [logging.DEBUG, logging.WARNING, logging.WARNING]
    assert read.getMessage().endswith(", token dashboard)")
    assert [vars(each)["token"] for each in (read, refused, unknown)] == ["dashboard", "dashboard", None]
    assert READER not in caplog.text
    assert "an-unknown-token" not in caplog.text


@pytest.mark.parametrize(
    ("method", "target", "headers", "body"),
    [
        ("PUT", "/v1/kv/a", {"X-Consul-Token": READER}, ""),
        ("GET", "/v1/catalog/services", {"X-Consul-Token": READER}, ""),
        ("GET", f"/v1/catalog/services?token={READER}", {}, ""),
        ("PUT", "/v1/agent/leave", {"X-Consul-Token": READER}, ""),
        ("GET", "/eureka/apps", {"Authorization": f"Basic {base64.b64encode(f'any:{READER}'.encode()).decode()}"}, ""),
        (
            "POST",
            "/v3/discovery:endpoints",
            {},
            f'{{"node": {{"metadata": {{"gossipreg": {{"token": "{READER}"}}}}}}}}',
        ),
        ("GET", "/traefik/v1/config", {"Authorization": f"Bearer {READER}"}, ""),
    ],
)
async def test_a_token_is_known_wherever_a_apis_clients_put_it(
    method: str,
    target: str,
    headers: dict[str, str],
    body: str,
    tmp_path: Path,
    fake: FakeNode,
    nursery: trio.Nursery,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG, LOGGER)
    access = Access.from_file(written(tmp_path / "tokens.toml", TOKENS))
    serve = partial(serve_http, fake, Address("127.0.0.1", 0), leave=lambda: None, access=access)
    bound = await nursery.start(partial(serve, compatibility_apis=load(COMPATIBILITY_APIS)))
    async with httpx.AsyncClient(base_url=f"http://{bound}", trust_env=False) as client:
        await client.request(method, target, headers=headers, content=body or None)
    [line] = lines(caplog)
    assert vars(line)["token"] == "dashboard"
    assert READER not in " ".join(each.getMessage() for each in caplog.records if each.name.startswith("gossipreg"))


async def test_a_body_that_cannot_be_read_shows_no_token(
    fake: FakeNode, nursery: trio.Nursery, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, LOGGER)
    serve = partial(serve_http, fake, Address("127.0.0.1", 0), leave=lambda: None, compatibility_apis=load(["envoy"]))
    bound = await nursery.start(serve)
    async with httpx.AsyncClient(base_url=f"http://{bound}", trust_env=False) as client:
        answer = await client.post("/v3/discovery:endpoints", content="{")
    [line] = lines(caplog)
    assert (answer.status_code, vars(line)["token"]) == (400, None)


async def test_a_blocked_read_is_logged_when_it_is_answered(
    fake: FakeNode, nursery: trio.Nursery, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, LOGGER)
    stream = dial(acceptor(fake), nursery)
    await stream.send_all(get("/api/v1/services/orders?index=1", "X-Request-Id: mine"))
    await trio.testing.wait_all_tasks_blocked()
    assert lines(caplog) == []
    await fake.register("orders", port=80)
    await read_until(stream, b"]}")
    [line] = lines(caplog)
    assert (vars(line)["request_id"], vars(line)["status"]) == ("mine", 200)
    await stream.aclose()


class FullDisk(FakeNode):
    async def register_spec(self, spec: InstanceSpec) -> Instance:
        raise StorageError("the disk is full")


class Broken(FakeNode):
    async def register_spec(self, spec: InstanceSpec) -> Instance:
        raise RuntimeError("the secret reason")


@pytest.mark.parametrize("node", [FullDisk(), Broken()], ids=["the disk's", "ours"])
async def test_a_failure_is_found_in_the_log_by_its_name(
    node: FakeNode, nursery: trio.Nursery, caplog: pytest.LogCaptureFixture
) -> None:
    body = b'{"service": "orders", "port": 80}'
    [answer] = await ask(dial(acceptor(node), nursery), put(body, "X-Request-Id: mine"))
    assert (answer.status, answer.headers["x-request-id"]) == (500, "mine")
    found = [record for record in caplog.records if vars(record).get("request_id") == "mine"]
    assert [record.levelno for record in found] == [logging.ERROR]
    assert "mine" in found[0].getMessage()
