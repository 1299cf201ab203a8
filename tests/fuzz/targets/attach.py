"""Targets of the attach protocol: what a process sends to an agent, and what an agent sends to a process."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any, Final

import msgpack
import trio

from gossipreg import limits
from gossipreg.attach import frames
from gossipreg.attach.frames import BadFrame, FrameReader
from gossipreg.attach.values import default, ext_hook
from gossipreg.check import Check
from gossipreg.events import MemberEvent, Snapshot
from gossipreg.frontends.attach.verbs import VERBS
from gossipreg.model import Address, Health, Instance, Member, Status
from tests.frontends.attach.processes import SESSION, agent
from tests.frontends.fake_node import FakeNode
from tests.fuzz.target import Target, check_error_text, outcome

# What a process sends


def _sent(data: bytes) -> str:
    """First byte: whether a hello comes before the rest."""
    return trio.run(partial(_exchange, data[:1] == b"h", data[1:]))


async def _exchange(has_hello: bool, data: bytes) -> str:
    fake = FakeNode(command_checks="api")
    async with agent(fake) as where:
        process = await where.attach() if has_hello else where.begin()
        await process.stream.send_all(data)
        await process.stream.send_eof()
        kinds = ""
        while (frame := await process.hear()) is not None:
            kinds += str(frame[0])[0]
            if frame[0] == frames.FAILED:
                kinds += str(frame[2])
        while where.server._sessions:
            await trio.lowlevel.checkpoint()
        counted = "+".join(sorted(where.counters))
    assert not where.server._followers, "nothing is followed any more"
    return f"{counted} {kinds[:40]}"


def _hello(**fields: Any) -> bytes:
    return frames.pack([frames.HELLO, {"version": 1, "session": SESSION, "grace": 0, "token": None} | fields])


def _sent_seeds() -> Iterator[bytes]:
    yield b"-" + _hello() + frames.pack([frames.ASK, 1, "info", {}])
    yield b"-" + _hello(version=2)
    yield b"-" + _hello(grace=1e9)
    spec = {"service": "orders", "port": 80, "tags": ["a"], "meta": {"k": "v"}, "checks": [{"ttl": "5s"}]}
    about = {"service": "orders", "id": "orders-alpha-80", "owner": "alpha"}
    own = {"id": "orders-alpha-80", "check": None, "health": "passing", "note": "", "reason": "x"}
    asked = [
        ("register_many", {"specs": [spec]}),
        ("heartbeat", own),
        ("set_maintenance", own),
        *((verb, about) for verb in ("stated", "note", "credentials")),
        ("lookup", {"service": "orders", "healthy": True, "tag": None, "zone": None, "role": None, "panic": 0.5}),
        ("set_policy", {"kind": "weight", "fields": {"service": "orders", "instance": "o", "weight": 3}}),
        ("set_policy", {"kind": "split", "fields": {"service": "orders", "shares": {"v1": 1}, "by": "tag"}}),
        ("use_gossip_key", {"id": "0123abcd", "kept": 5, "force": False}),
        ("wait_changed", {"index": 1}),
        ("deregister", own),
        *((verb, {"name": "x", "key": "k", "id": "i", "service": "s"}) for verb in VERBS),
    ]
    for number, (verb, values) in enumerate(asked):
        yield (
            b"h"
            + frames.pack([frames.ASK, number, "register_many", {"specs": [spec]}])
            + frames.pack([frames.ASK, 1000 + number, verb, values])
            + frames.pack([frames.CANCEL, 1000 + number])
        )
    yield b"h" + frames.pack([frames.FOLLOW, 1, "orders", 0]) + frames.pack([frames.UNFOLLOW, 1])
    yield b"h" + frames.pack([frames.REGIONAL, 2, "orders", "eu", ["nearest"]])
    yield b"h" + frames.pack([frames.EVENTS, 2, None, 0.5, False]) + frames.pack([frames.UNFOLLOW, 2])
    yield b"h" + frames.pack([frames.FOLLOW, 1, "orders", 0]) * 2
    yield b"h" + (limits.ATTACH_FRAME_BYTES_MAX + 1).to_bytes(4, "big")
    yield b"h" + len(body := b"\x91" * 2000).to_bytes(4, "big") + body


# What an agent sends


def _received(data: bytes) -> str:
    """Every frame can be read, or is refused; what was read is packed and read again as the same."""
    reader = FrameReader(limits.ATTACH_ANSWER_BYTES_MAX, ext_hook)
    found: list[str] = []
    try:
        found.extend(type(frame[-1]).__name__ for frame in reader.feed(data))
    except BadFrame as error:
        check_error_text(error)
        found.append(outcome(error))
    return " ".join(found[:4])


def _received_seeds() -> Iterator[bytes]:
    instance = Instance(id="a", service="s", host="h", port=1, tags=("t",), meta={"k": "v"}, health=Health.WARNING)
    member = Member("a", Address("10.0.0.1", 1), Status.SUSPECT, 1, 0)
    for value in (
        instance,
        Check(http="http://h/", headers={"A": "b"}),
        (MemberEvent("joined", member), Snapshot((member,), (instance,))),
        {"address": Address("::1", 2)},
    ):
        yield frames.pack([frames.DONE, 1, value], default)
    for body in (
        msgpack.packb(["Instance", {"id": 1}]),
        msgpack.packb(["Health", "none"]),
        msgpack.packb(["NoClass", {}]),
        msgpack.packb(["Instance"]),
        msgpack.packb([["Instance"], 1]),
        msgpack.packb(["Check", {"http": "x"}]),
        b"",
    ):
        yield frames.pack([frames.DONE, 1, msgpack.ExtType(1, body)])


TARGETS: Final = (
    Target(
        "attach-requests",
        "whatever an attached process sends is answered, or its stream is closed, and nothing of it stays",
        _sent,
        _sent_seeds,
        (b"\xa3ask", b"\xa6follow", b"\xa6events", b"\xa5specs", b"\xa2id", b"\xc0", b"\x90", b"\x80", b"\xc7\x01\x01"),
        cost=20,
    ),
    Target(
        "attach-answers",
        "whatever an agent sends is a value of a known class, or BadFrame",
        _received,
        _received_seeds,
        (b"\xa8Instance", b"\xa6Health", b"\xa6Status", b"\xc7", b"\xd4\x01", b"\xa4done", b"\xa4view"),
    ),
)
