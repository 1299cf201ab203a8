"""Instance specification: what a program, a file or a client asks to have registered, whatever form it was written in.

Every form reads into an `InstanceSpec`: keyword arguments, TOML, JSON over HTTP, and what clients of Consul and Eureka
post. What it leaves open, the node fills in. A field that is added here is readable in the native forms at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, Literal, Self

import attrs

from gossipreg.check import Check, CheckKind, read_checks
from gossipreg.errors import InvalidInstance
from gossipreg.model import Instance
from gossipreg.text import is_text, shortened, shown
from gossipreg.values import frozen

#: Stands for a term above all that the node knows.
NEXT: Final = "next"

Term = int | Literal["next"]


@frozen(kw_only=True)
class InstanceSpec:
    """An instance to be registered. Its checks are read when it is made, the rest with the instance that comes of it.

    Raises ``InvalidInstance`` for checks that cannot be.
    """

    service: str
    port: int
    host: str | None = None  # the node's own
    tags: Sequence[str] = ()
    meta: Mapping[str, str] = attrs.field(factory=dict)
    weight: int = 1
    zone: str | None = None  # the node's own
    role: str | None = None
    term: Term = 0
    id: str | None = None  # made of service, member (or the given host) and port
    checks: tuple[Check, ...] = attrs.field(default=(), converter=read_checks)
    credentials: Mapping[str, str] = attrs.field(factory=dict, repr=False)  # no sentence quotes them

    @classmethod
    def read(cls, document: Mapping[Any, object]) -> Self:
        """The instance that a table of JSON or TOML describes. Types are judged strictly; nothing is converted.

        Raises ``InvalidInstance`` with everything that is wrong, naming each field.
        """
        read: dict[str, Any] = {}
        wrong = [*_read_into(read, document), *_unknown(document)]
        if wrong:
            (field, problem), *others = wrong
            more = "".join(f"; {name}: {what}" for name, what in others)
            raise InvalidInstance(field, f"{problem}{more}")
        return cls(**read)

    @property
    def runs_commands(self) -> bool:
        """Whether a check of it runs a command."""
        return any(check.kind is CheckKind.COMMAND for check in self.checks)

    def id_on(self, member: str) -> str:
        """Its id on that member: the same each time, so that registering again replaces."""
        return f"{self.service}-{self.host or member}-{self.port}" if self.id is None else self.id

    def instance(self, *, member: str, host: str, zone: str) -> Instance:
        """What ``member`` registers by it, at ``host`` and in ``zone`` unless it names its own, without credentials.

        Raises ``InvalidInstance`` for what is of a wrong type or out of range, also a term that is still ``next``.
        """
        instance = Instance(
            id=self.id_on(member),
            service=self.service,
            host=host if self.host is None else self.host,
            port=self.port,
            tags=self.tags,
            meta=self.meta,
            weight=self.weight,
            zone=zone if self.zone is None else self.zone,
            role=self.role,
            term=self.term,  # type: ignore[arg-type] # `check` refuses `next`
            owner=member,
        )
        instance.check()
        return instance


class _WrongType(Exception):
    """A value of another type than its field's; the message is the end of a sentence."""


def _wrong(value: object, expected: str) -> _WrongType:
    return _WrongType(f"{_quoted(value)} is not {expected}")


def _quoted(value: object) -> str:
    """``value`` as its author knows it, in JSON where that has a form for it, cut to a readable length."""
    import json  # only for a mistake: it takes 2 ms to import

    try:
        return shortened(json.dumps(value))
    except (TypeError, ValueError, RecursionError):  # a date of TOML's
        return shown(value)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise _wrong(value, "a string")
    if not is_text(value):
        raise _WrongType(f"{_quoted(value)} holds half a surrogate pair, which is no character")
    return value


def _whole_number(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise _wrong(value, "a whole number")
    return value


def _or_null(read: Callable[[object], object]) -> Callable[[object], object]:
    return lambda value: None if value is None else read(value)


def _texts(value: object) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise _wrong(value, "a list of strings")
    return tuple(_text(each) for each in value)


def _text_map(value: object) -> dict[str, str]:
    if not isinstance(value, Mapping):
        raise _wrong(value, "an object of strings")
    return {_text(key): _text(each) for key, each in value.items()}


def _term(value: object) -> Term:
    if value == NEXT:
        return NEXT
    if not isinstance(value, int) or isinstance(value, bool):
        raise _WrongType(f'{_quoted(value)} is neither a whole number nor "{NEXT}"')
    return value


def _secrets(value: object) -> Mapping[str, str]:
    if not isinstance(value, Mapping) or not all(isinstance(each, str) for pair in value.items() for each in pair):
        raise _WrongType("it is not an object of strings")
    return value


def _checks(value: object) -> tuple[Check, ...]:
    if not isinstance(value, list):
        raise _wrong(value, "a list of checks")
    return read_checks(value)


#: How each field is read: what is of the wrong type is refused rather than turned into the right one.
_READERS: Final[Mapping[str, Callable[[object], object]]] = {
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
    "checks": _checks,
    "credentials": _secrets,
}

#: The fields, in the order in which people are told of them.
FIELDS: Final = tuple(field.name for field in attrs.fields(InstanceSpec))
_REQUIRED: Final = tuple(field.name for field in attrs.fields(InstanceSpec) if field.default is attrs.NOTHING)


def _read_into(read: dict[str, Any], document: Mapping[Any, object]) -> Iterator[tuple[str, str]]:
    """Read the known fields; yields each that cannot be used, and what is wrong with it."""
    for name in FIELDS:
        if name not in document:
            if name in _REQUIRED:
                yield name, "is missing"
            continue
        try:
            read[name] = _READERS[name](document[name])
        except _WrongType as error:
            yield name, str(error)
        except InvalidInstance as error:  # of one of its checks
            yield error.field or name, error.problem


def _unknown(document: Mapping[Any, object]) -> Iterator[tuple[str, str]]:
    """All fields that an instance does not have, if there are any."""
    if unknown := sorted(map(str, document.keys() - set(FIELDS))):
        yield ", ".join(map(shown, unknown)), f"an instance has no such field; it has {', '.join(FIELDS)}"
