"""Knows what the door can say: an answer with its status, and a refusal with its reason."""

from __future__ import annotations

import json
from typing import Any

import attrs


def encode(value: Any) -> bytes:
    """``value`` as compact JSON. It is pure ASCII, so no text that a peer gossips can fail to be encoded."""
    return json.dumps(value, separators=(",", ":")).encode("ascii")


@attrs.frozen
class Answer:
    """One whole answer. ``body`` is of the type ``media``, or empty where the status says it all."""

    status: int
    body: bytes = b""
    headers: tuple[tuple[bytes, bytes], ...] = ()
    media: bytes = b"application/json"

    @classmethod
    def of(cls, status: int, value: Any) -> Answer:
        """An answer whose body is ``value`` in JSON."""
        return cls(status, encode(value))

    @classmethod
    def error(cls, status: int, sentence: str, headers: tuple[tuple[bytes, bytes], ...] = ()) -> Answer:
        """An answer that says no, and why."""
        return cls(status, encode({"error": sentence}), headers)


class Refusal(Exception):
    """A request that cannot be granted: raised anywhere on its way, and answered in place of it."""

    def __init__(self, status: int, sentence: str, headers: tuple[tuple[bytes, bytes], ...] = ()) -> None:
        super().__init__(sentence)
        self.answer = Answer.error(status, sentence, headers)


def shown(text: str, *, chars: int = 80) -> str:
    """``text`` as it goes into a sentence: quoted, and cut to a readable length."""
    return repr(text if len(text) <= chars else f"{text[: chars - 3]}...")
