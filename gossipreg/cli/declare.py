"""Declarations of commands, in click's words, without click: it is imported when it has to read, explain or refuse one.

A command that asks an agent one question takes less time than click takes to be imported. So its module declares
name, options and arguments by what click would be called with, and `help_page` calls click with just that. A command
line that uses only the plain part of click's syntax is read from the same declarations by `plain_line`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

if TYPE_CHECKING:
    import click

_Function = TypeVar("_Function", bound=Callable[..., Any])

#: Where click's own decorators keep the parameters of a function, last first. Both kinds may decorate one function.
_KEPT = "__click_params__"


class DeclaredType(NamedTuple):
    """A type of click, by its name there and the arguments that make it. A ``Path`` gives a ``pathlib.Path``."""

    name: str
    positional: tuple[Any, ...] = ()

    def as_click(self) -> Any:
        """The type itself."""
        import click

        if self.name == "Path":
            from pathlib import Path

            return click.Path(path_type=Path)
        return getattr(click, self.name)(*self.positional)


def int_range(low: int, high: int) -> DeclaredType:
    """Whole numbers from ``low`` to ``high``, both included."""
    return DeclaredType("IntRange", (low, high))


def float_range(low: float, high: float) -> DeclaredType:
    """Numbers from ``low`` to ``high``, both included."""
    return DeclaredType("FloatRange", (low, high))


def choice(*words: str) -> DeclaredType:
    """One of ``words``."""
    return DeclaredType("Choice", (words,))


def path() -> DeclaredType:
    """A path, whether or not there is something at it. The command gets a ``pathlib.Path``."""
    return DeclaredType("Path")


class Declared(NamedTuple):
    """One option or argument: its names, and what else click is told about it."""

    is_option: bool
    names: tuple[str, ...]
    told: Mapping[str, Any]

    @property
    def name(self) -> str:
        """The parameter of the function that gets the value: a name without dashes, else the first long one."""
        plain = [each for each in self.names if not each.startswith("-")]
        return plain[0] if plain else max(self.names, key=_dashes).lstrip("-").replace("-", "_").lower()

    def as_click(self) -> click.Parameter:
        """The same for click."""
        import click

        told = {key: value.as_click() if isinstance(value, DeclaredType) else value for key, value in self.told.items()}
        return (click.Option if self.is_option else click.Argument)(self.names, **told)


def _dashes(name: str) -> int:
    return len(name) - len(name.lstrip("-"))


def option(*names: str, **told: Any) -> Callable[[_Function], _Function]:
    """Give a function an option, as ``click.option`` does with the same arguments."""
    return _keeping(Declared(True, names, told))


def argument(*names: str, **told: Any) -> Callable[[_Function], _Function]:
    """Give a function an argument, as ``click.argument`` does with the same arguments."""
    return _keeping(Declared(False, names, told))


def _keeping(declared: Declared) -> Callable[[_Function], _Function]:
    def keep(function: _Function) -> _Function:
        vars(function).setdefault(_KEPT, []).append(declared)
        return function

    return keep


class DeclaredCommand(NamedTuple):
    """A command that click has not seen yet: `help_page` makes one of click of it, explained by the docstring."""

    name: str
    function: Callable[..., Any]
    parameters: Sequence[Declared]


class CommandName(NamedTuple):
    """A command that is imported when it is used, from the ``module`` that has it under its own name."""

    name: str
    module: str

    def load(self) -> click.Command | DeclaredCommand:
        """The command itself."""
        found = getattr(import_module(self.module), self.name)
        assert isinstance(found.name, str), f"{self.module} has a command {self.name}"
        return found  # type: ignore[no-any-return]  # by its name, in a module that has commands only


def command(name: str | None = None) -> Callable[[Callable[..., Any]], DeclaredCommand]:
    """Make a command of a function, under its own name unless another is given."""

    def declare(function: Callable[..., Any]) -> DeclaredCommand:
        parameters = tuple(reversed(vars(function).pop(_KEPT, [])))
        return DeclaredCommand(name or function.__name__.replace("_", "-"), function, parameters)

    return declare


def completes(what: str) -> Callable[[Any, Any, str], Any]:
    """What completes a word: ``what`` of the module `completion`, which is imported when a shell asks."""

    def complete(context: Any, parameter: Any, incomplete: str) -> Any:
        return getattr(import_module("gossipreg.cli.completion"), what)(context, parameter, incomplete)

    return complete


def bad_parameter(sentence: str, hint: str | None = None) -> Exception:
    """The error of a value that an option or argument cannot have; ``hint`` names it where click does not know."""
    import click

    return click.BadParameter(sentence, param_hint=hint)


def from_environment(names: Sequence[str]) -> str | None:
    """The first of these variables that is set and not empty, as click takes an option's ``envvar``."""
    return next((value for name in names if (value := os.environ.get(name))), None)
