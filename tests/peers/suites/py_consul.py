"""py-consul's own tests, run against our agent: `python -m tests.peers.suites.py_consul` writes the page.

Its source archive on PyPI carries them. They are copied, with fixtures of ours in place of theirs, which start Consul
in Docker: see `py_consul_fixtures`.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Final
from xml.etree import ElementTree as ET

import attrs
import pytest

from tests.peers.stage import DOCS
from tests.peers.suites.classification import FOLDER, Classification, read_classification
from tests.peers.suites.consul_command import write_command
from tests.peers.suites.page import make_page
from tests.peers.suites.runs import Outcome, Result

VERSION: Final = "1.8.0"

PAGE: Final = DOCS / "clients" / "py-consul-suite.md"

CLASSIFICATION: Final = FOLDER / "py_consul.toml"

PACKAGE: Final = "py-consul"

#: How long PyPI may take (seconds), and all tests together: the machine may be busy.
_PATIENCE: Final = 120
_SECONDS: Final = 900

_REASON_CHARS: Final = 160

_INTRODUCTION: Final = f"""# py-consul: its own tests

Made by `python -m tests.peers.suites.py_consul`, and checked by `.ci/run`: a test that this page lists as passed has to
pass. The tests are those in the source archive of `py-consul` {VERSION} on PyPI. Where they would start Consul in
Docker, they start `gossipreg agent`. Those that fail run twice more.

The packages of `py-eureka-client` (PyPI) and `consul` (npm) carry no tests, so there is no such page for them.
"""


@attrs.frozen
class Suite:
    """The tests, and how they are run."""

    directory: Path
    environment: dict[str, str]

    def collect(self) -> dict[str, list[str]]:
        """Every test's name in the classification, with what pytest calls it, once for each of its parameters."""
        found: dict[str, list[str]] = {}
        for line in self._pytest("--collect-only", "tests").stdout.splitlines():
            if "::" in line:
                file, *_, function = line.split("::")
                name = f"{Path(file).stem}.{function.partition('[')[0]}"
                found.setdefault(name, []).append(line)
        return found

    def run(self, ids: dict[str, list[str]], tests: Iterable[str]) -> dict[str, Result]:
        """Run these tests; those that fail three times have failed, the last time one after another."""
        results = self._run(ids, list(tests))
        for processes in (3, 1):
            failed = [test for test, result in results.items() if result.outcome is Outcome.FAILED]
            if failed:
                results |= self._run(ids, failed, processes)
        return results

    def _run(self, ids: dict[str, list[str]], tests: list[str], processes: int = 3) -> dict[str, Result]:
        report = self.directory / "report.xml"
        self._pytest(
            f"--junit-xml={report}", f"-n{processes}", "--tb=line", *(each for test in tests for each in ids[test])
        )
        return read_report(report, tests)

    def _pytest(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:gossipreg_sim.pytest_plugin", *arguments]
        return subprocess.run(
            command,
            cwd=self.directory,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=False,
        )


def read_report(report: Path, tests: Iterable[str]) -> dict[str, Result]:
    """What a report in JUnit's form says of these tests; of a test's several parameters the worst counts."""
    results = dict.fromkeys(tests, Result(Outcome.FAILED, "it was not run"))
    seen: set[str] = set()
    for case in ET.parse(report).iter("testcase"):
        module = next(part for part in case.attrib["classname"].split(".") if part.startswith("test_"))
        name = f"{module}.{case.attrib['name'].partition('[')[0]}"
        result = _result(case)
        if name not in seen or result.outcome is Outcome.FAILED:
            results[name] = result
        seen.add(name)
    return results


def _result(case: ET.Element) -> Result:
    for kind in ("failure", "error"):
        found = case.find(kind)
        if found is not None:
            lines = found.attrib.get("message", "").splitlines() or [""]
            return Result(Outcome.FAILED, lines[0][:_REASON_CHARS])
    return Result(Outcome.PASSED if case.find("skipped") is None else Outcome.SKIPPED)


def prepare(directory: Path) -> Suite:
    """Fetch the tests into ``directory``. Skips a test that cannot have them."""
    directory.mkdir(exist_ok=True)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q"]
    source = ["download", "--no-deps", "--no-binary=:all:", f"--dest={directory}", f"py-consul=={VERSION}"]
    _fetch([*pip, *source])
    libraries = directory / "libraries"
    # Not into this environment: pytest-asyncio would take our own tests for its own.
    _fetch([*pip, "install", "--no-deps", f"--target={libraries}", "pytest-asyncio"])
    [archive] = directory.glob("py_consul-*.tar.gz")
    with tarfile.open(archive) as packed:
        packed.extractall(directory, filter="data")
    suite = directory / "suite"
    suite.mkdir()
    shutil.copytree(directory / f"py_consul-{VERSION}" / "tests", suite / "tests")
    shutil.copyfile(FOLDER / "py_consul_fixtures.py", suite / "conftest.py")
    (suite / "pytest.ini").write_text("[pytest]\nasyncio_mode = auto\n")
    commands = directory / "commands"
    commands.mkdir()
    write_command(commands)
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("GOSSIPREG_", "CONSUL_"))}
    clean |= {"PYTHONPATH": str(libraries), "PATH": f"{commands}{os.pathsep}{clean.get('PATH', '')}"}
    return Suite(suite, clean)


def _fetch(command: list[str]) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_PATIENCE, check=False)
    except subprocess.TimeoutExpired:
        pytest.skip(f"pip did not fetch {command[-1]} within {_PATIENCE} s")
    if done.returncode != 0:
        pytest.skip(f"pip cannot fetch {command[-1]}: {done.stderr[-300:]}")


def page_of(classes: Classification, results: dict[str, Result]) -> str:
    """The page that a run makes."""
    return make_page(_INTRODUCTION, {PACKAGE: classes}, {PACKAGE: results})


def main() -> None:
    """Run the suite and write the page."""
    classes = read_classification(CLASSIFICATION)[PACKAGE]
    with tempfile.TemporaryDirectory() as name:
        suite = prepare(Path(name) / "suite")
        results = suite.run(suite.collect(), classes.relevant)
    PAGE.write_text(page_of(classes, results))
    for test, result in results.items():
        if result.outcome is not Outcome.PASSED:
            sys.stdout.write(f"{test} {result.outcome}: {result.reason}\n")


if __name__ == "__main__":
    main()
