"""Command `gossipreg sim scale`: cost and speed as a function of cluster size."""

from __future__ import annotations

import json
import time
from pathlib import Path

import click

from gossipreg.cli import show
from gossipreg.cli.agent_options import as_json
from gossipreg.cli.help_page import command
from gossipreg.cli.sim.options import seed_option

#: At least: six nodes die, and the rest must split in halves of more than one. At most: what one machine can hold.
_NODES = click.IntRange(12, 10_000)


@command()
@click.option(
    "--nodes",
    type=_NODES,
    multiple=True,
    help="Measure this size; may be repeated.  [default: 64 to 1000]",
)
@click.option("--instances", type=click.IntRange(1, 100), default=10, show_default=True, help="Instances per node.")
@click.option(
    "--split-max",
    type=click.IntRange(min=0),
    default=128,
    show_default=True,
    help="Largest size for which a split is measured.",
)
@click.option("--plots", type=click.Path(path_type=Path), help="Also write the curves as SVG files into this folder.")
@seed_option
@as_json
def scale(
    *, nodes: tuple[int, ...], instances: int, split_max: int, plots: Path | None, seed: int, as_json: bool
) -> None:
    """Measure changes, failures, splits and idle cost against the number of nodes.

    Each size runs in its own process, on one core; a thousand nodes take about two minutes. Above 2000 nodes the
    cluster is not simulated as a whole: one real node of it is measured, whose peers are not there.

    Examples:
      gossipreg sim scale
      gossipreg sim scale --nodes 64 --nodes 128 --plots curves
      gossipreg sim scale --nodes 1000 --instances 1 --json
      gossipreg sim scale --nodes 10000 --instances 1
    """
    from gossipreg_sim.report.files import check_file  # needed only by this command
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
    sizes, memory, one = sweep(plan, lambda done, of: show.note(f"{done} of {of} sizes"))
    findings = findings_of(sizes, memory, one, " ".join(["gossipreg sim scale", *flags]))
    took = time.monotonic() - began
    if plots is not None and sizes:
        save_figures(sizes, plots)
    if as_json:
        print(json.dumps(findings.document(took), indent=2))
    else:
        print("\n".join(findings.lines(took)))
