"""Completion: what a shell offers for a name that is being typed, from a running agent with a short time limit.

An agent that does not answer in time, or wants a token, completes nothing: a shell must not hang or show an error.
"""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import click

from gossipreg.cli.agent_token import read_token
from gossipreg.cli.client import AgentClient
from gossipreg.hosts import DEFAULT_HTTP

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

#: How long all requests for one completion may take (seconds): a person who has pressed a key waits for it.
PATIENCE: Final = 0.5

#: A word that no shell reads as anything else, nor the scripts that click makes for them.
_PLAIN: Final = re.compile(r"[A-Za-z0-9._:@%/+=-]+")

#: Proposes words, with a few words about each.
_Proposals = Callable[[AgentClient, click.Context], Iterator[tuple[str, str]]]


def _completes(propose: _Proposals) -> Callable[[click.Context, click.Parameter, str], list[CompletionItem]]:
    """What click calls, made of the proposals: those that begin with what was typed, and came in time."""

    def complete(context: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem]:
        from click.shell_completion import CompletionItem  # imported by no other command

        found: dict[str, str] = {}

        def collect() -> None:
            with suppress(Exception):  # no agent, no token, another program at its address: there is nothing to offer
                for word, about in propose(_agent(context), context):
                    found.setdefault(word, about)

        thread = threading.Thread(target=collect, daemon=True)  # one that still waits does not keep the process
        thread.start()
        thread.join(PATIENCE)
        offered = sorted(found.copy().items())
        return [CompletionItem(word, help=about) for word, about in offered if _fits(word, incomplete)]

    return complete


def _fits(word: str, incomplete: str) -> bool:
    """Whether a word continues what was typed, and can stand on a command line as it is."""
    return word.startswith(incomplete) and _PLAIN.fullmatch(word) is not None


def _agent(context: click.Context) -> AgentClient:
    """The agent that the command line names so far, with its token."""
    given = context.params.get("agent")
    named = os.environ.get("GOSSIPREG_AGENT") or os.environ.get("GOSSIPREG_HTTP") or DEFAULT_HTTP
    agent = given if isinstance(given, AgentClient) else AgentClient.at(named)
    return agent._replace(token=read_token(context.params.get("token_file")), patience=PATIENCE)


def instances_of(agent: AgentClient, service: str | None, seconds: float) -> Iterator[dict[str, Any]]:
    """All instances of a service, or of every one, as far as they come within ``seconds``."""
    until = time.monotonic() + seconds
    for name in [service] if service is not None else list(agent.get("services")["services"]):
        if time.monotonic() > until:
            return
        yield from agent.get("services", name, all="true")["instances"]


def _services(agent: AgentClient, _: click.Context) -> Iterator[tuple[str, str]]:
    for name, count in agent.get("services")["services"].items():
        yield name, f"{count['healthy']}/{count['instances']} healthy"


def _own_instances(agent: AgentClient, context: click.Context) -> Iterator[tuple[str, str]]:
    owner = context.params.get("owner") or agent.get("node")["name"]
    for each in instances_of(agent, None, PATIENCE):
        if each["owner"] == owner:
            yield each["id"], f"{each['service']} {each['health']}"


def _instances(agent: AgentClient, context: click.Context) -> Iterator[tuple[str, str]]:
    for each in instances_of(agent, context.params.get("service"), PATIENCE):
        yield each["id"], f"{each['service']} of {each['owner']}"


def _own_or_all(agent: AgentClient, context: click.Context) -> Iterator[tuple[str, str]]:
    """Of all nodes where the command line names a service."""
    yield from (_instances if context.params.get("service") else _own_instances)(agent, context)


def _members(agent: AgentClient, _: click.Context) -> Iterator[tuple[str, str]]:
    for member in agent.get("members")["members"]:
        yield member["name"], member["status"]


def _failed_members(agent: AgentClient, _: click.Context) -> Iterator[tuple[str, str]]:
    for member in agent.get("members")["members"]:
        if member["status"] == "failed":
            yield member["name"], member["address"]


def _policies(agent: AgentClient, _: click.Context) -> Iterator[tuple[str, str]]:
    for policy in agent.get("policies")["policies"]:
        yield policy["key"], policy["kind"]


def _keys(agent: AgentClient, _: click.Context) -> Iterator[tuple[str, str]]:
    for key in agent.get("keys")["keys"]:
        yield key["id"], "primary" if key["primary"] else f"held by {key['held_by']}"


def _tokens(agent: AgentClient, _: click.Context) -> Iterator[tuple[str, str]]:
    for token in agent.get("tokens")["tokens"]:
        if token["from"] == "cluster":
            yield token["name"], ", ".join(token["scopes"])


def _roles(agent: AgentClient, _: click.Context) -> Iterator[tuple[str, str]]:
    for role in agent.get("roles")["roles"]:
        yield role["service"], f"term {role['claimed']}"


services = _completes(_services)
own_ids = _completes(_own_instances)
ids = _completes(_instances)
own_ids_or_of_service = _completes(_own_or_all)
members = _completes(_members)
failed_members = _completes(_failed_members)
policies = _completes(_policies)
keys = _completes(_keys)
tokens = _completes(_tokens)
roles = _completes(_roles)
