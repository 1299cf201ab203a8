"""An unsolicited message is not sent to the same member twice in a moment."""

from __future__ import annotations

import attrs
import pytest

from gossipreg import limits
from gossipreg.model import Address
from gossipreg.protocol.identity.authenticator import Authenticator, IdentityMode
from gossipreg.protocol.identity.certificate_verifier import CertificateVerifier
from gossipreg.protocol.membership.member_update import Destination
from gossipreg.protocol.outputs import Transmit
from tests.protocol.making import address, engine, introduce, update


def test_what_was_told_a_moment_ago_is_not_told_again_whatever_is_tidied_up_meanwhile() -> None:
    outbox = engine("a").outbox
    outbox.take()
    told = []
    for now in (10.0, 10.25, 10.5):
        outbox.tell(Destination(7, address()), b"accused", now)
        outbox.forget(now)
        told.append(len(outbox.take()))
    assert told == [1, 0, 1]


def test_who_was_told_long_ago_is_forgotten() -> None:
    outbox = engine("a").outbox
    outbox.tell(Destination(7, address()), b"accused", 10.0)
    outbox.forget(10.5)
    assert outbox._told == {}


def test_what_was_told_is_remembered_of_so_many_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "TOLD_MAX", 2)
    outbox = engine("a").outbox
    for run_id in range(5):
        outbox.tell(Destination(run_id, address()), b"accused", 10.0)
    assert list(outbox._told) == [3, 4]


def test_a_long_answer_to_a_member_goes_only_to_the_address_at_which_it_is_proven_to_be() -> None:
    member = update("b", port=7001)
    node = engine("a")
    introduce(node, member)
    outbox = node.outbox
    outbox.has_answered = lambda _: True
    outbox.take()
    outbox.begin_answers(Address("10.9.9.9", 4000), member, 100)
    for address_ in (Address("10.8.8.8", 4000), Address("10.9.9.9", 4000), member.address):
        outbox.send(Destination(member.run_id, address_), bytes(1000))
    assert [each.to for each in outbox.take() if isinstance(each, Transmit)] == [member.address]


def test_a_member_that_has_neither_signed_nor_answered_is_not_proven_to_be_at_its_address() -> None:
    node = engine("a", authenticator=Authenticator(CertificateVerifier("prod"), IdentityMode.PREFER))
    member = update("b", port=7001)
    node.outbox.has_answered = lambda _: False
    assert not node.outbox._is_there(member, member.address)
    assert node.outbox._is_there(attrs.evolve(member, proof=b"proof"), member.address)
    node.state.authenticator.mode = IdentityMode.OFF
    assert not node.outbox._is_there(attrs.evolve(member, proof=b"proof"), member.address)
