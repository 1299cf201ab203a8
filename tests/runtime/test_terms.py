"""The highest term of a service outlives its instances, over real sockets and on disk; an operator resets it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import attrs
import pytest
import trio

from gossipreg import Instance, Node, NotJoined, ServiceTerm, StorageError, UnknownTerm, open_node
from gossipreg.model import FENCED, PRIMARY
from gossipreg.protocol.registry.terms import TermRegister
from gossipreg.runtime.snapshot_file import _read, _write
from tests.runtime.nodes import PATIENCE, config


async def until_roles(node: Node, wanted: dict[str, str | None]) -> None:
    """Return when the node shows just these instances of pg, in these roles; pg-1 was not the primary until then."""
    with trio.fail_after(PATIENCE):
        async for change in node.watch("pg"):
            roles = {each.id: each.role for each in change.instances}
            assert roles.get("pg-1") != PRIMARY
            if roles == wanted:
                return


async def two_claims(ann: Node, bob: Node) -> None:
    await ann.register("pg", port=1, id="pg-1", role=PRIMARY, term=1)
    await bob.register("pg", port=2, id="pg-2", role=PRIMARY, term=2)
    with trio.fail_after(PATIENCE):
        await ann.wait_for("pg", at_least=2)
        await bob.wait_for("pg", at_least=2)


async def test_when_the_holder_of_the_highest_term_goes_no_node_falls_back_to_a_lower_one() -> None:
    async with open_node(config("ann")) as ann:
        async with open_node(config("bob", ann)) as bob:
            await two_claims(ann, bob)
            await bob.deregister("pg-2")
            for node in (ann, bob):
                await until_roles(node, {"pg-1": FENCED})
                assert node.lookup("pg", role=PRIMARY) == ()
                assert node.next_term("pg") == 3
        await until_roles(ann, {"pg-1": FENCED})
        async with open_node(config("bob", ann)) as back:  # without a disk, so it knows nothing
            await until_roles(back, {"pg-1": FENCED})
            assert back.next_term("pg") == 3
            new = await back.register("pg", port=2, id="pg-2", role=PRIMARY, term=back.next_term("pg"))
            assert (new.role, new.term) == (PRIMARY, 3)
            await until_roles(ann, {"pg-1": FENCED, "pg-2": PRIMARY})


async def test_a_term_is_on_disk_though_its_instance_is_gone_and_all_agents_were_down(tmp_path: Path) -> None:
    async with open_node(config("ann", data_dir=tmp_path)) as ann:
        await ann.register("pg", port=1, id="pg-1", role=PRIMARY, term=1)
        await ann.register("pg", port=2, id="pg-2", role=PRIMARY, term=2)
        await ann.deregister("pg-2")
    async with open_node(config("ann", data_dir=tmp_path)) as ann:
        assert [(each.id, each.role) for each in ann.lookup("pg")] == [("pg-1", FENCED)]
        assert ann.next_term("pg") == 3


async def test_a_term_that_others_stated_is_on_disk_soon(tmp_path: Path) -> None:
    async with open_node(config("ann", data_dir=tmp_path)) as ann, open_node(config("bob", ann)) as bob:
        await bob.register("pg", port=2, id="pg-2", role=PRIMARY, term=7)
        store = ann._lifecycle.context.store
        assert store is not None
        with trio.fail_after(PATIENCE):
            while "pg" not in (await store.load()).terms:  # noqa: ASYNC110 - what is noted on disk rings no bell
                await trio.sleep(0.01)
    async with open_node(config("ann", data_dir=tmp_path, bind="127.0.0.1:0")) as again:
        assert again._engine.state.terms.seen("pg") == 7


@pytest.mark.parametrize("is_left", [True, False])
async def test_a_snapshot_remembers_terms_without_an_instance(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_left: bool
) -> None:
    path = tmp_path / "last"
    monkeypatch.setattr("gossipreg.runtime.snapshot_file.WRITE_SECONDS", 0.02)
    async with open_node(attrs.evolve(config("ann"), snapshot=path)) as ann, open_node(config("bob", ann)) as bob:
        await bob.register("pg", port=1, id="pg-1", role=PRIMARY, term=1)
        await bob.register("pg", port=2, id="pg-2", role=PRIMARY, term=2)
        if is_left:
            await bob.deregister("pg-2")
        wanted = [("pg-1", 1)] if is_left else [("pg-1", 1), ("pg-2", 2)]
        with trio.fail_after(PATIENCE):
            while in_file(path) != (wanted, 2):  # noqa: ASYNC110 - a file rings no bell
                await trio.sleep(0.01)
        nowhere = str(bob.address)
        kept = path.read_bytes()
    path.write_bytes(kept)  # as it was when the cluster was lost
    async with open_node(attrs.evolve(config("ann"), snapshot=path, join=(nowhere,))) as cut_off:
        shown = {each.id: each.role for each in cut_off.lookup("pg")}
        assert shown == ({"pg-1": FENCED} if is_left else {"pg-1": FENCED, "pg-2": PRIMARY})
        with pytest.raises(NotJoined, match="it has reached no member yet"):
            cut_off.next_term("pg")


def in_file(path: Path) -> tuple[list[tuple[str, int]], int]:
    """The instances of pg in a snapshot with their terms, and the highest that it knows."""
    known = _read(path, "default", 0.0)
    if known is None:
        return [], 0
    instances = [(each.id, each.term) for each in known.services.get("pg", ())]
    return instances, max([register.claimed for register in known.terms], default=0)


def test_a_snapshot_of_an_earlier_version_knows_the_terms_of_its_instances(tmp_path: Path) -> None:
    path = tmp_path / "last"
    claim = Instance(id="pg-1", service="pg", host="10.0.0.1", port=1, role=PRIMARY, term=3, owner="bob")
    _write(path, "default", "gus", {"pg": (claim,)})
    known = _read(path, "default", 0.0)
    assert known is not None
    assert known.terms == (TermRegister("pg", claimed=3, seen=3),)


async def test_an_operator_resets_a_term_that_was_given_by_mistake() -> None:
    async with open_node(config("ann")) as ann, open_node(config("bob", ann)) as bob:
        await two_claims(ann, bob)
        await bob.register("pg", port=3, id="pg-9", role=PRIMARY, term=1_000_000)
        await bob.deregister("pg-9")
        await until_roles(ann, {"pg-1": FENCED, "pg-2": FENCED})
        reset = await ann.reset_term("pg")
        assert (reset.claimed, reset.seen, reset.reset_by) == (2, 2, "ann")
        assert reset.primary is not None
        assert reset.primary.id == "pg-2"
        for node in (ann, bob):
            await until_roles(node, {"pg-1": FENCED, "pg-2": PRIMARY})
            assert node.terms() == (reset,)
            assert node.next_term("pg") == 3
        with pytest.raises(UnknownTerm):
            await ann.reset_term("orders")


async def test_a_reset_that_the_disk_refuses_did_not_happen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def full(service: str, register: bytes) -> None:
        raise StorageError("free some space on its disk")

    async with open_node(config("ann", data_dir=tmp_path)) as ann:
        await ann.register("pg", port=1, id="pg-1", role=PRIMARY, term=4)
        await ann.deregister("pg-1")
        with monkeypatch.context() as patch:
            patch.setattr(
                "gossipreg.runtime.state_store.AsyncStateStore.put_term", lambda _, key, body: full(key, body)
            )
            with pytest.raises(StorageError):
                await ann.reset_term("pg")
        assert ann.terms() == (ServiceTerm("pg", 4, 4, None),)
        assert (await ann.reset_term("pg")).seen == 0
    async with open_node(config("ann", data_dir=tmp_path)) as again:
        assert again.terms()[0].reset_by == "ann"
        assert again.next_term("pg") == 1


async def test_a_claim_that_the_disk_refuses_fences_no_instance_and_takes_no_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def full(*_: Any, **__: Any) -> None:
        await trio.lowlevel.checkpoint()
        raise StorageError("free some space on its disk")

    async with open_node(config("ann", data_dir=tmp_path)) as ann, open_node(config("bob", ann)) as bob:
        await two_claims(ann, bob)
        with monkeypatch.context() as patch:
            patch.setattr("gossipreg.runtime.state_store.AsyncStateStore.put_instances", full)
            before = ann.index(), ann._engine.fingerprint
            for id_ in ("pg-1", "pg-9"):
                with pytest.raises(StorageError):
                    await ann.register("pg", port=9, id=id_, role=PRIMARY, term=9)
            assert (ann.index(), ann._engine.fingerprint) == before, "nothing is there to be told"
        await until_roles(ann, {"pg-1": FENCED, "pg-2": PRIMARY})
        assert ann.next_term("pg") == 3


async def test_a_number_is_given_once_though_the_claim_before_is_still_being_written(tmp_path: Path) -> None:
    async with open_node(config("ann", data_dir=tmp_path)) as ann:
        given: list[int] = []

        async def claim(number: int) -> None:
            given.append(ann.next_term("pg"))
            await ann.register("pg", port=number, id=f"pg-{number}", role=PRIMARY, term=given[-1])

        async with trio.open_nursery() as nursery:
            for number in range(1, 9):
                nursery.start_soon(claim, number)
        assert sorted(given) == list(range(1, 9))
        assert ann.next_term("pg") == 9
        assert not ann._lifecycle.policies._pending_terms
    async with open_node(config("ann", data_dir=tmp_path)) as ann:
        assert ann.next_term("pg") == 9


async def test_a_term_on_disk_that_cannot_be_read_is_set_aside(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_node(config("ann", data_dir=tmp_path)) as ann:
        await ann.register("pg", port=1, id="pg-1", role=PRIMARY, term=4)
        store = ann._lifecycle.context.store
        assert store is not None
        await store.put_term("search", b"\xc1")
        await store.put_term("other", (await store.load()).terms["pg"])
    async with open_node(config("ann", data_dir=tmp_path)) as again:
        assert [each.service for each in again.terms()] == ["pg"]
        store = again._lifecycle.context.store
        assert store is not None
        assert set((await store.load()).terms) == {"pg"}
    assert "the term of search on disk is not used" in caplog.text
    assert "the term of other on disk is not used: it says something else" in caplog.text
