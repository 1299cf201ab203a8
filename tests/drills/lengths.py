"""The length of drills: short by default, in full with ``GOSSIPREG_LONG_DRILLS=1``."""

from __future__ import annotations

import os
from typing import Final, TypeVar

LONG: Final = bool(os.environ.get("GOSSIPREG_LONG_DRILLS"))

_T = TypeVar("_T")


def scaled(short: _T, long: _T) -> _T:
    """``short`` in the suite, ``long`` when the drills are run in full."""
    return long if LONG else short
