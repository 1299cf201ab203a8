"""A node opens whole or not at all, and leaves nothing behind but what it was configured to keep."""

from __future__ import annotations

import base64
import socket
import time
from contextlib import closing, suppress
from pathlib import Path

import pytest
import trio

from gossipreg import BindError, ConfigError, InsecureError, NameConflict, Node, Status, StorageError, open_node
from gossipreg.config import Config
from gossipreg.model import Address
from gossipreg.runtime import opening as module
from gossipreg.runtime.saved_state import SavedState
from gossipreg.runtime.state_database import DATABASE
from gossipreg.runtime.state_store import StateStore
from tests.hidden import hidden
from tests.runtime.nodes import PATIENCE, QUICK, config

KEY = base64.b64encode(bytes(range(32))).decode()


def saved(**what: object) -> SavedState:
    return SavedState(**{"name": None, "generation": 0, "peers": (), "instances": {}, "warnings": ()} | what)  # type: ignore[arg-type]


# Its name


async def test_a_node_takes_the_name_it_is_given() -> None:
    async with open_node(config("ann")) as node:
        assert node.name == "ann"


@pytest.mark.parametrize(("port", "name"), [(7940, "web-1"), (7941, "web-1-7941")])
def test_without_a_name_it_takes_the_hosts_with_the_port_unless_it_is_the_usual_one(
    port: int, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: "web-1.example.org")
    assert module._name_of(Config(), None, Address("127.0.0.1", port)) == name


def test_the_name_on_disk_goes_before_the_hosts_and_a_given_one_before_that() -> None:
    address = Address("127.0.0.1", 7940)
    assert module._name_of(Config(), saved(name="ann"), address) == "ann"
    assert module._name_of(Config(name="bob"), saved(name="ann"), address) == "bob"


def test_a_host_whose_name_can_name_no_member_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: "my_host!")
    with pytest.raises(ConfigError, match=r"^name: this host's name 'my_host!' cannot name a member: pass --name$"):
        module._name_of(Config(), None, Address("127.0.0.1", 7940))


async def test_of_two_nodes_of_one_name_the_younger_stops_in_the_middle_of_its_block() -> None:
    with trio.fail_after(PATIENCE):
        async with open_node(config("twin")) as elder:
            with pytest.raises(NameConflict, match=f"held by the member at {elder.address}, which is older"):
                async with open_node(config("twin", elder)):
                    await trio.sleep_forever()
            assert [(member.name, member.status) for member in elder.members()] == [("twin", Status.ALIVE)]


# Its key


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"key": KEY, "key_file": "key"}, "key: key_file is given, too: give one of them, not both"),
        ({"key": "short"}, "key: the key is not base64: make one with `gossipreg keygen --out FILE`"),
        ({"key": "c2hvcnQ="}, "key: the key has 5 bytes, not 32: make one with `gossipreg keygen --out FILE`"),
    ],
)
async def test_a_key_that_cannot_be_used_is_refused(options: dict[str, str], sentence: str) -> None:
    with pytest.raises(ConfigError) as refused:
        async with open_node(config(**options)):
            pass
    assert str(refused.value) == sentence


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (None, "cannot read {}: No such file or directory"),
        (b"\xff" * 32, "{} holds no key: make one with `gossipreg keygen --out FILE`"),
        (b"c2hvcnQ=\n", "{}: the key has 5 bytes, not 32: make one with `gossipreg keygen --out FILE`"),
    ],
)
async def test_a_key_file_that_cannot_be_used_is_named(content: bytes | None, sentence: str, tmp_path: Path) -> None:
    file = tmp_path / "key"
    if content is not None:
        hidden(file, content)
    with pytest.raises(ConfigError) as refused:
        async with open_node(config(key_file=file)):
            pass
    assert str(refused.value).removeprefix("key_file").removeprefix(": ").strip() == sentence.format(file)


async def test_a_key_from_a_file_and_the_same_key_are_one(tmp_path: Path) -> None:
    file = tmp_path / "key"
    hidden(file, f"{KEY}\n")
    with trio.fail_after(PATIENCE):
        async with open_node(config("a", key=KEY)) as one, open_node(config("b", one, key_file=file)) as other:
            await other.register("orders", port=80)
            await one.wait_for("orders")


async def test_what_is_unsafe_is_refused_before_anything_is_touched(tmp_path: Path) -> None:
    with pytest.raises(InsecureError):
        async with open_node(Config(bind="0.0.0.0:0", data_dir=tmp_path / "data")):
            pass
    assert not (tmp_path / "data").exists()


# Its memory


async def test_what_is_on_disk_is_offered_again_under_the_same_name_in_a_later_life(tmp_path: Path) -> None:
    async with open_node(config("ann", data_dir=tmp_path)) as node:
        kept = await node.register("orders", port=80, tags=["v1"], meta={"a": "b"}, weight=3, role="primary")
        await node.register("orders", port=81)
        await node.deregister("orders-ann-81")
        first = node.info().generation
    async with open_node(config(None, data_dir=tmp_path)) as node:
        assert node.name == "ann"
        assert node.lookup("orders") == (kept,)
        assert node.info().generation > first


async def test_a_life_is_later_than_the_last_even_when_the_clock_went_back(tmp_path: Path) -> None:
    future = time.time_ns() // 1_000_000 + 366 * 86_400_000
    with closing(StateStore.open(tmp_path)) as store:
        store.set_identity("ann", future)
    async with open_node(config(data_dir=tmp_path)) as node:
        assert node.info().generation == future + 1


async def test_a_last_life_that_peers_would_take_for_made_up_is_not_outbid(tmp_path: Path) -> None:
    with closing(StateStore.open(tmp_path)) as store:
        store.set_identity("ann", 2**53 - 1)
    async with open_node(config(data_dir=tmp_path)) as node:
        assert node.info().generation <= time.time_ns() // 1_000_000


async def test_it_finds_back_to_the_peers_on_disk_without_a_seed(tmp_path: Path) -> None:
    with trio.fail_after(PATIENCE):
        async with open_node(config("peer")) as peer:
            with closing(StateStore.open(tmp_path)) as store:
                store.set_peers([peer.address])
            async with open_node(config("ann", data_dir=tmp_path)) as node:
                await peer.register("orders", port=80)
                await node.wait_for("orders")


async def test_a_directory_in_use_is_refused_and_one_that_was_left_is_free(tmp_path: Path) -> None:
    async with open_node(config("a", data_dir=tmp_path)):
        with pytest.raises(StorageError, match="is in use by process"):
            async with open_node(config("b", data_dir=tmp_path)):
                pass
    async with open_node(config("b", data_dir=tmp_path)):
        pass


async def test_a_node_that_cannot_bind_gives_its_directory_back(tmp_path: Path) -> None:
    async with open_node(config()) as other:
        with pytest.raises(BindError):
            async with open_node(config(bind=str(other.address), data_dir=tmp_path)):
                pass
    StateStore.open(tmp_path).close()


async def test_damage_on_disk_is_said_and_does_not_stop_it(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / DATABASE).write_bytes(b"not a database")
    async with open_node(config(data_dir=tmp_path)) as node:
        await node.register("orders", port=80)
    assert [record.levelname for record in caplog.records] == ["WARNING"]


# Its end


async def test_what_goes_wrong_in_the_block_comes_out_as_it_is() -> None:
    with pytest.raises(ZeroDivisionError):
        async with open_node(config()):
            raise ZeroDivisionError


@pytest.mark.parametrize("how", ["its block ends", "its block fails", "its block is cancelled"])
async def test_it_leaves_in_good_order_however_its_block_ends(how: str) -> None:
    async def live(stays: Node, scope: trio.CancelScope) -> None:
        async with open_node(config("goes", stays)) as node:
            await node.register("orders", port=80)
            await stays.wait_for("orders")
            if how == "its block fails":
                raise ZeroDivisionError
            if how == "its block is cancelled":
                scope.cancel()
                await trio.sleep_forever()

    with trio.fail_after(PATIENCE):
        async with open_node(config("stays")) as stays:
            with trio.CancelScope() as scope, suppress(ZeroDivisionError):
                await live(stays, scope)
            assert {member.name: str(member.status) for member in stays.members()} == {"goes": "left", "stays": "alive"}
            assert stays.lookup("orders", healthy=False) == ()


async def test_leaving_that_was_cancelled_is_finished_when_the_block_ends() -> None:
    with trio.fail_after(PATIENCE):
        async with open_node(config("stays")) as stays:
            async with open_node(config("goes", stays)) as goes:
                await goes.register("orders", port=80)
                await stays.wait_for("orders")
                with trio.move_on_after(0):
                    await goes.leave()
                with trio.move_on_after(QUICK.drain_time * 1.5):
                    await goes.leave()
            assert {member.name: str(member.status) for member in stays.members()} == {"goes": "left", "stays": "alive"}


async def test_the_block_goes_on_after_the_node_has_left() -> None:
    async with open_node(config()) as node:
        await node.leave()
        await node.wait_closed()
        gone_on = True
    assert gone_on


async def test_its_ports_are_free_when_the_block_is_over() -> None:
    async with open_node(config()) as node:
        address = node.address
    async with open_node(config(bind=str(address))) as again:
        assert again.address == address
