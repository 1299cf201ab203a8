"""Knows a reply that is not there yet: an answer that somebody waits for until something has changed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import attrs

from gossipreg.doors.http.answers import Answer


@attrs.frozen(eq=False)
class Waiting:
    """The answer will be what ``answer`` returns. It is cancelled if the client goes away before that."""

    answer: Callable[[], Awaitable[Answer]]
