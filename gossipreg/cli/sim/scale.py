"""Command `gossipreg sim scale`: cost and speed as a function of cluster size."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gossipreg.cli import show
from gossipreg.cli.agent_options import as_json
from gossipreg.cli.help_page import command
from gossipreg.cli.sim.options import seed_option

if TYPE_CHECKING:
    from gossipreg_sim.scale.measures import SizeResult

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
@click.option(
    "--cells",
    type=click.IntRange(2, 64),
    help="Measure a region of so many cells instead, by default of 50 nodes each.",
)
@click.option("--plots", type=click.Path(path_type=Path), help="Also write the curves as SVG files into this folder.")
@seed_option
@as_json
def scale(
    *,
    nodes: tuple[int, ...],
    instances: int,
    split_max: int,
    cells: int | None,
    plots: Path | None,
    seed: int,
    as_json: bool,
) -> None:
    """Measure changes, failures, splits and idle cost against the number of nodes.

    Each size runs in its own process, on one core; a thousand nodes take about two minutes. Above 2000 nodes the
    cluster is not simulated as a whole: one real node of it is measured, whose peers are not there.

    With --cells it measures the traffic of a region of cells, how long a change takes within its cell and across
    borders, and how the duties of relays are divided. A thousand nodes in 20 cells take four minutes.

    Examples:
      gossipreg sim scale
      gossipreg sim scale --nodes 64 --nodes 128 --plots curves
      gossipreg sim scale --nodes 1000 --instances 1 --json
      gossipreg sim scale --nodes 10000 --instances 1
      gossipreg sim scale --cells 20 --nodes 200 --instances 1
    """
    from gossipreg_sim.report.files import check_file  # needed only by this command
    from gossipreg_sim.scale.findings import findings_of, region_findings_of, save_figures
    from gossipreg_sim.scale.sweep import DEFAULT, WHOLE_MAX, Plan, sweep, sweep_regions

    if cells is not None:
        if plots is not None:
            raise click.UsageError("--plots: there are no curves of regions; leave out --cells or --plots")
        nodes = nodes or (50 * cells,)
        if not 2 * cells <= min(nodes) <= max(nodes) <= WHOLE_MAX:
            raise click.UsageError(f"--nodes: with --cells {cells} a size is from {2 * cells} to {WHOLE_MAX}")
    if plots is not None:
        check_file(plots / "scale-news.svg")
    plan = Plan(nodes or DEFAULT.nodes, instances, split_max, seed, cells or 1)
    flags = [f"--nodes {size}" for size in nodes]
    flags += [f"--instances {instances}"] if instances != DEFAULT.instances else []
    flags += [f"--split-max {split_max}"] if split_max != DEFAULT.split_max else []
    flags += [f"--seed {seed}"] if seed else []
    flags += [f"--cells {cells}"] if cells is not None else []
    began, command_line = time.monotonic(), " ".join(["gossipreg sim scale", *flags])
    sizes: Sequence[SizeResult] = ()
    if cells is not None:
        findings = region_findings_of(sweep_regions(plan, _note), command_line)
    else:
        sizes, memory, one = sweep(plan, _note)
        findings = findings_of(sizes, memory, one, command_line)
    took = time.monotonic() - began
    if plots is not None and sizes:
        save_figures(sizes, plots)
    if as_json:
        print(json.dumps(findings.document(took), indent=2))
    else:
        print("\n".join(findings.lines(took)))


def _note(done: int, of: int) -> None:
    show.note(f"{done} of {of} sizes")
