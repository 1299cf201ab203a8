"""Policies at one node: its user's, its peers', and those kept over a restart."""

from __future__ import annotations

import attrs
import msgpack
import pytest

from gossipreg import limits
from gossipreg.errors import InvalidPolicy, NodeClosed, NotJoined, TooManyTokens, UnknownPolicy, UnknownToken
from gossipreg.model import Health
from gossipreg.policy import Maintenance, Split, WeightOverride
from gossipreg.prepared_query import PreparedQuery
from gossipreg.protocol.anti_entropy.reconcile import Compare, Listing
from gossipreg.protocol.engine import Engine
from gossipreg.protocol.outputs import InstancesChanged, Output, PoliciesChanged
from gossipreg.protocol.registry.clock import AHEAD_MAX
from gossipreg.protocol.registry.key_statements import PrimaryKeyStatement
from gossipreg.protocol.registry.policy_version import PolicyVersion, pack_rule
from gossipreg.protocol.wire.messages import pack
from gossipreg.tokens import ClusterToken
from tests.protocol.delivering import deliver, receive_over_stream, replies
from tests.protocol.making import BORN, engine, instance, said_to
from tests.protocol.test_engine import B, among

SPLIT = Split("orders", {"v1": 90, "v2": 10})


def version(ms: int = BORN, *, removed: bool = False, writer: str = "b") -> PolicyVersion:
    return PolicyVersion(SPLIT.key, ms, 0, writer, None if removed else pack_rule(SPLIT))


def weights(node: Engine) -> dict[str, int]:
    return {each.id: each.weight for each in node.view.service("orders").healthy}


def offering(node: Engine) -> Engine:
    """A node that offers one instance of each of two versions."""
    node.register(instance("x", tags=("v1",)), 6.0)
    node.register(instance("y", tags=("v2",)), 6.0)
    return node


def policies_changed(outputs: list[Output]) -> list[tuple[str, ...]]:
    return [output.keys for output in outputs if isinstance(output, PoliciesChanged)]


def test_a_policy_is_obeyed_at_once_and_told_on() -> None:
    node = offering(among(B))
    outputs = node.set_policy(SPLIT, 6.0)
    assert weights(node) == {"x": 9, "y": 1}
    assert policies_changed(outputs) == [("split:orders",)]
    assert InstancesChanged(("orders",)) in outputs
    told = said_to(node.handle_timeout(6.1), B.address)
    assert SPLIT in [each.rule for each in told if isinstance(each, PolicyVersion)]


def test_a_peers_policy_is_obeyed_and_told_on() -> None:
    node = offering(among(B))
    outputs = deliver(node, B, version())
    assert policies_changed(outputs) == [("split:orders",)]
    node.handle_timeout(6.0)
    assert weights(node) == {"x": 9, "y": 1}
    assert version() in said_to(node.handle_timeout(6.1), B.address)


def test_what_is_known_already_is_no_news() -> None:
    node = offering(among(B))
    deliver(node, B, version())
    assert policies_changed(deliver(node, B, version())) == []
    assert policies_changed(deliver(node, B, version(BORN - 1, removed=True))) == []


def test_a_joiner_obeys_policies_of_a_session_and_does_not_broadcast_them() -> None:
    node = engine(has_seeds=True)
    outputs = receive_over_stream(node, B, version())
    assert policies_changed(outputs) == [("split:orders",)]
    assert version() not in said_to(node.handle_timeout(6.1), B.address)


def test_a_removed_policy_leaves_the_registered_weights() -> None:
    node = offering(among(B))
    node.set_policy(SPLIT, 6.0)
    node.remove_policy(SPLIT.key, 6.0)
    assert weights(node) == {"x": 1, "y": 1}
    assert node.state.policies.in_force == ()
    with pytest.raises(UnknownPolicy, match="split:orders"):
        node.remove_policy(SPLIT.key, 6.0)


def test_what_is_set_here_outranks_what_was_heard_whatever_the_clocks_say() -> None:
    node = offering(among(B))
    deliver(node, B, version(BORN + 3_600_000))
    node.set_policy(Split("orders", {"v2": 1}), 6.0)
    assert weights(node) == {"x": 0, "y": 1}


def test_a_policy_from_the_far_future_is_counted_and_dropped() -> None:
    node = offering(among(B))
    assert policies_changed(deliver(node, B, version(BORN + AHEAD_MAX + 60_000))) == []
    assert node.counters["policies_from_the_future"] == 1
    assert weights(node) == {"x": 1, "y": 1}


def test_a_policy_that_cannot_be_read_here_has_no_effect_is_told_on_and_can_be_removed() -> None:
    node = offering(among(B))
    unread = PolicyVersion(SPLIT.key, BORN, 0, "b", msgpack.packb({"kind": "split"}))
    assert policies_changed(deliver(node, B, unread)) == [(SPLIT.key,)]
    node.handle_timeout(6.1)
    assert unread in said_to(node.handle_timeout(6.15), B.address)
    assert weights(node) == {"x": 1, "y": 1}
    node.remove_policy(SPLIT.key, 6.2)
    with pytest.raises(UnknownPolicy):
        node.remove_policy(SPLIT.key, 6.2)


def test_what_is_stated_about_a_key_is_told_on_as_a_policy_is_and_is_none_that_a_user_can_remove() -> None:
    node = among(B)
    primary = PrimaryKeyStatement("0a1b2c3d")
    stated = node.local_policies.statement_of(primary, 6.0)
    assert policies_changed(node.publish_policy(stated, 6.0)) == [(primary.about,)]
    assert stated in said_to(node.handle_timeout(6.1), B.address)
    assert (node.state.policies.statements, node.state.policies.in_force) == ((primary,), ())
    with pytest.raises(UnknownPolicy, match=primary.about):
        node.remove_policy(primary.about, 6.2)


def test_a_node_that_has_reached_no_member_states_nothing_about_keys() -> None:
    with pytest.raises(NotJoined, match="cannot change the keys: it has reached no member"):
        engine(has_seeds=True).local_policies.statement_of(PrimaryKeyStatement("0a1b2c3d"), 6.0)


def test_equal_policies_are_equal_fingerprints_whatever_the_order() -> None:
    out = PolicyVersion("maintenance:orders:x", BORN, 0, "b", pack_rule(Maintenance("orders", "x", "disk")))
    one, other = engine(), engine()
    one.recall([version(), out], 6.0)
    other.recall([out, version(BORN - 1), version()], 6.0)
    assert one.fingerprint == other.fingerprint != engine().fingerprint


def test_a_policy_that_gossip_missed_is_found_by_comparing() -> None:
    node, peer = among(B), engine("p")
    deliver(node, B, version())
    sums = Compare(peer.state.fingerprint.sums)
    told = replies(receive_over_stream(node, B, sums))
    assert version() in told or any(isinstance(each, Listing) for each in told)
    peer.recall([each for each in told if isinstance(each, PolicyVersion)], 6.0)
    assert [each.rule for each in peer.state.policies.in_force] == [SPLIT]


def test_an_instance_in_maintenance_by_policy_is_in_no_lookup() -> None:
    node = offering(among(B))
    node.set_policy(Maintenance("orders", "x", "new disk"), 6.0)
    assert weights(node) == {"y": 1}
    out = next(each for each in node.view.service("orders").instances if each.id == "x")
    assert (out.health, out.reason) == (Health.MAINTENANCE, "new disk")


def test_an_owner_that_drains_weighs_nothing_whatever_a_policy_says() -> None:
    node = offering(among(B))
    node.set_policy(WeightOverride("orders", "x", 5), 6.0)
    assert weights(node) == {"x": 5, "y": 1}
    node.drain(6.0)
    assert weights(node) == {"x": 0, "y": 0}


def test_all_instances_show_the_weight_that_they_have() -> None:
    node = offering(among(B))
    node.set_policy(SPLIT, 6.0)
    assert {each.id: each.weight for each in node.view.service("orders").instances} == {"x": 9, "y": 1}


def test_a_policy_for_a_service_without_instances_waits_for_them() -> None:
    node = among(B)
    node.set_policy(SPLIT, 6.0)
    assert weights(offering(node)) == {"x": 9, "y": 1}


def test_policies_kept_over_a_restart_are_not_broadcast() -> None:
    node = among(B)
    node.recall([version()], 6.0)
    assert version() not in said_to(node.handle_timeout(6.1), B.address)
    assert [each.rule for each in node.state.policies.in_force] == [SPLIT]


def test_what_is_to_be_stored_first_is_said_later_unless_it_was_outrun() -> None:
    node = offering(among(B))
    mine = node.local_policies.version_of(SPLIT, 6.0)
    assert weights(node) == {"x": 1, "y": 1}
    assert policies_changed(node.publish_policy(mine, 6.1)) == [("split:orders",)]
    assert weights(node) == {"x": 9, "y": 1}

    removal = node.local_policies.removal_of(SPLIT.key, 7.0)
    deliver(node, B, version(BORN + 60_000))
    assert policies_changed(node.publish_policy(removal, 7.1)) == []
    assert weights(node) == {"x": 9, "y": 1}
    assert removal not in said_to(node.handle_timeout(7.2), B.address)


def test_policies_have_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "POLICIES_MAX", 1)
    node = among(B)
    node.set_policy(SPLIT, 6.0)
    node.set_policy(SPLIT, 6.0)
    with pytest.raises(InvalidPolicy, match="remove some"):
        node.set_policy(Maintenance("orders", "x"), 6.0)


def test_prepared_queries_have_a_limit_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "PREPARED_QUERIES_MAX", 1)
    node = among(B)
    first = PreparedQuery("8f246b77-f3e1-ff88-5b48-8ec93abf3e05", "orders", "near-orders")
    node.set_policy(first, 6.0)
    node.set_policy(attrs.evolve(first, tags=("v2",)), 6.0)
    second = attrs.evolve(first, id="8f246b77-f3e1-ff88-5b48-8ec93abf3e06")
    with pytest.raises(InvalidPolicy, match="1 prepared queries are defined"):
        node.set_policy(second, 6.0)
    node.set_policy(SPLIT, 6.0)
    node.publish_policy(node.local_policies.removal_of(first.key, 7.0), 7.0)
    node.set_policy(second, 8.0)
    assert [each.rule for each in node.state.policies.in_force] == [second, SPLIT]


def test_a_removal_that_pushes_another_out_tells_of_both(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "POLICIES_REMOVED_MAX", 1)
    node = among(B)
    deliver(node, B, version(removed=True))
    pushing = PolicyVersion("split:search", BORN + 1, 0, "b", None)
    assert policies_changed(deliver(node, B, pushing)) == [("split:search", "split:orders")]


def test_an_old_removal_that_comes_after_all_that_are_remembered_changes_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "POLICIES_REMOVED_MAX", 1)
    node = among(B)
    deliver(node, B, version(BORN))
    deliver(node, B, PolicyVersion("split:search", BORN + 2, 0, "b", None))
    before = node.fingerprint
    assert policies_changed(deliver(node, B, version(BORN + 1, removed=True))) == []
    assert node.fingerprint == before


def test_a_rule_that_cannot_be_obeyed_changes_nothing() -> None:
    node = among(B)
    with pytest.raises(InvalidPolicy):
        node.set_policy(Split("orders", {}), 6.0)
    assert node.state.policies.in_force == ()


def test_a_node_that_has_left_sets_no_policies_and_removes_none() -> None:
    node = among(B)
    node.set_policy(SPLIT, 5.0)
    node.leave(6.0)
    with pytest.raises(NodeClosed):
        node.local_policies.version_of(SPLIT, 6.0)  # what is stored before it is published
    with pytest.raises(NodeClosed):
        node.local_policies.removal_of(SPLIT.key, 6.0)
    with pytest.raises(NodeClosed):
        node.set_policy(SPLIT, 6.0)


def test_a_policy_takes_few_bytes() -> None:
    assert len(pack(version())) < 120


def test_what_was_kept_twice_over_a_restart_is_known_once() -> None:
    node = offering(engine("a"))
    node.recall([version(), version(), version(BORN - 1)], 6.0)
    assert weights(node) == {"x": 9, "y": 1}


def test_a_node_that_began_with_a_wrong_clock_is_shut_out_only_until_it_is_told_the_time() -> None:
    node = offering(among(B))
    late = version(BORN + 2 * AHEAD_MAX)
    assert policies_changed(deliver(node, B, late)) == []
    node.set_wall_clock(BORN + 2 * AHEAD_MAX, 6.0)
    assert policies_changed(deliver(node, B, late)) == [("split:orders",)]


def test_peers_cannot_take_the_room_of_users_with_unreadable_policies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "POLICIES_MAX", 2)
    monkeypatch.setattr(limits, "POLICIES_UNREADABLE_MAX", 3)
    node = offering(among(B))
    junk = [PolicyVersion(f"canary:s{number}", BORN + number, 0, "b", b"\xc0") for number in range(20)]
    deliver(node, B, *junk)
    restarted = offering(among(B))
    restarted.recall(junk, 6.0)
    for one in (node, restarted):
        assert len(one.state.policies.unreadable) == 3
        one.set_policy(SPLIT, 6.0)
        assert weights(one) == {"x": 9, "y": 1}
        for each in one.state.policies.unreadable:
            one.remove_policy(each.key, 6.1)
        assert not list(one.state.policies.unreadable)


def test_a_policy_for_which_there_is_no_room_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "POLICIES_MAX", 1)
    node = among(B)
    versions = [
        PolicyVersion(f"maintenance:orders:o{n}", BORN, 0, "b", pack_rule(Maintenance("orders", f"o{n}", "")))
        for n in range(3)
    ]
    outputs = deliver(node, B, *versions)
    assert policies_changed(outputs) == [(versions[0].key,), (versions[1].key,)]
    assert node.counters["policies_over_limit"] == 1


TOKEN = ClusterToken("ci", "00" * 32, ("read",))


def test_a_token_is_told_on_as_a_policy_is_and_is_none_that_a_user_can_remove() -> None:
    node = among(B)
    created = node.local_policies.token_version_of(TOKEN, 6.0)
    assert policies_changed(node.publish_policy(created, 6.0)) == [("token:ci",)]
    assert created in said_to(node.handle_timeout(6.1), B.address)
    assert ([each.name for each in node.state.policies.tokens], node.state.policies.in_force) == (["ci"], ())
    with pytest.raises(UnknownPolicy, match="token:ci"):
        node.remove_policy("token:ci", 6.2)


def test_a_revoked_token_is_gone_and_revoking_it_again_is_refused() -> None:
    node = among(B)
    node.publish_policy(node.local_policies.token_version_of(TOKEN, 6.0), 6.0)
    node.publish_policy(node.local_policies.token_removal_of("ci", 6.1), 6.1)
    assert node.state.policies.tokens == ()
    for name in ("ci", "unknown"):
        with pytest.raises(UnknownToken, match=name):
            node.local_policies.token_removal_of(name, 6.2)


def test_there_is_room_for_so_many_tokens_and_a_known_name_can_be_created_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "CLUSTER_TOKENS_MAX", 1)
    node = among(B)
    node.publish_policy(node.local_policies.token_version_of(TOKEN, 6.0), 6.0)
    with pytest.raises(TooManyTokens, match="1 tokens are known"):
        node.local_policies.token_version_of(ClusterToken("cd", "11" * 32, ("read",)), 6.1)
    node.local_policies.token_version_of(TOKEN, 6.1)
