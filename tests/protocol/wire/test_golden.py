"""The bytes of every kind of message as each release sent them are read by today's reader, field by field.

`golden.txt` has a line a message: the release, and the message in hexadecimal. A line is never changed or removed:
nodes of that release are out there. A release that adds a kind or a field adds lines, as does a message with other
values.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgpack
import pytest

from gossipreg.protocol.wire.messages import message_of, pack

GOLDEN = Path(__file__).with_name("golden.txt")


def golden() -> list[tuple[str, bytes]]:
    lines = (line.split() for line in GOLDEN.read_text().splitlines() if line and not line.startswith("#"))
    return [(release, bytes.fromhex(hexadecimal)) for release, hexadecimal in lines]


def fields(message: bytes) -> list[Any]:
    unpacked = msgpack.unpackb(message)
    assert isinstance(unpacked, list)
    return unpacked


def read_again(message: bytes) -> list[Any]:
    """The fields as today's reader understands them."""
    said = message_of(message)
    assert said is not None, "a kind that is read no more"
    return fields(pack(said))


@pytest.mark.parametrize(
    ("release", "message"), golden(), ids=lambda each: each if isinstance(each, str) else each.hex()[:8]
)
def test_a_message_of_any_release_means_what_it_meant(release: str, message: bytes) -> None:
    theirs = fields(message)
    assert read_again(message)[: len(theirs)] == theirs, release


def test_every_kind_of_message_is_there_with_all_its_fields() -> None:
    kept = {(fields(message)[0], len(fields(message))) for _, message in golden()}
    today = {(read_again(message)[0], len(read_again(message))) for _, message in golden()}
    assert today <= kept, "a field was added: add a message of this release that has it"
    assert {kind for kind, _ in kept} == set(range(1, 24)), "a kind was added: add a message of it"
