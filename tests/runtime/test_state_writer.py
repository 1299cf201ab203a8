"""What a data directory suffers is noticed soon, and what changes by itself is written more rarely."""

from __future__ import annotations

from typing import Any, cast

import attrs
import pytest
import trio
from trio.testing import MockClock

from gossipreg.runtime.state_writer import StateWriter


@attrs.define(eq=False)
class CountingStore:
    """Counts looks at the disk."""

    looks: list[float] = attrs.field(factory=list)
    problem: str = ""

    async def look_at_disk(self) -> None:
        self.looks.append(trio.current_time())
        await trio.lowlevel.checkpoint()


async def test_the_disk_is_looked_at_each_second_and_written_each_five(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[float] = []

    async def write(_: StateWriter) -> None:
        written.append(trio.current_time())
        await trio.lowlevel.checkpoint()

    monkeypatch.setattr(StateWriter, "store_identity", write)
    store, began = CountingStore(), trio.current_time()
    nothing = cast("Any", None)
    writer = StateWriter(nothing, nothing, cast("Any", store), lambda _: False)
    with trio.move_on_after(20.5):
        await writer.keep_identity_stored()
    assert len(store.looks) == 21
    assert max(after - before for before, after in zip(store.looks, store.looks[1:], strict=False)) <= 1.01
    assert [round(each - began) for each in written] == [5, 10, 15, 20]
