"""A belief about a member may rise, and must not regress."""

from __future__ import annotations

import attrs

from gossipreg.model import Address, Status
from gossipreg.protocol.membership.member_update import MemberUpdate
from gossipreg.protocol.outputs import MemberChanged
from gossipreg_sim.oracles.monotonic_beliefs import MonotonicBeliefs
from tests.sim.oracles.watching import texts, watched

SUSPECTED = MemberUpdate("n9", 1_000, 3, Status.SUSPECT, Address("198.18.0.9", 7940), "")


def test_ranks_may_rise_and_a_forgotten_member_may_return() -> None:
    made, ranks = watched(MonotonicBeliefs)
    n0 = made.processes["n0"]
    ranks.see(n0, MemberChanged(None, SUSPECTED))
    failed = attrs.evolve(SUSPECTED, status=Status.FAILED)
    ranks.see(n0, MemberChanged(SUSPECTED, failed))
    ranks.see(n0, MemberChanged(failed, None))
    ranks.see(n0, MemberChanged(None, SUSPECTED))
    assert ranks.checks >= 3
    assert texts(ranks) == []


def test_a_forgotten_member_that_left_may_return_only_in_a_later_run() -> None:
    made, ranks = watched(MonotonicBeliefs)
    n0 = made.processes["n0"]
    left = attrs.evolve(SUSPECTED, status=Status.LEFT)
    for status in (Status.LEFT, Status.FAILED):
        ranks.see(n0, MemberChanged(None, left))
        ranks.see(n0, MemberChanged(left, None))
        ranks.see(n0, MemberChanged(None, attrs.evolve(SUSPECTED, status=status)))
    ranks.see(n0, MemberChanged(None, attrs.evolve(SUSPECTED, generation=2_000, status=Status.FAILED)))
    assert texts(ranks) == ["n9 regressed from (1000, 3, 3) to (1000, 3, 2)"]


def test_a_falling_rank_is_reported() -> None:
    made, ranks = watched(MonotonicBeliefs)
    n0 = made.processes["n0"]
    ranks.see(n0, MemberChanged(None, SUSPECTED))
    lower = attrs.evolve(SUSPECTED, status=Status.ALIVE)
    ranks.see(n0, MemberChanged(SUSPECTED, lower))
    ranks.see(n0, MemberChanged(lower, attrs.evolve(SUSPECTED, incarnation=2)))
    ranks.see(n0, MemberChanged(lower, attrs.evolve(SUSPECTED, generation=999, incarnation=9)))
    assert texts(ranks) == [
        "n9 regressed from (1000, 3, 1) to (1000, 3, 0)",
        "n9 regressed from (1000, 3, 0) to (1000, 2, 1)",
        "n9 regressed from (1000, 2, 1) to (999, 9, 1)",
    ]
