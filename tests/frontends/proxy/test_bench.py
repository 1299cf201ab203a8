"""The benchmark measures what it says, and leaves nothing behind."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "bench" / "proxy.py"


@pytest.mark.slow
def test_it_measures_every_way_and_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    quick = ["--rounds", "1", "--seconds", "0.2", "--callers", "4", "--json", "--skip-haproxy"]
    ran = subprocess.run([sys.executable, str(SCRIPT), *quick], capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == 0, ran.stderr
    found = json.loads(ran.stdout)
    assert len(found["rows"]) == 5
    assert all(figure["middle"] > 0 for row in found["rows"].values() for figure in row.values())
    assert all(set(row) == {"direct", "gossipreg"} for row in found["rows"].values())
    assert "HAProxy: left out" in found["where"]
    assert list(tmp_path.iterdir()) == []
