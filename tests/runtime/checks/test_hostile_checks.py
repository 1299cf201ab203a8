"""Any definition of a check is refused with its field, or its runs end in a finding."""

from __future__ import annotations

import re
import socket
from collections.abc import Callable
from functools import partial
from typing import Any, Final

import pytest
import trio
import trio.testing
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from gossipreg.check import Check, CheckKind
from gossipreg.errors import InvalidInstance
from gossipreg.frontends.consul.posted import JsonObject
from gossipreg.frontends.consul.posted import read_check as read_consul
from gossipreg.frontends.serving.response import HttpError
from gossipreg.runtime.checks import dialing
from gossipreg.runtime.checks.dialing import AllowedTargets
from gossipreg.runtime.checks.probing import probe
from gossipreg.spec import InstanceSpec
from gossipreg.targets import CheckRules

#: Everything may be contacted and sent, so that nothing is refused for that alone.
ANYTHING: Final = CheckRules.of(
    ("any", "self", "0.0.0.0/8", "169.254.0.0/16", "224.0.0.0/4", "240.0.0.0/4", "::/128", "fe80::/10", "ff00::/8"),
    ("host", "metadata"),
)

#: No run may end because the machine is slow (seconds).
LONG: Final = 86_400

hosts = st.sampled_from(
    [
        *(
            "",
            ".",
            "..",
            "a.",
            ".a",
            "a..b",
            "a" * 63,
            "a" * 64,
            ".".join(["a" * 60] * 5),
            "-a",
            "a-",
            "_a",
            "*",
            "a b",
        ),
        *(
            "localhost",
            "xn--a",
            "\u00e9.example",
            "\u3002",
            "\u2024",
            "a\u200d",
            "\ud800",
            "\0",
            "a\r\nb",
            "127.1",
            "0x7f.1",
        ),
        *("010.0.0.1", "1.2.3.4.5", "999.1.1.1", "4294967295", "127.0.0.1", "0.0.0.0", "255.255.255.255", "224.0.0.1"),
        *(
            "[::1]",
            "[::]",
            "[::1%25lo]",
            "[fe80::1%25eth0]",
            "[fe80::1%eth0]",
            "[fe80::1%25]",
            "[fe80::1%25%25]",
            "::1",
        ),
        *(
            "[fe80::1%25" + "e" * 70 + "]",
            "[fe80::1%25a/b]",
            "[fe80::1%2525eth0]",
            "[::ffff:127.0.0.1]",
            "[1.2.3.4]",
            "[",
        ),
        *(
            "]",
            "[]",
            "[::1",
            "::1]",
            "[v1.a]",
            "user@a",
            "user:pass@a",
            "a@[::1]",
            "a#b",
            "a?b",
            "a\\b",
            "%2e",
            "a%00b",
            "%",
        ),
    ]
) | st.text(max_size=12)

ports = st.sampled_from(
    ["", ":80", ":0", ":65535", ":65536", ":-1", ":x", ":", ":\u0661", ": 80", ":80:80", ":" + "9" * 400]
)
paths = st.sampled_from(
    ["", "/", "/health?x=%zz#f", "//", "/\r\nHost: b", "/ \u00e9", "/" + "a" * 5000, "?q", "#f"]
) | st.text(max_size=8)
names = st.sampled_from(
    ["Host", "host", "X-A", "x-a", "", "a b", "a:", "Content-Length", "Connection", "Te", "\u00e9", "a\r\n"]
)
values = st.sampled_from(["", "a", " a", "a ", "a\r\nX-B: c", "\u00e9", "\0", "\x7f", "a" * 9000]) | st.text(max_size=8)
headers = st.dictionaries(names, values, max_size=3)

kinds = st.sampled_from(["http", "https", "tcp", "grpc"])


def python(kind: str, target: str, sent: dict[str, str], method: str) -> Check:
    said: dict[str, Any] = {kind.removesuffix("s"): target, "timeout": LONG}
    if kind.startswith("http"):
        said |= {"headers": sent, "method": method}
    return Check(**said)


def over_http(kind: str, target: str, sent: dict[str, str], method: str) -> Check:
    """As a client of the native API writes it, and as a file does."""
    said: dict[str, Any] = {kind.removesuffix("s"): target, "timeout": LONG}
    if kind.startswith("http"):
        said |= {"headers": sent, "method": method}
    [check] = InstanceSpec.read({"service": "orders", "port": 1, "checks": [said]}).checks
    return check


def consul(kind: str, target: str, sent: dict[str, str], method: str) -> Check:
    said: dict[str, Any] = {kind.removesuffix("s").upper(): target, "Interval": "1s", "Timeout": f"{LONG}s"}
    if kind.startswith("http"):
        said |= {"Header": {name: [value] for name, value in sent.items()}, "Method": method}
    return read_consul(JsonObject.of(said), "c", "i").check


_FIELD: Final = re.compile(
    r"(checks\[0\]\.|Check\.|Check: |Request decode error: )?"
    r"(http|tcp|grpc|headers|method|HTTP|TCP|GRPC|Header|Method|Check): "
)


@pytest.fixture
def _nothing_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """No name server, and no target: each hangs up at once."""

    async def addresses(host: str, port: int) -> list[Any]:
        return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)

    async def connected(_: object) -> trio.abc.Stream:
        ours, theirs = trio.testing.memory_stream_pair()
        await theirs.send_eof()
        return ours

    monkeypatch.setattr(dialing, "_addresses", addresses)
    monkeypatch.setattr(dialing, "_connected", connected)


def taken(said: Callable[..., Check], *how: Any) -> tuple[Check | None, str]:
    """The check, or why there is none."""
    try:
        return said(*how), ""
    except (InvalidInstance, HttpError) as error:
        return None, str(error)


@pytest.mark.usefixtures("_nothing_is_asked")
@pytest.mark.parametrize("said", [python, over_http, consul])
@given(
    kind=kinds,
    host=hosts,
    port=ports,
    path=paths,
    sent=headers,
    method=st.sampled_from(["GET", "PUT", "TRACE", "", "\r"]),
)
@example(kind="http", host="app..svc", port="", path="/health", sent={}, method="GET")
@example(kind="http", host="a" * 64, port="", path="/", sent={}, method="GET")
@example(kind="tcp", host=".", port=":80", path="", sent={}, method="GET")
@example(kind="http", host="a", port="", path="/", sent={"Host": "a", "host": "b"}, method="GET")
@example(kind="https", host="[fe80::1%25eth0]", port=":443", path="/", sent={}, method="GET")
@example(kind="grpc", host="[::1]", port=":1", path="/s", sent={}, method="GET")
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_a_check_is_refused_with_its_field_or_ends_in_a_finding(
    said: Callable[..., Check], kind: str, host: str, port: str, path: str, sent: dict[str, str], method: str
) -> None:
    target = (
        f"{kind}://{host}{port}{path}" if kind.startswith("http") else f"{host}{port}{path if kind == 'grpc' else ''}"
    )
    check, why = taken(said, kind, target, sent, method)
    if check is None:
        assert _FIELD.match(why), why
        assert "\n" not in why
        return
    for rules in (ANYTHING, CheckRules()):
        finding = trio.run(partial(probe, check, commands=False, allowed=AllowedTargets(rules, ("127.0.0.1", "a"))))
        assert finding is not None
        assert finding.text
        assert check.host is not None
    assert check.kind in (CheckKind.HTTP, CheckKind.TCP, CheckKind.GRPC)


status_lines = st.binary(max_size=40) | st.sampled_from(
    [
        b"HTTP/1.1 200 secret\r\n",
        b"HTTP/1.1 999 secret\r\n",
        b"HTTP/1.1 200 \xff\xfesecret\r\n",
        b"HTTP/9.9 200 secret\r\n",
        b"-ERR secret\r\n",
    ]
)


@given(head=status_lines, rest=st.binary(max_size=60))
@example(head=b"HTTP/1.1 101 secret\r\n", rest=b"Upgrade: secret\r\n\r\nsecret")
@example(head=b"HTTP/1.1 200 secret\r\n", rest=b"transfer-encoding: secret\r\n\r\n")
@pytest.mark.parametrize("kind", ["http", "grpc"])
def test_whatever_a_target_answers_is_a_finding_whose_first_line_is_ours(kind: str, head: bytes, rest: bytes) -> None:
    async def connected(_: object) -> trio.abc.Stream:
        ours, theirs = trio.testing.memory_stream_pair()
        await theirs.send_all(head + rest)
        await theirs.send_eof()
        return ours

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dialing, "_connected", connected)
        check = (
            Check(http="http://127.0.0.1:1/", timeout=LONG)
            if kind == "http"
            else Check(grpc="127.0.0.1:1", timeout=LONG)
        )
        finding = trio.run(lambda: probe(check, commands=False, allowed=AllowedTargets()))
    assert finding is not None
    assert "secret" not in finding.text.partition("\n")[0]
