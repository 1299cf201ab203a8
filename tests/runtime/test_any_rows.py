"""Whatever the rows of a data directory or a snapshot hold, the node starts, and can be used."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import msgpack
import pytest
import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gossipreg import Check, Instance, WeightOverride, open_node
from gossipreg.runtime.snapshot_file import _MAGIC, _digest, _write
from gossipreg.runtime.state_store import StateStore
from tests.runtime.nodes import PATIENCE, config

KINDS = ("identity", "peers", "drain", "instance", "policy", "term", "checks")

Row = tuple[str, str, bytes]
Draw = Callable[[st.SearchStrategy[Any]], Any]

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | st.text(max_size=8)
    | st.binary(max_size=8),
    lambda inner: st.lists(inner, max_size=6) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


async def genuine(directory: Path) -> list[Row]:
    """Rows of every kind, as a node writes them."""
    async with open_node(config("ann", data_dir=directory)) as node:
        await node.register("web", port=80, id="web-1", checks=[Check(ttl=60.0)], tags=["a"], meta={"a": "b"})
        await node.register("pg", port=5432, id="pg-1", role="primary", term=3)
        await node.set_policy(WeightOverride("web", "web-1", 3))
        await node.heartbeat("web-1")
        await node.drain("because")
    with closing(StateStore.open(directory)) as store:
        store.set_peers([node.address])
        found = store._connection.execute("SELECT kind, id, body FROM entries WHERE kind != 'schema'").fetchall()
    rows = [(kind.decode(), key.decode(), body) for kind, key, body in found]
    assert {kind for kind, _, _ in rows} == set(KINDS)
    return rows


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    with tempfile.TemporaryDirectory() as home:
        return trio.run(genuine, Path(home) / "data")


def replaced(draw: Draw, value: Any) -> Any:
    """A message with one of its fields, at any depth, replaced by anything."""
    if isinstance(value, list) and value and draw(st.booleans()):
        at = draw(st.integers(0, len(value) - 1))
        return [*value[:at], replaced(draw, value[at]), *value[at + 1 :]]
    return draw(values)


@st.composite
def spoilt(draw: st.DrawFn, rows: list[Row]) -> list[Row]:
    """A few of the rows with bodies or keys that no node writes."""
    made = []
    for kind, key, body in rows:
        match draw(st.integers(0, 5)):
            case 0:
                body = draw(st.binary(max_size=64))  # noqa: PLW2901
            case 1:
                body = msgpack.packb(draw(values))  # noqa: PLW2901
            case 2 if body:
                at = draw(st.integers(0, len(body) - 1))
                body = body[:at] + draw(st.binary(max_size=3)) + body[at + 1 :]  # noqa: PLW2901
            case 3:
                body = spoilt_message(draw, body)  # noqa: PLW2901
            case 4:
                key = draw(st.text(max_size=8).filter(str.isprintable))  # noqa: PLW2901
            case _:
                pass
        made.append((kind, key, body))
    return made


def spoilt_message(draw: Draw, body: bytes) -> bytes:
    try:
        fields = msgpack.unpackb(body)
    except Exception:  # noqa: BLE001 - it is JSON
        return body
    packed: bytes = msgpack.packb(replaced(draw, fields))
    return packed


#: A tenth of what the profile says, since each example opens a node.
EXAMPLES = settings(
    max_examples=settings().max_examples // 10,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


async def start(directory: Path, spoilt_rows: list[Row]) -> None:
    with closing(StateStore.open(directory)) as store:
        for row in spoilt_rows:
            store._put(*row)
    with trio.fail_after(PATIENCE):
        async with open_node(config(None, data_dir=directory, snapshot=directory / "snapshot")) as node:
            await node.register("alive", port=1, id="alive")
            assert node.lookup("alive", healthy=False)
            node.policies()
            node.checks()


@EXAMPLES
@given(data=st.data())
def test_a_node_starts_whatever_its_rows_hold(
    data: st.DataObject, rows: list[Row], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL)
    with tempfile.TemporaryDirectory() as home:
        trio.run(start, Path(home) / "data", data.draw(spoilt(rows)))


@EXAMPLES
@given(data=st.data())
def test_a_node_starts_whatever_its_snapshot_holds(data: st.DataObject, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL)
    with tempfile.TemporaryDirectory() as home:
        directory = Path(home) / "data"
        directory.mkdir(mode=0o700)
        instances = (Instance(id="pg-1", service="pg", host="h", port=1, owner="bob", role="primary", term=3),)
        _write(directory / "snapshot", "default", "bob", {"pg": instances})
        content = (directory / "snapshot").read_bytes()
        said = msgpack.unpackb(content[len(_MAGIC) + 32 :])
        field = data.draw(st.sampled_from(sorted(said)))
        if field == "services" and data.draw(st.booleans()):
            id_, owner, payload = said["services"]["pg"][0]
            fields = msgpack.unpackb(payload)
            said["services"]["pg"] = [(id_, owner, msgpack.packb(replaced(data.draw, fields)))]
        elif field == "terms" and data.draw(st.booleans()):
            said["terms"] = [msgpack.packb(data.draw(values))]
        else:
            said[field] = replaced(data.draw, said[field])
        body = msgpack.packb(said)
        (directory / "snapshot").write_bytes(_MAGIC + _digest(body) + body)
        trio.run(start, directory, [])
