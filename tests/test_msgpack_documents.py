"""msgpack documents: what is nested, cut off or stated longer than it is, is refused and costs little."""

from __future__ import annotations

import tracemalloc
from typing import Any

import msgpack
import pytest

from gossipreg import limits
from gossipreg.certificate import Certificate
from gossipreg.errors import ConfigError, InvalidCertificate
from gossipreg.msgpack_documents import read_msgpack
from gossipreg.protocol.registry.payload import BadPayload, pack_instance
from gossipreg.runtime.checks import ttl_state
from gossipreg.runtime.files import read_toml
from gossipreg.runtime.registrations import LocalRegistration
from tests.protocol.making import instance


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


def test_what_was_packed_is_read() -> None:
    for value in (None, 7, [1, {"a": [b"x", 2.5]}], nested(limits.JSON_DEPTH_MAX)):
        assert read_msgpack(msgpack.packb(value)) == value


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xc1",
        b"\x91",
        b"\x01\x02",
        msgpack.packb(nested(limits.JSON_DEPTH_MAX + 1)),
        b"\x91" * 900 + b"\x01",
        b"\x91" * 100_000 + b"\x01",
        msgpack.packb(msgpack.ExtType(1, b"a")),
        b"\xa2\xff\xff",
        b"\x81\x91\x01\x01",
    ],
    ids=lambda data: data[:4].hex(),
)
def test_anything_else_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        read_msgpack(data)


def test_heads_that_state_more_items_than_there_are_make_no_room_for_them() -> None:
    size = limits.ATTACH_FRAME_BYTES_MAX
    heads = (b"\xdd" + (size - 1).to_bytes(4, "big")) * 500
    tracemalloc.start()
    with pytest.raises(ValueError, match="msgpack"):
        read_msgpack(heads + b"\xc0" * (size - len(heads)))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 * size


def test_what_is_nested_is_refused_by_each_reader_of_files_and_keys(tmp_path: Any) -> None:
    deep = nested(200)
    with pytest.raises(InvalidCertificate, match="not a certificate"):
        Certificate.read(msgpack.packb(deep))
    with pytest.raises(InvalidCertificate, match="not a certificate"):
        Certificate.read(msgpack.packb([msgpack.packb([1, deep]), bytes(64)]))
    with pytest.raises(ttl_state.UnusableTtlState):
        ttl_state.unpack(msgpack.packb({"check": deep}), [], 0.0, 0.0)
    with pytest.raises(BadPayload):
        LocalRegistration.unpack(pack_instance(instance(), {"checks": deep}), id="x", owner="a")
    file = tmp_path / "gossipreg.toml"
    file.write_text(f"name = {'[' * 200}{']' * 200}")
    with pytest.raises(ConfigError, match="nested deeper than 64"):
        read_toml(file)
