"""Options that commands about a running agent share: its address, the token, and the form of the answer."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Final, TypeVar

from gossipreg.cli import show
from gossipreg.cli.agent_token import TOKEN_VARIABLE, read_token
from gossipreg.cli.client import AgentClient
from gossipreg.cli.declare import bad_parameter, option, path
from gossipreg.hosts import DEFAULT_HTTP

_Command = TypeVar("_Command", bound=Callable[..., Any])

#: The variables that name the agent, the first that is set.
ADDRESS_VARIABLES: Final = ("GOSSIPREG_AGENT", "GOSSIPREG_HTTP")

_address_option = option(
    "--http",
    "--agent",
    "agent",
    metavar="HOST:PORT",
    envvar=ADDRESS_VARIABLES,
    default=DEFAULT_HTTP,
    show_default=True,
    callback=lambda _context, _parameter, text: AgentClient.at(text),
    help="The agent to ask; also http://HOST:PORT, https://HOST:PORT or unix:/path.  "
    "[env: GOSSIPREG_AGENT, GOSSIPREG_HTTP]",
)

token_file = option(
    "--token-file",
    metavar="FILE",
    type=path(),
    help=f"File with the token, if the agent requires one.  [env: {TOKEN_VARIABLE}, the token itself]",
)

as_json = option("--json", "as_json", is_flag=True, help="Answer with one JSON document.")


def duration(text: str) -> float:
    """The type of options that take a duration: a number of seconds, or numbers with units such as ``500ms``."""
    from gossipreg.durations import parse_seconds

    seconds = parse_seconds(text)
    if seconds is None:
        raise bad_parameter(f"{text!r} is not a number of seconds, nor one with a unit such as 500ms")
    return seconds


def agent_option(command: _Command) -> _Command:
    """Give a command ``--http`` and ``--token-file``, as its one parameter ``agent``."""

    @functools.wraps(command)
    def with_agent(*arguments: Any, agent: AgentClient, **options: Any) -> Any:
        file = options.pop("token_file")
        return command(*arguments, agent=agent._replace(token=read_token(file), token_file=file), **options)

    return _address_option(token_file(with_agent))  # type: ignore[return-value]  # `wraps` changes its type


def agent_options(command: _Command) -> _Command:
    """Give a command ``--http``, ``--token-file`` and ``--json``, as its parameters ``agent`` and ``as_json``."""
    return agent_option(as_json(command))


def note_isolation(agent: AgentClient, document: Any) -> None:
    """Note on standard error that the answer may be stale, if the agent hears no other member."""
    if document.get("isolated"):
        silence = agent.get("node").get("silence", 0.0)
        show.note(f"{agent.address} hears no other member since {silence:.0f} s: the answer may be stale")
