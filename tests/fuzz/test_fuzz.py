"""Every parser bears its corpus and what fuzzing once found; with ``-m fuzz`` also some thousands of new inputs."""

from __future__ import annotations

import pytest

from tests.fuzz import guided, plain
from tests.fuzz.corpus import DIRECTORY, inputs, kept
from tests.fuzz.target import Target
from tests.fuzz.targets import NAMES, load

#: Inputs that a light target is given by the brief run. All targets together take about a minute.
_INPUTS = 8_000

#: Bytes kept for one target: a corpus is read by people.
_CORPUS_BYTES_MAX = 8192


@pytest.fixture(params=NAMES)
def target(request: pytest.FixtureRequest) -> Target:
    return load(request.param)


def test_a_target_bears_what_is_kept_for_it(target: Target) -> None:
    found = {target.run(data) for data in inputs(target)}
    assert len(found) > 1, "a corpus reaches more than one outcome"


def test_what_is_kept_is_small_and_of_a_target() -> None:
    for file in DIRECTORY.iterdir():
        assert file.stem in NAMES
        assert sum(map(len, kept(file.stem))) <= _CORPUS_BYTES_MAX


def test_the_plain_driver_finds_an_escape_and_repeats_itself() -> None:
    def run(data: bytes) -> str:
        assert b"}" not in data, "an escape"
        return str(len(data) % 3)

    target = Target("t", "no brace", run, lambda: [b"abc"])
    first, again = (plain.fuzz(target, seed=7, inputs_max=100_000) for _ in range(2))
    assert first.escape is not None
    assert again.escape is not None
    assert (first.inputs, first.escape.data) == (again.inputs, again.escape.data)


@pytest.mark.fuzz
def test_a_target_bears_new_inputs(target: Target) -> None:
    count = _INPUTS // target.cost
    if guided.is_here():
        ran = guided.run(target, seed=1, inputs_max=count)
        assert ran.is_well, f"{ran.escapes}\n{ran.said}"
    else:
        outcome = plain.fuzz(target, seed=1, inputs_max=count)
        if outcome.escape is not None:
            raise AssertionError(repr(outcome.escape.data)) from outcome.escape.error
