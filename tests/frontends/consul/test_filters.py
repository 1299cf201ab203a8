"""The language of ?filter=."""

from __future__ import annotations

from typing import Any

import pytest

from gossipreg.frontends.consul.filters import parse
from gossipreg.frontends.serving.response import HttpError

ROW: dict[str, Any] = {
    "Node": {"Node": "alpha", "Meta": {"zone": "north"}},
    "Service": {
        "ID": "web-1",
        "Port": 80,
        "Tags": ["v2", "eu"],
        "Meta": {"team": "shop", "a.b": "c"},
        "Draining": False,
    },
    "Checks": [{"Status": "passing"}, {"Status": "critical"}],
}


@pytest.mark.parametrize(
    "text",
    [
        "Service.ID == web-1",
        'Service.ID=="web-1"',
        "Service.ID == `web-1`",
        'Service.Port == "80"',
        "Service.Port != 81",
        "Service.Draining == false",
        '"v2" in Service.Tags',
        "v2 in Service.Tags",
        "v3 not in Service.Tags",
        "Service.Tags contains v2",
        "Service.Tags not contains v3",
        "Service.Tags is not empty",
        "Service.Meta contains team",
        'Service.Meta.team == "shop"',
        'Service.Meta["a.b"] == c',
        "Service.Meta.missing is empty",
        "Service.Meta.missing != x",
        "Node.Meta.zone == north and Service.ID != web-2",
        "Service.ID == no or Service.Port == 80",
        "not Service.ID == no",
        "not (Service.ID == web-1 and Service.Port == 81)",
        "Service.ID == no and Service.ID == no or Service.Port == 80",
        "(((Service.Port == 80)))",
        'Checks.Status == "critical"',
        "Checks.Status == passing",
        "Checks.Status != passing",
        '"web" in Service.ID',
        r'Service.ID != "quo\"ted"',
        "Service.ID matches `^web-[0-9]+$`",
        'Service.ID matches "eb"',
        "Service.ID not matches `^db`",
        "Service.Tags matches `^v[0-9]$`",
        "Service.Tags not matches `^x`",
        "Service.Meta matches `^te`",
        "Service.Meta.missing not matches x",
        '"/Service/Meta/team" == "shop"',
        '"/Service/Meta/a.b" == c',
        '"v2" in "/Service/Tags"',
        'shop in "/Service/Meta/team"',
        "any Service.Tags as tag { tag == eu }",
        'any Service.Tags as tag { tag matches "^e" and tag != v2 }',
        "all Service.Tags as tag { tag != v3 }",
        "any Service.Tags as place, tag { place == 1 and tag == eu }",
        "any Service.Meta as key { key == team }",
        "all Service.Meta as _, value { value is not empty }",
        "any Checks as check { check.Status == critical }",
        "not all Checks as check { check.Status == critical }",
        "any Service.Tags as a { any Service.Tags as b { a != b } }",
        "any Service.Tags as tag { v2 in Service.Tags and Service.Port == 80 and tag == eu }",
        "all Service.Meta.missing as x { x == 1 }",
    ],
)
def test_it_lets_pass_what_it_describes(text: str) -> None:
    assert parse(text, ROW)(ROW)


@pytest.mark.parametrize(
    "text",
    [
        "Service.ID == web-2",
        "Service.Tags contains v3",
        "Service.Tags is empty",
        "Service.Meta.missing == x",
        "Checks.Status == warning",
        "Service.ID == web-1 and (Service.Port == 81 or Service.Tags contains v9)",
        "not Service.Port == 80",
        "Service.ID matches `^eb`",
        "Service.Port matches 80",
        "any Service.Tags as tag { tag == v3 }",
        "all Service.Tags as tag { tag == eu }",
        "any Service.Meta.missing as x { x != 1 }",
    ],
)
def test_it_keeps_back_what_it_does_not(text: str) -> None:
    assert not parse(text, ROW)(ROW)


@pytest.mark.parametrize(
    "text",
    [
        "Service.ID",
        "Service.ID ==",
        "Service.ID = web",
        "== web",
        "Service.ID == web and",
        "Service.ID == web)",
        "(Service.ID == web",
        "Service.ID == web Service.Port == 80",
        'Service.Meta["team == x',
        'Service.ID == "unfinished',
        r'Service.ID == "\q"',
        "Service.ID matches `(`",
        "Service.ID matches",
        "any Service.Tags { x == 1 }",
        "any Service.Tags as x x == 1",
        "any Service.Tags as x { x == 1",
        "any Service.Tags as x { y == 1 }",
        "any Service.Missing as x { x == 1 }",
        "any Service.Tags as _ { _ == 1 }",
        '"/Service/Missing" == 1',
        "any Service.Tags as a { any Service.Tags as b { any Service.Tags as c { a == b } } }",
        "Missing == 1",
        "Service.Missing == 1",
        "Service.ID.Deeper == 1",
        "Service.Meta[ == 1",
        "not",
        "in in in in",
        '"v2" Service.Tags',
        "(" * 100 + "Service.ID == web" + ")" * 100,
    ],
)
def test_what_cannot_be_understood_is_refused_with_a_sentence(text: str) -> None:
    with pytest.raises(HttpError, match="Failed to create boolean expression evaluator") as refusal:
        parse(text, ROW)
    assert refusal.value.answer.status == 400


def test_a_filter_has_a_bounded_number_of_matches() -> None:
    assert parse(" or ".join(["Service.ID == no"] * 63 + ["Service.ID == web-1"]), ROW)(ROW)
    with pytest.raises(HttpError, match="more than 64 matches"):
        parse(" or ".join(["Service.ID == no"] * 65), ROW)


def test_a_filter_has_a_bounded_number_of_regular_expressions() -> None:
    assert parse(" or ".join(["Service.ID matches `^x`"] * 7 + ["Service.ID matches `1$`"]), ROW)(ROW)
    with pytest.raises(HttpError, match="more than 8 regular expressions"):
        parse(" or ".join(["Service.ID matches `^x`"] * 9), ROW)


def test_elements_within_elements_of_one_row_are_bounded() -> None:
    """An instance may have a thousand entries of meta: looked at within one another, a million."""
    inner = " or ".join(f'a == "x{number}"' for number in range(60))
    test = parse(f"any Service.Meta as a {{ any Service.Meta as b {{ {inner} }} }}", ROW)
    assert not test(ROW)
    assert not test(ROW), "the bound is one of each row"
    many = {**ROW, "Service": {**ROW["Service"], "Meta": {f"k{number}": "v" for number in range(1024)}}}
    with pytest.raises(HttpError, match="any and all look at more than 333 elements of one row"):
        test(many)
