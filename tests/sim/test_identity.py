"""Whole clusters with identity: equal states, no state that its owner did not sign, and revoked members gone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from random import Random
from typing import Any

import attrs
import pytest

from gossipreg.authority import Authority, AuthorityKey, new_node_key
from gossipreg.counters import Count
from gossipreg.model import Address, Instance, Status
from gossipreg.policy import Split
from gossipreg.protocol.identity.authenticator import Authenticator, IdentityMode
from gossipreg.protocol.identity.certificate_verifier import CertificateVerifier
from gossipreg.protocol.membership.member_update import MemberUpdate
from gossipreg.protocol.registry.policy_version import PolicyVersion, pack_rule, revocation_version
from gossipreg.protocol.registry.records import Record, TableDigest
from gossipreg.protocol.wire.messages import Message
from gossipreg_sim.cluster import Cluster
from gossipreg_sim.conditions import Links, Loss
from gossipreg_sim.fault import Fault
from gossipreg_sim.process import Process
from gossipreg_sim.runner import run_scenario
from gossipreg_sim.scenario import Scenario, Workload
from gossipreg_sim.world import EPOCH_MS, World, ns
from tests.protocol.identity.signing import AUTHORITY, Peer, signer
from tests.protocol.making import packet
from tests.sim.making import believed, run_for

FROM, UNTIL = EPOCH_MS // 1000 - 3600, EPOCH_MS // 1000 + 86_400
TIME: dict[str, Any] = {"not_before": FROM, "not_after": UNTIL}


def identities(mode: Callable[[str], IdentityMode]) -> Callable[[str], Authenticator]:
    """An authenticator for each node; it keeps its certificate over restarts."""
    signers = {}

    def make(name: str) -> Authenticator:
        if name not in signers:
            signers[name] = signer(name, grants=("policies",), **TIME)
        with_key = None if mode(name) is IdentityMode.OFF else signers[name]
        return Authenticator(CertificateVerifier("prod", (AUTHORITY.authority,)), mode(name), with_key)

    return make


def signed_cluster(
    nodes: int = 8, mode: Callable[[str], IdentityMode] = lambda _: IdentityMode.REQUIRE, seed: int = 1
) -> Cluster:
    made = Cluster(World(seed), authenticators=identities(mode))
    for number in range(nodes):
        made.start(f"n{number}", seeds=["n0"] if number else [])
        made.register(f"n{number}", Instance(id=f"o{number}", service="orders", host="10.0.0.9", port=80))
    run_for(made, 3.0)
    return made


def lose(made: Cluster, probability: float) -> None:
    names = frozenset(made.processes)
    made.network.begin("loss", Loss(Links(names, names), probability))


def agree(made: Cluster) -> bool:
    return len({each.engine.fingerprint for each in made.alive}) == 1


def refusals(made: Cluster) -> int:
    counts = made.tally
    return sum(counts[each] for each in (Count.STATEMENTS_REFUSED, Count.STATEMENTS_UNSIGNED, Count.STATEMENTS_ENDED))


def test_a_cluster_that_requires_identity_lives_as_any_other() -> None:
    made = signed_cluster()
    assert agree(made)
    for number in range(40):
        name, which = f"n{number % 8}", f"x{number % 5}"
        made.register(name, Instance(id=which, service="orders", host="10.0.0.9", port=number + 1))
        if number % 3 == 0:
            made.deregister(name, which)
        run_for(made, 0.05)
    made.set_policy("n3", Split("orders", {"v1": 1}))
    made.crash("n5")
    run_for(made, 0.5)
    assert all(believed(made, each.name, "n5") is Status.FAILED for each in made.alive)
    made.start("n5")
    run_for(made, 3.0)
    assert agree(made)
    assert refusals(made) == 0
    offered = made.offered()
    for process in made.alive:
        for name, instances in offered.items():
            table = process.engine.state.registry.table(name)
            assert {each.id for each in table or ()} == set(instances)


def test_what_is_lost_on_the_way_is_repaired_with_its_proofs() -> None:
    made = signed_cluster(6)
    lose(made, 0.3)
    for number in range(60):
        made.register(
            f"n{number % 6}", Instance(id=f"x{number % 7}", service="orders", host="10.0.0.9", port=1 + number)
        )
        if number % 2:
            made.deregister(f"n{number % 6}", f"x{number % 7}")
        run_for(made, 0.05)
    run_for(made, 30.0)
    assert agree(made)
    assert made.tally[Count.STATEMENTS_REFUSED] == 0


def test_signed_and_unsigned_nodes_agree_while_they_are_upgraded_one_by_one() -> None:
    modes = {f"n{number}": IdentityMode.OFF for number in range(6)}
    made = signed_cluster(6, modes.__getitem__)
    for number in range(6):
        name = f"n{number}"
        made.crash(name)
        modes[name] = IdentityMode.PREFER
        made.start(name, disk=True)
        run_for(made, 4.0)
        assert agree(made), f"with {number + 1} of 6"
    unsigned = [member.name for each in made.alive for member in each.engine.members.snapshot() if not member.proof]
    assert unsigned == []
    for number in range(6):
        made.crash(f"n{number}")
        modes[f"n{number}"] = IdentityMode.REQUIRE
        made.start(f"n{number}", disk=True)
        run_for(made, 4.0)
        assert agree(made), f"{number + 1} of 6 require it"


@attrs.define
class Truth:
    """What each node has stated itself: nothing else may be held of it anywhere (oracle Authority)."""

    cluster: Cluster
    members: set[tuple[object, ...]] = attrs.field(factory=set)
    records: set[Record] = attrs.field(factory=set)
    digests: set[tuple[str, int, int, int]] = attrs.field(factory=set)

    def note(self, process: Process) -> None:
        engine = process.engine
        self.members.add(_claim(engine.identity.own_update()))
        table = engine.state.registry.table(process.name)
        if table is not None:
            self.records.update(table)
            digest = table.latest_digest
            self.digests.add((digest.owner, digest.generation, digest.version, digest.table_xor))

    def check(self) -> None:
        for process in self.cluster.alive:
            self.note(process)
        for process in self.cluster.alive:
            state = process.engine.state
            for member in state.members.snapshot():
                assert _claim(member) in self.members, f"{process.name} believes {member}"
            for table in state.registry.owners:
                assert self.records.issuperset(table), f"{process.name} holds records of {table.owner}"
                digest = table.latest_digest
                stated = (digest.owner, digest.generation, digest.version, digest.table_xor)
                assert not digest.version or stated in self.digests


def _claim(update: MemberUpdate) -> tuple[object, ...]:
    return update.name, update.generation, update.incarnation, update.address, update.zone, update.draining


def lies(made: Cluster, evil: Peer, rng: Random) -> Iterator[Message]:
    """What a sender makes of what it has heard: forged, signed by itself, changed and replayed."""
    view = rng.choice(made.alive).engine
    victim = rng.choice([each for each in view.members.snapshot() if each.name != evil.name])
    changed = attrs.evolve(
        victim,
        generation=victim.generation + rng.choice([0, 0, 5]),
        incarnation=victim.incarnation + rng.choice([0, 1, 7]),
        status=rng.choice(list(Status)),
        accuser=rng.choice([0, victim.run_id, 77]),
        refused=rng.random() < 0.5,
        witnesses=rng.choice([(), ((victim.run_id, bytes(64)), (77, bytes(64)))]),
    )
    yield attrs.evolve(changed, proof=b"")
    yield evil.authenticator.sign_update(changed)
    yield update_of_no_node(rng, evil)
    table = view.state.registry.table(victim.name)
    for record in list(table or ())[:2]:
        later = attrs.evolve(
            record, version=record.version + rng.choice([0, 1]), payload=rng.choice([None, record.payload])
        )
        yield later
        yield attrs.evolve(later, proof=b"")
        yield attrs.evolve(later, proof=evil.authenticator.sign_record(later))
        yield TableDigest(record.owner, record.generation, record.version, record.table_xor, (record.id,), record.proof)
    if table is not None and table.latest_digest.version:
        yield attrs.evolve(table.latest_digest, gone=tuple(each.id for each in table))
        yield attrs.evolve(table.latest_digest, version=table.latest_digest.version + 1, table_xor=0, proof=bytes(80))
    rule = Split("orders", {"evil": 1})
    policy = PolicyVersion(rule.key, made.processes["n0"].engine.state.clock.wall(0.0), 0, evil.name, pack_rule(rule))
    yield policy
    yield evil.authenticator.sign_policy(policy)


def hears(process: Process, payload: bytes) -> None:
    """Let a node receive what a holder of the cluster's key has sealed."""
    process.do(lambda engine, now: engine.receive(payload, Address("10.6.6.6", 7666), now))


def update_of_no_node(rng: Random, evil: Peer) -> MemberUpdate:
    made_up = Peer(f"ghost{rng.randrange(5)}", 9000, evil.signer)
    return made_up.state(generation=EPOCH_MS)


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("attacker", ["no certificate", "a certificate for something else", "a revoked certificate"])
def test_no_node_holds_anything_that_its_owner_did_not_state(attacker: str, seed: int) -> None:
    made = signed_cluster(5, seed=seed)
    evil = Peer("n1" if attacker == "no certificate" else "evil", 7666, signer("evil", **TIME))
    if attacker == "no certificate":
        evil.signer = signer("n*", by=type(AUTHORITY).new("prod"), **TIME)
    if attacker == "a revoked certificate":
        evil.signer = signer("n*", **TIME)
        revoke(made, "n2", evil)
        run_for(made, 0.5)
    truth, rng = Truth(made), Random(seed)
    for number in range(60):
        truth.check()
        made.register("n3", Instance(id=f"x{number % 4}", service="orders", host="10.0.0.9", port=1 + number))
        truth.check()
        sender = rng.choice([evil.state().run_id, *(each.engine.identity.run_id for each in made.alive)])
        for lie in lies(made, evil, rng):
            hears(rng.choice(made.alive), packet(sender, lie))
        run_for(made, 0.1)
        truth.check()
    run_for(made, 3.0)
    truth.check()
    assert agree(made)
    assert refusals(made) > 100
    assert not made.processes["n0"].engine.state.policies.in_force
    assert all(believed(made, each.name, other.name) is Status.ALIVE for each in made.alive for other in made.alive)


def revoke(made: Cluster, at: str, holder: Peer) -> None:
    gone = AUTHORITY.revoke(holder.signer.certificate, at=EPOCH_MS // 1000)
    made.processes[at].do(lambda engine, now: engine.publish_policy(engine.local_policies.revocation_of(gone), now))


@pytest.mark.parametrize("loss", [0.0, 0.2])
def test_a_revoked_member_is_gone_everywhere_within_a_second_and_stays_out(loss: float) -> None:
    made = signed_cluster(16)
    if loss:
        lose(made, loss)
    holder = made.processes["n7"].engine.state.authenticator.signer
    assert holder is not None
    began = made.world.seconds
    gone = AUTHORITY.revoke(holder.certificate, at=EPOCH_MS // 1000)
    made.processes["n2"].do(lambda engine, now: engine.publish_policy(engine.local_policies.revocation_of(gone), now))
    others = [each for each in made.alive if each.name != "n7"]

    def holds(process: Process) -> bool:
        engine = process.engine
        shown = {each.owner for each in engine.view.service("orders").instances}
        return engine.members.get("n7") is not None or "n7" in shown

    while any(map(holds, others)) and made.world.seconds - began < 2.0:
        made.world.run(made.world.now + ns(0.01))
    assert made.world.seconds - began <= 1.0
    for _ in range(100):  # its own node goes on, and joins again and again
        run_for(made, 0.1)
        assert not any(map(holds, others))
    made.crash("n7")
    made.start("n7")
    run_for(made, 10.0)
    assert not any(map(holds, others))
    assert len({each.engine.fingerprint for each in others}) == 1
    known = {version.key for each in others for version in each.engine.state.policies}
    assert known == {revocation_version(gone).key}


@pytest.mark.parametrize("loss", [0.0, 0.2])
def test_a_newcomer_falls_with_the_issuer_of_its_certificate_and_returns_under_another(loss: float) -> None:
    key, later = new_node_key(), new_node_key()
    limits: dict[str, Any] = {"names": ("web-*",), "zones": ("*",), "services": ("*",), "roles": ("*",), "grants": ()}
    delegations = [
        AUTHORITY.delegate(each.public, agent=agent, lifetime=UNTIL - FROM, **limits, **TIME)
        for each, agent in ((key, "n1"), (later, "n2"))
    ]
    trusted = (AUTHORITY.authority, *(Authority("prod", each.public, each) for each in delegations))
    by = AuthorityKey("prod", key)
    own = {f"n{number}": signer(f"n{number}", grants=("policies",), **TIME) for number in range(8)}
    own["web-1"] = signer("web-1", by=by, **TIME)
    made = Cluster(
        World(3),
        authenticators=lambda name: Authenticator(
            CertificateVerifier("prod", trusted), IdentityMode.REQUIRE, own[name]
        ),
    )
    for number, name in enumerate(own):
        made.start(name, seeds=["n0"] if number else [])
        made.register(name, Instance(id=f"o-{name}", service="orders", host="10.0.0.9", port=80))
    run_for(made, 3.0)
    assert agree(made)
    others = [each for each in made.alive if each.name != "web-1"]

    def holds(process: Process) -> bool:
        shown = {each.owner for each in process.engine.view.service("orders").instances}
        return process.engine.members.get("web-1") is not None or "web-1" in shown

    assert all(map(holds, others))
    if loss:
        lose(made, loss)
    began = made.world.seconds
    gone = AUTHORITY.revoke(delegations[0], at=EPOCH_MS // 1000)
    made.processes["n2"].do(lambda engine, now: engine.publish_policy(engine.local_policies.revocation_of(gone), now))
    while any(map(holds, others)) and made.world.seconds - began < 2.0:
        made.register("n4", Instance(id="busy", service="orders", host="10.0.0.9", port=1 + made.world.now % 60_000))
        made.world.run(made.world.now + ns(0.01))
    assert made.world.seconds - began <= 1.0
    own["web-1"] = signer("web-1", by=by, **TIME)  # the thief signs another one
    made.crash("web-1")
    made.start("web-1", seeds=["n0"])
    run_for(made, 10.0)
    assert not any(map(holds, others))
    made.crash("web-1")
    own["web-1"] = signer("web-1", by=AuthorityKey("prod", later), **TIME)
    made.start("web-1", seeds=["n0"])
    made.register("web-1", Instance(id="o-web-1", service="orders", host="10.0.0.9", port=80))
    run_for(made, 20.0)
    assert all(map(holds, others))
    assert agree(made)


def test_a_node_that_signs_no_more_is_not_believed() -> None:
    modes = dict.fromkeys(("n0", "n1", "n2"), IdentityMode.PREFER)
    made = signed_cluster(3, modes.__getitem__)
    made.crash("n2")
    modes["n2"] = IdentityMode.OFF
    made.start("n2")
    run_for(made, 20.0)
    for name in ("n0", "n1"):
        assert believed(made, name, "n2") is not Status.ALIVE
    assert made.tally[Count.STATEMENTS_UNSIGNED] > 0
    made.crash("n2")
    modes["n2"] = IdentityMode.PREFER
    made.start("n2")
    run_for(made, 5.0)
    assert agree(made)
    assert believed(made, "n0", "n2") is Status.ALIVE


@pytest.mark.slow
def test_a_key_is_rotated_and_a_member_expelled_under_load_and_loss() -> None:
    scenario = Scenario(
        title="16 nodes with 20 changes a second and a loss of 10 % rotate the key and expel a member",
        nodes=16,
        seeds=3,
        warmup=5,
        duration=14,
        sealed=True,
        identity="require",
        workload=Workload(instances=1, churn=20.0),
        faults=(
            Fault(kind="loss", probability=0.1),
            Fault(kind="rotate", at=2, seconds=9, nodes=("n4",)),
            Fault(kind="revoke", at=5, nodes=("n15",)),
        ),
        sometimes=("key added", "key used", "key given up", "revoke", "members_expelled"),
    )
    outcome = run_scenario(scenario, 1)
    assert outcome.is_good, (outcome.violations[:3], outcome.late, outcome.missing)
    # Only the expelled member is ever held failed, by those that it cannot hear any more, and it holds others failed.
    failed = {(step.node, step.about) for step in outcome.trace.steps if step.what == "failed"}
    assert all("n15" in pair for pair in failed), failed
