"""The same inputs give the same outputs, whatever order Python's hashes put things in."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]

PLAY = """
import hashlib
from pathlib import Path
from tests.scenes.player import Scene

said = hashlib.sha256()
for name in ("split_and_heal", "namesakes_after_a_split", "large_record", "silent_host"):
    said.update(Scene.load(Path("tests/scenes") / f"{name}.txt").run(transcript=said.update).encode())
print(said.hexdigest())
"""


def run(hash_seed: str) -> str:
    """A digest of everything that every engine put out in a few scenes, byte by byte."""
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
    done = subprocess.run(
        [sys.executable, "-c", PLAY], cwd=ROOT, env=environment, capture_output=True, text=True, check=True, timeout=60
    )
    return done.stdout


def test_hash_seeds_make_no_difference() -> None:
    digest = run("1")
    assert len(digest.strip()) == 64
    assert digest == run("2")
