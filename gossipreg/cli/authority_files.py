"""Options and files that the commands about an authority and its issuers share."""

from __future__ import annotations

import functools
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from gossipreg.errors import ConfigError, UnsafeFile

if TYPE_CHECKING:
    from gossipreg.authority import AuthorityKey

_Command = Callable[..., None]

PATH: Final = click.Path(path_type=Path)

#: One of the days that --days counts (seconds).
DAY_SECONDS: Final = 86_400


def out_option(what: str) -> Callable[[_Command], _Command]:
    """The option that names a new file for ``what``."""
    return click.option("--out", metavar="FILE", type=PATH, required=True, help=f"New file for {what}.")


AUTHORITY_OPTION = click.option(
    "--authority", metavar="FILE", type=PATH, required=True, help="The authority's key, as ca init wrote it."
)


def permit_options(*, otherwise: str, default: tuple[str, ...] = ()) -> Callable[[_Command], _Command]:
    """The options for what a certificate may say, of which each may be given several times.

    ``default``: the patterns of the command without an option; ``otherwise``: what they mean, for the help.
    """

    def pattern(option: str, to: str, **settings: Any) -> Callable[[_Command], _Command]:
        return click.option(f"--{option}", f"{option}s", metavar="NAME", multiple=True, **settings, help=to)

    options = (
        pattern("name", "A name that a node may have.", required=True),
        pattern("zone", f"A zone that it may be in.  [default: {otherwise}]", default=default),
        pattern("service", f"A service that it may offer.  [default: {otherwise}]", default=default),
        pattern("role", f"A role that it may claim.  [default: {otherwise}]", default=default),
        click.option(
            "--allow",
            "grants",
            type=click.Choice(("policies", "keys", "tokens", "forget")),
            multiple=True,
            help="What else: set policies and reset terms, change the gossip's keys, manage tokens, have members "
            "forgotten.",
        ),
    )
    return lambda command: functools.reduce(lambda made, option: option(made), reversed(options), command)


def days_option(of: str, default: int) -> Callable[[_Command], _Command]:
    """The option for how long ``of`` counts (days); the ``default`` is without it."""
    return click.option(
        "--days",
        metavar="N",
        type=click.IntRange(1, 3650),
        default=default,
        show_default=True,
        help=f"How long {of} counts.",
    )


def time_text(seconds: int) -> str:
    """A time (seconds since the epoch) in UTC."""
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")


def read_authority(path: Path) -> AuthorityKey:
    """The authority's key in a file. Raises `ConfigError`, and `UnsafeFile` if others can read it."""
    from gossipreg.authority import decode_authority_key

    return decode_authority_key(line_of(path, secret=True), where=str(path))


def line_of(path: Path, *, secret: bool = False, of_agent: bool = False) -> str:
    """The one document in a file. Raises `ConfigError`, and `UnsafeFile` if others can read a secret.

    ``of_agent``: an agent reads it, too, and root's may be for its group.
    """
    from gossipreg.authority import is_public, lines_of
    from gossipreg.runtime.files import read_file

    try:
        read = read_file(path)
        if secret and not is_public(read.content):  # else it is another file than is meant: its reader says which
            read.check_secret(of_agent=of_agent)
        text = read.content.decode("ascii")
    except UnsafeFile:
        raise
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path} is no file that gossipreg ca has written") from None
    lines = lines_of(text)
    if len(lines) != 1:
        raise ConfigError(f"{path} holds {len(lines)} documents, not one")
    return lines[0]
