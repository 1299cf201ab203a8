"""Command `gossipreg sim reproduce`: run published experiments again."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

import click

from gossipreg.cli import show
from gossipreg.cli.agent_options import as_json
from gossipreg.cli.help_page import command

_EXPERIMENTS: Final = ("lifeguard", "swim", "rapid")

#: Time between two lines of progress where there is no terminal (seconds).
_TELL_EVERY: Final = 30.0


@command()
@click.argument("experiment", type=click.Choice(_EXPERIMENTS))
@click.option("--quick", is_flag=True, help="A few runs where something happens: minutes instead of days.")
@click.option("--ours", is_flag=True, help="This protocol with its defaults, too.")
@click.option("--jobs", type=click.IntRange(min=1), help="Processes that run.  [default: one for each core]")
@click.option(
    "--seed", type=click.IntRange(min=0), default=0, show_default=True, help="What all random numbers are drawn from."
)
@as_json
def reproduce(experiment: str, *, quick: bool, ours: bool, jobs: int | None, seed: int, as_json: bool) -> None:
    """Run a published experiment again, and print the paper's values beside what comes out here.

    lifeguard compares SWIM, each part of Lifeguard and the whole while members block; swim measures load, detection
    and joins under loss; rapid looks for membership that will not come to rest. The other protocols are run by
    this one with settings of theirs: see docs/simulator.md for what that leaves out.

    Examples:
      gossipreg sim reproduce lifeguard --quick --ours
      gossipreg sim reproduce swim --quick --json
      gossipreg sim reproduce rapid --jobs 8
    """
    from gossipreg_sim.reproduce import lifeguard, rapid, swim  # what only this command needs
    from gossipreg_sim.reproduce.parallel_runs import Order

    flags = [*(["--quick"] if quick else []), *(["--ours"] if ours else []), *(["--seed", str(seed)] if seed else [])]
    again = " ".join(["gossipreg sim reproduce", experiment, *flags])
    began = time.monotonic()
    with _teller() as tell:
        order = Order(ours=ours, seed=seed, jobs=jobs or os.cpu_count() or 1, command=again, progress=tell)
        match experiment:
            case "lifeguard":
                findings = lifeguard.reproduce(lifeguard.QUICK if quick else lifeguard.FULL, order)
            case "swim":
                findings = swim.reproduce(swim.QUICK if quick else swim.FULL, order)
            case _:
                findings = rapid.reproduce(rapid.QUICK if quick else rapid.FULL, order)
    took = time.monotonic() - began
    if as_json:
        print(json.dumps(findings.document(took), indent=2))
    else:
        print("\n".join(findings.lines(took)))


@contextmanager
def _teller() -> Iterator[Callable[[int, int], None]]:
    """Shows how many runs are done, on standard error: a bar on a terminal, else a line now and then."""
    if not sys.stderr.isatty():
        last = time.monotonic()

        def tell_plainly(done: int, of: int) -> None:
            nonlocal last
            if time.monotonic() - last >= _TELL_EVERY:
                last = time.monotonic()
                show.note(f"{done:,} of {of:,} runs")

        yield tell_plainly
        return
    from rich.console import Console  # only where there is a terminal
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("runs"), MofNCompleteColumn(), BarColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("runs")
        yield lambda done, of: bar.update(task, completed=done, total=of)
