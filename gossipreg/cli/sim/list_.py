"""Command `gossipreg sim list`: the scenarios that come with the simulator."""

from __future__ import annotations

from gossipreg.cli import show, tables
from gossipreg.cli.agent_options import as_json
from gossipreg.cli.help_page import command


@command(name="list")
@as_json
def list_(*, as_json: bool) -> None:
    """List the scenarios that come with the simulator.

    In a pipe each line has a name, the number of nodes, and a description.

    Examples:
      gossipreg sim list
    """
    from gossipreg_sim.scenario_file import load, shipped

    scenarios = [load(name) for name in shipped()]
    document = {"scenarios": [{"name": s.name, "nodes": s.nodes, "title": s.title} for s in scenarios]}
    rows = [(scenario.name, str(scenario.nodes), scenario.title) for scenario in scenarios]
    show.write(tables.TextTable(("scenario", "nodes", "description"), rows), document, as_json=as_json)
