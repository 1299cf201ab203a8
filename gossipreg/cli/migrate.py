"""The `migrate` command: copies what a Consul or a Eureka holds to an agent, and follows it while people move."""

from __future__ import annotations

from pathlib import Path

import click

from gossipreg.cli.agent_options import duration, token_file
from gossipreg.cli.agent_token import read_token
from gossipreg.cli.client import AgentClient
from gossipreg.cli.help_page import command as page_command
from gossipreg.hosts import DEFAULT_HTTP


@page_command()
@click.argument("kind", type=click.Choice(["consul", "eureka"]))
@click.option("--from", "url", metavar="URL", required=True, help="The registry to copy; Eureka's with its path.")
@click.option(
    "--to",
    "--http",
    "--agent",
    "agent",
    metavar="HOST:PORT",
    envvar=["GOSSIPREG_AGENT", "GOSSIPREG_HTTP"],
    default=DEFAULT_HTTP,
    show_default=True,
    callback=lambda _context, _parameter, text: AgentClient.at(text, "--to"),
    help="The agent that holds the copies.  [env: GOSSIPREG_AGENT, GOSSIPREG_HTTP]",
)
@click.option("--follow", is_flag=True, help="Go on: copy what changes, until Ctrl-C.")
@click.option("--both-ways", is_flag=True, help="Also copy what the agent knows to the registry. With --follow.")
@click.option(
    "--interval",
    metavar="SECONDS",
    default="5s",
    show_default=True,
    type=duration,
    help="With --follow, the time from one look at a side to the next.",
)
@click.option("--name", metavar="NAME", help="What copies are marked with, if several registries are alike.")
@click.option("--dry-run", is_flag=True, help="Print what would be done, and change nothing.")
@click.option(
    "--from-token-file",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="File with the registry's token, if it requires one.",
)
@token_file
@click.option("--json", "as_json", is_flag=True, help="Print each event as a JSON document on a line.")
def migrate(
    agent: AgentClient,
    kind: str,
    url: str,
    *,
    follow: bool,
    both_ways: bool,
    interval: float,
    name: str | None,
    dry_run: bool,
    from_token_file: Path | None,
    token_file: Path | None,
    as_json: bool,
) -> None:
    """Copy what a Consul or a Eureka holds to an agent, or follow it.

    Copies have the tags, meta, weights and health of their originals, and the meta migrated-from. A copy is never
    copied. What is registered at the agent itself has moved, and takes the place of its copy. With --follow, what
    changes or is removed there changes or is removed here; while the registry does not answer, its copies stay as they
    are. Run one of these for a registry: it renews the copies, which lapse some time after it ends.

    Without --follow, the copies are not renewed: they stay until they are removed, those of a Eureka for a day.

    Examples:
      gossipreg migrate consul --from http://10.0.0.5:8500 --dry-run
      gossipreg migrate consul --from http://10.0.0.5:8500 --follow --both-ways
      gossipreg migrate eureka --from http://10.0.0.7:8761/eureka --to 127.0.0.1:8500 --follow
    """
    if both_ways and not follow:
        raise click.UsageError("--both-ways goes with --follow: what is copied to others has to be renewed there")
    if interval <= 0:
        raise click.UsageError("--interval is a time above 0, such as 5s")
    from gossipreg.cli.run_migrate import Events, endpoints, run  # with an HTTP client, which takes long to import

    events = Events(as_json=as_json)
    from_token = None if from_token_file is None else read_token(from_token_file)
    agent = agent._replace(token=read_token(token_file))
    source, target = endpoints(kind, url, agent, name, from_token=from_token)
    run(source, target, events, interval=interval if follow else None, both_ways=both_ways, dry=dry_run)
