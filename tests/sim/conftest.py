"""Fixtures shared by tests of the simulator: running its commands."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from gossipreg.cli import main
from tests.cli.conftest import Ran


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., Ran]:
    """Run `gossipreg sim` with these arguments in this process, with its output in a pipe."""

    def run_it(*arguments: str) -> Ran:
        with pytest.raises(SystemExit) as exited:
            main(("sim", *arguments))
        out, err = capsys.readouterr()
        return Ran(exited.value.code, out, err)

    return run_it
