"""Explanation of a node's belief: the path of the update, the first accuser, and the packets lost on the way."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import attrs

from gossipreg.model import Status
from gossipreg.protocol.membership.member_update import MemberUpdate
from gossipreg_sim.cluster import PacketTrace
from gossipreg_sim.report.probing import Probe, Step, first_problem, state_of
from gossipreg_sim.report.recording import Belief, Recording, messages_of
from gossipreg_sim.report.timeline import bands_of
from gossipreg_sim.report.traffic import content_of
from gossipreg_sim.scenario import Scenario, ScenarioError
from gossipreg_sim.world import SECOND, ns

#: Hops of an update that are shown at most; no update travels further.
_HOPS_MAX: Final = 100


@attrs.frozen
class Answer:
    """Why ``node`` believed this of ``subject`` at ``at`` (ns): the steps that led to it, in chronological order."""

    node: str
    subject: str
    at: int
    belief: Belief | None
    truth: str
    steps: tuple[Step, ...]

    @property
    def root(self) -> Step | None:
        """The first ping or ack that was lost, late, or sent to a node that could not answer."""
        return first_problem(self.steps)

    @property
    def believed(self) -> str:
        """The belief, as one word."""
        return "unknown" if self.belief is None or self.belief.after is None else str(self.belief.after.status)


def check_names(scenario: Scenario, *names: str) -> None:
    """Raise `ScenarioError` unless all are nodes of ``scenario``."""
    known = scenario.node_names
    for name in names:
        if name not in known:
            raise ScenarioError(f"no node {name!r} in {scenario.name}: they are {known[0]} to {known[-1]}")


def worst_belief(recording: Recording, node: str, subject: str) -> int:
    """Return when (ns) ``node`` first held its gravest belief about ``subject``."""
    held = [b for b in recording.believed_by[node] if b.subject == subject and b.after is not None]
    grave = [b for b in held if b.after is not None and b.after.status in (Status.SUSPECT, Status.FAILED)] or held
    worst = max((b.after.status for b in grave if b.after is not None), default=None)
    return next((b.at for b in grave if b.after is not None and b.after.status is worst), recording.end)


def why(recording: Recording, node: str, subject: str, at: float) -> Answer:
    """Explain what ``node`` believed of ``subject`` at ``at`` (seconds). Raises `ScenarioError`."""
    check_names(recording.scenario, node, subject)
    if not 0 <= at <= recording.outcome.seconds:
        raise ScenarioError(f"{at:g} s is not in the run: it lasts from 0 to {recording.outcome.seconds:.3f} s")
    moment = ns(at)
    walk = _Search(recording, subject)
    belief = recording.believes(node, subject, moment)
    if belief is not None:
        walk.back(belief)
    steps = sorted(walk.steps, key=lambda step: step.at)
    return Answer(node, subject, moment, belief, _truth(recording, subject, moment), tuple(steps))


def _truth(recording: Recording, subject: str, at: int) -> str:
    seconds = at / SECOND
    holding = [band.name for band in bands_of(recording) if band.begins <= seconds < band.ends]
    state = state_of(recording, subject, at) or f"{subject} runs"
    return f"{state}; {'active faults: ' + ', '.join(holding) if holding else 'no fault is active'}"


@attrs.define
class _Search:
    """Backward search from a belief to its origin."""

    recording: Recording
    subject: str
    steps: list[Step] = attrs.field(factory=list)
    names: dict[int, str] = attrs.field(init=False)  # run id -> name

    def __attrs_post_init__(self) -> None:
        self.names = {b.after.run_id: b.after.name for b in self.recording.beliefs if b.after is not None}

    def back(self, belief: Belief) -> None:
        """Explain ``belief``, then the belief that it is based on, and so on."""
        next_one: Belief | None = belief
        for _ in range(_HOPS_MAX):
            if next_one is None:
                return
            next_one = self._explain(next_one)

    def _explain(self, belief: Belief) -> Belief | None:
        """Explain one belief; return the one that it is based on, or None at the origin."""
        update, observer = belief.after, belief.observer
        if update is None:
            self._add_step(belief, f"forgets {self.subject}: its retention time is over")
            return None
        if observer == self.subject:
            return self._explain_own(belief, update)
        is_own = update.accuser != 0 and update.accuser == self._run_of(observer, belief.at)
        if is_own and update.status is Status.SUSPECT:
            self._explain_suspicion(belief)
            return None
        if is_own and update.status is Status.FAILED:
            return self._explain_failure(belief, update)
        return self._explain_received(belief, update)

    def _add_step(self, belief: Belief, text: str, to: str = "") -> None:
        self.steps.append(Step(belief.at, belief.observer, to, text))

    def _run_of(self, node: str, at: int) -> int:
        own = self.recording.believes(node, node, at)
        return 0 if own is None or own.after is None else own.after.run_id

    def _explain_own(self, belief: Belief, update: MemberUpdate) -> Belief | None:
        """Explain an update that the subject issued about itself."""
        before = belief.before
        if before is None or before.generation != update.generation:
            self._add_step(belief, f"announces that it is {update.status} (a new run, generation {update.generation})")
            return None
        accused = self._carrier(belief, lambda said: said.name == self.subject and said.supersedes(before))
        by = "" if accused is None else f", after {accused.sender} told it of the accusation"
        self._add_step(belief, f"announces that it is {update.status}, incarnation {update.incarnation}{by}")
        return None

    def _explain_suspicion(self, belief: Belief) -> None:
        probe = Probe(self.recording, belief.observer, self.subject, belief.at).steps()
        self.steps += probe
        self._add_step(belief, f"receives no answer to its probe: suspects {self.subject}")

    def _explain_failure(self, belief: Belief, update: MemberUpdate) -> Belief | None:
        suspected = [
            b
            for b in self.recording.believed_by[belief.observer]
            if b.subject == self.subject and b.at <= belief.at and b.after is not None
            if b.after.status is Status.SUSPECT and b.after.is_same_run(update)
        ]
        waited = f" in {(belief.at - suspected[-1].at) / SECOND:.3f} s" if suspected else ""
        self._add_step(belief, f"received no refutation{waited}: declares {self.subject} failed")
        return suspected[-1] if suspected else None

    def _explain_received(self, belief: Belief, update: MemberUpdate) -> Belief | None:
        carrier = self._carrier(belief, lambda said: said == update)
        downgraded = False
        if carrier is None and update.status is Status.SUSPECT:
            grave = attrs.evolve(update, status=Status.FAILED)
            carrier = self._carrier(belief, lambda said: said == grave)
            downgraded = carrier is not None
        if carrier is None:
            self._add_step(
                belief, f"receives the update that {self.subject} is {update.status}; no member sent it just then"
            )
            return None
        self._add_step(belief, self._describe(belief, update, carrier, downgraded=downgraded), carrier.sender)
        wanted = Status.FAILED if downgraded else update.status
        held = [
            b
            for b in self.recording.believed_by[carrier.sender]
            if b.subject == self.subject and b.at <= carrier.sent and b.after is not None
            if b.after.status is wanted and b.after.rank[:2] == update.rank[:2]
        ]
        return held[-1] if held else None

    def _describe(self, belief: Belief, update: MemberUpdate, carrier: PacketTrace, *, downgraded: bool) -> str:
        content = content_of(carrier, messages_of(carrier.data)).name.lower().replace("_", "-")
        arrived = max(arrival for arrival in carrier.arrivals if arrival <= belief.at)
        waited = f", read {(belief.at - arrived) / SECOND:.3f} s late" if belief.at - arrived > ns(0.001) else ""
        accuser = self.names.get(update.accuser, "")
        by = f", accused by {accuser}" if accuser and update.status is Status.SUSPECT and not downgraded else ""
        by = f", declared by {accuser}" if accuser and update.status is Status.FAILED else by
        said = f"receives the update that {self.subject} is {Status.FAILED if downgraded else update.status}{by}"
        if downgraded:
            said += "; after a split it counts as a suspicion"
        return f"{said} ({content} sent at {carrier.sent / SECOND:.3f} s{waited})"

    def _carrier(self, belief: Belief, matches: Any) -> PacketTrace | None:
        """Return the last packet before the belief that carried an update of this kind."""
        run = self.recording.node_run(belief.observer, belief.at)
        since = 0 if run is None else run.born
        found: PacketTrace | None = None
        latest = -1
        for passage in self.recording.passages:
            if passage.sent > belief.at:
                break
            if passage.receiver != belief.observer or not passage.arrivals:
                continue
            arrived = max((at for at in passage.arrivals if since <= at <= belief.at), default=-1)
            if arrived >= latest and any(isinstance(m, MemberUpdate) and matches(m) for m in messages_of(passage.data)):
                found, latest = passage, arrived
        return found if latest >= 0 else None


def as_lines(answer: Answer) -> Iterator[str]:
    """Yield the lines of the explanation."""
    at = answer.at / SECOND
    if answer.belief is None or answer.belief.after is None:
        yield f"at {at:.3f} s {answer.node} knows no {answer.subject}"
    else:
        since = answer.belief.at / SECOND
        yield f"at {at:.3f} s {answer.node} believes that {answer.subject} is {answer.believed}, since {since:.3f} s"
    yield f"the truth: {answer.truth}"
    if answer.root is not None:
        yield f"first failure: {_sentence(answer.root)}"
    if answer.steps:
        yield ""
    width = max((len(_endpoints(step)) for step in answer.steps), default=0)
    long = max((len(step.text) for step in answer.steps if step.problem), default=0)
    for step in answer.steps:
        problem = f"  {step.problem}" if step.problem else ""
        text = step.text.ljust(long) if problem else step.text
        yield f"{step.at / SECOND:>9.3f}  {_endpoints(step):<{width}}  {text}{problem}"


def _endpoints(step: Step) -> str:
    if not step.to:
        return step.node
    arrow = "<-" if step.text.startswith("receives the update") else "->"
    return f"{step.node} {arrow} {step.to}"


def _sentence(step: Step) -> str:
    return f"{_endpoints(step)} at {step.at / SECOND:.3f} s, {step.text}: {step.problem}"


def as_document(answer: Answer) -> dict[str, Any]:
    """Return the explanation as a JSON document; times are in seconds."""
    return {
        "node": answer.node,
        "subject": answer.subject,
        "at": answer.at / SECOND,
        "believes": answer.believed,
        "since": None if answer.belief is None else answer.belief.at / SECOND,
        "truth": answer.truth,
        "first_failure": None if answer.root is None else _step(answer.root),
        "steps": [_step(step) for step in answer.steps],
    }


def _step(step: Step) -> dict[str, Any]:
    return {
        "at": step.at / SECOND,
        "node": step.node,
        "peer": step.to or None,
        "text": step.text,
        "problem": step.problem or None,
    }
