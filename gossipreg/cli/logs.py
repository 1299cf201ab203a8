"""Log lines of an agent on standard error: text for people, JSON for programs."""

from __future__ import annotations

import json
import logging
from typing import Any, Final

from gossipreg.cli.time_format import utc

#: Attributes of every log record; the others were given by the caller as ``extra``.
_STANDARD: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class _Text(logging.Formatter):
    """``2026-03-01 12:00:00.123 warning gossipreg.runtime.node: the sentence``, in local time."""

    default_msec_format = "%s.%03d"

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(level)s %(name)s: %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 -- logging's own name
        record.level = record.levelname.lower()
        return super().formatMessage(record)


class _Json(logging.Formatter):
    """One object a line: time (UTC), level, logger, message, the caller's ``extra``, and a traceback if any."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": utc(record.created),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        line |= {key: value for key, value in vars(record).items() if key not in _STANDARD and key not in line}
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


def write_logs(form: str, level: str = "info") -> None:
    """Send the log lines of this process to standard error, as ``text`` or ``json``.

    ``level`` is the least severe that are written: ``debug``, ``info``, ``warning`` or ``error``.
    """
    handler = logging.StreamHandler()
    handler.setFormatter(_Json() if form == "json" else _Text())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
