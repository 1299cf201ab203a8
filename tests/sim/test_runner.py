"""A run: three acts, a verdict, and a reason for each verdict that is not good."""

from __future__ import annotations

from typing import Any, ClassVar

import attrs
import pytest

import gossipreg_sim.runner
from gossipreg.protocol.engine_settings import EngineSettings
from gossipreg.protocol.outputs import MemberChanged, Output
from gossipreg_sim.cluster import Cluster
from gossipreg_sim.fault import Fault
from gossipreg_sim.oracles.oracle import Oracle
from gossipreg_sim.process import Process
from gossipreg_sim.runner import marks_of, run_scenario
from gossipreg_sim.summary import as_document, as_lines
from gossipreg_sim.trace import Step, Trace
from tests.sim.making import scenario


def told(outcome: gossipreg_sim.runner.Outcome) -> str:
    return "\n".join(as_lines(outcome, 0.5, "gossipreg sim run test --seed 1"))


def test_a_quiet_cluster_is_good_and_its_summary_ends_with_the_hash() -> None:
    outcome = run_scenario(scenario(), 1)
    assert outcome.is_good
    assert set(outcome.marks) >= {"faults", "heal", "agreement", "alive"}
    assert outcome.seconds == pytest.approx(14.0, abs=0.2)
    assert all(outcome.checks[name] or outcome.notes[name] for name in outcome.checks)
    text = told(outcome)
    assert "not applicable here: no node restarted" in text
    assert "measured 0.00 s, bound 31.73 s" in text
    assert "phases   warm-up to 3 s, faults to 11 s" in text
    assert "x real time" in text
    assert f"bound {outcome.bound:.2f} s" in text
    assert text.endswith(f"good: every oracle passed\ntrace hash {outcome.digest}")


def test_seeds_may_start_after_those_who_ask_for_them() -> None:
    outcome = run_scenario(scenario(seeds=3, together=False, stagger=0.7, warmup=0.0), 1)
    assert outcome.is_good, outcome.healed_in


NEVER_AGAIN = EngineSettings(
    reconnect_interval=1_000.0, join_retry_max=900.0, suspicion_alpha=1.0, suspicion_beta=2.0, local_health_max=0
)


def test_a_cluster_that_cannot_heal_is_not_live() -> None:
    outcome = run_scenario(scenario(Fault(kind="cut", nodes=("first:2",)), quiet=5.0, settings=NEVER_AGAIN), 1)
    assert outcome.healed_in is None
    assert not outcome.is_good
    assert "Healing  : not all agree; bound" in told(outcome)
    assert "\nagain: gossipreg sim run test --seed 1\n" in told(outcome)


def test_whom_a_permanent_fault_keeps_apart_need_not_agree() -> None:
    outcome = run_scenario(scenario(Fault(kind="cut", nodes=("n3",), permanent=True), quiet=30.0), 1)
    assert outcome.is_good, outcome.violations


def test_what_is_attached_sees_the_cluster_before_anything_happens_in_it() -> None:
    seen: list[tuple[int, int]] = []

    def attach(cluster: Cluster) -> None:
        seen.append((cluster.world.events, len(cluster.processes)))
        cluster.world.at(0, lambda: seen.append((cluster.world.events, len(cluster.processes))))

    plain = run_scenario(scenario(), 1)
    attached = run_scenario(scenario(), 1, attach=attach)
    assert seen == [(0, 0), (1, 0)]
    assert attached.digest == plain.digest


def test_a_play_that_feeds_itself_is_stopped_and_is_a_storm() -> None:
    def attach(cluster: Cluster) -> None:
        def again() -> None:
            cluster.world.after(0, again)

        cluster.world.at(0, again)

    outcome = run_scenario(scenario(), 1, attach=attach)
    assert not outcome.is_good
    [violation] = outcome.violations
    assert violation.oracle == "MessageStorm"
    assert "this would not have ended" in violation.text


def test_a_run_that_did_not_show_what_it_is_for_is_vacuous() -> None:
    outcome = run_scenario(scenario(sometimes=("alive", "contested")), 1)
    assert outcome.missing == ("contested",)
    assert not outcome.is_good
    assert "vacuous: the run did not show contested, which its scenario is for" in told(outcome)


@attrs.define
class Nobody(Oracle):
    """A law that every cluster breaks."""

    law: ClassVar[str] = "nobody knows anybody"
    wants: ClassVar[tuple[type[Any], ...]] = (MemberChanged,)

    def see(self, process: Process, output: Output) -> None:
        self.check(process, False, "knows somebody")


def test_violations_are_listed_counted_and_say_when_and_where(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gossipreg_sim.runner, "ORACLES", (Nobody,))
    outcome = run_scenario(scenario(nodes=6), 1)
    assert not outcome.is_good
    assert len(outcome.violations) == outcome.checks["Nobody"] == 36
    text = told(outcome)
    assert "36 checks   36 violations   nobody knows anybody" in text
    assert "violation: 0.000 s  Nobody  n0: knows somebody" in text
    assert "violation: and 16 more" in text
    document = as_document(outcome, 0.5, "again")
    assert document["violations"][0] == {"at_ns": 0, "oracle": "Nobody", "node": "n0", "text": "knows somebody"}
    assert document["good"] is False


@attrs.define
class Raising(Oracle):
    """An oracle with a mistake of its own."""

    def after(self, process: Process) -> None:
        raise ZeroDivisionError


def test_what_raises_in_a_play_says_in_which(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gossipreg_sim.runner, "ORACLES", (Raising,))
    with pytest.raises(ZeroDivisionError) as error:
        run_scenario(scenario(), 8)
    assert error.value.__notes__ == ["in scenario test, seed 8, at 0.000000 s"]


def test_marks_tell_a_refutation_from_a_revival() -> None:
    steps = [
        Step(1, "a", "suspect", "b", "alive 1 0"),
        Step(2, "a", "alive", "b", "suspect 1 1"),
        Step(3, "a", "alive", "c", "failed 1 2"),
    ]
    assert marks_of(Trace(steps), {"lags": 2, "failures_declared": 0}) == {
        "alive": 2,
        "lags": 2,
        "refuted": 1,
        "revived": 1,
        "suspect": 1,
    }
