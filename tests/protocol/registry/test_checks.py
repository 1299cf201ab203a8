"""Health changes after several results in a row, never by a single one; a flapping check recovers slowly."""

from __future__ import annotations

from operator import mul

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossipreg import limits
from gossipreg.check import Check
from gossipreg.model import Health
from gossipreg.protocol.registry.checks import CheckState, Finding, combined
from tests.protocol.making import law

P, W, C, M = Health.PASSING, Health.WARNING, Health.CRITICAL, Health.MAINTENANCE

health = st.sampled_from([P, W, C])
histories = st.lists(st.tuples(health, st.floats(0.01, 30)), max_size=60)
checks = st.builds(
    Check,
    tcp=st.just("127.0.0.1:1"),
    interval=st.floats(0.1, 10),
    successes=st.integers(1, 4),
    failures=st.integers(1, 4),
    initial=st.sampled_from(["passing", "warning", "critical"]),
    deregister_after=st.none() | st.floats(0.1, 100),
)


def heard(check: Check, history: list[tuple[Health, float]]) -> tuple[CheckState, float]:
    """The check after this history: results, and the time before each (seconds)."""
    state, now = CheckState.begin(check, 0.0), 0.0
    for found, gap in history:
        now += gap
        state.record(Finding(found, str(found)), now)
    return state, now


def check(*, successes: int = 1, failures: int = 1) -> Check:
    return Check(tcp="127.0.0.1:1", interval=1, successes=successes, failures=failures)


def told(check: Check, found: str, *, gap: float = 1.0) -> str:
    """The health after each result, one letter each: p, w or c."""
    letters = {"p": P, "w": W, "c": C}
    state, now, said = CheckState.begin(check, 0.0), 0.0, ""
    for letter in found:
        now += gap
        state.record(Finding(letters[letter]), now)
        said += state.health[0]
    return said


@pytest.mark.parametrize(
    ("successes", "failures", "found", "said"),
    [
        (1, 1, "pcp", "pcp"),
        (3, 1, "ppp", "ccp"),
        (1, 3, "pccpccc", "ppppppc"),
        (1, 2, "pwc", "ppw"),  # a row of worse ones is at least the least of them
        (1, 2, "pcwcc", "ppwwc"),
        (1, 2, "pwcc", "ppwc"),
        (2, 1, "wp", "cw"),
        (1, 1, "pwpw", "pwpw"),
    ],
)
def test_so_many_in_a_row_move_a_check(successes: int, failures: int, found: str, said: str) -> None:
    assert told(check(successes=successes, failures=failures), found) == said


@law
@given(checks, histories)
def test_a_health_that_was_not_found_is_never_shown(check: Check, history: list[tuple[Health, float]]) -> None:
    state, _ = heard(check, history)
    assert state.health in {check.initial, *(found for found, _ in history)}


@law
@given(checks, histories)
def test_failures_in_a_row_always_bring_it_down_however_it_got_where_it_is(
    check: Check, history: list[tuple[Health, float]]
) -> None:
    state, now = heard(check, history)
    for step in range(check.failures):
        state.record(Finding(C, "down"), now + step)
    assert state.health is C


@law
@given(checks, histories)
def test_enough_successes_always_bring_it_back(check: Check, history: list[tuple[Health, float]]) -> None:
    state, now = heard(check, history)
    for step in range(8 * check.successes):
        state.record(Finding(P), now + step * check.interval)
    assert (state.health, state.reason, state.expires) == (P, "", None)


@law
@given(checks, histories)
def test_what_was_said_to_change_changed_and_nothing_else_did(
    check: Check, history: list[tuple[Health, float]]
) -> None:
    state, now = CheckState.begin(check, 0.0), 0.0
    for found, gap in history:
        now += gap
        before = (state.health, state.reason, state.since)
        if state.record(Finding(found, f"found at {now}"), now):
            assert (state.health is not before[0] and state.since == now) or before[1] == "not checked yet"
        else:
            assert (state.health, state.reason, state.since) == before


@law
@given(checks, histories)
def test_a_check_expires_only_after_being_critical_for_as_long_as_was_said(
    check: Check, history: list[tuple[Health, float]]
) -> None:
    state, _ = heard(check, history)
    if state.expires is None:
        assert state.health is not C or check.deregister_after is None
    else:
        assert state.expires == state.since + (check.deregister_after or 0)


def test_after_three_falls_within_a_few_intervals_more_successes_are_needed() -> None:
    assert told(check(), "pcpcpc" + "p" * 9) == "pcpcpc" + "ccc" + "p" * 6, "four times as many: the score is 2.8"
    assert told(check(), "pcpcpc" + "p" * 9, gap=0.1) == "pcpcpc" + "ccc" + "p" * 6
    assert told(check(), "pcpcpcpc" + "p" * 9, gap=0.1) == "pcpcpccc" + "c" * 7 + "pp", "eight times, but no more"


def test_falls_that_are_far_apart_are_not_flapping() -> None:
    assert told(check(), "pc" * 20, gap=15.0) == "pc" * 20


def flapping() -> CheckState:
    state = CheckState.begin(check(), 0.0)
    for step in range(8):
        state.record(Finding(C if step % 2 else P), step / 10)
    return state


def test_a_check_that_flaps_is_steady_again_in_the_end() -> None:
    state = flapping()
    assert (state.flapping, state.needed) == (True, 8)
    for step in range(60):
        state.record(Finding(P), 1.0 + step)
    assert (state.flapping, state.needed) == (False, 1)


@pytest.mark.parametrize("falls", [4, 5, 8, 200])
def test_however_often_a_check_fell_eight_times_its_successes_are_enough(falls: int) -> None:
    state = CheckState.begin(check(successes=3), 0.0)
    for step in range(falls):
        for found in (P, P, P, C):
            state.record(Finding(found), step / 1000)
    assert (state.health, state.flapping, state.needed) == (C, True, 24)


def test_however_often_a_check_fell_it_is_steady_after_three_half_runs() -> None:
    """The score is never above 8, and it is steady below 1."""
    state = CheckState.begin(check(), 0.0)
    for step in range(1000):
        state.record(Finding(C if step % 2 else P), step / 100_000)
    for second in range(1, 60):
        state.record(Finding(P), float(second))
        assert state.flapping
    state.record(Finding(P), 60.1)
    assert not state.flapping


@law
@given(st.integers(3, 200))
def test_a_service_that_is_up_every_other_time_is_not_let_in_again_and_again(times: int) -> None:
    assert told(check(), "pc" * times).count("p") == 3


def test_time_that_is_excused_does_not_count() -> None:
    state = CheckState.begin(Check(tcp="127.0.0.1:1", deregister_after=5), 10.0)
    state.excuse(2.5)
    assert state.expires == 17.5


# Several checks


def states(*healths: Health) -> list[CheckState]:
    made = []
    for number, each in enumerate(healths):
        state = CheckState.begin(Check(tcp="127.0.0.1:1", name=f"c{number}"), 0.0)
        state.health, state.reason = each, "" if each is P else f"why {number}"
        made.append(state)
    return made


@pytest.mark.parametrize(
    ("healths", "expected"),
    [
        ([], (P, "")),
        ([P, P], (P, "")),
        ([P, W, P], (W, "c1: why 1")),
        ([W, C, C], (C, "c1: why 1")),
    ],
)
def test_the_gravest_check_speaks_for_the_instance(healths: list[Health], expected: tuple[Health, str]) -> None:
    assert combined(states(*healths)) == expected


def test_maintenance_outranks_every_check() -> None:
    assert combined(states(C), "new disk") == (M, "new disk")
    assert combined([], "") == (M, "")


@law
@given(st.builds(mul, st.text(max_size=40), st.integers(1, 50)))
def test_a_reason_is_always_one_that_an_instance_may_have(reason: str) -> None:
    [state] = states(C)
    state.reason = reason
    for _, said in (combined([state]), combined([], reason)):
        assert len(said) <= limits.REASON_CHARS_MAX
        assert said.isprintable()


def test_a_check_that_was_not_run_is_critical_and_says_so_unless_told_otherwise() -> None:
    assert combined([CheckState.begin(check(), 0.0)]) == (C, "tcp: not checked yet")
    assert combined([CheckState.begin(Check(ttl=1, initial=P), 0.0)]) == (P, "")


def test_the_first_result_says_why_a_check_is_critical_and_later_ones_do_not() -> None:
    state = CheckState.begin(check(), 0.0)
    assert state.record(Finding(C, "connection refused"), 1.0)
    assert not state.record(Finding(C, "no answer"), 2.0)
    assert combined([state]) == (C, "tcp: connection refused")
    assert state.since == 0.0


def test_a_check_is_new_until_something_was_found() -> None:
    for health in Health.PASSING, Health.CRITICAL:
        state = CheckState.begin(Check(ttl=1), 0.0)
        assert state.is_new
        state.record(Finding(health), 1.0)
        assert not state.is_new


def test_a_result_in_the_other_direction_starts_the_row_over() -> None:
    state = CheckState.begin(Check(tcp="127.0.0.1:1", interval=1, successes=2, failures=2, initial="warning"), 0.0)
    state.record(Finding(W), 0.5)
    assert not state.record(Finding(P), 1.0)
    assert not state.record(Finding(C), 2.0)
    assert state.health is W
    assert state.record(Finding(C), 3.0)
    assert state.health is C
