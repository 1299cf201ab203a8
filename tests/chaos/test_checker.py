"""The checker finds planted violations, and none in a good history. No agent runs here."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import attrs
import pytest

from tests.chaos.checker import Checker, port_of
from tests.chaos.history import (
    Agreed,
    Begun,
    Done,
    Ended,
    FaultChanged,
    Leaving,
    Listing,
    Outcome,
    Row,
    SelfReport,
    Started,
    TracebackWritten,
    UnexpectedExit,
    View,
    Wiped,
)
from tests.chaos.invariants import INVARIANTS
from tests.chaos.plan import LONG_TTL, PLAIN, ROLES, TUNED, Operation

ALL = frozenset(INVARIANTS)


class HandwrittenHistory:
    """A handwritten history, fed to a checker operation by operation."""

    def __init__(self, invariants: frozenset[str] = ALL, hosts: int = 3) -> None:
        self.checker = Checker(invariants)
        self.names = [f"n{number + 1}" for number in range(hosts)]
        self.time = 0.0
        self.numbers: Iterator[int] = itertools.count(1)
        self.feed(*[Started(0.0, name) for name in self.names])

    def feed(self, *records: Any) -> set[str]:
        """Return the names of the invariants that these records violate."""
        return {found.invariant for record in records for found in self.checker.feed(record)}

    def pass_(self, seconds: float) -> float:
        self.time += seconds
        return self.time

    def ask(self, host: int, kind: str, outcome: Outcome = "ok", **fields: Any) -> Operation:
        """Feed an operation from its start to its end."""
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
        return self.feed(Listing(self.pass_(1), begin, f"n{host + 1}", service, rows))

    def check(
        self, *rows: Row, policies: dict[str, int] | None = None, change: dict[str, dict[str, Any]] | None = None
    ) -> set[str]:
        """Return the violations if every running host shows these rows; ``change``: differences, by host."""
        alive = sorted(self.checker._alive)
        offered = frozenset((row.owner, row.id) for row in rows if row.health in ("passing", "warning"))
        view = View("", dict.fromkeys(alive, "alive"), "f", rows, offered, policies or {})
        views = [attrs.evolve(view, host=name, **(change or {}).get(name, {})) for name in alive]
        return {found.invariant for found in self.checker.check(views)}


def row(operation: Operation, **changes: Any) -> Row:
    """Return the instance as shown after that registration."""
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


def test_a_good_history_violates_nothing() -> None:
    history = HandwrittenHistory()
    kept = history.register(0, weight=4)
    history.register(1)
    history.ask(1, "deregister", id="n2-2")
    has_heartbeats = history.register(2, id="n3-3", ttl=LONG_TTL)
    history.ask(2, "beat", id="n3-3", health="warning")
    assert history.seen(1, row(kept)) == set()
    assert history.check(row(kept), row(has_heartbeats, health="warning")) == set()


@pytest.mark.parametrize("host", ["n1", "n3"])
def test_a_registration_missing_at_one_agent_is_found(host: str) -> None:
    history = HandwrittenHistory()
    kept = history.register(0)
    assert "registered" in history.check(row(kept), change={host: {"rows": (), "offered": frozenset()}})


def test_a_registration_missing_at_all_agents_is_found() -> None:
    history = HandwrittenHistory()
    history.register(0)
    assert history.check() == {"registered"}


def test_an_older_registration_in_place_of_the_last_is_found() -> None:
    history = HandwrittenHistory()
    older = history.register(0)
    history.register(0)
    assert history.check(row(older)) == {"registered"}


def test_a_removed_instance_that_is_shown_is_found() -> None:
    history = HandwrittenHistory()
    gone = history.register(0)
    history.ask(0, "deregister", id=gone.id)
    assert history.check(row(gone)) == {"removed"}


def test_a_wiped_disk_loses_its_registrations() -> None:
    history = HandwrittenHistory()
    gone = history.register(0)
    history.feed(Ended(history.pass_(1), "n1"), Wiped(history.pass_(1), "n1"), Started(history.pass_(1), "n1"))
    assert history.check() == set()
    assert history.check(row(gone)) == {"removed"}


def test_a_kill_loses_no_registration() -> None:
    history = HandwrittenHistory()
    kept = history.register(0)
    history.feed(Ended(history.pass_(1), "n1"), Started(history.pass_(1), "n1"))
    assert history.check(row(kept)) == set()
    assert history.check() == {"registered"}


def test_an_unknown_outcome_allows_both_states_but_no_disagreement() -> None:
    history = HandwrittenHistory()
    perhaps = history.register(0, "unknown")
    assert history.check() == set()
    assert history.check(row(perhaps)) == set()
    one = {"rows": (row(perhaps),), "offered": frozenset({("n1", perhaps.id)})}
    assert history.check(change={"n2": one}) == {"registered"}


def test_an_unknown_registration_may_happen_after_a_later_removal_but_not_in_a_later_run() -> None:
    history = HandwrittenHistory()
    late = history.register(0, "unknown")
    history.ask(0, "deregister", id=late.id)
    assert history.check(row(late)) == set()
    history.feed(Ended(history.pass_(1), "n1"), Started(history.pass_(1), "n1"))
    history.ask(0, "deregister", id=late.id)
    assert history.check(row(late)) == {"removed"}


def test_an_agreed_state_is_no_longer_open() -> None:
    history = HandwrittenHistory()
    perhaps = history.register(0, "unknown")
    view = View("n1", {}, "f", (row(perhaps),), frozenset(), {})
    history.feed(Agreed(history.pass_(1), (view,)))
    assert history.check() == {"registered"}


def test_a_refused_registration_that_is_shown_is_found() -> None:
    history = HandwrittenHistory()
    refused = history.register(0, "refused")
    assert history.check(row(refused)) == {"removed"}


@pytest.mark.parametrize("change", [{"op": 77}, {"port": 9}, {"owner": "n2"}, {"id": "n1-9"}, {"op": -1}])
def test_an_instance_that_was_never_registered_is_found_at_any_time(change: dict[str, Any]) -> None:
    history = HandwrittenHistory()
    kept = history.register(0)
    assert "known" in history.seen(2, row(kept, **change))


def test_an_instance_that_reverts_to_an_older_registration_is_found() -> None:
    history = HandwrittenHistory()
    older, later = history.register(0), history.register(0)
    assert history.seen(1, row(older)) == set()  # the update may still be spreading
    assert history.seen(1, row(later)) == set()
    assert history.seen(1, row(older)) == {"forward"}
    history.feed(Ended(history.pass_(1), "n2"), Started(history.pass_(1), "n2"))
    assert history.seen(1, row(older)) == set()  # another run of it


def test_an_instance_that_reappears_after_its_removal_is_found() -> None:
    history = HandwrittenHistory()
    history.pass_(60)
    gone = history.register(0)
    history.ask(0, "deregister", id=gone.id, service=PLAIN)
    assert history.seen(1, row(gone)) == set()  # the update may still be spreading
    assert history.seen(1) == set()
    assert history.seen(1, row(gone)) == {"removed"}


def test_a_newly_started_host_may_show_a_removed_instance() -> None:
    history = HandwrittenHistory()
    history.pass_(60)
    gone = history.register(0)
    assert history.seen(1, row(gone)) == set()
    history.feed(Ended(history.pass_(1), "n2"), Started(history.pass_(1), "n2"))
    history.ask(0, "deregister", id=gone.id, service=PLAIN)
    assert history.seen(1) == set()  # it has reached no other host yet
    assert history.seen(1, row(gone)) == set()  # nor has the host that it reached heard of the removal
    assert history.seen(1) == set()
    assert history.seen(1, row(gone)) == {"removed"}


def test_a_lookup_at_the_owner_that_contradicts_its_answers_is_found() -> None:
    history = HandwrittenHistory()
    kept = history.register(0)
    assert history.seen(0, row(kept)) == set()
    assert history.seen(0) == {"own"}
    assert history.seen(1) == set()
    history.ask(0, "deregister", id=kept.id)
    assert history.seen(0, row(kept)) == {"own"}


def test_a_leaving_owner_no_longer_shows_its_instances() -> None:
    history = HandwrittenHistory()
    history.register(0)
    history.feed(Leaving(history.pass_(1), "n1"))
    assert history.seen(0) == set()
    history.feed(Ended(history.pass_(1), "n1"), Started(history.pass_(1), "n1"))
    assert history.seen(0) == {"own"}


def test_a_lookup_that_overlaps_an_operation_may_show_either() -> None:
    history = HandwrittenHistory()
    operation = Operation(next(history.numbers), 0.0, 0, "register", id="n1-2", service=PLAIN)
    begin = history.pass_(1)
    history.feed(Begun(begin, operation))
    assert history.seen(0, row(operation)) == set()
    assert history.seen(0) == set()


@pytest.mark.parametrize(("beat", "shown"), [("passing", "critical"), ("critical", "passing"), ("warning", "passing")])
def test_a_health_other_than_the_last_heartbeats_is_found(beat: str, shown: str) -> None:
    history = HandwrittenHistory()
    has_heartbeats = history.register(0, id="n1-3", ttl=LONG_TTL)
    history.ask(0, "beat", id="n1-3", health=beat)
    assert history.check(row(has_heartbeats, health=beat)) == set()
    assert history.check(row(has_heartbeats, health=shown)) == {"healthy"}


def test_a_heartbeat_survives_a_restart_unless_it_is_very_recent() -> None:
    history = HandwrittenHistory()
    has_heartbeats = history.register(0, id="n1-3", ttl=LONG_TTL)
    history.ask(0, "beat", id="n1-3", health="warning")
    history.pass_(10)
    history.ask(0, "beat", id="n1-3", health="passing")
    history.feed(Ended(history.pass_(1), "n1"), Started(history.pass_(1), "n1"))
    assert history.check(row(has_heartbeats)) == history.check(row(has_heartbeats, health="warning")) == set()
    assert history.check(row(has_heartbeats, health="critical")) == {"healthy"}


@pytest.mark.parametrize("skewed", [False, True])
def test_a_heartbeat_may_be_lost_with_a_full_disk_or_a_wrong_clock(skewed: bool) -> None:
    history = HandwrittenHistory()
    has_heartbeats = history.register(0, id="n1-3", ttl=LONG_TTL)
    history.ask(0, "beat", id="n1-3", health="passing")
    history.pass_(10)
    history.feed(FaultChanged(history.pass_(1), "clock or disk", True, ("n1",), skewed=skewed, full=not skewed))
    history.feed(Ended(history.pass_(1), "n1"), Started(history.pass_(1), "n1"))
    assert history.check(row(has_heartbeats)) == history.check(row(has_heartbeats, health="critical")) == set()
    assert history.check(row(has_heartbeats, health="warning")) == {"healthy"}


def test_lost_maintenance_is_found_also_after_a_restart() -> None:
    history = HandwrittenHistory()
    kept = history.register(0)
    history.ask(0, "maintain", id=kept.id, on=True)
    history.feed(Ended(history.pass_(1), "n1"), Started(history.pass_(1), "n1"))
    assert history.check(row(kept, health="maintenance")) == set()
    assert history.check(row(kept)) == {"healthy"}


def test_a_healthy_instance_missing_in_a_lookup_is_found() -> None:
    history = HandwrittenHistory()
    kept = history.register(0)
    out = {"rows": (row(kept, health="critical"),), "offered": frozenset[Any]()}
    assert "healthy" in history.check(row(kept), change={"n2": out})
    assert history.check(row(kept), change={"n2": {"offered": frozenset()}}) == {"offered"}


def test_a_draining_owner_has_weight_zero_until_draining_ends() -> None:
    history = HandwrittenHistory()
    kept = history.register(0, weight=5)
    history.ask(0, "drain", on=True)
    assert history.check(row(kept)) == {"weights"}
    assert history.check(row(kept, weight=0)) == set()
    history.feed(Ended(history.pass_(1), "n1"), Started(history.pass_(1), "n1"))
    assert history.check(row(kept)) == {"weights"}
    history.ask(0, "drain", on=False)
    assert history.check(row(kept)) == set()


def test_a_lost_older_or_different_policy_is_found() -> None:
    history = HandwrittenHistory()
    kept = history.register(0, id="n1-1", service=TUNED)
    key = f"weight:{TUNED}:n1-1"
    first = history.ask(1, "set", key=key)
    second = history.ask(2, "set", key=key)
    assert history.check(row(kept, weight=1000 + second.number), policies={key: second.number}) == set()
    assert "policies" in history.check(row(kept, weight=1000 + first.number), policies={key: first.number})
    assert "policies" in history.check(row(kept))
    assert history.check(row(kept), policies={key: second.number}) == {"weights"}
    other = {"policies": {key: first.number}}
    assert "policies" in history.check(row(kept), change={"n3": other}, policies={key: second.number})


def test_stamps_order_policies_set_at_the_same_time() -> None:
    history = HandwrittenHistory()
    key = f"split:{PLAIN}"
    operations = [Operation(next(history.numbers), 0.0, host, "set", key=key) for host in (0, 1)]
    begin = history.pass_(1)
    history.feed(*[Begun(begin, each) for each in operations])
    for operation, stamp in zip(operations, (1000.020, 1000.010), strict=True):
        history.feed(Done(history.pass_(1), begin, operation, "ok", stamp=stamp))
    shown = f"split:{PLAIN}"
    assert history.check(policies={shown: operations[0].number}) == set()
    assert history.check(policies={shown: operations[1].number}) == {"policies"}


def test_with_a_wrong_clock_only_stamps_and_the_sequence_of_one_host_give_an_order() -> None:
    history = HandwrittenHistory()
    history.feed(FaultChanged(history.pass_(1), "clock", True, ("n1",), skewed=True))
    first = history.ask(0, "set", key=f"split:{PLAIN}")
    second = history.ask(1, "set", key=f"split:{PLAIN}")
    shown = f"split:{PLAIN}"
    assert history.check(policies={shown: first.number}) == history.check(policies={shown: second.number}) == set()
    third = history.ask(1, "set", key=f"split:{PLAIN}")
    assert history.check(policies={shown: second.number}) == {"policies"}
    assert history.check(policies={shown: third.number}) == set()


def test_a_removed_policy_that_reappears_is_found() -> None:
    history = HandwrittenHistory()
    policy = history.ask(0, "set", key=f"split:{PLAIN}")
    history.ask(1, "remove", key=f"split:{PLAIN}")
    assert history.check() == set()
    assert history.check(policies={f"split:{PLAIN}": policy.number}) == {"policies"}


def test_policies_acknowledged_by_a_wiped_host_may_be_lost() -> None:
    history = HandwrittenHistory()
    policy = history.ask(0, "set", key=f"split:{PLAIN}")
    history.feed(Ended(history.pass_(1), "n1"), Wiped(history.pass_(1), "n1"), Started(history.pass_(1), "n1"))
    assert history.check() == history.check(policies={f"split:{PLAIN}": policy.number}) == set()


@pytest.mark.parametrize("members", [{"n1": "alive"}, {"n1": "alive", "n2": "alive", "n3": "failed"}])
def test_a_running_member_not_alive_in_a_view_is_found(members: dict[str, str]) -> None:
    assert HandwrittenHistory().check(change={"n2": {"members": members}}) == {"members"}


def test_a_stopped_member_alive_in_a_view_is_found() -> None:
    history = HandwrittenHistory()
    history.feed(Ended(history.pass_(1), "n3"))
    assert history.check() == set()
    assert history.check(change={"n2": {"members": dict.fromkeys(history.names, "alive")}}) == {"members"}


def test_a_fingerprint_that_differs_is_found() -> None:
    assert HandwrittenHistory().check(change={"n2": {"fingerprint": "other"}}) == {"fingerprints"}


def test_two_primaries_and_one_below_the_highest_term_are_found() -> None:
    history = HandwrittenHistory()
    one, two = (
        history.register(host, id=f"n{host + 1}-5", service=ROLES, role="primary", term=host + 1) for host in (0, 1)
    )
    fenced, primary = row(one, term=1, role="fenced"), row(two, term=2, role="primary")
    assert history.check(fenced, primary) == history.seen(2, fenced, primary, service=ROLES) == set()
    assert history.check(row(one, term=1), primary) == {"primary"}
    assert history.seen(2, row(one, term=1), row(two, term=2, role="fenced"), service=ROLES) == {"primary", "terms"}
    assert "registered" in history.check(fenced, row(two, term=3))


def test_a_primary_with_a_lower_term_than_shown_before_is_found() -> None:
    history = HandwrittenHistory()
    one, two = (
        history.register(host, id=f"n{host + 1}-5", service=ROLES, role="primary", term=host + 1) for host in (0, 1)
    )
    assert history.seen(2, row(two, term=2), service=ROLES) == set()
    assert history.seen(2, row(one, term=1), service=ROLES) == {"terms"}
    history.feed(Ended(history.pass_(1), "n3"), Started(history.pass_(1), "n3"))
    assert history.seen(2, row(one, term=1), service=ROLES) == {"terms"}
    history.feed(Ended(history.pass_(1), "n3"), Wiped(history.pass_(1), "n3"), Started(history.pass_(1), "n3"))
    assert history.seen(2, row(one, term=1), service=ROLES) == set()


def test_a_next_term_not_above_those_shown_before_is_found() -> None:
    history = HandwrittenHistory()
    one = history.register(0, id="n1-5", service=ROLES, role="primary", term=4)
    assert history.seen(1, row(one, term=4), service=ROLES) == set()
    for term, expected in ((5, set()), (4, {"terms"}), (1, {"terms"})):
        operation = Operation(next(history.numbers), 0.0, 1, "register", id="n2-5", service=ROLES, role="primary")
        begin = history.pass_(1)
        history.feed(Begun(begin, operation))
        assert history.feed(Done(history.pass_(1), begin, operation, "ok", 200, "", term)) == expected


def test_a_cut_off_host_that_does_not_report_isolation_is_found() -> None:
    history = HandwrittenHistory()
    begin = history.pass_(1)
    history.feed(FaultChanged(begin, "reject", True, ("n1",), ("n1",)))
    assert history.feed(SelfReport(begin + 5, begin + 5, "n1", isolated=False)) == set()
    assert history.feed(SelfReport(begin + 15, begin + 15, "n1", isolated=True)) == set()
    assert history.feed(SelfReport(begin + 15, begin + 15, "n1", isolated=False)) == {"isolated"}
    assert history.feed(SelfReport(begin + 15, begin + 15, "n2", isolated=False)) == set()
    history.feed(FaultChanged(begin + 16, "reject", False, ("n1",), ("n1",)))
    assert history.feed(SelfReport(begin + 20, begin + 20, "n1", isolated=False)) == set()


def test_a_host_without_faults_declared_failed_by_another_such_host_is_found() -> None:
    history = HandwrittenHistory()

    def felt(host: str, members: dict[str, str]) -> set[str]:
        return history.feed(SelfReport(history.pass_(1), history.time, host, False, members))

    history.feed(FaultChanged(history.pass_(1), "halves", True, ("n1",)))
    assert felt("n2", {"n1": "failed", "n3": "alive"}) == set()
    assert felt("n1", {"n2": "failed", "n3": "failed"}) == set()
    assert felt("n2", {"n1": "failed", "n3": "suspect"}) == set()
    assert felt("n2", {"n1": "failed", "n3": "failed"}) == {"stays"}
    history.feed(FaultChanged(history.pass_(1), "loss", True))
    assert felt("n2", {"n3": "failed"}) == set()


def test_a_falling_index_is_found_also_across_a_restart() -> None:
    history = HandwrittenHistory()

    def shown(index: int) -> set[str]:
        return history.feed(Listing(history.pass_(1), history.time, "n2", PLAIN, (), index))

    assert shown(5) == shown(5) == shown(6) == set()
    assert shown(5) == {"index"}
    history.feed(Ended(history.pass_(1), "n2"), Started(history.pass_(1), "n2"))
    assert shown(4) == {"index"}


def test_an_unexpected_exit_and_a_traceback_are_found() -> None:
    history = HandwrittenHistory()
    assert history.feed(UnexpectedExit(1.0, "n1", "ended by itself, with 1")) == {"runs"}
    assert history.feed(TracebackWritten(1.0, "n1", "Traceback")) == {"tracebacks"}


def test_a_disabled_invariant_is_not_checked() -> None:
    history = HandwrittenHistory(frozenset(INVARIANTS) - {"fingerprints", "runs"})
    assert history.check(change={"n2": {"fingerprint": "other"}}) == set()
    assert history.feed(UnexpectedExit(1.0, "n1", "ended by itself, with 1")) == set()


def test_a_violation_states_its_invariant() -> None:
    [found] = Checker().feed(UnexpectedExit(1.0, "n1", "ended by itself, with 1"))
    assert str(found).startswith("runs: n1 ended by itself, with 1 (no agent exits by itself")
