"""The commands `policy list`, `policy set`, `policy remove` and `weight`."""

from __future__ import annotations

from typing import Any

import click

from gossipreg import limits
from gossipreg.cli import completion, show
from gossipreg.cli.agent_options import agent_options, note_isolation
from gossipreg.cli.client import AgentClient
from gossipreg.cli.help_page import SectionedGroup, command
from gossipreg.policy import key_of

_WEIGHT = click.IntRange(0, limits.WEIGHT_MAX)


@command("list")
@agent_options
def list_(agent: AgentClient, *, as_json: bool) -> None:
    """List the policies in force, with the node and time of each, and those that this version cannot read.

    Columns when piped, tab-separated, "-" for nothing:
      key, service, instance, rule, set by, at (local time)

    Examples:
      gossipreg policy list
      gossipreg policy list --json
    """
    document = agent.lookup("policies")
    show.write(show.policies(document), document, as_json=as_json)
    note_isolation(agent, document)
    if not document["policies"] and not document.get("unreadable"):
        show.note("no policy is in force")


@command("set")
@click.argument("service", shell_complete=completion.services)
@click.option(
    "--split", "shares", metavar="LABEL=SHARE", multiple=True, help="A share of the load, for a tag; repeatable."
)
@click.option("--by", type=click.Choice(["tag", "zone"]), help="What the labels of a split are.  [default: tag]")
@click.option(
    "--instance",
    metavar="ID",
    shell_complete=completion.ids,
    help="The instance that --weight or --maintenance is about.",
)
@click.option(
    "--owner",
    metavar="NAME",
    shell_complete=completion.members,
    help="The member whose instance is meant, if several have one of that id.",
)
@click.option("--weight", type=_WEIGHT, help="Its weight, in place of its owner's; 0 drains it.")
@click.option("--maintenance", metavar="REASON", help="Take it out, whatever its checks say; all nodes show why.")
@agent_options
def set_(
    agent: AgentClient,
    service: str,
    *,
    as_json: bool,
    shares: tuple[str, ...],
    by: str | None,
    instance: str | None,
    owner: str | None,
    weight: int | None,
    maintenance: str | None,
) -> None:
    """Set a policy on every node, in place of the one about the same.

    It splits the load of SERVICE, or with --instance it sets the weight of one of its instances, or puts that into
    maintenance. Any agent accepts it, whichever node owns the instances, and all nodes obey it within moments. Shares
    are in proportion to each other. The answer is the policy, in the columns of policy list.

    Examples:
      gossipreg policy set orders --split v1=90 --split v2=10
      gossipreg policy set orders --split eu-1=1 --split eu-2=1 --by zone
      gossipreg policy set orders --instance orders-1 --weight 5
      gossipreg policy set orders --instance orders-1 --owner web-2 --weight 5
      gossipreg policy set orders --instance orders-1 --maintenance "new disk"
    """
    wanted = [option for option in (shares, weight, maintenance) if option not in (None, ())]
    if len(wanted) != 1:
        raise click.UsageError("give one of --split, --weight and --maintenance")
    if (instance is None) == (not shares):
        raise click.UsageError("--instance goes with --weight and --maintenance, and they with it")
    if owner is not None and instance is None:
        raise click.UsageError("--owner goes with --instance")
    if by is not None and not shares:
        raise click.UsageError("--by goes with --split")
    if shares:
        rule: dict[str, Any] = {"split": _shares(shares), "by": by or "tag"}
    else:
        about = {"instance": instance} | ({} if owner is None else {"owner": owner})
        rule = about | ({"weight": weight} if weight is not None else {"maintenance": maintenance})
    put_policy(agent, {"service": service, **rule}, as_json=as_json)


@command("remove")
@click.argument("key", shell_complete=completion.policies)
@agent_options
def remove(agent: AgentClient, key: str, *, as_json: bool) -> None:
    """Remove a policy from every node, by the key that policy list shows.

    Examples:
      gossipreg policy remove split:orders
      gossipreg policy remove weight:orders:orders-1
    """
    remove_policy(agent, key, as_json=as_json)


policy = SectionedGroup(
    name="policy",
    help="""List, set and remove policies: splits, weights, maintenance.

    A policy is about a service or one of its instances. Any agent accepts one, every node obeys it within moments, and
    it outlives the node that set it. Of two about the same, the later counts.

    Examples:
      gossipreg policy list
      gossipreg policy set orders --split v1=90 --split v2=10
      gossipreg policy remove split:orders
    """,
    sections={"Commands": (list_, set_, remove)},
)


@command()
@click.argument("id", shell_complete=completion.ids)
@click.argument("weight", type=_WEIGHT, required=False)
@click.option(
    "--service",
    metavar="NAME",
    required=True,
    shell_complete=completion.services,
    help="The service that it is an instance of.",
)
@click.option(
    "--owner",
    metavar="NAME",
    shell_complete=completion.members,
    help="The member whose instance is meant, if several have one of that id.",
)
@click.option("--clear", is_flag=True, help="Use the owner's weight again.")
@agent_options
def weight(
    agent: AgentClient, id: str, weight: int | None, *, as_json: bool, service: str, owner: str | None, clear: bool
) -> None:
    """Change the weight of an instance of any node.

    A short form of policy set: every node obeys it within moments. 0 drains it.

    Examples:
      gossipreg weight orders-1 5 --service orders
      gossipreg weight orders-1 --clear --service orders
    """
    if clear == (weight is not None):
        raise click.UsageError("give either a weight or --clear")
    if clear:
        remove_policy(agent, key_of("weight", service, id, owner or ""), as_json=as_json)
    else:
        body = {"service": service, "instance": id, "weight": weight} | ({} if owner is None else {"owner": owner})
        put_policy(agent, body, as_json=as_json)


def put_policy(agent: AgentClient, body: Any, *, as_json: bool) -> None:
    """Set a policy, and show it as it is in force."""
    policy = agent.put("policies", body=body)
    show.write(show.policies({"policies": [policy]}), policy, as_json=as_json)
    hits = policy.get("hits")
    if hits == 0:
        show.note("no instance that it is about is known yet")
    elif hits is not None and hits > 1 and "instance" in policy:
        show.note(f"it is about {hits} instances of that id, of as many owners: name one with --owner NAME")


def remove_policy(agent: AgentClient, key: str, *, as_json: bool) -> None:
    """Remove a policy, and report that."""
    agent.delete("policies", key)
    show.say(f"removed {key}", {"removed": key}, as_json=as_json)


def _shares(texts: tuple[str, ...]) -> dict[str, int]:
    shares: dict[str, int] = {}
    for text in texts:
        label, _, share = text.rpartition("=")
        if not (label and share.isascii() and share.isdecimal()):
            raise click.BadParameter(f"{text!r} is not LABEL=SHARE, such as v1=90", param_hint="--split")
        if label in shares:
            raise click.BadParameter(f"{label!r} has two shares: give it one", param_hint="--split")
        shares[label] = int(share)
    return shares
