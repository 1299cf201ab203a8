"""Accusations: with identity required, members accuse each other; no other does, and none in another's name."""

from __future__ import annotations

import attrs
import pytest

from gossipreg.counters import Count
from gossipreg.model import Address, Status
from gossipreg.protocol.engine import Engine
from gossipreg.protocol.membership.member_update import MemberUpdate
from gossipreg.protocol.membership.probe import Ack, Ping, PingReq
from gossipreg.protocol.outputs import Output, StatementRefused, Transmit
from gossipreg.protocol.registry.policy_version import revocation_version
from gossipreg.protocol.stream_sessions import Purpose
from tests.protocol.delivering import believed
from tests.protocol.identity.signing import AUTHORITY, Peer, deliver, meeting, receive_over_stream, signer
from tests.protocol.making import packet, said_to, spoken

B, C, D, E = (Peer(name, 7020 + number) for number, name in enumerate("bcde"))
OUTSIDE = Address("10.6.6.6", 7666)


def accusation(
    *by: Peer, of: Peer = B, status: Status = Status.SUSPECT, incarnation: int = 0, refused: bool = False
) -> MemberUpdate:
    """That ``of`` is suspect or failed, as the first of ``by`` says, signed by each."""
    said = attrs.evolve(of.state(incarnation=incarnation), status=status, accuser=by[0].state().run_id)
    said = attrs.evolve(said, refused=refused)
    signed = [each.authenticator.sign_verdict(said, each.state().run_id).witnesses for each in by]
    return attrs.evolve(said, witnesses=tuple(one for each in signed for one in each))


def unsigned(said: MemberUpdate) -> MemberUpdate:
    return attrs.evolve(said, witnesses=())


def from_outside(here: Engine, *said: MemberUpdate, sender: int = 77, now: float = 6.0) -> list[Output]:
    """What a holder of the cluster's key, without a certificate, has a node receive."""
    return here.receive(packet(sender, *said), OUTSIDE, now)


def status_of(here: Engine) -> Status:
    return believed(here, "b").status


def is_deprioritized(here: Engine) -> bool:
    return "b" in here.state._deprioritized


def test_without_a_certificate_no_member_is_accused_in_whatever_name() -> None:
    here = meeting(B, C, D)
    forged = attrs.evolve(accusation(C), witnesses=((C.state().run_id, bytes(64)),))
    outputs: list[Output] = []
    for sender in (77, C.state().run_id, B.state().run_id):
        for status in (Status.SUSPECT, Status.FAILED):
            for said in (unsigned(accusation(C, status=status)), attrs.evolve(forged, status=status)):
                outputs += from_outside(here, said, attrs.evolve(said, refused=True), sender=sender)
    assert status_of(here) is Status.ALIVE
    assert here.counters[Count.STATEMENTS_REFUSED] == 24
    refused = [each for each in outputs if isinstance(each, StatementRefused) and each.what.startswith("that b is")]
    assert {(each.source, each.why) for each in refused} == {(OUTSIDE, "no member is known to say so")}


def test_this_node_refutes_no_accusation_that_no_member_makes() -> None:
    here = meeting(B)
    own = here.identity.own_update()
    said = own.graver(Status.SUSPECT, B.state().run_id)
    from_outside(here, said, attrs.evolve(said, status=Status.FAILED), sender=B.state().run_id)
    assert here.identity.incarnation == 0
    assert here.local_health == 0
    deliver(here, B.state(), said)
    assert here.identity.incarnation == 1


def test_what_no_member_accuses_counts_as_far_as_its_owner_has_signed_it() -> None:
    here = meeting(C)
    from_outside(here, unsigned(accusation(D, incarnation=3)))
    assert believed(here, "b") == B.state(incarnation=3)
    from_outside(here, unsigned(accusation(D, incarnation=5)))
    assert believed(here, "b") == B.state(incarnation=5)


def test_a_member_accuses_by_its_packet_and_by_its_signature_whichever_node_brings_it() -> None:
    here, there = meeting(B, C), meeting(B, C)
    deliver(here, C.state(), unsigned(accusation(C)))
    from_outside(there, accusation(C))
    for node in (here, there):
        assert status_of(node) is Status.SUSPECT
        assert node.detector.accusers("b") == [C.state().run_id]


def test_one_member_confirms_nothing_in_the_name_of_others() -> None:
    here = meeting(B, C, D, E)
    for other in (C, D, E):
        deliver(here, C.state(), unsigned(accusation(other)))
        deliver(here, C.state(), attrs.evolve(accusation(C), accuser=other.state().run_id))
    assert here.detector.accusers("b") == [C.state().run_id]
    assert not is_deprioritized(here)
    deliver(here, C.state(), accusation(D))
    assert here.detector.accusers("b") == [C.state().run_id, D.state().run_id]
    assert is_deprioritized(here)


def test_runs_with_one_certificate_are_one_accuser() -> None:
    shared = signer("web-*")
    first, second = Peer("web-1", 7030, shared), Peer("web-2", 7031, shared)
    here = meeting(B, C, first, second)
    deliver(here, first.state(), accusation(first))
    deliver(here, second.state(), accusation(second))
    assert len(here.detector.accusers("b")) == 1
    deliver(here, second.state(), accusation(first, second, status=Status.FAILED, incarnation=0))
    assert status_of(here) is Status.SUSPECT
    deliver(here, C.state(), accusation(C))
    assert is_deprioritized(here)


def test_one_refusal_deprioritizes_no_member_and_a_second_accuser_does() -> None:
    here = meeting(B, C, D, E)
    deliver(here, C.state(), accusation(C, refused=True))
    assert status_of(here) is Status.SUSPECT
    assert not is_deprioritized(here)
    deliver(here, D.state(), accusation(D))
    assert is_deprioritized(here)


def test_a_failure_declared_by_one_member_is_a_suspicion() -> None:
    here = meeting(B, C, D)
    deliver(here, C.state(), accusation(C, status=Status.FAILED))
    assert status_of(here) is Status.SUSPECT
    suspicion = here.detector._suspicions["b"]
    assert suspicion.failure is None
    deliver(here, C.state(), accusation(C, D, status=Status.FAILED))
    assert suspicion.failure is not None


@pytest.mark.parametrize("status", [Status.FAILED, Status.LEFT])
def test_a_failure_that_is_over_brings_no_forgotten_member_back_as_a_suspect(status: Status) -> None:
    here = meeting(C, D)
    over = attrs.evolve(accusation(C, status=status), age=int(here.members.memory(status)))
    deliver(here, C.state(), over)
    told(here, over)
    assert here.members.get("b") is None
    assert here.counters[Count.UPDATES_TOO_OLD] == 2


def answer_pings(here: Engine, outputs: list[Output], now: float, *, of: Peer) -> list[Output]:
    """Have one peer answer a node's pings."""
    pings = [each for each in said_to(outputs, of.state().address) if isinstance(each, Ping)]
    return [out for ping in pings for out in deliver(here, of.state(), Ack(ping.seq, 0, here.fingerprint), now=now)]


def lone_accuser(until: float) -> tuple[Engine, list[PingReq], float]:
    """A node that alone gets no answer of ``b``, which ``c`` neither accuses nor clears; and whom it asks for help."""
    here, now, asked = meeting(B, C), 6.0, []
    while now < until:
        now = max(now + 0.001, here.deadline())
        outputs = here.handle_timeout(now)
        asked += [each for each in said_to(outputs, C.state().address) if isinstance(each, PingReq)]
        answer_pings(here, outputs, now, of=C)
    return here, asked, now


def test_a_node_that_accuses_alone_fails_none_and_has_others_ping_the_suspect() -> None:
    here, asked, now = lone_accuser(60.0)
    assert status_of(here) is Status.SUSPECT
    assert len(asked) > 3
    deliver(here, C.state(), accusation(C), now=now)
    while status_of(here) is not Status.FAILED and now < 70.0:
        now = max(now + 0.001, here.deadline())
        answer_pings(here, here.handle_timeout(now), now, of=C)
    assert now < 65.0
    failed = believed(here, "b")
    own, other = failed.witnesses
    assert (own[0], other[0]) == (here.identity.run_id, C.state().run_id)
    assert len(here.state.authenticator.accusers_of(failed, here.membership_handler.accusations.by_run_id)) == 2


def test_in_a_pair_one_accuser_is_enough() -> None:
    here, now = meeting(B), 6.0
    while status_of(here) is not Status.FAILED and now < 40.0:
        now = max(now + 0.001, here.deadline())
        here.handle_timeout(now)
    assert status_of(here) is Status.FAILED
    assert len(believed(here, "b").witnesses) == 1


def told(here: Engine, *said: MemberUpdate) -> None:
    """What c tells a node that has asked it to compare states."""
    stream = here.streams.open_comparison(Purpose.JOIN, C.state().destination, 6.0)
    assert stream is not None
    receive_over_stream(here, C.state(), *said, stream=stream)


@pytest.mark.parametrize("status", [Status.FAILED, Status.LEFT])
def test_a_newcomer_takes_what_it_asked_a_member_for_and_nothing_that_it_did_not_ask_for(status: Status) -> None:
    gone = unsigned(accusation(D, status=status))
    here, other = meeting(C, D), meeting(C, D)
    told(here, gone)
    assert status_of(here) is status
    receive_over_stream(other, C.state(), gone, stream=-1)
    assert other.members.get("b") is None or status_of(other) is not status


@pytest.mark.parametrize("status", [Status.FAILED, Status.LEFT])
def test_a_seed_that_is_not_proven_to_be_a_member_makes_no_unknown_member_failed_or_forgotten(status: Status) -> None:
    here = meeting()
    told(here, C.state(), unsigned(accusation(D, status=status)))
    assert here.members.get("b") is None
    assert here.counters[Count.STATEMENTS_REFUSED] == 0, "an honest seed tells of members that have failed, too"
    deliver(here, C.state(), B.state())
    assert status_of(here) is Status.ALIVE


def test_of_an_unknown_member_that_a_seed_suspects_its_own_part_is_believed() -> None:
    here = meeting()
    told(here, C.state(), unsigned(accusation(D)))
    assert believed(here, "b") == B.state()


def test_a_failure_that_two_known_members_have_signed_is_believed_of_any_seed() -> None:
    here = meeting(D, E)
    told(here, C.state(), accusation(D, E, status=Status.FAILED))
    assert status_of(here) is Status.FAILED


def test_a_seed_whose_certificate_was_revoked_is_no_member_that_is_believed() -> None:
    here, certificate = meeting(C), C.signer.certificate
    gone = revocation_version(AUTHORITY.revoke(certificate, at=certificate.not_before))
    stream = here.streams.open_comparison(Purpose.JOIN, C.state().destination, 6.0)
    assert stream is not None
    frame = C.proven(packet(C.state(), gone, unsigned(accusation(D, status=Status.FAILED))), here)
    here.stream_frame(stream, frame, C.state().address, 6.0)
    assert here.members.get("b") is None


def test_a_helper_that_gets_no_answer_accuses_with_its_signature() -> None:
    here = meeting(B, C, D)
    deliver(here, C.state(), PingReq(9, B.state().run_id, 400), accusation(C))
    here.handle_timeout(6.6)
    outputs = here.handle_timeout(6.9)
    sent = [each for output in outputs if isinstance(output, Transmit) for each in spoken(output.data)]
    [said] = {each for each in sent if isinstance(each, MemberUpdate) and each.accuser == here.identity.run_id}
    assert dict(said.witnesses).keys() == {here.identity.run_id}
    found = here.state.authenticator.accusers_of(said, here.membership_handler.accusations.by_run_id)
    assert [run_id for run_id, _ in found.values()] == [here.identity.run_id]


def test_an_accuser_whose_certificate_was_revoked_in_the_same_packet_is_none() -> None:
    here = meeting(B, C)
    certificate = C.signer.certificate
    gone = revocation_version(AUTHORITY.revoke(certificate, at=certificate.not_before))
    here.receive(C.proven(packet(C.state(), gone, unsigned(accusation(C))), here), C.state().address, 7.0)
    assert status_of(here) is Status.ALIVE
