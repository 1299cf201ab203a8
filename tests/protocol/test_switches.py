"""What each mechanism of the protocol does: the behaviour of a node with the mechanism switched off."""

from __future__ import annotations

from pathlib import Path

import attrs
import pytest

from gossipreg.model import Instance, Status
from gossipreg.protocol.dissemination.broadcast_queue import BroadcastQueue, Topic
from gossipreg.protocol.engine import Engine
from gossipreg.protocol.engine_settings import EngineSettings, engine_settings
from gossipreg.protocol.membership.probe import Ack, Nack, Ping
from gossipreg.protocol.outputs import MemberChanged, OpenStream, Output
from gossipreg.settings import Settings
from tests.protocol.making import engine, introduce, packet, said_to, update

B, C = update("b"), update("c")
SUSPECT = B.graver(Status.SUSPECT, C.run_id)


def among(settings: EngineSettings) -> Engine:
    node = engine("a", settings=settings)
    introduce(node, B, C)
    return node


def probe_of_b(node: Engine) -> tuple[list[Output], Ping, float]:
    """What the node sends when it first probes ``b``, and when."""
    now = 0.0
    while now < 10.0:
        outputs = node.handle_timeout(now)
        pings = [m for m in said_to(outputs, B.address) if isinstance(m, Ping) and m.target == B.run_id]
        if pings:
            return outputs, pings[0], now
        now += 0.25
    raise AssertionError("b was not probed")


def test_without_the_buddy_a_ping_to_a_suspect_is_a_ping_as_any_other() -> None:
    def accused_in_ping(settings: EngineSettings) -> bool:
        node = among(settings)
        node.receive(packet(C, SUSPECT), C.address, 0.0)
        outputs, _, _ = probe_of_b(node)
        packets = [said_to([output], B.address) for output in outputs]
        [said] = (said for said in packets if any(isinstance(message, Ping) for message in said))
        return SUSPECT in said

    no_piggybacks = EngineSettings(piggyback_transmissions=0, gossip_transmissions=1)
    assert accused_in_ping(no_piggybacks)
    assert not accused_in_ping(EngineSettings(piggyback_transmissions=0, gossip_transmissions=1, buddy=False))


def test_an_accused_that_is_heard_from_may_be_left_untold() -> None:
    for told in (True, False):
        node = among(EngineSettings(tell_accused=told))
        node.receive(packet(C, SUSPECT), C.address, 0.0)
        assert (SUSPECT in said_to(node.receive(packet(B, Nack(1)), B.address, 0.1), B.address)) is told


def test_a_missed_ping_need_not_be_followed_by_a_stream() -> None:
    for streams in (True, False):
        node = among(EngineSettings(stream_probe=streams))
        _, _, at = probe_of_b(node)
        assert any(isinstance(output, OpenStream) for output in node.handle_timeout(at + 0.5)) is streams


def test_a_late_ack_may_count_for_nothing() -> None:
    for counts in (True, False):
        node = among(EngineSettings(late_acks=counts, tell_accused=False))
        _, ping, at = probe_of_b(node)
        node.handle_timeout(at + 0.5)
        node.handle_timeout(at + 1.0)
        first = node.detector._suspicions["b"].deadline
        node.receive(packet(B, Ack(ping.seq, 0, 0)), B.address, at + 1.5)
        assert (node.detector._suspicions["b"].deadline > first) is counts


def test_a_node_that_hears_no_member_may_declare_a_failure() -> None:
    for needed in (True, False):
        node = among(EngineSettings(failure_witness=needed))
        node.receive(packet(C, SUSPECT), C.address, 0.0)
        changes = [
            o for second in range(1, 120) for o in node.handle_timeout(float(second)) if isinstance(o, MemberChanged)
        ]
        failed = [change for change in changes if change.after and change.after.status is Status.FAILED]
        assert bool(failed) is not needed
        assert node.detector.is_isolated(120.0)
        node.receive(packet(C, Nack(1)), C.address, 120.0)


def test_gaps_need_not_grow() -> None:
    broadcasts = BroadcastQueue(EngineSettings(gossip_gap=0.2, gossip_growth=1.0, gossip_coalesce=0.0))
    broadcasts.enqueue(Topic.MEMBERSHIP, "b", b"news", 0.0)
    rounds = []
    while broadcasts.deadline < 10.0:
        now = broadcasts.deadline
        rounds.append(round(now, 3))
        broadcasts.flush(100, 64, now)
    assert rounds == [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]


def test_a_node_that_was_late_may_hold_nothing_back() -> None:
    for most, hold in ((0.25, 2), (0.0, 1)):
        settings = EngineSettings(gossip_coalesce_max=most, gossip_transmissions=1)
        node = among(settings)
        node.register(Instance(id="x", service="s", host="h", port=1), 0.0)
        node.handle_timeout(1.0)
        node.register(Instance(id="y", service="s", host="h", port=1), 1.0)
        assert node.state.broadcasts.deadline == pytest.approx(1.0 + hold * settings.gossip_coalesce)


def test_an_engine_of_a_users_settings_has_every_mechanism_on() -> None:
    made = engine_settings(Settings(probe_interval=2.0))
    assert made == EngineSettings(probe_interval=2.0)
    assert engine_settings(made) is made


def test_the_simulators_page_lists_every_switch() -> None:
    page = (Path(__file__).parents[2] / "docs" / "simulator.md").read_text()
    switches = [field for field in attrs.fields(EngineSettings) if field.name not in attrs.fields_dict(Settings)]
    for switch in switches:
        assert (
            f"| `{switch.name}` | {switch.metadata['doc'].removesuffix(' Off only to see what it is worth.')} |" in page
        )
