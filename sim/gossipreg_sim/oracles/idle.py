"""Oracle 16: when nothing changes, only probes and their acks are sent."""

from __future__ import annotations

from typing import Any, ClassVar, Final

import attrs

from gossipreg.protocol.outputs import InstancesChanged, MemberChanged, OpenStream, Output, PoliciesChanged, Transmit
from gossipreg_sim.oracles.oracle import Oracle
from gossipreg_sim.process import Process
from gossipreg_sim.world import SECOND, ns

#: Time without changes after which a cluster counts as idle (ns): gossip and sync sessions have finished.
_SETTLED: Final = ns(2.5)

#: Periods needed, so that the ends of the idle time have little weight; and the tolerated deviation of the load.
_PERIODS_NEEDED: Final = 3.0
_SLACK: Final = 0.05

#: Standard deviations of the latency that an ack's timeout must cover.
_TAIL: Final = 4.0

#: Packets a node sends per period: one ping, and on average one ack.
_PACKETS: Final = 2.0


#: Messages that are gossiped.
_GOSSIPED: Final = (MemberChanged, InstancesChanged, PoliciesChanged)


@attrs.define
class IdleLoad(Oracle):
    """An idle node sends two packets per period, whatever the cluster's size, and no gossip."""

    law: ClassVar[str] = "an idle node sends two packets per period, and no gossip"
    wants: ClassVar[tuple[type[Any], ...]] = (Transmit, *_GOSSIPED, OpenStream)

    _idle_from: int = 0
    _idle: int = 0  # ns, without the current idle time
    _idle_times: int = 1  # number of idle times
    _packets: int = 0
    _streams: int = 0

    def __attrs_post_init__(self) -> None:
        self._idle_from = self.context.settled_from

    def see(self, process: Process, output: Output) -> None:  # noqa: ARG002 -- another of its kind needs it
        """Count what is sent while the cluster is idle."""
        now = self.cluster.world.now
        if now >= self.context.undisturbed_until:
            return
        kind = type(output)
        if kind in _GOSSIPED:
            if now > self._idle_from:
                self._idle += now - self._idle_from
                self._idle_times += 1
            self._idle_from = max(now + _SETTLED, self.context.settled_from)
        elif now >= self._idle_from:
            self._packets += kind is Transmit
            self._streams += kind is OpenStream

    def finish(self) -> None:
        """Compare the load with two packets per period."""
        scenario = self.context.scenario
        end = min(self.cluster.world.now, self.context.undisturbed_until)
        idle = (self._idle + max(0, end - self._idle_from)) / SECOND
        periods = idle / scenario.settings.probe_interval
        if scenario.nodes == 1:
            self.not_applicable("a single node has no peer to send to")
        elif 2 * scenario.wiring.slowest(_TAIL) > scenario.settings.probe_timeout_min:
            self.not_applicable("an ack may come so late that helpers are asked")
        elif any(fault.kind == "clock-drift" for fault in scenario.faults):
            self.not_applicable("periods differ between nodes")
        elif periods < _PERIODS_NEEDED:
            self.not_applicable(f"idle for {periods:.1f} periods, {_PERIODS_NEEDED:g} are needed")
        else:
            load = self._packets / (periods * scenario.nodes)
            # The first and last period of an idle time may or may not contain a node's probe. The nodes are not
            # independent: probes come in bursts (decision 0020), so that all of a small cluster's probes may be inside
            # or outside.
            cut_off = self._idle_times * (1 + scenario.settings.probe_early) / periods
            slack = _PACKETS * (_SLACK + cut_off)
            self.checks += self._packets
            self.note = f"measured {load:.2f} packets in {periods:.1f} periods, bound {_PACKETS:g} + {slack:.2f}"
            if abs(load - _PACKETS) > slack or self._streams:
                self.wrong("", f"an idle node sends {load:.2f} packets per period; {self._streams} streams were opened")
