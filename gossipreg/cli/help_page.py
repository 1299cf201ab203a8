"""Help pages made from docstrings: running text is wrapped, indented lines stay as written."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Final

import click

#: What click reads at the head of a paragraph as "do not wrap".
_VERBATIM: Final = "\b\n"


class HelpCommand(click.Command):
    """A command whose help keeps every paragraph with an indented line in it, such as its examples, as written."""

    def __init__(self, *, help: str, **options: Any) -> None:
        super().__init__(help=_kept(help), **options)


class SectionedGroup(click.Group):
    """A group whose help lists its commands under headings, in the order given."""

    def __init__(self, *, help: str, sections: Mapping[str, Sequence[click.Command]], **options: Any) -> None:
        commands = [command for section in sections.values() for command in section]
        super().__init__(help=_kept(help), commands=commands, **options)
        self._sections = sections

    def format_commands(self, _context: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the headings and below each its commands with the first line of their help."""
        for title, commands in self._sections.items():
            with formatter.section(title):
                formatter.write_dl([(command.name or "", command.get_short_help_str(66)) for command in commands])


#: ``@command()`` makes a function a command, and its docstring the help page.
command = partial(click.command, cls=HelpCommand)


def _kept(text: str) -> str:
    paragraphs = inspect.cleandoc(text).split("\n\n")
    return "\n\n".join(_VERBATIM + each if "\n  " in each else each for each in paragraphs)
