"""A peer that holds the key and sends anything: the node keeps its state, and others understand it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from gossipreg import limits
from gossipreg.counters import Count
from gossipreg.errors import ClockWrong, GossipregError
from gossipreg.model import PRIMARY, Address, Status
from gossipreg.policy import Maintenance, Split
from gossipreg.protocol.anti_entropy.fingerprint import BUCKETS
from gossipreg.protocol.anti_entropy.reconcile import Compare, End, KeepOpen, Listing, Want
from gossipreg.protocol.dissemination.receipts import Receipt, ReceiptRequest
from gossipreg.protocol.engine import Engine
from gossipreg.protocol.membership.identity import NameConflictQuery
from gossipreg.protocol.membership.member_update import MemberUpdate, run_id_of
from gossipreg.protocol.membership.observations import ObservationRequest, Observations
from gossipreg.protocol.membership.peer_clocks import WallClock
from gossipreg.protocol.membership.probe import Ack, Nack, Ping, PingReq
from gossipreg.protocol.outputs import CloseStream, NameConflictFound, OpenStream, Output, SendFrame, Transmit
from gossipreg.protocol.registry.payload import pack_instance
from gossipreg.protocol.registry.policy_version import PolicyVersion, pack_rule
from gossipreg.protocol.registry.records import Announcement, Fetch, Record, RecordRequest, TableDigest
from gossipreg.protocol.registry.terms import TermRegister
from gossipreg.protocol.wire.messages import Message, pack_sender
from gossipreg.protocol.wire.reader import Reader
from tests.protocol.making import BORN, address, engine, instance, introduce, packet, update

#: So small that they are reached: what is looked for is what goes beyond a limit.
BOUNDS = {
    "MEMBERS_MAX": 12,
    "PENDING_OWNERS_MAX": 3,
    "PENDING_OWNER_RECORDS_MAX": 4,
    "RECORDS_MAX": 40,
    "RECORDS_PER_OWNER_MAX": 20,
    "POLICIES_MAX": 6,
    "POLICIES_REMOVED_MAX": 8,
    "POLICIES_REMOVED_PER_WRITER_MAX": 6,
    "POLICIES_UNREADABLE_MAX": 3,
    "TERMS_MAX": 5,
    "TERMS_EMPTY_MAX": 3,
    "BROADCAST_QUEUE_MAX": 40,
    "TOLD_MAX": 6,
    "LISTING_DIGESTS_MAX": 4,
}

HONEST = update("b", port=7001)
EVIL = update("evil", port=7666)

NAMES = st.sampled_from(["a", "b", "evil", *(f"fake{number}" for number in range(20))])
NUMBERS = st.one_of(
    st.sampled_from([0, 1, BORN - 1, BORN, BORN + 1, BORN + 86_400_000, BORN + limits.GENERATION_AHEAD_MAX]),
    st.sampled_from([limits.TERM_GIVEN_MAX, limits.TERM_GIVEN_MAX + BORN, 2**53 - 2, 2**53 - 1]),
    st.integers(0, 30),
)
INCARNATIONS = st.sampled_from([0, 1, 2, 2**31 - 1, 2**31, 2**32 - 1])
U32 = st.sampled_from([0, 1, 5, 2**31, 2**32 - 1])
U64 = st.one_of(st.sampled_from([0, 1, 2**63, 2**64 - 1]), st.integers(0, 2**64 - 1))
ADDRESSES = st.sampled_from([address(port) for port in (7000, 7001, 7666, 8000, 65_535)])
IDS = st.sampled_from(["x", "y", "z", "é" * 100, "w" * 255])
RUN_IDS = st.one_of(
    U64, st.builds(run_id_of, NAMES, st.just(BORN), ADDRESSES), st.sampled_from([HONEST.run_id, EVIL.run_id])
)
OFFERS = st.builds(
    lambda service, role, term: pack_instance(instance(service=service, role=role, term=term)),
    st.sampled_from(["orders", "pg", "search"]),
    st.sampled_from([None, PRIMARY]),
    st.sampled_from([0, 1, limits.TERM_GIVEN_MAX, limits.TERM_MAX]),
)
PAYLOADS = st.one_of(st.none(), OFFERS, st.binary(min_size=1, max_size=40))
RULES = st.sampled_from([Split("orders", {"v1": 1}), *(Maintenance("orders", f"o{number}") for number in range(20))])
RANGES = st.lists(NUMBERS, max_size=8).map(lambda bounds: tuple(sorted(bounds[: len(bounds) // 2 * 2])))
DIGESTS = st.lists(U64, max_size=8).map(tuple)

EMPTY, UNLIKE = Compare((0,) * BUCKETS), Compare((1,) * BUCKETS)

MESSAGES: st.SearchStrategy[Message] = st.one_of(
    st.builds(Ping, U32, RUN_IDS, U64),
    st.builds(Ack, st.integers(0, 20), RUN_IDS, U64),
    st.builds(Nack, st.integers(0, 20)),
    st.builds(PingReq, U32, RUN_IDS, U32),
    st.builds(
        MemberUpdate,
        NAMES,
        st.one_of(st.just(BORN), NUMBERS),
        INCARNATIONS,
        st.sampled_from(Status),
        ADDRESSES,
        st.sampled_from(["", "east"]),
        st.booleans(),
        RUN_IDS,
        U32,
        st.booleans(),
    ),
    st.builds(NameConflictQuery, NAMES, RUN_IDS, NUMBERS, st.booleans()),
    st.builds(Record, NAMES, st.one_of(st.just(BORN), NUMBERS), NUMBERS, IDS, U64, PAYLOADS),
    st.builds(Announcement, NAMES, st.one_of(st.just(BORN), NUMBERS), NUMBERS, IDS, U64, U64, U32),
    st.builds(
        TableDigest, NAMES, st.one_of(st.just(BORN), NUMBERS), NUMBERS, U64, st.lists(IDS, max_size=4).map(tuple)
    ),
    st.builds(Fetch, NAMES, st.just(BORN), NUMBERS, IDS),
    st.builds(RecordRequest, NAMES, st.one_of(st.just(BORN), NUMBERS), NUMBERS, RANGES),
    st.just(ObservationRequest()),
    st.builds(
        Observations, IDS, st.just(()), st.lists(st.tuples(NAMES, st.just(0), st.just(0), U32), max_size=3).map(tuple)
    ),
    st.builds(ReceiptRequest, U32),
    st.builds(Receipt, st.lists(st.one_of(st.integers(0, 20), U32), max_size=4).map(tuple)),
    st.sampled_from([EMPTY, UNLIKE]),
    st.builds(Listing, st.integers(0, 255), DIGESTS),
    st.builds(Want, st.integers(0, 255), DIGESTS),
    st.just(End()),
    st.just(KeepOpen()),
    st.builds(
        lambda rule, ms, counter, writer, removed: PolicyVersion(
            rule.key, ms, counter, writer, None if removed else pack_rule(rule)
        ),
        RULES,
        NUMBERS,
        st.sampled_from([0, 2**16 - 1]),
        NAMES,
        st.booleans(),
    ),
    st.builds(
        PolicyVersion, st.builds("canary:{}".format, st.integers(0, 20)), NUMBERS, st.just(0), NAMES, st.just(b"\xc0")
    ),
    st.builds(
        TermRegister,
        st.sampled_from(["pg", *(f"s{number}" for number in range(30))]),
        NUMBERS,
        st.sampled_from([0, 2**16 - 1]),
        st.one_of(st.just(""), NAMES),
        NUMBERS,
        NUMBERS,
    ),
    st.builds(WallClock, NUMBERS),
)


class HostilePeer(RuleBasedStateMachine):
    """A node, an honest peer that receives all that it sends, and one that sends anything, in any member's name."""

    patch: pytest.MonkeyPatch
    node: Engine
    peer: Engine
    now: float

    def __init__(self) -> None:
        super().__init__()
        self.patch = pytest.MonkeyPatch()
        for name, bound in BOUNDS.items():
            self.patch.setattr(limits, name, bound)
        self.reader = Reader()
        self.streams: set[int] = set()

    def teardown(self) -> None:
        self.patch.undo()

    @initialize(has_seeds=st.booleans())
    def begin(self, *, has_seeds: bool) -> None:
        self.now = 6.0
        self.node = engine("a", has_seeds=has_seeds)
        self.peer = engine("b", address=HONEST.address)
        introduce(self.node, HONEST, EVIL)
        introduce(self.peer, update("a", port=7000))

    def take(self, outputs: Iterable[Output]) -> None:
        """What the node sends can be read, and the honest peer bears it."""
        for output in outputs:
            assert not (isinstance(output, NameConflictFound) and output.yielding and self.node.identity.announced)
            match output:
                case Transmit(data, _):
                    self.check(data)
                    self.peer.receive(data, self.node.identity.address, self.now)
                case OpenStream(stream, _, frame):
                    self.streams.add(stream)
                    self.check(frame)
                    self.peer.stream_frame(-stream, frame, self.node.identity.address, self.now)
                case SendFrame(stream, frame):
                    self.check(frame)
                    self.peer.stream_frame(-abs(stream), frame, self.node.identity.address, self.now)
                case CloseStream(stream):
                    self.streams.discard(stream)
                case _:
                    pass

    def check(self, data: bytes) -> None:
        assert len(data) <= limits.FRAME_BYTES_MAX
        self.reader.read(data)
        assert not self.reader.junk, "what a node says can be read by every node"

    # What the peer does

    @rule(messages=st.lists(MESSAGES, min_size=1, max_size=6), sender=RUN_IDS, source=ADDRESSES)
    def say(self, messages: list[Message], sender: int, source: Address) -> None:
        self.take(self.node.receive(packet(sender, *messages), source, self.now))

    @rule(messages=st.lists(MESSAGES, min_size=1, max_size=6), sender=RUN_IDS, stream=st.integers(-3, -1))
    def session(self, messages: list[Message], sender: int, stream: int) -> None:
        self.take(self.node.stream_frame(stream, packet(sender, *messages), EVIL.address, self.now))

    @rule(messages=st.lists(MESSAGES, min_size=1, max_size=6), sender=RUN_IDS, data=st.data())
    def answer(self, messages: list[Message], sender: int, data: st.DataObject) -> None:
        if self.streams:
            stream = data.draw(st.sampled_from(sorted(self.streams)))
            self.take(self.node.stream_frame(stream, packet(sender, *messages), EVIL.address, self.now))

    @rule(data=st.data(), refused=st.booleans())
    def hang_up(self, data: st.DataObject, *, refused: bool) -> None:
        if self.streams:
            stream = data.draw(st.sampled_from(sorted(self.streams)))
            self.streams.discard(stream)
            self.take(self.node.stream_ended(stream, self.now, refused=refused))

    @rule(junk=st.binary(max_size=60), sender=RUN_IDS)
    def babble(self, junk: bytes, sender: int) -> None:
        self.take(self.node.receive(pack_sender(sender) + junk, EVIL.address, self.now))

    # What the user does, and time

    @rule(seconds=st.sampled_from([0.01, 0.3, 1.0, 7.0, 60.0]))
    def lapse(self, seconds: float) -> None:
        until = self.now + seconds
        for _ in range(20):
            self.now = min(until, max(self.now, self.node.deadline()))
            self.take(self.node.handle_timeout(self.now))
        self.now = until
        self.take(self.node.handle_timeout(self.now))
        self.peer.handle_timeout(self.now)

    def do(self, verb: Callable[..., list[Output]], *args: Any) -> None:
        try:
            self.take(verb(*args, self.now))
        except GossipregError:
            return  # a sentence for the user, and nothing has changed

    @rule(which=st.sampled_from("xyz"), term=st.sampled_from([0, 1]))
    def offer(self, which: str, term: int) -> None:
        self.do(self.node.register, instance(which, service="pg" if term else "orders", role=PRIMARY, term=term))

    @rule(which=st.sampled_from("xyz"))
    def withdraw(self, which: str) -> None:
        self.do(self.node.deregister, which)

    @rule(of=RULES)
    def set_policy(self, of: Split | Maintenance) -> None:
        self.do(self.node.set_policy, of)

    @rule(service=st.sampled_from(["pg", "s1"]))
    def reset_term(self, service: str) -> None:
        self.do(self.node.reset_term, service)

    @rule()
    def drain(self) -> None:
        self.do(self.node.drain)

    @rule()
    def remove_a_policy(self) -> None:
        policies = self.node.state.policies
        keys = [version.key for version in policies if version.payload is not None]
        if keys:
            try:
                self.take(self.node.remove_policy(keys[0], self.now))
            except ClockWrong:
                return
            assert keys[0] not in [version.key for version in policies if version.payload is not None]

    # What always holds

    @invariant()
    def it_is_there_under_its_own_name(self) -> None:
        identity = self.node.identity
        assert (identity.name, identity.left) == ("a", False)
        claim = identity.own_update()
        assert claim.status is Status.ALIVE
        assert claim.incarnation <= limits.INCARNATION_MAX
        assert self.node.state.own == claim
        if identity.announced:
            assert self.node.members.get("a") == claim

    @invariant()
    def no_exception_was_contained(self) -> None:
        assert not self.node.counters[Count.MESSAGES_FAILED]

    @invariant()
    def it_answers_a_ping(self) -> None:
        outputs = self.node.receive(packet(77, Ping(9, 0, 0)), address(9000), self.now)
        said = [self.reader.read(each.data)[1] for each in outputs if isinstance(each, Transmit)]
        assert any(isinstance(each, Ack) and each.seq == 9 for messages in said for each in messages)
        self.take(outputs)

    @invariant()
    def what_it_holds_is_bounded(self) -> None:
        state = self.node.state
        own = len(self.node.local_registry)
        assert len(state.members) <= limits.MEMBERS_MAX + 1
        assert state.registry.size <= limits.RECORDS_MAX + 2 * own + 3
        assert len(list(state.policies)) <= (
            2 * limits.POLICIES_MAX + limits.POLICIES_REMOVED_MAX + limits.POLICIES_UNREADABLE_MAX
        )
        assert len(state.terms) <= 2 * limits.TERMS_MAX + limits.TERMS_EMPTY_MAX
        assert len(state.broadcasts) <= limits.BROADCAST_QUEUE_MAX
        assert len(self.node.outbox._told) <= limits.TOLD_MAX
        assert len(state._pending_owners) <= limits.PENDING_OWNERS_MAX
        tables = list(state.registry.owners)
        assert len(tables) <= limits.MEMBERS_MAX + limits.PENDING_OWNERS_MAX + 1
        assert state.registry.size == sum(table.size for table in tables)
        assert state.registry.payload_bytes == sum(table.payload_bytes for table in tables)

    @invariant()
    def its_next_term_is_one_that_can_be_stated(self) -> None:
        if self.node.identity.announced:
            assert self.node.local_policies.next_term("pg") <= self.node.state.clock.highest_term(self.now) + 1


HostilePeer.TestCase.settings = settings(max_examples=20, stateful_step_count=20, deadline=None)
TestHostilePeer = HostilePeer.TestCase
