"""Fuzz targets: a function of bytes that checks a property of one parser, and inputs to begin with."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Final

import attrs

#: Longest input (bytes), unless a target says otherwise: room for several nested structures, and quick to mutate.
INPUT_BYTES_MAX: Final = 4096


@attrs.frozen
class Target:
    """One parser under test.

    ``run`` returns a word for what became of an input, which is how the plain driver tells new behaviour, and raises
    whatever breaks the property. ``seeds`` are valid inputs; ``words`` are pieces to insert.
    """

    name: str
    property: str
    run: Callable[[bytes], str]
    seeds: Callable[[], Iterable[bytes]]
    words: tuple[bytes, ...] = ()
    bytes_max: int = INPUT_BYTES_MAX
    #: How many times as long as a light target one run takes: the brief runs make so many fewer inputs.
    cost: int = 1


def outcome(error: BaseException) -> str:
    """The word for an input that was refused as it should be."""
    return type(error).__name__


def told(error: BaseException) -> None:
    """Check that people can be told of an error: as JSON, or on a terminal."""
    text = str(error)
    assert text, "an error says what is wrong"
    text.encode(errors="backslashreplace")
    json.dumps(text)
