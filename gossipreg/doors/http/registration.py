"""Knows how to read an instance that a client wants registered, and how to say what is wrong with it.

Loaded at the first registration: cattrs takes longer to import than the rest of the door.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final, Literal, NewType, cast, get_type_hints

import attrs
from cattrs import ClassValidationError, Converter, ForbiddenExtraKeysError

from gossipreg.doors.http.answers import Refusal, shown

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
        """Read a request's body. Raises a 400 ``Refusal`` whose sentence names what cannot be used."""
        try:
            value = json.loads(body)
        except (ValueError, RecursionError) as error:
            raise Refusal(400, f"the body is not JSON that can be read: {error}") from None
        if not isinstance(value, dict):
            raise Refusal(400, f"the body is {_shown_json(value)}, not an object with the fields {', '.join(_FIELDS)}")
        try:
            return _CONVERTER.structure(value, cls)
        except ClassValidationError as error:
            raise Refusal(400, "; ".join(_sentences(error))) from None


def _text(value: Any, _: Any = None) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{_shown_json(value)} is not a string")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{_shown_json(value)} holds half a surrogate pair, which is no character") from None
    return value


def _whole_number(value: Any, _: Any = None) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{_shown_json(value)} is not a whole number")
    return value


def _texts(value: Any, _: Any = None) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise TypeError(f"{_shown_json(value)} is not a list of strings")
    return tuple(_text(each) for each in value)


def _text_map(value: Any, _: Any = None) -> dict[str, str]:
    if not isinstance(value, dict):
        raise TypeError(f"{_shown_json(value)} is not an object of strings")
    return {_text(key): _text(each) for key, each in value.items()}


def _term(value: Any, _: Any = None) -> Term:
    if value == NEXT:
        return NEXT
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f'{_shown_json(value)} is neither a whole number nor "{NEXT}"')
    return value


def _secrets(value: Any, _: Any = None) -> Secrets:
    if not isinstance(value, dict) or not all(isinstance(each, str) for each in value.values()):
        raise TypeError("it is not an object of strings")
    return cast("Secrets", value)


def _list(value: Any, _: Any = None) -> list[Any]:
    if not isinstance(value, list):
        raise TypeError(f"{_shown_json(value)} is not a list of checks")
    return value


def _shown_json(value: Any) -> str:
    """``value`` as its sender knows it: in JSON, cut to a readable length."""
    text = json.dumps(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _sentences(error: ClassValidationError) -> Iterator[str]:
    """One sentence per field that cannot be used, each naming its field."""
    fields, others = error.group_exceptions()
    for problem, note in fields:
        match problem:
            case KeyError():
                yield f"{note.name}: is missing"
            case _:
                yield f"{note.name}: {problem}"
    for other in others:
        assert isinstance(other, ForbiddenExtraKeysError), other
        unknown = ", ".join(shown(name) for name in sorted(other.extra_fields))
        yield f"{unknown}: an instance has no such field; it has {', '.join(_FIELDS)}"


def _converter() -> Converter:
    """Strict: what is of the wrong type is refused, where cattrs would rather turn it into the right one."""
    converter = Converter(forbid_extra_keys=True)
    converter.register_structure_hook(str, _text)
    converter.register_structure_hook(int, _whole_number)
    converter.register_structure_hook_func(lambda type_: type_ == tuple[str, ...], _texts)
    converter.register_structure_hook_func(lambda type_: type_ == dict[str, str], _text_map)
    converter.register_structure_hook_func(lambda type_: type_ == list[Any], _list)
    converter.register_structure_hook_func(lambda type_: type_ == Term, _term)
    converter.register_structure_hook(Secrets, _secrets)
    return converter


_FIELDS: Final = tuple(get_type_hints(Registration))
_CONVERTER: Final = _converter()
