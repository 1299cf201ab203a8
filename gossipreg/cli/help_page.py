"""Help pages made from docstrings: running text is wrapped, indented lines stay as written."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator, Mapping, MutableMapping, Sequence
from functools import partial
from typing import Any, Final

import click

from gossipreg.cli.declare import CommandName, Declared, DeclaredCommand

#: What click reads at the head of a paragraph as "do not wrap".
_VERBATIM: Final = "\b\n"


class HelpCommand(click.Command):
    """A command whose help keeps every paragraph with an indented line in it, such as its examples, as written."""

    def __init__(
        self, *, help: str, params: Sequence[click.Parameter | Declared] | None = None, **options: Any
    ) -> None:
        parameters = [each.as_click() if isinstance(each, Declared) else each for each in params or ()]
        super().__init__(help=_kept(help), params=parameters, **options)


def made(declared: DeclaredCommand) -> HelpCommand:
    """The command that was declared."""
    function = declared.function
    return HelpCommand(name=declared.name, callback=function, params=declared.parameters, help=function.__doc__ or "")


class _Commands(MutableMapping[str, click.Command]):
    """Commands by name, each imported when it is first used."""

    def __init__(self, commands: Iterable[click.Command | CommandName]) -> None:
        self._commands = {str(each.name): each for each in commands}

    def __getitem__(self, name: str) -> click.Command:
        found = self._commands[name]
        if isinstance(found, CommandName):
            loaded = found.load()
            found = self._commands[name] = made(loaded) if isinstance(loaded, DeclaredCommand) else loaded
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
