"""Sections: the commands of `gossipreg` under the headings of its help page, and the module that has each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from gossipreg.cli.declare import CommandName

#: The commands under the headings of the help page, and the modules that have them. A command line imports its own:
#: most of the others bring more than asking an agent takes.
SECTIONS: Final[Mapping[str, Sequence[CommandName]]] = {
    "Run": (
        CommandName("agent", "gossipreg.cli.agent"),
        CommandName("proxy", "gossipreg.cli.proxy"),
        CommandName("render", "gossipreg.cli.render"),
        CommandName("migrate", "gossipreg.cli.migrate"),
        CommandName("demo", "gossipreg.cli.demo"),
        CommandName("keygen", "gossipreg.cli.keygen"),
        CommandName("ca", "gossipreg.cli.authority"),
        CommandName("manual", "gossipreg.cli.manual"),
    ),
    "Ask the agent": (
        CommandName("lookup", "gossipreg.cli.services"),
        CommandName("services", "gossipreg.cli.services"),
        CommandName("checks", "gossipreg.cli.checks"),
        CommandName("credentials", "gossipreg.cli.credentials"),
        CommandName("members", "gossipreg.cli.members"),
        CommandName("cells", "gossipreg.cli.members"),
        CommandName("top", "gossipreg.cli.top"),
        CommandName("watch", "gossipreg.cli.watch"),
        CommandName("info", "gossipreg.cli.members"),
        CommandName("doctor", "gossipreg.cli.doctor"),
        CommandName("debug", "gossipreg.cli.debug"),
    ),
    "Tell the agent": (
        CommandName("register", "gossipreg.cli.services"),
        CommandName("deregister", "gossipreg.cli.services"),
        CommandName("heartbeat", "gossipreg.cli.checks"),
        CommandName("maintenance", "gossipreg.cli.checks"),
        CommandName("weight", "gossipreg.cli.policies"),
        CommandName("policy", "gossipreg.cli.policies"),
        CommandName("role", "gossipreg.cli.roles"),
        CommandName("keys", "gossipreg.cli.keys"),
        CommandName("tokens", "gossipreg.cli.tokens"),
        CommandName("join", "gossipreg.cli.members"),
        CommandName("drain", "gossipreg.cli.members"),
        CommandName("forget", "gossipreg.cli.members"),
        CommandName("leave", "gossipreg.cli.members"),
    ),
    "Try it out": (CommandName("sim", "gossipreg.cli.sim"),),
}
