"""An answer costs what fits into it, however large its service is."""

from __future__ import annotations

from collections import Counter
from itertools import accumulate
from random import Random

import attrs
import dns.message
import dns.rdatatype
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossipreg.frontends.dns import limits, record_pools
from gossipreg.frontends.dns.record_pools import order
from gossipreg.model import Instance
from tests.frontends.dns.client import DnsClient, data

NAME = "orders.service.gossipreg"

weights_ = st.lists(st.integers(1, 1000), min_size=1, max_size=30)


@given(weights_, st.integers(0, 2**32), st.floats(0, 1, exclude_max=True))
def test_an_order_has_every_number_once(weights: list[int], seed: int, lot: float) -> None:
    assert sorted(order(list(accumulate(weights)), Random(seed), lot)) == list(range(len(weights)))


@given(weights_, st.integers(0, 2**32), st.floats(0, 1, exclude_max=True))
def test_the_lot_decides_which_comes_first(weights: list[int], seed: int, lot: float) -> None:
    ends = list(accumulate(weights))
    first = next(order(ends, Random(seed), lot))
    assert ends[first] - weights[first] <= lot * ends[-1] <= ends[first]


def test_of_nothing_there_is_no_order() -> None:
    assert list(order([], Random(1), 0.5)) == []


def test_the_others_follow_with_the_odds_of_their_weights() -> None:
    # Weights so that both ways are taken: by rejection while much is left, by sorting for the rest.
    ends, rng = list(accumulate([40, 10, 20, 30, 5])), Random(7)
    second, last = Counter[int](), Counter[int]()
    for _ in range(20_000):
        drawn = list(order(ends, rng, 0.0))
        assert drawn[0] == 0
        second[drawn[1]] += 1
        last[drawn[-1]] += 1
    due = {1: 10 / 65, 2: 20 / 65, 3: 30 / 65, 4: 5 / 65}
    chi_squared = sum((second[n] - 20_000 * share) ** 2 / (20_000 * share) for n, share in due.items())
    assert chi_squared < 30  # with three degrees of freedom a fair draw exceeds it once in a million runs
    assert last.most_common(1)[0][0] == 4


@pytest.mark.parametrize("type_", ["A", "SRV", "TXT"])
def test_no_more_is_written_than_fits_and_nothing_twice(
    dns_client: DnsClient, type_: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(2000):
        dns_client.offer(f"10.0.{number // 250}.{number % 250 + 1}", owner=f"n{number}")
    written: list[str] = []
    write = record_pools.RecordWriter.piece

    def note(self: record_pools.RecordWriter, type_: object, instance: Instance) -> record_pools.WireRecord | None:
        written.append(instance.id)
        return write(self, type_, instance)  # type: ignore[arg-type]

    monkeypatch.setattr(record_pools.RecordWriter, "piece", note)
    given = data(dns_client.ask(NAME, type_, use_edns=0, payload=1232))
    assert len(given) < len(written) <= len(given) + 1
    for number in range(30):
        dns_client.offer("10.1.0.1", id="changing", weight=number + 1)  # what did not change is not written again
        dns_client.ask(NAME, type_, use_edns=0, payload=1232)
    unchanged = [each for each in written if each != "changing"]
    assert len(unchanged) == len(set(unchanged))


def test_a_service_is_looked_at_once_for_all_questions_and_again_after_a_change(dns_client: DnsClient) -> None:
    first = dns_client.offer("10.0.0.1")
    dns_client.offer("10.0.0.2")
    for type_ in ("A", "AAAA", "SRV", "TXT", "ANY", "MX"):
        for payload in (512, 1232, 4096):
            dns_client.ask(NAME, type_, use_edns=0, payload=payload)
    assert dns_client.node.lookups == 2
    dns_client.withdraw(first)
    for _ in range(3):
        assert dns_client.records(NAME) == ["10.0.0.2"]
    assert dns_client.node.lookups == 4


def test_records_of_what_is_gone_are_not_kept_for_ever(dns_client: DnsClient) -> None:
    zone = dns_client.responder.zone
    for number in range(50):
        dns_client.offer("10.0.0.1", id="changing", weight=number + 1)
        dns_client.ask(NAME, "SRV")
        [pool] = [zone._pools.last(key) for key in zone._pools._kept]
        assert pool is not None
        assert len(pool.side(dns.rdatatype.SRV)._written) <= 3  # type: ignore[union-attr]
    dns_client.offer("10.0.0.2", weight=1000)
    for kind in ("service", "service-x256"):
        weights = [int(each.split()[1]) for each in dns_client.records(f"orders.{kind}.gossipreg", "SRV")]
        assert sorted(weights) == ([50, 1000] if kind == "service" else [3276, 65_535])


def test_what_is_kept_is_bounded(dns_client: DnsClient) -> None:
    zone = dns_client.responder.zone
    assert zone._pools.size_max == limits.POOLED_INSTANCES_MAX
    zone._pools.size_max = 50
    for service in range(40):
        for number in range(5):
            dns_client.offer(f"10.0.0.{number + 1}", service=f"s{service}")
        dns_client.ask(f"s{service}.service.gossipreg")
        dns_client.ask(f"nothing-{service}.service.gossipreg")
        assert 0 < zone._pools.total <= 50


def test_instances_at_one_address_are_one_record(dns_client: DnsClient) -> None:
    for port in (1, 2, 3):
        dns_client.offer("10.0.0.1", port)
    assert dns_client.records(NAME) == ["10.0.0.1"]
    assert len(dns_client.records(NAME, "SRV")) == 3
    twin = attrs.evolve(dns_client.offer("10.0.0.1", 1), owner="beta", weight=7)
    dns_client.node.hold(twin)
    assert len(dns_client.records(NAME, "SRV")) == 3
    assert len(dns_client.records(NAME, "TXT")) == 4


def test_addresses_of_both_families_are_each_asked_for(dns_client: DnsClient) -> None:
    dns_client.offer("10.0.0.1")
    dns_client.offer("::1")
    dns_client.offer("web1")
    assert dns_client.records(NAME) == ["10.0.0.1"]
    assert dns_client.records(NAME, "AAAA") == ["::1"]
    assert len(dns_client.records(NAME, "SRV")) == 3
    assert dns_client.records(NAME, "CNAME") == []


def test_a_packet_is_filled_and_can_be_read(dns_client: DnsClient) -> None:
    for number in range(500):
        dns_client.offer(f"10.0.{number // 250}.{number % 250 + 1}", owner=f"n{number}")
    for type_, payload, tcp in (("SRV", 512, False), ("SRV", 4096, False), ("A", 1232, False), ("TXT", 0, True)):
        query = dns.message.make_query(NAME, type_, use_edns=0, payload=payload or 1232)
        answer = dns_client.responder.answer(query.to_wire(), tcp=tcp)
        assert answer is not None
        assert data(dns.message.from_wire(answer))
        assert tcp or payload - 80 < len(answer) <= payload
