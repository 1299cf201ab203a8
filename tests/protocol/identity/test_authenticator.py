"""What an authenticator refuses and why, and what it passes where identity is off or is only preferred."""

from __future__ import annotations

import attrs
import msgpack
import pytest

from gossipreg.authority import Authority
from gossipreg.certificate import Certificate
from gossipreg.counters import Count
from gossipreg.errors import NotAllowed
from gossipreg.model import Status
from gossipreg.policy import Split
from gossipreg.protocol.engine import Engine
from gossipreg.protocol.identity.authenticator import Authenticator, IdentityMode
from gossipreg.protocol.identity.certificate_verifier import LEEWAY, CertificateVerifier
from gossipreg.protocol.identity.refusals import StatementRefusal
from gossipreg.protocol.identity.statements import verdict_statement
from gossipreg.protocol.membership.member_update import MemberUpdate
from gossipreg.protocol.outputs import CloseStream, MemberExpelled, Output, StatementRefused
from gossipreg.protocol.registry.policy_version import PolicyVersion, pack_rule, revocation_version
from gossipreg.protocol.registry.records import Record, TableDigest
from gossipreg.protocol.registry.table import table_proof
from gossipreg.signatures import SIGNATURE_BYTES
from tests.protocol.delivering import believed, deliver, receive_over_stream
from tests.protocol.identity.signing import AUTHORITY, FROM, OTHER, UNTIL, Peer, authenticator, node, signer
from tests.protocol.making import BORN, engine, instance, update

B = Peer("b")
EVIL = Peer("evil", 7666)
RULE = Split("orders", {"v1": 1})
VERSION = PolicyVersion(RULE.key, BORN, 0, "b", pack_rule(RULE))

#: 32 bytes that are no point of the curve, so no public key: y is 2.
NO_POINT = b"\x02" + bytes(31)


def meeting(*peers: Peer, mode: IdentityMode = IdentityMode.REQUIRE) -> Engine:
    made = node(mode=mode)
    for peer in peers:
        deliver(made, peer.state(), peer.state())
    return made


def reasons(outputs: list[Output]) -> list[str]:
    return [each.why for each in outputs if isinstance(each, StatementRefused)]


def orders(of: Engine) -> list[str]:
    of.handle_timeout(6.0)
    return sorted(each.id for each in of.view.service("orders").instances)


def digest_of(record: Record) -> TableDigest:
    return TableDigest(record.owner, record.generation, record.version, record.table_xor, (), table_proof(record))


def why(refusal: object) -> str:
    assert isinstance(refusal, StatementRefusal)
    return refusal.why


# Without identity, or without a certificate


def test_without_identity_nothing_that_a_peer_states_is_looked_at() -> None:
    off = Authenticator(CertificateVerifier("prod", (AUTHORITY.authority,)), IdentityMode.OFF)
    record = attrs.evolve(Peer("b", signer=EVIL.signer).offer(), proof=bytes(64))
    forged = attrs.evolve(update("b"), proof=bytes(200))
    assert off.check_update(forged, B.state(), BORN / 1000) is forged
    assert off.check_record(record, B.state()) is None
    assert off.check_digest(attrs.evolve(digest_of(record), proof=bytes(80)), B.state()) is None
    assert off.check_policy(attrs.evolve(VERSION, proof=bytes(200))) is None
    assert off.excess_of(instance()) is None
    assert not off.lacks("policies")


def test_without_identity_no_member_is_expelled_when_authorities_change() -> None:
    here = engine()
    deliver(here, B.state(), B.state())
    assert not [each for each in here.trust((), 7.0) if isinstance(each, MemberExpelled)]
    assert believed(here, "b").proof


def test_a_node_without_a_certificate_signs_nothing() -> None:
    bare = authenticator(None, IdentityMode.PREFER)
    accused = B.state()
    assert bare.sign_record(Peer("b", signer=B.signer).offer()) == b""
    assert bare.sign_update(update("a")).proof == b""
    assert bare.sign_policy(VERSION) is VERSION
    assert bare.sign_verdict(accused, 7).witnesses == ()
    assert bare.excess_of(instance(service="pay")) is None


@pytest.mark.parametrize(("mode", "is_allowed"), [(IdentityMode.PREFER, True), (IdentityMode.REQUIRE, False)])
def test_a_node_without_a_certificate_writes_policies_unless_signatures_are_required(
    mode: IdentityMode, is_allowed: bool
) -> None:
    here = engine(authenticator=authenticator(None, mode))
    here.set_wall_clock(BORN, 0.0)
    if is_allowed:
        here.set_policy(RULE, 1.0)
        assert here.state.policies.rule(RULE.key) == RULE
    else:
        with pytest.raises(NotAllowed, match="--allow policies"):
            here.set_policy(RULE, 1.0)
        assert here.state.policies.get(RULE.key) is None


# Records and digests


def test_with_prefer_the_records_of_an_unsigned_member_are_believed_signed_or_not() -> None:
    here = meeting(mode=IdentityMode.PREFER)
    deliver(here, update("b"), update("b"))
    owner = Peer("b", signer=B.signer)
    first = attrs.evolve(owner.offer("x"), proof=b"")
    second = owner.offer("y")
    outputs = deliver(here, update("b"), first, second, digest_of(second))
    assert orders(here) == ["x", "y"]
    assert reasons(outputs) == []


def test_records_and_digests_of_a_member_that_signs_are_refused_without_its_signature() -> None:
    required, preferred = (authenticator(None, mode) for mode in (IdentityMode.REQUIRE, IdentityMode.PREFER))
    record = attrs.evolve(Peer("b", signer=B.signer).offer(), proof=b"")
    digest = attrs.evolve(digest_of(record), proof=b"")
    held = B.state()
    for refusal in (required.check_record(record, held), required.check_digest(digest, held)):
        assert refusal == StatementRefusal("it is not signed", unsigned=True)
    for refusal in (preferred.check_record(record, held), preferred.check_digest(digest, held)):
        assert why(refusal) == "it is not signed, and b signs what it states"
        assert refusal is not None
        assert refusal.unsigned
        assert not refusal.is_lie, "a node of an earlier release passes records on without their signature"


def test_records_and_digests_of_another_run_than_the_held_one_count_as_unsigned() -> None:
    record = Peer("b", signer=B.signer).offer()
    later = B.state(generation=BORN + 5)
    for mode, refusal in (
        (IdentityMode.REQUIRE, StatementRefusal("it is not signed", unsigned=True)),
        (IdentityMode.PREFER, None),
    ):
        for owner in (None, later, update("b")):
            assert authenticator(None, mode).check_record(record, owner) == refusal
            assert authenticator(None, mode).check_digest(digest_of(record), owner) == refusal


def test_the_digest_of_an_empty_table_needs_no_signature() -> None:
    here = meeting(B)
    empty = TableDigest("b", BORN, 0, 0)
    assert reasons(deliver(here, B.state(), empty)) == []
    unsigned = attrs.evolve(empty, version=1)
    assert reasons(receive_over_stream(here, B.state(), unsigned)) == ["it is not signed"]
    assert reasons(deliver(here, B.state(), unsigned)) == [], "by packet it is a word of what may be requested"


def test_a_signed_record_that_describes_no_instance_is_counted_as_such_and_not_as_a_forgery() -> None:
    here = meeting(B)
    record = attrs.evolve(Peer("b", signer=B.signer).offer(), payload=b"junk")
    signed = attrs.evolve(record, proof=B.authenticator.sign_record(record))
    outputs = deliver(here, B.state(), signed)
    assert reasons(outputs) == []
    assert here.counters[Count.RECORDS_WITH_BAD_PAYLOAD] == 1
    assert here.counters[Count.STATEMENTS_REFUSED] == 0
    assert orders(here) == []


def test_records_are_refused_as_soon_as_this_node_holds_a_revocation_that_it_has_yet_to_publish() -> None:
    here = meeting(B, EVIL)
    here.local_policies.revocation_of(AUTHORITY.revoke(EVIL.signer.certificate, at=BORN // 1000))
    record = Peer("evil", signer=EVIL.signer).offer()
    outputs = deliver(here, EVIL.state(), record, digest_of(record))
    assert reasons(outputs) == ["the certificate of its owner does not count"] * 2
    assert orders(here) == []


def test_a_member_whose_proof_is_missing_has_no_certificate() -> None:
    assert authenticator(None).certificates.of_member(update("b")) is None
    held = authenticator(None).certificates.of_member(B.state())
    assert held is not None
    assert held == B.signer.certificate


# Certificates and authorities


def test_a_certificate_whose_key_is_no_point_of_the_curve_verifies_nothing() -> None:
    certificate = AUTHORITY.sign(NO_POINT, names=("b",), not_before=BORN // 1000 - 60, not_after=BORN // 1000 + 60)
    here = meeting(EVIL)
    for signature in (bytes(64), NO_POINT * 2, B.state().proof[:64]):
        outputs = deliver(here, EVIL.state(), attrs.evolve(update("b"), proof=signature + certificate.data))
        assert reasons(outputs) == ["its signature is wrong"]
    assert here.members.get("b") is None


def test_members_of_an_authority_that_is_trusted_no_more_are_expelled_and_those_of_the_new_one_admitted() -> None:
    here = meeting(B)
    successor = Peer("c", 7003, signer("c", by=OTHER))
    refusal = reasons(deliver(here, B.state(), successor.state()))
    assert refusal == ["its certificate is of another authority or cluster"]
    outputs = here.trust((OTHER.authority,), 7.0)
    assert [each.member.name for each in outputs if isinstance(each, MemberExpelled)] == ["b"]
    assert here.members.get("b") is None
    deliver(here, successor.state(), successor.state(), now=8.0)
    assert believed(here, "c") == successor.state(), "what was remembered of its certificate is forgotten"


def test_members_of_an_authority_stay_while_a_second_one_is_trusted_beside_it() -> None:
    here = meeting(B)
    both: tuple[Authority, ...] = (OTHER.authority, AUTHORITY.authority)
    assert not [each for each in here.trust(both, 7.0) if isinstance(each, MemberExpelled)]
    assert believed(here, "b") == B.state()


def test_the_streams_of_a_member_that_is_expelled_are_closed_and_those_of_others_are_not() -> None:
    here = meeting(B, EVIL)
    receive_over_stream(here, EVIL.state(), EVIL.state(), stream=-1)
    receive_over_stream(here, B.state(), B.state(), stream=-2)
    gone = revocation_version(AUTHORITY.revoke(EVIL.signer.certificate, at=BORN // 1000))
    outputs = deliver(here, B.state(), gone)
    assert [each.stream for each in outputs if isinstance(each, CloseStream)] == [-1]
    assert here.streams.sessions.find(-1) is None
    assert here.streams.sessions.find(-2) is not None


# Witnesses


OPS = Peer("ops", 7004, signer("ops", grants=("forget",)))
FIRST, SECOND = Peer("first", 7010), Peer("second", 7011)


def signed_by(said: MemberUpdate, *witnesses: Peer) -> MemberUpdate:
    signed = [each.authenticator.sign_verdict(said, each.state().run_id).witnesses for each in witnesses]
    return attrs.evolve(said, witnesses=tuple(one for each in signed for one in each))


def test_a_failed_member_is_forgotten_only_by_the_signature_of_a_member_that_may_say_so() -> None:
    here = meeting(B, FIRST, SECOND, OPS)
    failed = attrs.evolve(B.state(), status=Status.FAILED, accuser=FIRST.state().run_id, refused=True)
    deliver(here, FIRST.state(), signed_by(failed, FIRST, SECOND))
    held = believed(here, "b")
    assert held.status is Status.FAILED
    forgotten = held.graver(Status.LEFT, OPS.state().run_id)
    other = signed_by(attrs.evolve(forgotten, incarnation=7), OPS).witnesses
    for forged in (
        attrs.evolve(forgotten, witnesses=()),
        signed_by(forgotten, FIRST, SECOND),
        attrs.evolve(forgotten, witnesses=other),
        attrs.evolve(forgotten, witnesses=((9, other[0][1]),)),
    ):
        outputs = deliver(here, FIRST.state(), forged)
        assert reasons(outputs) == ["it is to be forgotten by the word of no member that may say so"]
        assert believed(here, "b").status is Status.FAILED
    deliver(here, FIRST.state(), signed_by(forgotten, FIRST, OPS))
    assert believed(here, "b").status is Status.LEFT


def test_only_right_signatures_of_members_that_are_held_and_not_revoked_make_witnesses() -> None:
    here = authenticator(None)
    held = {each.state().run_id: each.state() for each in (FIRST, SECOND, OPS)}
    failed = attrs.evolve(B.state(), status=Status.FAILED, accuser=FIRST.state().run_id, refused=True)
    said = signed_by(failed, FIRST, SECOND, OPS, EVIL)
    wrong = (said.witnesses[0][0], said.witnesses[1][1])
    said = attrs.evolve(said, witnesses=(wrong, *said.witnesses[1:]))

    def found(grant: str = "") -> set[bytes]:
        return set(here.witnesses_of(said, held.get, grant))

    second, ops = SECOND.signer.key.public, OPS.signer.key.public
    assert found() == {second, ops}, "not the wrong signature, and not the member that is not held"
    assert found("forget") == {ops}
    revocation = AUTHORITY.revoke(SECOND.signer.certificate, at=BORN // 1000)
    assert here.certificates.check_revocation(revocation) is None
    assert found() == {ops}


def test_the_certificate_of_a_member_is_verified_once() -> None:
    here = authenticator(None)
    read = here.certificates.of_proof(B.state().proof, BORN / 1000)
    assert isinstance(read, Certificate)
    assert here.certificates.of_proof(B.state().proof, BORN / 1000) is read


@pytest.mark.parametrize("wall", [FROM - LEEWAY - 1, UNTIL + LEEWAY + 1])
def test_a_certificate_that_is_not_in_force_is_no_lie(wall: float) -> None:
    refusal = authenticator(None).certificates.of_proof(B.state().proof, wall)
    assert refusal == StatementRefusal("its certificate is not in force at this time", is_lie=False)


# Own statements


def test_what_a_node_states_of_itself_is_signed_once_and_anew_with_another_certificate() -> None:
    own = authenticator(signer("a"))
    first = own.sign_update(update("a"))
    assert own.sign_update(update("a")).proof is first.proof
    renewed = signer("a")
    own.use(renewed)
    again = own.sign_update(update("a"))
    assert again.proof[SIGNATURE_BYTES:] == renewed.certificate.data != first.proof[SIGNATURE_BYTES:]


@pytest.mark.parametrize(("status", "is_left"), [(Status.FAILED, False), (Status.LEFT, True)])
def test_what_is_signed_of_a_verdict_says_whether_the_member_is_to_be_forgotten(status: Status, is_left: bool) -> None:
    said = attrs.evolve(update("b", incarnation=3), status=status)
    assert msgpack.unpackb(verdict_statement("prod", said, 7)) == ["prod", said.run_id, 3, is_left, 7]
