"""Every parser handles its corpus; with ``-m fuzz`` also some thousands of new inputs."""

from __future__ import annotations

import pytest

from tests.fuzz import guided, plain
from tests.fuzz.corpus import DIRECTORY, corpus_of, inputs
from tests.fuzz.target import Target
from tests.fuzz.targets import NAMES, load

#: Inputs of a light target in the short run. All targets together take about a minute.
_INPUTS = 8_000

#: Maximum size of one target's corpus (bytes): a corpus is reviewed by people.
_CORPUS_BYTES_MAX = 8192


@pytest.fixture(params=NAMES)
def target(request: pytest.FixtureRequest) -> Target:
    return load(request.param)


def test_a_target_handles_its_corpus(target: Target) -> None:
    found = {target.run(data) for data in inputs(target)}
    assert len(found) > 1, "a corpus reaches more than one outcome"


def test_a_corpus_is_small_and_belongs_to_a_target() -> None:
    for file in DIRECTORY.iterdir():
        assert file.stem in NAMES
        assert sum(map(len, corpus_of(file.stem))) <= _CORPUS_BYTES_MAX


def test_the_plain_driver_finds_a_failure_reproducibly() -> None:
    def run(data: bytes) -> str:
        assert b"}" not in data, "an failure"
        return str(len(data) % 3)

    target = Target("t", "no brace", run, lambda: [b"abc"])
    first, again = (plain.fuzz(target, seed=7, inputs_max=100_000) for _ in range(2))
    assert first.failure is not None
    assert again.failure is not None
    assert (first.inputs, first.failure.data) == (again.inputs, again.failure.data)


@pytest.mark.fuzz
def test_a_target_handles_new_inputs(target: Target) -> None:
    count = _INPUTS // target.cost
    if guided.is_here():
        ran = guided.run(target, seed=1, inputs_max=count)
        assert ran.is_good, f"{ran.failures}\n{ran.said}"
    else:
        outcome = plain.fuzz(target, seed=1, inputs_max=count)
        if outcome.failure is not None:
            raise AssertionError(repr(outcome.failure.data)) from outcome.failure.error
