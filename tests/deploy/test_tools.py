"""Installation as a tool: the page's commands, run in a clone, put a command on the path that works."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[2]
PAGE: Final = ROOT / "docs" / "deploy" / "README.md"

COMMANDS: Final = re.findall(r"^((?:pipx|uv) .*)$", PAGE.read_text(), re.MULTILINE)


def test_the_page_has_a_command_for_each() -> None:
    assert [command.split()[0] for command in COMMANDS] == ["pipx", "uv"]


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS)
def test_the_command_of_the_page_installs_gossipreg(command: str, tmp_path: Path) -> None:
    pytest.importorskip(command.split(maxsplit=1)[0])
    subprocess.run(["git", "clone", "--quiet", "--no-hardlinks", ROOT, tmp_path / "clone"], check=True, timeout=60)
    places = {"PIPX_HOME": "pipx", "PIPX_BIN_DIR": "bin", "UV_TOOL_DIR": "uv", "UV_TOOL_BIN_DIR": "bin"}
    environ = os.environ | {name: str(tmp_path / place) for name, place in places.items()}
    ran = subprocess.run(
        [sys.executable, "-m", *shlex.split(command)],
        cwd=tmp_path / "clone", env=environ, capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr[-2000:]
    shown = subprocess.run(
        [tmp_path / "bin" / "gossipreg", "--version"], capture_output=True, text=True, timeout=60, check=True
    )
    assert re.fullmatch(r"gossipreg,? (version )?\d+\.\d+\.\d+\S*\n", shown.stdout)
