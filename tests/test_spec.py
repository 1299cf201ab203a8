"""What is asked to be registered reads the same from JSON and TOML, and says everything that is wrong with it."""

from __future__ import annotations

import tomllib
from typing import Any

import attrs
import pytest

from gossipreg import Check
from gossipreg.errors import InvalidInstance
from gossipreg.spec import FIELDS, NEXT, InstanceSpec

WHOLE: dict[str, Any] = {
    "service": "orders",
    "port": 80,
    "host": "10.0.0.1",
    "tags": ["v1"],
    "meta": {"a": "b"},
    "weight": 2,
    "zone": "north",
    "role": "primary",
    "term": 3,
    "id": "o",
    "checks": [{"ttl": 5}],
    "credentials": {"user": "u"},
}


def wrong(**fields: object) -> InvalidInstance:
    with pytest.raises(InvalidInstance) as caught:
        InstanceSpec.read({"service": "orders", "port": 80, **fields})
    return caught.value


def test_every_field_can_be_written() -> None:
    spec = InstanceSpec.read(WHOLE)
    assert set(WHOLE) == set(FIELDS)
    for name in FIELDS:
        field = attrs.fields_dict(InstanceSpec)[name]
        assert getattr(spec, name) != field.default, name
    assert spec.checks == (Check(ttl=5),)
    assert spec.tags == ("v1",)


def test_toml_reads_as_json_does() -> None:
    text = 'service = "orders"\nport = 80\ntags = ["v1"]\n[meta]\na = "b"\n[[checks]]\nttl = 5\n'
    document = {"service": "orders", "port": 80, "tags": ["v1"], "meta": {"a": "b"}, "checks": [{"ttl": 5}]}
    assert InstanceSpec.read(tomllib.loads(text)) == InstanceSpec.read(document)


def test_what_is_left_open_is_the_nodes() -> None:
    instance = InstanceSpec.read({"service": "orders", "port": 80}).instance(
        member="ann", host="10.0.0.7", zone="south"
    )
    assert (instance.id, instance.host, instance.zone, instance.owner) == ("orders-ann-80", "10.0.0.7", "south", "ann")


def test_what_is_given_is_kept() -> None:
    instance = InstanceSpec.read(WHOLE).instance(member="ann", host="10.0.0.7", zone="south")
    assert (instance.id, instance.host, instance.zone, instance.term) == ("o", "10.0.0.1", "north", 3)
    assert instance.sealed == b"", "credentials are for the node to seal"


def test_a_term_that_is_still_next_is_not_registered() -> None:
    spec = InstanceSpec.read({"service": "orders", "port": 80, "term": NEXT})
    with pytest.raises(InvalidInstance, match=r"^term: 'next' is not a whole number"):
        spec.instance(member="ann", host="10.0.0.7", zone="")


def test_everything_that_is_wrong_is_said_and_the_first_field_is_named() -> None:
    error = wrong(weight="2", tags="v1", prot=1)
    assert error.field == "tags"
    assert str(error).startswith(
        'tags: "v1" is not a list of strings; weight: "2" is not a whole number; \'prot\': an '
    )


def test_a_check_that_is_wrong_is_named_by_its_path() -> None:
    assert wrong(checks=[{"ttl": 0}]).field == "checks[0].ttl"


def test_credentials_are_never_quoted() -> None:
    error = wrong(credentials={"password": 12345})
    assert "12345" not in str(error)
    assert "12345" not in repr(InstanceSpec.read({**WHOLE, "credentials": {"password": "12345"}}))


def test_a_date_of_toml_is_quoted_as_it_can_be() -> None:
    document = tomllib.loads("zone = 2026-11-29")
    assert str(wrong(**document)) == "zone: datetime.date(2026, 11, 29) is not a string"


@pytest.mark.parametrize(("checks", "runs"), [([], False), ([{"ttl": 5}], False), ([{"command": ["true"]}], True)])
def test_it_tells_whether_a_check_runs_a_command(checks: list[object], runs: bool) -> None:
    assert InstanceSpec.read({"service": "orders", "port": 80, "checks": checks}).runs_commands is runs
