"""Setting fields: the kind of a field defines its valid values, and is checked whenever a settings value is made.

The same kind serves every source of settings. A program passes values, a file passes values of TOML's types, the
environment passes text. Each is converted to the field's form if it has one, and then checked by one rule with one
error sentence. A conversion never changes the meaning: in a file ``"no"`` is not a boolean, and 1.5 no whole number.

Kinds are made at import and never compared, so they have no generated comparisons (docs/decisions/0022).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path, PurePath
from typing import Any, ClassVar, Final

import attrs

from gossipreg.durations import parse_duration
from gossipreg.errors import ConfigError, InvalidSetting
from gossipreg.text import shown
from gossipreg.values import frozen

_BOOLEANS: Final = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


class FieldKind:
    """Which values a field may have. In texts for users ``noun`` is what a value is called, ``range`` its bounds."""

    noun: ClassVar[str] = "a string"
    range: ClassVar[str] = ""

    def wrong(self, value: Any) -> str | None:
        """What is wrong with ``value``: the end of a sentence that begins with the field's name. Else None."""
        return None if isinstance(value, str) else f"{shown(value)} is not {self.noun}"

    def converted(self, value: Any) -> Any:
        """A program's ``value`` in the field's form; unchanged if it has none. Never raises."""
        return value

    def from_file(self, value: Any) -> Any:
        """A value of a TOML type in the field's form; unchanged if it has none. Never raises."""
        return value

    def from_text(self, text: str) -> Any:
        """An environment variable's text in the field's form; unchanged if it has none. Never raises."""
        return text


@frozen(eq=False)
class Number(FieldKind):
    """A number from ``low`` to ``high``, in ``unit``; with ``above``, not ``low`` itself. Never a boolean."""

    low: float
    high: float
    unit: str = ""
    above: bool = False

    @property
    def noun(self) -> str:  # type: ignore[override]  # it depends on a field of this kind
        """With its unit."""
        return f"a number of {self.unit}" if self.unit else "a number"

    @property
    def range(self) -> str:  # type: ignore[override]  # it depends on a field of this kind
        """The bounds."""
        return f"above {self.low:g}, up to {self.high:g}" if self.above else f"from {self.low:g} to {self.high:g}"

    def wrong(self, value: Any) -> str | None:
        """See `FieldKind.wrong`."""
        if self._has_type(value) and (self.low < value if self.above else self.low <= value) and value <= self.high:
            return None
        return f"{shown(value)} is not {self.noun} {self.range}"

    def converted(self, value: Any) -> Any:
        """A whole number becomes a float."""
        return float(value) if type(value) is int and abs(value) < 2**53 else value

    def from_file(self, value: Any) -> Any:
        """As `converted`; a duration such as ``"500ms"`` becomes seconds."""
        return self._seconds(value) if isinstance(value, str) else self.converted(value)

    def from_text(self, text: str) -> Any:
        """A number in Python's notation, or a duration such as ``500ms``."""
        try:
            return float(text)
        except ValueError:
            return self._seconds(text)

    def _seconds(self, text: str) -> float | str:
        """A duration with a unit in seconds, if the field is one; else ``text``."""
        seconds = parse_duration(text) if self.unit == "seconds" else None
        return text if seconds is None else seconds

    def _has_type(self, value: object) -> bool:
        return isinstance(value, float)


class Whole(Number):
    """A whole number from ``low`` to ``high``, in ``unit``."""

    @property
    def noun(self) -> str:  # type: ignore[override]  # it depends on a field of this kind
        """With its unit."""
        return f"a whole number of {self.unit}" if self.unit else "a whole number"

    @property
    def range(self) -> str:  # type: ignore[override]  # it depends on a field of this kind
        """The bounds in full: users compare these digits with what they wrote."""
        return f"from {self.low:.0f} to {self.high:.0f}"

    def converted(self, value: Any) -> Any:
        """Unchanged."""
        return value

    def from_text(self, text: str) -> Any:
        """A whole number in Python's notation, or a duration such as ``5m``."""
        try:
            return int(text)
        except ValueError:
            return self._seconds(text)

    def _seconds(self, text: str) -> float | str:
        """As for any number, if it is in whole seconds."""
        seconds = super()._seconds(text)
        return int(seconds) if isinstance(seconds, float) and seconds.is_integer() else seconds

    def _has_type(self, value: object) -> bool:
        return isinstance(value, int) and not isinstance(value, bool)


class Switch(FieldKind):
    """On or off."""

    noun: ClassVar[str] = "true or false"

    def wrong(self, value: Any) -> str | None:
        """See `FieldKind.wrong`."""
        return None if isinstance(value, bool) else f"{shown(value)} is not {self.noun}"

    def from_text(self, text: str) -> Any:
        """One of a few words, since environment variables have no booleans."""
        return _BOOLEANS.get(text.lower(), text)


@frozen(eq=False)
class Choice(FieldKind):
    """One of a few words. With ``optional``, None is valid, too."""

    options: tuple[str, ...]
    optional: bool = False

    def wrong(self, value: Any) -> str | None:
        """See `FieldKind.wrong`."""
        if (value is None and self.optional) or (isinstance(value, str) and value in self.options):
            return None
        *others, last = self.options
        wrong = f"neither {', '.join(others)} nor" if others else "not"
        return f"{shown(value)} is {wrong} {last}"


@frozen(eq=False)
class Text(FieldKind):
    """A string that ``read`` accepts: it raises ``ConfigError`` otherwise.

    With ``optional``, None is valid, too. With ``secret``, no error sentence quotes the value.
    """

    read: Callable[[str], object] = str
    optional: bool = False
    secret: bool = False

    def wrong(self, value: Any) -> str | None:
        """See `FieldKind.wrong`."""
        if value is None and self.optional:
            return None
        if not isinstance(value, str):
            return f"{'it' if self.secret else shown(value)} is not {self.noun}"
        try:
            self.read(value)
        except ConfigError as error:
            return str(error)
        return None


@frozen(eq=False)
class Texts(FieldKind):
    """Several strings, each of which ``read`` accepts; ``whole`` checks all of them together."""

    noun: ClassVar[str] = "a list of strings"
    read: Callable[[str], object] = str
    whole: Callable[[tuple[str, ...]], object] = len

    def wrong(self, value: Any) -> str | None:
        """See `FieldKind.wrong`."""
        if not isinstance(value, tuple) or not all(isinstance(each, str) for each in value):
            return f"{shown(list(value) if isinstance(value, tuple) else value)} is not {self.noun}"
        try:
            self.whole(value)
            for each in value:
                self.read(each)
        except ConfigError as error:
            return str(error)
        return None

    def converted(self, value: Any) -> Any:
        """Any iterable of strings, or a single string."""
        if isinstance(value, str):
            return (value,)
        return tuple(value) if isinstance(value, Iterable) and not isinstance(value, bytes | Mapping) else value

    def from_file(self, value: Any) -> Any:
        """A list only."""
        return tuple(value) if isinstance(value, list) else value

    def from_text(self, text: str) -> Any:
        """Strings separated by commas."""
        return tuple(part.strip() for part in text.split(",") if part.strip())


class OptionalPath(FieldKind):
    """A path in the file system, or None."""

    noun: ClassVar[str] = "a path"

    def wrong(self, value: Any) -> str | None:
        """See `FieldKind.wrong`."""
        return None if value is None or self._is_path(value) else f"{shown(value)} is not {self.noun}"

    def converted(self, value: Any) -> Any:
        """A string becomes a path; an empty one, which would be the current directory, does not."""
        return Path(value) if self._is_path(value) else value

    @staticmethod
    def _is_path(value: object) -> bool:
        if not isinstance(value, str | PurePath) or not str(value) or "\0" in str(value):
            return False
        try:
            str(value).encode("utf-8", "surrogateescape")  # as the file system gets it
        except UnicodeEncodeError:
            return False
        return True


@frozen(eq=False)
class OfClass(FieldKind):
    """A value of one of our own classes, which checks itself."""

    class_: type

    def wrong(self, value: Any) -> str | None:
        """See `FieldKind.wrong`."""
        return None if isinstance(value, self.class_) else f"{shown(value)} is no {self.class_.__name__}"


@frozen(eq=False)
class TupleOf(FieldKind):
    """A tuple of values of one of our own classes, which check themselves."""

    class_: type

    def wrong(self, value: Any) -> str | None:
        """See `FieldKind.wrong`."""
        if isinstance(value, tuple) and all(isinstance(each, self.class_) for each in value):
            return None
        return f"{shown(value)} is no list of {self.class_.__name__}"


def setting(kind: FieldKind, default: Any, doc: str, *, repr: bool = True) -> Any:  # noqa: A002 -- attrs' word
    """A field of ``kind``, for a class whose values call `check`. ``doc`` describes it in docs/configuration.md."""
    return attrs.field(default=default, repr=repr, metadata={"doc": doc, "kind": kind})


@frozen(eq=False)
class Relation:
    """A constraint between several fields of one value.

    ``wrong`` returns the end of a sentence that begins with the first field's name, or None if the constraint holds.
    ``text`` is the rule as docs/configuration.md states it.
    """

    fields: tuple[str, ...]
    text: str
    wrong: Callable[[Any], str | None]


def at_most(low: str, high: str, why: str, *, unless_zero: str | None = None) -> Relation:
    """The constraint that ``low`` is at most ``high``, because of ``why``. It is void if ``unless_zero`` is 0."""

    def wrong(value: Any) -> str | None:
        less, more = getattr(value, low), getattr(value, high)
        if less <= more or (unless_zero is not None and not getattr(value, unless_zero)):
            return None
        return f"{less!r} is greater than {high}, {more!r}: {why}"

    unless = "" if unless_zero is None else f", unless `{unless_zero}` is 0"
    return Relation((low, high), f"`{low}` is at most `{high}`{unless}: {why}", wrong)


def below(low: str, high: str, why: str) -> Relation:
    """The constraint that ``low`` is less than ``high``, because of ``why``."""

    def wrong(value: Any) -> str | None:
        less, more = getattr(value, low), getattr(value, high)
        return None if less < more else f"{less!r} is not below {high}, {more!r}: {why}"

    return Relation((low, high), f"`{low}` is below `{high}`: {why}", wrong)


def check(value: Any, relations: Iterable[Relation] = (), *, table: str = "") -> None:
    """Convert and check the fields of a new ``value``. ``table`` precedes their names in errors.

    Called once for all fields when the value is made: a converter and a validator for each field would have to be
    compiled at every start. Raises ``InvalidSetting`` for the first invalid field, or else for all of ``relations``
    that do not hold.
    """
    for field in attrs.fields(type(value)):
        kind: FieldKind | None = field.metadata.get("kind")
        if kind is not None:
            given = getattr(value, field.name)
            converted = kind.converted(given)
            sentence = kind.wrong(converted)
            if sentence is not None:
                key = f"{table}{field.name}"
                raise InvalidSetting(f"{key}: {sentence}", (key,))
            if converted is not given:
                object.__setattr__(value, field.name, converted)  # it is frozen for all other code
    wrong = list(_broken(value, relations, table))
    if wrong:
        keys = dict.fromkeys(key for _, keys in wrong for key in keys)
        raise InvalidSetting("; ".join(sentence for sentence, _ in wrong), tuple(keys))


def _broken(value: Any, relations: Iterable[Relation], table: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    for relation in relations:
        sentence = relation.wrong(value)
        if sentence is not None:
            keys = tuple(f"{table}{name}" for name in relation.fields)
            yield f"{keys[0]}: {sentence}", keys
