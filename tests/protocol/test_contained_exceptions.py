"""Bugs that a message brings up: contained before anything has changed, and the end of the engine after that."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn

import attrs
import pytest

from gossipreg.counters import Count
from gossipreg.model import Status
from gossipreg.policy import Split
from gossipreg.protocol import inbound, question_handler
from gossipreg.protocol.accusations import Accusations
from gossipreg.protocol.anti_entropy.reconcile import End
from gossipreg.protocol.dissemination.broadcast_queue import BroadcastQueue
from gossipreg.protocol.engine import Engine
from gossipreg.protocol.identity.authenticator import Authenticator, IdentityMode
from gossipreg.protocol.inbound import HalfChanged
from gossipreg.protocol.membership.detector import Detector
from gossipreg.protocol.membership.member_update import MemberUpdate
from gossipreg.protocol.membership.members import Members
from gossipreg.protocol.membership.probe import Ack, Ping, Prober
from gossipreg.protocol.outputs import MessageFailed, Output
from gossipreg.protocol.registry import payload as payload_module
from gossipreg.protocol.registry import policy_version
from gossipreg.protocol.registry.policies import Policies
from gossipreg.protocol.registry.policy_version import PolicyVersion, pack_rule
from gossipreg.protocol.registry.records import Fetch, Record, RecordRequest
from gossipreg.protocol.registry.registry import Registry
from gossipreg.protocol.registry.table import Table
from gossipreg.protocol.registry.terms import TermProofs, TermRegister, Terms
from gossipreg.protocol.wire import reader
from gossipreg.protocol.wire.messages import Message
from tests.protocol.delivering import deliver, receive_over_stream
from tests.protocol.identity.signing import Peer, meeting
from tests.protocol.identity.signing import deliver as deliver_proven
from tests.protocol.making import BORN, instance, packet
from tests.protocol.test_engine import B, C, among

Patch = pytest.MonkeyPatch
RULE = Split("orders", {"v1": 1})
POLICY = PolicyVersion(RULE.key, BORN, 0, "b", pack_rule(RULE))


def fail(*_: Any, **__: Any) -> NoReturn:
    raise ZeroDivisionError("unforeseen")


def fail_assertion(*_: Any, **__: Any) -> NoReturn:
    raise AssertionError("unforeseen")


def offered() -> Record:
    return Registry("b").offer(instance("x"), BORN)[0]


def failed(outputs: list[Output]) -> list[str]:
    return [each.what for each in outputs if isinstance(each, MessageFailed)]


def held(node: Engine) -> Any:
    """What a node holds, and what it believes of others."""
    suspects = [node.detector.accusers(each.name) for each in node.members.snapshot()]
    return node.fingerprint, list(node.members.snapshot()), suspects, [*node.state.policies], node.state.registry.size


#: Where a bug comes up before anything has changed, by stage: what is planted, and the message that meets it.
BEFORE: list[tuple[str, Any, str, Message]] = [
    ("reading a message", reader, "read_message", Ping(1, 0, 1)),
    ("comparing an update", MemberUpdate, "supersedes", attrs.evolve(B, incarnation=1)),
    ("comparing a record", Registry, "classify", offered()),
    ("comparing a policy", Policies, "outranks", POLICY),
    ("answering a request", Table, "after", RecordRequest("a", BORN, 0, ())),
    ("answering a ping", inbound, "Ack", Ping(1, 0, 1)),
]

#: And after something has changed.
AFTER: list[tuple[str, Any, str, Message]] = [
    ("an update", Members, "put", attrs.evolve(B, incarnation=1)),
    ("a suspicion", Detector, "start_suspicion", attrs.evolve(B, status=Status.SUSPECT, accuser=C.run_id)),
    ("a confirmation", Detector, "confirm", attrs.evolve(B, status=Status.SUSPECT, accuser=7)),
    ("a broadcast", BroadcastQueue, "enqueue", attrs.evolve(B, incarnation=1)),
    ("a record", Registry, "apply", offered()),
    ("a policy", Policies, "take", POLICY),
    ("an ack", Prober, "handle_ack", Ack(1, 0, 0)),
]


def prepared() -> Engine:
    node = among(B, C)
    node.register(instance("own"), 1.0)
    return node


def str_or_nothing(value: object) -> str:
    return value if isinstance(value, str) else ""


@pytest.mark.parametrize("planted", [fail, fail_assertion])
@pytest.mark.parametrize(
    ("stage", "where", "name", "message"), BEFORE, ids=lambda each: each if type(each) is str else ""
)
def test_a_bug_before_anything_has_changed_costs_the_message_it_is_met_by(
    stage: str, where: Any, name: str, message: Message, planted: Callable[..., Any], monkeypatch: Patch
) -> None:
    node = prepared()
    before = held(node)
    with monkeypatch.context() as patch:
        patch.setattr(where, name, planted)
        outputs = deliver(node, C, message)
    assert len(failed(outputs)) == 1, stage
    assert node.counters[Count.MESSAGES_FAILED] == 1
    assert held(node) == before
    deliver(node, C, attrs.evolve(B, incarnation=3))
    assert node.members.get("b") == attrs.evolve(B, incarnation=3), "the next message is handled"


@pytest.mark.parametrize(
    ("what", "where", "name", "message"), AFTER, ids=lambda each: each if type(each) is str else ""
)
def test_a_bug_after_something_has_changed_comes_out_of_the_engine(
    what: str, where: Any, name: str, message: Message, monkeypatch: Patch
) -> None:
    node = prepared()
    if what == "a confirmation":
        deliver(node, C, attrs.evolve(B, status=Status.SUSPECT, accuser=C.run_id))
    monkeypatch.setattr(where, name, fail)
    with pytest.raises(HalfChanged, match=f"a {type(message).__name__} of 10.0.0.1:7002 was handled in part"):
        deliver(node, C, message)


def test_a_bug_in_a_message_over_a_stream_is_contained_and_the_stream_goes_on(monkeypatch: Patch) -> None:
    node = prepared()
    table = node.state.registry.table("a")
    assert table is not None
    [record] = table
    fetch = Fetch("a", record.generation, record.version, record.id)
    with monkeypatch.context() as patch:
        patch.setattr(question_handler, "answers", fail)
        assert failed(receive_over_stream(node, B, fetch, End())) == ["a Fetch"]
        patch.setattr(reader, "read_message", fail)
        assert failed(receive_over_stream(node, B, Ping(99, 0, 5), End(), stream=-2)) == ["a frame"]
    assert failed(receive_over_stream(node, B, fetch, End(), stream=-3)) == []


def test_a_bug_in_reading_leaves_the_reader_fit_for_the_next_packet(monkeypatch: Patch) -> None:
    node = prepared()
    with monkeypatch.context() as patch:
        patch.setattr(reader, "read_message", fail)
        [failure] = deliver(node, B, Ping(11, 0, 1), Ping(12, 0, 2), Ping(13, 0, 3))
    assert isinstance(failure, MessageFailed)
    assert (failure.what, failure.source, type(failure.error)) == ("a packet", B.address, ZeroDivisionError)
    deliver(node, B, attrs.evolve(B, incarnation=2))
    assert node.members.get("b") == attrs.evolve(B, incarnation=2)
    assert node.counters[Count.JUNK_MESSAGES] == 0


@pytest.mark.parametrize("name", ["check_update", "held_certificate"])
def test_a_bug_in_verifying_is_contained(name: str, monkeypatch: Patch) -> None:
    peer, other = Peer("b"), Peer("c", 7002)
    node = meeting(peer, other)
    said: dict[str, Message] = {"check_update": peer.state(incarnation=1), "held_certificate": peer.offer()}
    own = other.state()
    data = packet(own, said[name])
    sealed = other.proven(data, node)
    with monkeypatch.context() as patch:
        if name == "check_update":
            patch.setattr(Authenticator, name, fail)
        else:
            patch.setattr(Authenticator, "_check_table", fail)
        assert len(failed(node.receive(sealed, own.address, 6.0))) == 1
    deliver_proven(node, other.state(), said[name])
    assert node.counters[Count.MESSAGES_FAILED] == 1


@pytest.mark.parametrize(("where", "name"), [(Terms, "attest"), (Members, "attest")])
def test_a_bug_in_keeping_the_proof_of_what_is_held_comes_out_of_the_engine(
    where: type, name: str, monkeypatch: Patch
) -> None:
    node, peer = meeting(mode=IdentityMode.PREFER), Peer("b")
    term, bare = TermRegister("pg", claimed=5, seen=5), attrs.evolve(peer.state(), proof=b"")
    deliver_proven(node, bare, bare, term)
    proof = peer.authenticator.sign_term(term, 5, claimed=True)
    proven = attrs.evolve(term, proofs=TermProofs(claimed=proof)) if where is Terms else peer.state()
    monkeypatch.setattr(where, name, fail)
    with pytest.raises(HalfChanged):
        deliver_proven(node, bare, proven)


def test_a_bug_in_finding_accusers_is_contained(monkeypatch: Patch) -> None:
    peer, other = Peer("b"), Peer("c", 7002)
    node = meeting(peer, other)
    own = other.state()
    said = attrs.evolve(peer.state(), status=Status.SUSPECT, accuser=own.run_id)
    monkeypatch.setattr(Accusations, "proven", fail)
    assert failed(node.receive(other.proven(packet(own, said), node), own.address, 6.0)) == ["a MemberUpdate"]


def test_a_record_or_policy_that_meets_a_bug_in_its_reader_is_one_that_cannot_be_read(monkeypatch: Patch) -> None:
    node, said = prepared(), attrs.evolve(offered())  # not yet decoded
    monkeypatch.setattr(payload_module, "_health", fail)
    monkeypatch.setattr(policy_version, "_rule", fail)
    for _ in range(2):
        deliver(node, C, said, POLICY)
        node.handle_timeout(6.0)
    assert node.counters[Count.RECORDS_WITH_BAD_PAYLOAD] >= 1
    assert [each.id for each in node.view.service("orders").instances] == ["own"]
    assert POLICY.is_unreadable
    assert node.counters[Count.MESSAGES_FAILED] == 0
