"""Knows the command that shows the main job on real agents, and measures it: demo."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from gossipreg.cli.asking import as_json
from gossipreg.cli.page import command

if TYPE_CHECKING:
    from gossipreg.cli.demo.eyes import Eyes
    from gossipreg.cli.demo.screen import Screen


@command()
@click.option("--nodes", type=click.IntRange(3, 16), default=5, show_default=True, help="How many agents to start.")
@as_json
def demo(nodes: int, *, as_json: bool) -> None:
    """Show a cluster at work, in half a minute, and measure it.

    It starts real agents on loopback, registers services on them, looks them up on another, kills one agent, lets one
    leave and starts the killed one again. Each line says how long it took until the last agent saw it, as the agents'
    own HTTP APIs tell. In the end all is gone: no process, no file. If something does not happen in its time, one line
    says what, and the exit status is 1.

    Examples:
      gossipreg demo
      gossipreg demo --nodes 12
      gossipreg demo --json
    """
    from gossipreg.cli.demo.agents import Agents  # what only this command needs
    from gossipreg.cli.demo.eyes import Eyes
    from gossipreg.cli.demo.story import Story

    began = time.perf_counter()
    eyes = Eyes()
    with _ended_by_signals(), Agents() as agents, _screen(eyes, as_json=as_json) as screen:
        Story(nodes, agents, eyes, screen.tell).play()
        screen.sum_up(
            f"It all happened, on {nodes} agents, in {time.perf_counter() - began:.1f} s; nothing is left behind."
        )


def _screen(eyes: Eyes, *, as_json: bool) -> Screen:
    from gossipreg.cli.demo.screen import Document, Live, Plain

    if as_json:
        return Document()
    return Live(eyes) if sys.stdout.isatty() else Plain()


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """Let SIGTERM and a closed terminal end the demo as Ctrl-C does: with everything cleared away."""

    def interrupt(number: int, _frame: object) -> None:
        raise SystemExit(128 + number)

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
