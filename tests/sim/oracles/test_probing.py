"""A member that is not probed in turn, or a death that is probed too late, is reported."""

from __future__ import annotations

import pytest

from gossipreg.model import Status
from gossipreg.protocol.membership.member_update import MemberUpdate
from gossipreg.protocol.membership.members import Members
from gossipreg_sim.fault import Fault
from gossipreg_sim.oracles.probing import Completeness, FirstProbe
from tests.sim.making import believed, run_for
from tests.sim.oracles.watching import texts, watched


def test_probing_in_turn_passes() -> None:
    made, completeness = watched(Completeness, nodes=4)
    run_for(made, 20)
    completeness.finish()
    assert completeness.checks > 100
    assert texts(completeness) == []


def test_a_member_that_is_never_probed_again_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    made, completeness = watched(Completeness, nodes=4)
    run_for(made, 5)

    def always_the_first(self: Members) -> MemberUpdate | None:
        return self.get(self.present[0])

    monkeypatch.setattr(Members, "next_target", always_the_first)
    run_for(made, 10)
    completeness.finish()
    assert texts(completeness)
    assert texts(completeness)[0].endswith("among 3")


def test_a_period_that_is_too_long_is_reported_unless_the_process_was_stopped() -> None:
    made, completeness = watched(Completeness)
    stopped, excused = watched(Completeness, Fault(kind="freeze", nodes=("n0",)))
    for cluster in (made, stopped):
        cluster.processes["n0"].freeze()
        run_for(cluster, 4)
        cluster.processes["n0"].thaw()
        run_for(cluster, 4)
    assert "for a period of 2.250 s" in texts(completeness)[0]
    assert texts(excused) == []


def test_a_node_whose_last_peer_failed_has_no_period_limit() -> None:
    made, completeness = watched(Completeness, nodes=2)
    n0 = made.processes["n0"]
    n1 = n0.engine.members.get("n1")
    assert n1 is not None
    made.crash("n1", host=True)
    run_for(made, 60)
    completeness.probed(n0, n1)
    run_for(made, 5)
    made.start("n1")
    run_for(made, 5)
    assert believed(made, "n0", "n1") is Status.ALIVE
    assert texts(completeness) == []


def first_probes(*times: float) -> FirstProbe:
    """Return the oracle after these times from deaths to first probes (seconds)."""
    _made, first = watched(FirstProbe, Fault(kind="crash", nodes=("n0",)))
    first._times += times
    first.finish()
    return first


def test_late_first_probes_of_dead_members_are_reported() -> None:
    assert texts(first_probes(0.5, 1.5, 0.9, 1.2, 2.5)) == []
    assert texts(first_probes(5.0, 5.5, 5.2, 5.3, 5.4))[0].startswith("dead members are first probed after 4.8")


def test_a_death_is_timed_from_the_death_to_the_first_probe() -> None:
    made, first = watched(FirstProbe, nodes=4)
    made.crash("n3", host=True)
    run_for(made, 5)
    assert len(first._times) == 1
    assert 0 < first._times[0] < 3


def test_with_few_deaths_or_other_faults_the_oracle_does_not_apply() -> None:
    assert first_probes(9.0).note == "not applicable here: 1 deaths were probed, 5 are needed"
    _made, first = watched(FirstProbe, Fault(kind="cut", nodes=("n0",)))
    first.finish()
    assert first.note == "not applicable here: faults also affect live nodes"
