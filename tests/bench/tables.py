"""Output of a benchmark: a table in Markdown, and the state of the machine meanwhile."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence


def markdown(rows: Sequence[Sequence[str]]) -> str:
    """``rows``, the first of which is the head, as a table that is aligned to be read as it is."""
    widths = [max(3, *map(len, column)) for column in zip(*rows, strict=True)]
    ruled = [rows[0], ["-" * width for width in widths], *rows[1:]]
    return "\n".join(
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in ruled
    )


def machine(load_before: float) -> str:
    """What the figures depend on besides the program."""
    return (
        f"{os.cpu_count()} cores, load {load_before:.1f} before and {os.getloadavg()[0]:.1f} after; "
        f"Python {platform.python_version()}, Linux {platform.release()}"
    )


def verdict(met: bool) -> str:
    """What the last column says of a row that has a target."""
    return "met" if met else "missed"
