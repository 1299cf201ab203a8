"""JSON that is nested however deep: a 400 in every frontend, and no exception anywhere."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gossipreg import limits
from gossipreg.frontends.serving.access import Access
from gossipreg.frontends.serving.dispatcher import Dispatcher
from gossipreg.frontends.serving.request import Request
from gossipreg.frontends.serving.response import DeferredResponse, Response
from gossipreg.frontends.serving.scopes import Scope
from gossipreg.json_documents import read_json
from tests.frontends.test_scopes import BODIES, HERE, listener, node, target_of, token_for

#: A little too deep; as deep as Python's reader reads and no error sentence could show; deeper than it reads.
ALL = "a-token-that-is-for-everything"

DEPTHS = (limits.JSON_DEPTH_MAX + 1, 900, 985, 200_000)


async def status(asked: Dispatcher, method: str, pattern: str, body: bytes) -> int:
    request = Request(method, target_of(pattern), str(HERE), announces_body=True, body=body, token=ALL)
    reply = await asked.answer(request, b"name")
    if isinstance(reply, DeferredResponse):
        reply = await reply.answer(0)
    return reply.status if isinstance(reply, Response) else 200


def nested(depth: int) -> tuple[str, str]:
    return "[" * depth + "]" * depth, '{"a":' * depth + "1" + "}" * depth


def with_field(body: Any, deep: str) -> list[bytes]:
    """A body that is right but for one field, each in turn, which has the value ``deep``."""
    if not isinstance(body, dict):
        return []
    bodies = []
    for name in (*body, "unknown"):
        said = json.dumps({**body, name: "DEEP"})
        bodies.append(said.replace('"DEEP"', deep).encode())
    return bodies


@pytest.mark.parametrize(("method", "pattern"), BODIES, ids=str)
async def test_json_that_is_nested_too_deeply_is_a_400_at_every_route(method: str, pattern: str) -> None:
    asked = listener(node(), Access((token_for(ALL, *Scope),)))
    for depth in DEPTHS:
        for deep in nested(depth):
            for body in (deep.encode(), *with_field(BODIES[method, pattern], deep)):
                assert await status(asked, method, pattern, body) == 400, f"{depth}: {body[:40]!r}"


def test_what_is_within_the_limit_is_read_and_what_is_beyond_is_not() -> None:
    for deep in nested(limits.JSON_DEPTH_MAX):
        assert read_json(deep) == read_json(deep.encode()) == json.loads(deep)
        with pytest.raises(ValueError, match="nested deeper than 64"):
            read_json(f"[{deep}]")
    flat = json.dumps([{"a": []}] * 1000)
    assert len(read_json(flat)) == 1000
    with pytest.raises(ValueError, match="nested deeper than 64"):
        read_json("[" * 100_000)
