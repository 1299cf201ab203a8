"""The directory follows the node's events."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import attrs
import trio

from gossipreg.errors import NameConflict
from gossipreg.events import CheckEvent, Event, MemberEvent, Snapshot
from gossipreg.frontends.dns.directory import Directory
from gossipreg.model import Health, Instance, Status
from tests.frontends.fake_node import FakeNode, member


async def test_it_starts_with_what_is_there_and_ends_with_the_node(nursery: trio.Nursery) -> None:
    node = FakeNode()
    node.hold(Instance(id="o", service="Orders", host="10.0.0.1", port=80, owner="alpha"))
    node.see("joined", member("Beta", 7941))
    node.see("left", member("gone", 7942, Status.LEFT))
    directory = Directory(node)
    await nursery.start(directory.follow)
    assert list(directory.spellings("orders")) == ["orders", "Orders"]
    assert directory.hosts("beta") == ("127.0.0.1",)
    assert directory.members_at("127.0.0.1") == ["Beta", "alpha"]
    assert not directory.is_closed
    node.close()
    await trio.testing.wait_all_tasks_blocked()
    assert directory.is_closed


async def test_it_ends_with_a_node_that_had_to_yield_its_name(nursery: trio.Nursery) -> None:
    @attrs.define(eq=False, slots=False)
    class Yielding(FakeNode):
        async def events(
            self, service: str | None = None, *, panic: float = 0.0, healthy: bool = True, all_cells: bool = False
        ) -> AsyncGenerator[tuple[Event, ...], None]:
            yield (Snapshot((), ()),)
            raise NameConflict("another has the name")

    directory = Directory(Yielding())
    await nursery.start(directory.follow)
    await trio.testing.wait_all_tasks_blocked()
    assert directory.is_closed


async def test_it_begins_with_a_node_that_is_closed_already(nursery: trio.Nursery) -> None:
    node = FakeNode()
    node.close()
    directory = Directory(node)
    await nursery.start(directory.follow)
    assert directory.is_closed


def test_only_what_changes_an_answer_makes_a_new_epoch() -> None:
    directory = Directory(FakeNode())
    here = member("web-1", 7940)
    epochs = []
    for event in (
        MemberEvent("joined", here),
        MemberEvent("suspect", attrs.evolve(here, status=Status.SUSPECT)),
        MemberEvent("alive", here),
        CheckEvent("flapping", "o", "orders", "http", Health.WARNING),
        MemberEvent("failed", attrs.evolve(here, status=Status.FAILED)),
        MemberEvent("left", attrs.evolve(here, status=Status.FAILED)),
    ):
        directory.note(event)
        epochs.append(directory.epoch)
    assert epochs == [1, 1, 1, 1, 2, 2]
    assert directory.hosts("web-1") == ()


def test_members_whose_names_differ_in_case_only_are_kept_apart() -> None:
    directory = Directory(FakeNode())
    for name, host in (("web", "10.0.0.1"), ("Web", "10.0.0.2")):
        directory.note(
            MemberEvent("joined", attrs.evolve(member(name, 1), address=member(name, 1).address._replace(host=host)))
        )
    assert directory.hosts("web") == ("10.0.0.1", "10.0.0.2")
    directory.note(MemberEvent("left", member("Web", 1)))
    assert directory.hosts("web") == ("10.0.0.1",)
