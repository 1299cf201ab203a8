"""Pytest plugin that runs the collected tests once, and then some of them again for each mutant, in a child process.

The tests are collected and the code is imported once. For each mutant the process forks; the child replaces the code of
existing functions (their ``__code__``), and runs the tests that called the changed function, quickest first, until one
fails. So most mutants cost some milliseconds, where a fresh pytest would cost seconds.
"""

from __future__ import annotations

import ast
import gc
import os
import resource
import signal
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import CodeType, FrameType, FunctionType, ModuleType
from typing import Any, Final

import attrs
import pytest

from tests.mutation.mutants import Mutant, mutated

#: CPU time limit of a child: a multiple of the time of its tests, plus a constant (seconds). A mutant that takes longer
#: loops, and counts as killed.
_TIMES: Final = 5
_BESIDE: Final = 2

#: Additional memory that a child may use (bytes): detects mutants that fill lists without end.
_MEMORY: Final = 1 << 30

#: Default number of Hypothesis examples per test: each survivor runs all of them.
_EXAMPLES: Final = 30

#: Exit statuses of children.
_SURVIVED, _KILLED, _INVALID = 0, 1, 3

_Place = tuple[str, str]  # file, qualified name


@attrs.frozen
class MutantResult:
    """The result of a mutant: "killed" by a test, by "time", "survived", "untested", or "invalid"."""

    mutant: Mutant
    how: str
    tests: int  # that call the function
    took: float  # CPU seconds

    @property
    def is_killed(self) -> bool:
        """Whether the tests detected the mutant."""
        return self.how in ("killed", "time")


@attrs.define(eq=False)
class MutationPlugin:
    """Runs the collected tests for each of ``mutants`` of files in ``folder``."""

    folder: Path
    mutants: list[Mutant]
    tell: Any  # receives each line of output
    budget: float = 5.0  # approximate CPU seconds of tests per mutant, measured without it
    results: list[MutantResult] = attrs.field(factory=list)
    failed: list[str] = attrs.field(factory=list)  # tests that fail without any mutant
    _calls: dict[str, set[_Place]] = attrs.field(factory=dict)  # by test
    _took: dict[str, float] = attrs.field(factory=dict)  # by test, CPU seconds
    _in_child: bool = False

    def pytest_configure(self) -> None:
        """Make Hypothesis deterministic, without shrinking: only the fact of a failure counts."""
        from hypothesis import HealthCheck, Phase, settings  # after pytest, which rewrites its assertions

        phases = (Phase.explicit, Phase.generate)
        settings.register_profile(
            "mutation",
            database=None,
            derandomize=True,
            deadline=None,
            phases=phases,
            max_examples=_EXAMPLES,
            suppress_health_check=list(HealthCheck),  # profiling makes tests slow
        )
        settings.load_profile("mutation")

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Replace pytest's own loop."""
        if session.testsfailed or session.config.option.collectonly:
            return False
        for item in session.items:
            self._watched(item)
        if self.failed:
            return True
        functions = _functions(self.folder)
        for mutant in self.mutants:
            self._run_one(mutant, session.items, functions)
        return True

    def _watched(self, item: pytest.Item) -> None:
        """Run a test, and record the functions that it calls."""
        calls = self._calls[item.nodeid] = set()
        folder = str(self.folder)

        def called(frame: FrameType, _event: str, _: object) -> None:  # no line events: they are slow
            if frame.f_code.co_filename.startswith(folder):
                calls.add((frame.f_code.co_filename, frame.f_code.co_qualname))

        began = time.process_time()
        sys.settrace(called)
        try:
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=None)
        finally:
            sys.settrace(None)
        self._took[item.nodeid] = time.process_time() - began

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Record a failure; in a child, exit."""
        if report.failed:
            if self._in_child:
                os._exit(_KILLED)
            self.failed.append(report.nodeid)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Record a collection error."""
        if report.failed:
            self.failed.append(report.nodeid)

    def _limit(self, items: Iterable[pytest.Item]) -> int:
        return int(_BESIDE + _TIMES * sum(self._took[item.nodeid] for item in items))

    def _run_one(self, mutant: Mutant, items: list[pytest.Item], functions: dict[_Place, list[FunctionType]]) -> None:
        path = str(self.folder / mutant.file)
        inside = f"{mutant.where}."

        def calls(item: pytest.Item) -> bool:
            return any(
                file == path and (not mutant.where or name == mutant.where or name.startswith(inside))
                for file, name in self._calls[item.nodeid]
            )

        own = f"test_{Path(mutant.file).stem}.py"
        tests = sorted(filter(calls, items), key=lambda item: (item.path.name != own, self._took[item.nodeid]))
        tests = list(self._within(tests))
        if not tests:
            self._report(MutantResult(mutant, "untested", 0, 0.0))
            return
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        how = {_SURVIVED: "survived", _INVALID: "invalid", -signal.SIGXCPU: "time", -signal.SIGKILL: "time"}
        ended = self._child(tests, (mutant, functions), self._limit(tests))
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        took = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        self._report(MutantResult(mutant, how.get(ended, "killed"), len(tests), took))

    def _within(self, tests: list[pytest.Item]) -> Iterator[pytest.Item]:
        """Yield the first of ``tests``, within the budget; a mutant that only later ones would kill has survived."""
        spent = 0.0
        for item in tests:
            if spent > self.budget:
                return
            spent += self._took[item.nodeid]
            yield item

    def _report(self, result: MutantResult) -> None:
        self.results.append(result)
        self.tell(f"{result.how:<9} {result.took:6.2f} s  {result.tests:>4} tests  {result.mutant.key}")

    def _child(self, tests: list[pytest.Item], change: Any, limit: int) -> int:
        """Run ``tests`` in a child; return its exit status, or minus the signal that killed it."""
        sys.stdout.flush()
        sys.stderr.flush()
        child = os.fork()
        if child:
            return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        try:
            self._run(tests, change, limit)
        except BaseException:  # noqa: BLE001 -- pytest itself has tripped over the mutant
            os._exit(_KILLED)
        os._exit(_SURVIVED)

    def _run(self, tests: list[pytest.Item], change: Any, limit: int) -> None:
        self._in_child = True
        nothing = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nothing, 1)
        os.dup2(nothing, 2)
        resource.setrlimit(resource.RLIMIT_CPU, (limit, limit + 1))
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + _MEMORY, used + _MEMORY))
        if not apply(self.folder, *change):
            os._exit(_INVALID)
        for item in tests:
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=None)


def _functions(folder: Path) -> dict[_Place, list[FunctionType]]:
    """Return all functions of the files in ``folder``, by file and qualified name."""
    found: dict[_Place, list[FunctionType]] = {}
    gc.unfreeze()  # as tests/conftest.py froze them, they would not be listed
    for thing in gc.get_objects():
        if isinstance(thing, FunctionType) and thing.__code__.co_filename.startswith(str(folder)):
            found.setdefault((thing.__code__.co_filename, thing.__code__.co_qualname), []).append(thing)
    return found


def apply(folder: Path, mutant: Mutant, functions: dict[_Place, list[FunctionType]]) -> bool:
    """Apply ``mutant`` to the loaded code; return False if that is impossible."""
    path = folder / mutant.file
    tree = mutated(path, mutant)
    if not mutant.where:
        return _apply_constant(str(path), tree, mutant)
    planted = False
    inside = f"{mutant.where}."
    codes = {(code.co_qualname, code.co_firstlineno): code for code in _codes(compile(tree, str(path), "exec"))}
    for (file, name), those in functions.items():
        if file == str(path) and (name == mutant.where or name.startswith(inside)):
            for function in those:
                code = codes.get((name, function.__code__.co_firstlineno))
                if code is None or code.co_freevars != function.__code__.co_freevars:
                    return False
                function.__code__ = code
                planted = True
    _forget_what_is_cached()
    return planted


def _forget_what_is_cached() -> None:
    """Clear the caches of functions."""
    for module in _modules():
        for thing in list(vars(module).values()):
            if hasattr(thing, "cache_clear"):
                thing.cache_clear()


def _codes(code: CodeType) -> Iterator[CodeType]:
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield constant
            yield from _codes(constant)


def _apply_constant(path: str, tree: ast.Module, mutant: Mutant) -> bool:
    """Set the constant's new value, in its module and wherever it was imported."""
    [home] = [module for module in _modules() if getattr(module, "__file__", None) == path]
    [statement] = [
        each for each in tree.body if isinstance(each, ast.AnnAssign) and each.lineno == mutant.line and each.value
    ]
    assert isinstance(statement.target, ast.Name)
    assert statement.value is not None
    name = statement.target.id
    was = getattr(home, name)
    value = eval(compile(ast.Expression(statement.value), path, "eval"), vars(home))
    if not isinstance(was, int | float) or value == was:
        return False
    for module in _modules():
        if vars(module).get(name) is was:
            setattr(module, name, value)
    return True


def _modules() -> list[ModuleType]:
    return [module for name, module in list(sys.modules.items()) if name.partition(".")[0] in ("gossipreg", "tests")]
