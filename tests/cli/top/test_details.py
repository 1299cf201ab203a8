"""Details of a member and of a service: everything that is known, on any screen, ids whole at 80 cells."""

from __future__ import annotations

from typing import Any

import pytest
from rich.cells import cell_len

from gossipreg.cli.top.layout import layout
from gossipreg.cli.top.model import ScreenModel
from gossipreg.cli.top.view import ScreenView
from tests.cli.fake_agent import CHECK, INSTANCE, MEMBER
from tests.cli.top.test_layout import NOW, model

LONG = "orders-of-the-checkout-team-in-frankfurt-7f9c6d5b8-x2k4q-10-244-3-17"


def opened(shown: ScreenModel, keys: bytes, width: int = 80, height: int = 40) -> list[str]:
    """What is shown once these keys were pressed, as a viewer would press them: after a look at the screen."""
    view = ScreenView()
    for key in (b"", *(bytes([each]) for each in keys)):
        assert view.press(key)
        lines = layout(shown, NOW, width, height, view=view)
        assert len(lines) <= height
        assert all(cell_len(line.plain) <= width for line in lines)
    return [line.plain.rstrip() for line in lines]


def orders(**more: Any) -> ScreenModel:
    shown = model()
    shown.told_instances["orders"] = [
        INSTANCE | {"stated_weight": 9, "term": 7, "reason": "", **more},
        INSTANCE | {"id": LONG, "owner": "web-2", "health": "critical", "reason": "http: 500"},
    ]
    shown.told_checks = [CHECK]
    shown.instance_since["web-2", LONG] = NOW - 61
    return shown


def test_a_service_shows_all_of_each_instance_the_sick_ones_first() -> None:
    lines = opened(orders(), b"\t\t\r")
    assert lines[3] == "service  orders  Esc: back"
    assert lines[4] == "1 of 2 can serve"
    text = "\n".join(lines)
    assert text.index(LONG) < text.index("orders-1\n")
    for said in (
        "id          orders-1",
        "reason      http: 500",
        "1 min 1 s ago",
        "address     127.0.0.1:8080",
        "weight      3 (registered with 9)",
        "role        primary of term 7",
        "zone        eu-1",
        "owner       web-1",
        "tags        v2, canary",
        "meta        team=a",
        "check       http: critical",
        "            no database",
    ):
        assert said in text, said


def test_until_the_agent_has_answered_what_is_known_is_shown() -> None:
    lines = opened(model(), b"\r")
    assert lines[3:5] == ["service  orders  Esc: back", "1 of 1 can serve; asking the agent for the others"]


def test_a_member_shows_all_that_is_known_of_it() -> None:
    shown = model()
    shown.told_members = [MEMBER | {"version": "9.8.7", "round_trip": 0.0123}]
    text = "\n".join(opened(shown, b"\tj\r"))
    for said in (
        "member  web-1",
        "status      alive",
        "address     127.0.0.1:7940",
        "version     9.8.7",
        "round trip  12.3 ms from this agent",
        "local health 0",
        "zone        eu-1",
        "draining    no",
        "offers      orders: orders-1",
    ):
        assert said in text, said
    del shown.members["web-1"]
    view = ScreenView(opened=("members", "web-1"))
    assert "no member any more" in layout(shown, NOW, 80, 24, view=view)[4].plain


@pytest.mark.parametrize("width", [1, 10, 30, 46, 80, 120])
@pytest.mark.parametrize("height", [1, 4, 5, 12, 24])
def test_details_fit_every_screen(width: int, height: int) -> None:
    shown = orders(meta={"\x1b[31m" * 9: "漢字" * 99}, reason="x" * 300)
    for panel, name in (("services", "orders"), ("members", "web-1"), ("services", "gone")):
        view = ScreenView(opened=(panel, name), lines_above=10**6)
        lines = layout(shown, NOW, width, height, view=view)
        assert len(lines) <= height
        assert all(cell_len(line.plain) <= width and line.plain.isprintable() for line in lines)


def test_an_id_and_an_address_are_whole_on_one_line_at_80_columns() -> None:
    shown = orders(host="2001:db8:85a3:1234:5678:8a2e:370:7334", port=65535)
    lines = opened(shown, b"\r")
    assert f"id          {LONG}" in lines
    assert "address     [2001:db8:85a3:1234:5678:8a2e:370:7334]:65535" in lines


def test_what_is_wider_than_the_screen_is_cut_in_its_middle() -> None:
    [line] = [each for each in opened(orders(), b"\r", width=40) if each.startswith("id ") and "…" in each]
    assert line.endswith("244-3-17")
    assert line.split()[1].startswith("orders-of-the")


def test_details_scroll_and_say_how_much_is_below_and_escape_leads_back() -> None:
    top = opened(orders(), b"\r", height=12)
    assert top[-1].startswith("… and ")
    below = opened(orders(), b"\rjjj", height=12)
    assert below[3] == top[3], "the heading stays"
    assert below[4] == top[7]
    end = opened(orders(), b"\r" + b" " * 9, height=12)
    assert end[-2].strip() == "no database"
    assert opened(orders(), b"\r\x1b") == opened(orders(), b"\t\t"), "the row stays chosen"


def test_the_row_that_is_chosen_is_on_the_screen() -> None:
    view = ScreenView()
    view.press(b"\t")
    for _ in range(200):
        lines = layout(model(100, 3), NOW, 80, 24, view=view)
        [marked] = [line for line in lines if any("reverse" in str(span.style) for span in line.spans)]
        assert view.listed["members"][view.cursor] in marked.plain
        view.press(b"j")
    assert view.cursor == 101
    view.press(b"k\r")
    assert view.opened == ("members", view.listed["members"][100])


def test_a_list_without_a_row_opens_nothing() -> None:
    shown = ScreenModel()
    shown.apply("snapshot", {"members": [MEMBER], "instances": []}, NOW)
    shown.refresh(model().node, {}, NOW)
    view = ScreenView()
    layout(shown, NOW, 80, 24, view=view)
    view.press(b"\r")
    assert view.opened is None
