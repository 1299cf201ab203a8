"""Anatomy of one failed probe: each ping, request and answer, and the first one that went wrong."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import attrs

from gossipreg.protocol.membership.probe import Ack, Nack, Ping, PingReq
from gossipreg_sim.cluster import PacketTrace
from gossipreg_sim.report.recording import Recording, messages_of
from gossipreg_sim.world import SECOND, ns

#: Upper limit of a probe's duration (ns): the longest interval at the worst local health, and some margin.
_LONGEST: Final = ns(120.0)

#: The trace step that ends each state of a node set by a fault.
_ENDS: Final = {"freeze": "unfreeze", "block": "unblock"}

_STATES: Final = {"freeze": "frozen", "block": "blocked"}


@attrs.frozen
class Step:
    """One step on the way to a belief. ``problem`` says what went wrong, if anything."""

    at: int  # ns
    node: str
    to: str  # "" if it concerns no other node
    text: str
    problem: str = ""


def state_of(recording: Recording, node: str, at: int) -> str:
    """Describe why ``node`` cannot answer at ``at`` (ns); "" if it can."""
    if recording.node_run(node, at) is None:
        died = [run.died for run in recording.node_runs if run.node == node and run.died is not None and run.died <= at]
        return f"{node} has not run since {died[-1] / SECOND:.3f} s" if died else f"{node} does not run yet"
    for what, end in _ENDS.items():
        turns = [s for s in recording.outcome.trace.steps if s.node == node and s.what in (what, end) and s.at <= at]
        if turns and turns[-1].what == what:
            return f"{node} has been {_STATES[what]} since {turns[-1].at / SECOND:.3f} s"
    slow = [s for s in recording.outcome.trace.steps if s.node == node and s.what == "slow" and s.at <= at]
    if slow and slow[-1].detail not in ("", "0"):
        return f"{node} takes {int(slow[-1].detail) / SECOND:g} s to handle a packet"
    return ""


@attrs.define
class Probe:
    """The probe of ``target`` by ``prober`` that ended without an ack at ``ended`` (ns)."""

    recording: Recording
    prober: str
    target: str
    ended: int
    _near: list[PacketTrace] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        since = self.ended - _LONGEST
        self._near = [trace for trace in self.recording.passages if since <= trace.sent <= self.ended + ns(10)]

    def steps(self) -> list[Step]:
        """All packets and frames of the probe, in order."""
        begun = self._first_ping()
        if begun is None:
            return []
        seq, ping = begun
        found = [self._step(ping, f"ping {seq}"), *self._answers(ping, seq, ping.receiver, self.prober)]
        for trace, message in self._messages(self.prober, "", PingReq, ping.sent):
            if isinstance(message, PingReq) and message.seq == seq and trace.sent <= self.ended:
                found.append(self._step(trace, f"asks for an indirect ping of {self.target} ({seq})"))
                found += self._helper_steps(trace, seq)
        for trace, message in self._messages(self.prober, self.target, Ping, ping.sent):
            if trace.on_stream and isinstance(message, Ping) and message.seq == seq:
                found.append(self._step(trace, f"ping {seq} on a stream"))
                break  # a stalled frame is retried many times
        return sorted((step for step in found if step.at <= self.ended), key=lambda step: step.at)

    def _first_ping(self) -> tuple[int, PacketTrace] | None:
        """Return the first ping of the probe, and its number; pings on behalf of another prober do not count."""
        pings = [
            (message.seq, trace)
            for trace, message in self._messages(self.prober, self.target, Ping, 0)
            if isinstance(message, Ping) and not trace.on_stream and trace.sent < self.ended
        ]
        asked = [m.seq for p, m in self._messages(self.prober, "", PingReq, 0) if isinstance(m, PingReq)]
        helped = [each for each in pings if each[0] in asked]
        found = helped or pings
        return found[-1] if found else None

    def _messages(self, sender: str, receiver: str, kind: type, since: int) -> Iterator[tuple[PacketTrace, object]]:
        """Yield the messages of this kind from ``sender`` to ``receiver`` ("": any node), sent from ``since`` on."""
        for trace in self._near:
            if trace.sender == sender and trace.sent >= since and receiver in ("", trace.receiver):
                for message in messages_of(trace.data):
                    if isinstance(message, kind):
                        yield trace, message

    def _helper_steps(self, request: PacketTrace, seq: int) -> list[Step]:
        """Return the steps of a helper."""
        if not request.arrivals:
            return []
        helper, since = request.receiver, request.arrivals[0]
        found = []
        for trace, message in self._messages(helper, self.target, Ping, since):
            if isinstance(message, Ping) and not trace.on_stream:
                found.append(self._step(trace, f"ping {message.seq} for {self.prober}"))
                found += self._answers(trace, message.seq, self.target, helper)
                break
        found += self._answers(request, seq, helper, self.prober)
        return found

    def _answers(self, asked: PacketTrace, seq: int, sender: str, receiver: str) -> list[Step]:
        """Return the ack or nack to ``asked``."""
        for trace, message in self._messages(sender, receiver, Ack, asked.sent):
            if isinstance(message, Ack) and message.seq == seq:
                return [self._step(trace, f"ack {seq}")]
        for trace, message in self._messages(sender, receiver, Nack, asked.sent):
            if isinstance(message, Nack) and message.seq == seq:
                return [self._step(trace, f"nack {seq}: no ack yet")]
        return []

    def _step(self, trace: PacketTrace, text: str) -> Step:
        return Step(trace.sent, trace.sender, trace.receiver, text, self._problem(trace))

    def _problem(self, trace: PacketTrace) -> str:
        if not trace.arrivals:
            kept = trace.culprit.removeprefix("fault ") or "an unknown cause"
            return f"no connection: {kept}" if trace.on_stream else f"lost to {kept}"
        arrives = trace.arrivals[0]
        if trace.receiver == self.prober and arrives > self.ended:
            return f"late: arrives at {arrives / SECOND:.3f} s"
        return state_of(self.recording, trace.receiver, arrives)


def first_problem(steps: Sequence[Step]) -> Step | None:
    """Return the first step that went wrong."""
    return next((step for step in steps if step.problem), None)
