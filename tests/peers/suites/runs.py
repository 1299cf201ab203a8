"""Runs the tests of a suite, a process for each, a few at a time; those that fail are run again, alone at last."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping
from enum import StrEnum
from typing import Final

import attrs
import trio

from tests.peers.suites.go_module import TestBinary

#: Tests that run at once. Each starts an agent or two, and starting one is most of its work.
_AT_ONCE: Final = 3

#: How long one test may take (seconds): the machine may be busy. The slowest that pass take some 10 s on a quiet one.
_TEST_SECONDS: Final = 240

#: Characters of a test's output that are kept as the reason of its failure.
_REASON_CHARS: Final = 160


class Outcome(StrEnum):
    """How a test ended."""

    PASSED = "passed"
    FAILED = "failed"
    SKIPPED = "skipped"


@attrs.frozen
class Result:
    """What became of one test."""

    outcome: Outcome
    reason: str = ""  # of a failure, in a line


async def run_tests(binary: TestBinary, environments: Mapping[str, Mapping[str, str]]) -> dict[str, Result]:
    """Run the tests that ``environments`` holds the variables of; those that fail three times have failed.

    The tests have time limits of their own, in which a busy machine may not do what they wait for; so the last time
    each runs alone.
    """
    results: dict[str, Result] = {}
    for at_once in (_AT_ONCE, _AT_ONCE, 1):
        left = [test for test in environments if test not in results or results[test].outcome is Outcome.FAILED]
        results |= await _run_all(binary, {test: environments[test] for test in left}, at_once)
    return results


async def _run_all(
    binary: TestBinary, environments: Mapping[str, Mapping[str, str]], at_once: int
) -> dict[str, Result]:
    results: dict[str, Result] = {}
    limiter = trio.CapacityLimiter(at_once)

    async def run_one(test: str) -> None:
        async with limiter:
            results[test] = await _run(binary, test, environments[test])

    async with trio.open_nursery() as nursery:
        for test in environments:
            nursery.start_soon(run_one, test)
    return results


async def _run(binary: TestBinary, test: str, environment: Mapping[str, str]) -> Result:
    ran = await trio.run_process(
        binary.command(test, _TEST_SECONDS),
        cwd=binary.directory,
        env=environment,
        capture_stdout=True,
        stderr=subprocess.STDOUT,
        check=False,
    )
    return read_output(test, ran.returncode, ran.stdout.decode(errors="replace"))


def read_output(test: str, status: int, output: str) -> Result:
    """What a test's exit status and its output with ``-test.v`` mean."""
    if status != 0:
        return Result(Outcome.FAILED, _reason(output))
    if re.search(rf"^--- SKIP: {test} ", output, re.MULTILINE):
        return Result(Outcome.SKIPPED)
    if not re.search(rf"^--- PASS: {test} ", output, re.MULTILINE):
        return Result(Outcome.FAILED, "it was not run")
    return Result(Outcome.PASSED)


#: Lines in which a test says why it failed, the best first: what it reports itself, what it compared, what it died of.
_TELLING: Final = (
    re.compile(r"(?:_test\.go|retry\.go):\d+: (?!retry\.go|Test |Skip)(?P<said>[^\n]*\S)"),
    re.compile(r"Error:\s+Received unexpected error:\n\s+(?P<said>[^\n]+)"),
    re.compile(r"Error:\s+(?P<said>\S[^\n]*)"),
    re.compile(r"^(?P<said>panic: [^\n]*)", re.MULTILINE),
)


def _reason(output: str) -> str:
    for pattern in _TELLING:
        found = pattern.search(output)
        if found is not None:
            return found["said"].strip()[:_REASON_CHARS]
    return "it did not say why"
