"""The commands `members`, `cells`, `info`, `join`, `drain`, `forget` and `leave`."""

from __future__ import annotations

from gossipreg import limits
from gossipreg.cli import show
from gossipreg.cli.agent_options import agent_options, note_isolation
from gossipreg.cli.client import PATIENCE, AgentClient
from gossipreg.cli.declare import argument, command, completes, option


@command()
@option("--all-cells", is_flag=True, help="Those of all cells of the region.")
@agent_options
def members(agent: AgentClient, *, all_cells: bool, as_json: bool) -> None:
    """List the members of the cluster.

    Columns when piped, tab-separated, "-" for nothing:
      name, address, status (alive, suspect, failed, left), zone, started,
      incarnation, draining, version of gossipreg, version of the protocol;
      with --all-cells: cell, and whether it is heard (fresh, stale);
      if the agent has an identity: ready (whether a node that requires
      identity believes the member), until (when its certificate ends,
      UTC), authority (that has signed it)

    The members are asked for their versions; one that does not answer has
    none, nor has one of another cell. A terminal that is too narrow shows no incarnation, no protocol,
    no authority and no start.

    Examples:
      gossipreg members
      gossipreg members --json
      gossipreg members --all-cells
      gossipreg members | cut -f1,3
    """
    document = agent.lookup("members", versions="true", **({"all_cells": "true"} if all_cells else {}))
    show.write(show.members(document), document, as_json=as_json)
    note_isolation(agent, document)


@command()
@agent_options
def cells(agent: AgentClient, *, as_json: bool) -> None:
    """List the cells of the region, the agent's own first.

    Columns when piped, tab-separated, "-" for nothing:
      name, members, failed, instances, age in seconds, state (own, fresh,
      stale), relays of the agent's cell, addresses of the relays there

    A terminal that is too narrow shows no addresses and no relays.
    A flat cluster has no cells.

    Examples:
      gossipreg cells
      gossipreg cells --json
    """
    document = agent.get("cells")
    show.write(show.cells(document), document, as_json=as_json)


@command()
@agent_options
def info(agent: AgentClient, *, as_json: bool) -> None:
    """Show what the agent reports about itself, and its counters.

    Piped, each line is a name and a value with a tab between. Counters at 0
    are left out.

    Examples:
      gossipreg info
      gossipreg info --http 10.0.0.5:8500 --json
    """
    document = agent.get("node")
    show.write(show.facts(document), document, as_json=as_json)


@command()
@argument("seeds", metavar="ADDRESS...", nargs=-1, required=True)
@agent_options
def join(agent: AgentClient, seeds: tuple[str, ...], *, as_json: bool) -> None:
    """Join other members, so that two clusters become one.

    ADDRESS is that of any member, HOST or HOST:PORT. Each is tried once, several may be
    given with commas; the command returns when the states have been
    compared. Both clusters need one name and one key. The status is 1 if none was joined.

    Examples:
      gossipreg join 10.0.0.6
      gossipreg join web-7.example.com:7940 10.0.0.7
    """
    patient = agent._replace(patience=limits.JOIN_REQUEST_SECONDS + PATIENCE)
    wanted = [part.strip() for seed in seeds for part in seed.split(",") if part.strip()]
    answer = patient.post("join", body={"seeds": wanted})
    show.say(f"joined {', '.join(answer['joined'])}", answer, as_json=as_json)
    for seed, failure in answer["failures"].items():
        show.note(f"not joined: {seed}: {failure['detail']}")


@command()
@option("--end", is_flag=True, help="Ask for work again.")
@agent_options
def drain(agent: AgentClient, *, as_json: bool, end: bool) -> None:
    """Stop new work for the instances of this agent.

    All of them weigh 0 on every node within moments; work in progress goes on. The agent itself stays a member and
    answers as before. With a data directory it still drains after a restart.

    Examples:
      gossipreg drain
      gossipreg drain --end
    """
    name = agent.get("node")["name"]
    answer = agent.delete("drain") if end else agent.put("drain")
    sentence = f"{name} takes work again" if end else f"{name} drains: its instances get no new work"
    show.say(sentence, answer, as_json=as_json)


@command()
@argument("name", shell_complete=completes("failed_members"))
@agent_options
def forget(agent: AgentClient, name: str, *, as_json: bool) -> None:
    """Forget a member that failed and will not come back.

    It is gone from every node at once, with its instances; otherwise it would be remembered, and tried again, for a
    day. One that is alive or suspect is refused. A member that lives after all, behind a split, is back when it is
    heard.

    Examples:
      gossipreg forget web-3
    """
    agent.delete("members", name)
    show.say(f"forgot {name}", {"forgotten": name}, as_json=as_json)


@command()
@agent_options
def leave(agent: AgentClient, *, as_json: bool) -> None:
    """Make the agent drain, leave the cluster and stop.

    Returns as soon as the agent has accepted; it stops about a second later.

    Examples:
      gossipreg leave
      gossipreg leave --http 127.0.0.1:8501
    """
    name = agent.get("node")["name"]
    agent.post("leave")
    show.say(f"{name} is leaving", {"leaving": name}, as_json=as_json)
