"""The disseminator of an engine as its peers see it: deliveries down trees, repetitions and receipts."""

from __future__ import annotations

import pytest

from gossipreg import limits
from gossipreg.counters import Count
from gossipreg.model import Status
from gossipreg.policy import WeightOverride
from gossipreg.protocol.dissemination.deliveries import Deliveries
from gossipreg.protocol.dissemination.receipts import RECEIPT_REQUEST_BYTES, Receipt, ReceiptRequest
from gossipreg.protocol.engine import Engine
from gossipreg.protocol.engine_settings import EngineSettings
from gossipreg.protocol.outputs import Output, Transmit
from gossipreg.protocol.registry.records import Record, RecordRequest, TableDigest
from gossipreg.protocol.wire.messages import SENDER_BYTES
from gossipreg.protocol.wire.reader import unpack
from tests.protocol.disseminating import CROWD, B, acknowledge, numbers, receivers, sent
from tests.protocol.making import BORN, address, engine, history, instance, introduce, packet, update
from tests.protocol.test_engine import among


def below(node: Engine, name: str = "a", origin: str = "a") -> list[str]:
    return node.members.ring.children(name, origin, 3)


def numbers_of(outputs: list[Output]) -> list[int]:
    """The numbers of all packets that ask for a receipt."""
    return [each.number for _, each in sent(outputs, ReceiptRequest) if isinstance(each, ReceiptRequest)]


def run_id(name: str) -> int:
    return next(member for member in CROWD if member.name == name).run_id


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


def test_no_more_goes_along_than_the_last_packet_has_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    node = among(B)
    for number in range(10, 22):
        node.register(instance(f"i{number}", meta={"a": "x" * 100}), 6.0)
    node.handle_timeout(6.002)
    under_way = list(node.disseminator.deliveries._open[B.run_id].values())
    [size] = {len(each.message.data) for each in under_way}
    node.outbox._room = SENDER_BYTES + RECEIPT_REQUEST_BYTES + 4 * size
    monkeypatch.setattr(Deliveries, "nearly_due", lambda *_: under_way)
    packets = [[under_way[0]], [under_way[1]]]
    node.disseminator.eager._top_up(packets, B.run_id, 6.01)
    assert packets == [[under_way[0]], [under_way[1], *under_way[2:5]]]


def test_what_was_replaced_meanwhile_does_not_go_along() -> None:
    node = among(B)
    node.disseminator.deliveries.times.measured(0.001)
    registered(node, "first")
    later = [*node.register(instance("first", weight=2), 6.01), *node.handle_timeout(6.012)]
    told = [each for _, each in sent(later, Record) if isinstance(each, Record)]
    assert [each.instance.weight for each in told] == [2]


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


def test_a_receipt_may_take_as_long_as_an_ack_or_a_gap_of_the_tree_whichever_is_longer() -> None:
    for settings in (EngineSettings(probe_timeout=0.9), EngineSettings(gossip_tree_gap=0.9)):
        node = engine("a", settings=settings)
        assert node.disseminator.deliveries.times.most == 0.9
