"""The package as a whole: nodes are opened alike for every kind of program, and an import loads what it needs."""

from __future__ import annotations

import asyncio
import inspect
import subprocess
import sys

import pytest

import gossipreg.embed.asyncio
import gossipreg.embed.threads
from gossipreg import open_node


@pytest.mark.parametrize(
    "module", [gossipreg.embed.threads, gossipreg.embed.asyncio], ids=lambda module: module.__name__
)
def test_a_node_is_opened_by_the_same_function_everywhere(module: object) -> None:
    embedded = inspect.getattr_static(module, "open_node")
    assert inspect.signature(embedded).parameters == inspect.signature(open_node).parameters
    docstrings = [inspect.getdoc(each) or "" for each in (embedded, open_node)]
    first, second = (each.split("If the node")[0] for each in docstrings)
    assert first == second != ""


@pytest.mark.parametrize(
    ("module", "unwanted"),
    [
        ("gossipreg", ["gossipreg.runtime", "gossipreg.embed", "trio", "asyncio", "httpx", "cryptography"]),
        ("gossipreg.embed", ["gossipreg.runtime", "trio", "asyncio", "httpx"]),
        ("gossipreg.embed.threads", ["asyncio", "httpx", "rich", "click"]),
        ("gossipreg.embed.asyncio", ["httpx", "rich", "click"]),
        ("gossipreg.embed.chooser", ["trio", "asyncio", "httpx", "gossipreg.runtime"]),
        ("gossipreg.embed.httpx", ["gossipreg.runtime", "gossipreg.embed.node_thread"]),
        ("gossipreg.embed.requests", ["gossipreg.runtime", "gossipreg.embed.node_thread", "asyncio", "httpx"]),
        ("gossipreg.embed.grpc", ["gossipreg.runtime", "gossipreg.embed.node_thread", "httpx"]),
        ("gossipreg.embed.aiohttp", ["gossipreg.runtime", "gossipreg.embed.node_thread", "httpx"]),
    ],
)
def test_an_import_loads_what_it_needs_and_no_more(module: str, unwanted: list[str]) -> None:
    script = f"import sys, {module}; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True).stdout.split()
    assert set(loaded).isdisjoint(unwanted)


def test_asyncio_is_asyncio_and_not_our_module_of_that_name() -> None:
    assert asyncio is not gossipreg.embed.asyncio
