"""The `credentials` command, and credentials as a file holds them."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import click

from gossipreg.cli import completion, show, tables
from gossipreg.cli.agent_options import agent_options
from gossipreg.cli.client import AgentClient
from gossipreg.cli.help_page import command
from gossipreg.errors import UnsafeFile
from gossipreg.json_documents import read_json
from gossipreg.runtime.files import read_secret

_HIDDEN: Final = "********"


@command()
@click.argument("id", shell_complete=completion.ids)
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
    help="The member that registered it, where several have that id.",
)
@click.option("--show", "shown", is_flag=True, help="Write the values, too; bystanders can then read them.")
@agent_options
def credentials(agent: AgentClient, id: str, *, as_json: bool, service: str, owner: str | None, shown: bool) -> None:
    """Show what a client needs to log in to an instance.

    The agent gives them only for a token with the scope "credentials", and must hold the credential key. Values are
    hidden unless --show asks for them; in JSON they are then null.

    Columns when piped, tab-separated:
      name, value

    Examples:
      gossipreg credentials db-1 --service db
      gossipreg credentials db-1 --service db --show --token-file token
    """
    document = agent.get("credentials", id, service=service, owner=owner)
    if not shown:
        document["credentials"] = dict.fromkeys(document["credentials"])
    rows = [(name, _HIDDEN if value is None else value) for name, value in document["credentials"].items()]
    show.write(tables.TextTable(("name", "value"), rows), document, as_json=as_json)


def credentials_in(file: Path) -> dict[str, str]:
    """The names and values in a TOML or JSON file. Raises ``click.BadParameter``; quotes nothing of the file."""
    import tomllib  # most commands read no file

    try:
        text = read_secret(file).decode()
        found = read_json(text) if text.lstrip().startswith("{") else tomllib.loads(text)
    except UnsafeFile:
        raise
    except OSError as error:
        raise _refused(f"cannot read {file}: {error.strerror}") from None
    except (ValueError, RecursionError):  # its message may quote a character of a password
        raise _refused(f'{file} is neither TOML nor JSON: write user = "...", one a line') from None
    if not found or not all(isinstance(value, str) for value in found.values()):
        raise _refused(f'{file} holds something else than names with strings: write user = "...", one a line')
    return dict(found)


def _refused(sentence: str) -> click.BadParameter:
    return click.BadParameter(sentence, param_hint="--credentials-file")
