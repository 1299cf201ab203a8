"""The demo's agents: real `gossipreg agent` processes on loopback, all of them and their files removed at the end."""

from __future__ import annotations

import secrets
import select
import subprocess
import sys
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from gossipreg.cli.client import AgentClient
from gossipreg.errors import GossipregError
from gossipreg.json_documents import read_json
from gossipreg.key_format import KEY_BYTES, encode_key
from gossipreg.values import frozen

#: How long an agent may take to say that it is ready (seconds): its interpreter starts beside fifteen others.
_READY_PATIENCE: Final = 15.0


@frozen
class RunningAgent:
    """One agent that has written its ready line."""

    name: str
    process: subprocess.Popen[str]
    gossip: str
    agent: AgentClient


class DemoAgents:
    """Starts, kills and restarts agents that share a key; on exit all are gone, with everything they wrote."""

    def __init__(self) -> None:
        self._directory = tempfile.TemporaryDirectory(prefix="gossipreg-demo-")
        self._processes: list[subprocess.Popen[str]] = []
        self._key_file = self._home / "key"
        self._key_file.touch(mode=0o600)
        self._key_file.write_text(encode_key(secrets.token_bytes(KEY_BYTES)))

    @property
    def _home(self) -> Path:
        return Path(self._directory.name)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        for process in self._processes:
            process.kill()
        for process in self._processes:
            process.wait()
            assert process.stdout is not None
            process.stdout.close()
        self._directory.cleanup()

    def start(self, name: str, seed: str | None, *flags: str, bind: str = "127.0.0.1:0") -> subprocess.Popen[str]:
        """Start an agent, or restart one, that joins at ``seed``, with further ``flags``; do not wait for it."""
        command = [sys.executable, "-m", "gossipreg", "agent", "--name", name, "--cluster", "demo", *flags]
        command += ["--bind", bind, "--http", "127.0.0.1:0", "--dns", "off", "--log-format", "json"]
        command += ["--key-file", str(self._key_file), "--data-dir", str(self._home / name)]
        if seed is not None:
            command += ["--join", seed]
        with self._log(name).open("w") as log:
            process = subprocess.Popen(  # noqa: S603 -- our own program, our own arguments
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                start_new_session=True,  # so that Ctrl-C goes to the demo, which then ends the agents
            )
        self._processes.append(process)
        return process

    def ready(self, name: str, process: subprocess.Popen[str]) -> RunningAgent:
        """Wait for the ready line. Raises ``GossipregError`` with the agent's last log line if it does not come."""
        assert process.stdout is not None
        if not select.select([process.stdout], [], [], _READY_PATIENCE)[0]:
            raise GossipregError(f"{name} was not ready within {_READY_PATIENCE:g} s: {self._last_line(name)}")
        line = process.stdout.readline()
        if not line:
            raise GossipregError(f"{name} ended before it was ready: {self._last_line(name)}")
        ready: dict[str, Any] = read_json(line)
        return RunningAgent(name, process, ready["gossip"], AgentClient.at(ready["http"]))

    def _last_line(self, name: str) -> str:
        lines = self._log(name).read_text().splitlines()
        return lines[-1].removeprefix("gossipreg: ") if lines else "it wrote no log line"

    def _log(self, name: str) -> Path:
        return self._home / f"{name}.log"
