"""Statements about tokens of the HTTP API: which are read, and which tokens a cluster then knows."""

from __future__ import annotations

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossipreg import limits
from gossipreg.errors import InvalidToken
from gossipreg.policy import Maintenance
from gossipreg.protocol.registry.payload import BadPayload
from gossipreg.protocol.registry.policies import Policies
from gossipreg.protocol.registry.policy_version import PolicyVersion, pack_rule
from gossipreg.protocol.registry.token_statements import (
    TokenStatement,
    is_about_tokens,
    pack_token,
    token_key,
    unpack_token,
)
from gossipreg.tokens import ClusterToken

DIGEST = "0c1a0f5d1bd3b7d1b8f07a2f7a4bb1b7d7bb0ef8a0fd1d0ab9c8a6b2c4e7f3d5"
CI = ClusterToken("ci", DIGEST, ("read", "write:orders"), 1_767_225_600.0)

tokens = st.builds(
    ClusterToken,
    st.sampled_from(["ci", "a", "web-1"]),
    st.binary(min_size=32, max_size=32).map(bytes.hex),
    st.lists(st.sampled_from(["read", "write:orders", "policy:web-*"]), min_size=1, max_size=3).map(tuple),
    st.none() | st.floats(0, 4e9),
)


def version(token: ClusterToken, ms: int = 1, writer: str = "a") -> PolicyVersion:
    statement = TokenStatement.of(token)
    return PolicyVersion(statement.about, ms, 0, writer, pack_token(statement))


@given(tokens)
def test_what_was_packed_is_read(token: ClusterToken) -> None:
    statement = TokenStatement.of(token)
    assert unpack_token(pack_token(statement), statement.about) == statement
    assert is_about_tokens(statement.about)


@given(st.binary(max_size=80))
def test_no_bytes_do_anything_else_than_be_refused(junk: bytes) -> None:
    with pytest.raises(BadPayload):
        unpack_token(junk, token_key("ci"))


GOOD = {"kind": "token", "name": "ci", "digest": bytes.fromhex(DIGEST), "scopes": ["read"], "expires": None}


@pytest.mark.parametrize(
    "wrong",
    [
        {"kind": "split"},
        {"kind": None},
        {"name": "cd"},
        {"name": 7},
        {"name": None},
        {"digest": b"short"},
        {"digest": DIGEST},
        {"scopes": []},
        {"scopes": None},
        {"scopes": 7},
        {"scopes": ["READ"]},
        {"scopes": [7]},
        {"scopes": "read"},
        {"scopes": ["read"] * (limits.TOKEN_SCOPES_MAX + 1)},
        {"expires": 7},
        {"expires": -1.0},
        {"expires": float("nan")},
        {"expires": float("inf")},
    ],
    ids=str,
)
def test_a_statement_with_one_wrong_field_is_refused(wrong: dict[str, object]) -> None:
    assert unpack_token(msgpack.packb(GOOD), token_key("ci")).name == "ci"
    with pytest.raises(BadPayload):
        unpack_token(msgpack.packb(GOOD | wrong), token_key("ci"))


def test_a_scope_of_a_later_release_is_read() -> None:
    later = unpack_token(msgpack.packb(GOOD | {"scopes": ["audit"], "more": 1}), token_key("ci"))
    assert later.scopes == ("audit",)


@pytest.mark.parametrize(
    ("token", "sentence"),
    [
        (ClusterToken("", DIGEST, ("read",)), "name: '' is not a token's name"),
        (ClusterToken("ci", "00", ("read",)), "token_sha256: it is not a SHA-256 in 64 hexadecimal digits"),
        (ClusterToken("ci", DIGEST, ()), "scopes: list 1 to 16"),
        (ClusterToken("ci", DIGEST, ("no scope",)), "scopes: 'no scope' is no scope, such as read or write:orders"),
        (
            ClusterToken("ci", DIGEST, tuple(f"write:{'x' * 60}{each:02}" for each in range(16))),
            "scopes: they take more bytes than fit into a packet: list fewer, or shorter ones",
        ),
    ],
)
def test_what_is_wrong_with_a_token_is_named(token: ClusterToken, sentence: str) -> None:
    with pytest.raises(InvalidToken, match=f"^{sentence}$"):
        TokenStatement.of(token)


def test_tokens_are_in_the_table_but_are_no_policies() -> None:
    policies = Policies()
    rule = Maintenance("orders", "o-1")
    policies.take(PolicyVersion(rule.key, 1, 0, "a", pack_rule(rule)))
    policies.take(version(CI, 1_500))
    [known] = policies.tokens
    assert (known.name, known.scopes, known.expires) == (CI.name, CI.scopes, CI.expires)
    assert (known.writer, known.at) == ("a", 1.5)
    assert policies.tokens_of(bytes.fromhex(DIGEST)) == (known,)
    assert (len(policies), len(policies.in_force), policies.unreadable, policies.statements) == (1, 1, (), ())


def test_a_token_that_is_replaced_or_revoked_is_found_no_more() -> None:
    policies = Policies()
    policies.take(version(CI, 1))
    other = ClusterToken("ci", "11" * 32, ("read",))
    policies.take(version(other, 2))
    assert policies.tokens_of(bytes.fromhex(DIGEST)) == ()
    assert len(policies.tokens_of(bytes([0x11]) * 32)) == 1
    policies.take(PolicyVersion(token_key("ci"), 3, 0, "a", None))
    assert (policies.tokens, policies.tokens_of(bytes([0x11]) * 32)) == ((), ())
    assert not policies.is_news(version(CI, 2))


def test_of_two_names_for_one_token_each_counts_until_it_is_revoked() -> None:
    policies = Policies()
    policies.take(version(CI, 1))
    policies.take(version(ClusterToken("b", DIGEST, ("read",)), 2))
    assert [each.name for each in policies.tokens_of(bytes.fromhex(DIGEST))] == ["b", "ci"]
    policies.take(PolicyVersion(token_key("b"), 3, 0, "a", None))
    assert [each.name for each in policies.tokens_of(bytes.fromhex(DIGEST))] == ["ci"]


def test_a_flood_of_tokens_evicts_the_oldest_and_no_policy() -> None:
    policies = Policies()
    rule = Maintenance("orders", "o-1")
    policies.take(PolicyVersion(rule.key, 1, 0, "a", pack_rule(rule)))
    for number in range(limits.CLUSTER_TOKENS_MAX + 2):
        policies.take(version(ClusterToken(f"t{number}", number.to_bytes(32).hex(), ("read",)), number))
    assert len(policies.tokens) == limits.CLUSTER_TOKENS_MAX
    assert policies.tokens_of(bytes(32)) == ()
    assert len(policies) == 1


def test_what_is_about_tokens_and_cannot_be_read_is_unreadable() -> None:
    policies = Policies()
    policies.take(PolicyVersion(token_key("ci"), 1, 0, "a", b"junk"))
    assert (policies.tokens, [each.key for each in policies.unreadable]) == ((), ["token:ci"])
