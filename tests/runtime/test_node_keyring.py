"""The keys of running nodes: added, used and removed while they run; and nodes that were away meanwhile."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import trio
import trio.testing

from gossipreg import (
    ConfigError,
    GossipInClear,
    KeyGivenUp,
    KeyInUse,
    KeyNotHeld,
    Node,
    NodeClosed,
    Status,
    TooManyKeys,
    UnknownKey,
    UnknownPolicy,
    limits,
    open_node,
)
from gossipreg.config import Config
from gossipreg.key_format import encode_key, key_id
from gossipreg.model import NODE_SERVICE
from gossipreg.runtime import node_keyring
from gossipreg.runtime.node_record import state_keys
from gossipreg.runtime.registrar import Registrar
from gossipreg.spec import InstanceSpec
from tests.hidden import hidden
from tests.runtime.nodes import PATIENCE, config

OLD, NEW, THIRD = (bytes([each]) * 32 for each in range(3))
OLD_ID, NEW_ID, THIRD_ID = map(key_id, (OLD, NEW, THIRD))


def sealed(name: str, *seeds: Node, key: bytes = OLD, **options: Any) -> Config:
    return config(name, *seeds, key=encode_key(key), **options)


async def until(holds: Callable[[], object]) -> None:
    with trio.fail_after(PATIENCE):
        while not holds():  # noqa: ASYNC110 - it asks several nodes
            await trio.sleep(0.01)


def alive(node: Node) -> set[str]:
    return {each.name for each in node.members() if each.status is Status.ALIVE}


def ids(node: Node) -> list[str]:
    return [each.id for each in node.gossip_keys()]


async def joined(*nodes: Node) -> None:
    names = {node.name for node in nodes}
    await until(lambda: all(alive(node) >= names for node in nodes))


def refused(node: Node) -> int:
    return node.counters["packets_unknown_key"] + node.counters["packets_forged"]


async def test_a_key_is_replaced_in_three_steps_while_nothing_is_refused() -> None:
    async with (
        open_node(sealed("ann")) as ann,
        open_node(sealed("bob", ann)) as bob,
        open_node(sealed("cid", ann)) as cid,
    ):
        nodes = (ann, bob, cid)
        await joined(*nodes)
        [only] = bob.gossip_keys()
        assert (only.id, only.primary, only.held_by, only.used_by) == (
            OLD_ID,
            True,
            ("ann", "bob", "cid"),
            only.held_by,
        )

        assert await bob.add_gossip_key(encode_key(NEW)) == NEW_ID
        await until(lambda: all(len(each.held_by) == 3 for node in nodes for each in node.gossip_keys()))
        assert ids(cid) == [OLD_ID, NEW_ID]
        with pytest.raises(KeyInUse, match=f"key {OLD_ID} is used by ann, bob, cid: have the cluster use another one"):
            await ann.remove_gossip_key(OLD_ID)

        await cid.use_gossip_key(NEW_ID)
        await until(lambda: all(node.gossip_keys()[0].used_by == ("ann", "bob", "cid") for node in nodes))
        assert ids(ann) == [NEW_ID, OLD_ID]
        old = ann.gossip_keys()[1]
        assert old.until is not None, "it is given up one day"

        await ann.remove_gossip_key(OLD_ID)
        await until(lambda: all(ids(node) == [NEW_ID] for node in nodes))
        await bob.register("orders", port=80)
        await until(lambda: cid.lookup("orders"))
        assert [alive(node) for node in nodes] == [{"ann", "bob", "cid"}] * 3
        assert [refused(node) for node in nodes] == [0, 0, 0]
        assert all(f"key {OLD_ID} in the setting key was given up" in node.info().problems[0] for node in nodes)


async def test_a_node_that_was_off_comes_back_with_the_old_key_and_learns_the_new_one() -> None:
    async with open_node(sealed("ann")) as ann:
        async with open_node(sealed("bob", ann)) as bob:
            await joined(ann, bob)
        await ann.add_gossip_key(encode_key(NEW))
        await ann.use_gossip_key(NEW_ID)
        async with open_node(sealed("bob", ann)) as bob, open_node(sealed("cid", bob)) as cid:
            await joined(ann, bob, cid)
            await until(lambda: ids(bob) == ids(cid) == [NEW_ID, OLD_ID])
        await ann.remove_gossip_key(OLD_ID)
        async with open_node(sealed("eve", ann)) as eve:
            await until(lambda: ann.counters["streams_unknown_key"])
            assert alive(eve) == {"eve"}
            assert "eve" not in alive(ann)


async def test_a_key_that_is_no_longer_primary_is_given_up_by_itself_after_a_while() -> None:
    async with open_node(sealed("ann")) as ann, open_node(sealed("bob", ann)) as bob:
        await joined(ann, bob)
        await ann.add_gossip_key(encode_key(NEW))
        await ann.use_gossip_key(NEW_ID, kept=0.2)
        await until(lambda: ids(ann) == ids(bob) == [NEW_ID])


@pytest.mark.parametrize("kept", [-1.0, float("nan"), float("inf"), limits.GOSSIP_KEY_KEPT_SECONDS_MAX + 1])
async def test_the_others_cannot_be_kept_for_what_is_no_time(kept: float) -> None:
    async with open_node(sealed("ann")) as ann:
        await ann.add_gossip_key(encode_key(NEW))
        before = ann.gossip_keys()
        with pytest.raises(ConfigError, match="kept: "):
            await ann.use_gossip_key(NEW_ID, kept=kept)
        assert ann.gossip_keys() == before


async def test_a_key_can_be_used_again_after_another_was() -> None:
    async with open_node(sealed("ann")) as ann:
        await ann.add_gossip_key(encode_key(NEW))
        await ann.use_gossip_key(NEW_ID)
        await ann.use_gossip_key(OLD_ID)
        assert [(each.id, each.until is None) for each in ann.gossip_keys()] == [(OLD_ID, True), (NEW_ID, False)]
        await ann.use_gossip_key(OLD_ID)
        assert ids(ann) == [OLD_ID, NEW_ID]


async def test_each_member_gives_a_key_up_though_its_disk_is_slow_to_note_the_statement_before(tmp_path: Path) -> None:
    def kept(name: str, *seeds: Node) -> Config:
        return sealed(name, *seeds, data_dir=tmp_path / name)

    async with open_node(kept("ann")) as ann, open_node(kept("bob", ann)) as bob, open_node(kept("cid", ann)) as cid:
        nodes = (ann, bob, cid)
        await joined(*nodes)
        await ann.add_gossip_key(encode_key(NEW))
        await ann.use_gossip_key(NEW_ID, kept=0.0)
        await until(lambda: all(ids(node) == [NEW_ID] for node in nodes))


async def test_every_other_key_is_given_up_and_less_time_can_be_given_later() -> None:
    async with open_node(sealed("ann")) as ann:
        for key in (NEW, THIRD):
            await ann.add_gossip_key(encode_key(key))
        await ann.use_gossip_key(NEW_ID)
        ends = [each.until for each in ann.gossip_keys()[1:]]
        assert len(ends) == 2
        assert None not in ends, "also one that was planted"
        await ann.use_gossip_key(NEW_ID, kept=0.0)
        await until(lambda: ids(ann) == [NEW_ID])


async def test_what_frontends_state_of_the_node_and_its_keys_do_not_touch_each_other() -> None:
    async with open_node(sealed("ann")) as ann:
        await ann.add_gossip_key(encode_key(NEW))
        await until(lambda: ann.own("gossipreg.keys"))
        await ann.register_spec(InstanceSpec(service=NODE_SERVICE, id=NODE_SERVICE, port=0, meta={"rack": "7"}))
        await ann.use_gossip_key(NEW_ID)
        await until(lambda: ann.lookup(NODE_SERVICE, healthy=False)[0].meta == {"ids": f"{NEW_ID} {OLD_ID}"})
        assert ann.lookup(NODE_SERVICE, healthy=False)[1].meta == {"rack": "7"}
        assert NODE_SERVICE not in ann.services()


async def test_a_key_that_is_given_in_place_of_an_id_is_not_repeated() -> None:
    async with open_node(sealed("ann")) as ann:
        with pytest.raises(UnknownKey) as refused:
            await ann.use_gossip_key(encode_key(NEW))
        assert encode_key(NEW)[:8] not in str(refused.value)


async def test_streams_under_a_key_that_is_given_up_are_opened_anew_and_no_member_fails(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with open_node(sealed("ann")) as ann, open_node(sealed("bob", ann)) as bob:
        await joined(ann, bob)
        lines = ann._context.driver.streams._lines
        await until(lambda: lines)
        await ann.add_gossip_key(encode_key(NEW))
        await until(lambda: ids(bob) == [OLD_ID, NEW_ID])
        await ann.use_gossip_key(NEW_ID, kept=0.0)
        new = bytes.fromhex(NEW_ID)
        await until(lambda: lines and all(line.codec.key_ids == {new} for line in lines.values()))
    assert not [record for record in caplog.records if "failed" in record.getMessage()]


async def test_with_a_data_directory_keys_outlive_a_restart_of_all(tmp_path: Path) -> None:
    async with open_node(sealed("ann", data_dir=tmp_path / "ann")) as ann:
        await ann.add_gossip_key(encode_key(NEW))
        await ann.use_gossip_key(NEW_ID)
        await ann.remove_gossip_key(OLD_ID)
    async with open_node(sealed("ann", data_dir=tmp_path / "ann")) as ann:
        assert ids(ann) == [NEW_ID]
        async with open_node(sealed("bob", ann, key=NEW)) as bob:
            await joined(ann, bob)


# By files alone, so that the new key never travels


async def test_a_new_key_that_is_in_all_files_is_used_by_its_id_and_never_travels(tmp_path: Path) -> None:
    files = [tmp_path / "ann", tmp_path / "bob"]
    for file in files:
        hidden(file, encode_key(OLD))
    async with (
        open_node(config("ann", key_file=files[0])) as ann,
        open_node(config("bob", ann, key_file=files[1])) as bob,
    ):
        await joined(ann, bob)
        for node, file in zip((ann, bob), files, strict=True):
            hidden(file, f"{encode_key(OLD)}\n{encode_key(NEW)}")
            await node.reread_keys()
        await ann.use_gossip_key(NEW_ID)
        await until(lambda: all(ids(node) == [NEW_ID, OLD_ID] for node in (ann, bob)))
        versions = bob._engine.state.policies
        assert not any(NEW in (version.payload or b"") for version in versions)


async def test_a_cluster_that_uses_a_key_tells_a_node_that_lacks_it_what_to_do(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gossipreg.runtime.node_keyring._WAIT_SECONDS", 0.1)  # bob will never hold it
    files = [tmp_path / "ann", tmp_path / "bob"]
    hidden(files[0], f"{encode_key(OLD)}\n{encode_key(NEW)}")
    hidden(files[1], encode_key(OLD))
    async with (
        open_node(config("ann", key_file=files[0])) as ann,
        open_node(config("bob", ann, key_file=files[1])) as bob,
    ):
        await joined(ann, bob)
        with pytest.raises(KeyNotHeld, match=f"key {NEW_ID} is not held by bob: what others seal with it"):
            await ann.use_gossip_key(NEW_ID)
        assert ids(ann) == [OLD_ID, NEW_ID]
        await ann.use_gossip_key(NEW_ID, force=True)
        await until(lambda: bob.info().problems)
        assert (
            f"the cluster seals its gossip with key {NEW_ID}, which this node does not hold" in bob.info().problems[0]
        )
        assert f"add the key to {files[1]} and send SIGHUP" in caplog.text
        hidden(files[1], f"{encode_key(NEW)}\n{encode_key(OLD)}")
        await bob.reread_keys()
        assert bob.info().problems == ()
        await joined(ann, bob)


async def test_a_wait_for_other_members_ends_with_the_node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gossipreg.runtime.node_keyring._WAIT_SECONDS", PATIENCE)
    files = [tmp_path / "ann", tmp_path / "bob"]
    hidden(files[0], f"{encode_key(OLD)}\n{encode_key(NEW)}")
    hidden(files[1], encode_key(OLD))
    async with (
        open_node(config("ann", key_file=files[0])) as ann,
        open_node(config("bob", ann, key_file=files[1])) as bob,
    ):
        await joined(ann, bob)

        async def use() -> None:
            with pytest.raises(NodeClosed):
                await ann.use_gossip_key(NEW_ID)

        with trio.fail_after(PATIENCE):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(use)
                await trio.sleep(0.05)
                ann._context.close()


async def test_a_file_that_cannot_be_used_changes_nothing(tmp_path: Path) -> None:
    file = tmp_path / "key"
    hidden(file, encode_key(OLD))
    async with open_node(config("ann", key_file=file)) as ann:
        hidden(file, "?")
        with pytest.raises(ConfigError, match=f"key_file {file}: the key is not base64"):
            await ann.reread_keys()
        assert ids(ann) == [OLD_ID]
        hidden(file, encode_key(THIRD))
        await ann.reread_keys()
        assert ids(ann) == [THIRD_ID]


async def test_a_credential_key_is_read_again_and_credentials_are_sealed_anew(tmp_path: Path) -> None:
    file = tmp_path / "key"
    hidden(file, encode_key(OLD))
    async with open_node(config("ann", credential_key_file=file)) as ann:
        made = await ann.register("pg", port=5432, credentials={"user": "app"})
        hidden(file, f"{encode_key(NEW)}\n{encode_key(OLD)}")
        await ann.reread_keys()
        [again] = ann.lookup("pg")
        assert (made.sealed[:4].hex(), again.sealed[:4].hex()) == (OLD_ID, NEW_ID)
        assert ann.credentials(again) == {"user": "app"}


# What is refused


async def test_what_cannot_be_done_with_a_key_is_said() -> None:
    async with open_node(sealed("ann", credential_key=encode_key(THIRD))) as ann:
        with pytest.raises(UnknownKey, match="this node holds no key 'feedbeef'"):
            await ann.use_gossip_key("feedbeef")
        with pytest.raises(UnknownKey, match="no member holds a key 'feedbeef'"):
            await ann.remove_gossip_key("feedbeef")
        with pytest.raises(ConfigError, match="key: the key is not base64"):
            await ann.add_gossip_key("?")
        with pytest.raises(ConfigError, match=f"key {THIRD_ID} seals credentials"):
            await ann.add_gossip_key(encode_key(THIRD))
        for number in range(limits.GOSSIP_KEYS_MAX - 1):
            await ann.add_gossip_key(encode_key(bytes([100 + number]) * 32))
        await ann.add_gossip_key(encode_key(bytes([100]) * 32))
        with pytest.raises(TooManyKeys, match="16 keys are held, as many as are allowed"):
            await ann.add_gossip_key(encode_key(NEW))
        with pytest.raises(UnknownPolicy):
            await ann.remove_policy(f"gossip-key:{ids(ann)[1]}")
        assert ann.policies() == ()


async def test_a_key_that_was_given_up_cannot_be_added_again() -> None:
    async with open_node(sealed("ann")) as ann:
        await ann.add_gossip_key(encode_key(NEW))
        await ann.use_gossip_key(NEW_ID, kept=3600.0)
        await ann.add_gossip_key(encode_key(OLD))  # it is still held
        assert [each.until for each in ann.gossip_keys()] == [None, None]
        await ann.remove_gossip_key(OLD_ID)
        with pytest.raises(KeyGivenUp, match=f"key {OLD_ID} was given up by the cluster, and may have leaked: make an"):
            await ann.add_gossip_key(encode_key(OLD))
        assert ids(ann) == [NEW_ID]


async def test_a_key_is_not_removed_while_a_member_that_states_nothing_may_use_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    states = {"ann"}

    async def state(registrar: Registrar, *arguments: Any, **more: Any) -> None:
        if registrar.member in states:
            await state_keys(registrar, *arguments, **more)

    monkeypatch.setattr(node_keyring, "state_keys", state)
    async with open_node(sealed("ann")) as ann, open_node(sealed("bob", ann)) as bob:
        await joined(ann, bob)
        await ann.add_gossip_key(encode_key(NEW))
        await until(lambda: NEW_ID in ids(bob))
        await ann.use_gossip_key(NEW_ID, force=True)
        await until(lambda: ids(bob) == [NEW_ID, OLD_ID])
        with monkeypatch.context() as patch:
            patch.setattr(node_keyring, "_WAIT_SECONDS", 0.0)
            with pytest.raises(
                KeyInUse, match=f"key {OLD_ID} may be used by bob, as it is not known which keys are held"
            ):
                await ann.remove_gossip_key(OLD_ID)
        assert OLD_ID in ids(ann)
        monkeypatch.setattr(node_keyring, "_WAIT_SECONDS", PATIENCE)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ann.remove_gossip_key, OLD_ID)
            await trio.testing.wait_all_tasks_blocked(0.01)
            states.add("bob")
            await bob._lifecycle.keyring._state_held()
        await until(lambda: ids(ann) == ids(bob) == [NEW_ID])


async def test_by_default_every_other_key_is_held_for_72_hours(monkeypatch: pytest.MonkeyPatch) -> None:
    wall, looks = [time.time()], [0]

    def look() -> float:
        looks[0] += 1
        return wall[0]

    monkeypatch.setattr(node_keyring, "time", SimpleNamespace(time=look))
    monkeypatch.setattr(node_keyring, "_LOOK_SECONDS", 0.001)  # a minute, since its wall clock may be set
    async with open_node(sealed("ann")) as ann:
        await ann.add_gossip_key(encode_key(NEW))
        await ann.use_gossip_key(NEW_ID)
        for passed, held in ((71.98 * 3600, [NEW_ID, OLD_ID]), (0.03 * 3600, [NEW_ID])):
            wall[0] += passed
            before = looks[0]
            await until(lambda: looks[0] > before + 4 or ids(ann) == [NEW_ID])  # noqa: B023 -- it is awaited here
            assert ids(ann) == held


async def test_a_node_that_speaks_in_clear_has_no_keys() -> None:
    async with open_node(config("ann")) as ann:
        assert ann.gossip_keys() == ()
        for attempt in (ann.add_gossip_key(encode_key(NEW)), ann.use_gossip_key(NEW_ID), ann.remove_gossip_key(NEW_ID)):
            with pytest.raises(GossipInClear, match="the gossip of this cluster is in clear"):
                await attempt
        await ann.reread_keys()


async def test_a_cluster_that_never_changed_its_key_states_nothing_about_it() -> None:
    async with open_node(sealed("ann")) as ann, open_node(sealed("bob", ann)) as bob:
        await joined(ann, bob)
        assert bob.lookup(NODE_SERVICE, healthy=False) == ()
        assert list(bob._engine.state.policies) == []


async def test_keys_are_logged_by_their_ids_only(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with open_node(sealed("ann")) as ann:
        await ann.add_gossip_key(encode_key(NEW))
        await ann.use_gossip_key(NEW_ID)
    assert f"the gossip is sealed with key {NEW_ID}; keys held: {NEW_ID}, {OLD_ID}" in caplog.text
    assert encode_key(NEW) not in caplog.text
