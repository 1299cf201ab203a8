"""Request ids: given by the client or made here, so that an answer can be matched with its log line."""

from __future__ import annotations

import itertools
import os
import re
from typing import Final

#: The header that carries the name, both ways.
HEADER: Final = b"x-request-id"

_SANE: Final = re.compile(rb"[A-Za-z0-9._:/+=@~-]{1,128}")

_BEGINNING: Final = os.urandom(4).hex().encode("ascii")
_NUMBERS: Final = itertools.count(1)


def is_sane(name: bytes) -> bool:
    """Whether a client's own name can be repeated in a header and a log: 1 to 128 letters, digits and ``._:/+=@~-``."""
    return _SANE.fullmatch(name) is not None


def new_name() -> bytes:
    """A name that no other request of this process has, and hardly one of another."""
    return b"%b-%x" % (_BEGINNING, next(_NUMBERS))
