"""Runs a small program in an interpreter of its own, to see how it ends."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

#: Where the project is, so that the program can import the tests' helpers.
ROOT = Path(__file__).parents[2]

_PATIENCE = 60.0


def run(program: str) -> str:
    """Run it to its end, which must be a good one; returns what it said. Warnings are errors in it, too."""
    command = [sys.executable, "-W", "error", "-c", textwrap.dedent(program)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=_PATIENCE, check=False)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return done.stdout
