"""Numbers at the end of their range that a peer sends: ignored or outbid, and never passed on to do harm."""

from __future__ import annotations

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossipreg import limits
from gossipreg.model import PRIMARY, Status
from gossipreg.protocol.anti_entropy.fingerprint import BUCKETS, Fingerprint
from gossipreg.protocol.anti_entropy.reconcile import Compare, Listing, answer_compare
from gossipreg.protocol.engine import Engine
from gossipreg.protocol.outputs import Output, SendFrame, Transmit
from gossipreg.protocol.registry.policy_version import PolicyVersion
from gossipreg.protocol.registry.records import Announcement, Record, TableDigest
from gossipreg.protocol.registry.terms import TermRegister
from gossipreg.protocol.wire.messages import pack
from gossipreg.protocol.wire.reader import Reader
from tests.protocol.delivering import believed, deliver, receive_over_stream
from tests.protocol.making import BORN, engine, instance, introduce, law, packet, update
from tests.protocol.test_engine import A, B, among
from tests.protocol.test_engine_terms import claim, said_by

LAST_GENERATION = BORN + limits.GENERATION_AHEAD_MAX
EXTREMES = [2**53 - 1, 2**53 - 2, 2**52, LAST_GENERATION + 100_000]


def play(victim: Engine, peer: Engine, since: float, until: float) -> None:
    """Let the two exchange packets for a while."""
    now = since
    while now < until:
        now += 0.1
        sent = [(one, other, one.handle_timeout(now)) for one, other in ((victim, peer), (peer, victim))]
        while sent:
            one, other, outputs = sent.pop(0)
            arriving = [each for each in outputs if isinstance(each, Transmit) and each.to == other.identity.address]
            sent += [(other, one, other.receive(each.data, one.identity.address, now)) for each in arriving]


def assert_readable(outputs: list[Output]) -> None:
    reader = Reader()
    for output in outputs:
        if isinstance(output, Transmit | SendFrame):
            reader.read(output.data if isinstance(output, Transmit) else output.frame)
            assert not reader.junk, output


@pytest.mark.parametrize("generation", EXTREMES)
@pytest.mark.parametrize("status", [Status.ALIVE, Status.FAILED, Status.LEFT])
def test_an_impossible_generation_is_dropped(generation: int, status: Status) -> None:
    node = among(B)
    for name in ("a", "b", "stranger"):
        for said in (
            update(name, status, generation=generation, port=A.address.port),
            Record(name, generation, 1, "x", 0, None),
            TableDigest(name, generation, 1, 0, ("x",)),
            Announcement(name, generation, 1, "x", 0, 0, 5000),
        ):
            assert_readable(deliver(node, B, said) + receive_over_stream(node, B, said))
    assert node.counters["generations_from_the_future"] == 3 * 4 * 2
    assert node.identity.generation == BORN
    assert believed(node, "b") == B
    assert node.members.get("stranger") is None


@law
@given(
    st.lists(
        st.tuples(
            st.sampled_from(
                [BORN, BORN + 1, LAST_GENERATION - 5000, LAST_GENERATION, LAST_GENERATION + 6000, 2**53 - 1]
            ),
            st.sampled_from([0, 1, 2**31 - 1, 2**31, 2**32 - 2, 2**32 - 1]),
            st.sampled_from(Status),
            st.sampled_from([A.address.port, 7999]),
        ),
        min_size=1,
        max_size=5,
    )
)
def test_whatever_is_said_of_a_node_its_answer_is_believed_within_seconds(
    said: list[tuple[int, int, Status, int]],
) -> None:
    victim, peer = engine("a", address=A.address), engine("b", address=B.address)
    introduce(victim, B)
    introduce(peer, A)
    now = 6.0
    for generation, incarnation, status, port in said:
        lie = update("a", status, generation=generation, incarnation=incarnation, port=port)
        for one in (victim, peer):
            one.receive(packet(B if one is victim else A, lie), lie.address, now)
        play(victim, peer, now, now + 0.5)
        now += 0.5
    play(victim, peer, now, now + 10.0)  # its questions to a made-up address have gone unanswered
    victim.local_member.announce(now + 10.0)
    play(victim, peer, now + 10.0, now + 12.0)
    assert believed(peer, "a") == victim.identity.own_update()
    assert believed(peer, "a").status is Status.ALIVE
    assert victim.identity.incarnation <= limits.INCARNATION_MAX // 2 + 1
    victim.drain(now + 12.0)
    assert_readable(victim.handle_timeout(now + 12.1))


def test_an_accusation_in_the_upper_half_of_incarnations_is_answered_by_a_later_run() -> None:
    node = among(B)
    node.register(instance("x"), 6.0)
    deliver(node, B, attrs.evolve(A, status=Status.FAILED, incarnation=limits.INCARNATION_MAX))
    assert (node.identity.generation > BORN, node.identity.incarnation) == (True, 0)
    assert node.counters["refutations"] == 1
    assert [one.id for one in node.view.service("orders").healthy] == ["x"]


def test_a_departure_of_long_ago_is_told_within_its_range() -> None:
    node = among(B)
    deliver(node, B, update("b", Status.LEFT, age=limits.AGE_MAX))
    left = node.state.with_age(believed(node, "b"), 6.0 + 5.0)
    assert left.age == limits.AGE_MAX
    pack(left)


def test_what_a_clock_shows_can_always_be_written() -> None:
    node = among(B)
    for wall in (-1e18, -1.0, 1e30):
        node.set_wall_clock(wall, 6.0)
        assert 0 <= node.state.clock.wall(6.0) < 2**53
        stamp = node.state.clock.stamp(6.0)
        assert 0 <= stamp.ms < 2**53
        assert node.state.clock.latest_generation(6.0) < 2**53
        assert node.state.clock.highest_term(6.0) <= limits.TERM_MAX


def test_a_host_that_boots_in_1970_believes_its_peers() -> None:
    node = engine("a", generation=5)  # that is before `limits.CLOCK_MS_LEAST`
    introduce(node, B)
    assert believed(node, "b") == B


@pytest.mark.parametrize("counter", [0, 2**16 - 1])
def test_a_stamp_at_the_edge_of_the_future_can_be_outranked(counter: int) -> None:
    node, peer = among(B), engine("b", address=B.address)
    edge = PolicyVersion("split:orders", node.state.clock.wall(6.0) + 86_400_000, counter, "evil", None)
    for one in (node, peer):
        deliver(one, B if one is node else A, edge)
    mine = node.clocks.new_policy_version("split:orders", None, 6.1)
    assert mine.rank > edge.rank
    assert peer.state.policy_state.handle(mine, 6.1, spread=False) is not None


# Terms


@pytest.mark.parametrize("term", [limits.TERM_MAX, limits.TERM_MAX - 1, limits.TERM_GIVEN_MAX + 2 * BORN])
def test_a_term_above_which_there_would_be_none_is_dropped(term: int) -> None:
    node = among(B)
    deliver(node, B, TermRegister("pg", 0, 0, "", term, term), TermRegister("pg", 0, 0, "", 0, term))
    deliver(node, B, *said_by(B, claim("x", term)))
    assert node.counters["terms_too_high"] == 3
    assert node.local_policies.next_term("pg") == 1


def test_above_the_highest_term_that_is_taken_there_is_a_next_one_that_all_nodes_take() -> None:
    node, peer = among(B), engine("b", address=B.address)
    introduce(peer, A)
    highest = limits.TERM_GIVEN_MAX + node.state.clock.wall(6.0)
    for one in (node, peer):
        deliver(one, B if one is node else A, TermRegister("pg", 0, 0, "", highest, highest))
    node.register(claim("pg-1", node.local_policies.next_term("pg")), 6.01)
    play(node, peer, 6.01, 7.0)
    assert peer.local_policies.next_term("pg") == highest + 2
    assert [each.role for each in peer.view.service("pg").instances] == [PRIMARY]


# Entries that are made to fall together


def test_a_bucket_that_is_made_to_overflow_is_listed_in_part(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "LISTING_DIGESTS_MAX", 3)
    state = Fingerprint()
    for number in range(2000):
        state.replace(None, update(f"m{number}"))
    told = list(answer_compare(state, Compare((1,) * BUCKETS)))
    assert {len(each.digests) for each in told if isinstance(each, Listing)} == {3}


def test_two_entries_of_one_digest_break_nothing() -> None:
    state = Fingerprint()
    one, other = update("b"), attrs.evolve(update("b"), zone="east")
    object.__setattr__(other, "digest", one.digest)
    state.replace(None, one)
    total = state.total
    state.replace(None, other)
    state.replace(other, None)
    assert state.total == total == one.digest
    state.replace(one, None)
    state.replace(other, None)
    assert state.total == 0
