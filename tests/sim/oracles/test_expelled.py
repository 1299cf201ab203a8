"""An expelled member that stays, comes back, or is expelled late is reported."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from gossipreg.policy import Split
from gossipreg.protocol.identity.authenticator import IdentityMode
from gossipreg_sim.cluster import Cluster
from gossipreg_sim.conditions import Cut, Links
from gossipreg_sim.fault import Fault
from gossipreg_sim.identities import Identities
from gossipreg_sim.oracles.expelled import Expelled
from gossipreg_sim.oracles.oracle_runner import OracleRunner
from gossipreg_sim.oracles.run_context import RunContext
from gossipreg_sim.process import Process
from gossipreg_sim.world import World
from tests.sim.making import run_for, scenario
from tests.sim.oracles.watching import offer, texts

REVOKE = Fault(kind="revoke", nodes=("n3",))


def made_of_four(*faults: Fault) -> tuple[Cluster, Expelled]:
    """Four nodes that require identity; n3 offers an instance and has set a policy."""
    world = World(1)
    made = Cluster(world, identities=Identities(world, IdentityMode.REQUIRE))
    oracle = Expelled(made, RunContext(scenario(*faults, identity="require"), outside=("n3",)))
    OracleRunner.of([oracle]).watch(made)
    for number in range(4):
        made.start(f"n{number}", seeds=["n0"] if number else [])
    made.register("n3", offer("a"))
    run_for(made, 3)
    made.set_policy("n3", Split("s", {"v1": 1}))
    run_for(made, 1)
    return made, oracle


def revoke(made: Cluster, name: str = "n3") -> None:
    assert made.identities is not None
    made.revoke("n0", made.identities.revoke(made.identities.signers[name].certificate, made.world.seconds))


def test_an_expulsion_in_time_is_good() -> None:
    made, oracle = made_of_four(REVOKE)
    revoke(made)
    run_for(made, 5)
    oracle.context.healed_in = 1.0
    oracle.finish()
    assert texts(oracle) == []
    assert oracle.checks > 20


def test_a_run_without_a_revocation_is_not_looked_at() -> None:
    _, oracle = made_of_four()
    oracle.finish()
    assert oracle.note == "not applicable here: no certificate was revoked"


def keep(made: Cluster, what: Callable[[Process], object], put: Callable[[Process, object], None]) -> None:
    """Have n1 hold, after the expulsion, what it held before."""
    held = what(made.processes["n1"])
    revoke(made)
    run_for(made, 1)
    put(made.processes["n1"], held)


def put_member(process: Process, held: object) -> None:
    process.engine.state.members._updates["n3"] = held  # type: ignore[assignment]  # what was there before


def put_policy(process: Process, held: object) -> None:
    process.engine.state.policies._versions["split:s"] = held  # type: ignore[assignment]  # what was there before


@pytest.mark.parametrize(
    ("what", "put", "text"),
    [
        (lambda p: p.engine.state.members.get("n3"), put_member, "holds n3, alive, whose certificate was revoked"),
        (lambda p: p.engine.state.policies.get("split:s"), put_policy, "holds split:s of n3, whose certificate"),
    ],
    ids=["member", "policy"],
)
def test_what_stays_of_an_expelled_member_is_reported(
    what: Callable[[Process], object], put: Callable[[Process, object], None], text: str
) -> None:
    made, oracle = made_of_four(REVOKE)
    keep(made, what, put)
    oracle.after(made.processes["n1"])
    assert any(said.startswith(text) for said in texts(oracle)), texts(oracle)


def test_records_that_stay_are_reported() -> None:
    made, oracle = made_of_four(REVOKE)
    registry = made.processes["n1"].engine.state.registry
    table = registry.table("n3")
    assert table is not None
    revoke(made)
    run_for(made, 1)
    registry._tables["n3"] = table
    oracle.after(made.processes["n1"])
    assert "holds records of n3, which is no member" in texts(oracle)


def test_a_forgotten_revocation_is_reported() -> None:
    made, oracle = made_of_four(REVOKE)
    revoke(made)
    run_for(made, 1)
    policies = made.processes["n1"].engine.state.policies
    policies._drop(policies.revocations[0])
    oracle.after(made.processes["n1"])
    assert [text.split(" that ")[0] for text in texts(oracle)] == ["has forgotten"]


def late(*faults: Fault) -> Expelled:
    """n1 is cut off while a certificate is revoked."""
    made, oracle = made_of_four(REVOKE, *faults)
    names = frozenset(made.processes)
    made.network.begin("cut", Cut(Links(frozenset(["n1"]), names - {"n1"}, both_ways=True)))
    revoke(made)
    run_for(made, 2)
    oracle.context.healed_in = 1.0
    return oracle


def test_a_late_expulsion_is_reported_once() -> None:
    oracle = late()
    assert [text.split(",")[0] for text in texts(oracle)] == ["does not hold"]


def test_where_other_faults_hold_only_the_end_counts() -> None:
    oracle = late(Fault(kind="cut", nodes=("n1",)))
    assert texts(oracle) == []
    oracle.finish()
    assert [text.split(" that ")[0] for text in texts(oracle)] == ["does not hold, at the end,"]


@pytest.mark.parametrize(("kept", "missing"), [(None, 0), ("n1", 3)], ids=["all without", "one with its disk"])
def test_a_revocation_need_not_survive_where_all_nodes_lose_their_disks(kept: str | None, missing: int) -> None:
    made, oracle = made_of_four(REVOKE, Fault(kind="crash", nodes=("*",)))
    revoke(made)
    run_for(made, 2)
    for name in ("n0", "n1", "n2"):
        made.crash(name, host=False)
    run_for(made, 1)
    for name in ("n0", "n1", "n2"):
        made.start(name, disk=name == kept)
    for name in ("n0", "n1", "n2"):
        oracle.after(made.processes[name])
        oracle._held[made.processes[name]].clear()  # as if the one with its disk had not told it, either
    oracle.context.healed_in = 1.0
    oracle.finish()
    assert [text.split(" that ")[0] for text in texts(oracle)] == ["does not hold, at the end,"] * missing
