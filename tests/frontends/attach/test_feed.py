"""Feeds: what one service's followers are told is found and packed once for all of them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import attrs
import pytest

from gossipreg.attach.frames import FrameReader
from gossipreg.attach.values import default, ext_hook
from gossipreg.frontends.attach import feed
from gossipreg.frontends.attach.feed import Followed, ServiceFeed
from gossipreg.model import Instance
from gossipreg.protocol.registry.rows import Row, Rows, key_of
from gossipreg.protocol.registry.service_view import ServiceView
from tests.embed.attached.test_copies import Fake


@pytest.fixture
def packed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The instances that are packed from now on."""
    found: list[str] = []

    def counting(value: Any) -> Any:
        if isinstance(value, Instance):
            found.append(value.id)
        return default(value)

    monkeypatch.setattr(feed, "default", counting)
    return found


def read(frames: Iterable[bytes]) -> list[Any]:
    reader = FrameReader(2**24, ext_hook)
    return [frame for data in frames for frame in reader.feed(data)]


def many(count: int) -> Fake:
    listed = tuple(Instance(id=f"{number:04}", service="s", host="h", port=1, owner="x") for number in range(count))
    return Fake(1, listed, listed)


def change(fake: Fake, place: int) -> None:
    changed = attrs.evolve(fake.listed[place], weight=fake.listed[place].weight + 1)
    fake.listed = fake.called = (*fake.listed[:place], changed, *fake.listed[place + 1 :])
    fake.position += 1


def test_a_difference_is_packed_once_for_all_that_follow(packed: list[str]) -> None:
    fake = many(100)
    followed = [Followed.of(fake.feed, 0) for _ in range(20)]
    views = [read(each.step(number)) for number, each in enumerate(followed)]
    assert len(packed) == 100
    assert [frame[1] for [frame] in views] == list(range(20)), "each under a number of its own"
    packed.clear()
    change(fake, 7)
    assert {tuple(map(str, read(each.step(5)))) for each in followed[1:]} == {
        (str(["view", 5, 2, False, True, (), (fake.listed[7],)]),)
    }
    assert packed == ["0007"]
    change(fake, 8)
    packed.clear()
    [late] = read(followed[0].step(5))
    assert late == ["view", 5, 3, False, True, (), (fake.listed[7], fake.listed[8])], "both differences as one"
    assert packed == ["0007", "0008"]
    assert read(followed[0].step(5)) == []


def test_a_process_that_is_far_behind_is_told_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed, "_CHANGES_HELD", 4)
    fake = many(5)
    followed = [Followed.of(fake.feed, 0) for _ in range(2)]
    for each in followed:
        read(each.step(1))
    for place in range(6):
        change(fake, place % 5)
        followed[0].step(1)
    [frame] = read(followed[1].step(1))
    assert frame[2:4] == [7, True]
    assert frame[6] == fake.listed


def test_a_feed_looks_at_the_chunk_that_has_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    """However large its service is (docs/decisions/0079)."""
    rows = Rows.of([Row(each, each) for each in many(2000).listed])
    views = [ServiceView(1, rows)]
    followed = ServiceFeed("s", lambda: views[-1])
    followed.update()
    changed = attrs.evolve(rows.chunks[3].shown[0], weight=9)
    views.append(ServiceView(2, rows.replaced({key_of(changed): Row(changed, changed)})))
    for whole in ("shown", "callable", "healthy"):
        monkeypatch.setattr(Rows, whole, lambda _: pytest.fail("it looks at all instances"))
    assert followed.update()
    [frame] = read(followed.told_from(1, 5))
    assert frame == ["view", 5, 2, False, True, (), (changed,)]
