"""Knows the two options that every command about a running agent shares: which agent, and in what form it answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from gossipreg.cli.client import Agent
from gossipreg.config import DEFAULT_HTTP

_Command = TypeVar("_Command", bound=Callable[..., Any])

_http = click.option(
    "--http",
    "agent",
    metavar="HOST:PORT",
    envvar="GOSSIPREG_HTTP",
    default=DEFAULT_HTTP,
    show_default=True,
    callback=lambda _context, _parameter, text: Agent.at(text),
    help="The agent to ask; http://HOST:PORT will do.  [env: GOSSIPREG_HTTP]",
)

as_json = click.option("--json", "as_json", is_flag=True, help="Answer with one JSON document.")


def asks_agent(command: _Command) -> _Command:
    """Give a command ``--http`` and ``--json``, as its parameters ``agent`` and ``as_json``."""
    return _http(as_json(command))
