"""The table of identity's costs has both sides of each row, and their ratio."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from gossipreg import limits
from gossipreg.protocol.identity.signature_verifier import SignatureVerifier, _Reading
from gossipreg.protocol.token_bucket import TokenBucket
from tests.bench.identity import OFF, REQUIRE, Cost, join, options, registration, rows, table


def test_the_table_has_a_row_for_the_cpu_and_the_bytes_of_each_act() -> None:
    words = ("--nodes=3", "--seconds=1", "--registrations=3", "--members=4", "--records=9", "--rounds=1")
    head, _, *lines = table(options(list(words))).splitlines()
    assert [cell.strip() for cell in head.strip("|").split("|")][2:6] == ["off", "require", "more", "ratio"]
    assert [line.strip("| ").split()[0] for line in lines] == ["CPU", "bytes"] * 3


def test_identity_costs_bytes_and_a_join_brings_all_records() -> None:
    assert registration(3, 4, REQUIRE).bytes > registration(3, 4, OFF).bytes > 0
    assert join(4, 9, REQUIRE).bytes > join(4, 9, OFF).bytes > 0


def test_a_ratio_is_that_of_the_medians() -> None:
    costs = iter([Cost(1.0, 10.0), Cost(3.0, 15.0), Cost(2.0, 10.0), Cost(5.0, 15.0), Cost(9.0, 10.0), Cost(4.0, 15.0)])
    cpu, sent = rows(lambda _: next(costs), "per registration and node", 3, scale=1.0, unit="s")
    assert cpu.cells[2:] == ("2.00 (1.00 to 9.00, n=3)", "4.00 (3.00 to 5.00, n=3)", "2.00", "2.00", "≤ 1.3x")
    assert sent.cells[2:] == ("10.0", "15.0", "5.00", "1.50", "≤ +100")


@pytest.mark.slow
def test_the_join_of_a_thousand_members_with_ten_thousand_records_meets_no_bound_on_signatures(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    paid: Counter[bool] = Counter()
    left_out: list[SignatureVerifier] = []
    verify, pay = SignatureVerifier.verify, _Reading.pay

    def counted(self: _Reading, payer: tuple[TokenBucket, ...], *, is_wrong: bool) -> None:
        paid[is_wrong] += 1
        pay(self, payer, is_wrong=is_wrong)

    def noted(self: SignatureVerifier, *args: Any, **fields: Any) -> bool:
        found = verify(self, *args, **fields)
        left_out.extend([self] * self.is_over)
        return found

    monkeypatch.setattr(_Reading, "pay", counted)
    monkeypatch.setattr(SignatureVerifier, "verify", noted)
    join(1000, 10_000, REQUIRE)
    members, records = 999, 9990
    assert left_out == []
    assert paid[True] == 0
    at_one_node = paid[False] / 2  # the first node is told the same as the newcomer
    assert 2 * members + records <= at_one_node <= 2 * members + records + 100
    assert at_one_node < limits.SIGNATURES_BURST / 2
