"""TLS server names of a port: how they are written, and which service a caller's name leads to."""

from __future__ import annotations

from typing import Any

import pytest

from gossipreg.errors import ConfigError
from gossipreg.frontends.proxy.server_names import read_pair, service_of
from gossipreg.frontends.proxy.settings import Forward

NAMES = {
    "orders.example": "orders",
    "*.pay.example": "payments",
    "*.eu.pay.example": "europe",
    "test.eu.pay.example": "tests",
}


@pytest.mark.parametrize(
    ("name", "service"),
    [
        ("orders.example", "orders"),
        ("eu.orders.example", None),
        ("a.pay.example", "payments"),
        ("a.b.pay.example", "payments"),
        ("pay.example", None),
        ("xpay.example", None),
        ("eu.pay.example", "payments"),
        ("a.eu.pay.example", "europe"),
        ("test.eu.pay.example", "tests"),
        ("", None),
        (".pay.example", "payments"),
        ("example", None),
    ],
)
def test_a_name_leads_where_it_says_or_where_the_longest_star_does(name: str, service: str | None) -> None:
    assert service_of(NAMES, name) == service


def test_names_are_the_same_however_they_are_written_and_ordered() -> None:
    table: Any = {"B.example.": "b", "*.A.example": "a"}
    one = Forward(listen="h:1", tls=table)
    assert one == Forward(listen="h:1", tls=(("*.a.example", "a"), ("b.example", "b")))
    assert one.services == ("a", "b")
    assert Forward(listen="h:1", service="b", tls=one.tls).services == ("b", "a")


@pytest.mark.parametrize(
    ("names", "why"),
    [
        (5, "5 is not a table of server names, each with its service"),
        (["a.example"], "is not a table of server names"),
        ({"a.example": 5}, "is not a table of server names"),
        ({"a..example": "a"}, "'a..example' is not a host name"),
        ({"*": "a"}, "'*' is not a host name"),
        ({"*.": "a"}, "'*' is not a host name"),
        ({"a.*.example": "a"}, "'a.*.example' is not a host name"),
        ({"10.0.0.1": "a"}, "'10.0.0.1' is an address: a caller of TLS asks for a host name"),
        ({"::1": "a"}, "'::1' is an address"),
        ({"bücher.example": "a"}, "is not a host name or an IP address of 1 to 255 ASCII characters"),
        ({"a.example": "b c"}, "'b c', the service of 'a.example', is not a name"),
        ((("a.example", "a"), ("A.example", "b")), "'a.example' is there twice"),
    ],
)
def test_what_is_wrong_with_names_is_said(names: Any, why: str) -> None:
    with pytest.raises(ConfigError) as refused:
        Forward(listen="h:1", tls=names)
    assert str(refused.value).startswith("tls: ")
    assert why in str(refused.value)


def test_a_flag_gives_one_name_and_its_service() -> None:
    assert read_pair("a.example=orders") == ("a.example", "orders")
    for wrong in ("a.example", "=orders", "a.example="):
        with pytest.raises(ConfigError, match="is not NAME=SERVICE"):
            read_pair(wrong)
