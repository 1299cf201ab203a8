"""Keys change what of the cluster is shown: they scroll, search, sort, explain themselves, and quit."""

from __future__ import annotations

import pytest

from gossipreg.cli.top.layout import layout
from gossipreg.cli.top.view import KEYS, ScreenView
from tests.cli.top.test_layout import NOW, model


def shown(view: ScreenView, width: int = 80, height: int = 24) -> list[str]:
    return [line.plain.rstrip() for line in layout(model(40, 40), NOW, width, height, view=view)]


def test_q_quits_but_not_while_a_word_is_typed() -> None:
    assert not ScreenView().press(b"q")
    view = ScreenView()
    assert view.press(b"/Queue\x7f-1\r")
    assert (view.filter, view.is_typing) == ("queu-1", False)
    assert not view.press(b"Q")


@pytest.mark.parametrize(
    ("keys", "offset"),
    [
        (b"\x1b[B\x1b[B", 2),
        (b"jjk", 1),
        (b"\x1b[6~", 10),
        (b"\x1b[6~\x1b[5~\x1b[A", 0),
        (b"   \x1b[H", 0),
        (b"\x1b[B\xff", 1),
    ],
)
def test_arrows_and_pages_scroll_and_never_above_the_first(keys: bytes, offset: int) -> None:
    view = ScreenView()
    assert view.press(keys)
    assert view.offset == offset


def test_rows_above_and_below_are_counted_and_the_last_ones_stay() -> None:
    top, below, end = (shown(ScreenView(offset=offset)) for offset in (0, 5, 1000))
    assert any("more" in line and "above" not in line for line in top)
    assert any("5 above," in line for line in below)
    assert any("above" in line and "more" not in line for line in end)
    assert len(top) == len(below) == len(end)


def test_a_word_shows_only_what_has_it_and_escape_shows_everything() -> None:
    view = ScreenView()
    view.press(b"/HOST-17")
    lines = shown(view)
    assert "/host-17_" in lines[1]
    assert sum("host-" in line for line in lines) == 2, "the word itself, and the one member"
    view.press(b"\x1b")
    assert sum("host-" in line for line in shown(view)) > 2


def test_rows_are_sorted_as_it_is_wanted() -> None:
    view = ScreenView()
    first = next(line for line in shown(view) if " suspect " in line and "members" not in line)
    assert first.startswith("web-2"), "trouble first"
    view.press(b"s")
    lines = shown(view)
    assert "by name" in lines[1]
    assert lines[4].startswith("host-0 ")
    view.press(b"s")
    assert "by age" in shown(view)[1]
    assert shown(view)[4].startswith("web-2"), "it has changed last"
    view.press(b"s")
    assert view.sort == "trouble"


@pytest.mark.parametrize("width", [20, 46, 80])
def test_the_keys_are_explained_in_place_of_the_tables(width: int) -> None:
    view = ScreenView()
    view.press(b"?")
    lines = shown(view, width)
    assert lines[3] == "keys"
    assert len(lines) == 4 + len(KEYS)
    assert max(map(len, lines)) <= width
    if width == 80:
        assert all(any(what in line for line in lines) for _, what in KEYS)
    view.press(b"?")
    assert "keys" not in shown(view, width)
