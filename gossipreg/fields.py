"""Fields of what users configure: a kind says which values one may have, and is checked whenever a value is made.

The same kind serves every way in. A program gives values, a file gives values of TOML's types, the environment gives
text: each is brought into the field's form as far as it can be, and then judged by one rule with one sentence. Nothing
is turned into another meaning on the way: ``"no"`` is no truth value, and 1.5 no whole number.

Kinds are made at import and never compared: they have no more methods than they need (docs/decisions/0022).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path, PurePath
from typing import Any, ClassVar, Final

import attrs

from gossipreg.durations import parse_duration
from gossipreg.errors import ConfigError, InvalidSetting
from gossipreg.text import shown

_TRUTHS: Final = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


class FieldKind:
    """Which values a field may have. For people: ``noun`` is what one is called, ``range`` says within which bounds."""

    noun: ClassVar[str] = "a string"
    range: ClassVar[str] = ""

    def wrong(self, value: Any) -> str | None:
        """What is wrong with ``value``: the end of a sentence that begins with the field's name. None if nothing is."""
        return None if isinstance(value, str) else f"{shown(value)} is not {self.noun}"

    def converted(self, value: Any) -> Any:
        """A program's ``value`` in the field's form; as it is where it has none. Never raises."""
        return value

    def from_file(self, value: Any) -> Any:
        """A value of TOML's in the field's form; as it is where it has none. Never raises."""
        return value

    def from_text(self, text: str) -> Any:
        """An environment variable's text in the field's form; as it is where it has none. Never raises."""
        return text


@attrs.frozen(eq=False, repr=False)
class Number(FieldKind):
    """A number from ``low`` to ``high``, in ``unit``. ``above``: ``low`` itself is not allowed. Never a truth value."""

    low: float
    high: float
    unit: str = ""
    above: bool = False

    @property
    def noun(self) -> str:  # type: ignore[override]
        """With its unit."""
        return f"a number of {self.unit}" if self.unit else "a number"

    @property
    def range(self) -> str:  # type: ignore[override]
        """From where to where."""
        return f"above {self.low:g}, up to {self.high:g}" if self.above else f"from {self.low:g} to {self.high:g}"

    def wrong(self, value: Any) -> str | None:
        """As said."""
        if self._has_type(value) and (self.low < value if self.above else self.low <= value) and value <= self.high:
            return None
        return f"{shown(value)} is not {self.noun} {self.range}"

    def converted(self, value: Any) -> Any:
        """A whole number becomes one with a fraction."""
        return float(value) if type(value) is int and abs(value) < 2**53 else value

    def from_file(self, value: Any) -> Any:
        """Likewise; a duration such as ``"500ms"`` becomes seconds."""
        return self._seconds(value) if isinstance(value, str) else self.converted(value)

    def from_text(self, text: str) -> Any:
        """As Python writes numbers, or as a duration such as ``500ms``."""
        try:
            return float(text)
        except ValueError:
            return self._seconds(text)

    def _seconds(self, text: str) -> float | str:
        """A duration with a unit, where one is expected, in seconds; else ``text``."""
        seconds = parse_duration(text) if self.unit == "seconds" else None
        return text if seconds is None else seconds

    def _has_type(self, value: object) -> bool:
        return isinstance(value, float)


class Whole(Number):
    """A whole number from ``low`` to ``high``, in ``unit``."""

    @property
    def noun(self) -> str:  # type: ignore[override]
        """With its unit."""
        return f"a whole number of {self.unit}" if self.unit else "a whole number"

    @property
    def range(self) -> str:  # type: ignore[override]
        """From where to where, in full: people compare these digits with what they wrote."""
        return f"from {self.low:.0f} to {self.high:.0f}"

    def converted(self, value: Any) -> Any:
        """As it is."""
        return value

    def from_text(self, text: str) -> Any:
        """As Python writes whole numbers, or as a duration such as ``5m``."""
        try:
            return int(text)
        except ValueError:
            return self._seconds(text)

    def _seconds(self, text: str) -> float | str:
        """Likewise, of whole seconds."""
        seconds = super()._seconds(text)
        return int(seconds) if isinstance(seconds, float) and seconds.is_integer() else seconds

    def _has_type(self, value: object) -> bool:
        return isinstance(value, int) and not isinstance(value, bool)


class Switch(FieldKind):
    """On or off."""

    noun: ClassVar[str] = "true or false"
    _TEXTS: ClassVar[Mapping[str, bool]] = {
        "true": True,
        "yes": True,
        "1": True,
        "false": False,
        "no": False,
        "0": False,
    }

    def wrong(self, value: Any) -> str | None:
        """As said."""
        return None if isinstance(value, bool) else f"{shown(value)} is not {self.noun}"

    def from_text(self, text: str) -> Any:
        """Variables have no truth values: these words stand for them."""
        return _TRUTHS.get(text.lower(), text)


@attrs.frozen(eq=False, repr=False)
class Choice(FieldKind):
    """One of a few words. ``optional``: None will do."""

    options: tuple[str, ...]
    optional: bool = False

    def wrong(self, value: Any) -> str | None:
        """As said."""
        if (value is None and self.optional) or (isinstance(value, str) and value in self.options):
            return None
        *others, last = self.options
        wrong = f"neither {', '.join(others)} nor" if others else "not"
        return f"{shown(value)} is {wrong} {last}"


@attrs.frozen(eq=False, repr=False)
class Text(FieldKind):
    """A string of which ``read`` can make something: it raises ``ConfigError`` if it cannot.

    ``optional``: None will do. ``secret``: no sentence quotes it.
    """

    read: Callable[[str], object] = str
    optional: bool = False
    secret: bool = False

    def wrong(self, value: Any) -> str | None:
        """As said."""
        if value is None and self.optional:
            return None
        if not isinstance(value, str):
            return f"{'it' if self.secret else shown(value)} is not {self.noun}"
        try:
            self.read(value)
        except ConfigError as error:
            return str(error)
        return None


@attrs.frozen(eq=False, repr=False)
class Texts(FieldKind):
    """Several strings, of each of which ``read`` can make something; ``whole`` judges all of them together."""

    noun: ClassVar[str] = "a list of strings"
    read: Callable[[str], object] = str
    whole: Callable[[tuple[str, ...]], object] = len

    def wrong(self, value: Any) -> str | None:
        """As said."""
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
        """Any iterable of strings, or a lone one."""
        if isinstance(value, str):
            return (value,)
        return tuple(value) if isinstance(value, Iterable) and not isinstance(value, bytes | Mapping) else value

    def from_file(self, value: Any) -> Any:
        """A list, and nothing else."""
        return tuple(value) if isinstance(value, list) else value

    def from_text(self, text: str) -> Any:
        """With commas between."""
        return tuple(part.strip() for part in text.split(",") if part.strip())


class OptionalPath(FieldKind):
    """A path in the file system, or None."""

    noun: ClassVar[str] = "a path"

    def wrong(self, value: Any) -> str | None:
        """As said."""
        return None if value is None or self._is_path(value) else f"{shown(value)} is not {self.noun}"

    def converted(self, value: Any) -> Any:
        """A string becomes a path; an empty one, which would be the current directory, does not."""
        return Path(value) if self._is_path(value) else value

    @staticmethod
    def _is_path(value: object) -> bool:
        if not isinstance(value, str | PurePath) or not str(value) or "\0" in str(value):
            return False
        try:
            str(value).encode("utf-8", "surrogateescape")  # as the file system will have it
        except UnicodeEncodeError:
            return False
        return True


@attrs.frozen(eq=False, repr=False)
class OfClass(FieldKind):
    """A value of a class of ours, which has checked itself."""

    class_: type

    def wrong(self, value: Any) -> str | None:
        """As said."""
        return None if isinstance(value, self.class_) else f"{shown(value)} is no {self.class_.__name__}"


def setting(kind: FieldKind, default: Any, doc: str, *, repr: bool = True) -> Any:  # noqa: A002 -- attrs' word
    """A field of ``kind``, for a class whose values `check` themselves. ``doc`` goes into the page."""
    return attrs.field(default=default, repr=repr, metadata={"doc": doc, "kind": kind})


@attrs.frozen(eq=False, repr=False)
class Relation:
    """What must hold between several fields of one value, beyond what holds of each.

    ``wrong`` gives the end of a sentence that begins with the first field's name, or None. ``text`` is the rule as the
    page has it.
    """

    fields: tuple[str, ...]
    text: str
    wrong: Callable[[Any], str | None]


def at_most(low: str, high: str, why: str, *, unless_zero: str | None = None) -> Relation:
    """``low`` may not be greater than ``high``, for ``why``; a 0 of the field ``unless_zero`` lifts the rule."""

    def wrong(value: Any) -> str | None:
        less, more = getattr(value, low), getattr(value, high)
        if less <= more or (unless_zero is not None and not getattr(value, unless_zero)):
            return None
        return f"{less!r} is greater than {high}, {more!r}: {why}"

    unless = "" if unless_zero is None else f", unless `{unless_zero}` is 0"
    return Relation((low, high), f"`{low}` is at most `{high}`{unless}: {why}", wrong)


def check(value: Any, relations: Iterable[Relation] = (), *, table: str = "") -> None:
    """Bring the fields of a new ``value`` into their form. ``table`` stands before their names in errors.

    To be called when the value is made, once for all fields: a converter and a validator for each would have to be
    compiled at every start. Raises ``InvalidSetting`` for the first field that cannot be used, or else for all of
    ``relations`` that do not hold.
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
                object.__setattr__(value, field.name, converted)  # it is frozen for everybody else
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
