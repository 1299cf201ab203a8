"""A reply that is not there yet: an answer that a client waits for until something has changed."""

from __future__ import annotations

from collections.abc import Coroutine
from math import inf
from typing import Any, Protocol

import attrs

from gossipreg.frontends.http.answers import Answer


class Later(Protocol):
    """Waits for an answer."""

    def __call__(self, most: float = inf) -> Coroutine[Any, Any, Answer]:
        """Return the answer once there is news, or after the client's own time or ``most`` seconds what there is."""


@attrs.frozen(eq=False)
class Waiting:
    """The answer will be what ``answer`` returns. It is cancelled if the client goes away before that."""

    answer: Later
