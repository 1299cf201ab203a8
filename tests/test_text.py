"""Text of others is quoted on one line, cut, and never holds what UTF-8 cannot."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from gossipreg.text import SHOWN_CHARS, blanked, counted, escaped, is_text, shortened, shown, utc

ANY = st.text(st.characters())


def test_a_string_is_text_if_it_can_be_written_as_utf8() -> None:
    assert is_text("")
    assert is_text("\U0001f600")
    assert not is_text("\ud83d")
    assert not is_text(b"bytes")
    assert not is_text(None)


def test_a_string_is_text_of_so_many_characters() -> None:
    assert [is_text("x" * count, 1, 3) for count in range(5)] == [False, True, True, True, False]


@given(ANY)
def test_text_can_be_encoded(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        assert not is_text(text)
    else:
        assert is_text(text)


@given(ANY)
def test_what_is_shown_is_short_and_on_one_line(text: str) -> None:
    assert len(shown(text)) <= SHOWN_CHARS
    assert "\n" not in shown(text)


def test_what_is_too_long_ends_in_dots() -> None:
    assert shortened("abcdef", 6) == "abcdef"
    assert shortened("abcdefg", 6) == "abc..."


@given(ANY)
def test_control_characters_are_blanked_or_escaped(text: str) -> None:
    assert all(each.isprintable() for each in blanked(text))
    assert len(blanked(text)) == len(text)
    assert escaped(text).isprintable()


def test_what_is_harmless_stays() -> None:
    assert blanked("caf\u00e9 \u2603") == escaped("caf\u00e9 \u2603") == "caf\u00e9 \u2603"
    assert blanked("a\x1b[2Jb") == "a [2Jb"
    assert escaped("a\x1b[2Jb") == "a\\x1b[2Jb"


@given(st.integers(0, 253_402_300_799))
def test_a_moment_is_written_as_the_standard_library_writes_it(seconds: int) -> None:
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
    assert utc(seconds) == moment.isoformat(timespec="seconds")


def test_one_is_counted_in_the_singular() -> None:
    assert [counted(number, "instance") for number in (0, 1, 2)] == ["0 instances", "1 instance", "2 instances"]
