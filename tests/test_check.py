"""A check that can be made can be run; what is wrong with one is said by its field."""

from __future__ import annotations

from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossipreg import limits
from gossipreg.check import Check, CheckKind, read_check, read_checks
from gossipreg.errors import InvalidInstance
from gossipreg.model import Health


def why_not(**fields: Any) -> str:
    with pytest.raises(InvalidInstance) as refused:
        Check(**fields)
    return str(refused.value)


@pytest.mark.parametrize(
    ("fields", "kind", "target"),
    [
        ({"http": "http://127.0.0.1:80/h?a=b"}, CheckKind.HTTP, "http://127.0.0.1:80/h?a=b"),
        ({"http": "https://[::1]/"}, CheckKind.HTTP, "https://[::1]/"),
        ({"tcp": "[::1]:80"}, CheckKind.TCP, "[::1]:80"),
        ({"http": "http://[fe80::1%25eth0]:80/"}, CheckKind.HTTP, "http://[fe80::1%25eth0]:80/"),
        ({"tcp": "[fe80::1%eth0]:80"}, CheckKind.TCP, "[fe80::1%eth0]:80"),
        ({"grpc": "localhost:50051/orders.Orders"}, CheckKind.GRPC, "localhost:50051/orders.Orders"),
        ({"ttl": "1m"}, CheckKind.TTL, ""),
        ({"command": ["/bin/check", "--fast"]}, CheckKind.COMMAND, "/bin/check --fast"),
    ],
)
def test_one_field_says_what_is_done(fields: dict[str, Any], kind: CheckKind, target: str) -> None:
    check = Check(**fields)
    assert (check.kind, check.target, check.name) == (kind, target, str(kind))


@pytest.mark.parametrize(("text", "value"), [("500ms", 0.5), ("2s", 2.0), ("1.5m", 90.0), ("1h", 3600.0), (3, 3.0)])
def test_durations_are_seconds_or_have_a_unit(text: Any, value: float) -> None:
    assert Check(tcp="a:1", interval=text).interval == value
    assert Check(tcp="a:1", deregister_after=text).deregister_after == value


@pytest.mark.parametrize("text", [0, -1, 1e9, "5", "5 s", "5d", True, None, [], float("nan"), "1e3s", "9" * 30 + "s"])
def test_a_duration_that_is_none_is_refused(text: Any) -> None:
    assert why_not(tcp="a:1", timeout=text).startswith("timeout: ")


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({}, "kind: exactly one of http, tcp, grpc, ttl, command says what is checked, and none is given"),
        ({"tcp": "a:1", "ttl": 1}, "kind: exactly one of http, tcp, grpc, ttl, command says what is checked, and tcp"),
        ({"http": "ftp://a/"}, "http: 'ftp://a/' is not a URL such as"),
        ({"http": "http://"}, "http: 'http://' is not a URL"),
        ({"http": "http://a/\r\nX: y"}, "http: "),
        ({"http": "http://a:0/"}, "http: "),
        ({"http": "http://[::1/"}, "http: "),
        ({"http": "http://me:secret@a/"}, "http: the URL holds a user: give an Authorization header"),
        ({"http": "http://a/" + "x" * 3000}, "http: "),
        ({"http": "http://a/", "method": "DELETE"}, "method: 'DELETE' is not one of GET, HEAD, POST, PUT, OPTIONS"),
        ({"http": "http://a/", "headers": {"a b": "c"}}, "headers: 'a b' is not the name of a header"),
        ({"http": "http://a/", "headers": {"a": "b\nc"}}, "headers: the value of a is not visible ASCII"),
        ({"http": "http://a/", "headers": {"Content-Length": "9"}}, "headers: Content-Length is for the node to write"),
        *[
            ({"http": "http://a/", "headers": {name: "x"}}, f"headers: {name} is for the node to write: leave it out")
            for name in ("Transfer-Encoding", "TE", "Keep-Alive", "Proxy-Authorization", "Expect", "upgrade")
        ],
        ({"http": "http://a/", "headers": {"Host": "a", "host": "b"}}, "headers: host is given twice, in different"),
        ({"http": "http://app..svc/health"}, "http: the host 'app..svc' is not a host name: its parts"),
        ({"http": "http://" + "a" * 64 + "/"}, "http: the host "),
        ({"http": "http://.:80/"}, "http: the host '.' is not a host name"),
        ({"http": "http://0.0.0.0:80/"}, "http: the host '0.0.0.0' is every address of a machine"),
        ({"http": "http://[::]/"}, "http: the host '::' is every address of a machine"),
        ({"http": "http://224.0.0.1/"}, "http: the host '224.0.0.1' is an address of many machines"),
        ({"http": "http://[fe80::1%25]/"}, "http: the host 'fe80::1%' is not an IPv6 address with the name"),
        ({"tcp": "app..svc:80"}, "tcp: the host 'app..svc' is not a host name"),
        ({"tcp": "1.2.3:80"}, "tcp: the host '1.2.3' is neither an IPv4 address"),
        ({"grpc": "[ff02::1]:80/x"}, "grpc: the host 'ff02::1' is an address of many machines"),
        ({"http": "http://a/", "headers": {"a": "x" * 9000}}, "headers: at most 8192 characters are allowed together"),
        ({"http": "http://a/", "headers": ["a"]}, "headers: an object of strings is expected"),
        ({"http": "http://a/", "status": [200, 99]}, "status: [200, 99] is not a status code from 100"),
        ({"tcp": "a"}, "tcp: 'a' is not HOST:PORT"),
        ({"tcp": "a:0"}, "tcp: 'a:0' is not HOST:PORT"),
        ({"tcp": "\ud800:1"}, "tcp: "),
        ({"tcp": "a:1", "status": 200}, "status: a check of kind tcp has none; it is for http"),
        ({"tcp": "a:1", "tls": True}, "tls: a check of kind tcp has none; it is for grpc"),
        ({"ttl": 1, "interval": 3}, "interval: a check of kind ttl has none"),
        ({"grpc": "a/service"}, "grpc: 'a/service' is not HOST:PORT or HOST:PORT/SERVICE"),
        ({"command": "ls -l"}, "command: 'ls -l' is not a list of a program and its arguments, all strings"),
        ({"command": []}, "command: "),
        ({"command": ["a\0"]}, "command: "),
        ({"command": ["\ud800"]}, "command: "),
        ({"tcp": "a:1", "name": "a b"}, "name: 'a b' is not a name of 1 to 63 letters"),
        ({"tcp": "a:1", "failures": 0}, "failures: 0 is not a whole number from 1 to 100"),
        ({"tcp": "a:1", "successes": True}, "successes: True is not a whole number"),
        ({"tcp": "a:1", "jitter": 0.6}, "jitter: 0.6 is not a number from 0 to 0.5"),
        ({"tcp": "a:1", "initial": "maintenance"}, "initial: 'maintenance' is not passing, warning or critical"),
        ({"http": "https://a/", "verify": "no"}, "verify: 'no' is not true or false"),
    ],
)
def test_a_field_that_cannot_be_used_is_named(fields: dict[str, Any], sentence: str) -> None:
    assert why_not(**fields).startswith(sentence)


def test_what_is_wrong_in_a_list_is_said_with_its_place() -> None:
    for values, sentence in (
        ([{"tcp": "a:1"}, {"tcp": "b:1"}], "checks[1].name: 'tcp' is taken: give each check a name of its own"),
        ([{"tcp": "a:1", "every": 3}], "checks[0].every: a check has no such field; it has "),
        (["tcp"], "checks[0]: 'tcp' is not an object such as "),
        ({"tcp": "a:1"}, "checks: {'tcp': 'a:1'} is not a list of checks"),
        ([{"ttl": 1}] * 17, "checks: 17 are given, 16 are allowed"),
    ):
        with pytest.raises(InvalidInstance) as refused:
            read_checks(values)
        assert str(refused.value).startswith(sentence)


def test_headers_are_not_in_what_is_printed() -> None:
    assert "secret" not in repr(Check(http="http://a/", headers={"Authorization": "secret"}))


texts = st.text(st.characters(codec="ascii", min_codepoint=33, max_codepoint=126), min_size=1, max_size=9)
durations = st.floats(limits.CHECK_SECONDS_MIN, limits.CHECK_SECONDS_MAX)
common = {
    "name": st.from_regex(r"[a-z]{1,9}", fullmatch=True),
    "successes": st.integers(1, 100),
    "failures": st.integers(1, 100),
    "initial": st.sampled_from([Health.PASSING, Health.WARNING, Health.CRITICAL]),
    "deregister_after": st.none() | durations,
}
run = {"interval": durations, "timeout": durations, "jitter": st.floats(0, 0.5)}
checks = st.one_of(
    st.builds(
        Check,
        http=st.just("https://127.0.0.1:8080/health"),
        method=st.sampled_from(["GET", "HEAD"]),
        headers=st.dictionaries(st.sampled_from(["Host", "Accept", "X-A"]), texts),
        status=st.lists(st.integers(100, 599), max_size=3),
        verify=st.booleans(),
        **common,
        **run,
    ),
    st.builds(Check, grpc=st.just("a:1/b"), tls=st.booleans(), **common, **run),
    st.builds(Check, command=st.lists(texts, min_size=1, max_size=3), **common, **run),
    st.builds(Check, ttl=durations, **common),
)


@given(checks)
def test_a_check_is_read_back_from_what_was_stated_even_after_a_time_on_disk(check: Check) -> None:
    assert read_check(msgpack.unpackb(msgpack.packb(check.stated()))) == check


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=4,
)


@given(st.dictionaries(st.sampled_from([*(f for f in Check.__annotations__), "other"]), anything, max_size=4))
def test_anything_at_all_is_either_a_check_or_refused_in_one_line(value: dict[str, Any]) -> None:
    why = ""
    try:
        assert msgpack.packb(read_check(value).stated())
    except InvalidInstance as error:
        why = str(error)
    assert "\n" not in why
