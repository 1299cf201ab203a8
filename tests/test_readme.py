"""The program in the README runs as it stands."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

README = Path(__file__).parent.parent / "README.md"


def test_the_program_says_what_it_should(tmp_path: Path) -> None:
    [program] = re.findall(r"^```python\n(.*?)^```", README.read_text(), re.DOTALL | re.MULTILINE)
    alone = program.replace('join=["127.0.0.1:7940"]', "join=[]")
    assert alone != program, "a test must not join whatever runs on this machine"
    (tmp_path / "shop.py").write_text(alone)
    command = [sys.executable, "-W", "error", "shop.py"]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    instances, address, count = ran.stdout.splitlines()
    assert (ran.returncode, ran.stderr) == (0, "")
    assert "service='shop'" in instances
    assert (address, count) == ("127.0.0.1:8081", "1")
