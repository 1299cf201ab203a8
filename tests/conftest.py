"""What all test runs share: which tests are left out, how many processes run them, how many examples are drawn."""

from __future__ import annotations

import contextlib
import functools
import gc
import importlib
import itertools
import os
import signal
import sys
from collections.abc import Generator
from pathlib import Path
from typing import Final

import pytest
from hypothesis import HealthCheck, given, settings, strategies

#: Folders whose tests start agents or programs of others and wait for them: all of them are slow.
_SLOW_FOLDERS: Final = ("drills", "peers")

#: Where this folder is: `tests.sim` is found here.
_ROOT: Final = Path(__file__).parent.parent

#: Processes at most. Each collects all tests (some five seconds), and tests of real agents want a core each.
_PROCESSES_MAX: Final = 8


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--record-scenes",
        action="store_true",
        help="write down what happens in tests/scenes/*.txt as what is expected; read the difference before you commit",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Run the slow tests, too, of a file or a test that the command line names."""
    # In the background of a shell without job control Ctrl-C is ignored, also by programs that tests start: those that
    # are ended by it would go on for ever.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    # Each process of the tests and each program that a test starts would compile all that it imports.
    sys.dont_write_bytecode = False
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    if config.option.markexpr in _left_out(config) and _names_files(config):
        config.option.markexpr = "not chaos and not fuzz"


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Keep out of every garbage collection what is there before the first test: a third of a second each time."""
    gc.disable()
    try:
        return (yield)
    finally:
        _draw_something()
        gc.freeze()
        gc.enable()


@settings(max_examples=1, database=None)
@given(strategies.none())
def _draw_something(_: None) -> None:
    """Have hypothesis register its random generator: it asks the collector who refers to it, which a freeze hides."""


def pytest_collectstart(collector: pytest.Collector) -> None:
    _compile_a_part(collector.config)


@functools.cache
def _compile_a_part(config: pytest.Config) -> None:
    """Import this process's part of the tests before the rest, which the other processes compile meanwhile.

    All collect the same tests. To compile them with pytest's assertions takes half of the time of that, unless another
    process has done it: with two processes, each compiles one half and finds the other in `__pycache__`.
    """
    xdist = getattr(config, "workerinput", None)
    if xdist is None:
        return
    parts = int(xdist["workercount"])
    part = int(xdist["workerid"].removeprefix("gw")) % parts
    named = (Path(name.partition("::")[0]).absolute() for name in config.args)
    files = sorted({file for path in named for file in ([path] if path.is_file() else path.rglob("test_*.py"))})
    for file in files[part::parts]:
        # What is wrong with a file is told when it is collected. What pytest raises to skip or fail is no Exception.
        with contextlib.suppress(Exception, pytest.skip.Exception, pytest.fail.Exception):
            importlib.import_module(".".join(file.relative_to(_ROOT).with_suffix("").parts))


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark whole folders as slow, before `-m` looks at the marks."""
    for item in items:
        inside = item.path.relative_to(Path(__file__).parent).parts
        if inside[0] in _SLOW_FOLDERS:
            item.add_marker(pytest.mark.slow)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Run in one process what is small, or what only one process can see: coverage, and scenes to be written."""
    measured = sys.gettrace() is not None or "coverage" in sys.modules
    if measured or config.getoption("--record-scenes") or _names_files(config):
        return 0
    return min(len(os.sched_getaffinity(0)), _PROCESSES_MAX)


def _left_out(config: pytest.Config) -> list[str]:
    """The expressions for `-m` in pyproject.toml; the command line may have given another."""
    options: list[str] = config.getini("addopts")
    return [value for option, value in itertools.pairwise(options) if option == "-m"]


def _names_files(config: pytest.Config) -> bool:
    """Whether every path on the command line is of a file or of a test in it."""
    return all(name.partition("::")[0].endswith(".py") for name in config.args)


# Machines are shared and noisy: how long an example takes says nothing about whether it holds. The examples are the
# same each time, so that a change is judged by what it changes; `--hypothesis-profile=random` looks for new ones.
settings.register_profile(
    "gossipreg",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    max_examples=50,
    derandomize=True,
    print_blob=True,
)
settings.register_profile("thorough", parent=settings.get_profile("gossipreg"), max_examples=200)
settings.register_profile("random", parent=settings.get_profile("thorough"), derandomize=False)
settings.load_profile("gossipreg")
