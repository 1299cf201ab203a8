"""The commands about issuers: agents that sign certificates in the place of the authority. None asks an agent."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Final

import click

from gossipreg.cli import show
from gossipreg.cli.agent_options import as_json
from gossipreg.cli.authority_files import (
    AUTHORITY_OPTION,
    DAY_SECONDS,
    PATH,
    days_option,
    line_of,
    out_option,
    permit_options,
    read_authority,
    time_text,
)
from gossipreg.cli.help_page import command
from gossipreg.cli.new_file import write_once
from gossipreg.durations import parse_duration
from gossipreg.errors import ConfigError

#: Longest time for which an issuer may be allowed to give a certificate (seconds).
_LIFETIME_SECONDS_MAX: Final = 3650 * DAY_SECONDS


@command("delegate")
@click.argument("public", metavar="PUBLIC", type=PATH)
@AUTHORITY_OPTION
@out_option("the delegation: a line for the authority_file of every agent")
@click.option("--agent", metavar="NAME", required=True, help="The member that has the key: the one issuer by it.")
@permit_options(otherwise="any", default=("*",))
@click.option("--lifetime", metavar="TIME", default="24h", show_default=True, help="How long a certificate counts.")
@days_option("the delegation", 365)
@as_json
def delegate(
    public: Path,
    *,
    authority: Path,
    out: Path,
    agent: str,
    lifetime: str,
    days: int,
    as_json: bool,
    **permitted: tuple[str, ...],
) -> None:
    """Let the agent whose issuer's key has its public part in PUBLIC sign certificates, within limits.

    Every agent needs the delegation, as a further line of its authority_file: it believes no certificate of the issuer
    that goes beyond it. Its revocation, by ca revoke, is one of every certificate that the issuer has signed.

    Examples:
      gossipreg ca request --out issuer.key
      gossipreg ca delegate issuer.key.pub --authority authority.key --agent ops-1 --name "web-*" --out i.delegation
    """
    from gossipreg.authority import DELEGATION, PUBLIC_KEY, decode_key, encode
    from gossipreg.signed_document import authority_id

    by, now = read_authority(authority), int(time.time())
    made = by.delegate(
        decode_key(PUBLIC_KEY, line_of(public), where=str(public)),
        agent=agent,
        **permitted,
        not_before=now,
        not_after=now + days * DAY_SECONDS,
        lifetime=_seconds("--lifetime", lifetime, _LIFETIME_SECONDS_MAX),
    )
    write_once(out, encode(DELEGATION, made.data), secret=False)
    until, issuer = time_text(made.not_after), authority_id(made.public)
    show.say(
        f"delegation {made.serial_text} for issuer {issuer} ({agent}) until {until} written to {out}",
        {"serial": made.serial_text, "issuer": issuer, "agent": agent, "until": until, "file": str(out)},
        as_json=as_json,
    )


@command("token")
@click.option("--issuer", metavar="FILE", type=PATH, required=True, help="The issuer's key, as ca request wrote it.")
@click.option(
    "--authorities", metavar="FILE", type=PATH, required=True, help="The authority_file, with the issuer's delegation."
)
@out_option("the token, for join_token_file; it is secret")
@permit_options(otherwise="all that the delegation allows")
@click.option("--lifetime", metavar="TIME", help="How long a certificate counts.  [default: the longest allowed]")
@click.option("--uses", metavar="N", type=int, default=1, show_default=True, help="How many nodes it is for.")
@click.option("--ttl", metavar="TIME", default="1h", show_default=True, help="How long it can be used, up to 720h.")
@as_json
def token(
    issuer: Path,
    *,
    authorities: Path,
    out: Path,
    lifetime: str | None,
    uses: int,
    ttl: str,
    as_json: bool,
    **permitted: tuple[str, ...],
) -> None:
    """Make a join token: a new node that has it gets its certificate from the issuer, by itself, when it starts.

    Only the agent with this issuer's key honours it. A certificate is for the one name that its node has, which has to
    match a --name, and may say no more than the issuer's delegation allows.

    Examples:
      gossipreg ca token --issuer issuer.key --authorities authorities --name "web-*" --out web.token
      gossipreg ca token --issuer issuer.key --authorities authorities --name "web-*" --uses 50 --out web.token
    """
    from gossipreg import limits
    from gossipreg.authority import NODE_KEY, decode_key
    from gossipreg.join_tokens import JoinToken
    from gossipreg.runtime.identity_files import read_authorities
    from gossipreg.signatures import SigningKey

    key = SigningKey(decode_key(NODE_KEY, line_of(issuer, secret=True, of_agent=True), where=str(issuer)))
    known, _ = read_authorities("--authorities", authorities, None)
    delegation = next((each.delegation for each in known if each.public == key.public and each.delegation), None)
    if delegation is None:
        raise ConfigError(
            f"--authorities {authorities}: it has no delegation for {issuer}: add the line of `ca delegate`"
        )
    permitted.update({what: permitted[what] or getattr(delegation, what) for what in ("zones", "services", "roles")})
    made = JoinToken.make(
        key,
        delegation,
        **permitted,
        lifetime=delegation.lifetime if lifetime is None else _seconds("--lifetime", lifetime, _LIFETIME_SECONDS_MAX),
        uses=uses,
        expires=int(time.time()) + _seconds("--ttl", ttl, limits.JOIN_TOKEN_SECONDS_MAX),
    )
    write_once(out, made.encoded())
    expires = time_text(made.expires)
    show.say(
        f"join token {made.serial_text} for {', '.join(made.names)}, {uses} use{'s' if uses > 1 else ''} "
        f"until {expires} written to {out}",
        {"serial": made.serial_text, "names": list(made.names), "uses": uses, "expires": expires, "file": str(out)},
        as_json=as_json,
    )


def _seconds(option: str, text: str, most: int) -> int:
    seconds = parse_duration(text)
    if seconds is None or not 1 <= seconds <= most:
        raise ConfigError(f"{option}: a time of 1s to {most // 3600}h is expected, such as 24h")
    return int(seconds)
