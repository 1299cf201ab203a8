"""The tokens of a cluster of running nodes: created at one, known at all, and kept over a restart."""

from __future__ import annotations

from pathlib import Path

import pytest

from gossipreg import ClusterToken, GossipInClear, InvalidToken, UnknownToken, open_node
from tests.runtime.nodes import config
from tests.runtime.test_node_keyring import sealed, until

CI = ClusterToken("ci", "ab" * 32, ("write:orders",))
DIGEST = bytes([0xAB]) * 32


async def test_a_token_is_known_at_every_node_until_it_is_revoked_at_any() -> None:
    async with open_node(sealed("ann")) as ann, open_node(sealed("bob", ann)) as bob:
        created = await ann.create_token(CI)
        assert (created.name, created.writer) == ("ci", "ann")
        await until(lambda: bob.tokens() == (created,))
        assert bob.tokens_with(DIGEST) == (created,)
        assert bob.policies() == ()
        await bob.revoke_token("ci")
        await until(lambda: ann.tokens_with(DIGEST) == ())
        with pytest.raises(UnknownToken, match="ci"):
            await ann.revoke_token("ci")


async def test_tokens_outlive_the_end_of_all_nodes(tmp_path: Path) -> None:
    async with open_node(sealed("ann", data_dir=tmp_path)) as ann:
        await ann.create_token(CI)
        await ann.create_token(ClusterToken("cd", "cd" * 32, ("read",)))
        await ann.revoke_token("cd")
    async with open_node(sealed("ann", data_dir=tmp_path)) as ann:
        assert [each.name for each in ann.tokens()] == ["ci"]


async def test_a_cluster_in_clear_has_no_tokens() -> None:
    async with open_node(config("ann")) as ann:
        with pytest.raises(GossipInClear):
            await ann.create_token(CI)
        assert ann.tokens_with(DIGEST) == ()


async def test_a_token_that_none_can_accept_is_refused() -> None:
    async with open_node(sealed("ann")) as ann:
        with pytest.raises(InvalidToken, match="scopes"):
            await ann.create_token(ClusterToken("ci", "ab" * 32, ()))
