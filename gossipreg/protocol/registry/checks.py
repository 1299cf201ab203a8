"""Check state: thresholds, flapping, and the health of an instance with several checks.

The health of a check changes when ``failures`` results in a row were worse than it, or ``successes`` in a row were
better. It then changes by as little as that streak allows: after a streak of warnings and criticals it is a warning.

Flapping. Each fall to critical adds 1 to a score, which halves every 20 intervals (of a ttl: every 20 times to live)
and never exceeds 8. At a score of 2.5, which is three falls within some ten intervals, the check flaps, until the score
is below 1. A flapping check becomes critical as quickly as any other, but needs more successes in a row to recover: its
``successes``, doubled for each whole point of the score, up to eight times. A failure that ends such a recovery counts
as a fall. So the instance stays out of lookups while its check is unsteady, and returns once the score has decayed.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import takewhile
from typing import Final

import attrs

from gossipreg import limits
from gossipreg.check import Check
from gossipreg.model import Health
from gossipreg.text import blanked, shortened
from gossipreg.values import frozen

_SCORE_MAX: Final = 8.0
_SCORE_FLAPPING: Final = 2.5
_SCORE_STEADY: Final = 1.0
_HALF_LIFE_INTERVALS: Final = 20
_DOUBLINGS_MAX: Final = 3


@frozen
class Finding:
    """What one run of a check found; ``text`` is for people."""

    health: Health  # passing, warning or critical
    text: str = ""


@attrs.define(eq=False, repr=False)
class CheckState:
    """The state of one check. ``now`` is in seconds, on any clock that does not go back."""

    check: Check
    since: float  # when its health last changed
    health: Health
    reason: str = ""
    flapping: bool = False
    _is_new: bool = True  # no result yet: the health is the initial one
    _streak: list[Finding] = attrs.field(factory=list)  # the latest results, all better than the health or all worse
    _score: float = 0.0  # of flapping
    _scored: float = 0.0  # when the score was last computed

    @classmethod
    def begin(cls, check: Check, now: float) -> CheckState:
        """A check that has not been run."""
        reason = "" if check.initial is Health.PASSING else "not checked yet"
        return cls(check, now, check.initial, reason, scored=now)

    def record(self, finding: Finding, now: float) -> bool:
        """Take the result of one run; returns whether the health of the check has changed, or is now known."""
        self._decay(now)
        if finding.health is self.health:
            if self._is_new:
                return self._confirm(finding)
            if self.flapping and self._streak and self.health is Health.CRITICAL:
                self._fall()
            self._streak.clear()
            return False
        worse = finding.health.gravity > self.health.gravity
        if self._streak and (self._streak[0].health.gravity > self.health.gravity) is not worse:
            self._streak.clear()
        self._streak.append(finding)
        if len(self._streak) < (self.check.failures if worse else self.needed):
            return False
        self._move(min(self._streak, key=self._distance), now)
        return True

    def _confirm(self, finding: Finding) -> bool:
        """Confirm the initial health by a first result; returns whether the reason is new."""
        self._is_new = False
        self._streak.clear()
        self.reason = "" if finding.health is Health.PASSING else finding.text
        return finding.health is not Health.PASSING

    def _distance(self, finding: Finding) -> int:
        return abs(finding.health.gravity - self.health.gravity)

    def _move(self, finding: Finding, now: float) -> None:
        distance = self._distance(finding)
        beyond = takewhile(lambda each: self._distance(each) > distance, reversed(self._streak))
        self._streak = list(beyond)  # results that count towards the next move, too
        if finding.health is Health.CRITICAL:
            self._fall()
        self.health, self.since, self._is_new = finding.health, now, False
        self.reason = "" if finding.health is Health.PASSING else finding.text

    def _fall(self) -> None:
        self._score = min(_SCORE_MAX, self._score + 1)
        self.flapping = self.flapping or self._score >= _SCORE_FLAPPING

    def _decay(self, now: float) -> None:
        half_life = _HALF_LIFE_INTERVALS * (self.check.ttl or self.check.interval)
        self._score *= 0.5 ** ((now - self._scored) / half_life)
        self._scored = now
        self.flapping = self.flapping and self._score >= _SCORE_STEADY

    @property
    def is_new(self) -> bool:
        """Whether there is no result yet, so that its health is the initial one."""
        return self._is_new

    @property
    def needed(self) -> int:
        """How many results in a row must be better than the health for it to rise."""
        return self.check.successes * (2 ** min(_DOUBLINGS_MAX, int(self._score)) if self.flapping else 1)

    @property
    def expires(self) -> float | None:
        """When it will have been critical for too long, if it stays so."""
        if self.health is not Health.CRITICAL or self.check.deregister_after is None:
            return None
        return self.since + self.check.deregister_after

    def excuse(self, seconds: float) -> None:
        """Do not count ``seconds`` in which this node itself was stopped and ran no check."""
        self.since += seconds


def combined(states: Iterable[CheckState], maintenance: str | None = None) -> tuple[Health, str]:
    """The health of an instance with these checks, and why: the most severe one counts, and of equal ones the first.

    ``maintenance`` is the owner's reason for taking it out, which outranks every check. Without checks an instance is
    passing as long as its owner is alive.
    """
    if maintenance is not None:
        return Health.MAINTENANCE, _one_line(maintenance)
    worst = max(states, key=lambda state: state.health.gravity, default=None)
    if worst is None or worst.health is Health.PASSING:
        return Health.PASSING, ""
    return worst.health, _one_line(f"{worst.check.name}: {worst.reason}" if worst.reason else worst.check.name)


def _one_line(text: str) -> str:
    """``text`` as it goes into a record: printable, on one line, of bounded length."""
    return shortened(" ".join(blanked(text[: 4 * limits.REASON_CHARS_MAX]).split()), limits.REASON_CHARS_MAX)
