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
    quick = ["--rounds", "1", "--seconds", "0.2", "--callers", "4", "--json", "--skip-haproxy", "--skip-envoy"]
    ran = subprocess.run([sys.executable, str(SCRIPT), *quick], capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == 0, ran.stderr
    found = json.loads(ran.stdout)
    assert len(found["rows"]) == 8
    assert all(figure["middle"] > 0 for row in found["rows"].values() for figure in row.values())
    for title, row in found["rows"].items():
        assert set(row) == ({"gossipreg"} if title.startswith("CPU") else {"direct", "gossipreg"})
    assert "HAProxy: left out; Envoy: left out" in found["where"]
    assert list(tmp_path.iterdir()) == []
