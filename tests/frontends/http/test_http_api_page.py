"""The page docs/http-api.md says what is so."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import httpx
import pytest

from gossipreg.frontends.http.context import Route
from gossipreg.frontends.http.events import EventStream
from gossipreg.frontends.http.routes import ROUTES
from gossipreg.frontends.serving import limits
from gossipreg.frontends.serving.response import ByteChunks
from gossipreg.model import Status
from gossipreg.spec import FIELDS
from tests.frontends.fake_node import FakeNode, member

PAGE = (Path(__file__).parents[3] / "docs" / "http-api.md").read_text()

EXAMPLES = re.findall(r"```http\n(.+?)\n```\s+gives `(\d+)`(?: and no body|:\s+```json\n(.+?)\n```)", PAGE, re.DOTALL)


def rows(section: str) -> dict[str, str]:
    """The first two columns of the tables under a heading, for the rows that begin with code."""
    text = PAGE.split(f"{section}\n", 1)[1].split("\n#", 1)[0]
    return dict(re.findall(r"^\| `([^`]+)` \| ([^|]+) \|", text, re.MULTILINE))


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.path}")
def test_every_route_has_its_section_and_a_link_to_it(route: Route) -> None:
    call = f"`{route.method} {route.path}`"
    assert f"### {call}\n" in PAGE
    anchor = re.sub(r"[^a-z0-9_-]", "", call.lower().replace(" ", "-"))
    assert f"[{call}](#{anchor})" in PAGE
    for parameter in route.query:
        section = PAGE.split(f"### {call}\n")[1].split("\n### ")[0]
        assert f"`{parameter}`" in section or f"?{parameter}=" in section


def test_no_section_is_about_a_route_that_is_not_there() -> None:
    assert sorted(re.findall(r"^### `(.+)`$", PAGE, re.MULTILINE)) == sorted(f"{r.method} {r.path}" for r in ROUTES)


def test_every_example_is_recognized() -> None:
    assert len(EXAMPLES) == PAGE.count("```http") > len(ROUTES) - 1


async def test_the_examples_are_what_is_answered(client: httpx.AsyncClient) -> None:
    for request, status, body in EXAMPLES:
        head, _, content = request.partition("\n\n")
        method, target = head.split(" ")
        answer = await client.request(method, target, content=content)
        expected = json.loads(body) if body else None
        assert (answer.status_code, answer.content and answer.json()) == (int(status), expected or b""), head


async def test_the_example_of_a_stream_is_what_is_told(fake: FakeNode) -> None:
    heard = b""

    async def hear(data: bytes | ByteChunks) -> None:
        nonlocal heard
        assert isinstance(data, bytes)
        heard += data
        match heard.count(b"\n\n"):
            case 1:
                await fake.register("orders", port=8081, id="orders-2")
            case 2:
                fake.see("suspect", member("beta", 7941, Status.SUSPECT))
            case _:
                fake.close()

    await EventStream(fake).run(hear)
    [example] = re.findall(r"```text\n(.+?)```", PAGE, re.DOTALL)
    assert heard.decode() == example


def test_every_event_is_listed() -> None:
    kinds = ["instance-added", "instance-changed", "instance-removed", "check-flapping", "check-steady"]
    kinds += ["role-contested", "role-settled"]
    kinds += ["member-joined", "member-suspect", "member-alive", "member-failed", "member-left"]
    kinds += ["node-isolated", "node-heard"]
    assert list(rows("### `GET /api/v1/events`")) == ["snapshot", *kinds]


def test_every_field_of_an_instance_is_listed() -> None:
    assert set(rows("### `PUT /api/v1/instances`")) == set(FIELDS)


def test_the_limits_are_those_that_hold() -> None:
    listed = rows("## Limits")
    assert {name: float(value) for name, value in listed.items()} == {name: _limit(name) for name in listed}
    assert {"CONNECTIONS_MAX", "HEAD_BYTES_MAX", "IDLE_SECONDS", "REQUEST_SECONDS"} <= set(listed)


def _limit(name: str) -> Any:
    return getattr(limits, name)
