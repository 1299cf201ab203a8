"""A reply that is not there yet: an answer that a client waits for until something has changed."""

from __future__ import annotations

from collections.abc import Coroutine
from math import inf
from typing import Any, Protocol

import attrs

from gossipreg.frontends.serving.response import Response


class ResponseWaiter(Protocol):
    """Waits for an answer."""

    def __call__(self, most: float = inf) -> Coroutine[Any, Any, Response]:
        """Return the answer once there is news, or after the client's own time or ``most`` seconds what there is."""


@attrs.frozen(eq=False)
class DeferredResponse:
    """The answer will be what ``answer`` returns. It is cancelled if the client goes away before that."""

    answer: ResponseWaiter
