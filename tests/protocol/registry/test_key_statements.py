"""Statements about keys: which are read, and which keys a node then holds."""

from __future__ import annotations

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossipreg import limits
from gossipreg.key_format import key_id
from gossipreg.policy import Maintenance
from gossipreg.protocol.registry.key_statements import (
    PRIMARY,
    KeysInForce,
    KeyStatement,
    PrimaryKeyStatement,
    Statement,
    is_about_keys,
    keys_in_force,
    pack_statement,
    unpack_statement,
)
from gossipreg.protocol.registry.payload import BadPayload
from gossipreg.protocol.registry.policies import Policies
from gossipreg.protocol.registry.policy_version import PolicyVersion, pack_rule

OLD, NEW, THIRD = (bytes([each]) * 32 for each in range(3))
OLD_ID, NEW_ID, THIRD_ID = map(key_id, (OLD, NEW, THIRD))
WALL = 1_767_225_600.0

some_keys = st.sampled_from([OLD, NEW, THIRD])
statements = st.lists(
    st.one_of(
        st.builds(
            lambda key, says, until: KeyStatement(key_id(key), key if says else b"", until),
            some_keys,
            st.booleans(),
            st.none() | st.sampled_from([0.0, WALL - 1, WALL + 1]),
        ),
        st.builds(lambda key: PrimaryKeyStatement(key_id(key)), some_keys),
    ),
    unique_by=lambda each: each.about,
    max_size=4,
)


def in_force(files: list[bytes], *stated: Statement) -> tuple[bytes, ...]:
    return keys_in_force(files, stated, WALL).keys


# On the wire


@given(statements)
def test_what_was_packed_is_read(stated: list[Statement]) -> None:
    for each in stated:
        assert unpack_statement(pack_statement(each), each.about) == each
        assert is_about_keys(each.about)


@given(st.binary(max_size=80))
def test_no_bytes_do_anything_else_than_be_refused(junk: bytes) -> None:
    with pytest.raises(BadPayload):
        unpack_statement(junk, PRIMARY)


GOOD = {"kind": "gossip-key", "id": OLD_ID, "key": OLD, "until": None}


@pytest.mark.parametrize(
    "wrong",
    [
        {"kind": "split"},
        {"kind": None},
        {"id": "XYZ"},
        {"id": 7},
        {"id": OLD_ID.upper()},
        {"key": NEW},
        {"key": OLD[:-1]},
        {"key": "text"},
        {"until": 3},
        {"until": True},
        {"until": float("nan")},
        {"until": -1.0},
        {"until": 1e300},
    ],
    ids=str,
)
def test_a_field_that_makes_no_sense_makes_no_statement(wrong: dict[str, object]) -> None:
    about = f"gossip-key:{OLD_ID}"
    assert unpack_statement(msgpack.packb(GOOD), about) == KeyStatement(OLD_ID, OLD)
    with pytest.raises(BadPayload):
        unpack_statement(msgpack.packb(GOOD | wrong), about)


def test_a_statement_under_the_name_of_another_is_refused() -> None:
    with pytest.raises(BadPayload, match="about another key"):
        unpack_statement(msgpack.packb(GOOD), f"gossip-key:{NEW_ID}")
    with pytest.raises(BadPayload, match="not a statement"):
        unpack_statement(msgpack.packb([1]), PRIMARY)


def test_no_key_is_shown_by_a_statement_or_the_version_that_carries_it() -> None:
    statement = KeyStatement(OLD_ID, b"secret of 32 bytes, by its length")
    version = PolicyVersion(statement.about, 1, 0, "a", b"secret")
    assert "secret" not in repr(statement)
    assert "secret" not in repr(version)
    assert "<6 bytes>" in repr(version)
    assert "payload=None" in repr(PolicyVersion("k", 1, 0, "a", None))


# Which keys a node holds


def test_without_statements_the_keys_of_the_file_are_held_in_their_order() -> None:
    assert keys_in_force([NEW, OLD], [], WALL) == KeysInForce((NEW, OLD), None)


def test_a_key_that_is_added_is_held_behind_the_primary_one_until_it_is_used() -> None:
    added = KeyStatement(NEW_ID, NEW)
    assert in_force([OLD], added) == (OLD, NEW)
    assert in_force([OLD], added, PrimaryKeyStatement(NEW_ID)) == (NEW, OLD)


def test_a_key_of_the_file_can_be_used_by_its_id_alone() -> None:
    assert in_force([OLD, NEW], PrimaryKeyStatement(NEW_ID)) == (NEW, OLD)


def test_a_node_that_lacks_the_primary_key_says_so_and_goes_on_with_what_it_has() -> None:
    found = keys_in_force([OLD], [PrimaryKeyStatement(NEW_ID)], WALL)
    assert (found.keys, found.lacking) == ((OLD,), NEW_ID)


def test_a_key_that_is_given_up_is_held_until_its_time_and_then_no_longer_whatever_the_file_says() -> None:
    stated: list[Statement] = [
        KeyStatement(NEW_ID, NEW),
        PrimaryKeyStatement(NEW_ID),
        KeyStatement(OLD_ID, until=WALL + 10),
    ]
    before = keys_in_force([OLD], stated, WALL)
    assert (before.keys, before.until, before.given_up) == ((NEW, OLD), WALL + 10, ())
    after = keys_in_force([OLD], stated, WALL + 10)
    assert (after.keys, after.until, after.given_up) == ((NEW,), None, (OLD_ID,))


def test_the_first_of_several_ends_is_the_time_to_look_again() -> None:
    stated = [KeyStatement(NEW_ID, NEW, WALL + 20), KeyStatement(OLD_ID, b"", WALL + 10)]
    assert keys_in_force([THIRD, OLD], stated, WALL).until == WALL + 10


def test_a_node_that_would_be_left_without_a_key_keeps_those_of_its_file() -> None:
    stated: list[Statement] = [PrimaryKeyStatement(NEW_ID), KeyStatement(OLD_ID, until=0.0)]
    assert keys_in_force([OLD], stated, WALL) == KeysInForce((OLD,), None, NEW_ID, (OLD_ID,))


def test_no_more_keys_are_held_than_are_allowed_and_the_primary_one_is_among_them() -> None:
    many = [bytes([each]) * 32 for each in range(limits.GOSSIP_KEYS_MAX + 4)]
    stated = [KeyStatement(key_id(each), each) for each in many[1:]]
    held = in_force(many[:1], *stated, PrimaryKeyStatement(key_id(many[-1])))
    assert len(held) == limits.GOSSIP_KEYS_MAX
    assert held[0] == many[-1]


@given(st.lists(some_keys, min_size=1, max_size=3, unique=True), statements)
def test_whatever_is_stated_a_node_holds_some_keys_each_once(files: list[bytes], stated: list[Statement]) -> None:
    found = keys_in_force(files, stated, WALL)
    assert found.keys
    assert len(set(found.keys)) == len(found.keys)
    assert found == keys_in_force(files, stated[::-1], WALL), "the order in which statements came is of no account"
    assert found.until is None or found.until > WALL


# In the table of policies


def version(statement: Statement, ms: int = 1, writer: str = "a") -> PolicyVersion:
    return PolicyVersion(statement.about, ms, 0, writer, pack_statement(statement))


def test_statements_are_in_the_table_but_are_no_policies() -> None:
    policies = Policies()
    rule = Maintenance("orders", "o-1")
    policies.take(PolicyVersion(rule.key, 1, 0, "a", pack_rule(rule)))
    primary, added = PrimaryKeyStatement(NEW_ID), KeyStatement(NEW_ID, NEW)
    for each in (primary, added):
        policies.take(version(each))
    assert policies.statements == (added, primary)
    assert (len(policies), len(policies.in_force), policies.unreadable) == (1, 1, ())
    assert len(list(policies)) == 3


def test_of_two_statements_about_one_key_the_later_counts() -> None:
    policies = Policies()
    added, removed = KeyStatement(NEW_ID, NEW), KeyStatement(NEW_ID, until=0.0)
    policies.take(version(removed, 2))
    assert not policies.is_news(version(added, 1))
    assert policies.is_news(version(added, 3))
    policies.take(version(added, 3))
    assert policies.statements == (added,)


def test_a_flood_of_statements_evicts_the_oldest_and_no_policy() -> None:
    policies = Policies()
    rule = Maintenance("orders", "o-1")
    policies.take(PolicyVersion(rule.key, 1, 0, "a", pack_rule(rule)))
    for number in range(limits.KEY_STATEMENTS_MAX + 5):
        key = number.to_bytes(32)
        policies.take(version(KeyStatement(key_id(key), key), number))
    assert len(policies.statements) == limits.KEY_STATEMENTS_MAX
    assert KeyStatement(key_id(bytes(32)), bytes(32)) not in policies.statements
    assert len(policies) == 1


def test_what_is_about_keys_and_cannot_be_read_is_unreadable() -> None:
    policies = Policies()
    policies.take(PolicyVersion(PRIMARY, 1, 0, "a", b"junk"))
    assert policies.statements == ()
    assert [each.key for each in policies.unreadable] == [PRIMARY]
    policies.take(PolicyVersion(PRIMARY, 2, 0, "a", None))
    assert (policies.statements, policies.unreadable) == ((), ())
