"""Why a node believed what it believed: the path of the claim, the first accuser, and what was lost on the way."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import attrs

from gossipreg.model import Status
from gossipreg.protocol.membership.member_update import MemberUpdate
from gossipreg_sim.cluster import PacketTrace
from gossipreg_sim.report.probing import Probe, Step, first_trouble, state_of
from gossipreg_sim.report.recording import Belief, Recording, messages_of
from gossipreg_sim.report.timeline import bands_of
from gossipreg_sim.report.traffic import content_of
from gossipreg_sim.scenario import Scenario, ScenarioError
from gossipreg_sim.world import SECOND, ns

#: Hops of an update that are shown at most; none travels further.
_HOPS_MAX: Final = 100


@attrs.frozen
class Answer:
    """Why ``node`` believed this of ``subject`` at ``at`` (ns): the steps that led to it, in the order of time."""

    node: str
    subject: str
    at: int
    belief: Belief | None
    truth: str
    steps: tuple[Step, ...]

    @property
    def root(self) -> Step | None:
        """The first ping or ack that was lost, late, or met a node that could not answer."""
        return first_trouble(self.steps)

    @property
    def believed(self) -> str:
        """What was believed, as one word."""
        return "unknown" if self.belief is None or self.belief.after is None else str(self.belief.after.status)


def check_names(scenario: Scenario, *names: str) -> None:
    """Raise `ScenarioError` unless all are nodes of ``scenario``."""
    known = scenario.node_names
    for name in names:
        if name not in known:
            raise ScenarioError(f"no node {name!r} in {scenario.name}: they are {known[0]} to {known[-1]}")


def worst_belief(recording: Recording, node: str, subject: str) -> int:
    """When (ns) ``node`` first believed the gravest that it ever believed of ``subject``."""
    held = [b for b in recording.believed_by[node] if b.subject == subject and b.after is not None]
    grave = [b for b in held if b.after is not None and b.after.status in (Status.SUSPECT, Status.FAILED)] or held
    worst = max((b.after.status for b in grave if b.after is not None), default=None)
    return next((b.at for b in grave if b.after is not None and b.after.status is worst), recording.end)


def why(recording: Recording, node: str, subject: str, at: float) -> Answer:
    """Why ``node`` believed what it did of ``subject`` at ``at`` (seconds). Raises `ScenarioError`."""
    check_names(recording.scenario, node, subject)
    if not 0 <= at <= recording.outcome.seconds:
        raise ScenarioError(f"{at:g} s is not in the run: it lasts from 0 to {recording.outcome.seconds:.3f} s")
    moment = ns(at)
    walk = _Walk(recording, subject)
    belief = recording.believes(node, subject, moment)
    if belief is not None:
        walk.back(belief)
    steps = sorted(walk.steps, key=lambda step: step.at)
    return Answer(node, subject, moment, belief, _truth(recording, subject, moment), tuple(steps))


def _truth(recording: Recording, subject: str, at: int) -> str:
    seconds = at / SECOND
    holding = [band.name for band in bands_of(recording) if band.begins <= seconds < band.ends]
    state = state_of(recording, subject, at) or f"{subject} runs"
    return f"{state}; {'faults that hold: ' + ', '.join(holding) if holding else 'no fault holds'}"


@attrs.define
class _Walk:
    """The way back from a belief to where it began."""

    recording: Recording
    subject: str
    steps: list[Step] = attrs.field(factory=list)
    names: dict[int, str] = attrs.field(init=False)  # life id -> name

    def __attrs_post_init__(self) -> None:
        self.names = {b.after.run_id: b.after.name for b in self.recording.beliefs if b.after is not None}

    def back(self, belief: Belief) -> None:
        """Explain ``belief``, then what it rests on, and so on."""
        next_one: Belief | None = belief
        for _ in range(_HOPS_MAX):
            if next_one is None:
                return
            next_one = self._one(next_one)

    def _one(self, belief: Belief) -> Belief | None:
        """Explain one belief; the one that it rests on, or None where the story begins."""
        update, observer = belief.after, belief.observer
        if update is None:
            self._tell(belief, f"forgets {self.subject}: it was long gone")
            return None
        if observer == self.subject:
            return self._own_word(belief, update)
        is_own = update.accuser != 0 and update.accuser == self._life(observer, belief.at)
        if is_own and update.status is Status.SUSPECT:
            self._accuse(belief)
            return None
        if is_own and update.status is Status.FAILED:
            return self._verdict(belief, update)
        return self._hearsay(belief, update)

    def _tell(self, belief: Belief, text: str, to: str = "") -> None:
        self.steps.append(Step(belief.at, belief.observer, to, text))

    def _life(self, node: str, at: int) -> int:
        own = self.recording.believes(node, node, at)
        return 0 if own is None or own.after is None else own.after.run_id

    def _own_word(self, belief: Belief, update: MemberUpdate) -> Belief | None:
        """What the subject says of itself."""
        before = belief.before
        if before is None or before.generation != update.generation:
            self._tell(belief, f"says that it is {update.status} (a life of its own, generation {update.generation})")
            return None
        accused = self._teller(belief, lambda said: said.name == self.subject and said.supersedes(before))
        by = "" if accused is None else f", having heard from {accused.sender} that it is accused"
        self._tell(belief, f"says that it is {update.status}, incarnation {update.incarnation}{by}")
        return None

    def _accuse(self, belief: Belief) -> None:
        probe = Probe(self.recording, belief.observer, self.subject, belief.at).steps()
        self.steps += probe
        self._tell(belief, f"has no answer to its probe: suspects {self.subject}")

    def _verdict(self, belief: Belief, update: MemberUpdate) -> Belief | None:
        suspected = [
            b
            for b in self.recording.believed_by[belief.observer]
            if b.subject == self.subject and b.at <= belief.at and b.after is not None
            if b.after.status is Status.SUSPECT and b.after.is_same_run(update)
        ]
        waited = f" in {(belief.at - suspected[-1].at) / SECOND:.3f} s" if suspected else ""
        self._tell(belief, f"has heard no refutation{waited}: its verdict is that {self.subject} failed")
        return suspected[-1] if suspected else None

    def _hearsay(self, belief: Belief, update: MemberUpdate) -> Belief | None:
        told = self._teller(belief, lambda said: said == update)
        softened = False
        if told is None and update.status is Status.SUSPECT:
            grave = attrs.evolve(update, status=Status.FAILED)
            told = self._teller(belief, lambda said: said == grave)
            softened = told is not None
        if told is None:
            self._tell(
                belief, f"hears that {self.subject} is {update.status}, in a packet that no member sent just then"
            )
            return None
        self._tell(belief, self._heard(belief, update, told, softened=softened), told.sender)
        wanted = Status.FAILED if softened else update.status
        held = [
            b
            for b in self.recording.believed_by[told.sender]
            if b.subject == self.subject and b.at <= told.sent and b.after is not None
            if b.after.status is wanted and b.after.rank[:2] == update.rank[:2]
        ]
        return held[-1] if held else None

    def _heard(self, belief: Belief, update: MemberUpdate, told: PacketTrace, *, softened: bool) -> str:
        freight = content_of(told, messages_of(told.data)).name.lower().replace("_", "-")
        arrived = max(arrival for arrival in told.arrivals if arrival <= belief.at)
        waited = f", read {(belief.at - arrived) / SECOND:.3f} s late" if belief.at - arrived > ns(0.001) else ""
        accuser = self.names.get(update.accuser, "")
        by = f", accused by {accuser}" if accuser and update.status is Status.SUSPECT and not softened else ""
        by = f", by the verdict of {accuser}" if accuser and update.status is Status.FAILED else by
        said = f"hears that {self.subject} is {Status.FAILED if softened else update.status}{by}"
        if softened:
            said += "; after a split that is only a suspicion"
        return f"{said} ({freight} sent at {told.sent / SECOND:.3f} s{waited})"

    def _teller(self, belief: Belief, is_it: Any) -> PacketTrace | None:
        """The packet that carried an update of this kind: the last to arrive before the belief."""
        life = self.recording.life(belief.observer, belief.at)
        since = 0 if life is None else life.born
        found: PacketTrace | None = None
        latest = -1
        for passage in self.recording.passages:
            if passage.sent > belief.at:
                break
            if passage.receiver != belief.observer or not passage.arrivals:
                continue
            arrived = max((at for at in passage.arrivals if since <= at <= belief.at), default=-1)
            if arrived >= latest and any(isinstance(m, MemberUpdate) and is_it(m) for m in messages_of(passage.data)):
                found, latest = passage, arrived
        return found if latest >= 0 else None


def as_lines(answer: Answer) -> Iterator[str]:
    """The answer as a page."""
    at = answer.at / SECOND
    if answer.belief is None or answer.belief.after is None:
        yield f"at {at:.3f} s {answer.node} knows nothing of {answer.subject}"
    else:
        since = answer.belief.at / SECOND
        yield f"at {at:.3f} s {answer.node} believes that {answer.subject} is {answer.believed}, since {since:.3f} s"
    yield f"the truth: {answer.truth}"
    if answer.root is not None:
        yield f"it began with: {_sentence(answer.root)}"
    if answer.steps:
        yield ""
    wide = max((len(_who(step)) for step in answer.steps), default=0)
    long = max((len(step.text) for step in answer.steps if step.trouble), default=0)
    for step in answer.steps:
        trouble = f"  {step.trouble}" if step.trouble else ""
        text = step.text.ljust(long) if trouble else step.text
        yield f"{step.at / SECOND:>9.3f}  {_who(step):<{wide}}  {text}{trouble}"


def _who(step: Step) -> str:
    if not step.to:
        return step.node
    arrow = "<-" if step.text.startswith("hears") else "->"
    return f"{step.node} {arrow} {step.to}"


def _sentence(step: Step) -> str:
    return f"{_who(step)} at {step.at / SECOND:.3f} s, {step.text}: {step.trouble}"


def as_document(answer: Answer) -> dict[str, Any]:
    """The answer as a JSON document; moments are in seconds."""
    return {
        "node": answer.node,
        "subject": answer.subject,
        "at": answer.at / SECOND,
        "believes": answer.believed,
        "since": None if answer.belief is None else answer.belief.at / SECOND,
        "truth": answer.truth,
        "began_with": None if answer.root is None else _step(answer.root),
        "steps": [_step(step) for step in answer.steps],
    }


def _step(step: Step) -> dict[str, Any]:
    return {
        "at": step.at / SECOND,
        "node": step.node,
        "peer": step.to or None,
        "text": step.text,
        "trouble": step.trouble or None,
    }
