"""Command `gossipreg sim run`: run one scenario from a seed."""

from __future__ import annotations

import json
import shlex
import time
from pathlib import Path

import click

from gossipreg.cli import show
from gossipreg.cli.agent_options import as_json
from gossipreg.cli.help_page import command
from gossipreg.cli.sim.options import seed_option

_FILE = click.Path(path_type=Path)


@command()
@click.argument("scenario")
@seed_option
@click.option("--html", type=_FILE, metavar="FILE", help="Write an HTML page that shows the run at any moment.")
@click.option("--plot", type=_FILE, metavar="FILE", help="Write plots over time: FILE.svg or FILE.png.")
@click.option("--save", type=_FILE, metavar="FILE", help='Write a FILE.trace for "gossipreg sim diff".')
@as_json
def run(scenario: str, seed: int, *, html: Path | None, plot: Path | None, save: Path | None, as_json: bool) -> int:
    """Run a scenario and report the result.

    SCENARIO is a name that "gossipreg sim list" shows, or a FILE.toml. A run consists of faults, heal and quiet: safety
    is checked at every step, and after the heal all nodes must agree within a bound computed from the settings. The
    last line is a hash of everything that every node did: the same scenario and seed give the same hash on every
    machine. Exit status: 0 if every oracle held, 1 if not.

    With --html the whole run is recorded in one file that any browser opens, without a network: each node's beliefs
    about each other at any moment, every packet, and figures over time.

    Examples:
      gossipreg sim run split-brain --seed 1
      gossipreg sim run my-cluster.toml --seed 7 --json
      gossipreg sim run split-brain --seed 1 --html split.html
      gossipreg sim run split-brain --plot split.svg
    """
    from gossipreg_sim.report.outputs import check_outputs, write_outputs
    from gossipreg_sim.report.recording import record
    from gossipreg_sim.runner import run_scenario  # needed only by this command
    from gossipreg_sim.scenario_file import load
    from gossipreg_sim.summary import as_document, as_lines

    wishes = {"html": html, "plot": plot, "save": save}
    wanted = {what: path for what, path in wishes.items() if path is not None}
    check_outputs(wanted)
    loaded = load(scenario)
    began = time.perf_counter()
    recording = record(loaded, seed) if wanted else None
    outcome = run_scenario(loaded, seed) if recording is None else recording.outcome
    took = time.perf_counter() - began
    again = f"gossipreg sim run {shlex.quote(scenario)} --seed {seed}"
    if as_json:
        print(json.dumps(as_document(outcome, took, again), indent=2))
    else:
        print("\n".join(as_lines(outcome, took, again)))
    if recording is not None:
        for path in write_outputs(wanted, recording, scenario):
            show.note(f"wrote {path} ({path.stat().st_size / 1000:,.0f} kB)")
    return 0 if outcome.is_good else 1
