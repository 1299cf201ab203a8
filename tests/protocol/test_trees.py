"""Broadcast trees: to which members a node sends a record first, and what it does when the tree missed it."""

from __future__ import annotations

from gossipreg.protocol.dissemination.receipts import ReceiptRequest
from gossipreg.protocol.engine import Engine
from gossipreg.protocol.engine_settings import EngineSettings
from gossipreg.protocol.membership.member_update import MemberUpdate
from gossipreg.protocol.outputs import Output, Transmit
from gossipreg.protocol.registry.records import Record
from gossipreg.protocol.wire.reader import unpack
from tests.protocol.making import history, instance, many_members, packet
from tests.protocol.test_engine import among

CROWD = many_members(30)
OWNER = CROWD[4]
[RECORD] = history([("x", 1)], owner=OWNER.name).said


def told(outputs: list[Output]) -> list[str]:
    """The names of the members that are sent an instance, but those that are probed."""
    names = {member.address: member.name for member in CROWD}
    return [
        names[each.to]
        for each in outputs
        if isinstance(each, Transmit)
        and all(isinstance(message, Record | ReceiptRequest) for message in unpack(each.data)[1])
    ]


def deliver(node: Engine, sender: MemberUpdate, now: float = 6.0) -> list[str]:
    node.receive(packet(sender, RECORD), sender.address, now)
    return told(node.handle_timeout(now))


def above(node: Engine) -> MemberUpdate:
    name = node.members.ring.parent("a", OWNER.name, 3)
    return next(member for member in CROWD if member.name == name)


def test_what_is_said_here_goes_to_those_below_us_first() -> None:
    node = among(*CROWD)
    node.register(instance("mine"), 6.0)
    assert told(node.handle_timeout(6.002)) == node.members.ring.children("a", "a", 3)


def test_what_comes_from_above_goes_to_those_below_at_once() -> None:
    node = among(*CROWD)
    assert deliver(node, above(node)) == node.members.ring.children("a", OWNER.name, 3)


def elsewhere(node: Engine) -> MemberUpdate:
    return next(member for member in CROWD if member not in (above(node), OWNER))


def test_what_comes_from_elsewhere_goes_to_those_below_all_the_same() -> None:
    node = among(*CROWD)
    assert deliver(node, elsewhere(node)) == node.members.ring.children("a", OWNER.name, 3)


def test_without_receipts_it_goes_to_some_at_random_for_the_tree_has_a_missed_subtree() -> None:
    node = among(*CROWD, settings=EngineSettings(lifelines=0, gossip_receipts=False))
    below = node.members.ring.children("a", OWNER.name, 3)
    to = deliver(node, elsewhere(node))
    assert len(to) == 3
    assert to != below


def test_a_record_of_an_owner_that_has_gone_goes_to_members_at_random() -> None:
    node = among(*CROWD)
    sender = elsewhere(node)
    node.members.ring.unseat(OWNER.name)
    del node.members._position[OWNER.name]
    assert len(deliver(node, sender)) == 3


def test_without_receipts_a_record_of_an_owner_that_has_gone_waits_for_the_second_transmission() -> None:
    node = among(*CROWD, settings=EngineSettings(lifelines=0, gossip_receipts=False))
    sender = above(node)
    node.receive(packet(sender, RECORD), sender.address, 6.0)
    node.members.ring.unseat(OWNER.name)
    del node.members._position[OWNER.name]
    assert told(node.handle_timeout(6.0)) == []
