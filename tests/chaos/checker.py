"""Checker: compares the agents' answers with the history. Pure: records in, violations out.

Some invariants are checked all the time (`Checker.feed`), the others when the client is idle and every fault is healed
(`Checker.check`): these must become true within a bound, and the run repeats the check until they do.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import attrs

from tests.chaos.expected import Instance, Policy
from tests.chaos.history import (
    Agreed,
    Begun,
    Done,
    Ended,
    FaultChanged,
    Leaving,
    Listing,
    Record,
    Row,
    SelfReport,
    Started,
    TracebackWritten,
    UnexpectedExit,
    View,
    Wiped,
)
from tests.chaos.invariants import DEFAULT, Violation
from tests.chaos.plan import ROLES, SPLIT, Operation

#: Time for which a cut off host may report that it is not isolated (seconds of progress): twice the guarantee.
_ISOLATED_WITHIN: Final = 10.0

#: Instances whose owner restarted this shortly before a removal may appear once more while the removal spreads.
_SHUFFLED: Final = 30.0


def port_of(op: int) -> int:
    """Return the port of registration ``op``; it identifies the registration in answers."""
    return 1024 + op % 60_000


@attrs.define(eq=False)
class Checker:
    """The model of one run."""

    invariants: frozenset[str] = DEFAULT
    _operations: dict[int, Operation] = attrs.field(factory=dict)
    _terms: dict[int, int] = attrs.field(factory=dict)  # of acknowledged claims, by operation
    _instances: defaultdict[tuple[str, str], Instance] = attrs.field(factory=lambda: defaultdict(Instance))
    _policies: defaultdict[str, Policy] = attrs.field(factory=lambda: defaultdict(Policy))
    _draining: defaultdict[str, set[bool]] = attrs.field(factory=lambda: defaultdict(lambda: {False}))
    _alive: set[str] = attrs.field(factory=set)
    _leaving: set[str] = attrs.field(factory=set)
    _started: dict[str, float] = attrs.field(factory=dict)
    _skewed: bool = False
    _affected: set[str] = attrs.field(factory=set)  # since the last check; "" means all
    _may_have_lost_state: set[str] = attrs.field(factory=set)  # since the last check: disk full, or clock wrong
    _cut_off: dict[str, float] = attrs.field(factory=dict)  # host -> since when
    _shown: dict[tuple[str, str, str], int] = attrs.field(factory=dict)  # observer, owner, id -> latest acknowledged
    _gone: dict[tuple[str, str, str], int] = attrs.field(factory=dict)  # ... -> registrations before it are removed
    _removals: dict[tuple[str, str], tuple[int, float]] = attrs.field(factory=dict)  # number, time of the answer
    _acknowledged: set[int] = attrs.field(factory=set)
    _indexes: dict[tuple[str, str], int] = attrs.field(factory=dict)  # observer, service -> the last one shown
    _claimed: dict[int, int] = attrs.field(factory=dict)  # claim in progress -> highest term shown before
    _primaries: dict[tuple[str, str], int] = attrs.field(factory=dict)  # observer, service -> highest term shown

    def feed(self, record: Record) -> list[Violation]:
        """Process the next record in time order, and return the invariants that it violates."""
        match record:
            case Listing():
                return self._selected(
                    [*self._seen_rows(record), *self._seen_primaries(record), *self._seen_index(record)]
                )
            case SelfReport():
                return self._selected(self._felt(record))
            case UnexpectedExit():
                return self._selected([Violation("runs", f"{record.host} {record.how}")])
            case TracebackWritten():
                return self._selected([Violation("tracebacks", f"{record.host} wrote {record.line}")])
            case Done():
                found = list(self._next_term(record))
                self._done(record)
                return self._selected(found)
        self._note(record)
        return []

    def _note(self, record: Record) -> None:
        match record:
            case Begun(operation=operation):
                self._begun(operation)
            case Started(host=host, at=at):
                self._alive.add(host)
                self._started[host] = at
            case Leaving(host=host):
                self._leaving.add(host)
            case Ended(host=host, at=at):
                self._ended(host, at)
            case Wiped(host=host):
                self._wiped(host)
            case FaultChanged():
                self._fault_changed(record)
            case Agreed():
                self._settled(record)

    def check(self, views: Sequence[View]) -> list[Violation]:
        """Return the violations in these views, one for each running agent, while no operation is in progress."""
        found: list[Violation] = []
        for view in views:
            found += self._check_instances(view)
            found += self._check_members(view)
            found += self._check_policies(view)
            found += _check_primaries(view.host, view.rows)
        found += _check_agreement(views)
        return self._selected(found)

    def _selected(self, found: Iterable[Violation]) -> list[Violation]:
        return [each for each in found if each.invariant in self.invariants]

    def _next_term(self, done: Done) -> Iterable[Violation]:
        """A claim that requested the next term must get one above all that its agent had shown before."""
        highest = self._claimed.pop(done.operation.number, 0)
        if done.outcome == "ok" and done.operation.role and done.term <= highest:
            host = _name(done.operation.host)
            yield Violation("terms", f"{host} gave {done.operation.id} the term {done.term}, after {highest} was shown")

    # Events

    def _begun(self, operation: Operation) -> None:
        self._operations[operation.number] = operation
        host = _name(operation.host)
        if operation.id:
            self._instances[host, operation.id].busy += 1
        if operation.role:
            self._claimed[operation.number] = self._primaries.get((host, operation.service), 0)

    def _done(self, done: Done) -> None:
        operation = done.operation
        host = _name(operation.host)
        if operation.id:
            self._instances[host, operation.id].done(done)
        elif operation.key:
            self._policies[operation.key].done(done)
        elif operation.kind == "drain" and done.outcome != "refused":
            sure = done.outcome == "ok"
            self._draining[host] = {operation.on} if sure else {*self._draining[host], operation.on}
        if done.outcome == "ok":
            self._acknowledged.add(operation.number)
            if done.term:
                self._terms[operation.number] = done.term
            if operation.kind == "deregister" and done.at - self._started.get(host, -math.inf) > _SHUFFLED:
                self._removals[host, operation.id] = (operation.number, done.at)

    def _ended(self, host: str, at: float) -> None:
        self._alive.discard(host)
        self._leaving.discard(host)
        for (owner, _), instance in self._instances.items():
            if owner == host:
                instance.ended(at, kept=host not in self._may_have_lost_state)
        for policy in self._policies.values():
            policy.ended(_number(host), at)
        for remembered in (self._shown, self._gone):
            for key in [key for key in remembered if key[0] == host]:
                del remembered[key]

    def _wiped(self, host: str) -> None:
        self._draining.pop(host, None)
        for (owner, _), instance in self._instances.items():
            if owner == host:
                instance.wiped()
        for policy in self._policies.values():
            policy.wiped(_number(host))
        for remembered in (
            self._primaries,
            self._indexes if self._skewed else {},
        ):  # an index comes from the clock or the disk
            for key in [key for key in remembered if key[0] == host]:
                del remembered[key]

    def _fault_changed(self, change: FaultChanged) -> None:
        self._skewed = self._skewed or change.skewed
        self._affected.update(change.hosts or ("",))
        if change.skewed or change.full:
            self._may_have_lost_state.update(change.hosts)
        for host in change.cut_off:
            if change.on:
                self._cut_off[host] = change.at
            else:
                self._cut_off.pop(host, None)

    def _settled(self, record: Agreed) -> None:
        self._affected.clear()
        self._may_have_lost_state.clear()
        rows = {(row.owner, row.id): row for row in record.views[0].rows} if record.views else {}
        for key, instance in self._instances.items():
            row = rows.get(key)
            instance.settled(None if row is None else row.op, {view_row.health for view_row in (row,) if view_row})
        for name, policy in self._policies.items():
            policy.settled(record.views[0].policies.get(name) if record.views else None, record.at)

    # Checks at any time

    def _seen_rows(self, seen: Listing) -> Iterable[Violation]:
        shown = {(row.owner, row.id): row for row in seen.rows}
        for row in seen.rows:
            yield from self._never_registered(seen.host, row)
            key = (seen.host, row.owner, row.id)
            if row.op in self._acknowledged and row.op < self._shown.get(key, 0):
                was = self._shown[key]
                yield Violation("forward", f"{seen.host} shows {row.id} of {row.owner} by {row.op}, after {was}")
            if row.op in self._acknowledged and row.op < self._gone.get(key, 0):
                by = self._gone[key]
                yield Violation(
                    "removed", f"{seen.host} shows {row.id} of {row.owner} by {row.op} again; {by} removed it"
                )
            if row.op in self._acknowledged:
                self._shown[key] = max(row.op, self._shown.get(key, 0))
        for (owner, id_), (number, at) in self._removals.items():
            key = (seen.host, owner, id_)
            # A host that has not shown it since its start may not know the removal yet.
            is_gone = (owner, id_) not in shown and key in self._shown
            if is_gone and seen.begin > at and self._service(number) == seen.service:
                self._gone[key] = number
        yield from self._own_rows(seen, shown)

    def _service(self, number: int) -> str:
        return self._operations[number].service

    def _never_registered(self, host: str, row: Row) -> Iterable[Violation]:
        operation = self._operations.get(row.op)
        if (
            operation is None
            or operation.kind != "register"
            or (_name(operation.host), operation.id, operation.service) != (row.owner, row.id, row.service)
            or row.port != port_of(row.op)
        ):
            yield Violation("known", f"{host} shows {row}, which was never registered")

    def _own_rows(self, seen: Listing, shown: Mapping[tuple[str, str], Row]) -> Iterable[Violation]:
        for (owner, id_), instance in self._instances.items():
            if owner != seen.host or owner in self._leaving or instance.busy or instance.changed >= seen.begin:
                continue
            row = shown.get((owner, id_))
            ops = {state.op for state in instance.states}
            services = {self._service(op) for op in ops if op is not None}
            if services <= {seen.service} and (services or row) and (row.op if row else None) not in ops:
                yield Violation("own", f"{owner} shows {_op(row)} for its own {id_}, expected {_ops(ops)}")

    def _seen_primaries(self, seen: Listing) -> Iterable[Violation]:
        yield from _check_primaries(seen.host, seen.rows)
        for row in seen.rows:
            if row.role == "primary":
                key = (seen.host, row.service)
                highest = self._primaries.get(key, 0)
                if row.term < highest:
                    yield Violation(
                        "terms", f"{seen.host} shows {row.id} as primary of term {row.term}, after {highest}"
                    )
                self._primaries[key] = max(highest, row.term)

    def _seen_index(self, seen: Listing) -> Iterable[Violation]:
        key = (seen.host, seen.service)
        was = self._indexes.get(key, 0)
        if seen.index < was:
            yield Violation("index", f"{seen.host} gives {seen.service} the index {seen.index}, after {was}")
        self._indexes[key] = seen.index

    def _felt(self, felt: SelfReport) -> list[Violation]:
        if not self._affected & {"", felt.host}:
            failed = {name for name, status in felt.members.items() if status == "failed"} - self._affected
            if failed:
                return [Violation("stays", f"{felt.host} calls {sorted(failed)} failed, and nothing befell either")]
        since = self._cut_off.get(felt.host, math.inf)
        begun = max(since, self._started.get(felt.host, -math.inf))
        if felt.begin - begun > _ISOLATED_WITHIN and not felt.isolated:
            return [
                Violation("isolated", f"{felt.host} hears nothing for {felt.begin - begun:.1f} s, and does not say so")
            ]
        return []

    # What is judged when all is healed

    def _check_instances(self, view: View) -> Iterable[Violation]:
        rows = {(row.owner, row.id): row for row in view.rows}
        for key, instance in self._instances.items():
            row = rows.pop(key, None)
            ops = {state.op for state in instance.states}
            if (row.op if row else None) not in ops:
                what = "removed" if ops == {None} else "registered"
                yield Violation(what, f"{view.host} shows {_op(row)} for {key[1]}, expected {_ops(ops)}")
            elif row is not None:
                yield from self._check_row(view, instance, row)
        for row in rows.values():
            yield Violation("known", f"{view.host} shows {row}, which was never registered")

    def _check_row(self, view: View, instance: Instance, row: Row) -> Iterable[Violation]:
        yield from self._never_registered(view.host, row)
        operation = self._operations.get(row.op)
        if operation is None:
            return
        if (term := self._terms.get(row.op)) is not None and row.term != term:
            yield Violation("registered", f"{view.host} shows {row.id} with term {row.term}, acknowledged was {term}")
        taken_out = self._policies[f"maintenance:{row.service}:{row.id}"].possible(skewed=self._skewed)
        healths = set()
        for state in instance.states:
            if state.op == row.op:
                if None in taken_out:
                    healths.add("maintenance" if state.maintained else state.health)
                if taken_out - {None}:
                    healths.add("maintenance")
        if row.health not in healths:
            yield Violation(
                "healthy", f"{view.host} shows {row.id} {row.health}, expected {' or '.join(sorted(healths))}"
            )
        if ((row.owner, row.id) in view.offered) != (row.health in ("passing", "warning")):
            yield Violation("offered", f"{view.host} shows {row.id} {row.health}, and a plain lookup says otherwise")
        if row.service != SPLIT:
            yield from self._check_weight(view, operation, row)

    def _check_weight(self, view: View, operation: Operation, row: Row) -> Iterable[Violation]:
        said = self._policies[f"weight:{row.service}:{row.id}"].possible(skewed=self._skewed)
        weights = {operation.weight if op is None else weight_of(op) for op in said}
        draining = self._draining[row.owner]
        expected = {0 if drains else weight for drains in draining for weight in weights}
        if row.weight not in expected:
            yield Violation("weights", f"{view.host} shows {row.id} with {row.weight}, expected {sorted(expected)}")

    def _check_members(self, view: View) -> Iterable[Violation]:
        alive = {name for name, status in view.members.items() if status == "alive"}
        if alive != self._alive:
            odd = {name: view.members.get(name, "unknown") for name in sorted(alive ^ self._alive)}
            yield Violation("members", f"{view.host} shows {odd}, while {sorted(self._alive)} run")

    def _check_policies(self, view: View) -> Iterable[Violation]:
        for key in {*self._policies, *view.policies}:
            shown = view.policies.get(key)
            possible = self._policies[key].possible(skewed=self._skewed)
            if shown not in possible:
                yield Violation("policies", f"{view.host} has {key} by {shown}, expected {_ops(possible)}")


def weight_of(op: int) -> int:
    """The weight that the policy of that operation gives: it tells which one it was."""
    return 1000 + op % 60_000


def _check_primaries(host: str, rows: Iterable[Row]) -> Iterable[Violation]:
    claims = [row for row in rows if row.service == ROLES]
    primaries = [row for row in claims if row.role == "primary"]
    if len(primaries) > 1:
        yield Violation("primary", f"{host} shows {len(primaries)} primaries: {sorted(row.id for row in primaries)}")
    highest = max((row.term for row in claims), default=0)
    for row in primaries:
        if row.term < highest:
            yield Violation("primary", f"{host} shows {row.id} as primary of term {row.term}, and a term {highest}")


def _check_agreement(views: Sequence[View]) -> Iterable[Violation]:
    prints = {view.host: view.fingerprint for view in views}
    if len(set(prints.values())) > 1:
        yield Violation("fingerprints", f"{prints}")
    for view in views[1:]:
        if view.policies != views[0].policies:
            odd = dict(set(view.policies.items()) ^ set(views[0].policies.items()))
            yield Violation("policies", f"{view.host} and {views[0].host} differ in {odd}")
        if sorted(map(str, view.rows)) != sorted(map(str, views[0].rows)):
            odd_rows = sorted(map(str, set(view.rows) ^ set(views[0].rows)))
            yield Violation("registered", f"{view.host} and {views[0].host} differ in {'; '.join(odd_rows[:4])}")


def _name(number: int) -> str:
    return f"n{number + 1}"


def _number(name: str) -> int:
    return int(name[1:]) - 1


def _op(row: Row | None) -> str:
    return "nothing" if row is None else f"registration {row.op}"


def _ops(ops: Iterable[int | None]) -> str:
    return " or ".join("nothing" if op is None else f"operation {op}" for op in sorted(ops, key=lambda op: op or 0))
