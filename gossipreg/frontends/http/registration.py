"""Knows how to read an instance that a client wants registered, and how to say what is wrong with it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, Literal, NewType, cast

import attrs

from gossipreg.errors import InvalidInstance
from gossipreg.frontends.serving.response import HttpError
from gossipreg.text import shortened, shown

#: Stands for a term above all that the node knows.
NEXT: Final = "next"

Term = int | Literal["next"]

#: Names and values that no sentence may quote.
Secrets = NewType("Secrets", dict[str, str])


@attrs.frozen
class Registration:
    """An instance as a client writes it. Types are right; limits are for the node to check."""

    service: str
    port: int
    host: str | None = None
    tags: tuple[str, ...] = ()
    meta: dict[str, str] = attrs.field(factory=dict)
    weight: int = 1
    zone: str | None = None
    role: str | None = None
    term: Term = 0
    id: str | None = None
    checks: list[Any] = attrs.field(factory=list)  # as they came: `read_checks` makes checks of them
    credentials: Secrets = attrs.field(factory=lambda: Secrets({}), repr=False)

    @classmethod
    def parse(cls, body: bytes) -> Registration:
        """Read a request's body. Raises a 400 ``HttpError`` whose sentence names what cannot be used."""
        try:
            value = json.loads(body)
        except (ValueError, RecursionError) as error:
            raise HttpError(400, f"the body is not JSON that can be read: {error}") from None
        if not isinstance(value, dict):
            raise HttpError(
                400, f"the body is {_shown_json(value)}, not an object with the fields {', '.join(_FIELDS)}"
            )
        read: dict[str, Any] = {}
        wrong = [*_read_into(read, value), *_strangers(value)]
        if wrong:
            sentences = (f"{field}: {problem}" for field, problem in wrong)
            raise HttpError(400, "; ".join(sentences), code=InvalidInstance.code, field=wrong[0][0])
        return cls(**read)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{_shown_json(value)} is not a string")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{_shown_json(value)} holds half a surrogate pair, which is no character") from None
    return value


def _whole_number(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{_shown_json(value)} is not a whole number")
    return value


def _or_null(read: Callable[[Any], object]) -> Callable[[Any], object]:
    return lambda value: None if value is None else read(value)


def _texts(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise TypeError(f"{_shown_json(value)} is not a list of strings")
    return tuple(_text(each) for each in value)


def _text_map(value: Any) -> dict[str, str]:
    if not isinstance(value, dict):
        raise TypeError(f"{_shown_json(value)} is not an object of strings")
    return {_text(key): _text(each) for key, each in value.items()}


def _term(value: Any) -> Term:
    if value == NEXT:
        return NEXT
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f'{_shown_json(value)} is neither a whole number nor "{NEXT}"')
    return value


def _secrets(value: Any) -> Secrets:
    if not isinstance(value, dict) or not all(isinstance(each, str) for each in value.values()):
        raise TypeError("it is not an object of strings")
    return cast("Secrets", value)


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise TypeError(f"{_shown_json(value)} is not a list of checks")
    return value


def _shown_json(value: Any) -> str:
    """``value`` as its sender knows it: in JSON, cut to a readable length."""
    return shortened(json.dumps(value))


#: How each field is read: strictly, for what is of the wrong type is refused rather than turned into the right one.
_READERS: Final[Mapping[str, Callable[[Any], object]]] = {
    "service": _text,
    "port": _whole_number,
    "host": _or_null(_text),
    "tags": _texts,
    "meta": _text_map,
    "weight": _whole_number,
    "zone": _or_null(_text),
    "role": _or_null(_text),
    "term": _term,
    "id": _or_null(_text),
    "checks": _list,
    "credentials": _secrets,
}

_FIELDS: Final = tuple(field.name for field in attrs.fields(Registration))
_REQUIRED: Final = tuple(field.name for field in attrs.fields(Registration) if field.default is attrs.NOTHING)


def _read_into(read: dict[str, Any], value: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Read the known fields of ``value``; each that cannot be used, and what is wrong with it."""
    for name in _FIELDS:
        if name not in value:
            if name in _REQUIRED:
                yield name, "is missing"
            continue
        try:
            read[name] = _READERS[name](value[name])
        except (TypeError, ValueError) as error:
            yield name, str(error)


def _strangers(value: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """All fields of ``value`` that an instance does not have, if there are any."""
    if unknown := sorted(value.keys() - set(_FIELDS)):
        yield ", ".join(map(shown, unknown)), f"an instance has no such field; it has {', '.join(_FIELDS)}"
