"""Command `gossipreg sim fuzz`: search for a failing run among generated scenarios."""

from __future__ import annotations

import json
import os
import re
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from gossipreg.cli import show
from gossipreg.cli.agent_options import as_json
from gossipreg.cli.help_page import command
from gossipreg.errors import ConfigError
from gossipreg.model import Address

if TYPE_CHECKING:
    from gossipreg_sim.fuzz.failures import Failure
    from gossipreg_sim.fuzz.sweep import Sweep

#: Seeds of a sweep without --seeds and --minutes.
_SEEDS: Final = 100

#: Maximum number of nodes in one run: one process runs them all.
_NODES_MAX: Final = 256

#: Port of a Dask scheduler, where its address names none.
_SCHEDULER_PORT: Final = 8786

#: Interval of progress lines when standard error is no terminal (seconds).
_PROGRESS_SECONDS: Final = 10.0

#: Time limit of shrinking (seconds of CPU time).
_SHRINK_SECONDS: Final = 60.0


def _span(_context: click.Context, _parameter: click.Parameter, text: str) -> tuple[int, int]:
    """Parse two whole numbers, as in 3-16, or one for both."""
    match = re.fullmatch(r"(\d{1,3})(?:-(\d{1,3}))?", text, re.ASCII)
    least, most = (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
    if not 1 <= least <= most <= _NODES_MAX:
        raise click.BadParameter(f"{text!r} is not a number from 1 to {_NODES_MAX}, or two such as 3-16")
    return least, most


def _scheduler(text: str | None) -> str | None:
    """The address of a scheduler, as Dask writes it: ``tcp://HOST:PORT``. Raises ``click.BadParameter``."""
    if text is not None:
        try:
            Address.parse(text.rpartition("://")[2], default_port=_SCHEDULER_PORT)
        except ConfigError as error:
            raise click.BadParameter(str(error), param_hint="--dask") from None
    return text


@command()
@click.option(
    "--seeds", type=click.IntRange(min=1), help=f"Seeds to run.  [default: {_SEEDS}, unless --minutes is given]"
)
@click.option("--minutes", type=click.FloatRange(min=0, min_open=True), help="Start no run after this many minutes.")
@click.option("--from", "first", type=click.IntRange(min=0), default=0, show_default=True, help="The first seed.")
@click.option(
    "--nodes", metavar="FROM-TO", default="3-16", show_default=True, callback=_span, help="Number of nodes in one run."
)
@click.option("--cells", is_flag=True, help="Only scenarios with several cells, without templates.")
@click.option("--jobs", type=click.IntRange(min=1), help="Worker processes.  [default: one per core]")
@click.option("--dask", "address", metavar="ADDRESS", callback=lambda _context, _parameter, text: _scheduler(text),
              help="Run on the Dask cluster with this scheduler instead.")  # fmt: skip
@click.option("--patience", type=click.FloatRange(min=0, min_open=True), default=60.0, show_default=True,
              help="Time limit of one run (seconds of CPU time).")  # fmt: skip
@click.option("--shrink", type=click.IntRange(min=0), default=200, show_default=True,
              help="Runs spent on shrinking a failure; 0: none.")  # fmt: skip
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), default=Path("fuzz-failures"),
              show_default=True, help="Directory for failing scenarios.")  # fmt: skip
@as_json
def fuzz(
    *,
    seeds: int | None,
    minutes: float | None,
    first: int,
    nodes: tuple[int, int],
    cells: bool,
    jobs: int | None,
    address: str | None,
    patience: float,
    shrink: int,
    out: Path,
    as_json: bool,
) -> int:
    """Generate a scenario from each seed, run it, and shrink failures.

    Each seed determines a cluster, a set of enabled fault kinds (about half of all), and one to six faults; it gives
    the same scenario on every machine. A failing scenario is written to a file. The first failure of each kind is
    shrunk: it is made smaller as long as it fails in the same way. The summary states the share of runs to which each
    oracle applied; its last line is one hash over all runs. Exit status: 0 if every oracle held in every run, 1 if not.

    Examples:
      gossipreg sim fuzz --seeds 500
      gossipreg sim fuzz --minutes 60 --from 10000 --json
      gossipreg sim fuzz --seeds 100000 --dask tcp://10.0.0.5:8786
    """
    from gossipreg_sim.fuzz.dask_pool import run_on_dask  # needed only by this command
    from gossipreg_sim.fuzz.failures import Failure, directory
    from gossipreg_sim.fuzz.generation import CELL_NODES_MIN
    from gossipreg_sim.fuzz.pool import run_in_pool
    from gossipreg_sim.fuzz.run_result import result_of
    from gossipreg_sim.fuzz.sweep import Sweep, seeds_from

    if cells:
        if nodes[1] < CELL_NODES_MIN:
            raise click.UsageError(f"--cells: two cells have at least {CELL_NODES_MIN} nodes, and --nodes allows fewer")
        nodes = max(CELL_NODES_MIN, nodes[0]), nodes[1]
    number = _SEEDS if seeds is None and minutes is None else seeds
    work = partial(result_of, nodes=nodes, patience=patience, cells=cells)
    wanted = seeds_from(first, number, minutes)
    jobs = jobs or os.cpu_count() or 1
    results = run_on_dask(work, wanted, address) if address else run_in_pool(work, wanted, jobs, patience)
    sweep = Sweep(nodes, cells)
    failures: list[Failure] = []
    try:
        with closing(results), _progress_display(number) as show_progress:
            for seed, result in results:
                sweep.add(seed, result)
                if not result.is_good:
                    failures.append(Failure(seed, sweep.generated(seed), result))
                    failures[-1].written(directory(out))
                show_progress(sweep)
        failures.sort(key=lambda failure: failure.seed)
        _shrink(failures, out, shrink, patience)
    except KeyboardInterrupt:
        show.note(f"interrupted after {len(sweep.results):,} seeds, {len(sweep.failures):,} failures")
        raise
    if as_json:
        print(json.dumps(sweep.as_document() | {"failures": [each.as_document(out) for each in failures]}, indent=2))
    else:
        lines = [line for failure in failures for line in (*failure.as_lines(out), "")]
        print("\n".join((*lines, *sweep.as_lines())))
    return 1 if failures else 0


def _shrink(failures: Sequence[Failure], out: Path, runs: int, patience: float) -> None:
    """Shrink the first failure of each kind; the others most likely have the same cause."""
    os.environ.setdefault("HYPOTHESIS_STORAGE_DIRECTORY", str(out / ".hypothesis"))  # not in the working directory
    seen: list[str] = []
    for failure in failures if runs else ():
        if failure.result.wrong[0] not in seen:
            seen.append(failure.result.wrong[0])
            show.note(f"shrinking seed {failure.seed}: {failure.result.wrong[0]}")
            failure.written(out, failure.shrunk(runs=runs, seconds=_SHRINK_SECONDS, patience=patience))


@contextmanager
def _progress_display(number: int | None) -> Iterator[Callable[[Sweep], None]]:
    """What shows the progress of a sweep on standard error: a bar on a terminal, otherwise a line every ten seconds."""
    began = time.monotonic()
    if not sys.stderr.isatty():
        last = began

        def show_line(sweep: Sweep) -> None:
            nonlocal last
            now = time.monotonic()
            if now - last >= _PROGRESS_SECONDS:
                last = now
                show.note(_progress(sweep, number, now - began))

        yield show_line
        return
    from rich.console import Console  # needed only on a terminal
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("starting", total=number)

        def show_bar(sweep: Sweep) -> None:
            description = _progress(sweep, number, time.monotonic() - began)
            bar.update(task, completed=len(sweep.results), description=description)

        yield show_bar


def _progress(sweep: Sweep, number: int | None, took: float) -> str:
    done = len(sweep.results)
    of = "" if number is None else f" of {number:,}"
    return f"{done:,}{of} seeds, {len(sweep.failures):,} failures, {done / took:.2f} seeds/s"
