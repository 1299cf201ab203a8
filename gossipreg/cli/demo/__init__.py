"""The `demo` command: shows a cluster at work on real agents, and measures it."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from gossipreg.cli.agent_options import as_json
from gossipreg.cli.help_page import command

if TYPE_CHECKING:
    from gossipreg.cli.demo.observers import Observers
    from gossipreg.cli.demo.output import DemoOutput


@command()
@click.option("--nodes", type=click.IntRange(3, 16), default=5, show_default=True, help="How many agents to start.")
@click.option("--ui", is_flag=True, help="Keep the agents running, with their page, and play faults on request.")
@as_json
def demo(nodes: int, *, ui: bool, as_json: bool) -> None:
    """Show a cluster at work, in half a minute, and measure it.

    It starts real agents on loopback, registers services on them, looks them up on another, kills one agent, lets one
    leave and starts the killed one again. Each line says how long it took until the last agent saw it, according to the
    agents' own HTTP APIs. At the end no process and no file is left. If something does not happen in time, one line
    says what, and the exit status is 1.

    With --ui it starts the agents and prints the address of their page. Then each line that is typed is a fault to
    play, such as "kill web-3", "cut web-2 web-4" or "slow web-5", so that it can be seen there.

    Examples:
      gossipreg demo
      gossipreg demo --nodes 12
      gossipreg demo --ui
      gossipreg demo --json
    """
    if ui:
        if as_json:
            raise click.UsageError("--ui and --json: give one of the two")
        _play(nodes)
        return
    from gossipreg.cli.demo.agents import DemoAgents  # what only this command needs
    from gossipreg.cli.demo.observers import Observers
    from gossipreg.cli.demo.script import DemoScript

    began = time.perf_counter()
    observers = Observers()
    with _ended_by_signals(), DemoAgents() as agents, _output(observers, as_json=as_json) as output:
        DemoScript(nodes, agents, observers, output.show_line).run()
        output.show_summary(
            f"All of that happened on {nodes} agents in {time.perf_counter() - began:.1f} s; nothing is left behind."
        )


def _play(nodes: int) -> None:
    from gossipreg.cli.demo.agents import DemoAgents
    from gossipreg.cli.demo.playground import Playground, help_text
    from gossipreg.cli.demo.switch import PacketSwitch

    with _ended_by_signals(), PacketSwitch() as switch, DemoAgents() as agents:
        playground = Playground(nodes, agents, switch, print)
        print(f"Open {playground.open()} in a browser. Then type what is to happen:\n{help_text()}", flush=True)
        playground.play(iter(sys.stdin.readline, ""))


def _output(observers: Observers, *, as_json: bool) -> DemoOutput:
    from gossipreg.cli.demo.output import JsonOutput, LiveOutput, PlainOutput

    if as_json:
        return JsonOutput()
    return LiveOutput(observers) if sys.stdout.isatty() else PlainOutput()


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """Let SIGTERM and a closed terminal end the demo as Ctrl-C does: with everything cleaned up."""

    def interrupt(number: int, _frame: object) -> None:
        raise SystemExit(128 + number)

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
