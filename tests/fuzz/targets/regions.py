"""Target of answers of other regions' agents: as HTTP in pieces, and their bodies, taken up beside what is held."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final

from gossipreg import limits
from gossipreg.counters import all_at_zero
from gossipreg.errors import RegionUnavailable
from gossipreg.federation import Federation
from gossipreg.model import Instance
from gossipreg.runtime.regions.agent_connection import AgentConnection, AgentFailed
from gossipreg.runtime.regions.remote_answer import UnusableAnswer, read_answer
from gossipreg.runtime.regions.remote_region import RemoteRegion, RemoteRequest
from tests.fuzz.target import Target, check_error_text, outcome
from tests.fuzz.targets.checks import _Answers, _exchange

_FEDERATION: Final = Federation(region="eu", agents=("10.1.0.1:8500",))

#: When the request was sent, and answered (seconds).
_SENT: Final = 1000.0
_RECEIVED: Final = 1002.0


def _remote_answers(data: bytes) -> str:
    """First byte: HTTP or a body alone; second: the size of the pieces."""
    kind, piece, data = data[:1], (data[1:2] or b"\1")[0] + 1, data[2:]
    if kind == b"h":
        try:
            data = _exchange(
                AgentConnection(_Answers(data, piece), "h:1", "t", "us").ask(RemoteRequest({}, "", 0.0), lambda _: None)
            )
        except AgentFailed as failure:
            check_error_text(failure)
            said = str(failure)
        else:
            said = ""
        assert said.isprintable(), "it is written to logs and terminals"
        if said:
            return f"failed {said[:16]}"
        assert len(data) <= limits.REGION_ANSWER_BYTES_MAX
    return _taken(data)


def _taken(body: bytes) -> str:
    """A region in which one service is held and another is not: all of an answer is taken, or nothing."""
    region = RemoteRegion(_FEDERATION, all_at_zero(), 100)
    for name in ("orders", "web"):
        region.follow(name, _SENT)
    first = RemoteRequest({"orders": 0}, "", 0.0)
    region.apply(_read(_FIRST, first), first, _SENT - 2, _SENT - 1)
    before, index = region.service("orders", _RECEIVED), region.index("orders")
    request = region.request()
    try:
        region.apply(_read(body, request), request, _SENT, _RECEIVED)
    except UnusableAnswer as junk:
        check_error_text(junk)
        assert region.service("orders", _RECEIVED) == before, "what cannot be used changes nothing"
        return f"{outcome(junk)} {str(junk)[:16]}"
    assert region.index("orders") >= index
    found = []
    for name in request.services:
        try:
            held = region.service(name, _RECEIVED)
        except RegionUnavailable as error:
            check_error_text(error)
            found.append("none")
            continue
        assert held.age >= 0, "an age is not in the future"
        for each in held.instances:
            _fits(each, name)
        found.append(f"{len(held.healthy)}/{len(held.instances)} {held.stale}")
    directory = region.directory(_RECEIVED)
    json.dumps(dict(directory.services)).encode()
    return f"{found} {len(directory.services)}"


def _read(body: bytes, request: RemoteRequest) -> Any:
    return _exchange(read_answer(body, "eu", frozenset(request.services)))


def _fits(instance: Instance, service: str) -> None:
    """Check that the instance is one that a node may hold: other frontends rely on that."""
    assert (instance.service, instance.region) == (service, "eu")
    assert instance.sealed == b""
    instance.id.encode("ascii")
    json.dumps([*instance.tags, instance.meta, instance.reason, instance.host, instance.zone]).encode()
    for text in (*instance.tags, *instance.meta, *instance.meta.values(), instance.reason):
        text.encode()  # no half of a pair of surrogates
    assert 0 <= instance.port <= 65_535
    assert not set(instance.host) & set(" \t\r\n/@")


def _row(number: int, **more: object) -> dict[str, object]:
    row: dict[str, object] = {"service": "orders", "id": f"o{number}", "host": "10.1.0.1", "port": 80, "owner": "beta"}
    row |= {"health": "passing", "tags": ["a"], "meta": {"k": "v"}, "weight": 1, "role": None, "term": 0}
    return row | {"zone": "", "reason": "", "stale": False} | more


def _body(*rows: dict[str, object], others: tuple[dict[str, object], ...] = (), **more: object) -> bytes:
    member = {"address": "10.1.0.9:7940", "zone": "n", "draining": False}
    orders = {"index": 7, "healthy": rows, "others": others, "members": {"beta": member}}
    document = {"region": "eu", "node": "beta", "run": "beta/1", "waited": 1.5, "age": 0, "left_off": ["web"]}
    directory = {"digest": "d", "services": {"orders": ["a"], "web": []}}
    return json.dumps({**document, "directory": directory, "services": {"orders": orders}} | more).encode()


_FIRST: Final = _body(_row(1), left_off=[])


def _seeds() -> Iterator[bytes]:
    web = {"index": 1, "healthy": [_row(5, service="web", id="w")], "others": [], "members": {}}
    bodies = (
        _body(
            _row(1), _row(2, role="primary", term=3), others=(_row(3, role="fenced", health="critical", reason="r"),)
        ),
        _body(services={"web": web}, left_off=[], directory=None),
        _body(services={"web": web}, left_off=["orders"], age=25),
        _body(services={}, directory={"digest": "e", "services": {}}),
    )
    for body in bodies:
        yield b"b\xff" + body
        yield b"h\x40HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    yield b"h\xffHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"
    yield b"h\xffHTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 307 No\r\nLocation: http://h/\r\nContent-Length: 0\r\n\r\n"
    yield b'h\x01HTTP/1.1 503 No\r\nContent-Length: 13\r\n\r\n{"error": "e"}'
    yield b"h\xffHTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n"


TARGETS: Final = (
    Target(
        "remote-answers",
        "an answer of another region's agent is taken up as a whole, each instance one that may be held, or not at all",
        _remote_answers,
        _seeds,
        (
            *(b'"index":', b'"healthy":[', b'"others":[', b'"members":{', b'"left_off":[', b'"waited":', b'"age":'),
            *(b"-1", b"1e999", b"NaN", b"null", b"true", b"\\ud800", b"\\u0000", b'"stale":true', b'"fenced"', b"{}"),
            *(b"HTTP/1.1 200 OK\r\n", b"Transfer-Encoding: chunked\r\n", b"Content-Length: ", b"\r\n\r\n"),
        ),
        cost=3,
    ),
)
