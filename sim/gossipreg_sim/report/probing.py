"""Anatomy of one probe: each ping, request and answer of it, and the first one that failed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import attrs

from gossipreg.protocol.membership.probe import Ack, Nack, Ping, PingReq
from gossipreg_sim.cluster import PacketTrace
from gossipreg_sim.report.recording import Recording, messages_of
from gossipreg_sim.world import SECOND, ns

#: How long before its end a probe may have begun (ns): the longest stretch of the longest interval, and some.
_LONGEST: Final = ns(120.0)

#: What ends each state that a fault puts a node into.
_ENDS: Final = {"freeze": "unfreeze", "block": "unblock"}

_STATES: Final = {"freeze": "frozen", "block": "blocked"}


@attrs.frozen
class Step:
    """One thing on the way to a belief. ``trouble`` says what was wrong with it, if anything."""

    at: int  # ns
    node: str
    to: str  # "" when it concerns nobody else
    text: str
    trouble: str = ""


def state_of(recording: Recording, node: str, at: int) -> str:
    """Why ``node`` cannot answer at ``at`` (ns), in words; "" when it can."""
    if recording.life(node, at) is None:
        died = [
            life.died for life in recording.lives if life.node == node and life.died is not None and life.died <= at
        ]
        return f"{node} does not run since {died[-1] / SECOND:.3f} s" if died else f"{node} does not run yet"
    for what, end in _ENDS.items():
        turns = [s for s in recording.outcome.trace.steps if s.node == node and s.what in (what, end) and s.at <= at]
        if turns and turns[-1].what == what:
            return f"{node} is {_STATES[what]} since {turns[-1].at / SECOND:.3f} s"
    slow = [s for s in recording.outcome.trace.steps if s.node == node and s.what == "slow" and s.at <= at]
    if slow and slow[-1].detail not in ("", "0"):
        return f"{node} takes {int(slow[-1].detail) / SECOND:g} s to handle a packet"
    return ""


@attrs.define
class Probe:
    """The probe of ``target`` by ``prober`` that ended without an answer at ``ended`` (ns)."""

    recording: Recording
    prober: str
    target: str
    ended: int
    _near: list[PacketTrace] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        since = self.ended - _LONGEST
        self._near = [passage for passage in self.recording.passages if since <= passage.sent <= self.ended + ns(10)]

    def steps(self) -> list[Step]:
        """All that was sent for it, in order."""
        begun = self._begun()
        if begun is None:
            return []
        seq, ping = begun
        found = [self._step(ping, f"ping {seq}"), *self._answers(ping, seq, ping.receiver, self.prober)]
        for passage, message in self._said(self.prober, "", PingReq, ping.sent):
            if isinstance(message, PingReq) and message.seq == seq and passage.sent <= self.ended:
                found.append(self._step(passage, f"asks for help: ping {self.target} ({seq})"))
                found += self._helped(passage, seq)
        for passage, message in self._said(self.prober, self.target, Ping, ping.sent):
            if passage.on_stream and isinstance(message, Ping) and message.seq == seq:
                found.append(self._step(passage, f"ping {seq} on a stream"))
                break  # a stalled frame is tried again and again
        return sorted((step for step in found if step.at <= self.ended), key=lambda step: step.at)

    def _begun(self) -> tuple[int, PacketTrace] | None:
        """The first ping, and its number. Nobody was asked to help with a ping that was for somebody else."""
        pings = [
            (message.seq, passage)
            for passage, message in self._said(self.prober, self.target, Ping, 0)
            if isinstance(message, Ping) and not passage.on_stream and passage.sent < self.ended
        ]
        asked = [m.seq for p, m in self._said(self.prober, "", PingReq, 0) if isinstance(m, PingReq)]
        helped = [each for each in pings if each[0] in asked]
        found = helped or pings
        return found[-1] if found else None

    def _said(self, sender: str, receiver: str, noun: type, since: int) -> Iterator[tuple[PacketTrace, object]]:
        """Messages of this kind from the one to the other, or to anybody, sent from ``since`` on."""
        for passage in self._near:
            if passage.sender == sender and passage.sent >= since and receiver in ("", passage.receiver):
                for message in messages_of(passage.data):
                    if isinstance(message, noun):
                        yield passage, message

    def _helped(self, request: PacketTrace, seq: int) -> list[Step]:
        """What a helper did."""
        if not request.arrivals:
            return []
        helper, since = request.receiver, request.arrivals[0]
        found = []
        for passage, message in self._said(helper, self.target, Ping, since):
            if isinstance(message, Ping) and not passage.on_stream:
                found.append(self._step(passage, f"ping {message.seq} for {self.prober}"))
                found += self._answers(passage, message.seq, self.target, helper)
                break
        found += self._answers(request, seq, helper, self.prober)
        return found

    def _answers(self, asked: PacketTrace, seq: int, sender: str, receiver: str) -> list[Step]:
        """The ack, or the word that there is none, to what was asked."""
        for passage, message in self._said(sender, receiver, Ack, asked.sent):
            if isinstance(message, Ack) and message.seq == seq:
                return [self._step(passage, f"ack {seq}")]
        for passage, message in self._said(sender, receiver, Nack, asked.sent):
            if isinstance(message, Nack) and message.seq == seq:
                return [self._step(passage, f"has no ack yet (nack {seq})")]
        return []

    def _step(self, passage: PacketTrace, text: str) -> Step:
        return Step(passage.sent, passage.sender, passage.receiver, text, self._trouble(passage))

    def _trouble(self, passage: PacketTrace) -> str:
        if not passage.arrivals:
            kept = passage.culprit.removeprefix("fault ") or "nobody knows what"
            return f"no connection: {kept}" if passage.on_stream else f"lost to {kept}"
        arrives = passage.arrivals[0]
        if passage.receiver == self.prober and arrives > self.ended:
            return f"late: arrives at {arrives / SECOND:.3f} s"
        return state_of(self.recording, passage.receiver, arrives)


def first_trouble(steps: Sequence[Step]) -> Step | None:
    """The first thing that went wrong."""
    return next((step for step in steps if step.trouble), None)
