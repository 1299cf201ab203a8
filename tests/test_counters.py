"""Every counter has a name in one enum, is used, is on the page, and is there from a node's start."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import gossipreg
from gossipreg.counters import Count, Described, all_at_zero
from gossipreg.frontends.proxy.counters import ForwardCount
from gossipreg.protocol.wire.packets import Refusal
from gossipreg.protocol.wire.streams import StreamRefusal
from tests.counters_page import PAGE, with_table
from tests.runtime.nodes import config

PACKAGE = Path(gossipreg.__file__).parent


@cache
def trees() -> dict[Path, ast.Module]:
    """The modules in which something is counted."""
    texts = ((file, file.read_text()) for file in sorted(PACKAGE.rglob("*.py")))
    return {file: ast.parse(text) for file, text in texts if "Count" in text or "counters" in text}


def members_named(enum: str) -> set[str]:
    """The members of ``enum`` that the package names outside the enum itself."""
    return {
        node.attr
        for tree in trees().values()
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == enum
    }


def free_strings() -> Iterator[str]:
    """Where something is counted under a string that is in no enum."""
    for file, tree in trees().items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant | ast.JoinedStr):
                what = node.value.attr if isinstance(node.value, ast.Attribute) else getattr(node.value, "id", None)
                if what == "counters":
                    yield f"{file.relative_to(PACKAGE)}:{node.lineno}"


def test_nothing_is_counted_under_a_free_string() -> None:
    assert list(free_strings()) == [], "add a member to gossipreg.counters.Count"


def test_every_counter_is_used() -> None:
    refusals = {refusal.counter.name for refusal in (*Refusal, *StreamRefusal)}
    assert {each.name for each in Count} == members_named("Count") | refusals
    assert {each.name for each in ForwardCount} == members_named("ForwardCount")


def test_every_counter_says_in_one_line_what_it_counts_and_in_which_unit() -> None:
    counts: list[Described] = [*Count, *ForwardCount]
    for count in counts:
        assert count.unit, count
        assert count.help[0].isupper(), count
        assert count.help.endswith("."), count
        assert "\n" not in count.help, count
        assert "|" not in count.help, f"{count}: it goes into a table"


def test_the_table_on_the_page_is_made_from_the_counters() -> None:
    assert PAGE.read_text() == with_table(PAGE.read_text()), "run: python -m tests.counters_page"


async def test_a_node_that_has_just_started_shows_every_counter() -> None:
    async with gossipreg.open_node(config()) as node:
        assert list(node.info().counters) == [str(each) for each in Count]
        assert all(type(name) is str for name in node.info().counters)
        assert node.info().counters["failures_declared"] == 0


def test_a_counter_is_also_found_by_its_name() -> None:
    counters = all_at_zero()
    counters[Count.FAILURES_DECLARED] += 1
    assert counters["failures_declared"] == 1
    assert len(counters) == len(Count)
