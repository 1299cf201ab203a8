"""With identity, a node believes of a member only what its owner has signed, within its certificate."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import attrs
import pytest

from gossipreg import limits
from gossipreg.counters import Count
from gossipreg.errors import InvalidInstance, NotAllowed
from gossipreg.model import Status
from gossipreg.policy import Split
from gossipreg.protocol.engine import Engine
from gossipreg.protocol.identity.authenticator import IdentityMode, Signer
from gossipreg.protocol.membership.member_update import MemberUpdate
from gossipreg.protocol.outputs import InstancesChanged, MemberExpelled, StatementRefused
from gossipreg.protocol.registry.policy_version import PolicyVersion, pack_rule, revocation_version
from gossipreg.protocol.registry.records import TableDigest
from gossipreg.protocol.registry.table import table_proof
from gossipreg.protocol.wire.messages import message_of, pack
from tests.protocol.identity.signing import (
    AUTHORITY,
    OTHER,
    UNTIL,
    Peer,
    deliver,
    meeting,
    names,
    node,
    receive_over_stream,
    signer,
)
from tests.protocol.making import BORN, instance, update

B = Peer("b")
EVIL = Peer("evil", 7666)


def orders(of: Engine) -> list[str]:
    of.handle_timeout(6.0)
    return sorted(each.id for each in of.view.service("orders").instances)


_REFUSALS = (Count.STATEMENTS_REFUSED, Count.STATEMENTS_UNSIGNED, Count.STATEMENTS_ENDED)


def refused(of: Engine) -> int:
    return sum(of.counters[each] for each in _REFUSALS)


def test_a_signed_member_is_believed_with_its_records() -> None:
    here = meeting(B)
    deliver(here, B.state(), Peer("b", signer=B.signer).offer())
    assert names(here) == ["a", "b"]
    assert orders(here) == ["orders-1"]
    assert refused(here) == 0


FORGED = {
    "unsigned": update("c", port=7003),
    "signed by another": attrs.evolve(update("c", port=7003), proof=EVIL.state().proof),
    "for another name": EVIL.authenticator.sign_update(update("c", port=7003)),
    "by another authority": Peer("c", 7003, signer("c", by=OTHER)).state(),
    "of another cluster": Peer("c", 7003, signer("c", by=type(AUTHORITY)("test", AUTHORITY.key))).state(),
    "ended": Peer("c", 7003, signer("c", not_after=BORN // 1000 - 120)).state(),
    "not begun": Peer("c", 7003, signer("c", not_before=BORN // 1000 + 120)).state(),
    "in a zone that is not allowed": Peer("c", 7003, signer("c", zones=("east",))).state(zone="west"),
    "with another address": attrs.evolve(Peer("c", 7003).state(), address=EVIL.state().address),
    "with another incarnation": attrs.evolve(Peer("c", 7003).state(), incarnation=1),
    "as one that left": attrs.evolve(Peer("c", 7003).state(), status=Status.LEFT),
    "with a proof of junk": attrs.evolve(update("c", port=7003), proof=bytes(200)),
}


@pytest.mark.parametrize("forged", FORGED.values(), ids=FORGED)
def test_a_member_that_did_not_state_it_is_not_believed(forged: MemberUpdate) -> None:
    here = meeting(EVIL)
    outputs = deliver(here, EVIL.state(), forged) + receive_over_stream(here, EVIL.state(), forged)
    assert names(here) == ["a", "evil"]
    assert refused(here) == 2
    assert all(each.sender == "evil" for each in outputs if isinstance(each, StatementRefused))


def test_a_member_is_moved_and_its_incarnation_raised_by_itself_only() -> None:
    here = meeting(B, EVIL)
    held = here.members.get("b")
    assert held is not None
    changes: tuple[dict[str, Any], ...] = ({"incarnation": 9}, {"generation": BORN + 5}, {"draining": True})
    for change in changes:
        deliver(here, EVIL.state(), attrs.evolve(held, **change))
        deliver(here, EVIL.state(), EVIL.authenticator.sign_update(attrs.evolve(held, **change)))
    assert here.members.get("b") == held
    assert refused(here) == 6
    deliver(here, B.state(), B.state(incarnation=9))
    assert here.members.get("b") == B.state(incarnation=9)


def test_this_nodes_own_name_cannot_be_taken_by_a_forged_later_run() -> None:
    here = meeting(EVIL)
    before = here.identity.own_update()
    forged = attrs.evolve(before, generation=BORN + 500, address=EVIL.state().address)
    for said in (forged, EVIL.authenticator.sign_update(forged), attrs.evolve(before, incarnation=2**31)):
        deliver(here, EVIL.state(), said)
    assert here.identity.own_update() == before
    assert here.identity.rival is None


def test_records_under_this_nodes_name_have_it_begin_no_other_run() -> None:
    here = meeting(EVIL)
    here.register(peer_instance("x"), 1.0)
    run = here.identity.generation
    thief = Peer("a", signer=EVIL.signer)
    for number in range(3):
        record = thief.offer(f"y{number}")
        deliver(here, EVIL.state(), record, attrs.evolve(record, proof=b""))
        deliver(here, EVIL.state(), TableDigest("a", BORN, record.version, record.table_xor, (), table_proof(record)))
    assert here.identity.generation == run
    assert orders(here) == ["x"]


def test_records_and_removals_of_others_are_refused() -> None:
    here = meeting(B, EVIL)
    owner = Peer("b", signer=B.signer)
    first, second = owner.offer("x"), owner.offer("y")
    deliver(here, B.state(), first, second)
    assert orders(here) == ["x", "y"]
    thief = Peer("b", signer=EVIL.signer, registry=owner.registry)
    stolen = [
        thief.offer("z"),
        thief.withdraw("x"),
        attrs.evolve(thief.offer("x"), proof=first.proof),
        attrs.evolve(thief.offer("w"), proof=b""),
        attrs.evolve(second, id="v", version=9),
    ]
    deliver(here, EVIL.state(), *stolen)
    receive_over_stream(here, EVIL.state(), *stolen)
    assert orders(here) == ["x", "y"]
    assert refused(here) == 10


def test_a_digest_of_a_run_that_is_not_held_is_neither_verified_nor_applied() -> None:
    here = meeting(B, EVIL)
    deliver(here, B.state(), Peer("b", signer=B.signer).offer("x"))
    for generation in (BORN - 1, BORN + 1):
        deliver(here, EVIL.state(), TableDigest("b", generation, 9, 0, ("x",)))
    assert orders(here) == ["x"]
    assert refused(here) == 0


def test_a_digest_deletes_only_what_its_owner_has_deleted() -> None:
    owner = Peer("b", signer=B.signer)
    first, second = owner.offer("x"), owner.offer("y")
    here = meeting(B, EVIL)
    deliver(here, B.state(), first, second)
    live = TableDigest("b", BORN, second.version, second.table_xor, ("x",), table_proof(second))
    forged = attrs.evolve(live, version=9, gone=("x", "y"), table_xor=0)
    deliver(here, EVIL.state(), live, forged, attrs.evolve(forged, proof=b""))
    assert orders(here) == ["x", "y"]
    assert refused(here) == 2
    removal = owner.withdraw("x")
    true = TableDigest("b", BORN, removal.version, removal.table_xor, ("x",), table_proof(removal))
    deliver(here, EVIL.state(), attrs.evolve(true, gone=("x", "y")))
    assert orders(here) == ["x", "y"], "the owner has signed a table that still has y"
    deliver(here, EVIL.state(), true)
    assert orders(here) == ["y"]
    table = here.state.registry.table("b")
    assert table is not None
    assert table.is_complete
    deliver(here, EVIL.state(), first)
    assert orders(here) == ["y"], "what was deleted does not come back"


def test_a_member_offers_only_what_its_certificate_allows() -> None:
    holder = signer("b", services=("orders",), roles=())
    here = meeting(peer := Peer("b", signer=holder))
    other = Peer("b", signer=holder)
    outputs = deliver(here, peer.state(), other.offer("x"), other.offer("pay", service="pay"))
    outputs += deliver(here, peer.state(), other.offer("p", role="primary", term=1))
    assert orders(here) == ["x"]
    assert not here.view.service("pay").instances
    said = [each.why for each in outputs if isinstance(each, StatementRefused)]
    assert said == ["its certificate does not allow service pay", "its certificate does not allow role primary"]
    last = other.offer("last", service="pay")
    deliver(here, peer.state(), TableDigest("b", BORN, last.version, last.table_xor, (), table_proof(last)))
    table = here.state.registry.table("b")
    assert table is not None
    assert not table.is_complete
    assert here.state.is_barred(table), "what is never taken is not asked for again and again"


def test_this_node_says_at_once_what_its_certificate_does_not_allow() -> None:
    here = node()
    here.state.authenticator.use(signer("a", services=("orders",), roles=()))
    here.register(peer_instance("x"), 1.0)
    with pytest.raises(InvalidInstance, match="certificate does not allow service 'pay'") as error:
        here.register(peer_instance("y", service="pay"), 1.0)
    assert error.value.field == "service"
    with pytest.raises(NotAllowed, match="--allow policies"):
        here.set_policy(Split("orders", {"v1": 1}), 1.0)


def peer_instance(id_: str, **fields: Any) -> Any:
    from tests.protocol.making import instance

    return instance(id_, **fields)


def test_policies_are_for_writers_whose_certificate_allows_them() -> None:
    here = meeting(B, ops := Peer("ops", 7004, signer("ops", grants=("policies",))))
    rule = Split("orders", {"v1": 1})
    version = PolicyVersion(rule.key, BORN, 0, "ops", pack_rule(rule))
    for forged in (
        version,
        B.authenticator.sign_policy(version),
        B.authenticator.sign_policy(attrs.evolve(version, writer="b")),
        attrs.evolve(ops.authenticator.sign_policy(version), ms=BORN + 1),
        attrs.evolve(ops.authenticator.sign_policy(version), payload=None),
    ):
        deliver(here, B.state(), forged)
    assert here.state.policies.get(rule.key) is None
    assert refused(here) == 5
    signed = ops.authenticator.sign_policy(version)
    read = message_of(pack(signed))
    assert isinstance(read, PolicyVersion)
    deliver(here, B.state(), read)
    assert here.state.policies.rule(rule.key) == rule


def test_one_member_alone_proves_no_failure_and_two_do() -> None:
    first, second = Peer("first", 7010), Peer("second", 7011)
    here = meeting(B, first, second)
    held = here.members.get("b")
    assert held is not None

    def accusation(*accusers: Peer) -> MemberUpdate:
        failed = attrs.evolve(held, status=Status.FAILED, accuser=accusers[0].state().run_id, refused=True)
        signed = [each.authenticator.sign_verdict(failed, each.state().run_id).witnesses for each in accusers]
        return attrs.evolve(failed, witnesses=tuple(one for each in signed for one in each))

    for lie in (accusation(first), accusation(first, first), attrs.evolve(accusation(first, second), witnesses=())):
        deliver(here, first.state(), lie)
        believed = here.members.get("b")
        assert believed is not None
        assert believed.status is not Status.FAILED
    conceded = attrs.evolve(held, status=Status.FAILED, accuser=held.run_id)
    deliver(here, first.state(), conceded)
    believed = here.members.get("b")
    assert believed is not None
    assert believed.status is not Status.FAILED
    deliver(here, first.state(), accusation(first, second))
    believed = here.members.get("b")
    assert believed is not None
    assert believed.status is Status.FAILED


def test_a_revoked_member_is_expelled_with_all_that_it_stated_and_stays_out() -> None:
    evil = Peer("evil", 7666, signer("evil", grants=("policies",)))
    here = meeting(B, evil)
    rule = Split("orders", {"v1": 1})
    policy = evil.authenticator.sign_policy(PolicyVersion(rule.key, BORN, 0, "evil", pack_rule(rule)))
    deliver(here, evil.state(), evil.offer(), policy)
    assert orders(here) == ["orders-1"]
    forged = OTHER.revoke(signer("evil", by=OTHER).certificate, at=BORN // 1000)
    deliver(here, evil.state(), revocation_version(forged))
    assert names(here) == ["a", "b", "evil"], "only the authority revokes"
    fingerprint = meeting(B).fingerprint
    gone = AUTHORITY.revoke(evil.signer.certificate, at=BORN // 1000)
    outputs = deliver(here, B.state(), revocation_version(gone))
    assert [each.member.name for each in outputs if isinstance(each, MemberExpelled)] == ["evil"]
    assert (names(here), orders(here)) == (["a", "b"], [])
    assert here.state.policies.get(rule.key) is None
    deliver(here, evil.state(), evil.state(incarnation=5), evil.offer("again"), policy)
    deliver(here, evil.state(), attrs.evolve(revocation_version(gone), ms=BORN + 5, payload=None))
    assert (names(here), orders(here)) == (["a", "b"], [])
    here.state.policy_state.drop(revocation_version(gone))
    assert here.fingerprint == fingerprint, "nothing of it is left"


def test_a_member_whose_certificate_ends_is_expelled_and_one_that_renews_is_not() -> None:
    here = meeting(B, EVIL)
    renewed = AUTHORITY.renew(B.signer.certificate, not_before=UNTIL - 100, not_after=UNTIL + 9999)
    here.set_wall_clock(1000 * (UNTIL - 50), 10.0)
    again = Peer("b", signer=attrs.evolve(B.signer, certificate=renewed))
    deliver(here, again.state(incarnation=1), again.state(incarnation=1), now=10.0)
    here.set_wall_clock(1000 * (UNTIL + 61), 20.0)
    here.handle_timeout(20.0)
    assert names(here) == ["a", "b"]


def test_what_is_remembered_of_certificates_and_revocations_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "CERTIFICATES_REMEMBERED_MAX", 3)
    monkeypatch.setattr(limits, "REVOCATIONS_MAX", 2)
    here = node()
    for number in range(5):
        peer = Peer(f"n{number}", 7100 + number)
        deliver(here, peer.state(), peer.state())
        gone = AUTHORITY.revoke(signer(f"old{number}").certificate, at=BORN // 1000 + number)
        deliver(here, peer.state(), revocation_version(gone))
    assert len(here.state.authenticator.certificates._verified_documents) == 3
    assert len(here.state.policies.revocations) == 2


def test_a_verdict_has_no_more_witnesses_than_are_asked_for() -> None:
    witnesses = tuple((number, bytes(64)) for number in range(1, limits.WITNESSES_MAX + 2))
    for count in (limits.WITNESSES_MAX, limits.WITNESSES_MAX + 1):
        read = message_of(pack(attrs.evolve(B.state(), witnesses=witnesses[:count])))
        assert isinstance(read, MemberUpdate)
        assert len(read.witnesses) == (count if count == limits.WITNESSES_MAX else 0)


# Some sign, some do not yet


def test_with_prefer_unsigned_members_are_believed_until_they_have_signed() -> None:
    here = meeting(mode=IdentityMode.PREFER)
    old = update("b")
    deliver(here, old, old)
    assert names(here) == ["a", "b"]
    deliver(here, B.state(), B.state())
    held = here.members.get("b")
    assert held is not None
    assert held.proof, "the same statement, signed, takes the place of the unsigned one"
    deliver(here, EVIL.state(), update("b", incarnation=3), Peer("b", signer=B.signer).offer("x"))
    forged = attrs.evolve(Peer("b", signer=B.signer).offer("y"), proof=b"")
    deliver(here, EVIL.state(), forged)
    assert here.members.get("b") == held
    assert orders(here) == ["x"], "a member that signs is not believed unsigned"


def test_what_is_signed_under_a_certificate_that_counts_no_more_is_no_forgery() -> None:
    here, gone = meeting(B), Peer("d", 7009, signer("d", not_after=BORN // 1000 - 100))
    deliver(here, update("d", port=7009), gone.state())
    assert names(here) == ["a", "b"]
    assert (here.counters[Count.STATEMENTS_ENDED], here.counters[Count.STATEMENTS_REFUSED]) == (1, 0)


def test_what_is_signed_wrongly_is_refused_with_prefer_too() -> None:
    for forged in [each for case, each in FORGED.items() if case != "unsigned"]:
        here = meeting(mode=IdentityMode.PREFER)
        deliver(here, update("d", port=7009), forged)
        assert names(here) == ["a"]
        assert refused(here) == 1


def test_a_node_without_identity_passes_proofs_on() -> None:
    from tests.protocol.making import engine

    here = engine()
    record = Peer("b", signer=B.signer).offer()
    deliver(here, B.state(), B.state(), record)
    held, table = here.members.get("b"), here.state.registry.table("b")
    assert held is not None
    assert table is not None
    assert held.proof == B.state().proof
    assert [each.proof for each in table] == [record.proof]
    assert table.latest_digest.proof == table_proof(record)


def test_a_certificate_that_only_lasts_longer_needs_no_new_run() -> None:
    here = meeting(B)
    here.register(instance("x"), 6.0)
    run, records = here.identity.run_id, list(here.state.registry.table("a") or ())
    own = here.state.authenticator.signer
    assert own is not None
    longer = AUTHORITY.renew(own.certificate, not_before=UNTIL - 100, not_after=UNTIL + 9999)
    here.set_wall_clock(1000 * (UNTIL - 50), 7.0)
    outputs = here.renew_certificate(attrs.evolve(own, certificate=longer), 7.0)
    assert (here.identity.run_id, here.identity.incarnation) == (run, 1)
    assert list(here.state.registry.table("a") or ()) == records
    assert not any(isinstance(each, InstancesChanged) for each in outputs)
    assert here.state.own is not None
    assert here.state.own.proof.endswith(longer.data)
    assert here.renew_certificate(attrs.evolve(own, certificate=longer), 7.1) is not None
    assert here.identity.incarnation == 1, "it has been stated"


def test_a_certificate_with_another_key_that_allows_other_things_or_comes_too_late_needs_a_new_run() -> None:
    def renewed(certificate: Callable[[Signer], Signer], *, at: float) -> bool:
        here = meeting(B)
        own = here.state.authenticator.signer
        assert own is not None
        here.set_wall_clock(1000 * at, 7.0)
        run = here.identity.run_id
        here.renew_certificate(certificate(own), 7.0)
        return here.identity.run_id != run

    def allowing(own: Signer, **fields: Any) -> Signer:
        given = {
            "names": ("a",),
            "grants": ("policies", "forget"),
            "not_before": UNTIL - 100,
            "not_after": UNTIL + 9999,
        }
        return attrs.evolve(own, certificate=AUTHORITY.sign(own.key.public, **{**given, **fields}))

    assert not renewed(allowing, at=UNTIL - 50)
    assert renewed(partial(allowing, services=("billing",)), at=UNTIL - 50)
    assert renewed(partial(allowing, grants=()), at=UNTIL - 50)
    assert renewed(lambda _: signer("a", grants=("policies", "forget")), at=UNTIL - 50)
    assert renewed(allowing, at=UNTIL + 61), "the others have expelled it"
