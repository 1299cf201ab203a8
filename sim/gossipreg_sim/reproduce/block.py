"""The anomaly of the Lifeguard paper: members block before they send and after they receive.

In the paper's agents each activity waits at its next send or receive, while timers run. So one probe begins, whose
ping goes out when the block ends; no update is passed on, what arrives stays unread; but suspicions go on, and their
ends are verdicts. When the block ends, the agents measured there find their timers overdue before they have read what
waits for them: the probe has failed, and somebody well is suspected. A profile says if it is so (`timers_first`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import attrs

from gossipreg.protocol.outputs import CloseStream, OpenStream, Output, SendFrame, Transmit
from gossipreg_sim.process import Process
from gossipreg_sim.reproduce.experiment_cluster import ExperimentCluster
from gossipreg_sim.world import SECOND, ns

#: What handling one packet takes a member that has blocked (seconds): the paper's agents, a hundred and more on one
#: machine, do not get through all that has waited in a window of a few ms. The paper does not say; this is our guess.
HANDLING: Final = 0.0002

_SENDING: Final = (Transmit, OpenStream, SendFrame, CloseStream)


@attrs.define
class Block:
    """Some members of a cluster that block and unblock in lock-step."""

    experiment: ExperimentCluster
    names: Sequence[str]

    def cycle(self, on: float, off: float, least: float) -> None:
        """Block for ``on`` seconds and run for ``off``, over and over until ``least`` seconds have gone by."""
        start = self.experiment.world.now
        while self.experiment.world.now - start < ns(least):
            self.hold(on)
            self.experiment.rest(off)

    def hold(self, seconds: float) -> None:
        """Block for ``seconds``."""
        held = [_Held(self.experiment, self.experiment.process(name)) for name in self.names]
        for member in held:
            member.process.service = ns(HANDLING)
            member.begin()
        self.experiment.rest(seconds)
        for member in held:
            member.end()


@attrs.define
class _Held:
    """One member during one block."""

    experiment: ExperimentCluster
    process: Process
    waiting: list[Output] = attrs.field(factory=list)  # what it wanted to send
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
        outputs = engine.expire_suspicions(now) if self.waiting else engine.handle_timeout(now)
        self.waiting += [output for output in outputs if isinstance(output, _SENDING)]
        self.process.act([output for output in outputs if not isinstance(output, _SENDING)])
        self._set_alarm()
