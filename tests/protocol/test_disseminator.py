"""The disseminator of an engine: receipts, repetitions, digests and requests, as its peers see them."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from gossipreg import limits
from gossipreg.counters import Count
from gossipreg.model import Status
from gossipreg.policy import WeightOverride
from gossipreg.protocol.dissemination.receipts import RECEIPT_REQUEST_BYTES, Receipt, ReceiptRequest
from gossipreg.protocol.engine import Engine
from gossipreg.protocol.engine_settings import EngineSettings
from gossipreg.protocol.membership.member_update import MemberUpdate
from gossipreg.protocol.membership.paths import SIZE_MIN
from gossipreg.protocol.membership.probe import Ping
from gossipreg.protocol.outputs import Output, Transmit
from gossipreg.protocol.registry.records import Announcement, Record, RecordRequest, TableDigest
from gossipreg.protocol.registry.registry import Registry, announcement
from gossipreg.protocol.state import DIGEST_BYTES_MAX
from gossipreg.protocol.wire.messages import Message, pack
from gossipreg.protocol.wire.reader import unpack
from tests.protocol.making import BORN, address, history, instance, introduce, many_members, packet, said_to, update
from tests.protocol.test_engine import among

B = update("b", port=7001)
CROWD = many_members(30)
OWNER = CROWD[4]
OF_OWNER = history([("x", 1), ("y", 1), ("y", None), ("z", 3)], owner=OWNER.name).said


def sent(outputs: list[Output], *kinds: type[Any]) -> list[tuple[str, Message]]:
    """The messages of these kinds that go to members of the crowd, with the receiver's name."""
    names = {member.address: member.name for member in (*CROWD, B)}
    return [
        (names[each.to], message)
        for each in outputs
        if isinstance(each, Transmit) and each.to in names
        for message in unpack(each.data)[1]
        if isinstance(message, kinds)
    ]


def receivers(outputs: list[Output], kind: type[Any] = Record) -> list[str]:
    return [name for name, _ in sent(outputs, kind)]


def below(node: Engine, name: str = "a", origin: str = "a") -> list[str]:
    return node.members.ring.children(name, origin, 3)


def numbers(outputs: list[Output]) -> dict[str, int]:
    """The number that each receiver is asked to acknowledge."""
    return {name: each.number for name, each in sent(outputs, ReceiptRequest) if isinstance(each, ReceiptRequest)}


def numbers_of(outputs: list[Output]) -> list[int]:
    """The numbers of all packets that ask for a receipt."""
    return [each.number for _, each in sent(outputs, ReceiptRequest) if isinstance(each, ReceiptRequest)]


def run_id(name: str) -> int:
    return next(member for member in CROWD if member.name == name).run_id


def acknowledge(node: Engine, outputs: list[Output], now: float, *names: str) -> list[Output]:
    by_name = {member.name: member for member in (*CROWD, B)}
    after: list[Output] = []
    for name, number in numbers(outputs).items():
        if not names or name in names:
            after += node.receive(packet(by_name[name], Receipt((number,))), by_name[name].address, now)
    return after


def registered(node: Engine, id_: str = "mine", now: float = 6.0) -> list[Output]:
    node.register(instance(id_), now)
    return node.handle_timeout(now + 0.002)


def test_each_child_is_asked_for_a_receipt_of_its_own_packet() -> None:
    node = among(*CROWD)
    outputs = registered(node)
    assert receivers(outputs) == below(node)
    assert sorted(numbers(outputs)) == sorted(below(node))
    assert len(set(numbers(outputs).values())) == 3


def test_what_all_children_have_is_sent_to_no_other_member() -> None:
    node = among(*CROWD)
    acknowledge(node, registered(node), 6.003)
    assert len(node.state.broadcasts) == 0
    assert len(node.disseminator.deliveries) == 0
    later = [output for ms in range(3, 900) for output in node.handle_timeout(6 + ms / 1000)]
    assert receivers(later) == []


def test_a_child_without_a_receipt_gets_it_again_and_then_its_children_do() -> None:
    node = among(*CROWD)
    silent, *others = below(node)
    acknowledge(node, registered(node), 6.003, *others)
    now, told = 6.003, []
    for _ in range(2):
        now = node.disseminator.deliveries.deadline
        told.append(receivers(node.handle_timeout(now)))
    assert told == [[silent], [*below(node, silent), silent, silent]]
    assert node.counters[Count.DELIVERIES_REPEATED] == 2


def test_what_could_not_be_delivered_is_gossiped_at_random() -> None:
    node = among(*CROWD)
    silent, *others = below(node)
    acknowledge(node, registered(node), 6.003, *others)
    told: list[str] = []
    while node.counters[Count.DELIVERIES_FAILED] == 0:
        outputs = node.handle_timeout(node.disseminator.deadline)
        acknowledge(node, outputs, node.disseminator.deadline, *below(node, silent))
        told += receivers(outputs)
    told += receivers(node.handle_timeout(node.disseminator.deadline))
    assert told.count(silent) >= 5
    assert set(told) - {silent, *below(node, silent)}, "others, too"


def test_a_child_that_has_gone_meanwhile_is_sent_nothing_more() -> None:
    node = among(*CROWD)
    silent, *others = below(node)
    acknowledge(node, registered(node), 6.003, *others)
    gone = next(member for member in CROWD if member.name == silent)
    left = update(silent, Status.LEFT, port=gone.address.port)
    node.receive(packet(B, left), B.address, 6.004)
    outputs = node.handle_timeout(node.disseminator.deliveries.deadline)
    assert silent not in receivers(outputs)
    assert node.counters[Count.DELIVERIES_FAILED] == 1


def test_what_was_replaced_meanwhile_is_not_repeated() -> None:
    node = among(*CROWD)
    registered(node)
    acknowledge(node, registered(node, now=6.01), 6.02)
    outputs = [output for ms in range(20, 40) for output in node.handle_timeout(6 + ms / 1000)]
    assert receivers(outputs) == []
    assert node.counters[Count.DELIVERIES_FAILED] == 0


def test_a_node_without_children_has_delivered_at_once() -> None:
    node = among(B)
    [record] = history([("x", 1)]).said
    node.receive(packet(B, record), B.address, 6.0)
    node.handle_timeout(6.0)
    assert len(node.state.broadcasts) == 0


def test_a_child_that_never_acknowledges_is_sent_it_three_times_and_so_are_its_children_once() -> None:
    node = among(*CROWD)
    silent, *others = below(node)
    node.disseminator.deliveries._unanswered[run_id(silent)] = 8
    outputs = registered(node)
    assert receivers(outputs) == [*below(node, silent), *below(node)]
    acknowledge(node, outputs, 6.003, *others, *below(node, silent))
    again = receivers([output for ms in range(3, 900) for output in node.handle_timeout(6 + ms / 1000)])
    assert again == [silent, silent]
    assert len(node.state.broadcasts) == 0


def test_the_children_of_a_child_are_given_up_after_two_tries_and_no_other_member_gets_it() -> None:
    node = among(*CROWD)
    silent, *others = below(node)
    acknowledge(node, registered(node), 6.003, *others)
    node.handle_timeout(node.disseminator.deliveries.deadline)
    grafted = node.handle_timeout(node.disseminator.deliveries.deadline)
    acknowledge(node, grafted, node.disseminator.deliveries.deadline, silent)
    assert len(node.disseminator.deliveries) == len(below(node, silent)) > 0
    told = [name for name in receivers(grafted) if name != silent]
    while len(node.disseminator.deliveries):
        told += receivers(node.handle_timeout(node.disseminator.deadline))
    assert sorted(told) == sorted(below(node, silent) * 2)
    assert node.counters[Count.DELIVERIES_FAILED] == 0
    assert len(node.state.broadcasts) == 0


def test_a_child_that_a_larger_tree_has_below_another_child_is_not_adopted_beside_its_own_delivery() -> None:
    order = among(*CROWD).members.ring.after("a", len(CROWD))
    newcomers = [member for member in CROWD if member.name in order[1:4]]
    node = among(*(member for member in CROWD if member not in newcomers))
    silent, slow, quick = below(node)
    acknowledge(node, registered(node), 6.003, quick)
    introduce(node, *newcomers, now=6.004)
    assert slow in below(node, silent)
    node.handle_timeout(node.disseminator.deliveries.deadline)
    outputs = node.handle_timeout(node.disseminator.deliveries.deadline)
    told = receivers(outputs)
    assert {name: told.count(name) for name in below(node, silent)} == {order[3]: 1, slow: 2, quick: 1}
    assert told.count(silent) == 2
    acknowledge(node, outputs, 7.0)
    assert len(node.disseminator.deliveries) == 0


def test_a_silent_child_ends_the_receipts_of_no_other() -> None:
    node = among(*CROWD)
    silent, slow, *others = below(node)
    node.disseminator.deliveries._unanswered[run_id(silent)] = 8
    outputs = registered(node)
    acknowledge(node, outputs, 6.003, *others, *below(node, silent))
    while len(node.disseminator.deliveries) > 1:
        outputs = node.handle_timeout(node.disseminator.deadline)
        acknowledge(node, outputs, node.disseminator.deadline, *below(node, slow))
    assert numbers(outputs).keys() == {slow}, "it is sent it again when the silent one has had its last try"
    assert len(node.state.broadcasts) == 1
    acknowledge(node, outputs, 7.0)
    assert len(node.state.broadcasts) == 0


def test_one_that_was_given_up_ends_the_receipts_of_no_other() -> None:
    node = among(*CROWD)
    gone, slow, *others = below(node)
    acknowledge(node, registered(node), 6.003, *others)
    member = next(member for member in CROWD if member.name == gone)
    node.receive(packet(B, update(gone, Status.LEFT, port=member.address.port)), B.address, 6.004)
    outputs = node.handle_timeout(node.disseminator.deliveries.deadline)
    assert node.counters[Count.DELIVERIES_FAILED] == 1
    assert slow in numbers(outputs)
    assert len(receivers(outputs)) > 3, "it is gossiped at random as well"
    assert slow in numbers(node.handle_timeout(node.disseminator.deliveries.deadline))


def test_what_is_sent_again_is_split_by_the_size_of_packets_that_pass_by_then() -> None:
    node = among(B)
    for number in range(6):
        node.register(instance(f"i{number}", meta={"a": "x" * 100}), 6.0)
    assert len(numbers_of(node.handle_timeout(6.002))) == 1
    node.outbox._room = 400
    again = node.handle_timeout(node.disseminator.deliveries.deadline)
    assert len(numbers_of(again)) > 1
    assert max(len(each.data) for each in again if isinstance(each, Transmit)) <= 400
    assert receivers(again) == ["b"] * 6


def test_what_is_sent_again_is_in_one_packet_only_and_is_grafted_in_its_turn() -> None:
    """What is overdue has waited long enough to go along with a packet, too: it must not go along with itself.

    Else it would be sent a third time at once, and the child's children would not be adopted with that try.
    """
    node = among(*CROWD)
    silent, *others = below(node)
    for number in range(5):
        node.register(instance(f"i{number}", meta={"a": "x" * 100}), 6.0)
    acknowledge(node, node.handle_timeout(6.002), 6.003, *others)
    node.outbox._room = 600
    again = node.handle_timeout(node.disseminator.deliveries.deadline)
    assert len(numbers_of(again)) > 1
    assert sorted(each.instance.id for _, each in sent(again, Record) if isinstance(each, Record)) == [
        f"i{number}" for number in range(5)
    ]
    third = node.handle_timeout(node.disseminator.deliveries.deadline)
    assert set(receivers(third)) == {silent, *below(node, silent)}


def test_what_waits_long_for_its_receipt_goes_along_with_the_next_packet() -> None:
    node = among(B)
    node.disseminator.deliveries.times.measured(0.001)
    first = registered(node, "first")
    second = registered(node, "second", now=6.01)
    assert len(receivers(first)) == 1
    assert len(numbers_of(second)) == 1
    assert len(receivers(second)) == 2


def test_with_too_many_deliveries_under_way_the_next_are_gossiped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "DELIVERIES_MAX", 0)
    node = among(*CROWD)
    outputs = registered(node)
    assert receivers(outputs)[:3] == below(node)
    assert numbers(outputs) == {}
    assert len(node.disseminator.deliveries) == 0


def test_what_one_child_gets_of_several_origins_shares_its_packets() -> None:
    node = among(B)
    for number in range(12):
        node.register(instance(f"i{number}", meta={"a": "x" * 200}), 6.0)
    outputs = node.handle_timeout(6.002)
    assert len(receivers(outputs)) == 12
    assert len(sent(outputs, ReceiptRequest)) < 6
    assert all(len(each.data) <= 1350 for each in outputs if isinstance(each, Transmit))


# Receipts for peers


def test_a_packet_is_acknowledged_at_once_and_those_that_follow_it_together() -> None:
    node = among(B)
    node.receive(packet(B, ReceiptRequest(7)), B.address, 6.0)
    assert sent(node.handle_timeout(6.0), Receipt) == [("b", Receipt((7,)))]
    node.receive(packet(B, ReceiptRequest(8)), B.address, 6.001)
    node.receive(packet(B, ReceiptRequest(9)), B.address, 6.002)
    assert not node.wants_timeout(6.003)
    assert sent(node.handle_timeout(6.005), Receipt) == [("b", Receipt((8, 9)))]


def test_a_receipt_goes_along_with_a_packet_to_the_same_peer() -> None:
    node = among(B)
    node.receive(packet(B, ReceiptRequest(7)), B.address, 6.0)
    node.register(instance("mine"), 6.0)
    outputs = node.handle_timeout(6.002)
    assert [message for _, message in sent(outputs, Receipt)] == [Receipt((7,))]
    [(carried, *_)] = [unpack(each.data)[1] for each in outputs if isinstance(each, Transmit) and sent([each], Receipt)]
    assert isinstance(carried, Record)


def test_a_packet_that_is_full_takes_no_receipt_along() -> None:
    node = among(B)
    node.receive(packet(B, ReceiptRequest(7)), B.address, 6.0)
    for number in range(3):
        node.register(instance(f"i{number}", meta={"a": "x" * 300}), 6.0)
    outputs = [each for each in node.handle_timeout(6.002) if isinstance(each, Transmit) and each.to == B.address]
    assert len(outputs) >= 2
    assert all(len(each.data) <= 1350 for each in outputs)


def test_a_stranger_gets_a_receipt_no_larger_than_its_packet() -> None:
    node = among(B)
    request = packet(99, *[ReceiptRequest(number) for number in range(200)])
    node.receive(request, address(9999), 6.0)
    answers = [each for each in node.handle_timeout(6.0) if isinstance(each, Transmit) and each.to == address(9999)]
    assert sum(len(each.data) for each in answers) <= len(request)


def test_a_node_without_the_mechanism_behaves_as_an_older_one() -> None:
    node = among(B, settings=EngineSettings(lifelines=0, gossip_receipts=False))
    table = TableDigest("b", BORN, 3, 5)
    node.receive(packet(B, ReceiptRequest(7), table), B.address, 6.0)
    outputs = node.handle_timeout(6.0)
    assert sent(outputs, Receipt, RecordRequest) == []


def test_these_messages_mean_nothing_on_a_stream() -> None:
    node = among(B)
    node.stream_frame(-1, packet(B, ReceiptRequest(7), Receipt((1,)), RecordRequest("a", BORN, 0)), B.address, 6.0)
    assert sent(node.handle_timeout(6.0), Receipt, Record) == []


# Digests


def told_owner(node: Engine, *records: Record, now: float = 6.0) -> list[Output]:
    node.receive(packet(OWNER, *records), OWNER.address, now)
    return node.handle_timeout(now)


def test_when_a_table_has_been_quiet_its_digest_goes_to_a_member() -> None:
    node = among(*CROWD)
    acknowledge(node, told_owner(node, *OF_OWNER), 6.001)
    outputs = node.handle_timeout(6.05)
    [(_, digest)] = sent(outputs, TableDigest)
    assert isinstance(digest, TableDigest)
    assert (digest.owner, digest.version, digest.gone) == (OWNER.name, 4, ())
    assert node.state.digests.deadline == float("inf"), "once"


def test_a_digest_is_piggybacked_on_an_ack() -> None:
    node = among(B, *CROWD)
    acknowledge(node, told_owner(node, *OF_OWNER), 6.001)
    node.handle_timeout(6.05)
    outputs = node.receive(packet(B, Ping(1, 0, 0)), B.address, 6.1)
    assert [each.owner for each in said_to(outputs, B.address) if isinstance(each, TableDigest)] == [OWNER.name]


def test_where_packets_are_lost_a_digest_is_told_three_times() -> None:
    node = among(*CROWD)
    node.disseminator.deliveries._lost = 0.1
    acknowledge(node, told_owner(node, *OF_OWNER), 6.001)
    node.disseminator.deliveries._lost = 0.1
    told = []
    while node.state.digests.deadline < 7.0:
        now = node.state.digests.deadline
        told += [now for _ in sent(node.handle_timeout(now), TableDigest)]
    assert told[:3] == pytest.approx([6.05, 6.1, 6.15])


def test_a_table_that_is_not_whole_is_requested_of_any_member() -> None:
    node = among(*CROWD)
    acknowledge(node, told_owner(node, OF_OWNER[-1]), 6.001)
    outputs = node.handle_timeout(6.05)
    assert sent(outputs, TableDigest) == []
    [(_, request)] = sent(outputs, RecordRequest)
    assert request == RecordRequest(OWNER.name, BORN, 0, (4, 4))
    assert node.counters[Count.RECORDS_REQUESTED] == 1


def test_with_no_other_member_it_is_requested_of_none() -> None:
    node = among()
    for now in (6.0, 7.0):
        node.disseminator.lazy.requests.want("a", None, now, wait=0.0)
        node.disseminator.lazy.send_requests(now)
        node.register(instance("mine"), now)
    assert node.counters[Count.RECORDS_REQUESTED] == 0


def test_a_digest_of_what_is_lacking_is_answered_with_a_request() -> None:
    node = among(B, *CROWD)
    digest = TableDigest(OWNER.name, BORN, 4, OF_OWNER[-1].table_xor)
    node.receive(packet(B, digest), B.address, 6.0)
    assert sent(node.handle_timeout(6.0), RecordRequest) == [("b", RecordRequest(OWNER.name, BORN, 0, ()))]


def test_while_records_are_arriving_the_request_waits() -> None:
    node = among(B, *CROWD)
    acknowledge(node, told_owner(node, *OF_OWNER[:1]), 6.001)
    digest = TableDigest(OWNER.name, BORN, 4, OF_OWNER[-1].table_xor)
    node.receive(packet(B, digest), B.address, 6.002)
    assert sent(node.handle_timeout(6.002), RecordRequest) == []
    told_owner(node, *OF_OWNER[1:], now=6.01)
    later = [output for ms in range(10, 300) for output in node.handle_timeout(6 + ms / 1000)]
    assert sent(later, RecordRequest) == [], "they have arrived"


def test_a_member_that_holds_less_is_told_the_digest() -> None:
    node = among(B, *CROWD)
    acknowledge(node, told_owner(node, *OF_OWNER), 6.001)
    node.handle_timeout(6.05)
    old = TableDigest(OWNER.name, BORN, 1, OF_OWNER[0].table_xor)
    answered = sent(node.receive(packet(B, old), B.address, 6.2), TableDigest)
    assert [(name, each.version) for name, each in answered if isinstance(each, TableDigest)] == [("b", 4)]
    same = TableDigest(OWNER.name, BORN, 4, OF_OWNER[-1].table_xor)
    assert sent(node.receive(packet(B, same), B.address, 6.3), TableDigest) == []


def test_a_digest_of_no_member_or_of_another_run_asks_for_nothing() -> None:
    node = among(B)
    digest = TableDigest("b", BORN, 4, 1)
    node.receive(packet(99, digest), address(9999), 6.0)
    node.receive(packet(B, attrs_with(digest, generation=BORN + 1)), B.address, 6.0)
    node.receive(packet(B, attrs_with(digest, owner="a", generation=BORN - 1)), B.address, 6.0)
    assert sent(node.handle_timeout(6.0), RecordRequest) == []


def attrs_with(digest: TableDigest, **changes: Any) -> TableDigest:
    return attrs.evolve(digest, **changes)


# Requests


def asked(node: Engine, request: RecordRequest, *, of: MemberUpdate = B, now: float = 7.0) -> list[Message]:
    return said_to(node.receive(packet(of, request), of.address, now), of.address)


def whole(node: Engine) -> None:
    acknowledge(node, told_owner(node, *OF_OWNER), 6.001)
    node.handle_timeout(6.05)
    for _ in range(9):
        node.state.digests.piggyback(9, 6.1)


def test_a_request_is_answered_with_the_digest_what_was_deleted_and_the_records() -> None:
    node = among(B, *CROWD)
    whole(node)
    digest, *records = asked(node, RecordRequest(OWNER.name, BORN, 0))
    assert isinstance(digest, TableDigest)
    assert (digest.version, digest.gone) == (4, ("y",))
    assert records == [OF_OWNER[0], OF_OWNER[3]]
    assert node.counters[Count.REQUESTS_ANSWERED] == 1


def test_what_the_peer_has_is_left_out() -> None:
    node = among(B, *CROWD)
    whole(node)
    digest, *records = asked(node, RecordRequest(OWNER.name, BORN, 1, (4, 4)))
    assert isinstance(digest, TableDigest)
    assert digest.gone == ("y",)
    assert records == []


def test_the_answer_makes_the_table_whole() -> None:
    node, other = among(B, *CROWD), among(B, *CROWD)
    whole(node)
    told_owner(other, OF_OWNER[0], OF_OWNER[1])
    table = other.state.registry.table(OWNER.name)
    assert table is not None
    answer = asked(node, RecordRequest(OWNER.name, BORN, table.compacted_below, table.ranges()))
    other.receive(packet(B, *answer), B.address, 7.0)
    assert table.is_complete
    assert table.compacted_below == 4
    assert sorted(record.id for record in table) == ["x", "z"]


def test_of_a_table_that_is_not_whole_it_gives_what_it_has() -> None:
    node = among(B, *CROWD)
    told_owner(node, OF_OWNER[3])
    assert asked(node, RecordRequest(OWNER.name, BORN, 0)) == [OF_OWNER[3]]


def test_a_large_record_is_announced() -> None:
    node = among(B)
    registry = Registry("b")
    large, _ = registry.offer(instance("large", meta={str(n): "x" * 200 for n in range(20)}), BORN)
    node.state.take(large, 6.0, spread=False)
    assert asked(node, RecordRequest("b", BORN, 0))[1:] == [announcement(large)]


def test_a_record_that_fits_no_packet_is_announced(monkeypatch: pytest.MonkeyPatch) -> None:
    node = among(B)
    record, _ = Registry("b").offer(instance("middling", meta={str(n): "x" * 200 for n in range(4)}), BORN)
    node.state.take(record, 6.0, spread=False)
    node.outbox._room = 600
    assert [type(each) for each in asked(node, RecordRequest("b", BORN, 0))] == [TableDigest, Announcement]


@pytest.mark.parametrize("id_", ["x" * 255, "\N{GRINNING FACE}" * 63, "\N{GRINNING FACE}" * 255])
def test_a_removal_with_a_long_id_is_passed_on_and_requested_where_packets_are_smallest(id_: str) -> None:
    node = among(B, *CROWD)
    node.outbox._room = SIZE_MIN - 60
    node.state.message_room = node.outbox.room - RECEIPT_REQUEST_BYTES
    removal = Record(OWNER.name, BORN, 2, id_, 1, None)
    is_held = len(id_.encode()) <= limits.ID_CHARS_MAX
    assert bool(receivers(told_owner(node, removal))) == is_held
    assert asked(node, RecordRequest(OWNER.name, BORN, 0)) == [removal] * is_held


def test_a_stranger_and_a_request_of_an_unknown_table_get_no_answer() -> None:
    node = among(B, *CROWD)
    whole(node)
    stranger = node.receive(packet(99, RecordRequest(OWNER.name, BORN, 0)), address(9999), 7.0)
    assert not any(isinstance(each, Transmit) for each in stranger)
    assert asked(node, RecordRequest("unknown", BORN, 0)) == []
    assert asked(node, RecordRequest(OWNER.name, BORN + 1, 0)) == []


def test_one_request_is_answered_with_so_many_packets_at_the_most() -> None:
    node = among(B)
    registry = Registry("b")
    for number in range(200):
        record, _ = registry.offer(instance(f"i{number}", meta={"a": "x" * 100}), BORN)
        node.state.take(record, 6.0, spread=False)
    outputs = node.receive(packet(B, RecordRequest("b", BORN, 0)), B.address, 7.0)
    answered = [each for each in outputs if isinstance(each, Transmit) and each.to == B.address]
    assert len(answered) == limits.ANSWER_PACKETS_MAX
    assert node.counters[Count.REQUESTS_OVER_BUDGET] == 1


def test_in_one_second_so_many_packets_answer_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "ANSWER_PACKETS_PER_SECOND_MAX", 2)
    node = among(B, *CROWD)
    whole(node)
    answered = [bool(asked(node, RecordRequest(OWNER.name, BORN, 0), now=7.0)) for _ in range(3)]
    assert answered == [True, True, False]
    assert node.counters[Count.REQUESTS_OVER_BUDGET] == 1
    assert asked(node, RecordRequest(OWNER.name, BORN, 0), now=7.5)


def holding(node: Engine, count: int, owner: str = "b") -> None:
    """Have ``node`` hold so many records of ``owner``, a hundred bytes each."""
    registry = Registry(owner)
    for number in range(count):
        record, _ = registry.offer(instance(f"i{number}"), BORN)
        assert node.state.take(record, 6.0, spread=False)


def packed(monkeypatch: pytest.MonkeyPatch) -> list[Message]:
    """The messages that the disseminator packs from now on."""
    messages: list[Message] = []

    def note(message: Message) -> bytes:
        messages.append(message)
        return pack(message)

    monkeypatch.setattr("gossipreg.protocol.lazy_push.pack", note)
    return messages


def test_no_more_is_packed_for_a_request_than_its_packets_hold_and_one_message(monkeypatch: pytest.MonkeyPatch) -> None:
    node = among(B)
    holding(node, 2000)
    messages = packed(monkeypatch)
    answered = asked(node, RecordRequest("b", BORN, 0))
    assert len(messages) == len(answered) + 1 < 200


def test_requests_for_one_table_in_one_packet_are_answered_once(monkeypatch: pytest.MonkeyPatch) -> None:
    node = among(B, *CROWD)
    holding(node, 2000)
    whole(node)
    messages = packed(monkeypatch)
    again = [RecordRequest("b", BORN, version) for version in range(40)]
    answered = said_to(node.receive(packet(B, *again, RecordRequest(OWNER.name, BORN, 1)), B.address, 7.0), B.address)
    assert len(messages) == len(answered) + 1 < 200
    assert {each.owner for each in answered if isinstance(each, Record)} == {"b", OWNER.name}
    assert node.counters[Count.REQUESTS_OVER_BUDGET] == 1 + 39, "the first in part, and those after it"
    assert asked(node, RecordRequest("b", BORN, 0)), "the next packet may ask again"


def test_a_request_that_brings_nothing_is_counted_as_a_packet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "ANSWER_PACKETS_PER_SECOND_MAX", 3)
    node = among(B, *CROWD)
    told_owner(node, OF_OWNER[3])
    for _ in range(3):
        assert asked(node, RecordRequest(OWNER.name, BORN, 4)) == []
    assert node.counters[Count.REQUESTS_OVER_BUDGET] == 0
    assert asked(node, RecordRequest(OWNER.name, BORN, 0)) == []
    assert node.counters[Count.REQUESTS_OVER_BUDGET] == 1
    assert asked(node, RecordRequest(OWNER.name, BORN, 0), now=8.0) == [OF_OWNER[3]]


def test_deletions_that_fill_more_than_a_packet_are_told_in_several_and_make_the_table_whole() -> None:
    ids = [f"{number:0255}" for number in range(20)]
    said = history([(id_, 1) for id_ in ids] + [(id_, None) for id_ in ids], owner=OWNER.name).said
    node, other = among(B, *CROWD), among(B, *CROWD)
    for record in said:
        told_owner(node, record)
        if record.payload is not None:
            told_owner(other, record)
    outputs = node.receive(packet(B, RecordRequest(OWNER.name, BORN, 20)), B.address, 7.0)
    answers = [each.data for each in outputs if isinstance(each, Transmit) and each.to == B.address]
    assert len(answers) > 1
    assert max(map(len, answers)) <= limits.PACKET_BYTES_MAX
    other.receive(packet(B, *said_to(outputs, B.address)), B.address, 7.0)
    table = other.state.registry.table(OWNER.name)
    assert table is not None
    assert (table.is_complete, table.compacted_below, len(table)) == (True, 40, 0)


# Many digests in one packet


def transmitted(outputs: list[Output]) -> list[list[Message]]:
    """The messages of each packet to B."""
    return [unpack(each.data)[1] for each in outputs if isinstance(each, Transmit) and each.to == B.address]


def of_crowd(node: Engine) -> list[Record]:
    """Two records of each in the crowd; ``node`` holds them all."""
    said = [record for each in CROWD for record in history([("x", 1), ("y", 1)], owner=each.name).said]
    for record in said:
        assert node.state.take(record, 6.0, spread=False)
    return said


def test_old_digests_of_one_packet_are_answered_together() -> None:
    node = among(B, *CROWD)
    old = [TableDigest(each.owner, BORN, each.version, each.table_xor) for each in of_crowd(node) if each.version == 1]
    answers = transmitted(node.receive(packet(B, *old, *old), B.address, 7.0))
    told = [each for answer in answers for each in answer]
    assert [(each.owner, each.version) for each in told if isinstance(each, TableDigest)] == [
        (each.name, 2) for each in CROWD
    ]
    assert len(answers) == 1
    assert len(told) == len(CROWD)


def test_in_one_second_so_many_packets_answer_digests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "DIGEST_ANSWERS_PER_SECOND_MAX", 2)
    node = among(B, *CROWD)
    first = of_crowd(node)[0]
    old = TableDigest(first.owner, BORN, 1, first.table_xor)
    assert [len(transmitted(node.receive(packet(B, old), B.address, 7.0))) for _ in range(3)] == [1, 1, 0]
    assert node.counters[Count.REQUESTS_OVER_BUDGET] == 1
    assert transmitted(node.receive(packet(B, old), B.address, 7.5))


def test_tables_that_are_lacking_are_requested_of_one_member_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "DIGEST_ANSWERS_PER_SECOND_MAX", 1)
    node = among(B, *CROWD)
    digests = [TableDigest(each.name, BORN, 4, 1) for each in CROWD]
    node.receive(packet(B, *digests), B.address, 6.0)
    [requests] = transmitted(node.handle_timeout(6.0))
    assert requests == [RecordRequest(each.name, BORN, 0) for each in CROWD]
    assert node.counters[Count.RECORDS_REQUESTED] == len(CROWD)
    assert node.counters[Count.REQUESTS_OVER_BUDGET] == 0
    node.handle_timeout(6.0 + node.settings.gossip_tree_gap)
    assert node.counters[Count.RECORDS_REQUESTED] == len(CROWD), "the budget is spent"
    assert node.counters[Count.REQUESTS_OVER_BUDGET] > 0


def test_a_policy_goes_down_the_tree_and_is_sent_once_more() -> None:
    node = among(*CROWD)
    node.set_policy(WeightOverride("orders", "x", 1), 6.0)
    outputs = node.handle_timeout(6.002)
    assert sorted(numbers(outputs)) == sorted(below(node))
    acknowledge(node, outputs, 6.003)
    assert node.state.broadcasts.deadline == pytest.approx(6.003 + 0.05)


def test_what_is_known_of_runs_that_are_gone_is_forgotten() -> None:
    node = among(*CROWD)
    acknowledge(node, registered(node), 6.003)
    assert node.disseminator.deliveries._acknowledges
    for member in CROWD:
        node.members.drop(member.name)
    node.disseminator.sweep()
    assert not node.disseminator.deliveries._acknowledges


def test_a_packed_digest_is_no_longer_than_is_reserved_for_it() -> None:
    most = TableDigest("n" * limits.NAME_CHARS_MAX, (1 << 53) - 1, (1 << 53) - 1, (1 << 64) - 1)
    assert len(pack(most)) <= DIGEST_BYTES_MAX
