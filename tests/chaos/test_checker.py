"""The checker finds what was planted in a history, and finds nothing in a good one. No agent runs here."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import attrs
import pytest

from tests.chaos.checker import Checker, port_of
from tests.chaos.history import (
    Begun,
    Complained,
    Died,
    Done,
    Ended,
    Felt,
    Leaving,
    Outcome,
    Row,
    Seen,
    Settled,
    Started,
    Troubled,
    View,
    Wiped,
)
from tests.chaos.invariants import INVARIANTS
from tests.chaos.plan import LONG_TTL, PLAIN, ROLES, TUNED, Operation

ALL = frozenset(INVARIANTS)


class Story:
    """A history that is written by hand, one operation after the other, and the checker that hears it."""

    def __init__(self, invariants: frozenset[str] = ALL, hosts: int = 3) -> None:
        self.checker = Checker(invariants)
        self.names = [f"n{number + 1}" for number in range(hosts)]
        self.time = 0.0
        self.numbers: Iterator[int] = itertools.count(1)
        self.feed(*[Started(0.0, name) for name in self.names])

    def feed(self, *records: Any) -> set[str]:
        """The names of the invariants that these records violate."""
        return {found.invariant for record in records for found in self.checker.feed(record)}

    def pass_(self, seconds: float) -> float:
        self.time += seconds
        return self.time

    def ask(self, host: int, kind: str, outcome: Outcome = "ok", **fields: Any) -> Operation:
        """An operation from its beginning to its end."""
        answer = {name: fields.pop(name) for name in ("term", "stamp") if name in fields}
        operation = Operation(next(self.numbers), self.time, host, kind, **fields)
        begin = self.pass_(1)
        self.feed(Begun(begin, operation), Done(self.pass_(1), begin, operation, outcome, 200, "", **answer))
        return operation

    def register(self, host: int = 0, outcome: Outcome = "ok", id: str = "", **fields: Any) -> Operation:
        service = fields.pop("service", PLAIN)
        return self.ask(host, "register", outcome, id=id or f"n{host + 1}-2", service=service, **fields)

    def seen(self, host: int, *rows: Row, service: str = PLAIN) -> set[str]:
        begin = self.pass_(1)
        return self.feed(Seen(self.pass_(1), begin, f"n{host + 1}", service, rows))

    def judge(
        self, *rows: Row, policies: dict[str, int] | None = None, change: dict[str, dict[str, Any]] | None = None
    ) -> set[str]:
        """What is wrong where every host that runs shows just this; ``change``: what some show instead, by host."""
        alive = sorted(self.checker._alive)
        offered = frozenset((row.owner, row.id) for row in rows if row.health in ("passing", "warning"))
        view = View("", dict.fromkeys(alive, "alive"), "f", rows, offered, policies or {})
        views = [attrs.evolve(view, host=name, **(change or {}).get(name, {})) for name in alive]
        return {found.invariant for found in self.checker.judge(views)}


def row(operation: Operation, **changes: Any) -> Row:
    """The instance as that registration has it shown."""
    plain = Row(
        owner=f"n{operation.host + 1}",
        id=operation.id,
        service=operation.service,
        op=operation.number,
        port=port_of(operation.number),
        weight=operation.weight,
        health="passing",
        role=operation.role,
        term=0,
    )
    return attrs.evolve(plain, **changes)


def test_a_history_in_which_all_went_well_violates_nothing() -> None:
    story = Story()
    kept = story.register(0, weight=4)
    story.register(1)
    story.ask(1, "deregister", id="n2-2")
    beaten = story.register(2, id="n3-3", ttl=LONG_TTL)
    story.ask(2, "beat", id="n3-3", health="warning")
    assert story.seen(1, row(kept)) == set()
    assert story.judge(row(kept), row(beaten, health="warning")) == set()


@pytest.mark.parametrize("host", ["n1", "n3"])
def test_a_registration_that_one_agent_does_not_show_is_found(host: str) -> None:
    story = Story()
    kept = story.register(0)
    assert "registered" in story.judge(row(kept), change={host: {"rows": (), "offered": frozenset()}})


def test_a_registration_that_no_agent_shows_is_found() -> None:
    story = Story()
    story.register(0)
    assert story.judge() == {"registered"}


def test_an_older_registration_in_place_of_the_last_is_found() -> None:
    story = Story()
    older = story.register(0)
    story.register(0)
    assert story.judge(row(older)) == {"registered"}


def test_what_was_removed_and_is_shown_is_found() -> None:
    story = Story()
    gone = story.register(0)
    story.ask(0, "deregister", id=gone.id)
    assert story.judge(row(gone)) == {"removed"}


def test_a_wiped_disk_takes_its_registrations_along() -> None:
    story = Story()
    gone = story.register(0)
    story.feed(Ended(story.pass_(1), "n1"), Wiped(story.pass_(1), "n1"), Started(story.pass_(1), "n1"))
    assert story.judge() == set()
    assert story.judge(row(gone)) == {"removed"}


def test_a_kill_does_not() -> None:
    story = Story()
    kept = story.register(0)
    story.feed(Ended(story.pass_(1), "n1"), Started(story.pass_(1), "n1"))
    assert story.judge(row(kept)) == set()
    assert story.judge() == {"registered"}


def test_an_unknown_outcome_allows_both_and_a_disagreement_is_found_all_the_same() -> None:
    story = Story()
    perhaps = story.register(0, "unknown")
    assert story.judge() == set()
    assert story.judge(row(perhaps)) == set()
    one = {"rows": (row(perhaps),), "offered": frozenset({("n1", perhaps.id)})}
    assert story.judge(change={"n2": one}) == {"registered"}


def test_an_unknown_registration_may_happen_after_the_removal_that_followed_it_but_not_in_another_life() -> None:
    story = Story()
    late = story.register(0, "unknown")
    story.ask(0, "deregister", id=late.id)
    assert story.judge(row(late)) == set()
    story.feed(Ended(story.pass_(1), "n1"), Started(story.pass_(1), "n1"))
    story.ask(0, "deregister", id=late.id)
    assert story.judge(row(late)) == {"removed"}


def test_what_is_settled_is_no_longer_open() -> None:
    story = Story()
    perhaps = story.register(0, "unknown")
    view = View("n1", {}, "f", (row(perhaps),), frozenset(), {})
    story.feed(Settled(story.pass_(1), (view,)))
    assert story.judge() == {"registered"}


def test_a_refused_registration_that_is_shown_is_found() -> None:
    story = Story()
    refused = story.register(0, "refused")
    assert story.judge(row(refused)) == {"removed"}


@pytest.mark.parametrize("change", [{"op": 77}, {"port": 9}, {"owner": "n2"}, {"id": "n1-9"}, {"op": -1}])
def test_what_was_never_registered_so_is_found_at_any_time(change: dict[str, Any]) -> None:
    story = Story()
    kept = story.register(0)
    assert "known" in story.seen(2, row(kept, **change))


def test_an_instance_that_goes_back_to_an_older_registration_at_one_agent_is_found() -> None:
    story = Story()
    older, later = story.register(0), story.register(0)
    assert story.seen(1, row(older)) == set()  # the news may still be on its way
    assert story.seen(1, row(later)) == set()
    assert story.seen(1, row(older)) == {"forward"}
    story.feed(Ended(story.pass_(1), "n2"), Started(story.pass_(1), "n2"))
    assert story.seen(1, row(older)) == set()  # another life of it


def test_an_instance_that_is_shown_again_after_its_removal_was_is_found() -> None:
    story = Story()
    story.pass_(60)
    gone = story.register(0)
    story.ask(0, "deregister", id=gone.id, service=PLAIN)
    assert story.seen(1, row(gone)) == set()  # the news may still be on its way
    assert story.seen(1) == set()
    assert story.seen(1, row(gone)) == {"removed"}


def test_what_a_host_did_not_show_since_it_was_started_may_be_old_news_to_it() -> None:
    story = Story()
    story.pass_(60)
    gone = story.register(0)
    assert story.seen(1, row(gone)) == set()
    story.feed(Ended(story.pass_(1), "n2"), Started(story.pass_(1), "n2"))
    story.ask(0, "deregister", id=gone.id, service=PLAIN)
    assert story.seen(1) == set()  # it has reached no other host yet
    assert story.seen(1, row(gone)) == set()  # nor has the host that it reached heard of the removal
    assert story.seen(1) == set()
    assert story.seen(1, row(gone)) == {"removed"}


def test_a_lookup_at_the_owner_that_does_not_follow_its_word_is_found() -> None:
    story = Story()
    kept = story.register(0)
    assert story.seen(0, row(kept)) == set()
    assert story.seen(0) == {"own"}
    assert story.seen(1) == set()
    story.ask(0, "deregister", id=kept.id)
    assert story.seen(0, row(kept)) == {"own"}


def test_an_owner_that_leaves_shows_its_own_no_more() -> None:
    story = Story()
    story.register(0)
    story.feed(Leaving(story.pass_(1), "n1"))
    assert story.seen(0) == set()
    story.feed(Ended(story.pass_(1), "n1"), Started(story.pass_(1), "n1"))
    assert story.seen(0) == {"own"}


def test_a_lookup_that_overlaps_an_operation_may_show_either() -> None:
    story = Story()
    operation = Operation(next(story.numbers), 0.0, 0, "register", id="n1-2", service=PLAIN)
    begin = story.pass_(1)
    story.feed(Begun(begin, operation))
    assert story.seen(0, row(operation)) == set()
    assert story.seen(0) == set()


@pytest.mark.parametrize(("beat", "shown"), [("passing", "critical"), ("critical", "passing"), ("warning", "passing")])
def test_another_health_than_the_last_heartbeat_is_found(beat: str, shown: str) -> None:
    story = Story()
    beaten = story.register(0, id="n1-3", ttl=LONG_TTL)
    story.ask(0, "beat", id="n1-3", health=beat)
    assert story.judge(row(beaten, health=beat)) == set()
    assert story.judge(row(beaten, health=shown)) == {"healthy"}


def test_a_heartbeat_outlives_a_restart_unless_it_had_only_just_come() -> None:
    story = Story()
    beaten = story.register(0, id="n1-3", ttl=LONG_TTL)
    story.ask(0, "beat", id="n1-3", health="warning")
    story.pass_(10)
    story.ask(0, "beat", id="n1-3", health="passing")
    story.feed(Ended(story.pass_(1), "n1"), Started(story.pass_(1), "n1"))
    assert story.judge(row(beaten)) == story.judge(row(beaten, health="warning")) == set()
    assert story.judge(row(beaten, health="critical")) == {"healthy"}


@pytest.mark.parametrize("skewed", [False, True])
def test_a_heartbeat_may_be_lost_with_a_full_disk_or_a_wrong_clock(skewed: bool) -> None:
    story = Story()
    beaten = story.register(0, id="n1-3", ttl=LONG_TTL)
    story.ask(0, "beat", id="n1-3", health="passing")
    story.pass_(10)
    story.feed(Troubled(story.pass_(1), "clock or disk", True, ("n1",), skewed=skewed, full=not skewed))
    story.feed(Ended(story.pass_(1), "n1"), Started(story.pass_(1), "n1"))
    assert story.judge(row(beaten)) == story.judge(row(beaten, health="critical")) == set()
    assert story.judge(row(beaten, health="warning")) == {"healthy"}


def test_maintenance_that_is_forgotten_is_found_also_after_a_restart() -> None:
    story = Story()
    kept = story.register(0)
    story.ask(0, "maintain", id=kept.id, on=True)
    story.feed(Ended(story.pass_(1), "n1"), Started(story.pass_(1), "n1"))
    assert story.judge(row(kept, health="maintenance")) == set()
    assert story.judge(row(kept)) == {"healthy"}


def test_a_healthy_instance_that_is_out_somewhere_is_found() -> None:
    story = Story()
    kept = story.register(0)
    out = {"rows": (row(kept, health="critical"),), "offered": frozenset[Any]()}
    assert "healthy" in story.judge(row(kept), change={"n2": out})
    assert story.judge(row(kept), change={"n2": {"offered": frozenset()}}) == {"offered"}


def test_a_draining_owner_weighs_nothing_until_that_is_ended() -> None:
    story = Story()
    kept = story.register(0, weight=5)
    story.ask(0, "drain", on=True)
    assert story.judge(row(kept)) == {"weights"}
    assert story.judge(row(kept, weight=0)) == set()
    story.feed(Ended(story.pass_(1), "n1"), Started(story.pass_(1), "n1"))
    assert story.judge(row(kept)) == {"weights"}
    story.ask(0, "drain", on=False)
    assert story.judge(row(kept)) == set()


def test_a_policy_that_is_lost_or_older_or_differs_is_found() -> None:
    story = Story()
    kept = story.register(0, id="n1-1", service=TUNED)
    key = f"weight:{TUNED}:n1-1"
    first = story.ask(1, "set", key=key)
    second = story.ask(2, "set", key=key)
    assert story.judge(row(kept, weight=1000 + second.number), policies={key: second.number}) == set()
    assert "policies" in story.judge(row(kept, weight=1000 + first.number), policies={key: first.number})
    assert "policies" in story.judge(row(kept))
    assert story.judge(row(kept), policies={key: second.number}) == {"weights"}
    other = {"policies": {key: first.number}}
    assert "policies" in story.judge(row(kept), change={"n3": other}, policies={key: second.number})


def test_of_policies_at_one_time_the_stamps_decide() -> None:
    story = Story()
    key = f"split:{PLAIN}"
    operations = [Operation(next(story.numbers), 0.0, host, "set", key=key) for host in (0, 1)]
    begin = story.pass_(1)
    story.feed(*[Begun(begin, each) for each in operations])
    for operation, stamp in zip(operations, (1000.020, 1000.010), strict=True):
        story.feed(Done(story.pass_(1), begin, operation, "ok", stamp=stamp))
    shown = f"split:{PLAIN}"
    assert story.judge(policies={shown: operations[0].number}) == set()
    assert story.judge(policies={shown: operations[1].number}) == {"policies"}


def test_where_a_clock_was_wrong_only_stamps_and_the_turns_of_one_host_are_in_order() -> None:
    story = Story()
    story.feed(Troubled(story.pass_(1), "clock", True, ("n1",), skewed=True))
    first = story.ask(0, "set", key=f"split:{PLAIN}")
    second = story.ask(1, "set", key=f"split:{PLAIN}")
    shown = f"split:{PLAIN}"
    assert story.judge(policies={shown: first.number}) == story.judge(policies={shown: second.number}) == set()
    third = story.ask(1, "set", key=f"split:{PLAIN}")
    assert story.judge(policies={shown: second.number}) == {"policies"}
    assert story.judge(policies={shown: third.number}) == set()


def test_a_removed_policy_that_is_back_is_found() -> None:
    story = Story()
    policy = story.ask(0, "set", key=f"split:{PLAIN}")
    story.ask(1, "remove", key=f"split:{PLAIN}")
    assert story.judge() == set()
    assert story.judge(policies={f"split:{PLAIN}": policy.number}) == {"policies"}


def test_what_a_wiped_host_had_just_acknowledged_of_policies_may_be_lost() -> None:
    story = Story()
    policy = story.ask(0, "set", key=f"split:{PLAIN}")
    story.feed(Ended(story.pass_(1), "n1"), Wiped(story.pass_(1), "n1"), Started(story.pass_(1), "n1"))
    assert story.judge() == story.judge(policies={f"split:{PLAIN}": policy.number}) == set()


@pytest.mark.parametrize("members", [{"n1": "alive"}, {"n1": "alive", "n2": "alive", "n3": "failed"}])
def test_a_running_member_that_is_not_alive_somewhere_is_found(members: dict[str, str]) -> None:
    assert Story().judge(change={"n2": {"members": members}}) == {"members"}


def test_a_member_that_does_not_run_and_is_alive_somewhere_is_found() -> None:
    story = Story()
    story.feed(Ended(story.pass_(1), "n3"))
    assert story.judge() == set()
    assert story.judge(change={"n2": {"members": dict.fromkeys(story.names, "alive")}}) == {"members"}


def test_a_fingerprint_that_differs_is_found() -> None:
    assert Story().judge(change={"n2": {"fingerprint": "other"}}) == {"fingerprints"}


def test_two_primaries_and_one_below_the_highest_term_are_found() -> None:
    story = Story()
    one, two = (
        story.register(host, id=f"n{host + 1}-5", service=ROLES, role="primary", term=host + 1) for host in (0, 1)
    )
    fenced, primary = row(one, term=1, role="fenced"), row(two, term=2, role="primary")
    assert story.judge(fenced, primary) == story.seen(2, fenced, primary, service=ROLES) == set()
    assert story.judge(row(one, term=1), primary) == {"primary"}
    assert story.seen(2, row(one, term=1), row(two, term=2, role="fenced"), service=ROLES) == {"primary", "terms"}
    assert "registered" in story.judge(fenced, row(two, term=3))


def test_a_primary_of_a_lower_term_than_one_shown_before_is_found() -> None:
    story = Story()
    one, two = (
        story.register(host, id=f"n{host + 1}-5", service=ROLES, role="primary", term=host + 1) for host in (0, 1)
    )
    assert story.seen(2, row(two, term=2), service=ROLES) == set()
    assert story.seen(2, row(one, term=1), service=ROLES) == {"terms"}
    story.feed(Ended(story.pass_(1), "n3"), Started(story.pass_(1), "n3"))
    assert story.seen(2, row(one, term=1), service=ROLES) == {"terms"}
    story.feed(Ended(story.pass_(1), "n3"), Wiped(story.pass_(1), "n3"), Started(story.pass_(1), "n3"))
    assert story.seen(2, row(one, term=1), service=ROLES) == set()


def test_a_next_term_that_is_not_above_one_shown_before_is_found() -> None:
    story = Story()
    one = story.register(0, id="n1-5", service=ROLES, role="primary", term=4)
    assert story.seen(1, row(one, term=4), service=ROLES) == set()
    for term, expected in ((5, set()), (4, {"terms"}), (1, {"terms"})):
        operation = Operation(next(story.numbers), 0.0, 1, "register", id="n2-5", service=ROLES, role="primary")
        begin = story.pass_(1)
        story.feed(Begun(begin, operation))
        assert story.feed(Done(story.pass_(1), begin, operation, "ok", 200, "", term)) == expected


def test_a_host_that_is_cut_off_and_does_not_say_so_is_found() -> None:
    story = Story()
    begin = story.pass_(1)
    story.feed(Troubled(begin, "reject", True, ("n1",), ("n1",)))
    assert story.feed(Felt(begin + 5, begin + 5, "n1", isolated=False)) == set()
    assert story.feed(Felt(begin + 15, begin + 15, "n1", isolated=True)) == set()
    assert story.feed(Felt(begin + 15, begin + 15, "n1", isolated=False)) == {"isolated"}
    assert story.feed(Felt(begin + 15, begin + 15, "n2", isolated=False)) == set()
    story.feed(Troubled(begin + 16, "reject", False, ("n1",), ("n1",)))
    assert story.feed(Felt(begin + 20, begin + 20, "n1", isolated=False)) == set()


def test_a_host_that_nothing_befell_and_that_another_such_calls_failed_is_found() -> None:
    story = Story()

    def felt(host: str, members: dict[str, str]) -> set[str]:
        return story.feed(Felt(story.pass_(1), story.time, host, False, members))

    story.feed(Troubled(story.pass_(1), "halves", True, ("n1",)))
    assert felt("n2", {"n1": "failed", "n3": "alive"}) == set()
    assert felt("n1", {"n2": "failed", "n3": "failed"}) == set()
    assert felt("n2", {"n1": "failed", "n3": "suspect"}) == set()
    assert felt("n2", {"n1": "failed", "n3": "failed"}) == {"stays"}
    story.feed(Troubled(story.pass_(1), "loss", True))
    assert felt("n2", {"n3": "failed"}) == set()


def test_an_index_that_falls_is_found_also_over_a_restart() -> None:
    story = Story()

    def shown(index: int) -> set[str]:
        return story.feed(Seen(story.pass_(1), story.time, "n2", PLAIN, (), index))

    assert shown(5) == shown(5) == shown(6) == set()
    assert shown(5) == {"index"}
    story.feed(Ended(story.pass_(1), "n2"), Started(story.pass_(1), "n2"))
    assert shown(4) == {"index"}


def test_an_agent_that_ends_by_itself_and_a_traceback_are_found() -> None:
    story = Story()
    assert story.feed(Died(1.0, "n1", "ended by itself, with 1")) == {"runs"}
    assert story.feed(Complained(1.0, "n1", "Traceback")) == {"tracebacks"}


def test_an_invariant_that_is_switched_off_is_not_checked() -> None:
    story = Story(frozenset(INVARIANTS) - {"fingerprints", "runs"})
    assert story.judge(change={"n2": {"fingerprint": "other"}}) == set()
    assert story.feed(Died(1.0, "n1", "ended by itself, with 1")) == set()


def test_a_violation_says_what_the_invariant_is() -> None:
    [found] = Checker().feed(Died(1.0, "n1", "ended by itself, with 1"))
    assert str(found).startswith("runs: n1 ended by itself, with 1 (no agent ends by itself")
