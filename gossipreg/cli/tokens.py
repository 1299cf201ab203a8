"""The commands about the tokens that the whole cluster knows: tokens list, create and revoke."""

from __future__ import annotations

from pathlib import Path

import click

from gossipreg.cli import completion, show
from gossipreg.cli.agent_options import agent_options
from gossipreg.cli.client import AgentClient
from gossipreg.cli.help_page import SectionedGroup, command


@command("list")
@agent_options
def list_(agent: AgentClient, *, as_json: bool) -> None:
    """List the tokens that the whole cluster knows, and those of this agent's tokens file. None is shown itself.

    Columns when piped, tab-separated, "-" for nothing:
      name, scopes, from, expires at (local time), accepted here, created by

    Examples:
      gossipreg tokens list
      gossipreg tokens list --json
    """
    document = agent.get("tokens")
    show.write(show.tokens(document), document, as_json=as_json)
    if not document["tokens"]:
        show.note("there are no tokens")


@command("create")
@click.argument("name", metavar="NAME")
@click.option(
    "--scope",
    "scopes",
    metavar="SCOPE[:SERVICE]",
    multiple=True,
    required=True,
    help="What it is for: read, write, policy or operator; of one service, or a pattern, after a colon. Repeatable.",
)
@click.option("--ttl", metavar="TIME", help="How long it is accepted, such as 720h. Default: until it is revoked.")
@click.option(
    "--out", metavar="FILE", type=click.Path(path_type=Path), help="Write it to a new file that only you can read."
)
@click.option("--sha256", metavar="HEX", help="The SHA-256 of a token that exists, in place of a new one.")
@agent_options
def create(
    agent: AgentClient,
    name: str,
    *,
    as_json: bool,
    scopes: tuple[str, ...],
    ttl: str | None,
    out: Path | None,
    sha256: str | None,
) -> None:
    """Make a token that every agent accepts which asks for tokens. The answer is the token, which is shown once.

    It is made here; only its SHA-256 is sent. Your own token has to be for all that the new one is for. One of the same
    name is replaced.

    Examples:
      gossipreg tokens create ci --scope write:orders --ttl 720h --out ci.token
      gossipreg tokens create grafana --scope read
    """
    import hashlib  # no other command needs them
    import secrets

    from gossipreg.cli.new_file import write_once

    if sha256 is not None and out is not None:
        raise click.UsageError("--out is for a new token: leave it out with --sha256")
    token = None if sha256 is not None else secrets.token_urlsafe(32)
    digest = sha256 if token is None else hashlib.sha256(token.encode("ascii")).hexdigest()
    if token is not None and out is not None:
        write_once(out, token)  # before any agent accepts it: it would be lost otherwise
    body = {"name": name, "token_sha256": digest, "scopes": list(scopes), **({} if ttl is None else {"ttl": ttl})}
    try:
        document = agent.put("tokens", body=body)
    except BaseException:
        if token is not None and out is not None:
            out.unlink(missing_ok=True)
        raise
    if token is None:
        show.say(f"token {name} created", document, as_json=as_json)
    elif out is None:
        show.say(token, document | {"token": token}, as_json=as_json)
    else:
        show.say(f"token {name} written to {out}", document | {"file": str(out)}, as_json=as_json)


@command("revoke")
@click.argument("name", metavar="NAME", shell_complete=completion.tokens)
@agent_options
def revoke(agent: AgentClient, name: str, *, as_json: bool) -> None:
    """Have no agent accept the token NAME any more.

    Examples:
      gossipreg tokens revoke ci
    """
    agent.delete("tokens", name)
    show.say(f"token {name} revoked", {"revoked": name}, as_json=as_json)


tokens = SectionedGroup(
    name="tokens",
    help="""List, create and revoke tokens that the whole cluster knows.

    An agent accepts them if it has a tokens file, and its gossip is sealed.

    Examples:
      gossipreg tokens list
      gossipreg tokens create ci --scope write:orders --ttl 720h
      gossipreg tokens revoke ci
    """,
    sections={"Commands": (list_, create, revoke)},
)
