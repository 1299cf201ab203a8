"""The commands about primaries: role list and reset."""

from __future__ import annotations

import click

from gossipreg.cli import completion, show
from gossipreg.cli.agent_options import agent_options
from gossipreg.cli.client import AgentClient
from gossipreg.cli.help_page import SectionedGroup, command


@command("list")
@click.argument("service", required=False, shell_complete=completion.roles)
@agent_options
def list_(agent: AgentClient, service: str | None, *, as_json: bool) -> None:
    """List the highest term of each service that has one, with its primary; or that of SERVICE alone.

    Terms are remembered after the instances that stated them have gone. A term below the highest claimed is fenced,
    and --term next is above the highest seen in whatever role.

    Columns when piped, tab-separated, "-" for nothing:
      service, highest claimed, highest seen, primary, its owner, reset by, at (local time)

    Examples:
      gossipreg role list
      gossipreg role list pg --json
    """
    document = agent.get("roles")
    if service is not None:
        document["roles"] = [each for each in document["roles"] if each["service"] == service]
    show.write(show.roles(document), document, as_json=as_json)
    if not document["roles"]:
        show.note("no term was ever stated" if service is None else f"no term of {service} was ever stated")


@command("reset")
@click.argument("service", shell_complete=completion.roles)
@agent_options
def reset(agent: AgentClient, service: str, *, as_json: bool) -> None:
    """Restart the terms of SERVICE on every node, from the highest that its instances state now.

    This is how to lower a term that was given by mistake: deregister the instance that states it, or register it with
    another term, then reset. Numbers that were given before may be given again, so be sure that no storage remembers
    a higher one. The answer is the term, in the columns of role list, with the agent through which it was reset,
    and when.

    Examples:
      gossipreg role reset pg
    """
    role = agent.delete("roles", service)
    show.write(show.roles({"roles": [role]}), role, as_json=as_json)
    if role.get("note"):
        show.note(role["note"])


role = SectionedGroup(
    name="role",
    help="""See the terms of primaries, and reset one.

    Of the instances that claim to be a service's primary the one with the highest term is called. That term only
    rises, whatever becomes of the instance, until an operator resets it.

    Examples:
      gossipreg role list
      gossipreg role reset pg
    """,
    sections={"Commands": (list_, reset)},
)
