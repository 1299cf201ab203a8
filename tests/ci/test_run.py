"""The script that checks everything before a merge, with stubs in place of the programs that it runs."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

_SCRIPT = Path(__file__).parents[2] / ".ci" / "run"
_COMMAND = 'python3 -m venv .venv && .venv/bin/pip install -q -e ".[test]" && .venv/bin/pytest'

#: Stands for each Python: a virtual environment gets stubs of what is installed into it.
_PYTHON = """#!/bin/sh
case "$*" in
"-m venv "*)
    mkdir -p "$3/bin"
    for name in pip pytest ruff mypy lint-imports coverage mkdocs uv; do cp "$STUBS/tool" "$3/bin/$name"; done
    cp "$0" "$3/bin/python" ;;
*print*) echo 3.13 ;;
esac
"""

#: Stands for each tool: it fails where its command line has $FAILING in it, and never ends where it has $ENDLESS. Where
#: it has $WAITING, it waits until $AWAITED is run.
_TOOL = """#!/bin/sh
line="$(basename "$0") $*"
echo "$line" >>"$STUBS/lines"
echo "output of: $line"
if [ -n "$ENDLESS" ] && expr "$line" : ".*$ENDLESS" >/dev/null; then
    echo $$ >"$STUBS/endless.new"
    mv "$STUBS/endless.new" "$STUBS/endless"
    exec sleep 1000
fi
if [ -n "$WAITING" ] && expr "$line" : ".*$WAITING" >/dev/null; then
    until grep -q "$AWAITED" "$STUBS/lines"; do sleep 0.05; done
fi
if [ -n "$FAILING" ] && expr "$line" : ".*$FAILING" >/dev/null; then
    echo "FAILED tests/test_it.py::test_that - AssertionError"
    exit 1
fi
"""


class _Checkout:
    """A fresh checkout with the script, and the stubs beside it."""

    def __init__(self, folder: Path) -> None:
        self.stubs = folder / "stubs"
        self.stubs.mkdir()
        for name in ("python3", "python3.11", "python3.12"):
            self._stub(name, _PYTHON)
        self._stub("tool", _TOOL)
        self._stub("apt-get", "#!/bin/sh\nexit 1\n")
        self._tree = folder / "tree"
        (self._tree / ".ci").mkdir(parents=True)
        shutil.copy(_SCRIPT, self._tree / ".ci" / "run")
        (self._tree / "README.md").write_text(f"{_COMMAND}\n")
        git = ("git", "-c", "user.name=a", "-c", "user.email=a@example.org", "-C", str(self._tree))
        for line in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "a"]):
            subprocess.run([*git, *line], check=True)

    def start(self, *options: str, **patterns: str) -> subprocess.Popen[str]:
        environment = {
            "PATH": f"{self.stubs}:/usr/local/bin:/usr/bin:/bin",
            "HOME": str(self.stubs),
            "TMPDIR": str(self.stubs.parent),
            "STUBS": str(self.stubs),
            **{name.upper(): patterns.get(name, "") for name in ("failing", "endless", "waiting", "awaited")},
        }
        return subprocess.Popen(
            [str(self._tree / ".ci" / "run"), *options],
            env=environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

    def run(self, *options: str, **patterns: str) -> tuple[int, str]:
        process = self.start(*options, **patterns)
        printed, _ = process.communicate(timeout=120)
        return process.returncode, printed

    def lines(self) -> list[str]:
        """What was run."""
        return (self.stubs / "lines").read_text().splitlines()

    def _stub(self, name: str, text: str) -> None:
        path = self.stubs / name
        path.write_text(text)
        path.chmod(0o755)


@pytest.fixture
def checkout(tmp_path: Path) -> _Checkout:
    if shutil.which("git") is None or sys.platform != "linux":
        pytest.skip("needs git and Linux")
    return _Checkout(tmp_path)


def test_a_run_in_which_all_is_well_says_how_long_each_part_took(checkout: _Checkout) -> None:
    status, printed = checkout.run()
    assert status == 0
    end = printed[printed.index(" s  programs of others") :]
    parts = ["the README's command: the default tests", "drills", "chaos", "coverage of the protocol", "Python 3.11"]
    assert [part for part in parts if f" s  {part}" not in end] == []
    assert "FAILED" not in printed
    assert "all is well" in end


@pytest.mark.parametrize(
    ("failing", "part"),
    [
        ("install.*peers", None),  # tests that need them are skipped
        ("pytest $", "the README's command: the default tests"),
        ("mypy", "lint, types and import contracts"),
        ("coverage run", "coverage of the protocol"),
        ("pytest.*-m slow.*tests/sim$", "slow tests that compute"),
        ("pytest.*-m slow.*tests/drills$", "drills"),
        ("pytest.*-m slow.*--ignore=tests/sim", "other slow tests"),
        ("pytest.*-m slow.*tests/peers$", "programs and agents"),
        ("pytest.*-m chaos", "chaos"),
        ("mkdocs", "the documentation"),
        ("pytest.*tests/cli", "Python 3.11, a part of the tests"),
    ],
)
def test_after_a_failure_all_else_is_still_run_and_the_end_names_what_failed(
    checkout: _Checkout, failing: str, part: str | None
) -> None:
    status, printed = checkout.run(failing=failing)
    run = {"pytest -q -m chaos -n 0 tests/chaos", "pytest -q -n 0 -m fuzz tests/fuzz", "lint-imports "}
    assert run <= set(checkout.lines())
    assert sum(line.startswith("pytest -q -n 0 tests/cli") for line in checkout.lines()) == 3
    if part is None:
        assert status == 0
        return
    assert status == 1
    _, _, summary = printed.rpartition("==> FAILED, after ")
    assert f"\n{part}\n    FAILED tests/test_it.py::test_that - AssertionError\n" in summary
    assert f" s  {part} FAILED\n" in printed


def test_every_folder_of_tests_is_in_one_part_of_the_slow_tests(checkout: _Checkout) -> None:
    checkout.run("--this-python-only")
    lines = [line.split() for line in checkout.lines() if line.startswith("pytest -q -m slow")]
    tests = _SCRIPT.parents[1] / "tests"
    folders = {path.parent for path in tests.rglob("test_*.py")}
    counts = {
        str(folder): sum(
            any(folder.is_relative_to(tests.parent / word) for word in line if word.startswith("tests"))
            and not any(folder.is_relative_to(tests.parent / word[9:]) for word in line if word.startswith("--ignore="))
            for line in lines
        )
        for folder in folders
    }
    assert {folder: count for folder, count in counts.items() if count != 1} == {}


def test_when_all_that_computes_has_ended_its_lane_runs_slow_tests_too(checkout: _Checkout) -> None:
    status, printed = checkout.run("--this-python-only", waiting="pytest.*tests/drills$", awaited="tests/peers/eureka$")
    assert status == 0
    _, _, beside = printed.partition("and beside drills")
    assert " s  clients of registries\n" in beside
    assert sum(line.endswith("tests/peers/eureka") for line in checkout.lines()) == 1


def test_a_readme_without_the_command_fails_the_run(checkout: _Checkout) -> None:
    script = checkout.stubs.parent / "tree" / ".ci" / "run"
    script.write_text(script.read_text().replace(_COMMAND, f"{_COMMAND} tests"))
    git = ("git", "-c", "user.name=a", "-c", "user.email=a@example.org", "-C", str(script.parent))
    subprocess.run([*git, "commit", "-q", "-a", "-m", "b"], check=True)
    status, printed = checkout.run("--this-python-only")
    assert status == 1
    assert "README.md no longer has this command" in printed
    assert not any(line.startswith("pytest -q -n 0 tests/cli") for line in checkout.lines())


@pytest.mark.parametrize("endless", ["pytest.*tests/drills$", "coverage run"])
def test_an_interrupted_run_ends_what_it_started_and_leaves_no_files(checkout: _Checkout, endless: str) -> None:
    process = checkout.start(endless=endless)
    until = time.monotonic() + 120
    while not (checkout.stubs / "endless").exists():
        assert time.monotonic() < until
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=120)
    assert process.returncode == 130
    started = int((checkout.stubs / "endless").read_text())
    while time.monotonic() < until:
        try:
            os.kill(started, 0)
        except ProcessLookupError:
            break
        time.sleep(0.05)
    else:
        pytest.fail("what it started still runs")
    assert sorted(path.name for path in checkout.stubs.parent.iterdir()) == ["stubs", "tree"]
