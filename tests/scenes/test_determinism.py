"""The same inputs give the same outputs with any hash seed of Python."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]

CODE = """
import hashlib
from pathlib import Path
from tests.scenes.script import Scene

digest = hashlib.sha256()
for name in ("split_and_heal", "namesakes_after_a_split", "large_record", "silent_host"):
    digest.update(Scene.load(Path("tests/scenes") / f"{name}.txt").run(transcript=digest.update).encode())
print(digest.hexdigest())
"""


def run(hash_seed: str) -> str:
    """Return a digest of all outputs of all engines in a few scenes."""
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
    done = subprocess.run(
        [sys.executable, "-c", CODE], cwd=ROOT, env=environment, capture_output=True, text=True, check=True, timeout=120
    )
    return done.stdout


def test_hash_seeds_have_no_effect() -> None:
    digest = run("1")
    assert len(digest.strip()) == 64
    assert digest == run("2")
