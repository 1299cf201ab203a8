"""What one node makes of what members say: pings, accusations, verdicts, records."""

from __future__ import annotations

import attrs
import pytest

from gossipreg import limits
from gossipreg.model import Status
from gossipreg.protocol.anti_entropy.fingerprint import BUCKETS
from gossipreg.protocol.anti_entropy.reconcile import Compare, End
from gossipreg.protocol.engine import Engine
from gossipreg.protocol.engine_settings import EngineSettings
from gossipreg.protocol.membership.identity import RECLAIM_STEP_MS
from gossipreg.protocol.membership.member_update import MemberUpdate
from gossipreg.protocol.membership.probe import Ack, Nack, Ping, PingReq
from gossipreg.protocol.outputs import InstancesChanged, IsolationChanged, OpenStream, Output, SendFrame, Transmit
from gossipreg.protocol.registry.records import Fetch, Record, TableDigest
from gossipreg.protocol.stream_sessions import Purpose
from gossipreg.protocol.wire.messages import Message
from gossipreg.protocol.wire.reader import unpack
from tests.protocol.making import BORN, address, engine, history, instance, packet, said_to, spoken, update
from tests.protocol.test_engine import A, B, C, among, changes, transmitted

D = update("d", port=7003)


def replies(outputs: list[Output]) -> list[Message]:
    return [message for output in outputs if isinstance(output, SendFrame) for message in spoken(output.frame)]


def hear(node: Engine, sender: MemberUpdate, *said: Message, now: float = 6.0) -> list[Output]:
    return node.receive(packet(sender, *said), sender.address, now)


def receive_over_stream(
    node: Engine, sender: MemberUpdate, *said: Message, stream: int = -1, now: float = 6.0
) -> list[Output]:
    return node.stream_frame(stream, packet(sender, *said), sender.address, now)


def conceded(member: MemberUpdate) -> MemberUpdate:
    """That ``member`` failed, as it concedes itself; nobody verifies that."""
    return member.graver(Status.FAILED, member.run_id)


def believed(node: Engine, name: str) -> MemberUpdate:
    held = node.members.get(name)
    assert held is not None
    return held


# Pings


def test_a_stranger_gets_a_bare_ack_and_a_member_gets_what_is_new_with_it() -> None:
    node = among(B)
    node.register(instance("x"), 1.0)
    [bare] = said_to(hear(node, D, Ping(4, 0, 1), now=1.0), D.address)
    assert bare == Ack(4, 0, node.fingerprint)
    ack, news = said_to(hear(node, B, Ping(5, 0, 1), now=1.0), B.address)
    assert ack == Ack(5, 0, node.fingerprint)
    assert isinstance(news, Record)


def test_an_ack_from_a_stranger_means_nothing() -> None:
    node = among(B)
    [ping] = (m for m in said_to(node.handle_timeout(1.0), B.address) if isinstance(m, Ping))
    hear(node, D, Ack(ping.seq, B.run_id, 0), now=1.1)
    assert node.detector.prober._current is not None
    assert not node.detector.prober._current.acked


def test_a_member_may_ask_us_to_ping_another_and_a_stranger_may_not() -> None:
    node = among(B, C)
    assert hear(node, D, PingReq(4, C.run_id, 500)) == []
    [ping] = said_to(hear(node, B, PingReq(4, C.run_id, 500)), C.address)
    assert isinstance(ping, Ping)
    [ack] = said_to(hear(node, C, Ack(ping.seq, 0, 9)), B.address)
    assert ack == Ack(4, C.run_id, 9)


def test_a_ping_on_a_stream_is_answered_there() -> None:
    node = among(B)
    assert replies(receive_over_stream(node, B, Ping(4, 0, 1), End())) == [Ack(4, 0, node.fingerprint), End()]


def test_questions_are_answered_in_talks_only() -> None:
    node = among(B)
    assert hear(node, B, Compare((0,) * BUCKETS), Fetch("b", BORN, 1, "x"), End()) == []


# Accusations


def probed(node: Engine, target: MemberUpdate, now: float) -> int:
    """Let ``node`` probe its only peer in vain until the end of the period; returns the probe's number."""
    [ping] = (m for m in said_to(node.handle_timeout(now), target.address) if isinstance(m, Ping) and m.seq)
    node.handle_timeout(now + 0.5)
    return ping.seq


def test_who_does_not_answer_is_suspected_and_everybody_is_told() -> None:
    node = among(B)
    probed(node, B, 6.0)
    outputs = node.handle_timeout(7.0)
    assert changes(outputs) == [("b", "suspect")]
    accusation = believed(node, "b")
    assert accusation.accuser == A.run_id
    assert accusation in said_to(outputs, B.address), "the accused hears it first"


def test_who_left_while_it_was_probed_is_not_accused() -> None:
    node = among(B)
    probed(node, B, 6.0)
    hear(node, B, attrs.evolve(B, status=Status.LEFT), now=6.6)
    assert changes(node.handle_timeout(7.0)) == []


def test_who_restarted_while_it_was_probed_is_not_accused() -> None:
    node = among(B)
    probed(node, B, 6.0)
    hear(node, C, attrs.evolve(B, generation=BORN + 1), now=6.6)
    assert changes(node.handle_timeout(7.0)) == []


def test_the_next_ping_to_a_suspect_brings_it_its_accusation() -> None:
    node = among(B)
    suspect = B.graver(Status.SUSPECT, C.run_id)
    hear(node, C, suspect)
    accused, ping, *_ = said_to(node.handle_timeout(7.0), B.address)
    assert accused == suspect
    assert isinstance(ping, Ping)


def test_a_refused_stream_brings_the_verdict_soonest() -> None:
    node = among(B)
    seq = probed(node, B, 6.0)
    [stream] = (number for number, session in node.sessions._sessions.items() if session.about == seq)
    node.stream_ended(stream, 6.6, refused=True)
    assert changes(node.handle_timeout(7.0)) == [("b", "suspect"), ("b", "failed")]


def test_where_there_are_others_one_refusal_is_not_yet_a_verdict() -> None:
    node = among(B, C, D)
    refused = B.graver(Status.SUSPECT, C.run_id, refused=True)
    assert changes(hear(node, C, refused)) == [("b", "suspect")]
    assert changes(hear(node, C, refused)) == []
    assert changes(hear(node, D, attrs.evolve(refused, accuser=D.run_id))) == [("b", "failed")]


def test_a_stream_that_merely_ended_refuses_nobody() -> None:
    node = among(B)
    seq = probed(node, B, 6.0)
    [stream] = (number for number, session in node.sessions._sessions.items() if session.about == seq)
    node.stream_ended(stream, 6.6)
    node.handle_timeout(7.0)
    assert changes(node.handle_timeout(12.0)) == []


def test_another_voice_against_a_suspect_is_told_on_once() -> None:
    node = among(B, C, D)
    hear(node, C, B.graver(Status.SUSPECT, C.run_id))
    hear(node, D, B.graver(Status.SUSPECT, D.run_id))
    told = [m for m in said_to(node.handle_timeout(6.01), D.address) if isinstance(m, MemberUpdate)]
    assert D.run_id in [update.accuser for update in told]
    before = len(node.state.broadcasts)
    hear(node, D, B.graver(Status.SUSPECT, D.run_id))
    assert len(node.state.broadcasts) == before


def test_one_who_is_there_is_told_what_is_believed_of_it_but_not_all_the_time() -> None:
    node = among(B, C)
    failed = conceded(B)
    hear(node, C, failed)
    assert failed in said_to(hear(node, B, Nack(1), now=7.0), B.address)
    assert said_to(hear(node, B, Nack(1), now=7.4), B.address) == []
    assert failed in said_to(hear(node, B, Nack(1), now=7.5), B.address)


def test_one_who_is_told_that_it_failed_refutes() -> None:
    node = among(B)
    outputs = hear(node, B, A.graver(Status.FAILED, B.run_id))
    assert changes(outputs) == [("a", "alive")]
    assert believed(node, "a").incarnation == 1
    assert node.counters["refutations"] == 1


def test_one_who_is_told_so_again_waits_before_it_refutes_and_refutes_no_suspicion_meanwhile() -> None:
    node = among(B)
    node.detector.health.worse(8)
    hear(node, B, A.graver(Status.FAILED, B.run_id))
    again = attrs.evolve(A, incarnation=1)
    for number, status in enumerate((Status.FAILED, Status.SUSPECT, Status.FAILED)):
        assert changes(hear(node, B, again.graver(status, B.run_id), now=7.0 + number / 8)) == []
    assert node.counters["returns_put_off"] == 1
    node.handle_timeout(36.9)
    assert believed(node, "a").incarnation == 1
    node.handle_timeout(37.0)
    assert believed(node, "a").incarnation == 2


def test_a_verdict_that_it_has_outbid_before_it_heard_of_it_counts_as_a_return_all_the_same() -> None:
    node = among(B)
    node.detector.health.worse(8)
    hear(node, B, A.graver(Status.SUSPECT, B.run_id))
    assert node.local_member.damping.wait(6.0) == 0.0
    for _ in range(3):
        hear(node, B, A.graver(Status.FAILED, B.run_id))
    assert node.local_member.damping.wait(6.0) == 30.0


def test_a_peers_verdict_over_a_member_that_is_present_is_a_suspicion_however_it_comes() -> None:
    for heard in (hear, receive_over_stream):
        node = among(B, C, D)
        heard(node, B, C.graver(Status.FAILED, B.run_id))
        assert (believed(node, "c").status, believed(node, "c").accuser) == (Status.SUSPECT, B.run_id)
        node.detector.prober.next_period = 1e9
        hear(node, D, Nack(1), now=6.5)
        [accusation, ping] = said_to(node.handle_timeout(7.0), C.address)[:2]
        assert accusation == believed(node, "c")
        assert isinstance(ping, Ping)
        assert changes(node.handle_timeout(7.5)) == [("c", "failed")], "the shortest suspicion later"


def test_a_suspect_that_answers_itself_is_not_failed_on_a_peers_word() -> None:
    node = among(B, C, D)
    node.detector.prober.next_period = 1e9
    hear(node, B, C.graver(Status.SUSPECT, B.run_id))
    hear(node, D, Nack(1), now=6.05)
    assert changes(hear(node, B, C.graver(Status.FAILED, B.run_id), now=6.1)) == []
    ping = next(m for m in said_to(node.handle_timeout(6.1), C.address) if isinstance(m, Ping))
    hear(node, C, Ack(ping.seq, 0, 0), now=6.2)
    hear(node, D, Nack(1), now=6.2)
    assert changes(node.handle_timeout(10.0)) == []
    assert believed(node, "c").status is Status.SUSPECT


def test_a_peers_verdict_over_a_suspect_is_believed_if_the_suspect_does_not_answer_us_either() -> None:
    node = among(B, C, D)
    hear(node, B, C.graver(Status.SUSPECT, B.run_id))
    hear(node, D, Nack(1), now=6.05)
    hear(node, B, C.graver(Status.FAILED, B.run_id), now=6.1)
    node.handle_timeout(6.1)
    assert changes(node.handle_timeout(6.5)) == []
    assert changes(node.handle_timeout(6.6)) == [("c", "failed")]
    assert believed(node, "c").accuser == B.run_id


def test_what_a_member_concedes_itself_needs_no_verifying() -> None:
    node = among(B, C)
    hear(node, B, conceded(C))
    assert believed(node, "c").status is Status.FAILED


def test_a_proven_verdict_is_believed_at_once_unless_the_accuser_was_cut_off_lately() -> None:
    proven = C.graver(Status.FAILED, B.run_id, refused=True)
    node = among(B, C, D)
    assert changes(hear(node, B, proven)) == [("c", "failed")]
    node = among(B, C, D)
    hear(node, D, conceded(B))
    hear(node, B, attrs.evolve(B, incarnation=1), proven, now=7.0)
    assert believed(node, "c").status is Status.SUSPECT
    node = among(C, D)
    hear(node, D, proven)
    assert believed(node, "c").status is Status.SUSPECT, "nobody knows the accuser"


def test_two_refusals_go_with_the_verdict() -> None:
    node = among(B, C, D)
    for accuser in (C, D):
        hear(node, accuser, B.graver(Status.SUSPECT, accuser.run_id, refused=True))
    assert (believed(node, "b").status, believed(node, "b").refused) == (Status.FAILED, True)


def test_without_verifying_gossip_is_believed_and_a_talk_is_a_suspicion() -> None:
    plain = EngineSettings(verify_failures=False)
    node = among(B, C, settings=plain)
    hear(node, B, C.graver(Status.FAILED, B.run_id))
    assert believed(node, "c").status is Status.FAILED
    other = among(B, C, settings=plain)
    receive_over_stream(other, B, C.graver(Status.FAILED, B.run_id))
    assert believed(other, "c").status is Status.SUSPECT
    assert changes(receive_over_stream(other, B, C.graver(Status.FAILED, B.run_id))) == []


def test_one_whose_verdict_lacks_a_witness_asks_those_that_it_heard_last_for_an_ack() -> None:
    others = [update(f"m{number}", port=7100 + number) for number in range(9)]
    node = among(B, C, *others)
    node.detector.prober.next_period = 1e9
    hear(node, B, C.graver(Status.SUSPECT, B.run_id))
    hear(node, others[3], Ping(1, 0, 0), now=6.1)
    asked = []
    for tenths in range(62, 170):
        outputs = node.handle_timeout(tenths / 10)
        assert changes(outputs) == []
        asked = [o.to for o in outputs if isinstance(o, Transmit) and unpack(o.data)[1][0].__class__ is Ping]
        if B.address in asked and others[3].address in asked:
            break
    assert len(asked) == 3


def test_a_doubtful_member_that_answers_is_as_good_as_any() -> None:
    node = among(B, C, D)
    offering = engine(B.name, address=B.address)
    offering.register(instance("at-b"), 0.0)
    hear(node, B, *(offering.state.registry.table(B.name) or ()), now=5.0)
    offering = engine(C.name, address=C.address)
    offering.register(instance("at-c"), 0.0)
    hear(node, C, *(offering.state.registry.table(C.name) or ()), now=5.0)
    for accuser in (C, D):
        hear(node, accuser, B.graver(Status.SUSPECT, accuser.run_id))
    node.handle_timeout(6.0)
    assert ids(node) == ["at-c"]
    node.membership_handler.perform(node.detector.prober.ask_suspect(believed(node, "b"), 0, 6.5), 6.5)
    [_, ping, *_] = said_to(node.outbox.take(), B.address)
    assert isinstance(ping, Ping)
    hear(node, B, Ack(ping.seq, 0, 0), now=7.0)
    node.handle_timeout(7.0)
    assert ids(node) == ["at-b", "at-c"]


def test_a_verdict_over_what_is_not_news_is_nothing_to_suspect() -> None:
    node = among(B, C)
    hear(node, B, attrs.evolve(C, status=Status.SUSPECT, address=address(7999)))
    before = believed(node, "c")
    receive_over_stream(node, B, C.graver(Status.FAILED))
    assert believed(node, "c") == before


def test_one_whom_only_the_failed_are_known_of_is_believed_failed() -> None:
    node = among(B)
    receive_over_stream(node, B, C.graver(Status.FAILED))
    assert believed(node, "c").status is Status.FAILED


def test_what_is_too_old_is_not_believed() -> None:
    node = among(B)
    receive_over_stream(node, B, attrs.evolve(C, status=Status.LEFT, age=10**6))
    assert node.members.get("c") is None


def test_one_who_is_back_is_compared_with_as_soon_as_possible() -> None:
    node = among(B, C)
    hear(node, C, conceded(B))
    hear(node, B, attrs.evolve(B, incarnation=1), Ping(1, 0, 12345), now=7.0)
    assert node.sessions.is_open(Purpose.RECONCILE)


def test_a_stopped_node_accuses_nobody_for_what_it_could_not_hear() -> None:
    node = among(B)
    node.handle_timeout(6.0)
    assert changes(node.handle_timeout(60.0, late=53.5)) == []
    assert node.counters["lags"] == 1
    assert changes(node.handle_timeout(60.0, late=0.1)) == []
    assert node.counters["lags"] == 1


# Records


def test_a_record_over_the_owners_limit_is_counted_and_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "RECORDS_PER_OWNER_MAX", 8)
    node = among(B)
    hear(node, B, *history([(f"x{number}", 1) for number in range(9)]).said)
    assert node.counters["records_over_owner_limit"] == 1


def test_one_who_brings_a_dead_record_in_a_talk_is_told_that_it_is_dead() -> None:
    x, y, removal = history([("x", 1), ("y", 1), ("x", None)]).said
    node = among(B)
    hear(node, B, x, y, removal)
    assert replies(receive_over_stream(node, C, x, End())) == [
        TableDigest("b", BORN, 3, removal.table_xor, ("x",)),
        End(),
    ]
    assert hear(node, C, x) == []


def test_one_who_brings_records_of_an_owner_that_left_is_told_so_by_the_rumor_and_not_by_us() -> None:
    node = among(B)
    hear(node, B, attrs.evolve(B, status=Status.LEFT))
    assert replies(receive_over_stream(node, C, history([("x", 1)]).said[0], End())) == [End()]


def test_a_newcomer_does_not_speak_for_its_name_before_it_is_announced() -> None:
    """Its past run may be a namesake's present one: a word about its table would bury that one's records."""
    node = engine("a", has_seeds=True, generation=BORN + 1)
    node.register(instance("mine"), 0.0)
    theirs = history([("x", 1)], owner="a").said[0]
    assert replies(receive_over_stream(node, B, theirs, Compare((0,) * BUCKETS), End())) == [End()]


def test_what_a_namesake_said_in_our_generation_makes_us_take_a_later_one() -> None:
    said: list[Record | TableDigest] = [history([("x", 1), ("y", 1)], owner="a").said[1], TableDigest("a", BORN, 7, 7)]
    later = BORN + RECLAIM_STEP_MS
    for foreign in said:
        node = among(B)
        node.register(instance("mine"), 6.0)
        receive_over_stream(node, B, foreign)
        assert node.identity.generation == later
        assert believed(node, "a").generation == later
        assert node.own("mine") is not None
        node.leave(7.0)
        receive_over_stream(node, B, attrs.evolve(foreign, generation=later))
        assert node.identity.generation == later


def test_one_whose_sending_is_held_up_can_still_judge() -> None:
    node = among(B, C, D)
    hear(node, C, B.graver(Status.SUSPECT, C.run_id), now=6.0)
    for second in range(7, 40):
        hear(node, D, Nack(1), now=float(second))
    assert changes(node.expire_suspicions(39.5)) == []
    assert changes(node.expire_suspicions(40.0)) == [("b", "failed")]
    assert node.expire_suspicions(41.0) == []


def unreached(node: Engine, target: MemberUpdate, now: float) -> None:
    """Let ``node`` ping ``target`` in vain, on behalf of another."""
    hear(node, C, PingReq(7, target.run_id, 500), now=now)
    node.handle_timeout(now + 0.4)


def test_a_helper_that_could_not_reach_a_member_either_seconds_its_suspicion_at_once() -> None:
    node = among(B, C, D)
    unreached(node, B, 5.0)
    suspect = B.graver(Status.SUSPECT, C.run_id)
    hear(node, C, suspect, now=5.5)
    told = [said for said in said_to(node.handle_timeout(5.51), D.address) if said == suspect]
    assert A.run_id in [update.accuser for update in told if isinstance(update, MemberUpdate)]


def test_it_does_so_too_if_the_suspicion_came_first() -> None:
    node = among(B, C, D)
    suspect = B.graver(Status.SUSPECT, C.run_id)
    hear(node, C, suspect, now=5.0)
    unreached(node, B, 5.0)
    assert node.detector.is_confirmed("b")


def test_where_nobody_is_to_second_a_suspicion_nobody_does() -> None:
    node = among(B, C, D, settings=EngineSettings(lifelines=0, corroborate=False))
    hear(node, C, B.graver(Status.SUSPECT, C.run_id), now=5.0)
    unreached(node, B, 5.0)
    assert not node.detector.is_confirmed("b")


def test_what_a_doubtful_owner_offers_is_called_only_if_there_is_nothing_better() -> None:
    node = among(B, C, D)
    for owner in (B, C):
        offering = engine(owner.name, address=owner.address)
        offering.register(instance(f"at-{owner.name}"), 0.0)
        hear(node, owner, *(offering.state.registry.table(owner.name) or ()), now=5.0)
    node.handle_timeout(5.0)
    assert ids(node) == ["at-b", "at-c"]
    suspect = B.graver(Status.SUSPECT, D.run_id)
    hear(node, D, suspect, now=5.1)
    node.handle_timeout(5.1)
    assert ids(node) == ["at-b", "at-c"]
    hear(node, C, attrs.evolve(suspect, accuser=C.run_id), now=5.2)
    assert InstancesChanged(("orders",)) in node.handle_timeout(5.2)
    assert ids(node) == ["at-c"]
    hear(node, D, C.graver(Status.SUSPECT, D.run_id), now=5.3)
    hear(node, D, C.graver(Status.SUSPECT, 77), now=5.3)
    node.handle_timeout(5.3)
    assert ids(node) == ["at-b", "at-c"], "when all are in doubt, all are tried"
    hear(node, B, attrs.evolve(B, incarnation=1), now=5.4)
    node.handle_timeout(5.4)
    assert ids(node) == ["at-b"]


def ids(node: Engine) -> list[str]:
    return [offered.id for offered in node.view.service("orders").healthy]


def accuse(
    node: Engine, incarnation: int, now: float, status: Status = Status.FAILED, accuser: MemberUpdate = C
) -> list[Output]:
    said = attrs.evolve(A, incarnation=incarnation, status=status, accuser=accuser.run_id)
    return hear(node, accuser, said, now=now)


def test_one_that_is_failed_again_and_again_by_its_own_fault_comes_back_later() -> None:
    node = among(B, C, D)
    node.detector.health.worse(8)
    accuse(node, 0, 6.0)
    outputs = accuse(node, 1, 7.0)
    assert node.identity.incarnation == 1
    assert node.local_member.deadline == 37.0
    assert changes(outputs) == []
    node.handle_timeout(36.9)
    assert node.identity.incarnation == 1
    outputs = node.handle_timeout(37.0)
    assert node.identity.incarnation == 2
    assert ("a", "alive") in changes(outputs)


def test_one_that_waits_concedes_that_it_failed_so_that_nobody_need_verify_it() -> None:
    node = among(B, C, D)
    node.detector.health.worse(8)
    accuse(node, 0, 6.0)
    accuse(node, 1, 7.0)
    concession = attrs.evolve(A, incarnation=1, status=Status.FAILED)
    told = [m for m in transmitted(node.handle_timeout(7.1)) if m == concession]
    assert told
    assert all(m.accuser == A.run_id for m in told if isinstance(m, MemberUpdate))
    assert concession in said_to(accuse(node, 1, 8.0, Status.SUSPECT, D), D.address), "to one that asks"
    assert concession in said_to(accuse(node, 0, 9.0, Status.SUSPECT, B), B.address), "and to one that knows less"


def test_one_that_waits_with_its_answer_to_a_mere_suspicion_concedes_nothing() -> None:
    node = among(B, C, D)
    node.detector.health.worse(8)
    accuse(node, 0, 6.0)
    accuse(node, 1, 7.0, Status.SUSPECT, C)
    assert node.counters["returns_put_off"] == 1
    conceded_of = [
        m for m in transmitted(node.handle_timeout(7.1)) if isinstance(m, MemberUpdate) and m.status is Status.FAILED
    ]
    assert conceded_of == []


def test_one_that_is_well_comes_back_at_once_however_often() -> None:
    node = among(B, C, D)
    for incarnation in range(4):
        accuse(node, incarnation, 6.0 + incarnation)
    assert node.identity.incarnation == 4


def test_one_that_has_failed_the_others_was_on_one_side_of_a_split_and_is_back_at_once() -> None:
    node = among(B, C, D)
    node.detector.health.worse(8)
    hear(node, C, conceded(B))
    hear(node, C, conceded(D))
    hear(node, B, attrs.evolve(B, incarnation=1), now=6.1)
    hear(node, D, attrs.evolve(D, incarnation=1), now=6.1)
    for incarnation in range(3):
        accuse(node, incarnation, 6.2)
    assert node.identity.incarnation == 3


def many(count: int = 12) -> tuple[Engine, list[MemberUpdate]]:
    """A node in poor health among many."""
    others = [update(f"m{number}", port=7100 + number) for number in range(count)]
    node = among(B, C, *others)
    node.detector.health.worse(8)
    return node, others


def test_one_that_has_lately_failed_its_accuser_was_cut_off_from_it_and_is_back_at_once() -> None:
    node, _ = many()
    hear(node, B, conceded(C))
    hear(node, C, attrs.evolve(C, incarnation=1), now=6.1)
    accuse(node, 0, 6.2)
    accuse(node, 1, 6.3)
    assert node.identity.incarnation == 2
    accuse(node, 2, 60.2, accuser=B)
    accuse(node, 3, 66.2)
    assert node.identity.incarnation == 3, "a minute later that is no excuse any more"


def test_one_whose_own_kernel_refused_to_send_knows_the_cause_and_is_back_at_once() -> None:
    node, others = many()
    for other in others[:2]:
        assert node.unsent(other.address, 6.0) == []
    for incarnation in range(3):
        accuse(node, incarnation, 6.1)
    assert node.identity.incarnation == 3
    assert node.counters["packets_unsent"] == 2


def test_one_that_could_not_reach_the_accuser_or_many_others_was_cut_off_unless_it_heard_nobody() -> None:
    node, others = many()
    hear(node, B, C.graver(Status.SUSPECT, B.run_id))
    accuse(node, 0, 6.1)
    accuse(node, 1, 6.2)
    assert node.identity.incarnation == 2
    node, others = many()
    for other in others[:2]:
        hear(node, B, other.graver(Status.SUSPECT, B.run_id))
    accuse(node, 0, 6.1)
    accuse(node, 1, 6.2)
    assert node.identity.incarnation == 2
    node.detector.postpone(1.0, 6.3)  # it was stopped itself
    accuse(node, 2, 6.3)
    accuse(node, 3, 6.4)
    assert node.identity.incarnation == 3


def test_a_peer_that_has_missed_our_answer_is_told_it_again() -> None:
    node = among(B, C, D)
    accuse(node, 0, 6.0)
    said = attrs.evolve(A, incarnation=1)
    assert accuse(node, 0, 6.5, accuser=D) == [], "it may be on its way"
    assert said_to(accuse(node, 0, 7.5, accuser=D), D.address) == [said]
    assert accuse(node, 0, 7.6, accuser=D) == []
    assert accuse(node, 0, 8.5, Status.ALIVE) == [], "that is no accusation"
    stranger = update("x", port=7999)
    assert accuse(node, 0, 8.5, accuser=stranger) == []


def test_a_refused_stream_proves_nothing_while_our_own_kernel_refuses_to_send() -> None:
    node = among(B)
    seq = probed(node, B, 6.0)
    node.unsent(B.address, 6.5)
    [stream] = (number for number, session in node.sessions._sessions.items() if session.about == seq)
    node.stream_ended(stream, 6.6, refused=True)
    assert changes(node.handle_timeout(7.0)) == [("b", "suspect")]


def test_one_that_said_something_new_while_it_waited_needs_no_answer_any_more() -> None:
    node = among(B, C, D)
    node.detector.health.worse(8)
    for incarnation in (0, 1):
        hear(node, C, attrs.evolve(A, incarnation=incarnation, status=Status.FAILED), now=6.0)
    node.drain(7.0)
    node.drain(7.0)
    incarnation = node.identity.incarnation
    node.handle_timeout(36.0)
    assert node.identity.incarnation == incarnation
    assert node.local_member.deadline == float("inf")


# When nobody is heard


def test_a_node_that_hears_no_member_pings_some_before_it_calls_itself_isolated() -> None:
    node = among(B, C)
    node.detector.prober.next_period = 1e9
    assert node.deadline() <= 2.0
    outputs = node.handle_timeout(2.0)
    for member in (B, C):
        assert said_to(outputs, member.address) == [Ping(0, member.run_id, node.fingerprint)]
    hear(node, C, Ack(0, 0, node.fingerprint), now=2.1)
    assert not node.is_isolated(6.1)
    assert node.is_isolated(6.2)


def test_the_driver_is_told_when_a_node_becomes_isolated_and_when_it_is_no_more() -> None:
    node = among(B, C)
    assert IsolationChanged not in map(type, node.handle_timeout(4.0))
    said = [node.isolated]
    assert IsolationChanged(isolated=True, silence=4.1) in node.handle_timeout(4.1)
    said.append(node.isolated)
    assert IsolationChanged not in map(type, node.handle_timeout(5.0))
    assert IsolationChanged(isolated=False, silence=6.0) in hear(node, B, Nack(1), now=6.0)
    said.append(node.isolated)
    assert IsolationChanged not in map(type, hear(node, B, Nack(1), now=6.1))
    assert said == [False, True, False]


def test_a_node_that_was_isolated_compares_with_the_first_member_that_is_unlike_it() -> None:
    node = among(B, C)
    outputs = node.receive(packet(B, Ping(1, 0, node.fingerprint ^ 1)), B.address, 3.9)
    assert not [o for o in outputs if isinstance(o, OpenStream)]
    node = among(B, C)
    outputs = node.receive(packet(B, Ping(1, 0, node.fingerprint ^ 1)), B.address, 4.1)
    assert [o.to for o in outputs if isinstance(o, OpenStream)] == [B.address]
