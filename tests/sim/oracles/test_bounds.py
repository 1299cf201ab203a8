"""Oversized packets, queues and tables are reported."""

from __future__ import annotations

import pytest

from gossipreg import limits
from gossipreg.model import Address
from gossipreg.protocol.outputs import SendFrame, Transmit
from gossipreg_sim.oracles.bounds import Bounds
from tests.sim.oracles.watching import texts, watched

ADDRESS = Address("198.18.0.9", 7940)


def test_oversized_packets_and_frames_are_reported() -> None:
    made, bounds = watched(Bounds)
    assert bounds.checks > 0
    n0 = made.processes["n0"]
    bounds.see(n0, Transmit(bytes(limits.PACKET_BYTES_MAX - n0.codec.overhead), ADDRESS))
    bounds.see(n0, SendFrame(1, bytes(limits.FRAME_BYTES_MAX)))
    assert texts(bounds) == []
    bounds.see(n0, Transmit(bytes(limits.PACKET_BYTES_MAX - n0.codec.overhead + 1), ADDRESS))
    bounds.see(n0, SendFrame(1, bytes(limits.FRAME_BYTES_MAX + 1)))
    assert texts(bounds) == [
        f"sends a packet of {limits.PACKET_BYTES_MAX + 1} bytes",
        f"sends a frame of {limits.FRAME_BYTES_MAX + 1} bytes",
    ]


def test_oversized_queues_and_tables_are_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    made, bounds = watched(Bounds)
    bounds.finish()
    assert texts(bounds) == []
    monkeypatch.setattr(limits, "MEMBERS_MAX", 2)
    monkeypatch.setattr(limits, "BROADCAST_QUEUE_MAX", -1)
    monkeypatch.setattr(limits, "RECORDS_PER_OWNER_MAX", 0)
    bounds.after(made.processes["n0"])
    bounds.finish()
    queued, remembered, *kept = texts(bounds)
    assert queued.startswith("queues ")
    assert remembered == "remembers 3 members"
    assert kept[0] == "keeps 1 records of n1"
