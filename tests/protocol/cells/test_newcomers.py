"""How a newcomer finds its cell by seeds of any cell, and when it is the first of it."""

from __future__ import annotations

import attrs
import pytest

from gossipreg import limits
from gossipreg.model import Address
from gossipreg.protocol.anti_entropy.reconcile import End
from gossipreg.protocol.engine import Engine
from gossipreg.protocol.membership.probe import Ack
from gossipreg.protocol.outputs import OpenStream
from gossipreg.protocol.registry.records import TableDigest
from tests.protocol.cells.peers import head, node, of_cell, opened, says
from tests.protocol.making import BORN, history


def test_a_newcomer_whose_name_is_contested_is_not_the_first_of_its_cell() -> None:
    made, seed = node(has_seeds=True), Address("10.9.9.9", 7000)
    [opened] = [each for each in made.seeds([seed], 0.0) if isinstance(each, OpenStream)]
    rival = attrs.evolve(made.identity.own_update(), generation=BORN + 1, address=Address("10.0.0.9", 7000))
    says(made, head(), rival, End(), stream=opened.stream)
    assert made.identity.rival is not None
    assert not made.identity.announced


def heard_out_by_another_cell(*seeds: Address) -> tuple[Engine, dict[Address, int]]:
    """A newcomer to the cell a with these seeds, the first of which is of the cell b and knows no member of a."""
    made = node(has_seeds=True)
    streams = {each.to: each.stream for each in opened(made.seeds(seeds, 0.0))}
    says(made, Ack(0, 0, 1), stream=streams[seeds[0]], now=0.1)
    says(made, head(), End(), stream=streams[seeds[0]], now=0.2)
    return made, streams


def test_a_newcomer_waits_for_its_other_seeds_before_it_is_the_first_of_its_cell() -> None:
    there, silent = Address("10.9.9.9", 7000), Address("10.9.9.8", 7000)
    made, streams = heard_out_by_another_cell(there, silent)
    assert not made.identity.announced
    made.stream_ended(streams[silent], 5.0)
    assert made.identity.announced


def test_a_seed_that_is_tried_again_is_not_waited_for_again() -> None:
    there, silent = Address("10.9.9.9", 7000), Address("10.9.9.8", 7000)
    made = node(has_seeds=True)
    first = {each.to: each.stream for each in opened(made.seeds([there, silent], 0.0))}
    made.stream_ended(first[silent], 1.0)
    made.stream_ended(first[there], 1.0)
    again = {each.to: each.stream for each in opened(made.seeds([there, silent], 2.0))}
    says(made, Ack(0, 0, 1), stream=again[there], now=2.1)
    says(made, head(), End(), stream=again[there], now=2.2)
    assert made.identity.announced


def test_a_seed_of_another_cell_that_comes_to_no_end_is_not_waited_for() -> None:
    there, dripping = Address("10.9.9.9", 7000), Address("10.9.9.8", 7000)
    made, streams = heard_out_by_another_cell(there, dripping)
    says(made, Ack(0, 0, 1), stream=streams[dripping], now=1.0)
    says(made, head("c"), stream=streams[dripping], now=1.0)
    again = {each.to: each.stream for each in opened(made.seeds([there, dripping], 2.0))}
    says(made, Ack(0, 0, 1), stream=again[there], now=2.1)
    says(made, head(), End(), stream=again[there], now=2.2)
    assert made.identity.announced


def test_a_seed_is_not_waited_for_to_which_no_stream_was_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    there, other = Address("10.9.9.9", 7000), Address("10.9.9.8", 7000)
    made = node(has_seeds=True)
    monkeypatch.setattr(limits, "STREAMS_OUT_MAX", 1)
    [first] = opened(made.seeds([there, other], 0.0))
    assert made.joining.awaits_seed
    made.stream_ended(first.stream, 1.0)
    assert not made.joining.awaits_seed


def test_an_address_that_a_seed_no_longer_has_is_not_waited_for() -> None:
    there, former = Address("10.9.9.9", 7000), Address("10.9.9.8", 7000)
    made = node(has_seeds=True)
    [_] = opened(made.seeds([former], 0.0))
    [_] = opened(made.seeds([there], 1.0))
    assert list(made.joining._unsettled) == [there]


def test_a_newcomer_joins_the_seed_of_its_own_cell_that_answers_last() -> None:
    there, late = Address("10.9.9.9", 7000), Address("10.0.0.7", 7000)
    made, streams = heard_out_by_another_cell(there, late)
    says(made, Ack(0, 0, 1), stream=streams[late], now=1.0)
    says(made, head("a"), of_cell("a7", "a"), End(), stream=streams[late], now=1.1)
    assert made.identity.announced
    assert list(made.members.present) == ["a7"]


def test_a_newcomer_passes_no_deletion_on() -> None:
    newcomer = node(has_seeds=True)
    said = history([("x", 1), ("y", 1), ("x", None)], owner="b1").said
    says(newcomer, head(), of_cell("b1", "b"), *said[:2], TableDigest("b1", BORN, 3, said[2].table_xor, ("x",)))
    table = newcomer.state.registry.table("b1")
    assert table is not None
    assert [record.id for record in table] == ["y"]
    assert not len(newcomer.state.broadcasts)
