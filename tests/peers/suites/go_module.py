"""A Go module's own tests: fetched from the Go module proxy, copied, and built; nothing of it is kept here."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import attrs
import pytest

#: How long fetching or building may take (seconds). A cold build compiles Go's standard library.
_PATIENCE: Final = 240

#: The mark of tests that need it.
needs_go = pytest.mark.skipif(shutil.which("go") is None, reason="go is not installed (Debian: golang-go)")


def go(directory: Path, *arguments: str) -> str:
    """The output of ``go`` with these arguments; skips the test when it fails: what it needs cannot be had."""
    said = " ".join(arguments[:3])
    try:
        done = subprocess.run(
            ["go", *arguments], cwd=directory, capture_output=True, text=True, timeout=_PATIENCE, check=False
        )
    except subprocess.TimeoutExpired:
        pytest.skip(f"go {said} took more than {_PATIENCE} s")
    if done.returncode != 0:
        pytest.skip(f"go {said} failed: {done.stderr[-300:]}")
    return done.stdout


def copy_module(directory: Path, module: str, version: str) -> Path:
    """Fetch a module and copy it into ``directory``, below the last part of its path; returns the copy."""
    directory.mkdir(exist_ok=True)
    if not (directory / "go.mod").exists():
        (directory / "go.mod").write_text("module suite\n")
    fetched = json.loads(go(directory, "mod", "download", "-json", f"{module}@v{version}"))
    copy = directory / module.rpartition("/")[2]
    shutil.copytree(fetched["Dir"], copy, copy_function=shutil.copyfile)
    for each in [copy, *copy.rglob("*")]:
        each.chmod(0o755 if each.is_dir() else 0o644)
    return copy


def required_version(copy: Path, module: str) -> str:
    """The version of ``module`` that a copied module requires."""
    found = re.search(rf"^\s*{re.escape(module)} v(\S+)", (copy / "go.mod").read_text(), re.MULTILINE)
    assert found is not None, f"{copy / 'go.mod'} does not require {module}"
    return found[1]


def patch(file: Path, changes: Mapping[str, str]) -> None:
    """Replace parts of a file. Each must be there: a new version that differs must be looked at."""
    text = file.read_text()
    for before, after in changes.items():
        assert before in text, f"{before!r} is not in {file.name}"
        text = text.replace(before, after)
    file.write_text(text)


@attrs.frozen
class TestBinary:
    """The compiled tests of one package of a module, and the folder that they are run in."""

    __test__ = False

    package: str  # as pages name it
    file: Path
    directory: Path

    def names(self) -> list[str]:
        """Every test that there is."""
        command = [str(self.file), "-test.list", "."]
        done = subprocess.run(command, cwd=self.directory, capture_output=True, text=True, timeout=60, check=True)
        return done.stdout.split()

    def command(self, test: str, seconds: int) -> Sequence[str]:
        """How to run one test, which panics after so many seconds."""
        return [str(self.file), "-test.v", f"-test.timeout={seconds}s", "-test.run", f"^{test}$"]


def build_tests(copy: Path, package: str, folder: str) -> TestBinary:
    """Compile the tests of the package in ``folder`` of a copied module."""
    file = copy.parent / f"{package.replace('/', '-')}.test"
    go(copy, "test", "-vet=off", "-c", "-o", str(file), f"./{folder}")
    return TestBinary(package, file, copy / folder)
