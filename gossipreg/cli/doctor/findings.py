"""Findings and rules: what is wrong, why the doctor thinks so, and what to do about it."""

from __future__ import annotations

import enum
import shlex
from collections.abc import Callable, Iterable

import attrs

from gossipreg.cli.doctor.facts import Facts
from gossipreg.values import frozen


class Severity(enum.StrEnum):
    """How bad a finding is. A note alone leaves the exit status at 0."""

    ERROR = "error"  # the agent does not do its work, or gives secrets away
    WARNING = "warning"  # it does, and something will go wrong or already costs
    NOTE = "note"  # may well be meant


#: Commands that ask no agent, or name one of their own.
_WITHOUT_AGENT = frozenset({"agent", "doctor", "keygen"})


@frozen
class Diagnosis:
    """One thing that is wrong."""

    severity: Severity
    what: str
    why: tuple[str, ...]  # the evidence, a line each
    do: str  # one sentence, or a page
    run: tuple[str, ...] = ()  # the words of a command for that, or that shows more; without the agent's address
    rule: str = ""  # the rule's name

    def command(self, agent_options: tuple[str, ...]) -> str:
        """``run`` as a line for a shell; empty if there is none. One that asks the agent gets ``agent_options``."""
        asks = self.run[:1] == ("gossipreg",) and self.run[1] not in _WITHOUT_AGENT
        return shlex.join((*self.run, *(agent_options if asks else ())))


@frozen
class Rule:
    """A rule: a function of the facts, and what the documentation says of it."""

    name: str
    summary: str  # what is wrong, if it finds something
    evidence: str  # what it looks at
    remedy: str
    _find: Callable[[Facts], Diagnosis | None]

    def find(self, facts: Facts) -> Diagnosis | None:
        """What is wrong by this rule, if anything is."""
        found = self._find(facts)
        return None if found is None else attrs.evolve(found, rule=self.name)


def rule(*, evidence: str, remedy: str) -> Callable[[Callable[[Facts], Diagnosis | None]], Rule]:
    """Make a rule of a function: its name is the function's, its summary the first line of the docstring."""

    def make(find: Callable[[Facts], Diagnosis | None]) -> Rule:
        summary = (find.__doc__ or "").partition("\n")[0].removesuffix(".")
        return Rule(find.__name__.strip("_").replace("_", "-"), summary, evidence, remedy, find)

    return make


#: Items that one line of evidence names, and lines of evidence in one finding.
_NAMED_MAX = 6
_LINES_MAX = 8


def listed(names: Iterable[object]) -> str:
    """The first of the names, and how many more there are."""
    found = [str(each) for each in names]
    more = len(found) - _NAMED_MAX
    return ", ".join(found[:_NAMED_MAX]) + (f" and {more} more" if more > 0 else "")


def lines(sentences: Iterable[str]) -> tuple[str, ...]:
    """The first of the sentences, and how many more there are."""
    found = tuple(sentences)
    more = len(found) - _LINES_MAX
    return (*found[:_LINES_MAX], f"and {more} more") if more > 0 else found
