"""What peers of other cells may not say, or say in vain."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from gossipreg import limits
from gossipreg.model import Address, Status
from gossipreg.protocol import answer_pacing
from gossipreg.protocol.anti_entropy.reconcile import Compare, End, Listing, Want
from gossipreg.protocol.borders import RETRY_SECONDS
from gossipreg.protocol.cells.cell_head import COMMON, CellHead
from gossipreg.protocol.cells.cells import STALE_SECONDS
from gossipreg.protocol.engine import Engine
from gossipreg.protocol.membership.member_update import MemberUpdate
from gossipreg.protocol.membership.probe import Ping
from gossipreg.protocol.outputs import CellChanged, CloseStream, JoinEnded, OpenStream, Output, Transmit
from gossipreg.protocol.registry.records import Announcement, Record, TableDigest
from gossipreg.protocol.wire.messages import Message
from tests.protocol.cells.peers import STRANGER, SUMS, cells_of, head, node, of_cell, opened, replies, says
from tests.protocol.making import BORN, engine, history, introduce, packet, spoken, update


def test_a_peer_of_another_cell_states_its_own_members_only() -> None:
    made = node()
    says(made, head(), of_cell("b1", "b"), of_cell("c1", "c"), of_cell("a9", "a"), update("d1", port=7200))
    assert [each.name for each in cells_of(made).remote] == ["b1"]
    assert made.counters["cells_claims_refused"] == 2
    assert made.members.get("a9") is None


def test_a_peer_that_says_no_cell_states_nothing_on_a_stream() -> None:
    made = node()
    says(made, of_cell("b1", "b"))
    assert not list(cells_of(made).remote)
    assert made.counters["cells_claims_refused"] == 1


def test_no_peer_of_another_cell_has_a_member_of_this_one_failed() -> None:
    made = node()
    own = of_cell("a1", "a")
    introduce(made, own)
    says(made, head(), attrs.evolve(own, status=Status.FAILED), attrs.evolve(own, incarnation=5))
    assert made.members.get("a1") == own


def test_a_failure_of_this_node_itself_is_refuted_whichever_cell_holds_it() -> None:
    made = node()
    says(made, head(), made.identity.own_update().graver(Status.FAILED, 5))
    assert made.identity.incarnation == 1


def test_records_of_this_cells_members_come_back_in_vain_and_what_was_deleted_is_said() -> None:
    made = node()
    own = of_cell("a1", "a")
    introduce(made, own)
    said = history([("x", 1), ("y", 1), ("x", None)], owner="a1").said
    for record in said[1:]:
        made.receive(packet(own, record), own.address, 0.5)
    made.receive(packet(own, TableDigest("a1", BORN, 3, said[2].table_xor)), own.address, 0.5)
    outputs = says(made, head(), said[0], attrs.evolve(said[1], version=9), End())
    assert [each for each in replies(outputs) if isinstance(each, TableDigest)] == [
        TableDigest("a1", BORN, 3, said[2].table_xor, ("x",))
    ]
    table = made.state.registry.table("a1")
    assert table is not None
    assert [record.version for record in table] == [2]
    says(made, TableDigest("a1", BORN, 9, 0, ("y",)))
    assert len(table) == 1


def test_what_a_failed_member_owned_is_taken_from_the_cell_that_still_holds_it() -> None:
    made = node()
    made.state.believe(of_cell("a1", "a", Status.FAILED), 0.5, spread=False)
    [record] = history([("x", 1)], owner="a1").said
    says(made, head(), record)
    table = made.state.registry.table("a1")
    assert table is not None
    assert len(table) == 1


def test_records_of_unknown_owners_and_announcements_do_not_cross() -> None:
    made = node()
    [record] = history([("x", 1)], owner="b1").said
    says(made, head(), record, Announcement("b1", BORN, 1, "x", 0, 0, 9))
    assert made.state.registry.table("b1") is None
    assert made.counters["cells_claims_refused"] == 2


def test_deletions_that_come_as_a_digest_are_told_within_the_cell() -> None:
    made = node()
    introduce(made, of_cell("a1", "a"))
    owner = of_cell("b1", "b")
    said = history([("x", 1), ("y", 1), ("x", None)], owner="b1").said
    says(made, head(), owner, *said[:2])
    made.handle_timeout(2.0)
    says(made, TableDigest("b1", BORN, 3, said[2].table_xor, ("x",)), now=2.0)
    made.state.digests.take_due(2.0, rounds=1)
    told = [record for record in _sent(made, 2.1) if isinstance(record, Record) and record.payload is None]
    assert [(record.owner, record.id, record.version) for record in told] == [("b1", "x", 3)]
    says(made, TableDigest("b1", BORN - 5, 3, 0))  # of another run
    says(made, *history([(str(n), 1) for n in range(200)], owner="b2").said, of_cell("b2", "b"), now=3.0)


def _sent(made: Engine, now: float) -> list[Message]:
    return [said for each in made.handle_timeout(now) if isinstance(each, Transmit) for said in spoken(each.data)]


def test_a_suspicion_of_another_cell_counts_for_nothing() -> None:
    made = node()
    says(made, head(), of_cell("b1", "b", Status.SUSPECT))
    held = cells_of(made).remote.get("b1")
    assert held is not None
    assert held.status is Status.ALIVE


def test_what_is_over_a_limit_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    made = node()
    monkeypatch.setattr(limits, "REMOTE_MEMBERS_MAX", 1)
    says(made, head(), of_cell("b1", "b"), of_cell("b2", "b"))
    assert [each.name for each in cells_of(made).remote] == ["b1"]
    assert made.counters["updates_over_member_limit"] == 1
    monkeypatch.setattr(limits, "CELLS_MAX", 2)
    outputs = says(made, head("c"), End(), stream=-2)
    assert replies(outputs) == [End()]
    assert cells_of(made).others == ("b",)
    introduce(made, of_cell("a1", "a"))
    member = of_cell("a1", "a")
    made.receive(packet(member, attrs.evolve(head("c"), confirmed=BORN)), member.address, 1.0)
    assert cells_of(made).others == ("b",)


def test_what_is_too_old_to_be_remembered_is_not_held() -> None:
    made = node()
    says(made, head(), of_cell("b1", "b", Status.FAILED, age=10**6))
    assert not list(cells_of(made).remote)


def test_questions_about_other_parts_than_the_two_cells_are_not_answered() -> None:
    made = node()
    says(made, head(), End())
    asked: list[Message] = [Compare(SUMS), Compare(SUMS, "c"), Listing(0, (), "c"), Want(0, (), "b"), End()]
    assert [each for each in replies(says(made, *asked)) if not isinstance(each, CellHead | Compare)] == [End()]
    flat = engine("f0")
    assert replies(says(flat, Compare(SUMS, "a"), End())) == [End()]
    outputs = says(made, Compare(SUMS, "a"), Compare(SUMS, COMMON), Listing(0, (), "b"), End())
    assert [each.name for each in replies(outputs) if isinstance(each, MemberUpdate)] == ["a0"]


def test_listings_across_a_border_are_answered_once_a_stream_and_wait_for_their_turn(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(answer_pacing, "LARGE_ENTRIES", 2)
    made = node()
    says(made, head(), of_cell("b1", "b"), of_cell("b2", "b"), of_cell("b3", "b"), stream=-1)
    listings = [Listing(bucket, (), "b") for bucket in range(256)]
    frame: list[Message] = [head(), *listings, End()]

    def named(outputs: list[Output]) -> list[str]:
        return sorted(each.name for each in replies(outputs) if isinstance(each, MemberUpdate))

    assert named(says(made, *frame, stream=-2)) == ["b1", "b2", "b3"]
    assert not named(says(made, *listings, stream=-2))
    assert made.counters["questions_repeated"] == 256
    assert not says(made, *frame, stream=-3)
    assert named(made.handle_timeout(made.frame_handler.pacing.deadline)) == ["b1", "b2", "b3"]


def test_a_flat_node_holds_no_member_of_a_cell_and_the_reverse() -> None:
    flat, made = engine("f0"), node()
    introduce(flat, of_cell("a1", "a"))
    introduce(made, update("f0", port=7300))
    assert not flat.members.present
    assert not made.members.present
    assert flat.counters["cells_mismatched"] == made.counters["cells_mismatched"] == 1
    flat.receive(packet(5, head()), Address("10.0.0.9", 1), 1.0)
    assert any(isinstance(each, CloseStream) for each in says(flat, head()))
    assert any(isinstance(each, CloseStream) for each in says(made, Compare(SUMS), End()))


def test_heads_in_packets_count_from_members_only_and_not_from_the_future() -> None:
    made, member = node(), of_cell("a1", "a")
    introduce(made, member)
    stated = attrs.evolve(head(), confirmed=BORN)
    made.receive(packet(5, stated), Address("10.0.0.9", 1), 1.0)
    assert not cells_of(made).others
    made.receive(packet(member, attrs.evolve(stated, confirmed=BORN + 10**8), head("a")), member.address, 1.0)
    assert not cells_of(made).others
    made.receive(packet(member, stated), member.address, 1.0)
    made.receive(packet(member, stated), member.address, 1.1)
    assert cells_of(made).heads == [stated]


def test_a_head_from_before_the_clocks_were_set_back_is_replaced() -> None:
    made = node()
    cells = cells_of(made)
    assert cells.note_head(attrs.evolve(head(), confirmed=BORN + 3_600_000), 1.0, BORN + 3_600_000)
    assert not cells.note_head(attrs.evolve(head(), confirmed=BORN), 2.0, BORN + 3_600_000)
    assert cells.note_head(attrs.evolve(head(), confirmed=BORN), 2.0, BORN)
    assert cells.age("b", 5.0, BORN) == 3.0


def test_a_cell_that_was_never_heard_is_stale_after_a_while_and_says_so() -> None:
    made = node()
    says(made, head(), of_cell("b1", "b"))
    outputs = made.handle_timeout(1.0 + STALE_SECONDS)
    assert [each for each in outputs if isinstance(each, CellChanged)] == [CellChanged("b", reachable=False, age=None)]
    assert cells_of(made).cut_off("b1") == "nothing was heard of its cell b yet"
    assert cells_of(made).cut_off("a0") is None


def test_a_stream_to_a_node_that_states_no_cell_or_another_one_confirms_nothing() -> None:
    made = node()
    says(made, head())
    [opened] = [each for each in made.handle_timeout(1.5) if isinstance(each, OpenStream)]
    assert [type(each) for each in spoken(opened.frame)] == [CellHead, End]
    says(made, End(), stream=opened.stream, now=1.6)
    [again] = [each for each in made.handle_timeout(3.0) if isinstance(each, OpenStream)]
    says(made, head("c"), End(), stream=again.stream, now=3.1)
    assert cells_of(made).age("b", 3.2, BORN) is None


def test_a_relay_that_is_none_any_more_when_its_stream_ends_has_no_border() -> None:
    made = node()
    says(made, head())
    [opened] = [each for each in made.handle_timeout(1.5) if isinstance(each, OpenStream)]
    introduce(made, *(of_cell(f"a{number}", "a") for number in range(1, 40)), now=1.6)
    assert "a0" not in cells_of(made).relays("b")
    made.handle_timeout(1.7)
    made.stream_ended(opened.stream, 1.8)
    assert made.deadline() < float("inf")


def test_a_requested_join_at_another_cell_that_breaks_is_reported() -> None:
    made, seed = node(), Address("10.9.9.9", 7000)
    [opened] = [each for each in made.join([seed], 1.0) if isinstance(each, OpenStream)]
    says(made, head(), stream=opened.stream)
    assert cells_of(made).head("b") is not None
    assert [each for each in made.stream_ended(opened.stream, 1.2) if isinstance(each, JoinEnded)] == [
        JoinEnded(seed, compared=False)
    ]


def test_a_head_of_this_cell_by_a_member_of_it_says_nothing_new() -> None:
    made = node()
    outputs = says(made, head("a"), head("a"), End())
    assert [each.cell for each in replies(outputs) if isinstance(each, CellHead)] == ["a"]


def test_addresses_that_cannot_be_called_are_left_out_of_a_head() -> None:
    made = node()
    short: Any = ("10.9.9.7",)
    says(made, CellHead("b", 1, 1, 0, (Address("224.0.0.1", 7000), short, Address("10.9.9.8", 7000))))
    assert cells_of(made).relays_there("b") == (Address("10.9.9.8", 7000),)
    many = tuple(Address("10.9.9.8", 7000 + number) for number in range(limits.CELL_RELAYS_MAX + 1))
    says(made, head("c", relays=many), stream=-2)
    assert cells_of(made).others == ("b",)


def test_a_peer_has_few_streams_opened_to_addresses_that_it_names() -> None:
    named = tuple(Address(f"192.0.2.{number}", 22) for number in range(1, 5))
    more = tuple(Address(f"192.0.2.{number}", 22) for number in range(5, 9))
    made = node()
    introduce(made, of_cell("a1", "a"))
    assert len(opened(says(made, head(), head("a", relays=named), head("a", relays=more)))) == 4
    unknown = [of_cell(f"a{number}", "a") for number in range(2, 9)]
    assert not opened(says(made, head(), *unknown, stream=-2))


def test_a_stream_to_an_address_that_another_cell_named_takes_the_place_of_no_comparison_with_a_member() -> None:
    made, member = node(), of_cell("a1", "a")
    introduce(made, member)
    [named] = opened(says(made, head(), head("a", relays=(Address("192.0.2.1", 7),))))
    made.stream_frame(named.stream, packet(78, Ping(5, 0, made.fingerprint)), named.to, 1.1)
    compared = []
    for now in (2.0, 3.0, 4.0, 5.0):
        compared += opened(made.receive(packet(member, Ping(1, 0, 12345)), member.address, now))
    assert [each.to for each in compared] == [member.address]
    made.stream_frame(named.stream, packet(78, End()), named.to, 5.5)
    made.stream_ended(compared[0].stream, 5.5)
    assert opened(made.receive(packet(member, Ping(1, 0, 12345)), member.address, 7.0))


def test_a_member_that_claims_ever_other_cells_makes_no_more_known_than_may_be(monkeypatch: pytest.MonkeyPatch) -> None:
    made = node()
    monkeypatch.setattr(limits, "CELLS_MAX", 3)
    for number, cell in enumerate("bcdef"):
        claimed = attrs.evolve(of_cell("b1", cell), generation=BORN + number)
        made.receive(packet(STRANGER, claimed), Address("10.9.9.9", 5), 1.0)
    assert cells_of(made).others == ("b", "c")
    assert made.counters["updates_over_member_limit"] == 3


def test_heads_count_on_streams_from_members_only_too() -> None:
    made = node()
    introduce(made, of_cell("a1", "a"))
    says(made, head("a"), attrs.evolve(head(), confirmed=BORN))
    assert not cells_of(made).others


def test_a_clock_that_is_set_far_ahead_has_no_cell_forgotten() -> None:
    made = node()
    says(made, head(), of_cell("b1", "b"))
    cells_of(made).note_head(attrs.evolve(head(), confirmed=BORN), 1.0, BORN)
    made.set_wall_clock(BORN + 10**9, 2.0)
    made.state.sweep(2.0)
    assert cells_of(made).others == ("b",)
    made.state.sweep(1.0 + made.settings.remember_departed)
    assert not cells_of(made).others


def test_a_failed_member_that_is_failed_again_is_remembered_from_the_first_time() -> None:
    made = node()
    says(made, head(), of_cell("b1", "b", Status.FAILED), of_cell("b1", "b", Status.FAILED, incarnation=1))
    assert cells_of(made).remote.since("b1") == 1.0
    says(made, of_cell("b1", "b", Status.FAILED, incarnation=2), now=9.0)
    assert cells_of(made).remote.since("b1") == 1.0


def test_only_a_cell_that_was_asked_says_whether_it_hears_this_one() -> None:
    made = node()
    introduce(made, of_cell("a1", "a"), of_cell("a2", "a"))
    says(made, head(), of_cell("b1", "b"))
    assert made.isolation.is_isolated(30.0)
    says(made, head(), CellHead("a", 0, 0, 0, ()), stream=-7, now=30.0)
    assert not made.detector.reachability.has_witness(of_cell("a1", "a").run_id, 0.0)


def test_a_cell_that_does_not_answer_is_not_asked_again_meanwhile() -> None:
    made = node()
    introduce(made, of_cell("a1", "a"), of_cell("a2", "a"))
    says(made, head(), of_cell("b1", "b"))

    def asked(now: float) -> int:
        return sum(isinstance(each, OpenStream) and each.to.port == 7199 for each in made.handle_timeout(now))

    assert [asked(now) for now in (30.0, 31.1, 32.2)] == [1, 0, 0]


def test_a_node_that_hears_none_of_its_cell_says_since_when() -> None:
    made = node()
    introduce(made, of_cell("a1", "a"), of_cell("a2", "a"))
    says(made, head(), of_cell("b1", "b"))
    [asking] = [each for each in opened(made.handle_timeout(30.0)) if each.to.port == 7199]
    [own] = [said for said in spoken(asking.frame) if isinstance(said, CellHead) and said.cell == "a"]
    assert own.confirmed == int(made.state.clock.wall(30.0) - 1000 * made.isolation.silence(30.0))


def test_a_member_of_this_cell_tells_of_others_on_a_stream() -> None:
    made, member = node(), of_cell("a1", "a")
    introduce(made, member)
    says(made, head("a"), attrs.evolve(head("a"), size=2), attrs.evolve(head("c"), confirmed=5), sender=member.run_id)
    assert cells_of(made).others == ("c",)


def test_the_seed_of_another_cell_is_remembered_as_where_that_cell_is() -> None:
    made, seed = node(has_seeds=True), Address("10.9.9.9", 7000)
    [asked] = opened(made.seeds([seed], 0.0))
    says(made, head(relays=()), End(), stream=asked.stream)
    assert cells_of(made).addresses("b") == (seed,)


def test_another_cell_says_whether_it_hears_this_one() -> None:
    for size in (0, 3):
        made = node()
        introduce(made, of_cell("a1", "a"), of_cell("a2", "a"))
        says(made, head(), of_cell("b1", "b"))
        [asking] = [each for each in opened(made.handle_timeout(30.0)) if each.to.port == 7199]
        says(made, head(), CellHead("a", size, 0, 0, ()), stream=asking.stream, now=30.1)
        assert {cell: each.is_heard for cell, each in made.borders._answers.items()} == {"b": bool(size)}


def test_a_crossing_that_has_failed_is_repeated_after_a_pause() -> None:
    made = node()
    says(made, head(), of_cell("b1", "b"))
    [crossing] = opened(made.handle_timeout(5.0))
    made.stream_ended(crossing.stream, 5.2)
    assert [len(opened(made.handle_timeout(now))) for now in (5.3, 5.0 + RETRY_SECONDS)] == [0, 1]


def test_a_crossing_to_one_cell_holds_up_none_to_another() -> None:
    made = node()
    says(made, head(), of_cell("b1", "b"))
    says(made, head("c"), of_cell("c1", "c"), stream=-2)
    made.handle_timeout(5.0)
    assert made.counters["cells_crossings"] == 2


def heads_said(outputs: list[Output]) -> list[list[str]]:
    """The cells of which each stream that is opened says where they are, besides the node's own."""
    frames = [spoken(each.frame) for each in opened(outputs)]
    return [[said.cell for said in frame if isinstance(said, CellHead) and said.cell != "a"] for frame in frames]


def test_where_further_cells_are_is_said_after_one_has_come_and_then_now_and_again() -> None:
    made = node()
    says(made, head(), of_cell("b1", "b"), head("c"))
    told, now = [], 1.0
    while now < 60.0:
        now += 0.5
        outputs = made.handle_timeout(now)
        told += [(now, heads) for heads in heads_said(outputs) if "b" not in heads]
        for each in opened(outputs):
            made.stream_ended(each.stream, now)
    soon = [heads for at, heads in told if at < 10.0]
    later = [heads for at, heads in told if at > 12.0]
    assert soon
    assert all(heads == ["c"] for heads in soon)
    assert 0.08 < sum(heads == ["c"] for heads in later) / len(later) < 0.2
    outputs = says(made, head("b", size=0), End(), stream=-9, now=now)
    assert "c" in [said.cell for said in replies(outputs) if isinstance(said, CellHead)]


def test_cells_that_were_only_ever_named_give_way_to_one_that_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "CELLS_MAX", 4)
    made = node()
    says(made, head(), of_cell("b1", "b"))
    cells_of(made).note_head(attrs.evolve(head(), confirmed=BORN), 1.0, BORN)
    for cell in "cd":
        made.receive(packet(STRANGER, of_cell(f"{cell}1", cell)), Address("10.9.9.9", 5), 1.0)
    says(made, head("e"), of_cell("e1", "e"), stream=-2, now=2.0)
    assert cells_of(made).others == ("b", "c", "d")
    says(made, head("e"), of_cell("e1", "e"), stream=-3, now=2.0 + STALE_SECONDS)
    assert cells_of(made).others == ("b", "d", "e")
    assert cells_of(made).remote.get("c1") is None
    assert cells_of(made).remote.get("e1") is not None


def test_a_peer_that_never_ends_a_crossing_does_not_keep_the_node_from_the_next() -> None:
    made = node()
    says(made, head(), of_cell("b1", "b"))
    [crossing] = opened(made.handle_timeout(1.1))
    now, closed, again = 1.1, [], []
    while now < 70.0:
        now += 2.0
        made.stream_frame(crossing.stream, packet(STRANGER, Ping(1, 0, 0)), crossing.to, now)
        outputs = made.handle_timeout(now)
        closed += [each for each in outputs if isinstance(each, CloseStream) and each.stream == crossing.stream]
        again += opened(outputs)
    assert len(closed) == 1
    assert [each.to for each in again] == [crossing.to]
