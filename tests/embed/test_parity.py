"""The three kinds of node are one node: the same names, the same parameters, the same words about them."""

from __future__ import annotations

import asyncio
import inspect
import subprocess
import sys

import pytest

import gossipreg.embed.asyncio
import gossipreg.embed.threads
from gossipreg import Node, open_node

NODES: dict[object, type] = {
    gossipreg.embed.threads: gossipreg.embed.threads.BlockingNode,
    gossipreg.embed.asyncio: gossipreg.embed.asyncio.AsyncioNode,
}
EMBEDDED = [gossipreg.embed.threads, gossipreg.embed.asyncio]

#: What only threads need: verbs that block can be given a timeout, and nobody can cancel the block of a thread.
THREADS_ONLY = {"check_failure"}


def public(kind: type) -> dict[str, object]:
    return {name: inspect.getattr_static(kind, name) for name in dir(kind) if not name.startswith("_")}


def plain(verb: object) -> object:
    return verb.fget if isinstance(verb, property) else verb


@pytest.mark.parametrize("module", EMBEDDED, ids=lambda module: module.__name__)
def test_a_node_has_the_same_public_names_everywhere(module: object) -> None:
    assert set(public(NODES[module])) - THREADS_ONLY == set(public(Node))


@pytest.mark.parametrize("name", sorted(public(Node)))
@pytest.mark.parametrize("module", EMBEDDED, ids=lambda module: module.__name__)
def test_each_means_the_same_and_takes_the_same(module: object, name: str) -> None:
    there, here = plain(public(Node)[name]), plain(public(NODES[module])[name])
    assert inspect.getdoc(here) == inspect.getdoc(there)
    assert inspect.isfunction(here)
    assert inspect.isfunction(there)
    wanted, found = inspect.signature(there).parameters, dict(inspect.signature(here).parameters)
    found.pop("timeout", None)
    assert list(found.values()) == list(wanted.values())


def test_nodes_are_opened_by_the_same_function_everywhere() -> None:
    for module in EMBEDDED:
        assert inspect.signature(module.open_node).parameters == inspect.signature(open_node).parameters
        said, meant = inspect.getdoc(module.open_node), inspect.getdoc(open_node)
        assert said is not None
        assert meant is not None
        assert said.split("If the node")[0] == meant.split("If the node")[0]


@pytest.mark.parametrize(
    ("module", "unwanted"),
    [
        ("gossipreg", ["gossipreg.runtime", "gossipreg.embed", "trio", "asyncio", "httpx", "cryptography"]),
        ("gossipreg.embed", ["gossipreg.runtime", "trio", "asyncio", "httpx"]),
        ("gossipreg.embed.threads", ["asyncio", "httpx", "rich", "click"]),
        ("gossipreg.embed.asyncio", ["httpx", "rich", "click"]),
        ("gossipreg.embed.chooser", ["trio", "asyncio", "httpx", "gossipreg.runtime"]),
        ("gossipreg.embed.httpx", ["gossipreg.runtime", "gossipreg.embed.node_thread"]),
    ],
)
def test_an_import_loads_what_it_needs_and_no_more(module: str, unwanted: list[str]) -> None:
    script = f"import sys, {module}; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True).stdout.split()
    assert set(loaded).isdisjoint(unwanted)


def test_asyncio_is_asyncio_and_not_our_module_of_that_name() -> None:
    assert asyncio is not gossipreg.embed.asyncio
