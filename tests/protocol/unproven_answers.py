"""What messages have a node send to an unproven address: ``python -m tests.protocol.unproven_answers``.

Prints the table of docs/security.md: bytes of the answer for each byte of the question, before both are sealed.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from functools import cache
from typing import Final, get_args

import attrs

from gossipreg.model import Address, Status
from gossipreg.protocol.anti_entropy.fingerprint import BUCKETS
from gossipreg.protocol.anti_entropy.reconcile import Compare, End, KeepOpen, Listing, Want
from gossipreg.protocol.cells.cell_head import CellHead
from gossipreg.protocol.dissemination.receipts import Receipt, ReceiptRequest
from gossipreg.protocol.engine import Engine
from gossipreg.protocol.identity.authenticator import IdentityMode
from gossipreg.protocol.membership.identity import NameConflictQuery
from gossipreg.protocol.membership.member_update import MemberUpdate
from gossipreg.protocol.membership.observations import ObservationRequest, Observations
from gossipreg.protocol.membership.peer_clocks import WallClock
from gossipreg.protocol.membership.probe import Ack, Nack, Ping, PingReq
from gossipreg.protocol.outputs import Transmit
from gossipreg.protocol.registry.policy_version import PolicyVersion
from gossipreg.protocol.registry.records import Announcement, Fetch, RecordRequest, TableDigest
from gossipreg.protocol.registry.registry import Registry
from gossipreg.protocol.registry.terms import TermRegister
from gossipreg.protocol.wire.messages import Message, pack
from tests.protocol.identity.signing import Peer, node, signer
from tests.protocol.making import BORN, engine, instance, packet

#: Whose address the packets bear.
VICTIM: Final = Address("10.9.9.9", 7000)
B: Final = Peer("b")
C: Final = Peer("c", 7002)
#: The situation of a packet that bears the code of its sender.
PROVEN: Final = "a member with its code, from elsewhere"
_NOW: Final = 60.0


def questions(here: Engine, sender: MemberUpdate) -> dict[type, Message]:
    """A short message of each kind, which the node has something to answer to."""
    own_table = here.state.registry.table("a")
    assert own_table is not None
    record = next(iter(own_table))
    own, other = here.identity.own_update(), C.state()
    said: list[Message] = [
        *(Ping(1, 0, 1), Ack(1, 0, 1), Nack(1), PingReq(1, other.run_id, 500)),
        *(own.graver(Status.SUSPECT, sender.run_id), NameConflictQuery("a", 7, 1, False)),
        *(Registry("b").offer(instance("x"), BORN)[0], Announcement("b", BORN, 1, "x", 0, 1000, 0)),
        *(TableDigest("a", record.generation, 1, 0, ()), Fetch("a", record.generation, record.version, record.id)),
        *(Compare((0,) * BUCKETS), Listing(0, ()), Want(0, (1,)), End(), KeepOpen()),
        *(PolicyVersion("split:orders", BORN, 0, "b", None), TermRegister("pg", claimed=1, seen=1), WallClock(BORN)),
        *(ReceiptRequest(1), Receipt((1,)), RecordRequest("a", record.generation, 0, ())),
        *(ObservationRequest(), Observations("", (), ()), CellHead("b", 1, 1, 0, (VICTIM,))),
    ]
    return {type(each): each for each in said}


def _filled(here: Engine) -> Engine:
    """A node that has much to say: news to piggyback, a table of records, a suspect."""
    for number in range(8):
        here.register(instance(f"orders-{number:03}", meta={"filler": "x" * 200}), 5.0)
    suspect = B.state().graver(Status.SUSPECT, C.state().run_id)
    for member in (B.state(), C.state(), suspect):
        here.receive(packet(C.state(), member), C.state().address, 5.0)
    return here


def _at_victim(peer: Peer) -> MemberUpdate:
    return attrs.evolve(peer.state(), address=VICTIM, proof=b"")


def situations() -> Iterator[tuple[str, Engine, MemberUpdate]]:
    """The ways to have a node answer VICTIM: a name, a node, and what the packet claims to come from."""
    stranger = attrs.evolve(Peer("z", 7099).state(), address=VICTIM)
    yield "a stranger", _filled(engine()), stranger
    yield "a stranger, `prefer`", _filled(node(mode=IdentityMode.PREFER)), stranger
    yield "a stranger, `require`", _filled(node(mode=IdentityMode.REQUIRE)), stranger
    yield "a member's run id, from elsewhere", _filled(engine()), B.state()
    yield "likewise, `prefer`", _filled(node(mode=IdentityMode.PREFER)), B.state()
    yield "likewise, `require`", _filled(node(mode=IdentityMode.REQUIRE)), B.state()
    here = _filled(node(mode=IdentityMode.REQUIRE))
    here.receive(B.proven(packet(B.state(), B.state()), here), B.state().address, 5.0)
    yield PROVEN, here, B.state()
    here = _filled(engine(is_open=True))
    made_up = _at_victim(Peer("m", 7098, signer("m")))
    here.receive(packet(made_up, made_up), VICTIM, 5.0)
    assert here.members.get("m") is not None
    yield "a member that was made up, without a key", here, made_up


@cache
def ratios() -> dict[tuple[str, str], float]:
    """Bytes of answers for each byte of a packet, by kind of message and situation; also of a packet full of them."""
    found: dict[tuple[str, str], float] = {}
    kinds = [kind for kind in get_args(Message) if isinstance(kind, type)]
    for kind in kinds:
        for is_full in (False, True):
            for name, here, sender in situations():
                question = questions(here, sender)[kind]
                count = max(1, here.outbox.room // len(pack(question))) if is_full else 1
                asked = packet(sender, *[question] * count)
                if name == PROVEN:
                    asked = B.proven(asked, here)
                outputs = here.receive(asked, VICTIM, _NOW)
                sent = sum(len(each.data) for each in outputs if isinstance(each, Transmit) and each.to == VICTIM)
                found[f"`{kind.__name__}`{', a packet full' if is_full else ''}", name] = sent / len(asked)
    return found


def table() -> str:
    """The messages that are answered at all, and the ratio in each situation."""
    found = ratios()
    columns = list(dict.fromkeys(name for _, name in found))
    rows = [["message", *columns], ["---"] * (len(columns) + 1)]
    for kind in dict.fromkeys(kind for kind, _ in found):
        cells = [found[kind, name] for name in columns]
        if any(cells):
            rows.append([kind, *(f"{each:.1f}" for each in cells)])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


if __name__ == "__main__":
    sys.stdout.write(table() + "\n")
