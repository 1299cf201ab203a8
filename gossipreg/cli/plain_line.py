"""Plain command lines: what a declared command is called with, read without click.

Plain is a line of long options, each at most once unless it is declared repeatable, with values that do not begin with
a dash, and of the arguments that the command has. Any other line, and any value that is refused, is left to click,
which reads the same declarations: so every error, help page and completion is click's. A test compares what both read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from gossipreg.cli.declare import Declared, DeclaredCommand, DeclaredType, from_environment

#: What this reader understands of an option or argument, or may ignore: the rest only shows on help pages.
_UNDERSTOOD: Final = frozenset({"callback", "default", "envvar", "is_flag", "multiple", "required", "type"})
_IGNORED: Final = frozenset({"help", "metavar", "shell_complete", "show_default"})


class NotPlain(Exception):
    """The line is click's to read, or to refuse."""


def values_of(command: DeclaredCommand, words: Sequence[str]) -> dict[str, Any]:
    """The values that the function of ``command`` is called with. Raises ``NotPlain``."""
    options: dict[str, Declared] = {}
    arguments: list[Declared] = []
    for parameter in command.parameters:
        if not parameter.told.keys() <= _UNDERSTOOD | _IGNORED:
            raise NotPlain
        if parameter.is_option:
            options |= {name: parameter for name in parameter.names if name.startswith("--")}
        else:
            arguments.append(parameter)
    given: dict[str, list[Any]] = {}
    bare: list[str] = []
    rest = iter(words)
    for word in rest:
        if not word.startswith("-"):
            bare.append(word)
            continue
        name, equals, text = word.partition("=")
        option = options.get(name)
        if option is None:
            raise NotPlain
        if option.told.get("is_flag"):
            if equals:
                raise NotPlain
            value: Any = True
        else:
            value = text if equals else _word(rest)
        values = given.setdefault(option.name, [])
        values.append(value)
        if len(values) > 1 and not option.told.get("multiple"):
            raise NotPlain
    if len(bare) != len(arguments):
        raise NotPlain
    given |= {argument.name: [word] for argument, word in zip(arguments, bare, strict=True)}
    return {each.name: _value(each, given.get(each.name)) for each in command.parameters}


def _word(rest: Iterator[str]) -> str:
    """The value after an option."""
    word = next(rest, "-")
    if word.startswith("-"):
        raise NotPlain
    return word


def _value(declared: Declared, given: list[Any] | None) -> Any:
    told = declared.told
    if given is None and "envvar" in told:
        names = told["envvar"]
        found = from_environment([names] if isinstance(names, str) else names)
        given = None if found is None else [found]
        if given and (told.get("is_flag") or told.get("multiple")):
            raise NotPlain  # click has words for yes, and splits
    if told.get("is_flag"):
        return given is not None
    if told.get("multiple"):
        return tuple(_converted(told, each) for each in given or ())
    if given is None and told.get("default") is not None:
        given = [told["default"]]
    if given is None and told.get("required"):
        raise NotPlain
    value = None if given is None else _converted(told, given[0])
    callback = told.get("callback")
    return value if callback is None else _called(callback, None, None, value)


def _converted(told: Mapping[str, Any], text: str) -> Any:
    type_ = told.get("type", str)
    if isinstance(type_, DeclaredType):
        return _of_type(type_, text)
    return text if type_ is str else _called(type_, text)


def _of_type(type_: DeclaredType, text: str) -> Any:
    """What click's type of that name makes of ``text`` where there can be no doubt."""
    if type_.name == "IntRange" and text.isascii() and text.isdecimal():
        low, high = type_.positional
        if low <= int(text) <= high:
            return int(text)
    if type_.name == "FloatRange" and text.isascii() and text.replace(".", "", 1).isdecimal():
        low, high = type_.positional
        if low <= float(text) <= high:
            return float(text)
    if type_.name == "Choice" and text in type_.positional[0]:
        return text
    if type_.name == "Path":
        from pathlib import Path

        return Path(text)
    raise NotPlain


def _called(function: Any, *arguments: Any) -> Any:
    """What a callback or type makes of a value. What it raises, it raises again when click calls it."""
    try:
        return function(*arguments)
    except Exception:  # noqa: BLE001 -- of any kind: click shows each as it always does
        raise NotPlain from None
