"""Policies over real sockets: set at one node, obeyed at another, kept over restarts."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import attrs
import pytest
import trio
import trio.testing

from gossipreg import Health, InvalidPolicy, Maintenance, Node, Split, StorageError, UnknownPolicy, limits, open_node
from gossipreg.protocol.registry.policy_version import PolicyVersion
from gossipreg.runtime.state_store import AsyncStateStore
from tests.runtime.nodes import PATIENCE, config

SPLIT = Split("orders", {"v1": 90, "v2": 10})


async def until_weights(node: Node, wanted: dict[str, int]) -> None:
    with trio.fail_after(PATIENCE):
        async for change in node.watch("orders"):
            if {each.id: each.weight for each in change.instances} == wanted:
                return


async def registration(node: Node) -> None:
    await node.register("orders", port=80, id="x", tags=["v1"])
    await node.register("orders", port=81, id="y", tags=["v2"])


async def test_a_split_set_at_one_node_is_obeyed_at_another() -> None:
    async with open_node(config("a")) as one, open_node(config("b", one)) as other:
        await registration(one)
        await until_weights(other, {"x": 1, "y": 1})
        policy = await other.set_policy(SPLIT)
        assert (policy.rule, policy.writer) == (SPLIT, "b")
        await until_weights(one, {"x": 9, "y": 1})
        assert one.policies() == other.policies() == (policy,)

        picks = Counter(one.pick("orders").id for _ in range(10_000))
        due = {"x": 9_000, "y": 1_000}
        chi_squared = sum((picks[each] - due[each]) ** 2 / due[each] for each in due)
        assert chi_squared < 24  # one degree of freedom: a fair draw exceeds it once in a million runs

        await one.remove_policy(policy.key)
        await until_weights(other, {"x": 1, "y": 1})
        assert other.policies() == ()


async def test_an_instance_of_any_owner_can_be_taken_out() -> None:
    async with open_node(config("a")) as one, open_node(config("b", one)) as other:
        await registration(one)
        await until_weights(other, {"x": 1, "y": 1})
        await other.set_policy(Maintenance("orders", "x", "new disk"))
        await until_weights(one, {"y": 1})
        out = next(each for each in one.lookup("orders", healthy=False) if each.id == "x")
        assert (out.health, out.reason) == (Health.MAINTENANCE, "new disk")


async def test_what_cannot_be_set_or_removed_is_refused() -> None:
    async with open_node(config("a")) as node:
        with pytest.raises(InvalidPolicy, match="split"):
            await node.set_policy(Split("orders", {}))
        with pytest.raises(UnknownPolicy, match="split:orders"):
            await node.remove_policy("split:orders")


async def test_policies_outlive_the_end_of_all_nodes(tmp_path: Path) -> None:
    """Also one that another node set, which is noted in the background."""
    mine, theirs = SPLIT, Maintenance("orders", "x", "new disk")
    async with open_node(config("a", data_dir=tmp_path)) as one:
        await one.set_policy(mine)
        async with open_node(config("b", one)) as other:
            await other.set_policy(theirs)
            with trio.fail_after(PATIENCE):
                while theirs.key not in await saved(one):  # noqa: ASYNC110 - what is noted on disk rings no bell
                    await trio.sleep(0.01)
    async with open_node(config("a", data_dir=tmp_path)) as again:
        assert [each.rule for each in again.policies()] == [theirs, mine]
        assert [each.writer for each in again.policies()] == ["b", "a"]


async def saved(node: Node) -> list[str]:
    """The keys of the policies that a node has on disk."""
    store = node._lifecycle.context.store
    assert store is not None
    return list((await store.load()).policies)


async def test_a_removed_policy_stays_removed_over_a_restart(tmp_path: Path) -> None:
    async with open_node(config("a", data_dir=tmp_path)) as node:
        await node.set_policy(SPLIT)
        await node.remove_policy(SPLIT.key)
    async with open_node(config("a", data_dir=tmp_path)) as again:
        assert again.policies() == ()
        await again.set_policy(SPLIT)
        assert [each.rule for each in again.policies()] == [SPLIT]


async def test_who_started_with_a_clock_that_was_far_behind_believes_the_others_once_it_is_right(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with open_node(config("a")) as one:
        monkeypatch.setattr("time.time_ns", lambda: 86_400 * 10**9)  # at boot
        async with open_node(config("b", one)) as other:
            await one.set_policy(SPLIT)
            with trio.fail_after(PATIENCE):
                while not other.policies():
                    await other.wait_changed(None, other.index())


async def test_what_the_disk_refuses_is_in_force_nowhere_and_its_writer_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def full(_: AsyncStateStore, key: str, word: bytes) -> None:
        await trio.lowlevel.checkpoint()
        raise StorageError("free some space on its disk")

    async with open_node(config("a", data_dir=tmp_path)) as node, open_node(config("b", node)) as other:
        with trio.fail_after(PATIENCE):
            while len(other.members()) < 2:
                await other.wait_changed(None, other.index())
        stands = await node.set_policy(SPLIT)
        with monkeypatch.context() as patch:
            patch.setattr(AsyncStateStore, "put_policy", full)
            before = node.index(), node._engine.fingerprint
            for attempt in (
                node.set_policy(Split("orders", {"v1": 1})),
                node.set_policy(Maintenance("orders", "x")),
                node.remove_policy(SPLIT.key),
            ):
                with pytest.raises(StorageError, match="free some space"):
                    await attempt
            assert node.policies() == (stands,)
            assert (node.index(), node._engine.fingerprint) == before, "nothing is there to be told"
        await node.remove_policy(SPLIT.key)
        assert node.policies() == ()
    async with open_node(config("a", data_dir=tmp_path)) as again:
        assert again.policies() == ()


async def test_a_policy_is_on_disk_before_it_is_broadcast(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put, seen = AsyncStateStore.put_policy, []

    async with open_node(config("a", data_dir=tmp_path)) as node:

        async def slow(store: AsyncStateStore, key: str, word: bytes) -> None:
            seen.append(node.policies())
            await put(store, key, word)

        monkeypatch.setattr(AsyncStateStore, "put_policy", slow)
        with trio.CancelScope() as caller:
            caller.cancel()  # the client has gone: what is on disk is said all the same, or it would come at a restart
            await node.set_policy(SPLIT)
        assert seen[0] == ()
        assert [each.rule for each in node.policies()] == [SPLIT]


async def test_a_later_word_that_is_heard_while_ours_is_written_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put = AsyncStateStore.put_policy
    later: list[PolicyVersion] = []
    async with open_node(config("a", data_dir=tmp_path)) as node:

        async def slow(store: AsyncStateStore, key: str, word: bytes) -> None:
            await put(store, key, word)
            if not later:
                now = trio.current_time()
                later.append(
                    attrs.evolve(node._engine.local_policies.version_of(Split("orders", {"v1": 1}), now), writer="z")
                )
                node._lifecycle.context.driver.say(node._engine.recall(later, now))

        monkeypatch.setattr(AsyncStateStore, "put_policy", slow)
        assert (await node.set_policy(SPLIT)).writer == "z"
        assert node.policies() == (later[0].policy,)


async def test_what_others_set_while_the_disk_was_full_is_noted_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def full(key: str, word: bytes) -> None:
        raise StorageError("free some space on its disk")

    async with open_node(config("a", data_dir=tmp_path)) as one, open_node(config("b", one)) as other:
        with trio.fail_after(PATIENCE), monkeypatch.context() as patch:
            patch.setattr(
                "gossipreg.runtime.state_store.AsyncStateStore.put_policy", lambda _, key, word: full(key, word)
            )
            await other.set_policy(SPLIT)
            while not one.policies():
                await one.wait_changed(None, one.index())
            await trio.testing.wait_all_tasks_blocked()
        await one.register("search", port=80)
        with trio.fail_after(PATIENCE):
            while SPLIT.key not in await saved(one):  # noqa: ASYNC110 - what is noted on disk rings no bell
                await trio.sleep(0.01)


async def test_a_removal_that_is_given_up_is_on_disk_no_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "POLICIES_REMOVED_MAX", 1)
    async with open_node(config("a", data_dir=tmp_path)) as node:
        for rule in (SPLIT, Maintenance("orders", "x")):
            await node.set_policy(rule)
            await node.remove_policy(rule.key)
        with trio.fail_after(PATIENCE):
            while await saved(node) != ["maintenance:orders:x"]:  # noqa: ASYNC110 - what is noted on disk rings no bell
                await trio.sleep(0.01)


async def test_a_policy_on_disk_that_cannot_be_read_is_set_aside(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_node(config("a", data_dir=tmp_path)) as node:
        await node.set_policy(SPLIT)
        store = node._lifecycle.context.store
        assert store is not None
        await store.put_policy("split:search", b"\xc1")
        await store.put_policy("split:other", (await store.load()).policies[SPLIT.key])
    async with open_node(config("a", data_dir=tmp_path)) as again:
        assert [each.key for each in again.policies()] == ["split:orders"]
        assert await saved(again) == ["split:orders"]
    assert "policy split:search on disk is not used" in caplog.text
    assert "policy split:other on disk is not used: it says something else" in caplog.text
