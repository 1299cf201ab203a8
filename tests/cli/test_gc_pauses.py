"""Full collections leave alone what survived the last one, and garbage is found all the same."""

from __future__ import annotations

import gc
import subprocess
import sys
import weakref
from collections.abc import Iterator

import pytest
import trio
from trio.testing import MockClock

from gossipreg.cli import gc_pauses as collecting_module
from gossipreg.cli.gc_pauses import keep_pauses_short

pytestmark = pytest.mark.skipif(sys.version_info >= (3, 14), reason="this Python collects in small steps")


class _Knot:
    """Something that only a collection can find once nothing refers to it."""

    def __init__(self) -> None:
        self.itself = self


@pytest.fixture(autouse=True)
def _freeze_again() -> Iterator[None]:
    """All the tests of the process are thawed by these, as in tests/conftest.py they were frozen."""
    yield
    gc.freeze()


async def test_what_survived_is_frozen_and_what_became_garbage_is_found(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(collecting_module, "_LARGE", 10**9)  # however much the tests before left
    before = list(gc.callbacks)
    async with trio.open_nursery() as collecting:
        collecting.start_soon(keep_pauses_short)
        await trio.testing.wait_all_tasks_blocked()
        knot = _Knot()
        seen = weakref.ref(knot)
        gc.collect()
        assert gc.get_freeze_count() > 1000
        del knot
        gc.collect()
        assert seen() is not None, "frozen objects are not looked at"
        await trio.sleep(601)
        assert seen() is None
        assert gc.get_freeze_count() > 1000, "what survived is frozen again"
        collecting.cancel_scope.cancel()
    assert gc.callbacks == before
    assert gc.get_freeze_count() == 0


@pytest.mark.slow  # it makes as many objects as the tests before left, and collects them many times
async def test_garbage_is_found_before_there_is_too_much_of_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(collecting_module, "_ROOM", 1000)
    async with trio.open_nursery() as collecting:
        collecting.start_soon(keep_pauses_short)
        await trio.testing.wait_all_tasks_blocked()
        gc.collect()
        knot = _Knot()
        seen = weakref.ref(knot)
        gc.collect()
        del knot
        gc.collect()
        assert seen() is not None
        more = [[] for _ in range(2 * sys.getallocatedblocks() + 2000)]  # type: list[list[int]]
        for _ in range(3):
            gc.collect()
        assert seen() is None
        del more
        collecting.cancel_scope.cancel()


async def test_a_whole_collection_of_much_is_put_off(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(collecting_module, "_LARGE", 0)
    async with trio.open_nursery() as collecting:
        collecting.start_soon(keep_pauses_short)
        await trio.testing.wait_all_tasks_blocked()
        knot = _Knot()
        seen = weakref.ref(knot)
        gc.collect()
        del knot
        await trio.sleep(3599)
        assert seen() is not None
        await trio.sleep(2)
        assert seen() is None
        collecting.cancel_scope.cancel()


@pytest.mark.slow  # it makes as many objects as the tests before left, and collects them many times
async def test_objects_that_come_and_go_cause_no_whole_collection(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each lives through one full collection, as connections of a flood do; reference counts free it after that."""
    monkeypatch.setattr(collecting_module, "_ROOM", 10_000)
    whole: list[None] = []
    unfreeze = gc.unfreeze
    monkeypatch.setattr(gc, "unfreeze", lambda: whole.append(unfreeze()))
    thresholds = gc.get_threshold()
    async with trio.open_nursery() as collecting:
        collecting.start_soon(keep_pauses_short)
        await trio.testing.wait_all_tasks_blocked()
        assert gc.get_threshold() != thresholds
        gc.collect()
        share = sys.getallocatedblocks() // 4
        for _ in range(20):
            more = [[] for _ in range(share)]  # type: list[list[int]]
            gc.collect()
            del more
        assert not whole
        collecting.cancel_scope.cancel()
    assert gc.get_threshold() == thresholds


async def test_nothing_is_counted_object_by_object(monkeypatch: pytest.MonkeyPatch) -> None:
    """To list or count objects takes as long as to collect them: a tenth of a second with nine thousand connections."""

    def slow() -> None:
        raise AssertionError("this stops the loop")

    async with trio.open_nursery() as collecting:
        collecting.start_soon(keep_pauses_short)
        await trio.testing.wait_all_tasks_blocked()
        monkeypatch.setattr(gc, "get_freeze_count", slow)
        monkeypatch.setattr(gc, "get_objects", slow)
        unraisable: list[object] = []
        monkeypatch.setattr(sys, "unraisablehook", unraisable.append)
        for _ in range(3):
            gc.collect()
        assert unraisable == []
        collecting.cancel_scope.cancel()


async def test_what_the_start_has_made_is_frozen_before_anything_is_collected() -> None:
    gc.unfreeze()
    async with trio.open_nursery() as collecting:
        collecting.start_soon(keep_pauses_short)
        await trio.testing.wait_all_tasks_blocked()
        assert gc.get_freeze_count() > 1000
        collecting.cancel_scope.cancel()


def test_a_command_does_not_look_at_what_it_imports_again_and_again() -> None:
    program = """if True:
        import atexit, gc, sys
        collected = []
        gc.callbacks.append(lambda phase, info: collected.append(info["generation"]) if phase == "start" else None)
        atexit.register(lambda: print(len(collected), max(collected, default=0)))
        sys.argv = ["gossipreg", "agent", "--help"]
        from gossipreg.__main__ import main
        main()
    """
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    often, oldest = map(int, ran.stdout.splitlines()[-1].split())
    assert often < 20
    assert oldest < 2
