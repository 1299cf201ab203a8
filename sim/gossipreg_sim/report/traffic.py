"""Packets for the report page: sender, receiver, content, time in flight, and the fault that stopped each lost one."""

from __future__ import annotations

import enum
from collections.abc import Sequence

import attrs

from gossipreg.protocol.membership.member_update import MemberUpdate
from gossipreg.protocol.membership.probe import Ack, Nack, Ping, PingReq
from gossipreg.protocol.wire.messages import Message
from gossipreg_sim.cluster import PacketTrace
from gossipreg_sim.report import packing
from gossipreg_sim.report.recording import Recording, messages_of

#: Packets that a page holds, at about 5 bytes each. The page of a longer run shows its beginning and says so.
PACKETS_MAX = 1_000_000


class PacketContent(enum.IntEnum):
    """The purpose of a packet. Updates and records may be piggybacked on any kind."""

    PING = 0
    ACK = 1
    PING_REQ = 2
    NACK = 3
    GOSSIP = 4  # nothing but updates and records
    STREAM = 5


_OF_NOUN = {Ping: PacketContent.PING, Ack: PacketContent.ACK, PingReq: PacketContent.PING_REQ, Nack: PacketContent.NACK}


@attrs.frozen
class Packet:
    """One packet or frame as the page shows it. Times are in µs; nodes and culprits are indexes into lists."""

    sent: int
    sender: int
    receiver: int
    content: PacketContent
    has_updates: bool
    flight: int | None  # None: it never arrived intact
    culprit: int  # 0: not lost, or the cause is unknown


@attrs.frozen
class Traffic:
    """The packets of a run, in sending order."""

    nodes: int
    culprits: tuple[str, ...]  # the first is ""
    packets: tuple[Packet, ...] = attrs.field(repr=False)
    left_out: int  # packets beyond PACKETS_MAX

    def packed(self) -> dict[str, str]:
        """Columns for the page: `sent`, `link` (sender x nodes + receiver), `kind`, `flight` (0: lost), `culprit`.

        ``kind`` is the content, plus 8 if updates are piggybacked; ``flight`` is the time in flight plus one µs;
        ``culprit`` has a number for each lost packet.
        """
        return {
            "sent": packing.compressed(packing.rising([packet.sent for packet in self.packets])),
            "link": packing.compressed(packing.varints(p.sender * self.nodes + p.receiver for p in self.packets)),
            "kind": packing.compressed(bytes(packet.content | packet.has_updates << 3 for packet in self.packets)),
            "flight": packing.compressed(
                packing.varints(0 if p.flight is None else p.flight + 1 for p in self.packets)
            ),
            "culprit": packing.compressed(packing.varints(p.culprit for p in self.packets if p.flight is None)),
        }


def traffic_of(recording: Recording) -> Traffic:
    """Return the packets of a run, up to the limit of a page."""
    place = {name: number for number, name in enumerate(recording.scenario.node_names)}
    culprits: dict[str, int] = {"": 0}
    packets = []
    for passage in recording.passages[:PACKETS_MAX]:
        culprit = culprits.setdefault(passage.culprit.removeprefix("fault "), len(culprits))
        messages = messages_of(passage.data)
        packets.append(
            Packet(
                passage.sent // 1000,
                place[passage.sender],
                place[passage.receiver],
                content_of(passage, messages),
                any(isinstance(message, MemberUpdate) for message in messages),
                (passage.arrivals[0] - passage.sent) // 1000 if passage.arrivals else None,
                culprit,
            )
        )
    return Traffic(len(place), tuple(culprits), tuple(packets), len(recording.passages) - len(packets))


def content_of(passage: PacketTrace, messages: Sequence[Message]) -> PacketContent:
    """Return the purpose of a packet that contains ``messages``."""
    if passage.on_stream:
        return PacketContent.STREAM
    return next((_OF_NOUN[type(message)] for message in messages if type(message) in _OF_NOUN), PacketContent.GOSSIP)
