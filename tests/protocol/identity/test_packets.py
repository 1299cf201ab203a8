"""Packets: with identity required, nothing counts as a member's word that the member has not sent to this very run."""

from __future__ import annotations

from collections.abc import Callable

import attrs
import pytest

from gossipreg import limits
from gossipreg.counters import Count
from gossipreg.model import Address, Status
from gossipreg.protocol import answer_pacing
from gossipreg.protocol.anti_entropy.fingerprint import BUCKETS
from gossipreg.protocol.anti_entropy.reconcile import Compare, End, KeepOpen
from gossipreg.protocol.dissemination.receipts import Receipt, ReceiptRequest
from gossipreg.protocol.engine import Engine
from gossipreg.protocol.identity.authenticator import IdentityMode
from gossipreg.protocol.identity.packet_proofs import PROOF_BYTES, PacketProofs
from gossipreg.protocol.membership.peer_clocks import WallClock
from gossipreg.protocol.membership.probe import Ack, Nack, Ping, PingReq
from gossipreg.protocol.outputs import OpenStream, Output, SendFrame, StatementRefused, Transmit
from gossipreg.protocol.stream_sessions import Purpose
from gossipreg.protocol.wire.messages import Message
from gossipreg.signatures import SigningKey, shared_secret
from tests.protocol.delivering import believed
from tests.protocol.identity.signing import (
    AUTHORITY,
    FROM,
    UNTIL,
    Peer,
    authenticator,
    deliver,
    meeting,
    node,
    receive_over_stream,
    signer,
)
from tests.protocol.making import BORN, packet, said_to, spoken, update

B, C = Peer("b"), Peer("c", 7002)
OUTSIDE = Address("10.6.6.6", 7666)


def forge(here: Engine, claimed: Peer, *said: Message, now: float, source: Address = OUTSIDE) -> list[Output]:
    """What a holder of the cluster's key, without a certificate, makes a node receive in the name of a member."""
    return here.receive(packet(claimed.state(), *said), source, now)


def probed(here: Engine, now: float) -> tuple[Peer, Ping, float]:
    """The next member that a node probes, with the ping and when it was sent."""
    while True:
        outputs = here.handle_timeout(now)
        for peer in (B, C):
            for said in said_to(outputs, peer.state().address):
                if isinstance(said, Ping) and said.seq:
                    return peer, said, now
        now = max(now + 0.001, here.deadline())


def test_a_forged_ack_keeps_no_dead_member_alive() -> None:
    here, statuses, now = meeting(B, C), set(), 7.0
    for _ in range(40):
        peer, ping, now = probed(here, now)
        if peer is B:
            forge(here, B, Ack(ping.seq, 0, here.fingerprint), now=now, source=B.state().address)
            forge(here, C, Ack(ping.seq, B.state().run_id, here.fingerprint), now=now)
        else:
            deliver(here, C.state(), Ack(ping.seq, 0, here.fingerprint), now=now)
        statuses.add(believed(here, "b").status)
    assert Status.SUSPECT in statuses
    assert here.counters[Count.PACKETS_FORGED_AS_MEMBERS] > 10


def test_a_forged_packet_ends_no_silence_and_makes_no_witness() -> None:
    here, now = meeting(B, C), 6.0
    for _ in range(60):
        now += 0.5
        here.handle_timeout(now)
        forge(here, B, Ping(0, here.identity.run_id, here.fingerprint), Nack(1), Ack(1, 0, 0), now=now)
    assert here.isolation.is_isolated(now)
    assert all(believed(here, name).status is not Status.FAILED for name in ("b", "c"))


OF_MEMBERS: dict[str, Callable[[Engine], Message]] = {
    "ping request": lambda _: PingReq(1, C.state().run_id, 500),
    "receipt": lambda _: Receipt((1, 2, 3)),
    "request of a receipt": lambda _: ReceiptRequest(7),
    "clock": lambda _: WallClock(1),
    "keep open": lambda _: KeepOpen(),
}


@pytest.mark.parametrize("said", OF_MEMBERS.values(), ids=OF_MEMBERS)
def test_what_counts_as_a_members_word_only_is_not_taken_from_a_forger(said: Callable[[Engine], Message]) -> None:
    here = meeting(B, C)
    outputs = forge(here, B, said(here), now=7.0)
    assert not [each for each in outputs if isinstance(each, Transmit | OpenStream | SendFrame)]
    assert here.clocks.skew(7.0) is None


def test_a_ping_in_the_name_of_a_member_is_answered_as_a_strangers_and_compares_nothing() -> None:
    here = meeting(B)
    here.inbound.streams.hurry(0.0)
    outputs = forge(here, B, Ping(3, here.identity.run_id, 77), now=20.0)
    assert [type(each).__name__ for each in said_to(outputs, OUTSIDE)] == ["Ack"]
    assert not [each for each in outputs if isinstance(each, OpenStream)]


def test_the_source_of_a_forged_packet_is_named_once_the_member_has_proven_one() -> None:
    here = meeting(B)
    quiet = forge(here, B, Nack(1), now=7.0)
    assert not [each for each in quiet if isinstance(each, StatementRefused)]
    assert here.counters[Count.PACKETS_UNPROVEN] == 1, "it may not know this run yet"
    deliver(here, B.state(), Nack(1), now=7.0)
    [refused] = [each for each in forge(here, B, Nack(1), now=7.0) if isinstance(each, StatementRefused)]
    assert (refused.sender, refused.source) == (None, OUTSIDE)
    assert refused.why == "it bears the run id of b, and has not its proof"
    assert here.counters[Count.PACKETS_FORGED_AS_MEMBERS] == 1


def test_a_recorded_packet_counts_once_and_for_one_run() -> None:
    here, there = meeting(B), meeting(B)
    there.renew_certificate(signer("a"), 6.0)
    recorded = B.proven(packet(B.state(), Nack(1)), here)
    here.receive(recorded, B.state().address, 7.0)
    assert here.counters[Count.PACKETS_FORGED_AS_MEMBERS] == 0
    here.receive(recorded, B.state().address, 7.0)
    assert here.counters[Count.PACKETS_FORGED_AS_MEMBERS] == 1
    there.receive(recorded, B.state().address, 7.0)
    assert there.counters[Count.PACKETS_UNPROVEN] == 1, "it was made for another run"


def test_packets_count_in_any_order_within_the_window() -> None:
    here = meeting(B)
    sent = [B.proven(packet(B.state(), Nack(number)), here) for number in range(5000)]
    for data in (*reversed(sent[4990:]), sent[4990], sent[0], sent[2000]):
        here.receive(data, B.state().address, 7.0)
    assert here.counters[Count.PACKETS_FORGED_AS_MEMBERS] == 2, "the one that came twice, and the one that is too old"


def test_frames_are_proven_in_both_directions() -> None:
    here = meeting(B)
    frame = B.proven(packet(B.state(), Compare(here.state.fingerprint.sums), End()), here)
    outputs = here.stream_frame(-1, frame, B.state().address, 7.0)
    [answer] = [each.frame for each in outputs if isinstance(each, SendFrame)]
    other = PacketProofs(B.authenticator)
    assert here.state.own is not None
    assert other.verify(answer, here.state.own, B.state().run_id)
    assert other.without_code(answer) == answer[:-PROOF_BYTES]
    assert spoken(other.without_code(answer)) == spoken(answer)
    here.stream_frame(-2, packet(B.state(), Compare(here.state.fingerprint.sums), End()), OUTSIDE, 7.0)
    assert here.counters[Count.PACKETS_FORGED_AS_MEMBERS] == 1


def test_a_member_that_sends_from_another_address_is_answered_with_a_proof() -> None:
    here = meeting(B)
    ping = packet(B.state(), Ping(5, here.identity.run_id, here.fingerprint))
    elsewhere = Address("10.0.0.77", 9)
    outputs = here.receive(B.proven(ping, here), elsewhere, 7.0)
    [answer] = [each.data for each in outputs if isinstance(each, Transmit) and each.to == elsewhere]
    assert here.state.own is not None
    assert PacketProofs(B.authenticator).verify(answer, here.state.own, B.state().run_id)


def liar(here: Engine, victim: Peer) -> None:
    """Have a member with a certificate of its own state another member's address, and send from there."""
    there = C.authenticator.sign_update(update("c", port=victim.port, generation=BORN + 1))
    here.receive(packet(there, there), victim.state().address, 7.0)
    assert believed(here, "c").address == victim.state().address
    here.receive(C.proofs.seal(packet(there, Nack(1)), here.state.own), victim.state().address, 7.0)


def takes(peer: Peer, here: Engine, data: bytes) -> bool:
    """Whether a peer takes a packet or frame for the word of a node."""
    assert here.state.own is not None
    return PacketProofs(peer.authenticator).verify(data, here.state.own, peer.state().run_id)


def test_a_member_at_the_address_of_another_takes_none_of_what_is_for_that_one() -> None:
    here = meeting(B, C)
    liar(here, B)
    pings, now = 0, 8.0
    while pings < 20:
        now = max(now + 0.001, here.deadline())
        for each in here.handle_timeout(now):
            for said in spoken(each.data) if isinstance(each, Transmit) else ():
                if isinstance(said, Ping) and said.target == B.state().run_id:
                    pings += 1
                    assert isinstance(each, Transmit)
                    assert takes(B, here, each.data)


ASKED: dict[str, Callable[[Engine], Message]] = {
    "ping": lambda here: Ping(5, here.identity.run_id, here.fingerprint),
    "ping request": lambda _: PingReq(1, 77, 500),
    "request of a receipt": lambda _: ReceiptRequest(7),
}


@pytest.mark.parametrize("said", ASKED.values(), ids=ASKED)
def test_an_answer_is_for_the_run_that_asked_whichever_member_has_stated_that_address(
    said: Callable[[Engine], Message],
) -> None:
    here = meeting(B, C)
    liar(here, B)
    outputs = deliver(here, B.state(), said(here), now=8.0)
    outputs += here.handle_timeout(8.1)
    sent = [each.data for each in outputs if isinstance(each, Transmit) and each.to == B.state().address]
    answers = [data for data in sent if any(isinstance(each, Ack | Nack | Receipt) for each in spoken(data))]
    assert answers
    assert all(takes(B, here, data) for data in answers)


def test_a_stream_is_opened_for_the_run_that_is_meant_whichever_member_has_stated_that_address() -> None:
    here = meeting(B, C)
    liar(here, B)
    here.streams.open(Purpose.PROBE, B.state().destination, [End()])
    [opened] = [each for each in here.outbox.take() if isinstance(each, OpenStream)]
    assert takes(B, here, opened.frame)
    here.streams.send(opened.stream, [KeepOpen()])
    [sent] = [each for each in here.outbox.take() if isinstance(each, SendFrame)]
    assert takes(B, here, sent.frame)


def test_codes_are_made_but_not_required_while_identity_is_preferred() -> None:
    here = meeting(B, mode=IdentityMode.PREFER)
    assert here.outbox.proofs.are_made
    before = here.counters[Count.PACKETS_UNPROVEN]
    forge(here, B, Nack(1), now=7.0)
    assert here.counters[Count.PACKETS_UNPROVEN] == before
    assert not PacketProofs(authenticator(None, IdentityMode.PREFER)).are_made


def test_to_a_member_without_a_certificate_packets_go_as_they_are() -> None:
    here = meeting(mode=IdentityMode.PREFER)
    unsigned = update("u", port=7050)
    here.receive(packet(unsigned, unsigned), unsigned.address, 6.0)
    data = packet(here.identity.own_update())
    assert here.outbox.proofs.seal(data, here.members.get("u")) == data
    assert here.outbox.proofs.seal(data, None) == data
    nameless = PacketProofs(authenticator(None, IdentityMode.PREFER))
    assert nameless.seal(data, B.state()) == data


def test_junk_at_the_end_of_a_packet_is_no_code() -> None:
    here = meeting(B)
    proofs = here.outbox.proofs
    for data in (b"", b"\x92\x18\xc4\x18", packet(B.state()) + b"\x92\x18\xc4\x18" + bytes(24), bytes(40)):
        assert not proofs.verify(data, B.state(), here.identity.run_id)
    strange = attrs.evolve(B.state(), proof=b"")
    assert not proofs.verify(packet(B.state()) + b"\x92\x18\xc4\x18" + bytes(24), strange, 1)


def test_two_keys_share_one_secret_and_a_key_without_one_has_none() -> None:
    one, two = SigningKey(bytes(range(32))), SigningKey(bytes(range(1, 33)))
    secret = shared_secret(one, two.public)
    assert secret is not None
    assert secret == shared_secret(two, one.public) != shared_secret(one, one.public)
    neutral, of_order_two = b"\x01" + bytes(31), (2**255 - 20).to_bytes(32, "little")
    assert shared_secret(one, neutral) is None
    assert shared_secret(one, of_order_two) is None
    weak = node()
    weak.state.authenticator.use(signer("a"))
    assert weak.outbox.proofs._key_of(B.state())


def test_a_certificate_for_a_weak_key_shares_no_secret_and_keys_are_forgotten_in_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    here = meeting(B, C)
    weak = AUTHORITY.sign(b"\x01" + bytes(31), names=("w",), not_before=FROM, not_after=UNTIL)
    assert here.outbox.proofs._key_of(attrs.evolve(update("w"), proof=bytes(64) + weak.data)) is None
    monkeypatch.setattr(limits, "CERTIFICATES_REMEMBERED_MAX", 1)
    key = here.outbox.proofs._key_of(B.state())
    assert here.outbox.proofs._key_of(C.state()) != key
    assert here.outbox.proofs._key_of(B.state()) == key


def test_a_members_comparison_that_has_waited_for_its_turn_is_its_own_still(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answer_pacing, "LARGE_ENTRIES", 1)
    one, other = Peer("b"), Peer("c", 7002)
    here = meeting(one, other)
    said = Compare((0,) * BUCKETS), End()
    receive_over_stream(here, one.state(), *said, stream=-1)
    assert receive_over_stream(here, other.state(), *said, stream=-2) == []
    outputs = here.handle_timeout(here.frame_handler.pacing.deadline)
    assert [each.stream for each in outputs if isinstance(each, SendFrame)] == [-2]
    assert [each for each in outputs if isinstance(each, StatementRefused)] == []
    assert here.counters[Count.PACKETS_FORGED_AS_MEMBERS] == 0
