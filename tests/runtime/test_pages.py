"""The programs on the pages about credentials and roles run as they stand."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.parametrize(
    ("page", "said"),
    [
        ("credentials.md", ["5432 app 13"]),
        ("roles.md", ["[('pg-1', 'fenced', 1), ('pg-2', 'primary', 2)]", "pg-2"]),
    ],
)
def test_the_program_says_what_it_should(page: str, said: list[str], tmp_path: Path) -> None:
    [(name, program)] = re.findall(
        r"^```python\n# (\S+)\n(.*?)^```", (DOCS / page).read_text(), re.DOTALL | re.MULTILINE
    )
    (tmp_path / name).write_text(program)
    command = [sys.executable, "-W", "error", name]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    errors = [line for line in ran.stderr.splitlines() if "claim to be its primary" not in line]
    assert (ran.returncode, errors, ran.stdout.splitlines()) == (0, [], said)
