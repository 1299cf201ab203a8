"""What an owner did not sign is reported, of members, records, tables, policies and revocations."""

from __future__ import annotations

import attrs
import pytest

from gossipreg.policy import Split
from gossipreg.protocol.identity.authenticator import IdentityMode
from gossipreg_sim.cluster import Cluster
from gossipreg_sim.identities import Identities
from gossipreg_sim.oracles.authority import Authority
from gossipreg_sim.oracles.oracle_runner import OracleRunner
from gossipreg_sim.oracles.run_context import RunContext
from gossipreg_sim.process import Process
from gossipreg_sim.world import World
from tests.sim.making import cluster, run_for, scenario
from tests.sim.oracles.watching import offer, texts


def signed(mode: IdentityMode = IdentityMode.REQUIRE) -> tuple[Cluster, Authority, Process]:
    """Three nodes with identity; n1 offers an instance, and n0 has set a policy, of which n2 knows."""
    world = World(1)
    made = Cluster(world, identities=Identities(world, mode))
    oracle = Authority(made, RunContext(scenario(nodes=3)))
    OracleRunner.of([oracle]).watch(made)
    for number in range(3):
        made.start(f"n{number}", seeds=["n0"] if number else [])
    made.register("n1", offer("a"))
    run_for(made, 3)
    made.set_policy("n0", Split("s", {"v1": 1}))
    run_for(made, 1)
    assert texts(oracle) == []
    assert oracle.checks > 10
    return made, oracle, made.processes["n2"]


def test_a_cluster_without_identity_is_not_looked_at() -> None:
    made = cluster(2)
    oracle = Authority(made, RunContext(scenario(nodes=2)))
    for process in made.alive:
        oracle.after(process)
    oracle.finish()
    assert oracle.note == "not applicable here: the nodes have no identity"


def test_another_address_of_a_member_is_reported() -> None:
    _, oracle, n2 = signed()
    members = n2.engine.state.members
    held = members.get("n1")
    assert held is not None
    members._updates["n1"] = attrs.evolve(held, zone="elsewhere")
    oracle.after(n2)
    [text] = texts(oracle)
    assert text.startswith("holds of n1 a member that n1 did not sign")


def test_another_record_of_an_owner_is_reported() -> None:
    _, oracle, n2 = signed()
    table = n2.engine.state.registry.table("n1")
    assert table is not None
    table._live["a"] = attrs.evolve(table._live["a"], payload=b"junk")
    table._xor ^= 1
    oracle.after(n2)
    assert [text.split(":")[0] for text in texts(oracle)] == ["holds of n1 a record that n1 did not sign"]


def test_another_digest_of_a_table_is_reported() -> None:
    _, oracle, n2 = signed()
    table = n2.engine.state.registry.table("n1")
    assert table is not None
    table._digest_version += 1
    table._latest_digest = None
    oracle.after(n2)
    assert [text.split(":")[0] for text in texts(oracle)] == ["holds of n1 a table that n1 did not sign"]


@pytest.mark.parametrize("proof", [b"", b"a proof"])
def test_a_node_that_prefers_identity_is_held_to_what_it_holds_with_a_proof(proof: bytes) -> None:
    _, oracle, n2 = signed(IdentityMode.PREFER)
    policies = n2.engine.state.policies
    [held] = policies
    policies._versions[held.key] = attrs.evolve(held, ms=held.ms + 1, proof=proof)
    oracle.after(n2)
    assert len(texts(oracle)) == (1 if proof else 0)


def test_a_revocation_that_the_authority_did_not_sign_is_reported() -> None:
    made, oracle, n2 = signed()
    identities = made.identities
    assert identities is not None
    genuine = identities.revoke(identities.signers["n1"].certificate, 4.0)
    made.revoke("n0", genuine)
    run_for(made, 1)
    assert texts(oracle) == []
    identities.ledger.revoked.clear()
    oracle._policies.clear()
    oracle.after(n2)
    assert [text.split(":")[0] for text in texts(oracle)] == ["holds revoked-certificate"]


def test_a_term_that_no_member_claimed_is_reported() -> None:
    made, oracle, n2 = signed()
    made.register("n1", attrs.evolve(offer("p"), role="primary", term=1))
    run_for(made, 1)
    assert texts(oracle) == []
    [register] = n2.engine.state.terms
    n2.engine.state.terms._registers["s"] = attrs.evolve(register, ms=1, writer="n0", claimed=2, seen=3)
    oracle.after(n2)
    kinds = [text.split(" that ")[0] for text in texts(oracle)]
    assert kinds == ["holds of s a reset", "holds of s a term", "holds of s a term"]
