"""Whatever a client sends, the API answers in Consul's words, and a no changes nothing."""

from __future__ import annotations

import contextlib
from typing import Any

import trio
from hypothesis import given
from hypothesis import strategies as st

from gossipreg.frontends.consul.durations import seconds
from gossipreg.frontends.consul.filters import parse
from gossipreg.frontends.serving.response import HttpError
from gossipreg.model import Instance
from tests.frontends.consul.client import Client, Said
from tests.frontends.consul.test_filters import ROW
from tests.frontends.fake_node import FakeNode

JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


def _or_junk(*values: Any) -> st.SearchStrategy[Any]:
    return st.sampled_from(values) | JUNK


CHECK = st.fixed_dictionaries(
    {},
    optional={
        "CheckID": _or_junk("alive", "service:web"),
        "TTL": _or_junk("10s", 10**10),
        "HTTP": _or_junk("http://127.0.0.1:1/"),
        "Interval": _or_junk("1s"),
        "timeout": _or_junk("1m30s"),
        "Header": _or_junk({"X-A": ["b"]}),
        "Status": _or_junk("passing"),
        "args": _or_junk(["/bin/true"]),
        "SuccessBeforePassing": _or_junk(0, 3),
        "DeregisterCriticalServiceAfter": _or_junk("90m"),
    },
)

SERVICE = st.fixed_dictionaries(
    {"Name": _or_junk("web"), "Port": _or_junk(80)},
    optional={
        "id": _or_junk("web-1"),
        "Tags": _or_junk(["a"]),
        "Meta": _or_junk({"weight": "3", "role": "primary", "term": "9" * 30}),
        "Weights": _or_junk({"Passing": 3}, {"Passing": -1}),
        "Address": _or_junk("10.0.0.1"),
        "Locality": _or_junk({"Zone": "north"}),
        "Check": CHECK | JUNK,
        "Checks": st.lists(CHECK, max_size=3) | JUNK,
    },
)


def _is_told(said: Said) -> None:
    if said.status != 200:
        assert said.status in (400, 404, 501), said
        assert said.headers["content-type"] == "text/plain; charset=utf-8"
        assert said.text


@given(body=SERVICE | JUNK)
def test_any_body_is_registered_or_refused(body: Any) -> None:
    async def play() -> None:
        node = FakeNode()
        said = await Client(node).ask("PUT", "agent/service/register", body)
        _is_told(said)
        assert bool(node.services()) == (said.status == 200)

    trio.run(play)


@given(body=CHECK | JUNK)
def test_any_check_is_registered_or_refused(body: Any) -> None:
    async def play() -> None:
        node = FakeNode()
        await node.register("web", id="web", port=80)
        named = {"Name": "x", "ServiceID": "web", **body} if isinstance(body, dict) else body
        said = await Client(node).ask("PUT", "agent/check/register", named)
        _is_told(said)
        assert bool(node.checked["web"]) == (said.status == 200)

    trio.run(play)


LEXEMES = 'Service.ID Service.Meta.x Checks.Status == != in not and or ( ) is empty contains `c` web-1 [ ] . " \\'
WORDS = st.lists(st.sampled_from([*LEXEMES.split(), '"a b"']), max_size=12).map(" ".join)


@given(text=WORDS | st.text(max_size=30))
def test_any_filter_is_understood_or_refused(text: str) -> None:
    with contextlib.suppress(HttpError):
        assert parse(text, ROW)(ROW) in (True, False)


@given(text=st.text(max_size=20) | st.text("0123456789.smhnuµ", max_size=20))
def test_any_duration_is_one_or_none(text: str) -> None:
    found = seconds(text)
    assert found is None or found >= 0


@given(
    path=st.sampled_from(
        ["health/service/web", "catalog/services", "health/state/any", "agent/checks", "query/web/execute"]
    ),
    query=st.lists(
        st.sampled_from(
            ["tag", "near", "filter", "node-meta", "passing", "limit", "index", "wait", "token", "%ff", "="]
        ),
        max_size=4,
    ),
    value=st.text("abc019:%&=.\"' é", max_size=8),
)
def test_any_query_is_answered(path: str, query: list[str], value: str) -> None:
    async def play() -> None:
        node = FakeNode()
        node.hold(Instance(id="web", service="web", host="10.0.0.1", port=80, owner="alpha"))
        _is_told(await Client(node).ask("GET", f"{path}?{'&'.join(f'{name}={value}' for name in query)}"))

    trio.run(play)
