"""Knows the command that plays one scenario from a seed: sim run."""

from __future__ import annotations

import json
import shlex
import time

import click

from gossipreg.cli.asking import as_json
from gossipreg.cli.page import command


@command()
@click.argument("scenario")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="What all dice are drawn from.")
@as_json
def run(scenario: str, seed: int, *, as_json: bool) -> int:
    """Play a scenario and say what came of it.

    SCENARIO is one that "gossipreg sim list" shows, or a FILE.toml. Faults, heal, quiet: at every step what must never
    be is looked for, and after the heal all nodes must agree within a bound that is computed from the settings. The
    last line is a hash of all that every node did: the same scenario and seed give the same hash, on every machine.
    Exit status: 0 if all held, 1 if not.

    Examples:
      gossipreg sim run split-brain --seed 1
      gossipreg sim run my-cluster.toml --seed 7 --json
    """
    from sim.play import play  # noqa: PLC0415 -- what only this command needs
    from sim.scenario import load  # noqa: PLC0415
    from sim.summary import as_document, as_lines  # noqa: PLC0415

    loaded = load(scenario)
    began = time.perf_counter()
    outcome = play(loaded, seed)
    took = time.perf_counter() - began
    again = f"gossipreg sim run {shlex.quote(scenario)} --seed {seed}"
    if as_json:
        print(json.dumps(as_document(outcome, took, again), indent=2))
    else:
        print("\n".join(as_lines(outcome, took, again)))
    return 0 if outcome.is_good else 1
