"""The benchmark of uncached DNS answers measures each question at each size."""

from __future__ import annotations

from tests.bench.dns_fresh import QUESTIONS, Changing, measure, table


def test_it_has_a_row_for_each_question_and_size() -> None:
    rows = table((3, 200), 2).splitlines()[2:]
    assert len(rows) == 2 * len(QUESTIONS)


def test_each_change_is_one_of_the_registry() -> None:
    node = Changing.of(3)
    node.change()
    assert (node.index("orders"), node.instances[0].weight) == (1, 2)
    first, further = measure(3, "orders", "A", 2)
    assert len(first) == len(further) == 2
