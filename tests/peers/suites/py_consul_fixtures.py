"""Fixtures for py-consul's own tests, in place of those that start Consul in Docker: each test has an agent of ours.

This file is copied to where the tests are, as their ``conftest.py``. It needs ``consul`` on the PATH: see
`consul_command`.
"""

from __future__ import annotations

import json
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest


class ConsulInstance(NamedTuple):
    """What their tests are given."""

    container: subprocess.Popen[bytes]
    port: int
    version: str


#: How long an agent may take to start (seconds).
_PATIENCE = 120


def _free_ports(count: int) -> list[int]:
    listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [listener.getsockname()[1] for listener in listeners]
    for listener in listeners:
        listener.close()
    return ports


@pytest.fixture
def consul_instance(tmp_path: Path) -> Iterator[ConsulInstance]:
    """An agent, alone, that ends with the test."""
    http, gossip = _free_ports(2)
    config = {"node_name": "node", "bind_addr": "127.0.0.1", "enable_script_checks": True}
    file = tmp_path / "config.json"
    file.write_text(json.dumps({**config, "ports": {"http": http, "serf_lan": gossip}}))
    with (tmp_path / "agent.log").open("wb") as log:
        agent = subprocess.Popen(["consul", "agent", "-config-file", str(file)], stdout=log, stderr=log)
    try:
        yield ConsulInstance(agent, http, _version(http))
    finally:
        agent.kill()
        agent.wait()


def _version(port: int) -> str:
    """The version that the agent says it is, once it answers."""
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/v1/agent/self", timeout=5) as response:
                return str(json.load(response)["Config"]["Version"])
        except (urllib.error.URLError, OSError):
            assert time.monotonic() < deadline, "the agent does not answer"
            time.sleep(0.05)


@pytest.fixture
def acl_consul_instance() -> None:
    """ACLs are not there."""
    pytest.skip("gossipreg has no ACLs")


@pytest.fixture
def consul_port(consul_instance: ConsulInstance) -> tuple[int, str]:
    """The agent's port and version."""
    return consul_instance.port, consul_instance.version
