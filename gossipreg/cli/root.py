"""The group `gossipreg` for click: every subcommand, under the headings of the help page."""

from __future__ import annotations

import click

from gossipreg.cli.help_page import SectionedGroup
from gossipreg.cli.sections import SECTIONS


@click.group(
    cls=SectionedGroup,
    sections=SECTIONS,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(package_name="gossipreg", message="%(prog)s %(version)s")
@click.pass_context
def cli(context: click.Context) -> None:
    """A service registry with no registry server.

    Every host runs an agent; agents find each other, watch each other, and gossip what they offer. Any of them
    answers, from its own memory, which healthy instances of a service can be called now.

    Examples:
      gossipreg demo
      gossipreg agent --join 10.0.0.6
      gossipreg register orders --port 8080
      gossipreg lookup orders

    Exit status: 0 done, 1 failed, 2 wrong usage or setting, 70 an agent ended by a bug, 130 interrupted.
    """
    if context.invoked_subcommand is None:
        click.echo(context.get_help())
