"""Policies: the last writer wins."""

from __future__ import annotations

from contextlib import suppress
from random import Random

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossipreg import limits
from gossipreg.errors import InvalidPolicy
from gossipreg.policy import Maintenance, Policy, Rule, Split, WeightOverride
from gossipreg.prepared_query import PreparedQuery
from gossipreg.protocol.registry.payload import BadPayload
from gossipreg.protocol.registry.policies import Policies
from gossipreg.protocol.registry.policy_version import PolicyVersion, pack_rule, unpack_rule
from gossipreg.protocol.wire.messages import SENDER_BYTES, pack
from gossipreg.protocol.wire.packets import SealedPackets
from tests.keyrings import ring
from tests.protocol.making import law

QUERY = "8f246b77-f3e1-ff88-5b48-8ec93abf3e05"

RULES: list[Rule] = [
    Split("orders", {"v1": 90, "v2": 10}),
    Split("orders", {"north": 1}, by="zone"),
    WeightOverride("orders", "o1", 5),
    WeightOverride("orders", "o1", 5, "web-1"),
    Maintenance("orders", "o1", "new disk", "web-1"),
    Maintenance("orders", "o1", "new disk"),
    Maintenance("search", "s1"),
    PreparedQuery(QUERY, "search", "near-search", tags=("v1",), node_meta={"rack": "r1"}),
    PreparedQuery(QUERY, "search", "other-search"),
]


def version(rule: Rule, ms: int = 1, *, counter: int = 0, writer: str = "a", removed: bool = False) -> PolicyVersion:
    return PolicyVersion(rule.key, ms, counter, writer, None if removed else pack_rule(rule))


def deliver(policies: Policies, *versions: PolicyVersion) -> None:
    for each in versions:
        if policies.is_news(each):
            policies.take(each)


versions = st.builds(
    version,
    st.sampled_from(RULES),
    st.integers(1, 3),
    counter=st.integers(0, 1),
    writer=st.sampled_from("ab"),
    removed=st.booleans(),
)


@law
@given(st.lists(versions, max_size=12), st.randoms(use_true_random=False))
def test_words_merge_to_the_same_end_in_any_order_and_however_often(said: list[PolicyVersion], rng: Random) -> None:
    one, other = Policies(), Policies()
    deliver(one, *said)
    shuffled = said + said
    rng.shuffle(shuffled)
    deliver(other, *shuffled)
    assert list(one) == list(other)
    assert one.in_force == other.in_force
    assert {rule.key for rule in one.of("orders").values()} == {
        each.key for each in one.in_force if each.rule.service == "orders"
    }
    assert len(one) == len(one.in_force)


@pytest.mark.parametrize("rule", RULES)
def test_a_rule_is_read_as_it_was_written(rule: Rule) -> None:
    assert unpack_rule(pack_rule(rule), rule.key) == rule


@pytest.mark.parametrize("field", ["node_meta", "service_meta"])
def test_a_query_is_read_as_it_was_written_with_as_much_meta_as_it_may_have(field: str) -> None:
    meta = dict.fromkeys(map(str, range(limits.PREPARED_QUERY_META_ENTRIES_MAX)), "")
    rule = PreparedQuery(QUERY, "web", "w", **{field: meta})  # type: ignore[arg-type]  # of either field
    rule.check()
    assert unpack_rule(pack_rule(rule), rule.key) == rule


@pytest.mark.parametrize(
    "unread",
    [
        PreparedQuery(QUERY, "web", "w", node_meta=dict.fromkeys(map(str, range(65)), "")),
        Split("orders", {"v1": 1.0}),  # type: ignore[dict-item]
        PreparedQuery(QUERY, "web", "w", node_meta={"a": ("b",)}),
    ],
)
def test_no_rule_is_written_that_would_not_be_read(unread: Rule) -> None:
    with pytest.raises(InvalidPolicy, match="would not be read"):
        pack_rule(unread)


def test_a_policy_states_its_writer_and_its_time() -> None:
    policies = Policies()
    deliver(policies, version(RULES[0], 1_500, writer="b"))
    assert policies.in_force == (Policy(RULES[0], "b", 1.5),)


def test_a_removed_policy_is_in_force_no_more_and_does_not_come_back() -> None:
    policies = Policies()
    deliver(policies, version(RULES[0], 1), version(RULES[0], 2, removed=True), version(RULES[0], 1))
    assert policies.in_force == ()
    assert policies.of("orders") == {}
    assert policies.rule("split:orders") is None


@pytest.mark.parametrize("removed", ["replaced", "discarded"])
def test_what_another_thread_reads_during_a_change_is_not_kept(removed: str, monkeypatch: pytest.MonkeyPatch) -> None:
    policies = Policies()
    deliver(policies, version(RULES[0], 1))
    drop = Policies._drop

    def read_and_drop(self: Policies, gone: PolicyVersion) -> None:
        assert self.in_force == (Policy(RULES[0], "a", 0.001),)
        drop(self, gone)

    monkeypatch.setattr(Policies, "_drop", read_and_drop)
    if removed == "replaced":
        policies.take(version(RULES[0], 2, removed=True))
    else:
        policies.discard(version(RULES[0], 1))
    assert policies.in_force == ()


def test_a_kind_that_only_a_later_version_knows_is_kept_and_has_no_effect() -> None:
    unknown = PolicyVersion("limit:orders", 1, 0, "a", msgpack.packb({"kind": "limit", "service": "orders", "most": 5}))
    policies = Policies()
    deliver(policies, unknown)
    assert list(policies) == [unknown]
    assert policies.in_force == ()


@pytest.mark.parametrize(
    "payload",
    [
        b"\xc1",
        msgpack.packb([]),
        msgpack.packb({"kind": 1}),
        msgpack.packb({"kind": "split", "service": "orders", "shares": [], "by": "tag"}),
        msgpack.packb({"kind": "split", "service": "orders", "shares": {"v1": -1}, "by": "tag"}),
        msgpack.packb({"kind": "split", "service": "orders", "shares": None, "by": "tag"}),
        msgpack.packb({"kind": "split", "service": "search", "shares": {"v1": 1}, "by": "tag"}),
        msgpack.packb({"kind": "weight", "service": "orders", "instance": "o1"}),
    ],
)
def test_bytes_that_are_no_rule_are_refused_as_one_and_kept_as_a_word(payload: bytes) -> None:
    with pytest.raises(BadPayload):
        unpack_rule(payload, "split:orders")
    policies = Policies()
    unread = PolicyVersion("split:orders", 1, 0, "a", payload)
    deliver(policies, unread)
    assert list(policies) == [unread], "a later version may understand it, and all must hold the same"
    assert policies.in_force == ()
    deliver(policies, version(RULES[0], 2))
    assert policies.rule("split:orders") == RULES[0]


@law
@given(st.binary(max_size=60))
def test_any_bytes_are_a_rule_or_are_refused(payload: bytes) -> None:
    with suppress(BadPayload):
        unpack_rule(payload, "split:orders")


def test_a_rule_that_does_not_fit_a_packet_is_refused() -> None:
    with pytest.raises(InvalidPolicy, match="900 are allowed"):
        pack_rule(Split("orders", {f"{n}{'v' * 60}": 1 for n in range(20)}))


def test_the_longest_word_fits_a_sealed_packet() -> None:
    names = "n" * limits.NAME_CHARS_MAX
    longest = PolicyVersion("k" * limits.POLICY_KEY_CHARS_MAX, 2**53, 2**16 - 1, names, bytes(limits.POLICY_BYTES_MAX))
    seal = SealedPackets(ring(bytes(32)), names, bytes(8))
    assert SENDER_BYTES + len(pack(longest)) + seal.overhead <= limits.PACKET_BYTES_MAX


def test_the_latest_removals_are_remembered_and_the_rest_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "POLICIES_REMOVED_MAX", 2)
    removals = [version(Maintenance("orders", f"o{n}"), ms=n, removed=True) for n in range(1, 5)]
    forwards, backwards = Policies(), Policies()
    deliver(forwards, *removals)
    deliver(backwards, *reversed(removals))
    assert [each.ms for each in forwards] == [3, 4]
    assert list(forwards) == list(backwards)


def test_a_removal_that_would_be_given_up_at_once_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "POLICIES_REMOVED_MAX", 1)
    policies = Policies()
    deliver(policies, version(RULES[0], 1), version(RULES[4], 3, removed=True))
    assert not policies.is_news(version(RULES[0], 2, removed=True))
    deliver(policies, version(RULES[0], 4, removed=True))
    assert [(each.key, each.ms) for each in policies] == [("split:orders", 4)]


@law
@given(st.lists(versions, max_size=12))
def test_what_is_replaced_or_pushed_out_was_held_and_is_held_no_more(said: list[PolicyVersion]) -> None:
    policies, held = Policies(), set[PolicyVersion]()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(limits, "POLICIES_REMOVED_MAX", 1)
        for each in said:
            if policies.is_news(each):
                gone = set(policies.take(each))
                assert gone <= held
                held = held - gone | {each}
            assert set(policies) == held


def test_peers_cannot_fill_the_memory_with_policies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "POLICIES_MAX", 1)
    policies = Policies()
    deliver(policies, *(version(Maintenance("orders", f"o{n}")) for n in range(5)))
    assert len(policies) == 2
    deliver(policies, version(Maintenance("orders", "o0", "later"), 2))
    assert policies.rule("maintenance:orders:o0") == Maintenance("orders", "o0", "later")


def test_a_word_that_is_held_is_no_news() -> None:
    policies = Policies()
    said = version(Split("orders", {"blue": 1}))
    assert policies.is_news(said)
    policies.take(said)
    assert not policies.is_news(said)


def test_a_policy_may_fill_all_the_room_there_is_for_one(monkeypatch: pytest.MonkeyPatch) -> None:
    rule = Split("orders", {"blue": 1})
    size = len(pack_rule(rule))
    monkeypatch.setattr(limits, "POLICY_BYTES_MAX", size)
    assert len(pack_rule(rule)) == size
    monkeypatch.setattr(limits, "POLICY_BYTES_MAX", size - 1)
    with pytest.raises(InvalidPolicy):
        pack_rule(rule)


# What a peer that says too much can push out, and what it cannot


def flood(count: int, ms: int, *, writer: str = "evil") -> list[PolicyVersion]:
    return [version(Maintenance("missing", f"o{n}"), ms, counter=n, writer=writer, removed=True) for n in range(count)]


def hear_at(policies: Policies, wall: int, *said: PolicyVersion) -> None:
    for each in said:
        if policies.is_news(each, wall):
            policies.take(each, wall)


@pytest.mark.parametrize("lead", [0, 1, 86_400_000])
@pytest.mark.parametrize("writer", ["a", "evil"])
@pytest.mark.parametrize("count", [1100, 2500])
def test_a_flood_of_removals_pushes_out_no_honest_one(lead: int, writer: str, count: int) -> None:
    policies, wall = Policies(), 1_000_000
    hear_at(policies, wall, version(RULES[0], wall), version(RULES[0], wall + 1, removed=True))
    hear_at(policies, wall + 2, *flood(count, wall + lead, writer=writer))
    hear_at(policies, wall + 3, version(RULES[0], wall))
    assert policies.in_force == ()


def test_removals_ahead_of_the_clock_give_way_first_however_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "POLICIES_REMOVED_MAX", 20)
    monkeypatch.setattr(limits, "POLICIES_REMOVED_PER_WRITER_MAX", 10)
    policies, wall = Policies(), 1_000_000
    honest = [version(Maintenance("orders", f"o{n}"), wall - n, removed=True) for n in range(5)]
    hear_at(policies, wall, *honest)
    for writer in ("a", "evil", "worse"):
        hear_at(policies, wall, *flood(50, wall + 86_400_000, writer=writer))
    assert set(honest) < set(policies)
    assert len(list(policies)) <= 20
    late = [version(Maintenance("orders", f"late{n}"), wall, writer="b", removed=True) for n in range(10)]
    hear_at(policies, wall, *late)
    assert {*honest, *late} < set(policies)


def test_one_writer_pushes_out_its_own_removals_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "POLICIES_REMOVED_PER_WRITER_MAX", 3)
    policies = Policies()
    honest = version(RULES[0], 1, removed=True)
    deliver(policies, honest, *flood(50, 2))
    assert [each.counter for each in policies if each.writer == "evil"] == [47, 48, 49]
    assert policies.get(honest.key) == honest


@law
@given(st.data())
def test_which_removals_are_kept_does_not_depend_on_the_order(data: st.DataObject) -> None:
    stamps = st.tuples(st.sampled_from([1, 2, 3, 70_000, 80_000]), st.sampled_from("ab"))
    said = [
        version(Maintenance("orders", f"o{n}"), ms, writer=writer, removed=True)
        for n, (ms, writer) in enumerate(data.draw(st.lists(stamps, max_size=9)))
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(limits, "POLICIES_REMOVED_MAX", 4)
        patch.setattr(limits, "POLICIES_REMOVED_PER_WRITER_MAX", 4)
        one, other = Policies(), Policies()
        hear_at(one, 5, *said)
        hear_at(other, 5, *data.draw(st.permutations(said)))
        assert list(one) == list(other)


def test_a_policy_that_is_known_can_be_removed_whatever_else_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "POLICIES_REMOVED_MAX", 2)
    policies, wall = Policies(), 1_000_000
    hear_at(policies, wall, version(RULES[0], wall), *flood(2, wall + 86_400_000))
    removal = version(RULES[0], wall + 86_400_001, removed=True)
    hear_at(policies, wall, removal)
    assert policies.in_force == ()
    assert policies.get(removal.key) == removal


def unreadable(number: int, ms: int = 1) -> PolicyVersion:
    return PolicyVersion(f"canary:s{number}", ms, 0, "evil", b"\xc0")


def test_what_cannot_be_read_takes_no_room_from_users_and_is_listed_as_such(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "POLICIES_UNREADABLE_MAX", 3)
    policies = Policies()
    deliver(policies, version(RULES[0]), *(unreadable(n, ms=n + 1) for n in range(10)))
    assert len(policies) == 1
    assert [each.key for each in policies.unreadable] == ["canary:s7", "canary:s8", "canary:s9"]
    assert not policies.is_news(unreadable(0))
    deliver(policies, PolicyVersion("canary:s8", 20, 0, "a", None))
    assert [each.key for each in policies.unreadable] == ["canary:s7", "canary:s9"]
    assert policies.unreadable[0].at == 0.008


def test_what_is_in_force_is_the_same_tuple_until_it_changes() -> None:
    """Frontends look for prepared queries in it at each request."""
    policies = Policies()
    first, second = version(RULES[0]), version(RULES[-1])
    deliver(policies, first, second)
    found = policies.in_force
    assert policies.in_force is found
    policies.discard(first)
    assert [each.rule for each in policies.in_force] == [RULES[-1]]
    assert policies.query_count == 1
    deliver(policies, version(RULES[-1], ms=2, removed=True))
    assert (policies.in_force, policies.query_count) == ((), 0)
