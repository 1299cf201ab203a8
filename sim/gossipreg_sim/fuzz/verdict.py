"""Verdict on one run of a sweep: small enough to send between processes by the thousand."""

from __future__ import annotations

import time
import traceback
from pathlib import Path

import attrs

from gossipreg_sim.fuzz.generation import NODES, generated
from gossipreg_sim.fuzz.patience import Patience, TookTooLong
from gossipreg_sim.runner import Outcome, run_scenario
from gossipreg_sim.scenario import Scenario

#: How long one run may take unless told otherwise (seconds of the processor).
PATIENCE = 60.0


@attrs.frozen
class Verdict:
    """What came of one run. ``wrong`` names what failed: oracles, liveness, or where an exception came from."""

    digest: str  # the trace's hash, or what stands for it when there is none
    wrong: tuple[str, ...] = ()
    said: str = ""  # the first thing that was wrong
    marks: dict[str, int] = attrs.field(factory=dict)
    judged: dict[str, bool] = attrs.field(factory=dict)  # by oracle: whether it had occasion to judge
    seconds: float = 0.0  # virtual
    took: float = 0.0  # seconds of the processor

    @property
    def is_good(self) -> bool:
        """Whether everything held."""
        return not self.wrong

    @classmethod
    def without_trace(cls, wrong: str, said: str, took: float = 0.0) -> Verdict:
        """That of a run that did not come to its end."""
        return cls(digest=wrong, wrong=(wrong,), said=said, took=took)

    @classmethod
    def too_slow(cls, patience: float, took: float = 0.0) -> Verdict:
        """That of a run that was ended because it took more than ``patience`` (seconds of the processor)."""
        return cls.without_trace("slow run", f"took more than {patience:g} s of the processor", took)


def verdict_of(seed: int, nodes: tuple[int, int] = NODES, patience: float = PATIENCE) -> Verdict:
    """What comes of the scenario that is drawn from ``seed``."""
    return judged(generated(seed, nodes).scenario, seed, patience)


def judged(scenario: Scenario, seed: int, patience: float = PATIENCE) -> Verdict:
    """What comes of a run, whatever it does: exceptions and endless loops are failures like others."""
    began = time.thread_time()
    try:
        outcome = run_scenario(scenario, seed, attach=Patience(patience).attach)
    except TookTooLong:
        return Verdict.too_slow(patience, time.thread_time() - began)
    except Exception as error:  # noqa: BLE001 -- whatever it is, it is what we look for
        return _of(error, time.thread_time() - began)
    return _told(outcome, time.thread_time() - began)


def _of(error: Exception, took: float) -> Verdict:
    """Named by the place it was raised at: what it says may differ from run to run."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    last = traceback.format_exception_only(error)[0].strip()
    where = f"{type(error).__name__} in {Path(frame.filename).name} {frame.name}"
    return Verdict.without_trace(where, f"{last} ({Path(frame.filename).name}:{frame.lineno})", took)


def _told(outcome: Outcome, took: float) -> Verdict:
    wrong = dict.fromkeys(violation.oracle for violation in outcome.violations)
    said = [str(violation) for violation in outcome.violations[:1]]
    for heal in outcome.late:
        wrong["liveness"] = None
        what = ", ".join(heal.ended) or "the heal"
        after = f"not after {what}" if heal.took is None else f"only {heal.took:.2f} s after {what}"
        said.append(f"all agree {after}; the bound is {heal.bound:.2f} s")
    if not outcome.is_good and not wrong:
        wrong["vacuous"] = None
        said.append(f"the run did not show {', '.join(outcome.missing)}")
    return Verdict(
        digest=outcome.digest,
        wrong=tuple(wrong),
        said=said[0] if said else "",
        marks=outcome.marks,
        judged=outcome.judged,
        seconds=outcome.seconds,
        took=took,
    )
