"""The commands `checks`, `heartbeat` and `maintenance`, and checks as a command line writes them."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import click

from gossipreg.check import read_checks
from gossipreg.cli import completion, show
from gossipreg.cli.agent_options import agent_options
from gossipreg.cli.client import AgentClient
from gossipreg.cli.help_page import command
from gossipreg.cli.policies import put_policy, remove_policy
from gossipreg.errors import ConfigError, InvalidInstance
from gossipreg.runtime.files import read_toml

_BOOLEANS: Final[Mapping[str, bool]] = {"true": True, "yes": True, "false": False, "no": False}


@command()
@click.argument("id", required=False, shell_complete=completion.own_ids)
@agent_options
def checks(agent: AgentClient, id: str | None, *, as_json: bool) -> None:
    """List the health checks that the agent runs.

    With ID, only those of that instance. Other nodes see only the health of an instance, and a reason.

    Columns when piped, tab-separated, "-" for nothing:
      instance, check, kind, health, flapping, since (seconds), runs, target, output

    Examples:
      gossipreg checks
      gossipreg checks orders-1 --json
    """
    document = agent.get("checks", *([] if id is None else [id]))
    show.write(show.checks(document), document, as_json=as_json)
    if not document["checks"]:
        show.note("this agent runs no checks" if id is None else f"{id} has no checks")
    elif any(check["output"] is None for check in document["checks"]):
        show.note("the output of checks is shown for a token with the scope checks")


@command()
@click.argument("id", shell_complete=completion.own_ids)
@click.option("--check", metavar="NAME", help="One check only.  [default: all that have a ttl]")
@click.option(
    "--health",
    type=click.Choice(["passing", "warning", "critical"]),
    default="passing",
    help="Its health.  [default: passing]",
)
@click.option("--note", metavar="TEXT", help="A few words for people.")
@agent_options
def heartbeat(agent: AgentClient, id: str, *, as_json: bool, check: str | None, health: str, note: str | None) -> None:
    """Report the health of an instance to its ttl checks.

    Examples:
      gossipreg heartbeat orders-1
      gossipreg heartbeat orders-1 --health warning --note "disk nearly full"
    """
    agent.put("heartbeats", id, check=check, health=health, note=note)
    show.say(f"{id} reports that it is {health}", {"instance": id, "health": health}, as_json=as_json)


@command()
@click.argument("id", shell_complete=completion.own_ids_or_of_service)
@click.option("--reason", metavar="TEXT", help="A few words that all nodes show.")
@click.option("--end", is_flag=True, help="End the maintenance.")
@click.option(
    "--service",
    metavar="NAME",
    shell_complete=completion.services,
    help="By a policy about this service, whichever node owns it.",
)
@agent_options
def maintenance(
    agent: AgentClient, id: str, *, as_json: bool, reason: str | None, end: bool, service: str | None
) -> None:
    """Take an instance out of all lookups, or end that.

    Its checks go on. It stays out over a restart of the agent, and when it is registered again. The answer is the
    instance, in the columns of lookup --all.

    This is for the agent's own instances. With --service it is a policy, which every node obeys, about an instance of
    any node; the answer is then in the columns of policy list. End each in the way it was begun.

    Examples:
      gossipreg maintenance orders-1 --reason "new disk"
      gossipreg maintenance orders-1 --end
      gossipreg maintenance orders-7 --service orders --reason "new disk"
    """
    if end and reason is not None:
        raise click.UsageError("--reason goes with the start of a maintenance, not with --end")
    if service is not None and end:
        return remove_policy(agent, f"maintenance:{service}:{id}", as_json=as_json)
    if service is not None:
        body = {"service": service, "instance": id, "maintenance": reason or ""}
        return put_policy(agent, body, as_json=as_json)
    instance = agent.delete("maintenance", id) if end else agent.put("maintenance", id, reason=reason or None)
    show.write(show.instances({"instances": [instance]}, reasons=True), instance, as_json=as_json)
    return show.show_note_on(instance) if end else None


def checks_given(texts: Sequence[str], file: Path | None) -> list[Any]:
    """The checks of ``--check`` and ``--checks``, as the HTTP API takes them. Raises ``click.BadParameter``."""
    given = [_written(text) for text in texts]
    hint = "--check"
    if file is not None:
        given, hint = given + _in_file(file), "--check and --checks" if given else f"--checks {file}"
    try:
        return [check.stated() for check in read_checks(given)]
    except InvalidInstance as error:
        raise click.BadParameter(str(error), param_hint=hint) from None


def _written(text: str) -> dict[str, Any]:
    """A check as a command line writes it: ``http=http://127.0.0.1:8080/health interval=500ms``."""
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise click.BadParameter(f"{text!r} cannot be read: {error}", param_hint="--check") from None
    return dict(_pairs(words, text))


def _pairs(words: Sequence[str], text: str) -> Iterator[tuple[str, Any]]:
    for word in words:
        key, equals, value = word.partition("=")
        if not (key and equals):
            raise click.BadParameter(
                f"{text!r} is not KIND=TARGET with further KEY=VALUE after spaces", param_hint="--check"
            )
        yield key, _value(key, value)


def _value(key: str, text: str) -> Any:
    """A value of the type that its key has; one that cannot be read stays text, for the check to refuse."""
    if key == "command":
        return shlex.split(text)
    if key in ("verify", "tls"):
        return _BOOLEANS.get(text, text)
    if key == "status":
        return [int(each) if each.isdecimal() else each for each in text.split(",")]
    if key in ("successes", "failures"):
        return int(text) if text.isdecimal() else text
    if key in ("interval", "timeout", "ttl", "deregister_after", "jitter"):
        with suppress(ValueError):
            return float(text)
    return text


def _in_file(file: Path) -> list[Any]:
    try:
        document = read_toml(file)
    except ConfigError as error:
        raise click.BadParameter(str(error), param_hint="--checks") from None
    found = document.get("checks")
    if not isinstance(found, list) or len(document) > 1:
        raise click.BadParameter(f"{file}: tables [[checks]] are expected, and nothing else", param_hint="--checks")
    return found
