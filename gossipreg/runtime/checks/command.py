"""Command checks: no shell, a session of its own that is killed whole, and bounded output."""

from __future__ import annotations

import os
import signal
import subprocess
from contextlib import suppress
from typing import Final

import trio

from gossipreg import limits
from gossipreg.check import Check
from gossipreg.model import Health
from gossipreg.protocol.registry.checks import Finding

#: Exit statuses of monitoring plugins: 0 is passing, 1 a warning, anything else critical.
_HEALTHS: Final = {0: Health.PASSING, 1: Health.WARNING}


async def run_command(check: Check) -> Finding:
    """Run the program once. If cancelled, it and what it started are killed."""
    assert check.command is not None
    try:
        process = await trio.lowlevel.open_process(
            check.command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    except OSError as error:
        return Finding(Health.CRITICAL, f"cannot run {check.command[0]}: {error.strerror}")
    assert process.stdout is not None
    status: int | None = None
    try:
        output = await _read(process.stdout)
        status = await process.wait()
    finally:
        if status is None:  # its end was not collected yet, so its id is still its own
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        with trio.CancelScope(shield=True):
            await process.wait()
            await process.stdout.aclose()
    text = output.decode(errors="replace").rstrip()
    head = f"exit status {status}" if status >= 0 else f"ended by signal {-status}"
    return Finding(_HEALTHS.get(status, Health.CRITICAL), f"{head}\n{text}".rstrip())


async def _read(stream: trio.abc.ReceiveStream) -> bytes:
    """Read until the end; keep the first bytes."""
    output = bytearray()
    while data := await stream.receive_some(limits.CHECK_READ_BYTES_MAX):
        output += data[: limits.CHECK_OUTPUT_BYTES_MAX - len(output)]
    return bytes(output)
