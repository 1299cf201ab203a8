"""An unsolicited message is not sent to the same member twice in a moment."""

from __future__ import annotations

import pytest

from gossipreg import limits
from gossipreg.protocol.membership.member_update import Destination
from tests.protocol.making import address, engine


def test_what_was_told_a_moment_ago_is_not_told_again_whatever_is_tidied_up_meanwhile() -> None:
    outbox = engine("a").outbox
    outbox.take()
    told = []
    for now in (10.0, 10.25, 10.5):
        outbox.tell(Destination(7, address()), b"accused", now)
        outbox.forget(now)
        told.append(len(outbox.take()))
    assert told == [1, 0, 1]


def test_who_was_told_long_ago_is_forgotten() -> None:
    outbox = engine("a").outbox
    outbox.tell(Destination(7, address()), b"accused", 10.0)
    outbox.forget(10.5)
    assert outbox._told == {}


def test_what_was_told_is_remembered_of_so_many_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "TOLD_MAX", 2)
    outbox = engine("a").outbox
    for run_id in range(5):
        outbox.tell(Destination(run_id, address()), b"accused", 10.0)
    assert list(outbox._told) == [3, 4]
