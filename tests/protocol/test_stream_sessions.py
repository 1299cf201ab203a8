"""How two nodes reconcile over a stream, and how large records are fetched."""

from __future__ import annotations

from random import Random

import attrs
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gossipreg import limits
from gossipreg.model import Status
from gossipreg.protocol.anti_entropy.reconcile import End
from gossipreg.protocol.engine import Engine
from gossipreg.protocol.engine_settings import EngineSettings
from gossipreg.protocol.membership.member_update import Destination, MemberUpdate
from gossipreg.protocol.membership.probe import Ping
from gossipreg.protocol.outputs import CloseStream, OpenStream, Output, SendFrame
from gossipreg.protocol.registry.records import Fetch, Record, TableDigest
from gossipreg.protocol.stream_sessions import Purpose, StreamSessions, frames
from gossipreg.protocol.wire.messages import SENDER_BYTES, pack
from gossipreg.protocol.wire.reader import unpack
from tests.protocol.making import BORN, address, engine, histories, history, introduce, law, packet, update

B = update("b")


def opened(outputs: list[Output]) -> list[OpenStream]:
    return [output for output in outputs if isinstance(output, OpenStream)]


def session(opener: Engine, accepter: Engine, now: float) -> int:
    """Let ``opener`` compare its state with ``accepter``'s, to the end; returns how many bytes were said."""
    theirs = accepter.identity.own_update()
    opener.streams._members.unequal_since = now - 10
    opener.streams._members.compare_after = now
    recheck = packet(theirs, Ping(1, 0, opener.fingerprint ^ 1))
    [opening] = opened(opener.receive(recheck, theirs.address, now))
    ours = opener.identity.address
    to_accepter, to_opener = [opening.frame], list[bytes]()
    said = 0
    while to_accepter or to_opener:
        for frame in to_accepter:
            said += len(frame)
            answers = accepter.stream_frame(-1, frame, ours, now)
            to_opener += [output.frame for output in answers if isinstance(output, SendFrame)]
        to_accepter = []
        for frame in to_opener:
            said += len(frame)
            answers = opener.stream_frame(opening.stream, frame, theirs.address, now)
            to_accepter += [output.frame for output in answers if isinstance(output, SendFrame)]
            if CloseStream(opening.stream) in answers:
                accepter.stream_ended(-1, now)
                to_accepter = []
        to_opener = []
    assert not opener.sessions.is_open(Purpose.RECONCILE), "the opener closes when nothing is left to say"
    return said


# Laws

owners = st.sampled_from(["c", "d"])
claims = st.builds(
    lambda name, generation, incarnation, status: update(
        name, status, generation=BORN + generation, incarnation=incarnation, port=7002 if name == "c" else 7003
    ),
    owners,
    st.integers(0, 1),
    st.integers(0, 1),
    st.sampled_from(Status),
)
pasts = st.tuples(owners, st.integers(0, 1), histories(6)).map(
    lambda drawn: [attrs.evolve(said, owner=drawn[0], generation=BORN + drawn[1]) for said in drawn[2].said]
)


def remade(records: list[Record]) -> list[Record]:
    """The records of a run with heads that fit their owner and generation."""
    if not records:
        return []
    first = records[0]
    steps = [(record.id, None if record.payload is None else record.instance.weight) for record in records]
    return list(history(steps, owner=first.owner, generation=first.generation).said)


@st.composite
def minds(draw: st.DrawFn) -> tuple[list[MemberUpdate | Record], list[MemberUpdate | Record]]:
    """What two nodes received: parts of the same histories of a few others, each in an order of its own."""
    run_ids: dict[tuple[str, int], list[Record]] = {}
    for records in draw(st.lists(pasts, max_size=3)):
        if records:
            run_ids.setdefault((records[0].owner, records[0].generation), remade(records))
    said: list[MemberUpdate | Record] = [record for run_id in run_ids.values() for record in run_id]
    said += draw(st.lists(claims, max_size=4))
    some = st.lists(st.sampled_from(said), max_size=2 * len(said)) if said else st.just([])
    return draw(some), draw(some)


@law
@given(minds())
def test_after_a_session_or_two_two_nodes_are_of_one_mind(
    heard: tuple[list[MemberUpdate | Record], list[MemberUpdate | Record]],
) -> None:
    one, other = engine("a"), engine("b", address=address(7001), rng=Random(2))
    for node, messages in zip((one, other), heard, strict=True):
        for message in messages:
            node.receive(packet(9, message), address(9), 0.0)
    session(one, other, 1.0)
    session(one, other, 3.0)  # records of a member that the first session introduced are compared only now
    disputed = [
        held.name
        for held in one.members
        if (theirs := other.members.get(held.name)) is not None and theirs.status is not held.status
    ]
    for name in disputed:  # a failure on one side is a suspicion on the other, where the member may be healthy
        statuses = {one.members.get(name).status, other.members.get(name).status}  # type: ignore[union-attr]
        assert statuses == {Status.SUSPECT, Status.FAILED}
    assert (one.fingerprint == other.fingerprint) == (not disputed)


def test_equal_states_cost_a_comparison_and_no_more() -> None:
    one, other = engine("a"), engine("b", address=address(7001), rng=Random(2))
    session(one, other, 1.0)
    assert one.fingerprint == other.fingerprint
    assert session(one, other, 5.0) < 2100


@pytest.mark.parametrize("difference", [1, 10])
def test_a_session_costs_what_differs_and_not_what_there_is(difference: int) -> None:
    records = history([(f"x{number}", 1) for number in range(2000)]).said
    one, other = engine("a"), engine("b", address=address(7001), rng=Random(2), generation=records[0].generation)
    introduce(one, B)
    for node, count in ((one, 2000), (other, 2000)):
        node.receive(packet(9, update("c", port=7002)), address(9), 0.0)
        for record in records[:count]:
            said = attrs.evolve(record, owner="c")
            node.receive(packet(9, said), address(9), 0.0)
    session(one, other, 1.0)
    assert one.fingerprint == other.fingerprint
    for number in range(difference):
        late = attrs.evolve(records[number], owner="c", version=5000 + number)
        one.receive(packet(9, late), address(9), 2.0)
    cost = session(one, other, 3.0)
    assert one.fingerprint == other.fingerprint
    assert cost < 2500 + 400 * (difference + 2)


def test_a_joiner_learns_everything_in_one_session_however_many_there_are() -> None:
    one = engine("a")
    many = [update(f"m{number}", port=10_000 + number) for number in range(600)]
    introduce(one, *many)
    for member in many:
        [record] = history([("x", 1)], owner=member.name).said
        one.receive(packet(member, record), member.address, 0.0)
    joiner = engine("z", has_seeds=True, address=address(7009), rng=Random(2))
    [opening] = opened(joiner.seeds([one.identity.address], 1.0))
    for answer in one.stream_frame(-1, opening.frame, joiner.identity.address, 1.0):
        assert isinstance(answer, SendFrame)
        assert len(answer.frame) <= limits.FRAME_BYTES_MAX
        joiner.stream_frame(opening.stream, answer.frame, one.identity.address, 1.0)
    assert joiner.identity.announced
    joiner.handle_timeout(1.0)
    assert len(joiner.view.service("orders").healthy) == 600


# Streams


def at(port: int) -> Destination:
    return Destination(port, address(port))


def test_streams_are_numbered_and_only_so_many_are_open() -> None:
    sessions = StreamSessions()
    numbers = [sessions.open(Purpose.PROBE, at(port)) for port in range(limits.STREAMS_OUT_MAX)]
    assert numbers == list(range(1, limits.STREAMS_OUT_MAX + 1))
    assert sessions.open(Purpose.JOIN, at(1)) is None
    sessions.end(1)
    assert sessions.open(Purpose.JOIN, at(1)) == limits.STREAMS_OUT_MAX + 1


def test_streams_that_peers_open_do_not_count_against_ours() -> None:
    sessions = StreamSessions()
    for number in range(1, 200):
        accepted = sessions.get(-number, address(9))
        assert accepted is not None
        assert accepted.purpose is None
    assert sessions.open(Purpose.JOIN, at(1)) == 1
    assert sessions.get(77, address(9)) is None


def test_a_purpose_is_open_to_one_peer_or_to_any() -> None:
    sessions = StreamSessions()
    sessions.open(Purpose.JOIN, at(1))
    assert sessions.is_open(Purpose.JOIN)
    assert sessions.is_open(Purpose.JOIN, address(1))
    assert not sessions.is_open(Purpose.JOIN, address(2))
    assert not sessions.is_open(Purpose.RECONCILE)


# Large records on their way

KEY = ("b", "x")


def test_each_of_those_that_have_a_record_is_asked_once() -> None:
    sessions = StreamSessions()
    assert sessions.want(KEY, 1, 1, at(1))
    assert not sessions.want(KEY, 1, 1, at(2))
    assert not sessions.want(KEY, 1, 1, at(1))
    asked = []
    while (source := sessions.next_source(KEY)) is not None:
        asked.append(source[1])
    assert asked == [at(1), at(2)]
    assert sessions.want(KEY, 1, 1, at(1)), "once no announcer is left it may be announced again"


def test_a_newer_version_is_wanted_instead() -> None:
    sessions = StreamSessions()
    sessions.want(KEY, 1, 1, at(1))
    assert sessions.want(KEY, 1, 2, at(2))
    source = sessions.next_source(KEY)
    assert source is not None
    assert (source[0].version, source[1]) == (2, at(2))


def test_only_so_many_sources_and_so_many_records_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "BROADCAST_QUEUE_MAX", 1)
    sessions = StreamSessions()
    for port in range(10):
        sessions.want(KEY, 1, 1, at(port))
    assert not sessions.want(("b", "y"), 1, 1, at(1))
    asked = 0
    while sessions.next_source(KEY) is not None:
        asked += 1
    assert asked == 4


def test_what_arrived_is_wanted_no_more() -> None:
    sessions = StreamSessions()
    sessions.want(KEY, 1, 1, at(1))
    sessions.got(KEY)
    sessions.got(KEY)
    assert sessions.next_source(KEY) is None


def test_a_fetch_is_answered_with_the_record_or_with_what_became_of_it() -> None:
    x, y, removal, _ = history([("x", 1), ("y", 1), ("x", None), ("z", 1)]).said
    node = engine("a")
    introduce(node, B)

    def fetched(id_: str, generation: int = BORN, owner: str = "b") -> list[object]:
        frame = packet(B, Fetch(owner, generation, 1, id_), End())
        answers = node.stream_frame(-1, frame, B.address, 1.0)
        node.stream_ended(-1, 1.0)
        return [m for output in answers if isinstance(output, SendFrame) for m in unpack(output.frame)[1]]

    assert fetched("x") == [End()]
    node.receive(packet(B, x), B.address, 0.0)
    assert fetched("x") == [x, End()]
    node.receive(packet(B, y, removal), B.address, 0.0)
    assert fetched("x") == [TableDigest("b", BORN, 3, removal.table_xor, ("x",)), End()]
    assert fetched("x", generation=BORN + 1) == [End()]
    assert fetched("x", owner="missing") == [End()]


# Frames


@law
@given(st.lists(st.integers(1, limits.RECORD_BYTES_MAX), max_size=12))
@example([limits.RECORD_BYTES_MAX] * 4)
def test_messages_are_cut_into_frames_within_the_limit(sizes: list[int]) -> None:
    messages = [pack(Record("b", 1, number + 1, "x", 0, bytes(size))) for number, size in enumerate(sizes)]
    sender = bytes(SENDER_BYTES)
    cut = frames(sender, messages)
    assert all(len(frame) <= limits.FRAME_BYTES_MAX and frame.startswith(sender) for frame in cut)
    assert b"".join(frame[SENDER_BYTES:] for frame in cut) == b"".join(messages)


def test_settings_bound_how_long_a_stream_may_be_silent() -> None:
    node = engine("a", has_seeds=True, settings=EngineSettings(stream_patience=2.5))
    [opening] = opened(node.seeds([address(1)], 0.0))
    assert opening.patience == 2.5
