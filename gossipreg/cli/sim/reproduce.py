"""Command `gossipreg sim reproduce`: published experiments on the simulator."""

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

#: Interval of progress lines when standard error is no terminal (seconds).
_TELL_EVERY: Final = 30.0


@command()
@click.argument("experiment", type=click.Choice(_EXPERIMENTS))
@click.option("--quick", is_flag=True, help="Only a few informative runs: minutes instead of days.")
@click.option("--ours", is_flag=True, help="Also run this protocol with its defaults.")
@click.option("--jobs", type=click.IntRange(min=1), help="Worker processes.  [default: one per core]")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Seed of all random numbers.")
@as_json
def reproduce(experiment: str, *, quick: bool, ours: bool, jobs: int | None, seed: int, as_json: bool) -> None:
    """Run a published experiment, and print the paper's values beside the measured ones.

    lifeguard compares SWIM, each part of Lifeguard, and all of it while members block. swim measures load, detection,
    and joins under packet loss. rapid looks for unstable membership. The other protocols are approximated by settings
    of this one; docs/simulator.md lists the differences.

    Examples:
      gossipreg sim reproduce lifeguard --quick --ours
      gossipreg sim reproduce swim --quick --json
      gossipreg sim reproduce rapid --jobs 8
    """
    from gossipreg_sim.reproduce import lifeguard, rapid, swim  # needed only by this command
    from gossipreg_sim.reproduce.parallel_runs import RunOptions

    flags = [*(["--quick"] if quick else []), *(["--ours"] if ours else []), *(["--seed", str(seed)] if seed else [])]
    again = " ".join(["gossipreg sim reproduce", experiment, *flags])
    began = time.monotonic()
    with _teller() as tell:
        order = RunOptions(ours=ours, seed=seed, jobs=jobs or os.cpu_count() or 1, command=again, progress=tell)
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
    """Show the number of finished runs on standard error: a bar on a terminal, otherwise a line now and then."""
    if not sys.stderr.isatty():
        last = time.monotonic()

        def tell_plainly(done: int, of: int) -> None:
            nonlocal last
            if time.monotonic() - last >= _TELL_EVERY:
                last = time.monotonic()
                show.note(f"{done:,} of {of:,} runs")

        yield tell_plainly
        return
    from rich.console import Console  # needed only on a terminal
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("runs"), MofNCompleteColumn(), BarColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("runs")
        yield lambda done, of: bar.update(task, completed=done, total=of)
