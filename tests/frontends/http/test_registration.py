"""A registration over HTTP: JSON that describes an instance, or a refusal that names what cannot be used."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossipreg.errors import InvalidInstance
from gossipreg.frontends.http.handlers import read_spec
from gossipreg.frontends.serving.response import HttpError
from gossipreg.spec import InstanceSpec


def why_not(body: bytes) -> str:
    with pytest.raises((HttpError, InvalidInstance)) as refused:
        read_spec(body)
    return str(refused.value)


def test_a_service_and_a_port_are_enough() -> None:
    assert read_spec(b'{"service": "orders", "port": 80}') == InstanceSpec(service="orders", port=80)


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ('"port": "80"', 'port: "80" is not a whole number'),
        ('"port": 80.0', "port: 80.0 is not a whole number"),
        ('"port": true', "port: true is not a whole number"),
        ('"port": 80, "tags": "v1"', 'tags: "v1" is not a list of strings'),
        ('"port": 80, "tags": null', "tags: null is not a list of strings"),
        ('"port": 80, "tags": ["v1", 2]', "tags: 2 is not a string"),
        ('"port": 80, "meta": ["a"]', 'meta: ["a"] is not an object of strings'),
        ('"port": 80, "meta": {"a": 1}', "meta: 1 is not a string"),
        ('"port": 80, "checks": {"http": "x"}', 'checks: {"http": "x"} is not a list of checks'),
        ('"port": 80, "host": 1', "host: 1 is not a string"),
        ('"port": 80, "weight": null', "weight: null is not a whole number"),
        ('"port": 80, "tags": ["\\ud800"]', 'tags: "\\ud800" holds half a surrogate pair, which is no character'),
        ('"prot": 80', "port: is missing; 'prot': an instance has no such field; it has "),
        ('"port": 80, "owner": "me", "health": "passing"', "'health', 'owner': an instance has no such field"),
    ],
)
def test_a_field_that_cannot_be_used_is_named(fields: str, sentence: str) -> None:
    assert why_not(f'{{"service": "orders", {fields}}}'.encode()).startswith(sentence)


def test_every_field_that_cannot_be_used_is_named() -> None:
    assert why_not(b'{"service": 1, "port": "x"}') == 'service: 1 is not a string; port: "x" is not a whole number'


@pytest.mark.parametrize(
    "body",
    [b"", b"service=orders&port=80", b"{", b"\xff", b"[" * 100_000, b'{"port": ' + b"9" * 10_000 + b"}"],
    ids=["empty", "a form", "cut short", "not UTF-8", "too deep", "too long a number"],
)
def test_what_is_not_json_is_said_to_be_so(body: bytes) -> None:
    assert why_not(body).startswith("the body is not JSON that can be read: ")


@pytest.mark.parametrize("body", ["[]", "null", "1", '"orders"'])
def test_json_that_is_no_object_is_refused(body: str) -> None:
    assert why_not(body.encode()).startswith(f"the body is {body}, not an object with the fields service, port,")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
fields = st.sampled_from(["service", "port", "host", "tags", "meta", "weight", "zone", "role", "id", "other"])


@given(st.dictionaries(fields, json_values))
def test_any_object_is_either_read_or_refused_in_one_line(value: dict[str, object]) -> None:
    body = json.dumps(value).encode()
    try:
        read_spec(body)
    except InvalidInstance:
        assert "\n" not in why_not(body)
