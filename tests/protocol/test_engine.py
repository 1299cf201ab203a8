"""The verbs of one node: its outputs to the user, on timeouts, and to the messages of members."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossipreg import limits
from gossipreg.errors import InvalidInstance, NodeClosed, RecordTooLarge, UnknownInstance
from gossipreg.model import Status
from gossipreg.protocol.anti_entropy.fingerprint import BUCKETS
from gossipreg.protocol.anti_entropy.reconcile import Compare, End, Listing, Want
from gossipreg.protocol.engine import Engine
from gossipreg.protocol.engine_settings import EngineSettings
from gossipreg.protocol.membership.identity import NameConflictQuery
from gossipreg.protocol.membership.member_update import MemberUpdate
from gossipreg.protocol.membership.probe import Ack, Nack, Ping, PingReq
from gossipreg.protocol.outputs import (
    InstancesChanged,
    MemberChanged,
    OpenStream,
    Output,
    SeekSeeds,
    Transmit,
)
from gossipreg.protocol.registry.records import Announcement, Fetch, Record, TableDigest
from gossipreg.protocol.wire.messages import Message
from gossipreg.protocol.wire.reader import unpack
from tests.protocol.making import (
    BORN,
    address,
    engine,
    history,
    instance,
    introduce,
    law,
    packet,
    said_to,
    spoken,
    update,
)

A = update("a", port=7000)
B = update("b", port=7001)
C = update("c", port=7002)


def among(*members: MemberUpdate, **fields: Any) -> Engine:
    """A settled engine ``a`` that knows ``members`` and has nothing left to spread."""
    node = engine("a", **fields)
    introduce(node, *members)
    node.handle_timeout(0.0)
    while node.state.broadcasts.deadline < 5.0:
        node.disseminator.handle_timeout(node.state.broadcasts.deadline)
    for _ in range(10):
        node.state.broadcasts.piggyback(1000, 0.0)
    node.outbox.take()
    return node


def transmitted(outputs: list[Output]) -> list[Message]:
    return [message for output in outputs if isinstance(output, Transmit) for message in unpack(output.data)[1]]


def changes(outputs: list[Output]) -> list[tuple[str, str]]:
    return [(o.after.name, str(o.after.status)) for o in outputs if isinstance(o, MemberChanged) and o.after]


def opened(outputs: list[Output]) -> list[OpenStream]:
    return [output for output in outputs if isinstance(output, OpenStream)]


# Whatever comes in

few_sender_keys = st.sampled_from([A.run_id, B.run_id, C.run_id, 7])
few_names = st.sampled_from("abc")
few_generations = st.integers(BORN - 1, BORN + 1)
few_numbers = st.integers(0, 3)
few_ids = st.sampled_from("xy")
few_rumors = st.builds(
    lambda name, generation, incarnation, status, moved, accuser, age: update(
        name,
        status,
        generation=generation,
        incarnation=incarnation,
        port=7000 + "abc".index(name) + (50 if moved else 0),
        accuser=accuser,
        age=age,
    ),
    few_names,
    few_generations,
    few_numbers,
    st.sampled_from(Status),
    st.booleans(),
    few_sender_keys,
    st.sampled_from([0, 10**6]),
)
said_records = st.sampled_from(
    [
        attrs.evolve(record, owner=owner, generation=generation)
        for owner in "abc"
        for generation in (BORN, BORN + 1)
        for record in history([("x", 1), ("y", 1), ("x", None), ("y", 2)], owner=owner, generation=generation).said
    ]
)
few_messages: st.SearchStrategy[Message] = st.one_of(
    st.builds(Ping, few_numbers, few_sender_keys, few_numbers),
    st.builds(Ack, few_numbers, st.one_of(st.just(0), few_sender_keys), few_numbers),
    st.builds(Nack, few_numbers),
    st.builds(PingReq, few_numbers, few_sender_keys, st.sampled_from([0, 500, 2**32 - 1])),
    few_rumors,
    st.builds(NameConflictQuery, few_names, few_sender_keys, few_generations, st.booleans()),
    said_records,
    st.builds(Record, few_names, few_generations, few_numbers, few_ids, few_numbers, st.sampled_from([None, b"junk"])),
    st.builds(
        Announcement,
        few_names,
        few_generations,
        few_numbers,
        few_ids,
        few_numbers,
        few_numbers,
        st.sampled_from([1000, 2**20]),
    ),
    st.builds(
        TableDigest, few_names, few_generations, few_numbers, few_numbers, st.lists(few_ids, max_size=2).map(tuple)
    ),
    st.builds(Fetch, few_names, few_generations, few_numbers, few_ids),
    st.builds(Compare, st.sampled_from([(0,) * BUCKETS, (1,) * BUCKETS])),
    st.builds(Listing, st.integers(0, 255), st.sampled_from([(), (1, 2)])),
    st.builds(Want, st.integers(0, 255), st.sampled_from([(), (1, 2)])),
    st.just(End()),
)
packets = st.builds(lambda run_id, said: packet(run_id, *said), few_sender_keys, st.lists(few_messages, max_size=4))
steps = st.one_of(
    st.tuples(st.just("packet"), packets),
    st.tuples(st.just("frame"), st.tuples(st.integers(-2, 3), packets)),
    st.tuples(st.just("end"), st.tuples(st.integers(-2, 3), st.booleans())),
    st.tuples(st.just("wait"), st.sampled_from([0.01, 1.0, 60.0])),
    st.tuples(st.just("register"), few_ids),
    st.tuples(st.just("deregister"), few_ids),
    st.tuples(st.just("drain"), st.none()),
    st.tuples(st.just("undrain"), st.none()),
    st.tuples(st.just("leave"), st.none()),
    st.tuples(st.just("seeds"), st.none()),
    st.tuples(st.just("join"), st.none()),
)


def do(node: Engine, step: tuple[str, object], now: float) -> list[Output]:
    """Let one thing happen."""
    match step:
        case ("packet", bytes(data)):
            return node.receive(data, B.address, now)
        case ("frame", (int(stream), bytes(data))):
            return node.stream_frame(stream, data, B.address, now)
        case ("end", (int(stream), bool(refused))):
            return node.stream_ended(stream, now, refused=refused)
        case ("register", str(id_)):
            return node.register(instance(id_), now)
        case ("deregister", str(id_)) if node.local_registry.own(id_):
            return node.deregister(id_, now)
        case ("drain", _):
            return node.drain(now)
        case ("undrain", _):
            return node.undrain(now)
        case ("leave", _):
            return node.leave(now)
        case ("seeds", _):
            return node.seeds([B.address, C.address], now)
        case ("join", _):
            return [] if node.identity.left else node.join([A.address, B.address], now)
        case _:
            return []


@law
@given(st.lists(steps, max_size=25), st.booleans())
def test_whatever_comes_in_nothing_is_raised_and_nothing_is_left_undone(
    happened: list[tuple[str, object]], has_seeds: bool
) -> None:
    node = engine("a", has_seeds=has_seeds)
    now = 0.0
    ranks: dict[str, MemberUpdate] = {}
    for step in happened:
        if isinstance(step[1], float):
            now += step[1]
        try:
            outputs = do(node, step, now)
        except NodeClosed:
            assert node.identity.left
            outputs = []
        if not node.wants_timeout(now):
            assert node.handle_timeout(now) == [], "a wake that is not wanted does nothing"
        outputs += node.handle_timeout(now)
        assert not node.outbox._outputs, "every verb returns all its outputs"
        assert node.deadline() > now, "what was due is done"
        for output in outputs:
            if isinstance(output, Transmit):
                assert len(output.data) <= node.outbox.packet_room
                unpack(output.data)
            elif isinstance(output, MemberChanged) and output.after:
                before = ranks.get(output.after.name)
                assert before is None or output.before is None or output.after.supersedes(before)
                ranks[output.after.name] = output.after


@law
@given(st.binary(max_size=200))
def test_any_bytes_are_taken(data: bytes) -> None:
    node = engine("a")
    node.receive(data, B.address, 0.0)
    node.stream_frame(-1, data, B.address, 0.0)


def test_junk_and_our_own_duplicate_are_counted_and_dropped() -> None:
    node = among(B)
    assert node.receive(b"\xc1" * 20, B.address, 1.0) == []
    assert node.receive(packet(A, Ping(1, 0, 0)), A.address, 1.0) == []
    assert node.counters["junk_packets"] == 1
    assert node.counters["own_packets"] == 1
    assert node.counters["packets_received"] == 3


def test_counters_may_be_shared() -> None:
    counters: Counter[str] = Counter()
    engine("a", counters=counters).receive(b"", B.address, 0.0)
    assert counters["junk_packets"] == 1


# What the user wants


def test_a_registration_is_seen_here_at_once_and_told_on() -> None:
    node = among(B)
    outputs = node.register(instance("x"), 6.0)
    assert outputs == [InstancesChanged(("orders",))]
    assert [one.id for one in node.view.service("orders").healthy] == ["x"]
    assert node.local_registry.own("x") == instance("x", owner="a")
    assert len(node.local_registry) == 1
    [record] = {said for said in said_to(node.handle_timeout(6.01), B.address) if isinstance(said, Record)}
    assert record.instance == instance("x", owner="a")


def test_a_deregistration_too() -> None:
    node = among(B)
    node.register(instance("x"), 6.0)
    assert node.deregister("x", 6.0) == [InstancesChanged(("orders",))]
    assert node.local_registry.own("x") is None
    [removal] = {said for said in said_to(node.handle_timeout(6.01), B.address) if isinstance(said, Record)}
    assert removal.payload is None


def test_of_several_deregistrations_all_are_made_once_or_none() -> None:
    node = among(B)
    for id_ in ("x", "y"):
        node.register(instance(id_), 6.0)
    with pytest.raises(UnknownInstance):
        node.deregister_many(["x", "nix"], 6.0)
    assert node.local_registry.own("x") is not None
    node.deregister_many(["x", "y", "x"], 6.0)
    assert (node.local_registry.own("x"), node.local_registry.own("y")) == (None, None)


def test_what_cannot_be_offered_is_refused_in_a_sentence_and_changes_nothing() -> None:
    node = engine("a")
    before = node.fingerprint
    with pytest.raises(InvalidInstance, match="port: -1"):
        node.register(instance("x", port=-1), 1.0)
    with pytest.raises(RecordTooLarge, match=r"'x': its record has \d+ bytes, 65536 are allowed"):
        node.register(instance("x", meta={"k": "v" * limits.RECORD_BYTES_MAX}), 1.0)
    with pytest.raises(UnknownInstance, match="owns no instance 'x'"):
        node.deregister("x", 1.0)
    assert node.fingerprint == before
    assert node.local_registry.own("x") is None
    assert len(node.local_registry) == 0


def test_an_instance_of_another_member_names_its_owner_when_it_is_to_be_withdrawn_here() -> None:
    node = engine("a")
    introduce(node, B)
    node.receive(packet(B, *history([("x", 1)], owner="b", generation=B.generation).said), B.address, 1.0)
    with pytest.raises(UnknownInstance, match=rf"^this node owns no instance 'x': ask its owner, b at {B.address}$"):
        node.deregister("x", 1.0)
    with pytest.raises(UnknownInstance, match=r"^this node owns no instance 'y', and no member does$"):
        node.deregister("y", 1.0)


def test_the_largest_record_is_accepted() -> None:
    node = engine("a")
    node.register(instance("x", meta={"k": "v" * (limits.RECORD_BYTES_MAX - 200)}), 1.0)
    assert len(node.local_registry) == 1


def test_draining_asks_for_no_new_work() -> None:
    node = among(B)
    node.register(instance("x"), 6.0)
    outputs = node.drain(6.0)
    assert InstancesChanged(("orders",)) in outputs
    assert [one.weight for one in node.view.service("orders").healthy] == [0]
    told = said_to(node.handle_timeout(6.01), B.address)
    assert attrs.evolve(A, incarnation=1, draining=True) in told


def test_a_drained_node_may_undrain() -> None:
    node = among(B)
    node.register(instance("x", weight=3), 6.0)
    node.drain(6.0)
    node.handle_timeout(6.01)
    assert InstancesChanged(("orders",)) in node.undrain(7.0)
    assert [one.weight for one in node.view.service("orders").healthy] == [3]
    assert attrs.evolve(A, incarnation=2) in said_to(node.handle_timeout(7.01), B.address)


def test_a_node_that_leaves_announces_it_and_does_nothing_more() -> None:
    node = among(B)
    node.register(instance("x"), 6.0)
    assert InstancesChanged(("orders",)) in node.leave(6.0)
    told = []
    while node.deadline() < float("inf"):
        told += said_to(node.handle_timeout(node.deadline()), B.address)
    assert attrs.evolve(A, status=Status.LEFT) in told
    for step in (("register", "y"), ("drain", None), ("undrain", None), ("leave", None)):
        with pytest.raises(NodeClosed, match="has left the cluster"):
            do(node, step, 9.0)
    with pytest.raises(NodeClosed):
        node.deregister("x", 9.0)


def test_a_node_that_has_left_still_answers_pings_but_starts_nothing() -> None:
    node = among(B)
    node.leave(6.0)
    assert Ack(4, 0, node.fingerprint) in transmitted(node.receive(packet(B, Ping(4, 0, 1)), B.address, 6.1))
    assert opened(node.receive(packet(B, Ping(5, 0, 1)), B.address, 9.0)) == []
    assert node.identity.reaction_to(attrs.evolve(A, status=Status.FAILED)).value == "ignore"


# Seeds


def test_a_node_without_seeds_is_there_from_the_start() -> None:
    node = engine("a")
    assert changes(node.handle_timeout(0.0)) == [("a", "alive")]


def test_a_node_with_seeds_announces_nothing_until_it_knows_the_members() -> None:
    node = engine("a", has_seeds=True)
    node.register(instance("x"), 0.0)
    assert [one.id for one in node.view.service("orders").healthy] == ["x"]
    assert node.deadline() == 0.0
    outputs = node.handle_timeout(0.0)
    assert [output for output in outputs if isinstance(output, SeekSeeds)]
    assert changes(outputs) == []
    [opening] = opened(node.seeds([B.address], 0.0))
    assert spoken(opening.frame) == [Compare((0,) * BUCKETS), End()]
    outputs = node.stream_frame(opening.stream, packet(B, B, End()), B.address, 0.1)
    assert changes(outputs) == [("b", "alive"), ("a", "alive")]


def test_it_tries_a_few_seeds_at_once_each_once_and_never_itself() -> None:
    node = engine("a", has_seeds=True)
    seeds = [A.address, *(address(port) for port in range(1, 9)), address(1)]
    first = {opening.to for opening in opened(node.seeds(seeds, 0.0))}
    assert len(first) == 4
    assert A.address not in first
    again = {opening.to for _ in range(30) for opening in opened(node.seeds(seeds, 0.0))}
    assert again.isdisjoint(first)


def test_seeds_whose_names_do_not_resolve_are_not_taken_for_ourselves() -> None:
    one = engine(has_seeds=True)
    assert one.seeds([], 0.0) == []
    assert not one.identity.announced


def test_a_node_that_is_its_own_only_seed_announces_itself() -> None:
    node = engine("a", has_seeds=True)
    assert changes(node.seeds([A.address], 0.0)) == [("a", "alive")]
    assert node.seeds([A.address], 1.0) == []


def test_an_announced_node_tries_one_seed_that_is_not_present() -> None:
    node = among(B, has_seeds=True)
    node.seeds([A.address], 0.0)
    openings = opened(node.seeds([B.address, address(1), address(2)], 1.0))
    assert len(openings) == 1
    assert openings[0].to in (address(1), address(2))


def test_a_joining_node_tries_seeds_again_that_it_knows_already() -> None:
    node = engine("a", has_seeds=True)
    introduce(node, B)
    assert [opening.to for opening in opened(node.seeds([B.address, address(1)], 1.0))].count(B.address) == 1


def test_while_no_member_is_reached_the_seeds_are_tried_at_growing_gaps() -> None:
    patient = EngineSettings(probe_interval=1000.0, join_retry=0.25, join_retry_max=5.0)
    node = engine("a", has_seeds=True, settings=patient)
    tries: list[float] = []
    while len(tries) < 12:
        now = node.deadline()
        if any(isinstance(output, SeekSeeds) for output in node.handle_timeout(now)):
            tries.append(now)
    gaps = [after - before for before, after in pairwise(tries)]
    assert 0.18 < gaps[0] < 0.32
    assert all(3.75 <= gap <= 6.25 for gap in gaps[5:])


def test_who_is_alone_again_tries_its_seeds_as_eagerly_as_at_first() -> None:
    patient = EngineSettings(probe_interval=1000.0, join_retry=0.25, join_retry_max=5.0, reconnect_interval=60.0)
    node = engine("a", has_seeds=True, settings=patient)

    def gaps(count: int) -> list[float]:
        tries: list[float] = []
        while len(tries) <= count:
            now = node.deadline()
            if any(isinstance(output, SeekSeeds) for output in node.handle_timeout(now)):
                tries.append(now)
        return [after - before for before, after in pairwise(tries)]

    assert gaps(8)[-1] > 3.75
    introduce(node, B, now=node.joining.deadline)
    node.local_member.complete_join(node.joining.deadline)
    assert gaps(1)[0] > 45
    introduce(node, attrs.evolve(B, status=Status.LEFT), now=node.joining.deadline)
    assert 0.18 < gaps(1)[0] < 0.32


def test_seeds_and_one_of_the_failed_are_tried_for_ever() -> None:
    node = among(B, C, settings=EngineSettings(reconnect_interval=5.0))
    introduce(node, attrs.evolve(C, status=Status.FAILED, accuser=C.run_id))
    tried = []
    for tenths in range(10, 400):
        tried += [m for m in said_to(node.handle_timeout(tenths / 10), C.address) if isinstance(m, Ping) and m.seq == 0]
    assert 5 <= len(tried) <= 9


# What was known before


def recalling() -> Engine:
    """A newcomer that answers from what it knew in its last run."""
    node = engine("a", has_seeds=True)
    node.view.recall({"orders": (instance("x", owner="b"),)})
    return node


def test_what_was_known_before_is_answered_until_it_is_to_be_forgotten() -> None:
    node = recalling()
    node.handle_timeout(1.0)
    assert [one.id for one in node.view.service("orders").healthy] == ["x"]
    assert node.forget_recalled() == [InstancesChanged(("orders",))]
    assert node.view.service("orders").healthy == ()


def test_once_the_cluster_is_reached_what_was_known_before_counts_no_more() -> None:
    node = recalling()
    [opening] = opened(node.seeds([B.address], 1.0))
    node.stream_frame(opening.stream, packet(B, B, End()), B.address, 1.1)
    assert InstancesChanged(("orders",)) in node.handle_timeout(1.2)
    assert node.view.service("orders").healthy == ()


# Being heard


def test_a_node_that_should_hear_members_and_hears_none_is_isolated() -> None:
    node = among(B)
    assert not node.isolation.is_isolated(4.0)
    assert node.isolation.is_isolated(4.1)
    assert node.isolation.silence(4.1) == 4.1
    assert not engine("a").isolation.is_isolated(99.0), "there is no member to be heard"
    assert engine("a", has_seeds=True).isolation.is_isolated(99.0)
    introduce(node, attrs.evolve(B, status=Status.LEFT))
    assert not node.isolation.is_isolated(99.0)


def test_its_health_is_the_local_health_score() -> None:
    node = among(B)
    assert node.local_health == 0
    node.receive(packet(B, attrs.evolve(A, status=Status.SUSPECT)), B.address, 6.0)
    assert node.local_health == 1


def test_members_are_forgotten_when_their_time_is_over() -> None:
    node = among(B)
    introduce(node, attrs.evolve(B, status=Status.LEFT), now=10.0)
    outputs = node.handle_timeout(10.0 + 25.3 * 3600)
    assert MemberChanged(attrs.evolve(B, status=Status.LEFT), None) in outputs
    assert len(node.members) == 1


def test_a_node_offers_no_more_than_others_would_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "RECORDS_PER_OWNER_MAX", 2)
    node = engine("a")
    node.register(instance("x"), 0.0)
    node.register(instance("y"), 0.0)
    with pytest.raises(InvalidInstance, match=r"^instance 'z': this node offers 2 instances already"):
        node.register(instance("z"), 0.0)
    node.register(instance("y", weight=3), 0.0)
    node.deregister("x", 0.0)
    node.register(instance("z"), 0.0)
    assert len(node.local_registry) == 2
