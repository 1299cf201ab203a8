"""Runs a measurement from the command line: to its end, or to the one line that says why there is none."""

from __future__ import annotations

import resource
from collections.abc import Awaitable, Callable
from typing import TypeVar

import click
import trio

from tests.bench.processes import BenchError

_T = TypeVar("_T")


def measured(name: str, measure: Callable[[], Awaitable[_T]]) -> _T | None:
    """What ``measure`` finds; None, and a line of ``name``'s on standard error, if it cannot go on."""
    found: _T | None = None
    try:
        found = trio.run(measure)
    except* BenchError as failed:
        click.echo(f"{name}: {failed.exceptions[0]}", err=True)
    return found


def open_as_many_files_as_allowed() -> None:
    """A thousand connections are a thousand files here, too."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
