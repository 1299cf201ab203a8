"""Regular expressions that take time in proportion to the text."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossipreg.frontends.consul.patterns import BadPattern, compile_pattern

PATTERNS = [
    "",
    "a",
    "^a",
    "a$",
    "^a$",
    "a|b",
    "^(a|b)+$",
    "a*b",
    "a+?b",
    "ab?c",
    "(ab)*c",
    "a{2}",
    "^a{2,}$",
    "^a{1,3}$",
    "a{,2}",
    "[ab]c",
    "[^ab]",
    "[a-c]+1",
    r"\d+",
    r"^\w+$",
    r"\bab\b",
    r"a\Bb",
    r"[\d.]+$",
    r"a\.b",
    "(?:a|bc)d?",
    "(a*)*b",
    "(a|a)*b",
    "(|a)+b",
    "^$",
    "a.c",
    "[]a]",
    "[a-]",
    "(?i)A",
    r"(?i)^[A-C]\D$",
]


@given(st.sampled_from(PATTERNS), st.text("abcdA1.-{}, ]\n", max_size=12))
def test_it_matches_what_pythons_own_module_matches(pattern: str, text: str) -> None:
    known = pattern.replace("$", r"\Z").replace("a{,2}", r"a\{,2\}")
    assert compile_pattern(pattern).is_in(text) is (re.search(known, text) is not None)


@pytest.mark.parametrize(
    "pattern",
    ["(", ")", "a)", "[", "[a", "*", "a**", "+a", "\\", r"\q", r"\p{L}", "(?P<a>b)", "(?=a)", "[z-a]", "[[:alpha:]]"],
)
def test_what_it_does_not_know_is_refused(pattern: str) -> None:
    with pytest.raises(BadPattern):
        compile_pattern(pattern)


@pytest.mark.parametrize("pattern", ["((a{9}){9}){9}", "a{101}", "(" * 20 + ")" * 20, "a" * 2000])
def test_what_would_be_too_large_is_refused(pattern: str) -> None:
    with pytest.raises(BadPattern):
        compile_pattern(pattern)


@pytest.mark.parametrize("pattern", ["(a*)*$", "(a|aa)+$", "(a+)+b", "(.*)(.*)(.*)x"])
def test_what_backtracking_takes_for_ever_over_is_quick(pattern: str) -> None:
    assert not compile_pattern(f"^{pattern}").is_in("a" * 5_000 + "!")


def test_repetitions_of_nothing_take_no_time_either() -> None:
    """They emit no step, so a limit of steps alone would let this take days."""
    pattern = "()"
    for _ in range(14):
        pattern = f"({pattern}{{100}})"
    with pytest.raises(BadPattern, match="too large"):
        compile_pattern(pattern)
    assert compile_pattern("(){100}a").is_in("a")


@pytest.mark.parametrize(
    ("pattern", "text", "matches"),
    [
        ("(?i)^[A-_]$", "M", True),
        ("(?i)^[A-_]$", "m", True),
        ("(?i)^[Z-a]$", "Z", True),
        ("(?i)^[Z-a]$", "A", True),
        ("(?i)^[Z-a]$", "b", False),
    ],
)
def test_a_range_that_ignores_case_holds_each_character_in_both_cases(pattern: str, text: str, matches: bool) -> None:
    assert compile_pattern(pattern).is_in(text) is matches


def test_what_is_kept_of_an_expression_is_bounded() -> None:
    pattern = compile_pattern("a.{60}x")
    for seed in range(40):
        pattern.is_in("".join("ab"[(seed * place) % 7 % 2] for place in range(256)))
    assert len(pattern._moves) <= 256
