"""A fork of a process with a node, as pre-forking servers make them, holds nothing that is the node's."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from gossipreg import Status
from gossipreg.embed.threads import BlockingNode, open_node
from gossipreg.model import Address
from gossipreg.runtime.state_store import StateStore
from tests.embed.programs import ROOT
from tests.embed.seeing import config
from tests.runtime.nodes import PATIENCE

PARENT = """
    import os, signal, sys, warnings
    warnings.simplefilter("ignore", DeprecationWarning)  # of forks where there are threads: that is the matter here
    from gossipreg.embed.threads import start_node
    from tests.embed.seeing import config
    seed, directory = sys.argv[1:]
    node = start_node(config("bob", join=[seed], data_dir=directory))
    node.register("orders", port=80)
    print(node.address, flush=True)
    os.read(0, 1)  # until the test wants the fork
    child = os.fork()
    if child == 0:
        os.read(0, 1)  # as long as the test wants it to live
        os._exit(0)
    print(child, flush=True)
    node.register("forked", port=81)
    signal.pause()
"""


@pytest.fixture
def node() -> Iterator[BlockingNode]:
    """The peer that watches over the parent."""
    with open_node(config("ann")) as node:
        yield node


@contextmanager
def forked(node: BlockingNode, directory: Path) -> Iterator[tuple[subprocess.Popen[str], Address, int]]:
    """A process with a node, its address, and its child, which lives as long as the block."""
    command = [sys.executable, "-c", textwrap.dedent(PARENT), str(node.address), str(directory)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, text=True) as parent:
        try:
            assert parent.stdin is not None
            assert parent.stdout is not None
            address = Address.parse(parent.stdout.readline().strip())
            wait_for_a_lifeline(node, parent.pid)
            parent.stdin.write("f")
            parent.stdin.flush()
            yield parent, address, int(parent.stdout.readline())
        finally:
            parent.kill()  # the child ends with the pipe that both read from, which is closed now


def wait_for_a_lifeline(node: BlockingNode, pid: int) -> None:
    """Return when the process has a stream to the node that stays: by its loss the node hears first of its death."""
    node.wait_for("orders", timeout=PATIENCE)
    wait_until(lambda: len(inodes_of(pid) & of_network()) >= 3)  # the two that it listens on, and the stream


def wait_until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def inodes_of(pid: int) -> set[str]:
    """The sockets that a process has."""
    links = []
    for each in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # closed in this very moment
            links.append(os.readlink(each))
    return {link.removeprefix("socket:[").removesuffix("]") for link in links if link.startswith("socket:")}


def of_network() -> set[str]:
    """The sockets of this host that have a port."""
    tables = (Path(f"/proc/net/{name}").read_text().splitlines()[1:] for name in ("tcp", "udp"))
    return {line.split()[9] for table in tables for line in table}


def test_the_childs_copies_are_closed_and_the_parent_goes_on_as_if_nothing_was(
    node: BlockingNode, tmp_path: Path
) -> None:
    with forked(node, tmp_path) as (_, _, child):
        assert len(node.wait_for("forked", timeout=PATIENCE)) == 1
        wait_until(lambda: not inodes_of(child) & of_network())  # the parent may run before the child's handler does


def test_the_childs_life_hides_nothing_of_the_parents_death(node: BlockingNode, tmp_path: Path) -> None:
    with forked(node, tmp_path) as (parent, address, child):
        node.wait_for("forked", timeout=PATIENCE)
        watch = node.watch("orders")
        watch.get(PATIENCE)
        parent.send_signal(signal.SIGKILL)
        parent.wait(PATIENCE)
        assert watch.get(PATIENCE).instances == ()
        assert {each.name: each.status for each in node.members()}["bob"] is Status.FAILED
        os.kill(child, 0)  # it lives
        for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
            with socket.socket(socket.AF_INET, kind) as again:
                again.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, int(kind is socket.SOCK_STREAM))
                again.bind(tuple(address))
        StateStore.open(tmp_path).close()
