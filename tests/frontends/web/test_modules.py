"""The page's modules that need no browser, run by node's own test runner."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from gossipreg.frontends.web.page import FOLDER

TESTS = Path(__file__).parent / "modules"


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed (Debian: nodejs)")
def test_modules_do_what_their_tests_say(tmp_path: Path) -> None:
    for file in (*FOLDER.glob("*.js"), *TESTS.glob("*.js")):
        shutil.copy(file, tmp_path)
    (tmp_path / "package.json").write_text('{"type": "module"}')  # for versions of node that ask for it
    tests = sorted(tmp_path.glob("*.test.js"))
    ran = subprocess.run(
        ["node", "--test", *tests], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
