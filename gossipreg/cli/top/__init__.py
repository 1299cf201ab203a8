"""The `top` command: shows the cluster on a live screen."""

from __future__ import annotations

import os
import sys
import time
from typing import Any, Final

from gossipreg.cli import show, tables
from gossipreg.cli.agent_options import agent_options
from gossipreg.cli.client import AgentClient
from gossipreg.cli.help_page import command

#: Least and longest time between two refreshes (seconds): ages grow even when nothing happens.
_FRAME: Final = 0.05
_TICK: Final = 1.0


@command()
@agent_options
def top(agent: AgentClient, *, as_json: bool) -> None:
    """Show the cluster as the agent sees it, on a live screen.

    What is wrong, with the reason, comes first. Then members with their status and for how long they have had it;
    services with the number of healthy instances, now and at the worst moment of each of the last seconds; and events.
    Ages and events go back an hour, as far as the agent remembers. The arrow keys scroll, Tab and Enter open a
    member or a service, / searches, s sorts, ? shows all keys; q or Ctrl-C ends it.

    Piped, or with --json, it writes the current state once. Columns, tab-separated:
      agent, name, state (alive, draining, isolated), cluster, reachable (0 to 1)
      member, name, status, address, zone
      service, name, healthy, instances

    Examples:
      gossipreg top
      gossipreg top --json
    """
    node, services = agent.get("node"), agent.get("services")
    if as_json or not sys.stdout.isatty() or show.console().is_dumb_terminal:
        document = {"node": node, **agent.get("members"), **services}
        show.write(_current_state(document), document, as_json=as_json)
    else:
        _live(agent, node, services["services"])


def _current_state(document: Any) -> tables.TextTable:
    node = document["node"]
    state = "isolated" if node["isolated"] else "draining" if node["draining"] else "alive"
    rows = [("agent", node["name"], state, node["cluster"], f"{node['reachable']:g}")]
    rows += [
        ("member", member["name"], show.state_of(member), member["address"], member["zone"])
        for member in document["members"]
    ]
    rows += [
        ("service", name, str(count["healthy"]), str(count["instances"]), "")
        for name, count in document["services"].items()
    ]
    return tables.TextTable(("what", "name", "state", "where", "more"), rows)


def _live(agent: AgentClient, node: Any, services: Any) -> None:
    import signal
    from select import select

    from rich.console import Group
    from rich.live import Live

    from gossipreg.cli.top.keys import keyboard
    from gossipreg.cli.top.layout import layout
    from gossipreg.cli.top.model import ScreenModel
    from gossipreg.cli.top.updater import ModelUpdater
    from gossipreg.cli.top.view import ScreenView

    model, view, console = ScreenModel(), ScreenView(), show.console()
    model.refresh(node, services, time.time())
    updater = ModelUpdater(agent, model)

    def draw() -> Group:
        size, plain = console.size, console.options.ascii_only
        with updater.lock:
            return Group(*layout(model, time.time(), size.width, size.height, plain=plain, view=view))

    signal.signal(signal.SIGWINCH, lambda *_: updater.notify())
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    with (
        keyboard() as keys,
        updater,
        Live(console=console, screen=True, auto_refresh=False, get_renderable=draw) as live,
    ):
        listening = [updater.wakeup] if keys is None else [updater.wakeup, keys]
        try:
            while True:
                updater.clear()
                if model.is_known:
                    live.refresh()
                drawn = time.monotonic()
                ready, _, _ = select(listening, [], [], _TICK)
                if keys is not None and keys in ready:
                    if not view.press(os.read(keys, 1024)):
                        return
                    updater.open(view.opened)
                time.sleep(max(0.0, _FRAME - (time.monotonic() - drawn)))
        except KeyboardInterrupt:
            return
