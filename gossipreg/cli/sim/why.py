"""Command `gossipreg sim why`: why a node believed what it believed."""

from __future__ import annotations

import json

import click

from gossipreg.cli.agent_options import as_json
from gossipreg.cli.help_page import command
from gossipreg.cli.sim.options import seed_option


@command()
@click.argument("scenario")
@click.argument("node")
@click.argument("subject")
@click.argument("moment", metavar="[T]", type=float, required=False)
@seed_option
@as_json
def why(scenario: str, node: str, subject: str, moment: float | None, seed: int, *, as_json: bool) -> None:
    """Explain what NODE believed of SUBJECT at time T.

    The scenario is run again from its seed, and the belief is traced back to its origin: the first ping or ack that was
    lost, late, or sent to a node that could not answer, and the responsible fault; the node that suspected; the node
    that declared the failure; and the path of the update to NODE. Each line is one step: time, sender and receiver,
    event, and problem.

    T is in virtual seconds, as in the report. The default is the time at which NODE first held its gravest belief.

    Examples:
      gossipreg sim why split-brain n0 n7 --seed 1
      gossipreg sim why split-brain --seed 1 n0 n7 40
      gossipreg sim why rack.toml n0 n2 31.5 --json
    """
    from gossipreg_sim.report import why as telling  # needed only by this command
    from gossipreg_sim.report.recording import record
    from gossipreg_sim.scenario_file import load

    loaded = load(scenario)
    telling.check_names(loaded, node, subject)
    recording = record(loaded, seed)
    at = telling.worst_belief(recording, node, subject) / 1e9 if moment is None else moment
    answer = telling.why(recording, node, subject, at)
    if as_json:
        print(json.dumps(telling.as_document(answer), indent=2))
    else:
        print("\n".join(telling.as_lines(answer)))
