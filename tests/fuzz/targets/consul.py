"""Targets of the Consul API: bodies, queries, durations and filters."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from gossipreg.errors import InvalidInstance
from gossipreg.frontends.consul import filters
from gossipreg.frontends.consul.durations import seconds
from gossipreg.frontends.consul.posted import JsonObject, PostedService, read_check
from gossipreg.frontends.serving.request import QueryParameters
from gossipreg.frontends.serving.response import HttpError
from tests.frontends.consul.test_filters import ROW
from tests.fuzz.target import Target, check_error_text, outcome


def _consul(data: bytes) -> str:
    """First byte: a service, a check, a query or a duration."""
    kind, data = data[:1], data[1:]
    try:
        match kind:
            case b"s":
                posted = PostedService.parse(data)
                return f"service {len(posted.checks)} {posted.role}"
            case b"c":
                table = JsonObject.parse(data)
                return f"check {read_check(table, table.text('CheckID') or 'i', 'web').check.kind}"
            case b"q":
                query = QueryParameters.parse(data.decode("latin-1"))
                return f"query {len(query.pairs)} {query.flag('passing')} {bool(query.first('near'))}"
            case _:
                found = seconds(data.decode("latin-1"))
                assert found is None or found >= 0
                return f"duration {found is None}"
    except (HttpError, InvalidInstance) as error:
        check_error_text(error)
        return f"{outcome(error)} {str(error)[:24]}"


def _consul_seeds() -> Iterator[bytes]:
    yield b's{"Name":"web","Port":80}'
    yield (
        b's{"ID":"web-1","name":"web","Port":80,"Address":"10.0.0.1","Tags":["a"],"Meta":{"weight":"3","role":"primary",'
        b'"term":"4"},"Weights":{"Passing":3,"Warning":1},"Locality":{"Zone":"north"},"Check":{"TTL":"10s"}}'
    )
    yield b's{"Name":"web","Port":80,"Checks":[{"HTTP":"http://127.0.0.1/","Interval":"1s","Header":{"A":["b"]}},{"TTL":"1m"}]}'
    yield b'c{"CheckID":"alive","TTL":"10s","Status":"passing","DeregisterCriticalServiceAfter":"90m"}'
    yield b'c{"TCP":"127.0.0.1:80","interval":"1s","timeout":1000000000,"SuccessBeforePassing":2}'
    yield b'c{"args":["/bin/true"],"interval":"1s"}'
    yield b'c{"GRPC":"127.0.0.1:80/x","interval":"1s","GRPCUseTLS":true,"TLSSkipVerify":true}'
    yield b"qpassing&near=_agent&filter=a%20b&node-meta=x:y&index=3&wait=10s"
    yield b"d1h2m3.5s"


# Filters

#: Maximum field reads per row of one filter: 64 matches, each on a list of two checks.
_LOOKS_MAX: Final = 64 * 2


def _filters(data: bytes) -> str:
    text = data.decode("utf-8", "replace")
    looks = 0
    compare = filters._some

    def counted(*given: object) -> bool:
        nonlocal looks
        looks += 1
        return compare(*given)  # type: ignore[arg-type]

    filters._some = counted  # type: ignore[assignment]
    try:
        test = filters.parse(text, ROW)
        found = test(ROW)
    except HttpError as refusal:
        check_error_text(refusal)
        return str(refusal)[-40:]
    finally:
        filters._some = compare
    assert found in (True, False)
    assert test({}) in (True, False), "a row without fields is no error"
    assert looks <= _LOOKS_MAX, f"{looks} looks at one row"
    return f"{found} {min(looks, 5)}"


def _filter_seeds() -> Iterator[bytes]:
    yield b"Service.ID == web-1"
    yield b'Service.Meta["a.b"] == c or not (Checks.Status != "passing" and Service.Port == 80)'
    yield b'"v2" in Service.Tags and v3 not in Service.Tags'
    yield b"Service.Tags is not empty"
    yield b"Service.Tags contains `v2`"
    yield b"Service.Meta.absent is empty"
    yield b" or ".join([b"Service.ID == no"] * 64)
    yield b"(" * 31 + b"Service.ID == no" + b")" * 31


TARGETS: Final = (
    Target(
        "consul",
        "a body, a query or a duration is read, or Refusal or InvalidInstance",
        _consul,
        _consul_seeds,
        (b'"Checks":[', b'"Meta":{', b'"TTL":', b'"HTTP":', b"null", b"\\ud800", b"1e999"),
    ),
    Target(
        "filters",
        "a filter is understood or Refusal; its work is bounded for each row",
        _filters,
        _filter_seeds,
        (b" and ", b" or ", b"not ", b"(", b")", b" == ", b" in ", b" is empty", b" contains ", b"Service.Meta", b"["),
        cost=3,
    ),
)
