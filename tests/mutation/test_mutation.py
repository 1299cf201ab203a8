"""The mutation tool: what it changes, what it leaves alone, and how it reports survivors."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.mutation.__main__ import FOLDER, PACKAGES, TESTS, explained, sources, summary
from tests.mutation.mutants import Mutant, mutants_of, mutated
from tests.mutation.plugin import MutantResult

CODE = '''"""Page."""
LIMIT: Final = 3


class Box:
    """A box."""

    size: int = 4

    def has_room(self, wanted: int) -> bool:
        """Whether so much fits."""
        assert wanted > 0, "something"
        if not self.open or wanted > LIMIT:
            raise ValueError("too much")
        self.used += wanted
        return min(self.used, 9) <= self.size
'''


@pytest.fixture
def path(tmp_path: Path) -> Path:
    written = tmp_path / "box.py"
    written.write_text(CODE)
    return written


def test_only_code_that_runs_in_functions_is_changed(path: Path) -> None:
    found = mutants_of(path, "box.py")
    assert [mutant.key.removeprefix("box.py ") for mutant in found] == [
        "<module>: LIMIT = 3 -> 4",
        "Box.has_room: if not self.open or wanted > LIMIT: -> not (not self.open or wanted > LIMIT)",
        "Box.has_room: not self.open or wanted > LIMIT -> not self.open and wanted > LIMIT",
        "Box.has_room: not self.open -> not not self.open",
        "Box.has_room: wanted > LIMIT -> wanted >= LIMIT",
        "Box.has_room: wanted > LIMIT -> wanted <= LIMIT",
        "Box.has_room: self.used += wanted -> pass",
        "Box.has_room: self.used += wanted -> self.used -= wanted",
        "Box.has_room: return min(self.used, 9) <= self.size -> return None",
        "Box.has_room: min(self.used, 9) <= self.size -> min(self.used, 9) < self.size",
        "Box.has_room: min(self.used, 9) <= self.size -> min(self.used, 9) > self.size",
        "Box.has_room: min(self.used, 9) -> max(self.used, 9)",
        "Box.has_room: 9 -> 10",
    ]


def test_a_mutant_is_one_change_and_still_compiles(path: Path) -> None:
    for mutant in mutants_of(path, "box.py"):
        tree = mutated(path, mutant)
        compile(tree, str(path), "exec")
    assert path.read_text() == CODE


def test_the_score_excludes_accepted_and_inapplicable_mutants(monkeypatch: pytest.MonkeyPatch) -> None:
    mutants = [Mutant("box.py", "Box.f", 1, 1, f"{number} -> {number + 1}", number) for number in range(5)]
    hows = ("killed", "time", "survived", "survived", "invalid")
    results = [MutantResult(mutant, how, 1, 0.1) for mutant, how in zip(mutants, hows, strict=True)]
    monkeypatch.setattr("tests.mutation.__main__.explained", lambda: {mutants[3].key: "it makes no difference"})
    assert summary("wire", results, 700) == [
        "",
        "survived: box.py Box.f: 2 -> 3 [line 1]",
        "survived: box.py Box.f: 3 -> 4 [line 1]: it makes no difference",
        "wire: 4 of 700 mutants, 2 killed (1 by time), 1 survived, 1 more explained: 50.0%",
    ]


def test_every_package_of_the_protocol_is_known() -> None:
    folders = {path.parent.name for path in FOLDER.glob("*/__init__.py")}
    assert set(PACKAGES) == folders | {"engine"}


def test_accepted_survivors_exist() -> None:
    folder = sources("engine")[0].parent
    files = [path for package in PACKAGES for path in sources(package)]
    there = {mutant.key for path in files for mutant in mutants_of(path, str(path.relative_to(folder)))}
    assert explained().keys() <= there, "the code has changed: update explained.txt"


@pytest.mark.slow
def test_mutants_of_real_code_are_killed_by_its_tests() -> None:
    """One small file and few kinds of change: a run of some seconds."""
    script = (
        "from tests.mutation.__main__ import FOLDER, TESTS, run_mutants\n"
        "from tests.mutation.mutants import mutants_of\n"
        "file = 'membership/local_health.py'\n"
        "mutants = [m for m in mutants_of(FOLDER / file, file) if 'pass' in m.change or 'max' in m.change]\n"
        "tests = [str(TESTS / 'protocol' / 'membership' / 'test_local_health.py')]\n"
        "print(len(mutants), *sorted({each.how for each in run_mutants(mutants, tests, 5.0, quiet=True)}))\n"
    )
    ran = subprocess.run([sys.executable, "-c", script], cwd=TESTS.parent, capture_output=True, text=True, check=True)
    count, *hows = ran.stdout.split()
    assert int(count) > 0
    assert hows == ["killed"]
