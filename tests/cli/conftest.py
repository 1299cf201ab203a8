"""What tests of the command line share: a way to run it, and a fake agent to run it against."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator

import attrs
import pytest

from gossipreg.cli import main
from tests.cli.fake_agent import FakeAgent


@attrs.frozen
class Ran:
    """How one command line ended, and what it wrote."""

    status: object
    out: str
    err: str


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("HTTP", "AGENT", "TOKEN", "CONFIG", "CA_FILE", "CLIENT_CERT")
    for name in (f"GOSSIPREG_{each}" for each in names):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(autouse=True)
def _logs_as_before() -> Iterator[None]:
    """A command that runs in this process may send all log lines to its own standard error."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., Ran]:
    """Run a command line in this process, with its output in a pipe."""

    def run_it(*arguments: str) -> Ran:
        with pytest.raises(SystemExit) as exited:
            main(arguments)
        out, err = capsys.readouterr()
        return Ran(exited.value.code, out, err)

    return run_it


@pytest.fixture
def fake() -> Iterator[FakeAgent]:
    with FakeAgent() as agent:
        yield agent


@pytest.fixture
def ask(run: Callable[..., Ran], fake: FakeAgent) -> Callable[..., Ran]:
    """Run a command line that asks the fake agent."""
    return lambda *arguments: run(*arguments, "--http", fake.address)
