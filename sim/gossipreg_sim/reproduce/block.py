"""Block: the anomaly of the Lifeguard paper, in which members pause before they send and after they receive.

In the paper's agents each activity pauses at its next send or receive, while timers run. So during a block one probe
starts, whose ping is sent when the block ends; no update is gossiped, and arrived packets stay unread; but suspicions
time out, and members are declared failed. When the block ends, the measured agents fire overdue timers before they read
their packets: the probe fails, and a healthy member is suspected. A profile states whether it does so
(`timers_first`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import attrs

from gossipreg.protocol.outputs import CloseStream, OpenStream, Output, SendFrame, Transmit
from gossipreg_sim.process import Process
from gossipreg_sim.reproduce.experiment_cluster import ExperimentCluster
from gossipreg_sim.world import SECOND, ns

#: Processing time per packet of a member that has blocked (seconds): the paper's agents, more than a hundred on one
#: machine, cannot read their whole backlog within a few ms. The paper gives no value; this one is our estimate.
HANDLING: Final = 0.0002

_SENDING: Final = (Transmit, OpenStream, SendFrame, CloseStream)


@attrs.define
class Block:
    """Members of a cluster that block and unblock in lock-step."""

    experiment: ExperimentCluster
    names: Sequence[str]

    def cycle(self, on: float, off: float, least: float) -> None:
        """Block for ``on`` seconds and run for ``off``, repeatedly, for at least ``least`` seconds."""
        start = self.experiment.world.now
        while self.experiment.world.now - start < ns(least):
            self.hold(on)
            self.experiment.run_for(off)

    def hold(self, seconds: float) -> None:
        """Block for ``seconds``."""
        held = [_BlockedMember(self.experiment, self.experiment.process(name)) for name in self.names]
        for member in held:
            member.process.service = ns(HANDLING)
            member.begin()
        self.experiment.run_for(seconds)
        for member in held:
            member.end()


@attrs.define
class _BlockedMember:
    """One member during one block."""

    experiment: ExperimentCluster
    process: Process
    waiting: list[Output] = attrs.field(factory=list)  # its held-back outputs
    over: bool = False

    def begin(self) -> None:
        self.process.freeze()
        self._set_alarm()

    def end(self) -> None:
        self.over = True
        self.process.act(self.waiting)
        if self.experiment.profile.timers_first:
            self.process.act(self.process.engine.handle_timeout(self.process.now))
        self.process.thaw()

    def _set_alarm(self) -> None:
        engine = self.process.engine
        due = engine.detector.suspicion_deadline if self.waiting else engine.deadline()
        if due < float("inf"):
            self.experiment.world.at(int(self.process.clock.true_time(due) * SECOND) + 1, self._alarm)

    def _alarm(self) -> None:
        if self.over:
            return
        engine, now = self.process.engine, self.process.now
        if self.waiting:  # of its activities only the suspicions go on
            engine.membership_handler.expire_suspicions(now)
            outputs = engine.outbox.take()
        else:
            outputs = engine.handle_timeout(now)
        self.waiting += [output for output in outputs if isinstance(output, _SENDING)]
        self.process.act([output for output in outputs if not isinstance(output, _SENDING)])
        self._set_alarm()
