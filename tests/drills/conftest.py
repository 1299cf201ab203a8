"""Fixtures of the drills: agents, and a summary of what was measured."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import pytest

from tests.drills.agents import QUICK, Agents, Measured, open_agents

_MEASURED: Final = pytest.StashKey[list[str]]()


@pytest.fixture
async def agents(tmp_path: Path) -> AsyncIterator[Agents]:
    """Agents with the default settings."""
    async with open_agents(tmp_path) as agents:
        yield agents


@pytest.fixture
async def quick_agents(tmp_path: Path) -> AsyncIterator[Agents]:
    """Agents that notice sooner."""
    async with open_agents(tmp_path, QUICK) as agents:
        yield agents


@pytest.fixture
def measured(request: pytest.FixtureRequest) -> Measured:
    """Takes a sentence about what was measured, to be shown after the run."""
    return request.config.stash.setdefault(_MEASURED, []).append


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Show what was measured."""
    sentences = config.stash.get(_MEASURED, [])
    if sentences:
        terminalreporter.section("drills")
        for sentence in sentences:
            terminalreporter.line(sentence)
