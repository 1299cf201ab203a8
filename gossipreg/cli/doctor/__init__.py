"""The `doctor` command: finds the commonest mistakes around a running agent, and says what to do about each."""

from __future__ import annotations

import json
import sys
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import attrs
import click

from gossipreg.cli.agent_options import agent_options, duration
from gossipreg.cli.client import AgentClient
from gossipreg.cli.help_page import command

#: The width of the text (characters): that of the narrowest usual terminal.
_WIDTH: Final = 80


@command()
@click.option(
    "--config",
    "file",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="The agent's configuration file, to look at what it names.",
)
@click.option(
    "--watch",
    "watch",
    metavar="TIME",
    type=duration,
    default="1s",
    show_default=True,
    help="How long to watch the counters that should not rise.",
)
@agent_options
def doctor(agent: AgentClient, file: Path | None, watch: float, *, as_json: bool) -> None:
    """Find what is wrong with the agent and its host, and what to do.

    It asks the agent what it reports, and looks at this host if the agent runs here. It changes nothing. An agent that
    does not answer is a finding, too. A token, if one is needed, should have the scopes read, checks and operator.

    Each finding says what is wrong, why the doctor thinks so, and what to do. With FILE it also looks at the files,
    directories and certificates that the configuration names: run it as root or as the agent's user then.

    Exit status: 0 nothing is wrong, though there may be notes; 1 something is; 2 wrong usage.

    Examples:
      gossipreg doctor
      gossipreg doctor --config /etc/gossipreg/agent.toml
      gossipreg doctor --http 10.0.0.6:8500 --watch 30s --json
    """
    from gossipreg.cli.doctor.findings import Severity
    from gossipreg.cli.doctor.gather import gather
    from gossipreg.cli.doctor.rules import RULES, examine

    facts = attrs.evolve(gather(agent, file, watch), agent_options=_options(agent))
    findings = examine(facts)
    name = facts.node.get("name")
    if as_json:
        document = {
            "agent": facts.agent,
            "name": name,
            "rules": len(RULES),
            "findings": [_document(each, facts.agent_options) for each in findings],
        }
        print(json.dumps(document, indent=2))
    else:
        about = f"the agent at {facts.agent}" if name is None else f"{name} at {facts.agent}"
        print("\n".join(text(about, findings, facts.agent_options)))
    if any(each.severity is not Severity.NOTE for each in findings):
        sys.stdout.flush()
        sys.exit(1)


def _options(agent: AgentClient) -> tuple[str, ...]:
    """The options with which any command asks ``agent``, as far as the environment does not say so already."""
    from gossipreg.cli.agent_options import ADDRESS_VARIABLES
    from gossipreg.cli.declare import from_environment
    from gossipreg.hosts import DEFAULT_HTTP

    usual = AgentClient.at(from_environment(ADDRESS_VARIABLES) or DEFAULT_HTTP)
    same = (usual.address, usual.is_tls) == (agent.address, agent.is_tls)
    where = f"https://{agent.address}" if agent.is_tls else str(agent.address)
    token = () if agent.token_file is None else ("--token-file", str(agent.token_file))
    return (*(() if same else ("--http", where)), *token)


def _document(finding: Any, agent_options: tuple[str, ...]) -> dict[str, Any]:
    return {
        "rule": finding.rule,
        "severity": str(finding.severity),
        "what": finding.what,
        "why": list(finding.why),
        "do": finding.do,
        "run": finding.command(agent_options) or None,
    }


def text(about: str, findings: Sequence[Any], agent_options: tuple[str, ...] = ()) -> Iterator[str]:
    """The report in lines of at most 80 characters, but for what cannot be broken: words, and commands.

    ``agent_options``: those with which a command asks the same agent.
    """
    from gossipreg.text import escaped

    if not findings:
        yield f"nothing wrong found: {escaped(about)}"
        return
    many = f"{len(findings)} finding{'' if len(findings) == 1 else 's'}"
    yield f"{many}: {escaped(about)}"
    for each in findings:
        yield ""
        yield from _wrapped(f"{each.severity}: ", f"{escaped(each.what)} [{each.rule}]", indent="  ")
        for line in each.why:
            yield from _wrapped("  why: ", escaped(line))
        yield from _wrapped("  do:  ", escaped(each.do))
        if command := each.command(agent_options):
            yield f"  run: {escaped(command)}"


def _wrapped(head: str, said: str, indent: str = "       ") -> list[str]:
    return textwrap.wrap(head + said, _WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
