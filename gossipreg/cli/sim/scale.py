"""Command `gossipreg sim scale`: how cost and speed grow with the cluster."""

from __future__ import annotations

import json
import time
from pathlib import Path

import click

from gossipreg.cli import show
from gossipreg.cli.agent_options import as_json
from gossipreg.cli.help_page import command
from gossipreg.cli.sim.options import seed_option

#: From: six die, and what is left is to fall into two halves of more than one. To: what one machine may hold.
_NODES = click.IntRange(12, 10_000)


@command()
@click.option(
    "--nodes",
    type=_NODES,
    multiple=True,
    help="Measure this size; may be repeated.  [default: 64 to 1000]",
)
@click.option("--instances", type=click.IntRange(1, 100), default=10, show_default=True, help="Of each node.")
@click.option(
    "--split-max",
    type=click.IntRange(min=0),
    default=128,
    show_default=True,
    help="Nodes up to which a split is run.",
)
@click.option("--plots", type=click.Path(path_type=Path), help="Also write the curves as SVG files into this folder.")
@seed_option
@as_json
def scale(
    *, nodes: tuple[int, ...], instances: int, split_max: int, plots: Path | None, seed: int, as_json: bool
) -> None:
    """Measure how news, deaths, splits and rest grow with the number of nodes.

    Each size is run in a process of its own, on one core: a thousand nodes take two minutes or so.

    Examples:
      gossipreg sim scale
      gossipreg sim scale --nodes 64 --nodes 128 --plots curves
      gossipreg sim scale --nodes 1000 --instances 1 --json
    """
    from gossipreg_sim.report.files import check_file  # what only this command needs
    from gossipreg_sim.scale.findings import findings_of, save_figures
    from gossipreg_sim.scale.sweep import DEFAULT, Plan, sweep

    if plots is not None:
        check_file(plots / "scale-news.svg")
    plan = Plan(nodes or DEFAULT.nodes, instances, split_max, seed)
    flags = [f"--nodes {size}" for size in nodes]
    flags += [f"--instances {instances}"] if instances != DEFAULT.instances else []
    flags += [f"--split-max {split_max}"] if split_max != DEFAULT.split_max else []
    flags += [f"--seed {seed}"] if seed else []
    began = time.monotonic()
    sizes, weight = sweep(plan, lambda done, of: show.note(f"{done} of {of} sizes"))
    findings = findings_of(sizes, weight, " ".join(["gossipreg sim scale", *flags]))
    took = time.monotonic() - began
    if plots is not None:
        save_figures(sizes, plots)
    if as_json:
        print(json.dumps(findings.document(took), indent=2))
    else:
        print("\n".join(findings.lines(took)))
