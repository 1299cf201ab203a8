"""What one node makes of what members say: accusations, verdicts, large records, comparisons, its own name."""

from __future__ import annotations

import attrs
import pytest

from gossipreg import limits
from gossipreg.model import Address, Status
from gossipreg.protocol.engine import Engine
from gossipreg.protocol.membership.identity import Contest
from gossipreg.protocol.membership.probe import Ack, Nack, Ping, PingReq
from gossipreg.protocol.membership.rumor import Rumor
from gossipreg.protocol.outputs import CloseStream, NameContested, OpenStream, Output, SendFrame, Transmit
from gossipreg.protocol.registry.records import Announcement, Fetch, Head, Record
from gossipreg.protocol.registry.registry import announcement
from gossipreg.protocol.spreading.fingerprint import BUCKETS, bucket_of
from gossipreg.protocol.spreading.reconcile import Compare, End, Listing, Want
from gossipreg.protocol.talks import Purpose
from gossipreg.protocol.wire.messages import Message, pack_sender, unpack
from tests.protocol.making import BORN, address, engine, history, instance, introduce, packet, rumor, said_to
from tests.protocol.test_engine import A, B, C, among, changes, opened

D = rumor("d", port=7003)


def replies(outputs: list[Output]) -> list[Message]:
    return [message for output in outputs if isinstance(output, SendFrame) for message in unpack(output.frame)[1]]


def hear(node: Engine, sender: Rumor, *said: Message, now: float = 6.0) -> list[Output]:
    return node.receive(packet(sender, *said), sender.address, now)


def hear_in_talk(node: Engine, sender: Rumor, *said: Message, stream: int = -1, now: float = 6.0) -> list[Output]:
    return node.stream_frame(stream, packet(sender, *said), sender.address, now)


def believed(node: Engine, name: str) -> Rumor:
    held = node.members.get(name)
    assert held is not None
    return held


# Pings


def test_a_stranger_gets_a_bare_ack_and_a_member_gets_what_is_new_with_it() -> None:
    node = among(B)
    node.register(instance("x"), 6.0)
    [bare] = said_to(hear(node, D, Ping(4, 0, 1)), D.address)
    assert bare == Ack(4, 0, node.fingerprint)
    ack, news = said_to(hear(node, B, Ping(5, 0, 1)), B.address)
    assert ack == Ack(5, 0, node.fingerprint)
    assert isinstance(news, Record)


def test_an_ack_from_a_stranger_means_nothing() -> None:
    node = among(B)
    [ping] = (m for m in said_to(node.wake(6.0), B.address) if isinstance(m, Ping))
    hear(node, D, Ack(ping.seq, B.life, 0), now=6.1)
    assert node.detector.prober._current is not None
    assert not node.detector.prober._current.acked


def test_a_member_may_ask_us_to_ping_another_and_a_stranger_may_not() -> None:
    node = among(B, C)
    assert hear(node, D, PingReq(4, C.life, 500)) == []
    [ping] = said_to(hear(node, B, PingReq(4, C.life, 500)), C.address)
    assert isinstance(ping, Ping)
    [ack] = said_to(hear(node, C, Ack(ping.seq, 0, 9)), B.address)
    assert ack == Ack(4, C.life, 9)


def test_a_ping_on_a_stream_is_answered_there() -> None:
    node = among(B)
    assert replies(hear_in_talk(node, B, Ping(4, 0, 1), End())) == [Ack(4, 0, node.fingerprint), End()]


def test_questions_are_answered_in_talks_only() -> None:
    node = among(B)
    assert hear(node, B, Compare((0,) * BUCKETS), Fetch("b", BORN, 1, "x"), End()) == []


# Accusations


def probed(node: Engine, target: Rumor, now: float) -> int:
    """Let ``node`` probe its only peer in vain until the end of the period; returns the probe's number."""
    [ping] = (m for m in said_to(node.wake(now), target.address) if isinstance(m, Ping) and m.seq)
    node.wake(now + 0.5)
    return ping.seq


def test_who_does_not_answer_is_suspected_and_everybody_is_told() -> None:
    node = among(B)
    probed(node, B, 6.0)
    outputs = node.wake(7.0)
    assert changes(outputs) == [("b", "suspect")]
    accusation = believed(node, "b")
    assert accusation.accuser == A.life
    assert accusation in said_to(outputs, B.address), "the accused hears it first"


def test_who_left_while_it_was_probed_is_not_accused() -> None:
    node = among(B)
    probed(node, B, 6.0)
    hear(node, B, attrs.evolve(B, status=Status.LEFT), now=6.6)
    assert changes(node.wake(7.0)) == []


def test_who_restarted_while_it_was_probed_is_not_accused() -> None:
    node = among(B)
    probed(node, B, 6.0)
    hear(node, C, attrs.evolve(B, generation=BORN + 1), now=6.6)
    assert changes(node.wake(7.0)) == []


def test_the_next_ping_to_a_suspect_brings_it_its_accusation() -> None:
    node = among(B)
    suspect = B.graver(Status.SUSPECT, C.life)
    hear(node, C, suspect)
    accused, ping, *_ = said_to(node.wake(7.0), B.address)
    assert accused == suspect
    assert isinstance(ping, Ping)


def test_a_refused_stream_brings_the_verdict_soonest() -> None:
    node = among(B)
    seq = probed(node, B, 6.0)
    [stream] = (number for number, talk in node.talks._talks.items() if talk.about == seq)
    node.stream_ended(stream, 6.6, refused=True)
    node.wake(7.0)
    assert changes(node.wake(10.9)) == []
    assert ("b", "failed") in changes(node.wake(11.0))


def test_a_stream_that_merely_ended_refuses_nobody() -> None:
    node = among(B)
    seq = probed(node, B, 6.0)
    [stream] = (number for number, talk in node.talks._talks.items() if talk.about == seq)
    node.stream_ended(stream, 6.6)
    node.wake(7.0)
    assert changes(node.wake(12.0)) == []


def test_another_voice_against_a_suspect_is_told_on_once() -> None:
    node = among(B, C, D)
    hear(node, C, B.graver(Status.SUSPECT, C.life))
    hear(node, D, B.graver(Status.SUSPECT, D.life))
    told = [m for m in said_to(node.wake(6.01), D.address) if isinstance(m, Rumor)]
    assert D.life in [rumor.accuser for rumor in told]
    before = len(node.knowledge.mill)
    hear(node, D, B.graver(Status.SUSPECT, D.life))
    assert len(node.knowledge.mill) == before


def test_one_who_is_there_is_told_what_is_believed_of_it_but_not_all_the_time() -> None:
    node = among(B, C)
    failed = B.graver(Status.FAILED)
    hear(node, C, failed)
    assert failed in said_to(hear(node, B, Nack(1), now=7.0), B.address)
    assert said_to(hear(node, B, Nack(1), now=7.4), B.address) == []
    assert failed in said_to(hear(node, B, Nack(1), now=7.5), B.address)


def test_one_who_is_told_that_it_failed_refutes() -> None:
    node = among(B)
    outputs = hear(node, B, A.graver(Status.FAILED, B.life))
    assert changes(outputs) == [("a", "alive")]
    assert believed(node, "a").incarnation == 1
    assert node.counters["refutations"] == 1


def test_a_verdict_heard_by_gossip_is_believed_and_one_heard_in_a_talk_is_a_suspicion() -> None:
    node = among(B, C)
    hear(node, B, C.graver(Status.FAILED))
    assert believed(node, "c").status is Status.FAILED
    other = among(B, C)
    hear_in_talk(other, B, C.graver(Status.FAILED))
    assert (believed(other, "c").status, believed(other, "c").accuser) == (Status.SUSPECT, B.life)
    assert changes(hear_in_talk(other, B, C.graver(Status.FAILED))) == []


def test_a_verdict_over_what_is_not_news_is_nothing_to_suspect() -> None:
    node = among(B, C)
    hear(node, B, attrs.evolve(C, status=Status.SUSPECT, address=address(7999)))
    before = believed(node, "c")
    hear_in_talk(node, B, C.graver(Status.FAILED))
    assert believed(node, "c") == before


def test_one_whom_only_the_failed_are_known_of_is_believed_failed() -> None:
    node = among(B)
    hear_in_talk(node, B, C.graver(Status.FAILED))
    assert believed(node, "c").status is Status.FAILED


def test_what_is_too_old_is_not_believed() -> None:
    node = among(B)
    hear_in_talk(node, B, attrs.evolve(C, status=Status.LEFT, age=10**6))
    assert node.members.get("c") is None


def test_one_who_is_back_is_compared_with_as_soon_as_possible() -> None:
    node = among(B, C)
    hear(node, C, B.graver(Status.FAILED))
    hear(node, B, attrs.evolve(B, incarnation=1), Ping(1, 0, 12345), now=7.0)
    assert node.talks.is_open(Purpose.RECONCILE)


def test_a_stopped_node_accuses_nobody_for_what_it_could_not_hear() -> None:
    node = among(B)
    node.wake(6.0)
    assert changes(node.wake(60.0, late=53.5)) == []
    assert node.counters["lags"] == 1
    assert changes(node.wake(60.0, late=0.1)) == []
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
    assert replies(hear_in_talk(node, C, x, End())) == [Head("b", BORN, 3, removal.head, ("x",)), End()]
    assert hear(node, C, x) == []


def test_one_who_brings_records_of_an_owner_that_left_is_told_so_by_the_rumor_and_not_by_us() -> None:
    node = among(B)
    hear(node, B, attrs.evolve(B, status=Status.LEFT))
    assert replies(hear_in_talk(node, C, history([("x", 1)]).said[0], End())) == [End()]


def test_a_newcomer_does_not_speak_for_its_name_before_it_is_announced() -> None:
    """Its past life may be a namesake's present one: a word about its table would bury that one's records."""
    node = engine("a", has_seeds=True, generation=BORN + 1)
    node.register(instance("mine"), 0.0)
    theirs = history([("x", 1)], owner="a").said[0]
    assert replies(hear_in_talk(node, B, theirs, Compare((0,) * BUCKETS), End())) == [End()]


def test_what_a_namesake_said_in_our_generation_makes_us_take_a_later_one() -> None:
    said: list[Record | Head] = [history([("x", 1), ("y", 1)], owner="a").said[1], Head("a", BORN, 7, 7)]
    for foreign in said:
        node = among(B)
        node.register(instance("mine"), 6.0)
        hear_in_talk(node, B, foreign)
        assert node.identity.generation == BORN + 1
        assert believed(node, "a").generation == BORN + 1
        assert node.own("mine") is not None
        node.leave(7.0)
        hear_in_talk(node, B, attrs.evolve(foreign, generation=BORN + 1))
        assert node.identity.generation == BORN + 1


# Large records


def large() -> tuple[Record, Announcement]:
    owner = engine("b", address=B.address)
    owner.register(instance("x", meta={"k": "v" * 2000}), 0.0)
    table = owner.knowledge.registry.table("b")
    assert table is not None
    [record] = table
    return record, announcement(record)


def test_a_large_record_is_fetched_from_who_announced_it_and_announced_on() -> None:
    record, said = large()
    node = among(B, C)
    [opening] = opened(hear(node, B, said))
    assert opening.to == B.address
    assert unpack(opening.frame)[1] == [Fetch("b", BORN, 1, "x"), End()]
    outputs = node.stream_frame(opening.stream, packet(B, record, End()), B.address, 6.1)
    assert CloseStream(opening.stream) in outputs
    assert said in said_to(node.wake(6.2), C.address)
    assert [one.id for one in node.view.service("orders").healthy] == ["x"]
    assert opened(hear(node, C, said)) == []


@pytest.mark.parametrize("failure", ["it ended", "it had nothing", "it talked junk", "it had junk"])
def test_when_one_fails_to_hand_it_over_the_next_is_asked(failure: str) -> None:
    _, said = large()
    node = among(B, C)
    [first] = opened(hear(node, B, said))
    assert opened(hear(node, C, said)) == []

    def fails(stream: int, source: Address) -> list[Output]:
        if failure == "it ended":
            return node.stream_ended(stream, 6.1)
        junk = Record("b", BORN, 1, "x", 0, b"junk")
        frames = {
            "it had nothing": packet(B, End()),
            "it talked junk": b"junk",
            "it had junk": packet(B, junk, End()),
        }
        return node.stream_frame(stream, frames[failure], source, 6.1)

    [second] = opened(fails(first.stream, B.address))
    assert second.to == C.address
    assert opened(fails(second.stream, C.address)) == []
    assert opened(hear(node, B, said)) != [], "once nobody is left it may be announced again"


def test_a_fetch_for_which_there_is_no_stream_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    _, said = large()
    node = among(B, C)
    monkeypatch.setattr(limits, "STREAMS_OUT_MAX", 0)
    assert opened(hear(node, B, said)) == []
    assert node.counters["streams_over_limit"] == 1
    monkeypatch.setattr(limits, "STREAMS_OUT_MAX", 1)
    assert len(opened(hear(node, B, said))) == 1


def test_what_is_too_large_or_said_by_a_stranger_or_known_is_not_fetched() -> None:
    record, said = large()
    node = among(B)
    assert hear(node, B, attrs.evolve(said, size=limits.RECORD_BYTES_MAX + 1)) == []
    assert hear(node, D, said) == []
    hear_in_talk(node, B, record)
    assert hear(node, B, said) == []


# Comparisons


def test_fingerprints_that_differ_for_longer_than_gossip_needs_are_compared() -> None:
    node = among(B, C)
    assert opened(hear(node, B, Ping(1, 0, 1), now=10.0)) == []
    assert opened(hear(node, C, Ack(1, 0, 1), now=10.9)) == []
    [opening] = opened(hear(node, C, Ack(1, 0, 1), now=11.0))
    assert opening.to == C.address
    assert unpack(opening.frame)[1] == [Compare(node.knowledge.fingerprint.sums), End()]
    assert opened(hear(node, B, Ping(1, 0, 1), now=20.0)) == [], "one comparison at a time"
    node.stream_ended(opening.stream, 21.0)
    assert len(opened(hear(node, B, Ping(1, 0, 1), now=22.0))) == 1


def test_fingerprints_that_are_equal_again_are_not_compared() -> None:
    node = among(B)
    hear(node, B, Ping(1, 0, 1), now=10.0)
    hear(node, B, Ping(1, 0, node.fingerprint), now=10.5)
    assert opened(hear(node, B, Ping(1, 0, 1), now=11.0)) == []


def test_an_ack_that_was_passed_on_says_nothing_of_its_bearers_state() -> None:
    node = among(B)
    hear(node, B, Ping(1, 0, 1), now=10.0)
    assert opened(hear(node, B, Ack(1, C.life, 1), now=12.0)) == []


def test_a_stranger_is_compared_with_where_it_spoke_from() -> None:
    node = among(B)
    hear(node, B, Ping(1, 0, 1), now=10.0)
    [opening] = opened(hear(node, D, Ping(1, 0, 1), now=12.0))
    assert opening.to == D.address


def test_a_probe_over_a_stream_that_ends_is_no_comparison() -> None:
    node = among(B)
    probed(node, B, 10.0)
    [stream] = node.talks._talks
    hear(node, B, Ping(1, 0, 1), now=10.5)
    node.stream_frame(stream, packet(B, Ack(1, 0, 1), End()), B.address, 10.6)
    assert opened(hear(node, B, Ping(1, 0, 1), now=11.6)) != []


def test_a_newcomer_announces_itself_when_it_has_been_told_everything_and_not_before() -> None:
    node = engine("a", has_seeds=True)
    introduce(node, B)
    bucket = bucket_of(B)
    [opening] = opened(node.seeds([C.address], 1.0))

    def told(*said: Message) -> list[Message]:
        return replies(node.stream_frame(opening.stream, packet(C, *said), C.address, 1.1))

    [want, _] = told(C, Listing(bucket, (B.digest, 7)), End())
    assert want == Want(bucket, (7,))
    assert not node.identity.settled
    assert told(End()) == [node.identity.rumor(), End()]
    assert node.identity.settled


def test_a_newcomer_may_also_be_told_everything_because_its_state_differs() -> None:
    node = engine("a", has_seeds=True)
    introduce(node, B)
    hear(node, B, Ping(1, 0, 1), now=1.0)
    [opening] = opened(hear(node, B, Ping(1, 0, 1), now=2.0))
    assert node.talks.is_open(Purpose.RECONCILE)
    node.stream_frame(opening.stream, packet(B, End()), B.address, 2.1)
    assert node.identity.settled


# Frames


def test_a_frame_of_kinds_that_we_do_not_know_does_not_end_the_talk() -> None:
    node = among(B)
    outputs = node.stream_frame(-1, pack_sender(B.life) + b"\x92\x63\x01", B.address, 6.0)
    assert not any(isinstance(output, CloseStream) for output in outputs)
    assert replies(hear_in_talk(node, B, End())) == [End()]


@pytest.mark.parametrize("frame", [b"", b"short", pack_sender(9) + b"\xc1", packet(A, End())])
def test_junk_on_a_stream_ends_it(frame: bytes) -> None:
    assert among(B).stream_frame(-1, frame, B.address, 6.0) == [CloseStream(-1)]


def test_a_frame_on_a_stream_that_we_closed_is_nothing_to_us() -> None:
    assert hear_in_talk(among(B), B, Ping(1, 0, 0), stream=77) == []


def test_a_suspect_that_talks_is_told_so_although_its_frame_is_junk_to_us() -> None:
    node = among(B, C)
    hear(node, C, B.graver(Status.SUSPECT, C.life))
    outputs = hear_in_talk(node, B)
    assert [output.to for output in outputs if isinstance(output, Transmit)] == [B.address]


# Our own name

OTHER = attrs.evolve(A, generation=BORN + 1, address=address(7999))


def contested(*, has_seeds: bool = False) -> tuple[Engine, list[Output]]:
    """A node that has heard of another life of its name, and what it does about it."""
    node = engine("a", has_seeds=has_seeds)
    introduce(node, B)
    hear(node, B, OTHER, now=6.0)
    assert node.deadline() <= 6.0
    return node, node.wake(6.0)


def test_another_life_of_our_name_is_asked_by_both_ways() -> None:
    node, outputs = contested()
    asked = [m for m in said_to(outputs, OTHER.address) if isinstance(m, Contest)]
    assert asked == [node.identity.contest()] * 2
    again = node.wake(6.5)
    assert node.identity.contest() in said_to(again, OTHER.address)
    assert all(opening.to != OTHER.address for opening in opened(again)), "it is still being asked"


def test_if_nobody_answers_it_was_our_own_past() -> None:
    node, _ = contested()
    for now in (6.5, 7.0, 7.5):
        node.wake(now)
    assert node.identity.generation == BORN + 2
    assert believed(node, "a").generation == BORN + 2
    assert node.identity.contested is None


def test_if_its_kernel_refuses_too_and_at_once() -> None:
    node, outputs = contested(has_seeds=True)
    [stream] = (opening.stream for opening in opened(outputs) if opening.to == OTHER.address)
    node.stream_ended(stream, 6.01, refused=True)
    assert node.identity.settled
    assert node.identity.generation == BORN + 2


def test_a_refusal_that_comes_after_the_contest_is_over_changes_nothing() -> None:
    node, outputs = contested()
    [stream] = (opening.stream for opening in opened(outputs) if opening.to == OTHER.address)
    for now in (6.5, 7.0, 7.5):
        node.wake(now)
    node.stream_ended(stream, 7.6, refused=True)
    assert node.identity.generation == BORN + 2


def test_the_older_answers_and_keeps_the_name() -> None:
    node, _ = contested()
    younger = Contest("a", OTHER.life, BORN + 1, settled=True)
    outputs = hear(node, OTHER, younger, now=6.1)
    assert NameContested(OTHER.address, yielding=False) in outputs
    assert any(isinstance(m, Contest) for m in said_to(outputs, OTHER.address))
    assert node.identity.generation == BORN + 2
    again = hear(node, OTHER, younger, now=6.2)
    assert said_to(again, OTHER.address) == [], "it has just been told"


def test_the_younger_yields() -> None:
    node = among(B)
    outputs = hear(node, OTHER, Contest("a", OTHER.life, BORN - 1, settled=True))
    assert NameContested(OTHER.address, yielding=True) in outputs


def test_who_is_asked_on_a_stream_answers_there_and_who_asked_says_no_more() -> None:
    node = among(B)
    younger = Contest("a", OTHER.life, BORN + 1, settled=True)
    assert replies(hear_in_talk(node, OTHER, younger, End())) == [node.identity.contest(), End()]
    asking, outputs = contested()
    [stream] = (opening.stream for opening in opened(outputs) if opening.to == OTHER.address)
    answered = hear_in_talk(asking, OTHER, younger, End(), stream=stream)
    assert CloseStream(stream) in answered
    assert replies(answered) == []


def test_contests_for_other_names_or_after_the_end_are_none_of_ours() -> None:
    node = among(B)
    assert hear(node, OTHER, Contest("z", OTHER.life, BORN - 1, settled=True)) == []
    assert hear(node, OTHER, Contest("a", A.life, BORN - 1, settled=True)) == []
    node.leave(6.0)
    assert hear(node, OTHER, Contest("a", OTHER.life, BORN - 1, settled=True)) == []


def test_a_later_life_at_our_own_address_was_ours_and_we_outlive_it() -> None:
    node = among(B)
    node.register(instance("x"), 6.0)
    hear(node, B, attrs.evolve(A, generation=BORN + 10))
    assert node.identity.generation == BORN + 11
    told = said_to(node.wake(6.01), B.address)
    assert {m.generation for m in told if isinstance(m, Record)} == {BORN + 11}


def test_one_who_joins_and_is_told_of_a_namesake_stays_quiet() -> None:
    node = engine("a", has_seeds=True, generation=BORN + 1)
    [opening] = opened(node.seeds([B.address], 0.0))
    theirs = attrs.evolve(A, address=address(7999))
    outputs = node.stream_frame(opening.stream, packet(B, B, theirs, End()), B.address, 0.1)
    assert ("a", "alive") not in changes(outputs)
    assert not node.identity.settled
    assert not [output for output in outputs if isinstance(output, SendFrame)]


def test_streams_of_both_sides_count_for_the_same_talk() -> None:
    node = engine("a", has_seeds=True)
    [opening] = opened(node.seeds([B.address], 0.0))
    assert isinstance(opening, OpenStream)
    unsettled = replies(node.stream_frame(-1, packet(B, Compare((0,) * BUCKETS), End()), B.address, 0.1))
    assert unsettled == [End()]
    introduced = replies(node.stream_frame(-1, packet(B, B, End()), B.address, 0.2))
    assert introduced[0] == node.identity.rumor()
    assert node.identity.settled
