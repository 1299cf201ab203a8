"""Digests that are told without proof, where members sign: they are not believed, and what they say is requested."""

from __future__ import annotations

import attrs
import pytest

from gossipreg.counters import Count
from gossipreg.protocol.engine import Engine
from gossipreg.protocol.identity.authenticator import IdentityMode
from gossipreg.protocol.outputs import Output, StatementRefused
from gossipreg.protocol.registry.records import Record, RecordRequest, TableDigest
from gossipreg.protocol.registry.table import Table
from tests.protocol.identity.signing import Peer, deliver, meeting
from tests.protocol.making import BORN, address, instance, packet, said_to

MODES = pytest.mark.parametrize("mode", [IdentityMode.PREFER, IdentityMode.REQUIRE])


def word(of: Peer, version: int, *, xor: int = 0, generation: int = BORN) -> TableDigest:
    return TableDigest(of.name, generation, version, xor)


def requests(of: Engine, to: Peer, now: float) -> list[RecordRequest]:
    said = said_to(of.handle_timeout(now), address(to.port))
    return [each for each in said if isinstance(each, RecordRequest)]


def refused(outputs: list[Output]) -> list[str]:
    return [each.why for each in outputs if isinstance(each, StatementRefused)]


def offered(of: Engine) -> list[str]:
    of.handle_timeout(8.0)
    return sorted(each.id for each in of.view.service("orders").instances)


@MODES
def test_what_a_member_says_that_it_holds_is_requested_of_it_and_not_believed(mode: IdentityMode) -> None:
    b, c = Peer("b"), Peer("c", 7002)
    here = meeting(b, c, mode=mode)
    first, second = b.offer("orders-1"), b.offer("orders-2")
    deliver(here, b.state(), first)
    assert refused(deliver(here, c.state(), word(b, 2, xor=second.table_xor), now=7.0)) == []
    table = here.state.registry.table("b")
    assert table is not None
    assert table.latest_digest.version == 1, "its owner has signed no more than that"
    assert requests(here, c, 7.2) == [RecordRequest("b", BORN, 1, ())]
    deliver(here, c.state(), second, now=7.3)
    assert offered(here) == ["orders-1", "orders-2"]
    deliver(here, c.state(), word(b, 2, xor=second.table_xor), now=7.4)
    assert requests(here, c, 7.9) == []


@MODES
def test_a_table_of_which_nothing_is_held_is_requested_whole(mode: IdentityMode) -> None:
    b, c = Peer("b"), Peer("c", 7002)
    here = meeting(b, c, mode=mode)
    deliver(here, c.state(), word(b, 2), now=7.0)
    assert requests(here, c, 7.2) == [RecordRequest("b", BORN, 0, ())]
    assert here.state.registry.table("b") is None


def test_the_word_of_a_liar_ends_after_a_few_requests_and_changes_nothing() -> None:
    b, liar = Peer("b"), Peer("liar", 7002)
    here = meeting(b, liar)
    deliver(here, b.state(), b.offer())
    before = [each.latest_digest for each in here.state.registry.owners]
    lies = [word(b, 2**50, xor=7), word(b, 9, generation=BORN + 5), word(b, 9, generation=BORN - 5)]
    lies += [TableDigest("unknown", BORN, 9, 0), TableDigest("a", here.identity.generation - 1, 9, 0)]
    assert refused(deliver(here, liar.state(), *lies, now=7.0)) == []
    asked = [each for ms in range(0, 2000, 10) for each in requests(here, liar, 7.0 + ms / 1000)]
    assert set(asked) == {RecordRequest("b", BORN, 1, ())}
    assert here.counters[Count.RECORDS_REQUESTED] <= 3
    assert [each.latest_digest for each in here.state.registry.owners] == before
    assert offered(here) == ["orders-1"]


def test_a_word_that_instances_are_gone_is_refused_without_proof() -> None:
    b, liar = Peer("b"), Peer("liar", 7002)
    here = meeting(b, liar)
    deliver(here, b.state(), b.offer())
    gone = attrs.evolve(word(b, 2), gone=("orders-1",))
    assert refused(deliver(here, liar.state(), gone, now=7.0)) == ["it is not signed"]
    assert offered(here) == ["orders-1"]


def test_no_request_follows_the_word_of_a_packet_that_proves_no_member() -> None:
    b, c = Peer("b"), Peer("c", 7002)
    here = meeting(b, c)
    deliver(here, b.state(), b.offer())
    here.receive(packet(c.state(), word(b, 9)), address(c.port), 7.0)
    assert requests(here, c, 7.2) == []


def test_digests_are_told_without_proof_and_requests_are_answered_with_it() -> None:
    b = Peer("b")
    here = meeting(b)
    here.register(instance("mine"), 6.5)
    here.deregister("mine", 6.6)
    here.register(instance("other"), 6.7)
    said = [each for ms in range(0, 1500, 5) for each in said_to(here.handle_timeout(6.7 + ms / 1000), address(b.port))]
    told = [each for each in said if isinstance(each, TableDigest)]
    assert told
    assert not any(each.proof for each in told)
    asked = RecordRequest("a", here.identity.generation, 1, ())
    answer = said_to(deliver(here, b.state(), asked, now=9.0), address(b.port))
    answer += said_to(here.handle_timeout(9.1), address(b.port))
    [digest] = [each for each in answer if isinstance(each, TableDigest)]
    assert (digest.gone, bool(digest.proof)) == (("mine",), True)
    assert all(each.proof for each in answer if isinstance(each, Record))


def test_a_record_brings_the_proof_of_a_digest_that_came_before_it_without() -> None:
    """A node without identity takes digests as they come, and passes proofs on."""
    record = Peer("b").offer("orders-1")
    table = Table("b", BORN)
    table.apply_digest(TableDigest("b", BORN, 1, record.table_xor))
    assert table.latest_digest.proof == b""
    table.apply(record)
    assert table.latest_digest.proof
    assert table.compacted_digest.proof == table.latest_digest.proof


@pytest.mark.parametrize("is_forged", [True, False])
def test_what_came_before_its_owner_was_known_counts_only_when_it_comes_again(is_forged: bool) -> None:
    """With `prefer`, records of an unknown owner are held; who has made them can't be known yet."""
    b, c = Peer("b"), Peer("c", 7002)
    here = meeting(c, mode=IdentityMode.PREFER)
    record = b.offer()
    held = attrs.evolve(record, proof=b"") if is_forged else record
    here.receive(packet(77, held), address(7009), 6.0)
    assert here.state.registry.table("b") is not None
    deliver(here, b.state(), b.state(), now=7.0)
    assert offered(here) == []
    deliver(here, b.state(), record, now=7.5)
    assert offered(here) == ["orders-1"]
