"""A policy version that is lost, that regresses, or that was never issued, is reported."""

from __future__ import annotations

from collections.abc import Callable

import attrs
import pytest

from gossipreg.policy import Split
from gossipreg.protocol.outputs import PoliciesChanged
from gossipreg.protocol.registry.clock import Clock
from gossipreg.protocol.registry.policies import Policies
from gossipreg.protocol.registry.policy_version import PolicyVersion
from gossipreg.protocol.registry.service_view import ServiceView
from gossipreg_sim.cluster import Cluster
from gossipreg_sim.oracles.last_writer_wins import LastWriterWins
from gossipreg_sim.process import Process
from tests.sim.making import run_for
from tests.sim.oracles.watching import texts, watched

KEY = "split:s"


def split(share: int, service: str = "s") -> Split:
    return Split(service, {"v1": share})


def together() -> tuple[Cluster, LastWriterWins]:
    """Three nodes; n0 has set a policy, which n1 has replaced."""
    made, oracle = watched(LastWriterWins)
    made.set_policy("n0", split(1))
    run_for(made, 1)
    made.set_policy("n1", split(2))
    run_for(made, 1)
    oracle.context.healed_in = 1.0
    return made, oracle


def hold(process: Process, change: Callable[[PolicyVersion], PolicyVersion | None]) -> None:
    """Replace what a node holds for the key."""
    policies: Policies = process.engine.state.policies
    version = change(policies._versions.pop(KEY))
    if version is not None:
        policies._versions[KEY] = version


def test_a_version_that_replaces_an_earlier_one_passes() -> None:
    _made, oracle = together()
    oracle.finish()
    assert texts(oracle) == []
    assert oracle.checks > 10


def test_a_version_that_regresses_is_reported() -> None:
    made, oracle = together()
    n2 = made.processes["n2"]
    hold(n2, lambda version: attrs.evolve(version, ms=version.ms - 5000))
    oracle.see(n2, PoliciesChanged((KEY,)))
    replaced, never_issued = texts(oracle)
    assert replaced.startswith("replaced the version of n1 about split:s at ")
    assert never_issued.endswith("which n1 never issued")


def test_a_forgotten_version_is_reported() -> None:
    made, oracle = together()
    n2 = made.processes["n2"]
    hold(n2, lambda _: None)
    oracle.see(n2, PoliciesChanged((KEY,)))
    oracle.finish()
    assert texts(oracle)[0].startswith("forgot the version of n1 about split:s")
    assert texts(oracle)[1] == "holds other policies than n0"


def test_a_version_stamped_earlier_than_a_received_one_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    made, oracle = watched(LastWriterWins)
    made.processes["n0"].engine.state.clock.offset += 5000
    made.set_policy("n0", split(1))
    made.processes["n1"].engine.state.clock._latest = (0, 0)
    monkeypatch.setattr(Clock, "observe", lambda *_: True)
    run_for(made, 1)
    made.set_policy("n1", split(1, "t"))
    [text] = texts(oracle)
    assert text.startswith("issued the version of n1 about split:t")
    assert "after it received the version of n0 about split:s" in text


def test_a_stamp_behind_the_wall_clock_is_reported() -> None:
    made, oracle = watched(LastWriterWins)
    made.processes["n0"].engine.state.clock.offset -= 5000
    made.set_policy("n0", split(1))
    assert len(texts(oracle)) == 1


def test_a_restart_with_the_disk_loses_no_version() -> None:
    made, oracle = watched(LastWriterWins)
    oracle.context.healed_in = 1.0
    for other in ("n1", "n2"):
        made.crash(other)
    made.set_policy("n0", split(1))
    made.crash("n0")
    made.start("n0", disk=True)
    run_for(made, 1)
    oracle.finish()
    assert texts(oracle) == []
    hold(made.processes["n0"], lambda _: None)
    oracle.finish()
    assert texts(oracle)[0].endswith("but n0 holds no version")


def test_a_restart_without_the_disk_may_lose_versions() -> None:
    made, oracle = watched(LastWriterWins)
    oracle.context.healed_in = 1.0
    for other in ("n1", "n2"):
        made.crash(other)
    made.set_policy("n0", split(1))
    made.crash("n0")
    made.start("n0")
    run_for(made, 1)
    oracle.finish()
    assert texts(oracle) == []


def test_different_weights_are_reported() -> None:
    made, oracle = together()
    oracle.finish()
    hold(made.processes["n2"], lambda version: version)
    view = made.processes["n2"].engine.view
    shown = view._services["s"]
    view._services["s"] = ServiceView.of(shown.index, [attrs.evolve(each, weight=9) for each in shown.healthy])
    oracle.finish()
    assert texts(oracle) == ["computes other weights than n0"]


def test_without_a_policy_the_oracle_does_not_apply() -> None:
    _made, oracle = watched(LastWriterWins)
    oracle.finish()
    assert oracle.note == ""
    oracle.context.healed_in = 1.0
    oracle.finish()
    assert oracle.note == "not applicable here: no policy was set"
