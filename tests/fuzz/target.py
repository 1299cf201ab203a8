"""Fuzz target: a function of bytes that checks a property of one parser, with its initial inputs."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Final

import attrs

#: Default maximum size of an input (bytes): room for several nested structures, and quick to mutate.
INPUT_BYTES_MAX: Final = 4096


@attrs.frozen
class Target:
    """One parser under test.

    ``run`` returns the outcome of an input as a string, by which the plain driver detects new behaviour, and raises if
    the property does not hold. ``seeds`` are valid inputs; ``words`` are pieces to insert.
    """

    name: str
    property: str
    run: Callable[[bytes], str]
    seeds: Callable[[], Iterable[bytes]]
    words: tuple[bytes, ...] = ()
    bytes_max: int = INPUT_BYTES_MAX
    #: Cost of one run relative to a light target; the short runs use fewer inputs in proportion.
    cost: int = 1


def outcome(error: BaseException) -> str:
    """Return the outcome of an input that was correctly refused."""
    return type(error).__name__


def check_error_text(error: BaseException) -> None:
    """Check that an error can be shown, as JSON and on a terminal."""
    text = str(error)
    assert text, "an error has a message"
    text.encode(errors="backslashreplace")
    json.dumps(text)
