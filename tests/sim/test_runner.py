"""A run has three phases and a result, with a reason for each bad result."""

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


def summary_of(outcome: gossipreg_sim.runner.Outcome) -> str:
    return "\n".join(as_lines(outcome, 0.5, "gossipreg sim run test --seed 1"))


def test_a_quiet_cluster_is_good_and_its_summary_ends_with_the_hash() -> None:
    outcome = run_scenario(scenario(), 1)
    assert outcome.is_good
    assert set(outcome.marks) >= {"faults", "heal", "agreement", "alive"}
    assert outcome.seconds == pytest.approx(14.0, abs=0.2)
    assert all(outcome.checks[name] or outcome.notes[name] for name in outcome.checks)
    text = summary_of(outcome)
    assert "not applicable here: no node restarted" in text
    assert "measured 0.00 s, bound 31.73 s" in text
    assert "phases   warm-up to 3 s, faults to 11 s" in text
    assert "x real time" in text
    assert f"bound {outcome.bound:.2f} s" in text
    assert text.endswith(f"good: every oracle passed\ntrace hash {outcome.digest}")


def test_seeds_may_start_after_the_nodes_that_join_through_them() -> None:
    outcome = run_scenario(scenario(seeds=3, together=False, stagger=0.7, warmup=0.0), 1)
    assert outcome.is_good, outcome.healed_in


NEVER_AGAIN = EngineSettings(
    reconnect_interval=1_000.0, join_retry_max=900.0, suspicion_alpha=1.0, suspicion_beta=2.0, local_health_max=0
)


def test_a_cluster_that_cannot_heal_is_not_live() -> None:
    outcome = run_scenario(scenario(Fault(kind="cut", nodes=("first:2",)), quiet=5.0, settings=NEVER_AGAIN), 1)
    assert outcome.healed_in is None
    assert not outcome.is_good
    assert "Healing  : not all agree; bound" in summary_of(outcome)
    assert "\nagain: gossipreg sim run test --seed 1\n" in summary_of(outcome)


def test_permanently_separated_nodes_need_not_agree() -> None:
    outcome = run_scenario(scenario(Fault(kind="cut", nodes=("n3",), permanent=True), quiet=30.0), 1)
    assert outcome.is_good, outcome.violations


def test_attach_receives_the_cluster_before_the_run_starts() -> None:
    seen: list[tuple[int, int]] = []

    def attach(cluster: Cluster) -> None:
        seen.append((cluster.world.events, len(cluster.processes)))
        cluster.world.at(0, lambda: seen.append((cluster.world.events, len(cluster.processes))))

    plain = run_scenario(scenario(), 1)
    attached = run_scenario(scenario(), 1, attach=attach)
    assert seen == [(0, 0), (1, 0)]
    assert attached.digest == plain.digest


def test_a_self_sustaining_run_is_stopped_and_is_a_storm() -> None:
    def attach(cluster: Cluster) -> None:
        def again() -> None:
            cluster.world.after(0, again)

        cluster.world.at(0, again)

    outcome = run_scenario(scenario(), 1, attach=attach)
    assert not outcome.is_good
    [violation] = outcome.violations
    assert violation.oracle == "MessageStorm"
    assert "the run would not have ended" in violation.text


def test_a_run_that_misses_a_required_mark_is_vacuous() -> None:
    outcome = run_scenario(scenario(sometimes=("alive", "contested")), 1)
    assert outcome.missing == ("contested",)
    assert not outcome.is_good
    assert "vacuous: the run did not reach contested, which its scenario requires" in summary_of(outcome)


@attrs.define
class AlwaysBroken(Oracle):
    """A law that every cluster breaks."""

    law: ClassVar[str] = "no node knows a member"
    wants: ClassVar[tuple[type[Any], ...]] = (MemberChanged,)

    def see(self, process: Process, output: Output) -> None:
        self.check(process, False, "knows a member")


def test_violations_are_listed_and_counted_with_time_and_node(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gossipreg_sim.runner, "ORACLES", (AlwaysBroken,))
    outcome = run_scenario(scenario(nodes=6), 1)
    assert not outcome.is_good
    assert len(outcome.violations) == outcome.checks["AlwaysBroken"] == 36
    text = summary_of(outcome)
    assert "36 checks   36 violations   no node knows a member" in text
    assert "violation: 0.000 s  AlwaysBroken  n0: knows a member" in text
    assert "violation: and 16 more" in text
    document = as_document(outcome, 0.5, "again")
    assert document["violations"][0] == {"at_ns": 0, "oracle": "AlwaysBroken", "node": "n0", "text": "knows a member"}
    assert document["good"] is False


@attrs.define
class Raising(Oracle):
    """An oracle with a bug."""

    def after(self, process: Process) -> None:
        raise ZeroDivisionError


def test_an_exception_names_its_scenario_seed_and_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gossipreg_sim.runner, "ORACLES", (Raising,))
    with pytest.raises(ZeroDivisionError) as error:
        run_scenario(scenario(), 8)
    assert error.value.__notes__ == ["in scenario test, seed 8, at 0.000000 s"]


def test_marks_distinguish_a_refutation_from_a_revival() -> None:
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
