"""The signature verifier: each signature is verified once, and wrong ones cost a peer what it has to say."""

from __future__ import annotations

from random import Random

import attrs
import pytest

from gossipreg import limits
from gossipreg.certificate import Certificate
from gossipreg.counters import Count
from gossipreg.model import Address, Status
from gossipreg.protocol.engine import Engine
from gossipreg.protocol.identity.authenticator import IdentityMode
from gossipreg.protocol.identity.signature_verifier import SignatureVerifier
from gossipreg.protocol.membership.identity import NameConflictQuery
from gossipreg.protocol.membership.member_update import MemberUpdate
from gossipreg.protocol.outputs import StatementRefused
from gossipreg.protocol.registry.policy_version import PolicyVersion
from gossipreg.protocol.registry.terms import TermProofs, TermRegister
from gossipreg.protocol.wire.messages import Message
from gossipreg.signatures import SIGNATURE_BYTES, VerifyingKey
from tests.protocol.identity.signing import FROM, Peer, authenticator, deliver, meeting, names, signer
from tests.protocol.making import BORN, packet, update

B, C, D = (Peer(name, 7040 + number) for number, name in enumerate("bcd"))
EVIL = Address("10.6.6.6", 7666)
RANDOM = Random(7)
#: Wrong signatures that one sender can have verified at once.
AT_ONCE = limits.SIGNATURES_BURST // limits.SIGNATURE_WRONG_COST
A_SECOND = int(limits.SIGNATURES_RATE // limits.SIGNATURE_WRONG_COST)


class Verified(list[bytes]):
    """The signatures that were verified, in order."""

    def taken(self) -> int:
        """How many since this was asked last."""
        count = len(set(self))
        self.clear()
        return count


@pytest.fixture
def verified(monkeypatch: pytest.MonkeyPatch) -> Verified:
    found, original = Verified(), VerifyingKey.is_signed

    def is_signed(self: VerifyingKey, kind: bytes, data: bytes, signature: bytes) -> bool:
        found.append(signature)
        return original(self, kind, data, signature)

    monkeypatch.setattr(VerifyingKey, "is_signed", is_signed)
    return found


def accused(signature: bytes) -> MemberUpdate:
    """That d is suspect, by the word of c, with a signature that may be wrong."""
    said = attrs.evolve(D.state(), status=Status.SUSPECT, accuser=C.state().run_id)
    return attrs.evolve(said, witnesses=((C.state().run_id, signature),))


def wrong(count: int) -> list[Message]:
    """Accusations with different signatures, none of which is right."""
    return [accused(RANDOM.randbytes(SIGNATURE_BYTES)) for _ in range(count)]


def from_outside(here: Engine, *said: Message, now: float = 6.0, source: Address = EVIL) -> list[StatementRefused]:
    outputs = here.receive(packet(77, *said), source, now)
    return [each for each in outputs if isinstance(each, StatementRefused)]


def test_what_was_refused_is_not_verified_again_and_is_refused_again(verified: Verified) -> None:
    here = meeting(C, D)
    lie = accused(bytes(SIGNATURE_BYTES))
    verified.taken()
    for times, work in enumerate((1, 0, 0)):
        refused = from_outside(here, lie, now=6.0 + times)
        assert [each.why for each in refused] == ["no member is known to say so"]
        assert verified.taken() == work
    assert here.counters[Count.STATEMENTS_REFUSED] == 3


def test_a_certificate_that_no_authority_has_signed_is_verified_once_and_remembered_among_no_others(
    verified: Verified,
) -> None:
    here = meeting(C)
    true = signer("d").certificate
    forged = attrs.evolve(true, data=true.data[:-1] + bytes([true.data[-1] ^ 1]))
    lie = attrs.evolve(update("d", port=7042), proof=bytes(SIGNATURE_BYTES) + forged.data)
    verified.taken()
    for work in (1, 0):
        assert [each.why for each in from_outside(here, lie)] == ["its certificate is of another authority or cluster"]
        assert verified.taken() == work
    assert forged.data not in here.state.authenticator.certificates._verified_documents


def test_a_large_frame_of_lies_has_a_few_of_them_verified(verified: Verified) -> None:
    here = meeting(C, D)
    verified.taken()
    count = 700
    frame = packet(77, *wrong(count))
    assert len(frame) > limits.FRAME_BYTES_MAX * 0.8
    here.stream_frame(-1, frame, EVIL, 6.0)
    assert verified.taken() == limits.SIGNATURES_WRONG_PER_PACKET_MAX
    assert here.counters[Count.STATEMENTS_REFUSED] == limits.SIGNATURES_WRONG_PER_PACKET_MAX
    assert here.counters[Count.STATEMENTS_NOT_VERIFIED] == count - limits.SIGNATURES_WRONG_PER_PACKET_MAX


def test_a_packet_has_no_more_signatures_verified_than_it_has_room_for() -> None:
    verifier = SignatureVerifier()
    verifier.begin(None, EVIL.host, 3 * SIGNATURE_BYTES, 0.0, over_stream=False)
    results = [verifier.verify((bytes([number]),), lambda: True) for number in range(5)]
    assert results == [True] * 3 + [False] * 2
    assert verifier.is_over


def test_a_source_has_few_wrong_signatures_verified_at_once_and_in_a_second(verified: Verified) -> None:
    here = meeting(C, D)
    verified.taken()
    for _ in range(2 * AT_ONCE):
        from_outside(here, *wrong(2), now=6.0)
    assert verified.taken() == AT_ONCE
    for _ in range(2 * A_SECOND):
        from_outside(here, *wrong(2), now=7.0)
    assert verified.taken() == A_SECOND


def test_members_that_prove_their_packets_are_heard_whatever_others_send(verified: Verified) -> None:
    here = meeting(B, C, D)
    for number in range(2 * AT_ONCE):
        from_outside(here, *wrong(4), source=Address(f"10.6.{number // 200}.{number % 200}", 7666))
        from_outside(here, *wrong(4), source=B.state().address)
    strangers = limits.SIGNATURE_SOURCES_AT_ONCE * AT_ONCE
    assert strangers <= verified.taken() <= strangers + 8
    raised = C.state(incarnation=1)
    from_outside(here, D.state(incarnation=1))
    assert here.members.get("d") == D.state(), "a right signature waits, too"
    deliver(here, B.state(), raised, D.state(incarnation=1))
    assert here.members.get("c") == raised
    assert here.members.get("d") == D.state(incarnation=1)


def test_a_newcomer_joins_over_a_stream_whatever_comes_by_packets() -> None:
    here = meeting(C, D)
    for number in range(2 * AT_ONCE):
        from_outside(here, *wrong(4), source=Address(f"10.6.{number // 200}.{number % 200}", 7666))
    new = B.state()
    here.receive(packet(new, new), new.address, 6.0)
    assert "b" not in names(here)
    here.stream_frame(-1, packet(new, new), new.address, 6.0)
    assert "b" in names(here)


@pytest.mark.parametrize("sources", [4, 8])
def test_a_newcomer_joins_whatever_other_sources_have_used_up_by_packets_and_streams(
    sources: int, verified: Verified
) -> None:
    here = meeting(C, D)
    verified.taken()
    frames = limits.SIGNATURE_SOURCES_AT_ONCE * AT_ONCE // limits.SIGNATURES_WRONG_PER_PACKET_MAX + sources
    for number in range(frames):
        source, lies = Address(f"10.6.0.{number % sources}", 7666), wrong(limits.SIGNATURES_WRONG_PER_PACKET_MAX)
        here.stream_frame(-1 - number, packet(77, *lies[:4]), source, 6.0)
        here.stream_frame(-1 - number, packet(77, *lies[4:]), source, 6.0)
        for each in lies:
            from_outside(here, each, source=source)
    assert verified.taken() <= 2 * limits.SIGNATURE_SOURCES_AT_ONCE * AT_ONCE
    new, other = B.state(), Peer("e", 7045).state()
    here.stream_frame(-9000, packet(new, new), new.address, 6.0)
    here.receive(packet(other, other), Address("10.9.9.9", 7045), 6.0)
    assert names(here) == ["a", "b", "c", "d", "e"]


def test_packets_under_made_up_addresses_push_no_source_of_streams_out_of_memory(
    verified: Verified, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "SIGNATURE_SENDERS_MAX", 3)
    here = meeting(C, D)
    verified.taken()
    for number in range(AT_ONCE + 9):
        here.stream_frame(-1 - number, packet(77, *wrong(1)), EVIL, 6.0)
        here.receive(packet(77), Address(f"10.6.{number // 200}.{number % 200}", 7666), 6.0)
    assert verified.taken() == AT_ONCE


def test_first_signatures_of_a_source_come_back_after_ten_minutes() -> None:
    verifier = SignatureVerifier()

    def verified_of(count: int, now: float) -> int:
        verifier.begin(None, EVIL.host, 1 << 20, now, over_stream=True)
        verifier._of_streams._shared_rest.tokens = 0
        return sum(verifier.verify((str((now, number)).encode(),), lambda: True) for number in range(count))

    assert verified_of(1000, 0.0) == limits.SIGNATURES_FIRST
    later = limits.SIGNATURES_FIRST_SECONDS
    assert verified_of(1000, later / 8) == limits.SIGNATURES_FIRST // 8
    assert verified_of(1000, later * 9 / 8) == limits.SIGNATURES_FIRST


def test_a_member_that_proves_its_packets_and_lies_is_verified_no_further_and_the_others_are(
    verified: Verified,
) -> None:
    here = meeting(B, C, D)
    verified.taken()
    for _ in range(2 * AT_ONCE):
        deliver(here, B.state(), *wrong_records(2))
    assert verified.taken() == AT_ONCE
    deliver(here, B.state(), D.state(incarnation=1))
    assert here.members.get("d") == D.state()
    deliver(here, C.state(), D.state(incarnation=1))
    assert here.members.get("d") == D.state(incarnation=1)


def wrong_records(count: int) -> list[Message]:
    record = C.offer()
    return [attrs.evolve(record, proof=RANDOM.randbytes(SIGNATURE_BYTES)) for _ in range(count)]


LIMITED = Peer("l", 7050, signer("l", services=("other",), zones=("z1",)))


def beyond(number: int) -> list[Message]:
    """Statements that ``l`` has signed, none of which its certificate allows."""
    own, register = LIMITED.authenticator, TermRegister("pg", BORN + number, 0, "l", claimed=number, seen=number)
    claimed = attrs.evolve(register, ms=0, writer="")
    return [
        own.sign_policy(PolicyVersion(f"split:s{number}", BORN, 0, "l", None)),
        own.sign_reset(register),
        attrs.evolve(claimed, proofs=TermProofs(claimed=own.sign_term(claimed, number, claimed=True))),
        own.sign_update(update(f"x{number}", port=7051)),
        LIMITED.state(zone=f"z2{number}", incarnation=1),
        own.sign_query(NameConflictQuery("a", number, 1, False), 7),
    ]


def test_what_the_certificate_does_not_allow_is_refused_without_verifying_its_signature(verified: Verified) -> None:
    here = meeting(LIMITED)
    verified.taken()
    for number in range(1, 4):
        deliver(here, LIMITED.state(), *beyond(number))
        assert here.counters[Count.STATEMENTS_REFUSED] == number * len(beyond(number))
    assert verified.taken() == 0


def test_of_records_beyond_the_owners_certificate_the_first_is_verified(verified: Verified) -> None:
    here = meeting(LIMITED)
    verified.taken()
    for number in range(1, 4):
        deliver(here, LIMITED.state(), LIMITED.offer(f"o{number}"))
        assert here.counters[Count.STATEMENTS_REFUSED] == number
    assert verified.taken() == 1
    deliver(here, LIMITED.state(), LIMITED.offer("right", service="other"))
    table = here.state.registry.table("l")
    assert table is not None
    assert [each.id for each in table] == ["right"], "what its certificate allows is taken still"
    deliver(here, LIMITED.state(), LIMITED.withdraw("right"))
    assert list(table) == [], "and so is its deletion"


def unproven_registers(count: int) -> list[Message]:
    """The register of term 5 with as many made-up certificates."""
    base = signer("x").certificate.data[:-SIGNATURE_BYTES]
    proofs = [bytes(SIGNATURE_BYTES) + base + RANDOM.randbytes(SIGNATURE_BYTES) for _ in range(count)]
    return [TermRegister("pg", claimed=5, seen=5, proofs=TermProofs(claimed=proof)) for proof in proofs]


def test_made_up_proofs_of_a_term_that_is_held_unproven_are_bounded_as_others_are(verified: Verified) -> None:
    here = meeting(B, mode=IdentityMode.PREFER)
    from_outside(here, TermRegister("pg", claimed=5, seen=5))
    assert here.state.terms.seen("pg") == 5
    verified.taken()
    here.stream_frame(-1, packet(77, *unproven_registers(100)), EVIL, 6.0)
    assert verified.taken() == limits.SIGNATURES_WRONG_PER_PACKET_MAX
    assert here.counters[Count.STATEMENTS_NOT_VERIFIED] == 100 - limits.SIGNATURES_WRONG_PER_PACKET_MAX
    for _ in range(AT_ONCE):
        from_outside(here, *unproven_registers(2))
    assert verified.taken() == AT_ONCE


def test_with_prefer_the_proof_of_one_part_of_a_term_does_not_give_way_to_none() -> None:
    here = meeting(B, mode=IdentityMode.PREFER)
    half = TermRegister("pg", claimed=4, seen=5)
    proven = attrs.evolve(half, proofs=TermProofs(claimed=B.authenticator.sign_term(half, 4, claimed=True)))
    from_outside(here, proven)
    from_outside(here, half)
    held = here.state.terms.get("pg")
    assert held is not None
    assert held.proofs == proven.proofs


def test_with_prefer_the_sender_is_a_source_whatever_run_it_names(verified: Verified) -> None:
    here = meeting(B, C, D, mode=IdentityMode.PREFER)
    verified.taken()
    for number in range(2 * AT_ONCE):
        here.receive(packet((B, C, D)[number % 3].state(), *wrong_records(2)), EVIL, 6.0)
    assert verified.taken() == AT_ONCE


def test_what_is_remembered_is_bounded_and_so_are_senders(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "SIGNATURES_REMEMBERED_MAX", 3)
    monkeypatch.setattr(limits, "SIGNATURE_SENDERS_MAX", 3)
    verifier = SignatureVerifier()
    for number in range(9):
        verifier.begin(None, f"10.0.0.{number}", 1000, 0.0, over_stream=False)
        assert verifier.verify((bytes([number]),), lambda: True)
        verifier.end()
        verifier.begin(number, "10.0.0.1", 1000, 0.0, over_stream=False)
    assert len(verifier._results) == len(verifier._of_packets) == len(verifier._members) == 3
    assert not verifier.verify((b"\0",), lambda: False), "it was forgotten"


def test_what_this_node_holds_is_verified_whatever_the_packet_has_used_up() -> None:
    verifier = SignatureVerifier()
    verifier.begin(None, EVIL.host, 0, 0.0, over_stream=False)
    assert not verifier.verify((b"x",), lambda: True)
    assert verifier.verify((b"x",), lambda: True, is_held=True)


def test_an_honest_signature_of_another_epoch_costs_no_more_than_a_right_one() -> None:
    verifier = SignatureVerifier()
    verifier.begin(None, EVIL.host, 1 << 20, 0.0, over_stream=False)
    for number in range(2 * AT_ONCE):
        assert not verifier.verify((number.to_bytes(4),), lambda: False, may_differ=True)
    assert not verifier.is_over


def test_certificates_remembered_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "CERTIFICATES_REMEMBERED_MAX", 2)
    here = authenticator(None)
    peers = [Peer(f"p{number}", 7100 + number) for number in range(3)]
    for peer in peers:
        assert isinstance(here.certificates.of_proof(peer.state().proof, FROM + 1), Certificate)
    assert list(here.certificates._verified_documents) == [peer.signer.certificate.data for peer in peers[1:]]
