"""Mutations of joining and streams: fingerprints over streams, and clocks of joining nodes."""

from __future__ import annotations

from typing import Any

import pytest

from gossipreg.protocol.clock_watch import ClockWatch
from gossipreg.protocol.inbound import Inbound
from tests.sim.mutations.mutation import mutation
from tests.sim.mutations.scenarios import CLOCKS, STREAMS_ONLY


@mutation(STREAMS_ONLY, "StreamFallback")
def a_fingerprint_from_a_stream_is_ignored(patch: pytest.MonkeyPatch) -> None:
    original = Inbound._compare

    def compare(self: Inbound, theirs: int, context: Any, now: float) -> None:
        if context.stream is None:
            original(self, theirs, context, now)

    patch.setattr(Inbound, "_compare", compare)


@mutation(CLOCKS, "HalfOpenJoins")
def clocks_of_joining_nodes_are_not_compared(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(ClockWatch, "is_refused", lambda *_: False)
