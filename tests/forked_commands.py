"""Forked commands: processes of the `gossipreg` command, each forked from one process that has imported it already.

Most of what an agent costs until it is ready is the import: half a second of CPU. Here one template process for each
process of the tests imports, and each command is a fork of it: a process like any other, with its own signals, files
and exit status. Left out is only what happens before a command line is read; `tests/drills` starts them as users do.
A program with an embedded node is forked likewise, from another template process.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import importlib
import json
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
import types
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, TextIO

import attrs

ROOT: Final = Path(__file__).parent.parent

#: Most bytes of a request: arguments, environment and directory. A Unix socket takes so many in one piece.
_REQUEST_BYTES_MAX: Final = 131_072

#: What an agent imports when it starts, and most commands a part of.
_PRELOADED: Final = (
    *(
        "gossipreg.cli.agent",
        "gossipreg.cli.root",
        "gossipreg.cli.run_agent",
        "gossipreg.runtime.state_store",
        "sqlite3",
    ),
    *(f"gossipreg.frontends.{each}" for each in ("http", "dns", "dns.responder", "dns.zone", "web.page")),
    *(f"gossipreg.frontends.{each}.api" for each in ("consul", "eureka", "envoy", "traefik")),
)

#: What programs import that embed a node.
_PRELOADED_FOR_PROGRAMS: Final = ("asyncio", "gossipreg.embed.asyncio", "gossipreg.embed.threads", "tests.embed.seeing")

#: How the template process tells a process id, or an exit status.
_NUMBER: Final = struct.Struct("i")


@attrs.define(eq=False)
class ForkedCommand:
    """A command that runs: of `subprocess.Popen` the part that tests need, with pipes that are read as text."""

    pid: int
    stdout: TextIO
    stderr: TextIO
    _status: int  # descriptor: its exit status, once it has ended
    returncode: int | None = None

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end; the exit status, or a negative signal. Raises ``subprocess.TimeoutExpired`` (seconds)."""
        if self.returncode is None:
            readable, _, _ = select.select([self._status], [], [], timeout)
            if not readable:
                raise subprocess.TimeoutExpired("gossipreg", timeout or 0.0)
            self.returncode = _told(self._status)
            os.close(self._status)
        return self.returncode

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """Read all that it writes, and wait for its end. Raises likewise."""
        written = ["", ""]

        def read(place: int, pipe: TextIO) -> None:
            with pipe:
                written[place] = pipe.read()

        pipes = [(place, pipe) for place, pipe in enumerate((self.stdout, self.stderr)) if not pipe.closed]
        # Both at a time: the command would wait for the one that is not read.
        readers = [threading.Thread(target=read, args=each, daemon=True) for each in pipes]
        for each in readers:
            each.start()
        self.wait(timeout)
        for each in readers:
            each.join(timeout)
            if each.is_alive():
                raise subprocess.TimeoutExpired("gossipreg", timeout or 0.0)
        return written[0], written[1]

    def send_signal(self, number: int) -> None:
        """Send it a signal, unless it has ended."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.wait(0)
        if self.returncode is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        """Send it SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Kill it, if it has not ended."""
        with contextlib.suppress(ProcessLookupError):
            self.send_signal(signal.SIGKILL)


def fork_command(*arguments: str, **environment: str) -> ForkedCommand:
    """Run ``gossipreg`` with ``arguments`` in this process's directory and environment, and with ``environment``."""
    return _fork(_template(), {"arguments": arguments}, environment, os.getcwd())


def fork_program(program: str) -> ForkedCommand:
    """Run ``program`` as ``python -W error -c`` would, in the project's directory and this process's environment."""
    return _fork(_template(programs=True), {"arguments": (), "program": program}, {}, str(ROOT))


def _fork(
    template: socket.socket, request: dict[str, Any], environment: Mapping[str, str], directory: str
) -> ForkedCommand:
    request |= {"environment": {**os.environ, **environment}, "directory": directory}
    (out, theirs_out), (err, theirs_err), (status, theirs_status) = os.pipe(), os.pipe(), os.pipe()
    theirs = [theirs_out, theirs_err, theirs_status]
    try:
        socket.send_fds(template, [json.dumps(request).encode()], theirs)
    finally:
        for each in theirs:
            os.close(each)
    return ForkedCommand(_told(status), os.fdopen(out), os.fdopen(err), status)


def _told(descriptor: int) -> int:
    number = os.read(descriptor, _NUMBER.size)
    assert number, "the template process of forked commands has ended"
    found: int = _NUMBER.unpack(number)[0]
    return found


@functools.cache
def _template(*, programs: bool = False) -> socket.socket:
    """The connection to this process's template process of commands, or of programs, which ends with it."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "tests.forked_commands",
                str(theirs.fileno()),
                "programs" if programs else "commands",
            ],
            cwd=ROOT,
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            process_group=0,  # Ctrl-C is for pytest
        )

    def end() -> None:
        ours.close()
        process.wait()

    atexit.register(end)
    return ours


# In the template process


def _next_command(requests: socket.socket) -> dict[str, Any] | None:
    """In a fork: the command that it is to be. None in the template process, once it is of no use any more."""
    while True:
        request, descriptors, _, _ = socket.recv_fds(requests, _REQUEST_BYTES_MAX, 3)
        with contextlib.suppress(ChildProcessError):  # reaped, what they took counts as this process's own
            while os.waitpid(-1, os.WNOHANG) != (0, 0):
                pass
        if not request:
            return None
        if os.fork() == 0:
            requests.close()
            command: dict[str, Any] = json.loads(request)
            _become(command, *descriptors)
            return command
        for each in descriptors:
            os.close(each)


def _become(command: dict[str, Any], out: int, err: int, status: int) -> None:
    """Return in a fork that has the streams, environment and directory of ``command``; tell ``status`` of its end."""
    pid = os.fork()
    if pid:
        os.close(out)
        os.close(err)
        try:
            os.write(status, _NUMBER.pack(pid))
            _, ended = os.waitpid(pid, 0)
            os.write(status, _NUMBER.pack(os.waitstatus_to_exitcode(ended)))
        finally:
            os._exit(0)
    os.dup2(out, 1)
    os.dup2(err, 2)
    for each in (out, err, status):
        os.close(each)
    os.environ.clear()
    os.environ.update(command["environment"])
    os.chdir(command["directory"])
    sys.argv[1:] = command["arguments"]


def _run() -> None:
    from gossipreg.__main__ import main

    for each in _PRELOADED_FOR_PROGRAMS if sys.argv[2] == "programs" else _PRELOADED:
        importlib.import_module(each)
    command = _next_command(socket.socket(fileno=int(sys.argv[1])))
    if command is not None and "program" in command:
        _run_program(command["program"])
    elif command is not None:
        main()


def _run_program(text: str) -> None:
    warnings.resetwarnings()
    warnings.simplefilter("error")
    sys.warnoptions[:] = ["error"]
    sys.argv[:] = ["-c"]
    itself = types.ModuleType("__main__")
    sys.modules["__main__"] = itself
    exec(compile(text, "<string>", "exec"), itself.__dict__)


if __name__ == "__main__":
    _run()
