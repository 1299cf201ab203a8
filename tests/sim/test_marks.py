"""Every mark that a scenario may require can be made by a run."""

from __future__ import annotations

import pytest

from gossipreg.counters import Count
from gossipreg_sim.fault import KINDS
from gossipreg_sim.marks import known_marks
from gossipreg_sim.scenario import Scenario, ScenarioError


def test_every_counter_of_nodes_and_kernels_is_a_mark() -> None:
    assert {*Count, "kernel_drops"} <= {*known_marks(KINDS)}


def test_every_elementary_kind_of_fault_makes_a_mark() -> None:
    for name, kind in KINDS.items():
        assert kind.marks or "to" in kind.takes or name == "swizzle"
        assert {*kind.marks} <= {*known_marks(KINDS)}


@pytest.mark.parametrize(
    ("mark", "sentence"),
    [
        ("faild", "sometimes: no mark 'faild': did you mean 'failed'? Allowed: agreement, "),
        ("cut began", "sometimes: no mark 'cut began': did you mean 'cut begins'? Allowed: "),
        ("", "sometimes: no mark '': allowed: agreement, "),
    ],
)
def test_a_mark_that_no_run_can_make_is_refused_before_the_run(mark: str, sentence: str) -> None:
    with pytest.raises(ScenarioError) as refused:
        Scenario(title="A test", nodes=4, sometimes=("failed", mark))
    assert str(refused.value).startswith(sentence)
