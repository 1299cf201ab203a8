"""Output of the demo: a live screen on a terminal, lines of text in a pipe, a JSON document."""

from __future__ import annotations

import json
import threading
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Final, Self

import attrs

from gossipreg.cli import show, tables
from gossipreg.cli.demo.observers import Observers
from gossipreg.cli.demo.script import OBSERVER, ScriptLine

if TYPE_CHECKING:
    from rich.console import Group, RenderableType
    from rich.text import Text


#: How long nothing must have been shown before the live screen is refreshed (seconds).
_QUIET_SECONDS: Final = 0.25

#: Cells between two tables that stand side by side.
_BETWEEN: Final = 6


class DemoOutput(ABC):
    """Where lines are shown, as a context manager: it exits when the script has ended, well or not."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return

    @abstractmethod
    def show_line(self, line: ScriptLine) -> None:
        """Show the next line."""

    @abstractmethod
    def show_summary(self, sentence: str) -> None:
        """Show the summary of a run that went well."""


class PlainOutput(DemoOutput):
    """One line of text after another, each as soon as it is known."""

    def show_line(self, line: ScriptLine) -> None:
        """Print it."""
        print(line, flush=True)

    def show_summary(self, sentence: str) -> None:
        """Print it, set apart."""
        print(f"\n{sentence}", flush=True)


class JsonOutput(DemoOutput):
    """Nothing until the end, then one JSON document."""

    def __init__(self) -> None:
        self._lines: list[ScriptLine] = []

    def show_line(self, line: ScriptLine) -> None:
        """Keep it."""
        self._lines.append(line)

    def show_summary(self, sentence: str) -> None:
        """Print all lines."""
        print(json.dumps({"steps": [attrs.asdict(line) for line in self._lines], "summary": sentence}, indent=2))


class LiveOutput(DemoOutput):
    """Two tables of what the observer sees now, and below them the lines so far.

    Drawing takes the interpreter from the threads that measure. So the screen is drawn with each line, before the clock
    of the next step starts, and otherwise only while nothing has happened for a moment.
    """

    def __init__(self, observers: Observers) -> None:
        from rich.live import Live as RichLive  # only where there is a terminal

        self._observers = observers
        self._lines: list[ScriptLine] = []
        self._summary = ""
        self._console = show.console()
        self._live = RichLive(
            console=self._console, get_renderable=self._renderable, auto_refresh=False, transient=True
        )
        self._told, self._over = threading.Event(), threading.Event()
        self._refresher = threading.Thread(target=self._refresh_when_quiet, daemon=True)

    def __enter__(self) -> Self:
        self._live.start()
        self._refresher.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._told.set()
        self._refresher.join()
        tables = self._tables()
        self._live.stop()
        self._console.print(tables, "")
        for line in self._lines:
            self._console.print(_styled(line), soft_wrap=True)
        if self._summary:
            self._console.print(f"\n{self._summary}", soft_wrap=True)

    def show_line(self, line: ScriptLine) -> None:
        """Add it to the screen."""
        self._lines.append(line)
        self._live.refresh()
        self._told.set()

    def show_summary(self, sentence: str) -> None:
        """Keep it for the end."""
        self._summary = sentence

    def _refresh_when_quiet(self) -> None:
        while not self._over.is_set():
            if self._told.wait(_QUIET_SECONDS):
                self._told.clear()
            else:
                self._live.refresh()

    def _renderable(self) -> Group:
        from rich.console import Group

        tables = self._tables()
        taken = len(self._console.render_lines(tables))
        room = max(1, self._console.height - taken - 2)
        return Group(tables, "", *(_styled(line) for line in self._lines[-room:]))

    def _tables(self) -> RenderableType:
        """Members on the left, instances on the right; below each other where the terminal is too narrow for that."""
        from rich.console import Group
        from rich.table import Table

        from gossipreg.cli.tables import least_width, rich_table

        view = self._observers.view_of(OBSERVER)
        members = tables.TextTable(
            (f"as {OBSERVER} sees it", "status", "address"),
            [
                (member["name"], show.state_of(member), member["address"])
                for _, member in sorted(view.members.items(), key=lambda item: (len(item[0]), item[0]))
            ],
        )
        instances = tables.TextTable(
            ("service", "instance", "call it at", "on"),
            [
                (instance["service"], instance["id"], show.address_of(instance), instance["owner"])
                for _, instance in sorted(view.instances.items())
            ],
        )
        if least_width(members) + _BETWEEN + least_width(instances) > self._console.width:
            return Group(rich_table(members), "", rich_table(instances))
        side_by_side = Table.grid(padding=(0, _BETWEEN))
        side_by_side.add_row(rich_table(members), rich_table(instances))
        return side_by_side


def _styled(line: ScriptLine) -> Text:
    """A line in colour: steps stand out, and so do the measured times."""
    from rich.text import Text

    if line.took is None:
        return Text(str(line), style="bold")
    said, _, measured = str(line).rpartition(" after ")
    return Text.assemble(f"{said} after ", (measured, "bold cyan"))
