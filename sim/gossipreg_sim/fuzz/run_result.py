"""Result of one run of a sweep: small enough to send between processes by the thousand."""

from __future__ import annotations

import time
import traceback
from pathlib import Path

import attrs

from gossipreg_sim.fuzz.generation import NODES, generated
from gossipreg_sim.fuzz.patience import Patience, TookTooLong
from gossipreg_sim.runner import Outcome, run_scenario
from gossipreg_sim.scenario import Scenario

#: Time limit of one run, unless given (seconds of CPU time).
PATIENCE = 60.0


@attrs.frozen
class RunResult:
    """The result of one run. ``wrong`` names what failed: oracles, liveness, or the place that raised an exception."""

    digest: str  # the trace hash, or a substitute if there is no trace
    wrong: tuple[str, ...] = ()
    detail: str = ""  # description of the first failure
    marks: dict[str, int] = attrs.field(factory=dict)
    applied: dict[str, bool] = attrs.field(factory=dict)  # by oracle: whether it applied
    seconds: float = 0.0  # virtual
    took: float = 0.0  # seconds of CPU time

    @property
    def is_good(self) -> bool:
        """Whether nothing failed."""
        return not self.wrong

    @classmethod
    def without_trace(cls, wrong: str, detail: str, took: float = 0.0) -> RunResult:
        """Return the result of a run that did not finish."""
        return cls(digest=wrong, wrong=(wrong,), detail=detail, took=took)

    @classmethod
    def too_slow(cls, patience: float, took: float = 0.0) -> RunResult:
        """Return the result of a run that was stopped after ``patience`` (seconds of CPU time)."""
        return cls.without_trace("slow run", f"took more than {patience:g} s of CPU time", took)


def result_of(
    seed: int, nodes: tuple[int, int] = NODES, patience: float = PATIENCE, *, cells: bool = False
) -> RunResult:
    """Run the scenario generated from ``seed``."""
    return run_and_check(generated(seed, nodes, cells=cells).scenario, seed, patience)


def run_and_check(scenario: Scenario, seed: int, patience: float = PATIENCE) -> RunResult:
    """Run ``scenario`` and return its result; exceptions and endless loops are failures, too."""
    began = time.thread_time()
    try:
        outcome = run_scenario(scenario, seed, attach=Patience(patience).attach)
    except TookTooLong:
        return RunResult.too_slow(patience, time.thread_time() - began)
    except Exception as error:  # noqa: BLE001 -- whatever it is, it is what we look for
        return _of_error(error, time.thread_time() - began)
    return _of_outcome(outcome, time.thread_time() - began)


def _of_error(error: Exception, took: float) -> RunResult:
    """Return a result named by the place that raised ``error``: its message may differ from run to run."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    last = traceback.format_exception_only(error)[0].strip()
    where = f"{type(error).__name__} in {Path(frame.filename).name} {frame.name}"
    return RunResult.without_trace(where, f"{last} ({Path(frame.filename).name}:{frame.lineno})", took)


def _of_outcome(outcome: Outcome, took: float) -> RunResult:
    wrong = dict.fromkeys(violation.oracle for violation in outcome.violations)
    detail = [str(violation) for violation in outcome.violations[:1]]
    for heal in outcome.late:
        wrong["liveness"] = None
        what = ", ".join(heal.ended) or "the heal"
        after = f"not after {what}" if heal.took is None else f"only {heal.took:.2f} s after {what}"
        detail.append(f"all agree {after}; the bound is {heal.bound:.2f} s")
    if not outcome.is_good and not wrong:
        wrong["vacuous"] = None
        detail.append(f"the run did not reach {', '.join(outcome.missing)}")
    return RunResult(
        digest=outcome.digest,
        wrong=tuple(wrong),
        detail=detail[0] if detail else "",
        marks=outcome.marks,
        applied=outcome.applied,
        seconds=outcome.seconds,
        took=took,
    )
