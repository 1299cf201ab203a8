"""The commands about the keys that seal the gossip: keys list, add, use and remove."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from gossipreg import limits
from gossipreg.cli import completion, show
from gossipreg.cli.agent_options import agent_options
from gossipreg.cli.client import AgentClient
from gossipreg.cli.help_page import SectionedGroup, command
from gossipreg.errors import ConfigError


@command("list")
@agent_options
def list_(agent: AgentClient, *, as_json: bool) -> None:
    """List the keys that seal the gossip by their ids, with how many members hold and use each.

    Keys themselves are never shown. A member uses a key if it seals with it; one that is not primary is only opened
    with, until it is given up. With identity, a note says which members do not sign what they
    state, and which policies are not signed.

    Columns when piped, tab-separated, "-" for nothing:
      id, primary, held by, used by, given up at (local time), not held by

    Examples:
      gossipreg keys list
      gossipreg keys list --json
    """
    document = agent.get("keys")
    show.write(show.keys(document), document, as_json=as_json)
    if not document["keys"]:
        show.note("the gossip is in clear: there is no key")
    _note_identity(document.get("identity"))


def _note_identity(identity: dict[str, Any] | None) -> None:
    """Tell whether members have to sign what they state; an agent of an earlier release does not say."""
    if identity is None:
        return
    not_ready = f"; not ready for `require`: {', '.join(identity['not_ready'])}" if identity["not_ready"] else ""
    unsigned = identity.get("unsigned_policies")
    policies = f"; policies that are not signed: {', '.join(unsigned)}" if unsigned else ""
    show.note(f"identity is `{identity['mode']}`{not_ready}{policies}")


@command("add")
@click.argument("file", type=click.Path(path_type=Path))
@agent_options
def add(agent: AgentClient, file: Path, *, as_json: bool) -> None:
    """Have every member hold the key in FILE, too, beside those so far. The answer is its id.

    The key travels to the members sealed with the present primary key. If that one may have leaked, put the new key
    into the key file of every host instead, and have each agent read it again by SIGHUP.

    Examples:
      gossipreg keygen --out new.key && gossipreg keys add new.key
    """
    from gossipreg.key_format import encode_key
    from gossipreg.runtime.key_files import read_key_file

    found = read_key_file("keys add", file, limits.GOSSIP_KEYS_MAX, of_agent=True)
    if len(found) > 1:
        raise ConfigError(f"keys add {file}: it holds {len(found)} keys: put the one to add into its own file")
    document = agent.put("keys", body={"key": encode_key(found[0])})
    show.say(f"key {document['id']} added", document, as_json=as_json)


@command("use")
@click.argument("id", metavar="ID", shell_complete=completion.keys)
@click.option(
    "--keep",
    metavar="TIME",
    default="72h",
    show_default=True,
    help="How long every other key is held, for hosts that are off now.",
)
@click.option("--force", is_flag=True, help="Also if members do not hold it: they are cut off.")
@agent_options
def use(agent: AgentClient, id: str, *, as_json: bool, keep: str, force: bool) -> None:
    """Have every member seal with the key ID, which all must hold. The answer is the keys, as of keys list.

    Every other key stays held for a while, so that a host that is off now can come back with the key so far, and learns
    the new one then. After that its key file has to hold the new key.

    Examples:
      gossipreg keys use 1f2e3d4c
      gossipreg keys use 1f2e3d4c --keep 0s
    """
    document = agent.put("primary_key", body={"id": id, "keep": keep, "force": force})
    show.write(show.keys(document), document, as_json=as_json)


@command("remove")
@click.argument("id", metavar="ID", shell_complete=completion.keys)
@agent_options
def remove(agent: AgentClient, id: str, *, as_json: bool) -> None:
    """Have every member give up the key ID at once, also where a key file still holds it.

    Refused while a member seals with it.

    Examples:
      gossipreg keys remove 0a1b2c3d
    """
    agent.delete("keys", id)
    show.say(f"key {id} removed", {"removed": id}, as_json=as_json)


keys = SectionedGroup(
    name="keys",
    help="""List and replace the keys that seal the gossip.

    To replace a key while the cluster runs: add the new one, use it, remove the old one. Each step is refused while it
    would cut off a member.

    Examples:
      gossipreg keys list
      gossipreg keys add new.key
      gossipreg keys use 1f2e3d4c
      gossipreg keys remove 0a1b2c3d
    """,
    sections={"Commands": (list_, add, use, remove)},
)
