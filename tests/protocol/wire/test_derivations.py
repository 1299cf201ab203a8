"""Junk under unknown senders costs a bounded number of key derivations, and blocks no member's packets."""

from __future__ import annotations

import pytest

from gossipreg import limits
from gossipreg.protocol.wire.derivations import DerivationBudget
from gossipreg.protocol.wire.packets import FRESHNESS_SECONDS, ChecksummedPackets, Refusal, Refused, SealedPackets
from tests.keyrings import ring

KEY = bytes(range(32))
NOW = 1_750_000_000.0
FLOODER, MEMBER, NEWCOMER = "10.6.6.6", "10.0.0.1", "10.0.0.2"


@pytest.fixture(autouse=True)
def small_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "DERIVATIONS_PER_SOURCE_BURST", 4)
    monkeypatch.setattr(limits, "DERIVATIONS_PER_SOURCE_RATE", 2.0)
    monkeypatch.setattr(limits, "DERIVATIONS_BURST", 10)
    monkeypatch.setattr(limits, "DERIVATIONS_RATE", 5.0)


def taken(budget: DerivationBudget, host: str, now: float, tries: int = 100) -> int:
    return sum(budget.take(host, now) for _ in range(tries))


def test_a_source_has_a_burst_and_a_rate() -> None:
    budget = DerivationBudget()
    assert taken(budget, FLOODER, NOW) == 4
    assert taken(budget, FLOODER, NOW + 1) == 2
    assert taken(budget, FLOODER, NOW + 1000) == 4


def test_all_strangers_together_have_a_burst_and_a_rate() -> None:
    budget = DerivationBudget()
    assert sum(taken(budget, f"10.6.0.{each}", NOW) for each in range(50)) == 10
    assert sum(taken(budget, f"10.6.1.{each}", NOW + 1) for each in range(50)) == 5


def test_strangers_take_nothing_from_sources_that_are_vouched_for() -> None:
    budget = DerivationBudget()
    budget.vouch(MEMBER)
    budget.vouch(MEMBER)
    for each in range(50):
        taken(budget, f"10.6.0.{each}", NOW)
    assert taken(budget, NEWCOMER, NOW) == 0
    assert taken(budget, MEMBER, NOW) == 4


def test_a_clock_that_is_set_back_neither_fills_nor_locks_the_budget() -> None:
    budget = DerivationBudget()
    assert taken(budget, FLOODER, NOW) == 4
    assert taken(budget, FLOODER, NOW - 3600) == 0
    assert taken(budget, FLOODER, NOW - 3599) == 2


def test_sources_are_remembered_within_a_bound_the_latest_the_longest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "DERIVATION_SOURCES_MAX", 2)
    budget = DerivationBudget()
    for host in (MEMBER, NEWCOMER, MEMBER, FLOODER):
        budget.vouch(host)
        budget.take(host, NOW)
    assert list(budget._vouched) == list(budget._sources) == [MEMBER, FLOODER]


def junk(number: int) -> bytes:
    key_id = SealedPackets(ring(KEY), "prod", b"any-run.").encode(b"", NOW)[1:5]
    return b"\x81" + key_id + number.to_bytes(8, "big") + bytes(60)


def reason(answer: bytes | Refused) -> Refusal | None:
    return answer.reason if isinstance(answer, Refused) else None


def test_junk_under_random_runs_costs_no_more_than_the_budget() -> None:
    receiver = SealedPackets(ring(KEY), "prod", b"receiver")
    why = [reason(receiver.decode(junk(each), NOW, FLOODER)) for each in range(100)]
    assert why == [Refusal.FORGED] * 4 + [Refusal.OVER_BUDGET] * 96


def test_known_runs_are_heard_whatever_the_flood() -> None:
    member, receiver = (
        SealedPackets(ring(KEY), "prod", b"member.."),
        SealedPackets(ring(KEY), "prod", b"receiver"),
    )
    assert receiver.decode(member.encode(b"hello", NOW), NOW, MEMBER) == b"hello"
    for each in range(100):
        receiver.decode(junk(each), NOW, MEMBER)
    assert receiver.decode(member.encode(b"hello again", NOW), NOW, MEMBER) == b"hello again"


def test_under_a_flood_from_everywhere_a_member_that_restarts_and_a_newcomer_with_a_stream_are_met() -> None:
    member, receiver = (
        SealedPackets(ring(KEY), "prod", b"member.."),
        SealedPackets(ring(KEY), "prod", b"receiver"),
    )
    receiver.decode(member.encode(b"hello", NOW), NOW, MEMBER)
    for each in range(100):
        receiver.decode(junk(each), NOW, f"10.6.0.{each}")
    restarted, newcomer = (
        SealedPackets(ring(KEY), "prod", b"member.2"),
        SealedPackets(ring(KEY), "prod", b"newcomer"),
    )
    assert receiver.decode(restarted.encode(b"back", NOW), NOW, MEMBER) == b"back"
    assert reason(receiver.decode(newcomer.encode(b"new", NOW), NOW, NEWCOMER)) is Refusal.OVER_BUDGET
    receiver.vouch(NEWCOMER)
    assert receiver.decode(newcomer.encode(b"new", NOW), NOW, NEWCOMER) == b"new"


def test_a_replayed_packet_proves_no_run() -> None:
    member, receiver = (
        SealedPackets(ring(KEY), "prod", b"member.."),
        SealedPackets(ring(KEY), "prod", b"receiver"),
    )
    recorded = member.encode(b"hello", NOW - FRESHNESS_SECONDS - 1)
    assert reason(receiver.decode(recorded, NOW, FLOODER)) is Refusal.STALE
    for each in range(100):
        receiver.decode(junk(each), NOW, f"10.6.0.{each}")
    assert reason(receiver.decode(recorded, NOW, FLOODER)) is Refusal.OVER_BUDGET


def test_in_clear_there_is_nothing_to_derive() -> None:
    sender, receiver = ChecksummedPackets("prod"), ChecksummedPackets("prod")
    receiver.vouch(MEMBER)
    assert all(receiver.decode(sender.encode(b"hello", NOW), NOW, MEMBER) == b"hello" for _ in range(100))
