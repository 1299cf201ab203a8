"""Help pages made from docstrings: running text is wrapped, indented lines stay as written."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator, Mapping, MutableMapping, Sequence
from functools import partial
from importlib import import_module
from typing import Any, Final, NamedTuple

import click

#: What click reads at the head of a paragraph as "do not wrap".
_VERBATIM: Final = "\b\n"


class HelpCommand(click.Command):
    """A command whose help keeps every paragraph with an indented line in it, such as its examples, as written."""

    def __init__(self, *, help: str, **options: Any) -> None:
        super().__init__(help=_kept(help), **options)


class CommandName(NamedTuple):
    """A command that is imported when it is used, from the ``module`` that has it under its own name."""

    name: str
    module: str

    def load(self) -> click.Command:
        """The command itself."""
        found = getattr(import_module(self.module), self.name)
        assert isinstance(found, click.Command), f"{self.module} has a command {self.name}"
        return found


class _Commands(MutableMapping[str, click.Command]):
    """Commands by name, each imported when it is first used."""

    def __init__(self, commands: Iterable[click.Command | CommandName]) -> None:
        self._commands = {str(each.name): each for each in commands}

    def __getitem__(self, name: str) -> click.Command:
        found = self._commands[name]
        if isinstance(found, CommandName):
            found = self._commands[name] = found.load()
        return found

    def __setitem__(self, name: str, command: click.Command) -> None:
        self._commands[name] = command

    def __delitem__(self, name: str) -> None:
        del self._commands[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._commands)

    def __len__(self) -> int:
        return len(self._commands)


class SectionedGroup(click.Group):
    """A group whose help lists its commands under headings, in the order given."""

    def __init__(
        self, *, help: str, sections: Mapping[str, Sequence[click.Command | CommandName]], **options: Any
    ) -> None:
        commands = _Commands(command for section in sections.values() for command in section)
        super().__init__(help=_kept(help), commands=commands, **options)
        self._sections = {title: [str(each.name) for each in section] for title, section in sections.items()}

    def format_commands(self, _context: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the headings and below each its commands with the first line of their help."""
        for title, names in self._sections.items():
            with formatter.section(title):
                formatter.write_dl([(name, self.commands[name].get_short_help_str(66)) for name in names])


#: ``@command()`` makes a function a command, and its docstring the help page.
command = partial(click.command, cls=HelpCommand)


def _kept(text: str) -> str:
    paragraphs = inspect.cleandoc(text).split("\n\n")
    return "\n\n".join(_VERBATIM + each if "\n  " in each else each for each in paragraphs)
