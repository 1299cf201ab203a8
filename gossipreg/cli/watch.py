"""The `watch` command: prints the events of the cluster."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import click

from gossipreg.cli import completion, show
from gossipreg.cli.agent_options import agent_options
from gossipreg.cli.client import AgentClient
from gossipreg.cli.help_page import command
from gossipreg.cli.time_format import utc
from gossipreg.errors import AgentUnreachable

#: First and longest wait before an agent that went away is tried again (seconds); each wait doubles the last.
_WAIT, _WAIT_MAX = 0.1, 5.0


@command()
@click.argument("name", required=False, shell_complete=completion.services)
@agent_options
def watch(agent: AgentClient, name: str | None, *, as_json: bool) -> None:
    """Print what happens in the cluster, until Ctrl-C.

    With NAME, only events of that service. First come all present members and instances (events instance-present and
    member-present), then each change: instance-added, -changed, -removed, role-contested, -settled, member-joined,
    -suspect, -alive, -failed, -left, and node-isolated, -heard: whether the agent itself hears others. If the agent
    goes away, watch says so on standard error, reconnects by itself, and starts with what is present then.

    Columns when piped, tab-separated, "-" for nothing:
      time, event, id or name, state, address, service, owner, weight

    With --json each line is an object with time, event and data.

    Examples:
      gossipreg watch
      gossipreg watch orders
      gossipreg watch orders --json
    """
    try:
        for event, data in _always(agent, name):
            for line in _each(event, data):
                _write(*line, as_json=as_json)
    except KeyboardInterrupt:
        return


def _always(agent: AgentClient, service: str | None) -> Iterator[tuple[str, Any]]:
    """The agent's events, over one stream after another. Raises ``AgentUnreachable`` if the first one fails."""
    known, wait = False, _WAIT
    while True:
        try:
            for event in agent.events(service):
                if known and wait != _WAIT:
                    show.note(f"{agent.address} answers again")
                known, wait = True, _WAIT
                yield event
        except AgentUnreachable:
            if not known:
                raise
        if wait == _WAIT:
            show.note(f"lost {agent.address}: trying again until it answers")
        time.sleep(wait)
        wait = min(2 * wait, _WAIT_MAX)


def _each(event: str, data: Any) -> Iterator[tuple[str, Any]]:
    """The events with one subject each that make up an event."""
    if event == "snapshot":
        yield from (("member-present", member) for member in data["members"])
        yield from (("instance-present", instance) for instance in data["instances"])
    else:
        yield event, data


def _write(event: str, data: Any, *, as_json: bool) -> None:
    if as_json:
        print(json.dumps({"time": utc(time.time()), "event": event, "data": data}), flush=True)
    else:
        show.write_event(event, data)
