"""A Python program registers and follows by an older client of Consul's API, and goes on when its agent restarts."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Final

import attrs
import pytest

from tests.peers.applications import Application, offer_orders
from tests.peers.results import record
from tests.peers.stage import adapted, open_stage, running, written

pytestmark = [pytest.mark.peer, pytest.mark.slow]

#: How long PyPI may take (seconds).
_PATIENCE: Final = 90


@attrs.frozen
class _Client:
    name: str
    version: str
    number: int  # of its program on the page
    did: str


_CLIENTS: Final = (_Client("python-consul2", "0.1.5", 0, "registers and renews by ttl; follows by blocking queries"),)


def _install(client: _Client, directory: Path) -> Path:
    """Install a client into a directory of its own: its module is called as that of py-consul."""
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q", "install", f"--target={directory}"]
    try:
        done = subprocess.run(
            [*command, f"{client.name}=={client.version}"],
            capture_output=True,
            text=True,
            timeout=_PATIENCE,
            check=False,
        )
    except subprocess.TimeoutExpired:
        pytest.skip(f"pip did not install {client.name} within {_PATIENCE} s")
    if done.returncode != 0:
        pytest.skip(f"pip cannot install {client.name}: {done.stderr[-300:]}")
    return directory


@pytest.mark.parametrize("client", _CLIENTS, ids=lambda client: client.name)
async def test_it_works_as_the_page_says_and_outlives_its_agent(tmp_path: Path, client: _Client) -> None:
    libraries = _install(client, tmp_path / "libraries")
    async with open_stage(tmp_path) as stage:
        await offer_orders(stage)
        program, log = tmp_path / "program.py", tmp_path / "program.log"
        places = {"8500": stage.alpha.http.rpartition(":")[2]}
        program.write_text(adapted(written("clients/python.md", "python", client.number), places))
        environment = {**os.environ, "PYTHONPATH": str(libraries)}
        async with running(log, sys.executable, program, env=environment):
            seconds = await Application(log, stage).is_put_through()
    record(
        client=client.name,
        version=client.version,
        api="Consul",
        did=f"{client.did}; goes on when its killed agent is back",
        weights="not used",
        seconds=seconds,
    )
