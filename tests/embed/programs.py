"""Runs a small program in a process of its own, to see how it ends."""

from __future__ import annotations

import textwrap
from pathlib import Path

from tests.forked_commands import fork_program

#: Where the project is, so that the program can import the tests' helpers.
ROOT = Path(__file__).parents[2]

_PATIENCE = 60.0


def run(program: str) -> str:
    """Run it to its end, which must be a good one; returns what it said. Warnings are errors in it, too."""
    process = fork_program(textwrap.dedent(program))
    try:
        said, complained = process.communicate(timeout=_PATIENCE)
    finally:
        process.kill()
    assert (process.returncode, complained) == (0, ""), complained
    return said
