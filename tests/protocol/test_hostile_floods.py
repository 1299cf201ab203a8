"""A peer that floods others with members that do not exist and records without end. Real members stay."""

from __future__ import annotations

from collections.abc import Iterable

import attrs
import pytest

from gossipreg import limits
from gossipreg.errors import RecordTooLarge
from gossipreg.model import Status
from gossipreg.protocol.engine import Engine
from gossipreg.protocol.membership.member_update import MemberUpdate
from gossipreg.protocol.membership.probe import Ack, Ping
from gossipreg.protocol.outputs import MemberChanged, Transmit
from gossipreg.protocol.registry.records import Announcement, Record
from gossipreg.protocol.registry.registry import Registry
from gossipreg.protocol.wire.reader import unpack
from tests.protocol.delivering import deliver
from tests.protocol.making import BORN, address, instance, introduce, packet, update
from tests.protocol.test_engine import B, C, among

EVIL = B


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a test need not make thousands."""
    monkeypatch.setattr(limits, "MEMBERS_MAX", 10)


def fakes(count: int, *, status: Status = Status.ALIVE, start: int = 0) -> list[MemberUpdate]:
    return [update(f"fake{number}", status, port=8000 + number) for number in range(start, start + count)]


def names(node: Engine) -> set[str]:
    return {each.name for each in node.members}


def recomputed(node: Engine) -> int:
    total = 0
    for each in node.members:
        total ^= each.digest
    return total


def prove(node: Engine, *members: MemberUpdate, now: float = 6.0) -> None:
    """Let a node hear each from its own address."""
    for member in members:
        node.receive(packet(member, Ping(1, 0, 0)), member.address, now)


# Members


@pytest.mark.parametrize("status", [Status.ALIVE, Status.FAILED, Status.LEFT])
def test_fake_members_lock_no_newcomer_out_and_push_out_no_member_that_was_heard(status: Status) -> None:
    node = among(B, C)
    prove(node, B, C)
    deliver(node, EVIL, *fakes(50, status=status))
    assert len(node.members) == limits.MEMBERS_MAX
    newcomer = update("newcomer", port=7777)
    introduce(node, newcomer, now=6.0)
    assert {"a", "b", "c", "newcomer"} <= names(node)
    prove(node, newcomer)
    deliver(node, EVIL, *fakes(50, start=100))
    assert {"a", "b", "c", "newcomer"} <= names(node)
    assert len(node.members) == limits.MEMBERS_MAX
    assert node.counters["members_gave_way"] > 0
    assert node.fingerprint == recomputed(node)
    node.handle_timeout(60.0)


def test_a_member_that_answered_a_peer_on_our_behalf_is_proven_too() -> None:
    node = among(B)
    prove(node, B)
    introduce(node, C, now=6.0)
    assert node.members.is_stranger("c")
    now, asked = 6.0, None
    while asked is None:
        now += 0.1
        for output in node.handle_timeout(now):
            if isinstance(output, Transmit) and output.to == C.address:
                asked = next((each for each in unpack(output.data)[1] if isinstance(each, Ping)), asked)
    node.receive(packet(B, Ack(asked.seq, C.run_id, 0)), B.address, now)
    assert not node.members.is_stranger("c")


def test_a_packet_from_elsewhere_proves_nothing() -> None:
    node = among(B)
    node.receive(packet(B, Ping(1, 0, 0)), address(9999), 6.0)
    assert node.members.is_stranger("b")
    prove(node, B)
    assert not node.members.is_stranger("b")
    deliver(node, C, attrs.evolve(B, generation=BORN + 1))
    assert node.members.is_stranger("b"), "its new run has said nothing"


def test_members_that_are_gone_give_way_before_a_newcomer_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MEMBERS_MAX", 3)
    node = among(B, C)
    prove(node, B, C)
    deliver(node, B, update("d", port=7004))
    assert "d" not in names(node)
    assert node.counters["updates_over_member_limit"] == 1
    deliver(node, B, C.graver(Status.LEFT, 0))
    outputs = deliver(node, B, update("d", port=7004))
    assert names(node) == {"a", "b", "d"}
    assert any(isinstance(each, MemberChanged) and each.after is None for each in outputs)


def test_updates_about_departed_members_evict_no_present_member(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MEMBERS_MAX", 3)
    node = among(B, C)
    deliver(node, B, update("gone", Status.FAILED))
    assert names(node) == {"a", "b", "c"}


def test_peers_push_out_each_others_strangers_only_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "NEWCOMERS_PER_SECOND_MAX", 3)
    monkeypatch.setattr(limits, "NEWCOMERS_IN_PERSON_PER_SECOND_MAX", 5)
    node = among(B, C)
    deliver(node, EVIL, *fakes(7))
    deliver(node, EVIL, *fakes(100, start=100), now=6.0)
    assert node.counters["members_gave_way"] == 3
    introduce(node, *fakes(100, start=300), now=6.0)
    assert node.counters["members_gave_way"] == 3 + 5, "those that speak for themselves have an allowance of their own"
    deliver(node, EVIL, *fakes(100, start=500), now=8.0)
    assert node.counters["members_gave_way"] == 3 + 5 + 3


def test_an_evicted_suspect_is_not_declared_failed() -> None:
    node = among(B, C)
    prove(node, B, C)
    deliver(node, EVIL, *fakes(7), *fakes(7, status=Status.SUSPECT))
    deliver(node, EVIL, *fakes(20, start=50))
    for tick in range(200):
        node.handle_timeout(6.0 + tick / 2)
    assert node.fingerprint == recomputed(node)


def test_members_that_were_never_reached_are_forgotten_in_a_while() -> None:
    node = among(B, C)
    deliver(node, EVIL, *fakes(5, status=Status.SUSPECT))
    assert len(node.detector.unreachable_members(60.0, 7.0)) == 5
    node.handle_timeout(200.0)
    assert node.detector._unreachable.keys() <= names(node)


# Records


def offered(owner: str, ids: Iterable[str], *, size: int = 0) -> list[Record]:
    registry = Registry(owner)
    return [registry.offer(instance(id_, meta={"x": "y" * size}), BORN)[0] for id_ in ids]


def held(node: Engine) -> dict[str, int]:
    return {table.owner: table.size for table in node.state.registry.owners}


def test_all_owners_together_have_a_bound_and_strangers_give_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "RECORDS_MAX", 12)
    node = among(B, C)
    prove(node, B)
    stranger = update("stranger", port=7005)
    deliver(node, B, stranger)
    deliver(node, B, *offered("stranger", map(str, range(40))))
    assert held(node) == {"stranger": 12}
    assert node.counters["records_over_total_limit"] == 28
    deliver(node, B, *offered("b", map(str, range(30))))
    assert held(node) == {"b": 12}
    deliver(node, B, *offered("c", map(str, range(3))))
    assert held(node) == {"b": 12}, "strangers evict no member"
    node.register(instance("own"), 6.0)
    assert [each.owner for each in node.view.service("orders").healthy if each.id == "own"] == ["a"]
    assert node.state.registry.size == sum(held(node).values())


def test_the_bytes_of_all_owners_have_a_bound_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "RECORDS_BYTES_MAX", 5000)
    node = among(B, C)
    prove(node, B, C)
    for owner in ("b", "c"):
        deliver(node, B, *offered(owner, map(str, range(20)), size=500))
    registry = node.state.registry
    assert registry.payload_bytes == sum(table.payload_bytes for table in registry.owners) <= 5000
    large = Announcement("c", BORN, 50, "large", 0, 0, 4000)
    before = node.counters["records_over_total_limit"]
    deliver(node, B, large)
    assert node.counters["records_over_total_limit"] == before + 1
    deliver(node, B, *[Record("b", BORN, 90 + n, str(n), 0, None) for n in range(20)])
    assert registry.payload_bytes == sum(table.payload_bytes for table in registry.owners)


def test_one_owner_has_a_bound_in_bytes_and_is_told_so_where_it_registers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "RECORDS_BYTES_PER_OWNER_MAX", 3000)
    node = among(B)
    prove(node, B)
    deliver(node, B, *offered("b", map(str, range(20)), size=500))
    assert 0 < node.state.registry.payload_bytes <= 3000
    assert node.counters["records_over_owner_limit"] > 0
    for number in range(5):
        node.register(instance(f"x{number}", meta={"x": "y" * 500}), 6.0)
    with pytest.raises(RecordTooLarge, match="bytes together"):
        node.register(instance("too-many", meta={"x": "y" * 500}), 6.0)


def test_owners_without_a_membership_update_hold_little(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "PENDING_OWNER_RECORDS_MAX", 3)
    monkeypatch.setattr(limits, "PENDING_OWNER_BYTES_MAX", 2000)
    node = among(B)
    deliver(node, B, *offered("one", map(str, range(20))))
    deliver(node, B, *offered("other", map(str, range(20)), size=700))
    assert held(node) == {"one": 3, "other": 2}


def test_removals_without_end_are_bounded_like_records(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "RECORDS_MAX", 10)
    node = among(B)
    prove(node, B)
    deliver(node, B, *[Record("b", BORN, 5 + number, f"x{number}", 1, None) for number in range(50)])
    assert held(node) == {"b": 10}
