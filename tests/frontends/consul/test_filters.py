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
        "Service.Meta.nobody is empty",
        "Service.Meta.nobody != x",
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
        "Service.Meta.nobody == x",
        "Checks.Status == warning",
        "Service.ID == web-1 and (Service.Port == 81 or Service.Tags contains v9)",
        "not Service.Port == 80",
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
        "Service.ID matches web",
        "Nobody == 1",
        "Service.Nobody == 1",
        "Service.ID.Deeper == 1",
        "Service.Meta[ == 1",
        "not",
        "in in in in",
        '"v2" Service.Tags',
        "(" * 100 + "Service.ID == web" + ")" * 100,
    ],
)
def test_what_cannot_be_understood_is_refused_with_a_sentence(text: str) -> None:
    with pytest.raises(HttpError, match="Failed to create filter") as refusal:
        parse(text, ROW)
    assert refusal.value.answer.status == 400


def test_a_filter_has_a_bounded_number_of_matches() -> None:
    assert parse(" or ".join(["Service.ID == no"] * 63 + ["Service.ID == web-1"]), ROW)(ROW)
    with pytest.raises(HttpError, match="more than 64 matches"):
        parse(" or ".join(["Service.ID == no"] * 65), ROW)
