"""Contests: what is said of services that several instances claim to be the primary of."""

from __future__ import annotations

import pytest

from gossipreg.model import FENCED, PRIMARY, Instance
from gossipreg.protocol.registry.view import ServiceView, View
from gossipreg.runtime.diagnostics import PrimaryConflicts


def claim(number: int, role: str) -> Instance:
    return Instance(
        id=f"i-{number}", service="orders", host="10.0.0.1", port=80, owner=f"m{number}", role=role, term=number
    )


def test_a_contest_and_its_end_are_in_the_log_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    view = View(0)
    contests = PrimaryConflicts(view)
    older, newer = claim(1, FENCED), claim(2, PRIMARY)
    for offered in [(claim(1, PRIMARY),), (older, newer), (older, newer), (newer,), ()]:
        view._services["orders"] = ServiceView(1, offered, offered)
        contests.warn(["stock", "orders"])
    contested = (
        "2 instances of orders claim to be its primary: i-2 of m2 (term 2), i-1 of m1 (term 1): "
        "i-2 is called; register the others as replicas"
    )
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("WARNING", contested),
        ("INFO", "orders is no longer contested: its primary is i-2 of m2 (term 2)"),
    ]
