"""Nodes in child processes that end without the interpreter's exit: they leave all the same."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from gossipreg import Status
from gossipreg.embed.threads import BlockingNode, open_node
from tests.embed.programs import ROOT, run
from tests.embed.seeing import config

#: A module, since a spawned child imports what it runs.
PROGRAM = """
import sys

from gossipreg.embed.threads import start_node
from tests.embed.seeing import config


def work(seed):
    node = start_node(config("child", join=[seed], cluster="shop"))
    node.register("orders", port=80)
    while len(node.members()) < 2:
        next(node.events())


if __name__ == "__main__":
    import {module} as processes
    child = processes.get_context("{method}").Process(target=work, args=(sys.argv[1],))
    child.start()
    child.join()
    assert child.exitcode == 0, child.exitcode
"""


@pytest.fixture
def node() -> Iterator[BlockingNode]:
    with open_node(config("ann", cluster="shop")) as node:
        yield node


@pytest.mark.parametrize(
    ("module", "method"),
    [
        ("multiprocessing", "fork"),
        ("multiprocessing", "spawn"),
        ("multiprocessing", "forkserver"),
        ("billiard", "fork"),
    ],
)
def test_a_node_that_a_child_never_closed_leaves_when_the_child_ends(
    node: BlockingNode, tmp_path: Path, module: str, method: str
) -> None:
    pytest.importorskip(module)
    file = tmp_path / "program.py"
    file.write_text(PROGRAM.format(module=module, method=method))
    run(
        f"""
        import os, subprocess, sys
        subprocess.run(
            [sys.executable, {str(file)!r}, "{node.address}"],
            check=True,
            env=os.environ | {{"PYTHONPATH": {str(ROOT)!r}}},
        )
        """
    )
    assert {member.name: member.status for member in node.members()}["child"] is Status.LEFT
