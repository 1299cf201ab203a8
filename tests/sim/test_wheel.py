"""An installed wheel is complete: the scenarios, both commands, and an opt-in pytest plugin."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from gossipreg_sim.scenario_file import shipped

ROOT = Path(__file__).parents[2]

MINE = """
def test_it(gossipreg_sim):
    assert gossipreg_sim("cold-start").is_good
"""


def run(*command: str | Path, at: Path, path: Path | None = None) -> str:
    """Return a command's output; our packages come from ``path``, all others from their usual place."""
    variables = os.environ | {"PYTHONPATH": str(path or ""), "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    arguments = [str(part) for part in command]
    ran = subprocess.run(arguments, cwd=at, env=variables, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


@pytest.mark.slow
def test_an_installed_wheel_is_complete(tmp_path: Path) -> None:
    pytest.importorskip("hatchling", reason="the wheel is built without the network: pip install hatchling")
    python, site = sys.executable, tmp_path / "site"
    run(python, "-m", "pip", "wheel", "-q", ROOT, "--no-deps", "--no-build-isolation", "-w", tmp_path, at=tmp_path)
    [wheel] = tmp_path.glob("*.whl")
    run(python, "-m", "pip", "install", "-q", "--no-deps", "--no-index", "--target", site, wheel, at=tmp_path)

    where = run(python, "-c", "import gossipreg_sim; print(gossipreg_sim.__file__)", at=tmp_path, path=site)
    assert Path(where.strip()).is_relative_to(site)
    listed = run(python, site / "bin" / "gossipreg", "sim", "list", at=tmp_path, path=site)
    assert [line.split("\t")[0] for line in listed.splitlines()] == shipped()
    assert run(python, "-m", "gossipreg_sim", "list", at=tmp_path, path=site) == listed
    output = run(python, site / "bin" / "gossipreg", "sim", "run", "cold-start", at=tmp_path, path=site)
    assert "good: every oracle passed" in output
    (tmp_path / "test_mine.py").write_text(MINE)
    pytest_command = (python, "-m", "pytest", "-q", "-p", "gossipreg_sim.pytest_plugin", "--gossipreg-seed", "3")
    assert "1 passed" in run(*pytest_command, at=tmp_path, path=site)

    # A project with a module named `sim`, whose tests do not use gossipreg.
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    (theirs / "sim.py").write_text("ANSWER = 42\n")
    (theirs / "test_sim.py").write_text("import sim\n\ndef test_it():\n    assert sim.ANSWER == 42\n")
    assert "1 passed" in run(python, "-m", "pytest", "-q", "-p", "no:cacheprovider", at=theirs, path=site)
    assert {each.name for each in site.iterdir() if each.is_dir()} >= {"gossipreg", "gossipreg_sim"}
    assert not (site / "sim").exists()
    page = Path("gossipreg", "frontends", "web", "static")
    assert {each.name for each in (site / page).iterdir()} == {each.name for each in (ROOT / page).iterdir()}
    assert not (site / "tests").exists()
