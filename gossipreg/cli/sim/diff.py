"""Command `gossipreg sim diff`: compare two runs."""

from __future__ import annotations

import json

import click

from gossipreg.cli.agent_options import as_json
from gossipreg.cli.help_page import command


@command()
@click.argument("one", metavar="A")
@click.argument("other", metavar="B")
@as_json
def diff(one: str, other: str, *, as_json: bool) -> int:
    """Show where two runs diverge, and which of their figures differ.

    A and B are each a SCENARIO or FILE.toml, optionally with :SEED (default 0), which is run; or a FILE.trace written
    by "gossipreg sim run --save FILE.trace", by this version or another. The output is the first differing step with
    the steps around it, then the figures that differ. Exit status: 0 if the runs are equal, 1 if they differ.

    Examples:
      gossipreg sim diff split-brain:1 split-brain:2
      gossipreg sim diff rack.toml:1 rack-with-loss.toml:1
      gossipreg sim run split-brain --seed 1 --save before.trace
      gossipreg sim diff before.trace split-brain:1
    """
    from gossipreg_sim.report import diff as telling  # needed only by this command
    from gossipreg_sim.report.journal import journal_named

    found = telling.difference(journal_named(one), journal_named(other))
    if as_json:
        print(json.dumps(telling.as_document(found), indent=2))
    else:
        print("\n".join(telling.as_lines(found, (one, other))))
    return 0 if found.is_none else 1
