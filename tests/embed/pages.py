"""The programs on a page of the documentation, run as they stand."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Final

from tests.embed.programs import ROOT

#: How long a program or a server may take to start, or to end, on a machine that has other things to do (seconds).
PATIENCE: Final = 60.0


def programs_of(page: str) -> dict[str, str]:
    """The programs on that page, by the name in their first line."""
    text = (ROOT / "docs" / page).read_text()
    return dict(re.findall(r"^```python\n# (\S+)\n(.*?)^```", text, re.DOTALL | re.MULTILINE))


def run(folder: Path, name: str, *arguments: str, **environment: str) -> list[str]:
    """What the program says until it ends well."""
    done = subprocess.run(
        [sys.executable, "-W", "error", name, *arguments],
        cwd=folder,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    errors = [line for line in done.stderr.splitlines() if " is answered from: " not in line]
    assert (done.returncode, errors) == (0, []), done.stderr
    return done.stdout.splitlines()
