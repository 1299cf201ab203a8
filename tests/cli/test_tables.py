"""Tables on a terminal: at 80 columns no id, name or address is broken, however long it is."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from gossipreg.cli import show
from gossipreg.cli.tables import TextTable, print_table

LONG_ID = "payments-api-7f9c6d5b8-x2v9q-eu-west-1a-0"
LONG_NAME = "node-with-a-rather-long-name-1.example.internal"
ADDRESS = "[2001:db8:85a3:8d3:1319:8a2e:370:7348]:8443"


def printed(table: TextTable, width: int = 80) -> list[str]:
    out = io.StringIO()
    print_table(table, Console(file=out, width=width, highlight=False))
    return [line.rstrip() for line in out.getvalue().splitlines()]


def instance(**fields: Any) -> dict[str, Any]:
    made = {"service": "orders", "id": "orders-1", "host": "10.0.0.1", "port": 80, "health": "passing", "weight": 1}
    made |= {"zone": "north", "owner": "alpha", "tags": [], "reason": "", "role": None, "term": 0, "meta": {}}
    return made | {"stale": False, "sealed": False} | fields


def member(**fields: Any) -> dict[str, Any]:
    made = {"name": "alpha", "address": "10.0.0.1:7940", "status": "alive", "zone": "", "generation": 1_700_000_000_000}
    return made | {"incarnation": 0, "draining": False} | fields


def test_what_fits_is_a_table() -> None:
    lines = printed(show.members({"members": [member(), member(name="beta")]}))
    assert lines[0].split() == ["name", "address", "status", "started", "incarnation"]
    assert len(lines) == 4


def test_spare_columns_are_left_out_one_by_one_where_the_terminal_is_too_narrow() -> None:
    versions = {"version": "0.1.0", "protocol": 1, "draining": True}
    table = show.members({"members": [member(zone="north", **versions), member(name="beta", zone="south", **versions)]})
    seen = [printed(table, width)[0].split() for width in (200, 100, 90, 80, 60)]
    everything = ["name", "address", "status", "zone", "started", "incarnation", "draining", "version", "protocol"]
    assert seen[0] == everything
    assert seen[1] == [name for name in everything if name != "incarnation"]
    assert seen[2] == [name for name in everything if name not in ("incarnation", "protocol")]
    assert seen[3] == seen[4] == [name for name in everything if name not in ("incarnation", "protocol", "started")]


def test_sentences_are_broken_before_words() -> None:
    reason = "its owner beta has failed and nothing was heard of it for a long while"
    lines = printed(show.instances({"instances": [instance(reason=reason)]}, reasons=True))
    assert any("10.0.0.1:80" in line and "orders-1" in line for line in lines)
    assert len(lines) > 3
    assert max(map(len, lines)) <= 80


LONG = instance(
    id=LONG_ID, owner=LONG_NAME, host="2001:db8:85a3:8d3:1319:8a2e:370:7348", port=8443, tags=["v1", "canary"]
)


@pytest.mark.parametrize(
    ("table", "words"),
    [
        (show.instances({"instances": [LONG]}), (LONG_ID, LONG_NAME, ADDRESS)),
        (show.members({"members": [member(name=LONG_NAME, address=ADDRESS)]}), (LONG_NAME, ADDRESS)),
        (show.services({"services": {LONG_ID + LONG_ID: {"healthy": 1, "instances": 2}}}), (LONG_ID + LONG_ID,)),
    ],
    ids=["instances", "members", "services"],
)
@pytest.mark.parametrize("width", [20, 80, 200])
def test_no_id_name_or_address_is_ever_broken(table: TextTable, words: tuple[str, ...], width: int) -> None:
    lines = printed(table, width)
    for word in words:
        assert sum(word in line for line in lines) == 1


def test_of_several_rows_that_do_not_fit_each_is_a_block() -> None:
    lines = printed(show.instances({"instances": [LONG, LONG | {"id": "other"}]}))
    assert lines.count("") == 1
    assert "id       other" in lines
    assert not any(line.startswith("role") for line in lines), "what is empty is left out"
