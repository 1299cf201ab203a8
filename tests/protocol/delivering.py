"""Delivery of members' messages to an engine, and what it sends back, for tests."""

from __future__ import annotations

import attrs

from gossipreg.model import Status
from gossipreg.protocol.engine import Engine
from gossipreg.protocol.membership.member_update import MemberUpdate
from gossipreg.protocol.membership.probe import Ping, PingReq
from gossipreg.protocol.outputs import Output, SendFrame
from gossipreg.protocol.wire.messages import Message
from tests.protocol.making import packet, said_to, spoken, update
from tests.protocol.test_engine import A, B, C, among

D = update("d", port=7003)


def replies(outputs: list[Output]) -> list[Message]:
    return [message for output in outputs if isinstance(output, SendFrame) for message in spoken(output.frame)]


def deliver(node: Engine, sender: MemberUpdate, *said: Message, now: float = 6.0) -> list[Output]:
    return node.receive(packet(sender, *said), sender.address, now)


def receive_over_stream(
    node: Engine, sender: MemberUpdate, *said: Message, stream: int = -1, now: float = 6.0
) -> list[Output]:
    return node.stream_frame(stream, packet(sender, *said), sender.address, now)


def conceded(member: MemberUpdate) -> MemberUpdate:
    """The failure that ``member`` concedes itself; no node verifies it."""
    return member.graver(Status.FAILED, member.run_id)


def believed(node: Engine, name: str) -> MemberUpdate:
    held = node.members.get(name)
    assert held is not None
    return held


def probed(node: Engine, target: MemberUpdate, now: float) -> int:
    """Let ``node`` probe its only peer in vain until the end of the period; returns the probe's number."""
    [ping] = (m for m in said_to(node.handle_timeout(now), target.address) if isinstance(m, Ping) and m.seq)
    node.handle_timeout(now + 0.5)
    return ping.seq


def unreached(node: Engine, target: MemberUpdate, now: float) -> None:
    """Let ``node`` ping ``target`` in vain, on behalf of another."""
    deliver(node, C, PingReq(7, target.run_id, 500), now=now)
    node.handle_timeout(now + 0.4)


def ids(node: Engine) -> list[str]:
    return [offered.id for offered in node.view.service("orders").healthy]


def accuse(
    node: Engine, incarnation: int, now: float, status: Status = Status.FAILED, accuser: MemberUpdate = C
) -> list[Output]:
    said = attrs.evolve(A, incarnation=incarnation, status=status, accuser=accuser.run_id)
    return deliver(node, accuser, said, now=now)


def many(count: int = 12) -> tuple[Engine, list[MemberUpdate]]:
    """A node in poor health among many."""
    others = [update(f"m{number}", port=7100 + number) for number in range(count)]
    node = among(B, C, *others)
    node.detector.health.worse(8)
    return node, others
