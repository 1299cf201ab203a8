"""A node seals credentials, carries those that it cannot open, and opens those for which it has the key."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio
import trio.testing

from gossipreg import Address, ConfigError, CredentialsUnavailable, Health, Instance, Node, open_node
from gossipreg.agent_config import AgentConfig
from gossipreg.config import Config
from gossipreg.key_format import key_id
from gossipreg.protocol.engine import Engine
from gossipreg.runtime.definitions import LocatedSpec, define
from gossipreg.runtime.state_database import DATABASE
from gossipreg.spec import InstanceSpec
from tests.hidden import hidden
from tests.runtime.nodes import PATIENCE, config

LOGIN = {"user": "app", "password": "correct horse"}


def text(fill: str) -> str:
    """A key as it is written."""
    return base64.b64encode(fill.encode() * 32).decode()


GOSSIP, OLD, NEW = text("g"), text("o"), text("n")


@pytest.fixture
async def node() -> AsyncIterator[Node]:
    """A node alone in its cluster, with a credential key."""
    async with open_node(config("ann", credential_key=OLD)) as node:
        yield node


def version(node: Node) -> int:
    """How often the node has said something new of what it offers."""
    table = node._engine.state.registry.table(node.name)
    return 0 if table is None else table.latest_digest.version


async def test_who_registers_an_instance_can_read_what_was_given_with_it(node: Node) -> None:
    made = await node.register("pg", port=5432, credentials=LOGIN)
    assert node.credentials(made) == LOGIN
    assert node.credentials(node.pick("pg")) == LOGIN
    assert b"horse" not in made.sealed


async def test_registering_again_with_the_same_credentials_changes_nothing(node: Node) -> None:
    made = await node.register("pg", port=5432, credentials=LOGIN)
    index, said = node.index("pg"), version(node)
    again = await node.register("pg", port=5432, credentials=dict(reversed(LOGIN.items())))
    assert (again, node.index("pg"), version(node)) == (made, index, said)


async def test_registering_again_with_others_is_an_ordinary_update(node: Node) -> None:
    await node.register("pg", port=5432, credentials=LOGIN)
    watch = node.watch("pg")
    await anext(watch)
    await node.register("pg", port=5432, credentials=LOGIN | {"password": "another"})
    [changed] = (await anext(watch)).changed
    assert node.credentials(changed)["password"] == "another"


async def test_registering_again_without_takes_them_away(node: Node) -> None:
    await node.register("pg", port=5432, credentials=LOGIN)
    made = await node.register("pg", port=5432)
    assert made.sealed == b""
    with pytest.raises(CredentialsUnavailable, match=r"^instance 'pg-ann-5432' of 'pg' has no credentials$"):
        node.credentials(made)


async def test_maintenance_and_health_leave_them_as_they_are(node: Node) -> None:
    made = await node.register("pg", port=5432, credentials=LOGIN, checks=[{"ttl": 60}])
    out = await node.set_maintenance(made.id, "new disk")
    back = await node.set_maintenance(made.id, None)
    await node.heartbeat(made.id)
    well = node.own(made.id)
    assert well is not None
    assert [each.health for each in (made, out, back, well)] == [
        Health.CRITICAL,
        Health.MAINTENANCE,
        Health.CRITICAL,
        Health.PASSING,
    ]
    assert {each.sealed for each in (made, out, back, well)} == {made.sealed}
    assert node.credentials(out) == LOGIN


async def test_without_a_key_credentials_are_refused_and_nothing_is_registered() -> None:
    async with open_node(config("ann")) as node:
        with pytest.raises(CredentialsUnavailable, match="set credential_key_file to a file that holds one"):
            await node.register("pg", port=5432, credentials=LOGIN)
        assert node.lookup("pg", healthy=False) == ()


async def test_a_member_without_the_key_carries_what_it_cannot_read() -> None:
    with trio.fail_after(PATIENCE):
        async with (
            open_node(config("ann", credential_key=OLD)) as ann,
            open_node(config("bob", ann)) as bob,
            open_node(config("cid", bob, credential_key=OLD)) as cid,
        ):
            await ann.register("pg", port=5432, credentials=LOGIN)
            [at_bob], [at_cid] = await bob.wait_for("pg"), await cid.wait_for("pg")
            with pytest.raises(CredentialsUnavailable, match="this node has no credential key"):
                bob.credentials(at_bob)
            assert cid.credentials(at_cid) == LOGIN


async def test_a_restart_keeps_them_and_the_disk_does_not_show_them(tmp_path: Path) -> None:
    async def live(**options: str) -> Instance:
        async with open_node(config("ann", data_dir=tmp_path, **options)) as node:
            [made] = node.lookup("pg") or [await node.register("pg", port=5432, credentials=LOGIN)]
            if options:
                assert node.credentials(made) == LOGIN
            return made

    first = await live(credential_key=OLD)
    assert await live() == first  # without the key
    assert await live(credential_key=OLD) == first
    assert b"horse" not in (tmp_path / DATABASE).read_bytes()


async def test_what_files_define_is_sealed_too_and_reading_them_again_changes_nothing(node: Node) -> None:
    located = [LocatedSpec("services.toml: service 1", InstanceSpec(service="pg", port=5432, credentials=LOGIN))]
    assert await define(node, located) == []
    [made] = node.lookup("pg")
    assert node.credentials(made) == LOGIN
    said = version(node)
    assert await define(node, located) == []
    assert version(node) == said
    assert "horse" not in repr(located)


async def test_what_files_define_stays_as_it_was_when_it_cannot_be_sealed() -> None:
    async with open_node(config("ann")) as node:
        await define(node, [LocatedSpec("f: service 1", InstanceSpec(service="pg", port=5432))])
        [failed] = await define(
            node, [LocatedSpec("f: service 1", InstanceSpec(service="pg", port=5432, credentials=LOGIN))]
        )
        assert str(failed).startswith("f: service 1: credentials: this node has no credential key")
        assert len(node.lookup("pg")) == 1


# Changing the key


async def test_a_key_is_changed_step_by_step_while_all_can_read(tmp_path: Path) -> None:
    file = tmp_path / "keys"

    async def live(*keys: str) -> Instance:
        hidden(file, "\n".join(keys) + "\n\n")
        async with open_node(config("ann", credential_key_file=file)) as node:
            made = await node.register("pg", port=5432, credentials=LOGIN)
            assert node.credentials(made) == LOGIN
            return made

    before, both, after = await live(OLD), await live(NEW, OLD), await live(NEW)
    assert before.sealed[:4].hex() == key_id(base64.b64decode(OLD))
    assert both.sealed[:4] == after.sealed[:4] == bytes.fromhex(key_id(base64.b64decode(NEW)))


async def test_what_is_kept_on_disk_is_sealed_anew_when_the_key_is_changed(tmp_path: Path) -> None:
    file = tmp_path / "keys"

    def keys(*texts: str) -> Config:
        hidden(file, "\n".join(texts))
        return config("ann", data_dir=tmp_path / "kept", credential_key_file=file)

    with trio.fail_after(PATIENCE):
        async with open_node(keys(OLD)) as node:
            old = await node.register("pg", port=5432, credentials=LOGIN, meta={"a": "b"}, weight=3)
        async with open_node(keys(NEW, OLD)) as node:
            async for change in node.watch("pg"):
                [new] = change.instances
                if new.sealed != old.sealed:
                    break
            assert attrs.evolve(new, sealed=old.sealed) == old
            await node.register("other", port=1)  # is on disk when this returns, and so is what was said before
        async with open_node(keys(NEW)) as node:
            assert node.credentials(node.pick("pg")) == LOGIN


async def test_what_is_withdrawn_while_others_are_sealed_anew_does_not_come_back(tmp_path: Path) -> None:
    file = tmp_path / "keys"

    def keys(*texts: str) -> Config:
        hidden(file, "\n".join(texts))
        return config("ann", data_dir=tmp_path / "kept", credential_key_file=file)

    with trio.fail_after(PATIENCE):
        async with open_node(keys(OLD)) as node:
            for id_ in ("first", "second"):
                await node.register("pg", port=5432, id=id_, credentials=LOGIN)
        async with open_node(keys(NEW, OLD)) as node:
            await trio.testing.wait_all_tasks_blocked(0.0)  # the first waits for the disk
            await node.deregister("second")
            await node.register("other", port=1)
            await trio.testing.wait_all_tasks_blocked()
            assert [each.id for each in node.lookup("pg")] == ["first"]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"credential_key": OLD, "credential_key_file": "x"}, "credential_key: credential_key_file is given, too"),
        ({"credential_key": "c2hvcnQ="}, "credential_key: the key has 5 bytes, not 32: make one with"),
        ({"credential_key": ""}, "credential_key: the key has 0 bytes, not 32"),
        (
            {"credential_key": GOSSIP, "key": GOSSIP},
            "credential_key: it holds the key of the gossip, which all members",
        ),
    ],
)
async def test_a_key_that_cannot_be_used_is_refused(options: dict[str, str], sentence: str) -> None:
    with pytest.raises(ConfigError) as refused:
        async with open_node(config(**options)):
            pass
    assert str(refused.value).startswith(sentence)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (None, "credential_key_file: cannot read {}: No such file or directory"),
        (b"\xff", "credential_key_file: {} holds no key: make one with `gossipreg keygen --out FILE`"),
        (b"\n\n", "credential_key_file {}: 0 keys are not 1 to 16, one a line"),
        (f"{OLD}\n".encode() * 17, "credential_key_file {}: 17 keys are not 1 to 16, one a line"),
        (
            f"{OLD}\nsecret!\n".encode(),
            "credential_key_file {}: the key is not base64: make one with `gossipreg keygen --out FILE`",
        ),
    ],
)
async def test_a_file_of_keys_that_cannot_be_used_is_named(
    content: bytes | None, sentence: str, tmp_path: Path
) -> None:
    file = tmp_path / "keys"
    if content is not None:
        hidden(file, content)
    with pytest.raises(ConfigError) as refused:
        async with open_node(config(credential_key_file=file)):
            pass
    assert str(refused.value) == sentence.format(file)


def test_a_configuration_does_not_show_its_keys() -> None:
    shown = repr(Config(key=GOSSIP, credential_key=OLD)) + repr(AgentConfig(key=GOSSIP, credential_key=OLD))
    assert GOSSIP not in shown
    assert OLD not in shown


async def test_an_instance_that_is_shown_does_not_show_them(node: Node) -> None:
    made = await node.register("pg", port=5432, credentials=LOGIN)
    assert "sealed" not in repr(made)
    assert made == attrs.evolve(made)


# A new address


async def test_credentials_are_sealed_anew_for_a_new_address(caplog: pytest.LogCaptureFixture) -> None:
    async with open_node(config("ann", credential_key=OLD)) as node:
        await node.register("pg", port=5432, credentials=LOGIN)
        await node.register("far", host="10.9.8.7", port=1, credentials=LOGIN)
        await node._lifecycle.registrar.move(Address("127.0.0.9", node.address.port))
        [moved] = node.lookup("pg")
        assert moved.host == "127.0.0.9"
        assert node.credentials(moved) == LOGIN
        assert node.credentials(node.pick("far")) == LOGIN
    assert "stays at" not in caplog.text


async def test_an_instance_whose_credentials_cannot_be_opened_stays_where_it_was(tmp_path: Path) -> None:
    def keyed(key: str) -> Config:
        return config("ann", data_dir=tmp_path / "kept", credential_key=key)

    async with open_node(keyed(OLD)) as node:
        await node.register("pg", port=5432, credentials=LOGIN)
    async with open_node(keyed(NEW)) as node:
        [before] = node.lookup("pg")
        await node._lifecycle.registrar.move(Address("127.0.0.9", node.address.port))
        assert node.lookup("pg")[0].host == before.host


async def test_keys_of_credentials_never_travel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    received: list[bytes] = []

    def tapped(method: Any) -> Any:
        def tap(engine: Engine, *arguments: Any, **more: Any) -> Any:
            received.extend(each for each in arguments if isinstance(each, bytes))
            return method(engine, *arguments, **more)

        return tap

    for name in ("receive", "stream_frame"):
        monkeypatch.setattr(Engine, name, tapped(getattr(Engine, name)))
    file = hidden(tmp_path / "key", OLD)
    async with (
        open_node(config("ann", credential_key_file=file)) as ann,  # in clear, so that all can be read
        open_node(config("bob", ann, credential_key=OLD)) as bob,
    ):
        await ann.register("pg", port=5432, credentials=LOGIN)
        [seen] = await bob.wait_for("pg")
        hidden(file, f"{NEW}\n{OLD}")
        await ann.reread_keys()
        with trio.fail_after(PATIENCE):
            while bob.lookup("pg") == (seen,):  # noqa: ASYNC110
                await trio.sleep(0.01)
        [renewed] = bob.lookup("pg")
    sent = b"".join(received)
    assert seen.sealed in sent, "what is sent is seen here"
    assert renewed.sealed in sent
    for key in (OLD, NEW):
        assert key.encode() not in sent
        assert base64.b64decode(key) not in sent
