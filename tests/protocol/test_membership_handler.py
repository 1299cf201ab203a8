"""Updates about other members: suspicions raised, confirmed, verified, and failures declared."""

from __future__ import annotations

import attrs

from gossipreg.model import Status
from gossipreg.protocol.engine_settings import EngineSettings
from gossipreg.protocol.membership.member_update import MemberUpdate
from gossipreg.protocol.membership.probe import Ack, Nack, Ping
from gossipreg.protocol.outputs import InstancesChanged, Transmit
from gossipreg.protocol.wire.reader import unpack
from tests.protocol.delivering import (
    D,
    believed,
    conceded,
    deliver,
    ids,
    probed,
    receive_over_stream,
    unreached,
)
from tests.protocol.making import BORN, address, engine, instance, said_to, update
from tests.protocol.test_engine import A, B, C, among, changes


def test_a_member_that_does_not_answer_is_suspected_and_the_suspicion_is_broadcast() -> None:
    node = among(B)
    probed(node, B, 6.0)
    outputs = node.handle_timeout(7.0)
    assert changes(outputs) == [("b", "suspect")]
    accusation = believed(node, "b")
    assert accusation.accuser == A.run_id
    assert accusation in said_to(outputs, B.address), "the accused hears it first"
    assert node.counters["probes_missed"] == 1


def test_who_left_while_it_was_probed_is_not_accused() -> None:
    node = among(B)
    probed(node, B, 6.0)
    deliver(node, B, attrs.evolve(B, status=Status.LEFT), now=6.6)
    assert changes(node.handle_timeout(7.0)) == []


def test_who_restarted_while_it_was_probed_is_not_accused() -> None:
    node = among(B)
    probed(node, B, 6.0)
    deliver(node, C, attrs.evolve(B, generation=BORN + 1), now=6.6)
    assert changes(node.handle_timeout(7.0)) == []


def test_the_next_ping_to_a_suspect_brings_it_its_accusation() -> None:
    node = among(B)
    suspect = B.graver(Status.SUSPECT, C.run_id)
    deliver(node, C, suspect)
    accused, ping, *_ = said_to(node.handle_timeout(7.0), B.address)
    assert accused == suspect
    assert isinstance(ping, Ping)


def test_a_refused_stream_brings_the_failure_soonest() -> None:
    node = among(B)
    seq = probed(node, B, 6.0)
    [stream] = (number for number, session in node.sessions._sessions.items() if session.about == seq)
    node.stream_ended(stream, 6.6, refused=True)
    assert changes(node.handle_timeout(7.0)) == [("b", "suspect"), ("b", "failed")]
    assert node.counters["failures_declared"] == 1


def test_where_there_are_others_one_refusal_is_not_yet_a_failure() -> None:
    node = among(B, C, D)
    refused = B.graver(Status.SUSPECT, C.run_id, refused=True)
    assert changes(deliver(node, C, refused)) == [("b", "suspect")]
    assert changes(deliver(node, C, refused)) == []
    assert changes(deliver(node, D, attrs.evolve(refused, accuser=D.run_id))) == [("b", "failed")]


def test_a_stream_that_merely_ended_is_no_refusal() -> None:
    node = among(B)
    seq = probed(node, B, 6.0)
    [stream] = (number for number, session in node.sessions._sessions.items() if session.about == seq)
    node.stream_ended(stream, 6.6)
    node.handle_timeout(7.0)
    assert changes(node.handle_timeout(12.0)) == []


def test_another_accuser_against_a_suspect_is_told_on_once() -> None:
    node = among(B, C, D)
    deliver(node, C, B.graver(Status.SUSPECT, C.run_id))
    deliver(node, D, B.graver(Status.SUSPECT, D.run_id))
    told = [m for m in said_to(node.handle_timeout(6.01), D.address) if isinstance(m, MemberUpdate)]
    assert D.run_id in [update.accuser for update in told]
    before = len(node.state.broadcasts)
    deliver(node, D, B.graver(Status.SUSPECT, D.run_id))
    assert len(node.state.broadcasts) == before


def test_an_accused_member_that_is_heard_gets_the_accusation_but_not_all_the_time() -> None:
    node = among(B, C)
    failed = conceded(B)
    deliver(node, C, failed)
    assert failed in said_to(deliver(node, B, Nack(1), now=7.0), B.address)
    assert said_to(deliver(node, B, Nack(1), now=7.4), B.address) == []
    assert failed in said_to(deliver(node, B, Nack(1), now=7.5), B.address)


def test_a_peers_failure_over_a_member_that_is_present_is_a_suspicion_however_it_comes() -> None:
    for heard in (deliver, receive_over_stream):
        node = among(B, C, D)
        heard(node, B, C.graver(Status.FAILED, B.run_id))
        assert (believed(node, "c").status, believed(node, "c").accuser) == (Status.SUSPECT, B.run_id)
        node.detector.prober.next_period = 1e9
        deliver(node, D, Nack(1), now=6.5)
        [accusation, ping] = said_to(node.handle_timeout(7.0), C.address)[:2]
        assert accusation == believed(node, "c")
        assert isinstance(ping, Ping)
        assert changes(node.handle_timeout(7.5)) == [("c", "failed")], "the shortest suspicion later"


def test_a_suspect_that_answers_itself_is_not_failed_on_a_peers_word() -> None:
    node = among(B, C, D)
    node.detector.prober.next_period = 1e9
    deliver(node, B, C.graver(Status.SUSPECT, B.run_id))
    deliver(node, D, Nack(1), now=6.05)
    assert changes(deliver(node, B, C.graver(Status.FAILED, B.run_id), now=6.1)) == []
    ping = next(m for m in said_to(node.handle_timeout(6.1), C.address) if isinstance(m, Ping))
    deliver(node, C, Ack(ping.seq, 0, 0), now=6.2)
    deliver(node, D, Nack(1), now=6.2)
    assert changes(node.handle_timeout(10.0)) == []
    assert believed(node, "c").status is Status.SUSPECT


def test_a_peers_failure_over_a_suspect_is_believed_if_the_suspect_does_not_answer_us_either() -> None:
    node = among(B, C, D)
    deliver(node, B, C.graver(Status.SUSPECT, B.run_id))
    deliver(node, D, Nack(1), now=6.05)
    deliver(node, B, C.graver(Status.FAILED, B.run_id), now=6.1)
    node.handle_timeout(6.1)
    assert changes(node.handle_timeout(6.5)) == []
    assert changes(node.handle_timeout(6.6)) == [("c", "failed")]
    assert believed(node, "c").accuser == B.run_id


def test_what_a_member_concedes_itself_needs_no_verifying() -> None:
    node = among(B, C)
    deliver(node, B, conceded(C))
    assert believed(node, "c").status is Status.FAILED


def test_a_proven_failure_is_believed_at_once_unless_the_accuser_was_cut_off_lately() -> None:
    proven = C.graver(Status.FAILED, B.run_id, refused=True)
    node = among(B, C, D)
    assert changes(deliver(node, B, proven)) == [("c", "failed")]
    node = among(B, C, D)
    deliver(node, D, conceded(B))
    deliver(node, B, attrs.evolve(B, incarnation=1), proven, now=7.0)
    assert believed(node, "c").status is Status.SUSPECT
    node = among(C, D)
    deliver(node, D, proven)
    assert believed(node, "c").status is Status.SUSPECT, "the accuser is unknown"


def test_two_refusals_go_with_the_failure() -> None:
    node = among(B, C, D)
    for accuser in (C, D):
        deliver(node, accuser, B.graver(Status.SUSPECT, accuser.run_id, refused=True))
    assert (believed(node, "b").status, believed(node, "b").refused) == (Status.FAILED, True)


def test_without_verifying_gossip_is_believed_and_a_session_is_a_suspicion() -> None:
    plain = EngineSettings(verify_failures=False)
    node = among(B, C, settings=plain)
    deliver(node, B, C.graver(Status.FAILED, B.run_id))
    assert believed(node, "c").status is Status.FAILED
    other = among(B, C, settings=plain)
    receive_over_stream(other, B, C.graver(Status.FAILED, B.run_id))
    assert believed(other, "c").status is Status.SUSPECT
    assert changes(receive_over_stream(other, B, C.graver(Status.FAILED, B.run_id))) == []


def test_one_whose_failure_lacks_a_witness_asks_those_that_it_heard_last_for_an_ack() -> None:
    others = [update(f"m{number}", port=7100 + number) for number in range(9)]
    node = among(B, C, *others)
    node.detector.prober.next_period = 1e9
    deliver(node, B, C.graver(Status.SUSPECT, B.run_id))
    deliver(node, others[3], Ping(1, 0, 0), now=6.1)
    asked = []
    for tenths in range(62, 170):
        outputs = node.handle_timeout(tenths / 10)
        assert changes(outputs) == []
        asked = [o.to for o in outputs if isinstance(o, Transmit) and unpack(o.data)[1][0].__class__ is Ping]
        if B.address in asked and others[3].address in asked:
            break
    assert len(asked) == 3


def test_a_suspect_that_answers_a_ping_without_a_number_is_told_the_suspicion_and_is_a_witness_against_others() -> None:
    """Such an ack may be older than the suspicion; the refutation that follows is not."""
    node = among(B, C, D)
    suspect = B.graver(Status.SUSPECT, C.run_id)
    deliver(node, C, suspect, D.graver(Status.SUSPECT, C.run_id))
    due = node.detector.suspicion_deadline
    outputs = deliver(node, B, Ack(0, 0, 0), now=6.5)
    assert believed(node, "b").status is Status.SUSPECT
    assert node.detector.suspicion_deadline == due
    assert suspect in said_to(outputs, B.address)
    assert node.detector.reachability.has_witness(D.run_id, 6.0)
    assert not node.detector.reachability.has_witness(B.run_id, 6.0)


def test_a_deprioritized_member_that_answers_is_as_good_as_any() -> None:
    node = among(B, C, D)
    offering = engine(B.name, address=B.address)
    offering.register(instance("at-b"), 0.0)
    deliver(node, B, *(offering.state.registry.table(B.name) or ()), now=5.0)
    offering = engine(C.name, address=C.address)
    offering.register(instance("at-c"), 0.0)
    deliver(node, C, *(offering.state.registry.table(C.name) or ()), now=5.0)
    for accuser in (C, D):
        deliver(node, accuser, B.graver(Status.SUSPECT, accuser.run_id))
    node.handle_timeout(6.0)
    assert ids(node) == ["at-c"]
    node.membership_handler.perform(node.detector.prober.ping_suspect(believed(node, "b"), 0, 6.5), 6.5)
    [_, ping, *_] = said_to(node.outbox.take(), B.address)
    assert isinstance(ping, Ping)
    deliver(node, B, Ack(ping.seq, 0, 0), now=7.0)
    node.handle_timeout(7.0)
    assert ids(node) == ["at-b", "at-c"]


def test_a_failure_over_what_is_not_news_is_nothing_to_suspect() -> None:
    node = among(B, C)
    deliver(node, B, attrs.evolve(C, status=Status.SUSPECT, address=address(7999)))
    before = believed(node, "c")
    receive_over_stream(node, B, C.graver(Status.FAILED))
    assert believed(node, "c") == before


def test_a_report_of_failure_without_another_reachable_member_is_believed() -> None:
    node = among(B)
    receive_over_stream(node, B, C.graver(Status.FAILED))
    assert believed(node, "c").status is Status.FAILED


def test_what_is_too_old_is_not_believed() -> None:
    node = among(B)
    receive_over_stream(node, B, attrs.evolve(C, status=Status.LEFT, age=10**6))
    assert node.members.get("c") is None


def test_a_stopped_node_accuses_no_member_for_what_it_could_not_receive() -> None:
    node = among(B)
    node.handle_timeout(6.0)
    assert changes(node.handle_timeout(60.0, late=53.5)) == []
    assert node.counters["lags"] == 1
    assert changes(node.handle_timeout(60.0, late=0.1)) == []
    assert node.counters["lags"] == 1


def test_a_node_whose_sending_is_blocked_still_expires_suspicions() -> None:
    node = among(B, C, D)
    deliver(node, C, B.graver(Status.SUSPECT, C.run_id), now=6.0)
    for second in range(7, 40):
        deliver(node, D, Nack(1), now=float(second))
    expired = []
    for now in (39.5, 40.0, 41.0):
        node.membership_handler.expire_suspicions(now)
        expired.append(changes(node.outbox.take()))
    assert expired == [[], [("b", "failed")], []]


def test_a_helper_that_could_not_reach_a_member_either_seconds_its_suspicion_at_once() -> None:
    node = among(B, C, D)
    unreached(node, B, 5.0)
    suspect = B.graver(Status.SUSPECT, C.run_id)
    deliver(node, C, suspect, now=5.5)
    told = [said for said in said_to(node.handle_timeout(5.51), D.address) if said == suspect]
    assert A.run_id in [update.accuser for update in told if isinstance(update, MemberUpdate)]


def test_it_does_so_too_if_the_suspicion_came_first() -> None:
    node = among(B, C, D)
    suspect = B.graver(Status.SUSPECT, C.run_id)
    deliver(node, C, suspect, now=5.0)
    unreached(node, B, 5.0)
    assert node.detector.is_confirmed("b")


def test_where_confirmations_are_off_no_member_corroborates_a_suspicion() -> None:
    node = among(B, C, D, settings=EngineSettings(lifelines=0, corroborate=False))
    deliver(node, C, B.graver(Status.SUSPECT, C.run_id), now=5.0)
    unreached(node, B, 5.0)
    assert not node.detector.is_confirmed("b")


def test_what_a_deprioritized_owner_offers_is_called_only_if_there_is_nothing_better() -> None:
    node = among(B, C, D)
    for owner in (B, C):
        offering = engine(owner.name, address=owner.address)
        offering.register(instance(f"at-{owner.name}"), 0.0)
        deliver(node, owner, *(offering.state.registry.table(owner.name) or ()), now=5.0)
    node.handle_timeout(5.0)
    assert ids(node) == ["at-b", "at-c"]
    suspect = B.graver(Status.SUSPECT, D.run_id)
    deliver(node, D, suspect, now=5.1)
    node.handle_timeout(5.1)
    assert ids(node) == ["at-b", "at-c"]
    deliver(node, C, attrs.evolve(suspect, accuser=C.run_id), now=5.2)
    assert InstancesChanged(("orders",)) in node.handle_timeout(5.2)
    assert ids(node) == ["at-c"]
    deliver(node, D, C.graver(Status.SUSPECT, D.run_id), now=5.3)
    deliver(node, D, C.graver(Status.SUSPECT, 77), now=5.3)
    node.handle_timeout(5.3)
    assert ids(node) == ["at-b", "at-c"], "when all owners are deprioritized, all are tried"
    deliver(node, B, attrs.evolve(B, incarnation=1), now=5.4)
    node.handle_timeout(5.4)
    assert ids(node) == ["at-b"]


def test_a_refused_stream_proves_nothing_while_our_own_kernel_refuses_to_send() -> None:
    node = among(B)
    seq = probed(node, B, 6.0)
    node.unsent(B.address, 6.5)
    [stream] = (number for number, session in node.sessions._sessions.items() if session.about == seq)
    node.stream_ended(stream, 6.6, refused=True)
    assert changes(node.handle_timeout(7.0)) == [("b", "suspect")]


def test_one_that_is_back_is_compared_with_as_soon_as_states_differ() -> None:
    node = among(B, C)
    deliver(node, C, attrs.evolve(B, status=Status.LEFT))
    deliver(node, B, attrs.evolve(B, status=Status.FAILED, generation=B.generation + 1))
    back = attrs.evolve(B, generation=B.generation + 1, incarnation=1)
    assert believed(node, "b").status is Status.FAILED
    deliver(node, B, back, now=9.0)
    assert believed(node, "b") == back
    assert node.streams._members.unequal_since == 9.0 - node.settings.reconcile_settle
