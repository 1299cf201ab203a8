"""The agent of another member: found on its host, at the port at which the agent that is asked first listens."""

from __future__ import annotations

from gossipreg.address import Address
from gossipreg.cli.client import AgentClient
from gossipreg.errors import AgentUnreachable, UnknownMember
from gossipreg.hosts import DEFAULT_HTTP
from gossipreg.text import nearest


def agent_of(agent: AgentClient, owner: str, command: str) -> AgentClient:
    """The agent of the member ``owner``, as the members that ``agent`` knows say where it is.

    No member says where its HTTP listener is, so the agent found there is asked for its name. It gets the token that
    ``agent`` gets. Raises ``UnknownMember``, and ``AgentUnreachable`` with what to do: to run ``command`` there.
    """
    if agent.get("node")["name"] == owner:
        return agent
    members = {member["name"]: member for member in agent.lookup("members", all_cells="true")["members"]}
    if owner not in members:
        meant = nearest(owner, members)
        remedy = f"did you mean {meant}?" if meant else "see `gossipreg members`"
        raise UnknownMember(f"no member is called {owner}: {remedy}")
    host = Address.parse(members[owner]["address"], any_host=True).host
    port = agent.address.port if isinstance(agent.address, Address) else Address.parse(DEFAULT_HTTP).port
    found = agent._replace(address=Address(host, port))
    try:
        name = found.get("node")["name"]
    except AgentUnreachable:
        name = None
    if name == owner:
        return found
    there = "no agent answers" if name is None else f"the agent of {name} answers"
    raise AgentUnreachable(
        f"{there} at {found.address}, where that of {owner} may be: run `{command}` on its host, or pass its --http"
    )
