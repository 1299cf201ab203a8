"""The command that makes a program read its new file: how it is run and logged."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import tempfile
from collections.abc import Iterable
from itertools import islice
from typing import Final

from gossipreg.values import frozen

log = logging.getLogger("gossipreg.render")

#: How long the command may run (seconds). It stands between one change and the next: a reload takes a second or so.
SECONDS_MAX: Final = 30.0

#: Lines of its output that are logged: enough to see what is wrong with a configuration.
_LINES_MAX: Final = 50


@frozen
class Command:
    """A line for the shell."""

    line: str
    seconds_max: float = SECONDS_MAX

    def run(self) -> bool:
        """Run it to its end and log what it wrote; returns whether it succeeded, in time.

        Beyond its time it is killed, and with it what it started. What it leaves running is no part of it.
        """
        with tempfile.TemporaryFile() as written:  # a pipe would stay open for as long as what it leaves running
            process = subprocess.Popen(  # noqa: S603 -- the line is the operator's own
                ["/bin/sh", "-c", self.line],
                stdin=subprocess.DEVNULL,
                stdout=written,
                stderr=written,
                start_new_session=True,
            )
            try:
                process.wait(self.seconds_max)
            except subprocess.TimeoutExpired:
                log.warning("%s: it is not done after %g s, and is killed", self.line, self.seconds_max)
            finally:
                if process.returncode is None:
                    os.killpg(process.pid, signal.SIGKILL)
                    process.wait()
            written.seek(0)
            self._tell(written, process.returncode)
        return process.returncode == 0

    def _tell(self, written: Iterable[bytes], status: int) -> None:
        for line in islice(written, _LINES_MAX):
            log.log(
                logging.ERROR if status else logging.INFO, "%s: %s", self.line, line.decode(errors="replace").rstrip()
            )
        if status:
            how = f"was ended by {signal.Signals(-status).name}" if status < 0 else f"failed with status {status}"
            log.error("%s: %s; it runs again at the next change", self.line, how)
