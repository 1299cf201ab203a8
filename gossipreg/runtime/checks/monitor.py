"""Check monitor: runs the health checks of this node's instances, one task a check, so that none waits for another.

- A check is first run at once, then after a random part of its interval, then at every interval, each shortened by up
  to its jitter: so those that began together soon do not run together, and none waits for longer than its interval.
- A run that lasts longer than its interval skips what it missed. No check runs twice at a time, and missed runs are not
  made up for.
- Runs start at a bounded pace, and hold one of a bounded number of places while they last. There are two sets of
  places: a check that ran into its timeout takes those of the slow ones from then on, until it answers again.
- What fell due while this node was stopped does not count: a timeout that ended much too late is ignored, heartbeats
  are awaited for a whole ttl again, and no instance is deregistered before there was time for another result.
"""

from __future__ import annotations

import functools
import logging
import math
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence

import attrs
import trio

from gossipreg import limits
from gossipreg.check import Check, CheckKind, CheckReport
from gossipreg.errors import InvalidInstance
from gossipreg.model import Health
from gossipreg.protocol.registry.checks import CheckState, Finding, combined
from gossipreg.runtime.checks.probing import STOPPED_SECONDS
from gossipreg.runtime.checks.ttl_state import TtlState
from gossipreg.runtime.supervision import log_bug, run_restarting

log = logging.getLogger(__name__)

#: Runs a check of the instance of that id once; None when that says nothing about its target.
Probe = Callable[[str, Check], Awaitable[Finding | None]]


@attrs.define(eq=False, repr=False)
class RunningCheck:
    """One check of one instance, with its task."""

    instance: str  # its id
    state: CheckState
    beats_until: float  # a heartbeat is expected before (for a ttl)
    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    runs: int = 0
    ran: float | None = None  # when the last result came
    took: float | None = None
    output: str = ""
    slow: bool = False  # it ran into its timeout
    failed: bool = False  # a run ended by a bug, which was logged
    heartbeat: trio.CancelScope = attrs.field(factory=trio.CancelScope)  # ends when one is missed
    patience: trio.CancelScope = attrs.field(factory=trio.CancelScope)  # ends when it was critical for too long

    @property
    def check(self) -> Check:
        """What it does."""
        return self.state.check


@attrs.define(eq=False, repr=False)
class Monitor:
    """The checks of this node's own instances.

    ``changed(id)`` is called when the health of an instance may be another, ``flapped(id, name)`` when a check begins
    or ceases to flap, ``expired(id, name)`` when it has been critical for as long as its ``deregister_after``.
    """

    nursery: trio.Nursery
    probe: Probe
    changed: Callable[[str], None]
    flapped: Callable[[str, str], None]
    expired: Callable[[str, str], None]
    counters: Counter[str] = attrs.field(factory=Counter)
    rng: random.Random = attrs.field(factory=random.Random)
    _recalled: dict[str, Mapping[str, TtlState]] = attrs.field(init=False, factory=dict)  # from before a restart
    _unkept: dict[str, None] = attrs.field(init=False, factory=dict)  # instances whose ttl checks have changed
    _unkept_bell: trio.Event = attrs.field(init=False, factory=trio.Event)
    _running_checks: dict[str, dict[str, RunningCheck]] = attrs.field(init=False, factory=dict)  # by instance and check
    _count: int = attrs.field(init=False, default=0)
    _next_start: float = attrs.field(init=False, default=-math.inf)
    _quick: trio.CapacityLimiter = attrs.field(init=False, factory=lambda: trio.CapacityLimiter(limits.CHECK_RUNS_MAX))
    _slow: trio.CapacityLimiter = attrs.field(
        init=False, factory=lambda: trio.CapacityLimiter(limits.SLOW_CHECK_RUNS_MAX)
    )

    # What is checked

    def make_room(self, wanted: Mapping[str, Sequence[Check]]) -> None:
        """Raise ``InvalidInstance`` if there would be too many with the checks ``wanted``, by instance."""
        gone = sum(len(self._running_checks.get(instance, ())) for instance in wanted)
        count = self._count - gone + sum(map(len, wanted.values()))
        if count > max(self._count, limits.CHECKS_PER_NODE_MAX):
            raise InvalidInstance(
                "checks",
                f"this node would run {count}, {limits.CHECKS_PER_NODE_MAX} are allowed: "
                "deregister some, or register them at another node",
            )

    def put(self, instance: str, checks: Sequence[Check]) -> None:
        """Run exactly these checks for the instance from now on. One that it has already goes on unchanged."""
        before = self._running_checks.pop(instance, {})
        after = {check.name: self._keep(before.get(check.name), instance, check) for check in checks}
        for name, watched in before.items():
            if after.get(name) is not watched:
                watched.scope.cancel()
        if after:
            self._running_checks[instance] = after
        self._recalled.pop(instance, None)
        self._count += len(after) - len(before)

    def _keep(self, before: RunningCheck | None, instance: str, check: Check) -> RunningCheck:
        if before is not None and before.check == check:
            return before
        now = trio.current_time()
        stood = self._recall(instance, check)
        watched = (
            RunningCheck(instance, CheckState.begin(check, now), now + (check.ttl or 0))
            if stood is None
            else RunningCheck(instance, stood.state, stood.beats_until, output=stood.output)
        )
        if check.kind is CheckKind.TTL:
            self._note(instance)
        self.nursery.start_soon(self._live, watched)
        return watched

    def drop(self, instance: str) -> None:
        """Stop checking the instance."""
        self.put(instance, ())

    def close(self) -> None:
        """Stop all checks."""
        for instance in list(self._running_checks):
            self.drop(instance)

    # Results

    def standing(self, instance: str, checks: Sequence[Check], maintenance: str | None) -> tuple[Health, str]:
        """The health that an instance has, or will have once it is `put` with these checks; and why."""
        now = trio.current_time()
        running = self._running_checks.get(instance, {})
        states = [self._state(instance, running.get(check.name), check, now) for check in checks]
        return combined(states, maintenance)

    def _state(self, instance: str, running: RunningCheck | None, check: Check, now: float) -> CheckState:
        if running is not None and running.check == check:
            return running.state
        stood = self._recall(instance, check)
        return CheckState.begin(check, now) if stood is None else stood.state

    def reports(self, instance: str, service: str) -> Iterator[CheckReport]:
        """The state of the checks of an instance."""
        now = trio.current_time()
        for watched in self._running_checks.get(instance, {}).values():
            state = watched.state
            yield CheckReport(
                instance=instance,
                service=service,
                check=state.check,
                health=state.health,
                reason=state.reason,
                health_age=now - state.since,
                flapping=state.flapping,
                needed=state.needed,
                runs=watched.runs,
                run_age=None if watched.ran is None else now - watched.ran,
                took=watched.took,
                output=watched.output,
            )

    def state(self, instance: str, check: str) -> CheckState | None:
        """The state of one check."""
        watched = self._running_checks.get(instance, {}).get(check)
        return None if watched is None else watched.state

    def flapping(self) -> list[str]:
        """The checks that flap: the id of the instance, a space, the name of the check."""
        every = (watched for mine in self._running_checks.values() for watched in mine.values())
        return [f"{watched.instance} {watched.check.name}" for watched in every if watched.state.flapping]

    # Over a restart

    def recall(self, instance: str, states: Mapping[str, TtlState]) -> None:
        """Have ttl checks of an instance go on from their state before a restart, by name, once it is `put`."""
        self._recalled[instance] = states

    def forget_recalled(self, instance: str) -> None:
        """Drop what was recalled: that instance will not be `put`."""
        self._recalled.pop(instance, None)

    def _recall(self, instance: str, check: Check) -> TtlState | None:
        stood = self._recalled.get(instance, {}).get(check.name)
        return stood if stood is not None and stood.state.check == check else None

    def _note(self, instance: str) -> None:
        self._unkept[instance] = None
        self._unkept_bell.set()

    async def wait_unkept(self) -> None:
        """Return once `take_unkept` has something to return."""
        await self._unkept_bell.wait()

    def take_unkept(self) -> dict[str, list[TtlState]]:
        """The ttl checks of those instances of which one has changed since the last call, by the instance's id.

        A check has changed when a heartbeat came or was missed, too.
        """
        names, self._unkept, self._unkept_bell = self._unkept, {}, trio.Event()
        return {
            name: [
                TtlState(each.state, each.beats_until, each.output)
                for each in self._running_checks[name].values()
                if each.check.kind is CheckKind.TTL
            ]
            for name in names
            if name in self._running_checks
        }

    def not_kept(self, instances: Iterable[str]) -> None:
        """Return these again at the next call: they could not be stored."""
        for instance in instances:
            self._note(instance)

    # Heartbeats

    def beat(self, instance: str, name: str | None, finding: Finding) -> None:
        """Record a heartbeat, for the ttl check of that name or for all of the instance. Raises ``InvalidInstance``."""
        now = trio.current_time()
        for watched in self._meant(instance, name):
            assert watched.check.ttl is not None
            watched.beats_until = watched.heartbeat.deadline = now + watched.check.ttl
            self._hear(watched, finding, now)

    def _meant(self, instance: str, name: str | None) -> list[RunningCheck]:
        mine = self._running_checks.get(instance, {})
        meant = [each for each in mine.values() if name in (None, each.check.name)]
        ttls = [each for each in meant if each.check.kind is CheckKind.TTL]
        if name is not None and not meant:
            there = ", ".join(mine) or "none"
            raise InvalidInstance("check", f"{instance!r} has no check {name!r:.80}; it has {there}")
        if not ttls:
            said = f"{name!r} is run by the node" if name is not None else "no check of it is a ttl"
            raise InvalidInstance(
                "check", f"{instance!r} awaits no heartbeat, since {said}: register it with a ttl check"
            )
        return ttls

    # The tasks

    async def _live(self, watched: RunningCheck) -> None:
        what = f"check {watched.check.name} of {watched.instance}"
        with watched.scope:
            await run_restarting(self.counters, what, functools.partial(self._keep_watching, watched))

    async def _keep_watching(self, watched: RunningCheck) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._await_heartbeats if watched.check.kind is CheckKind.TTL else self._run, watched)
            if watched.check.deregister_after is not None:
                nursery.start_soon(self._await_end, watched)

    async def _run(self, watched: RunningCheck) -> None:
        check = watched.check
        begun, gap = trio.current_time(), 0.0
        while True:
            await trio.sleep_until(begun + gap)
            await self._take_turn()
            async with self._slow if watched.slow else self._quick:
                begun = trio.current_time()
                finding = await self._probed(watched)
                ended = trio.current_time()
            if finding is None:
                gap = 0.0
                continue
            watched.took = ended - begun
            watched.slow = watched.took >= check.timeout
            gap = check.interval * (1 - check.jitter * self.rng.random())
            if not watched.runs:
                gap *= self.rng.random()
            if begun + gap < ended:
                gap += check.interval * math.ceil((ended - begun - gap) / check.interval)
            self._hear(watched, finding, ended)

    async def _probed(self, watched: RunningCheck) -> Finding | None:
        """What a run finds. A bug fails the check: nothing is known about its target."""
        try:
            return await self.probe(watched.instance, watched.check)
        except Exception as error:  # noqa: BLE001 - it is logged
            if not watched.failed:  # it would occur at each run
                watched.failed = True
                log_bug(self.counters, f"a run of check {watched.check.name} of {watched.instance}", error)
            return Finding(Health.CRITICAL, f"it cannot be run: {error}"[: limits.REASON_CHARS_MAX])

    async def _take_turn(self) -> None:
        """Wait until a run may start."""
        turn = max(trio.current_time(), self._next_start)
        self._next_start = turn + 1 / limits.CHECK_STARTS_PER_SECOND
        await trio.sleep_until(turn)

    async def _await_heartbeats(self, watched: RunningCheck) -> None:
        ttl = watched.check.ttl
        assert ttl is not None
        while True:
            with trio.CancelScope(deadline=watched.beats_until) as watched.heartbeat:
                await trio.sleep_forever()
            now = trio.current_time()
            stopped = now - watched.beats_until > STOPPED_SECONDS
            watched.beats_until = now + ttl
            if not stopped:
                self._hear(watched, Finding(Health.CRITICAL, f"no heartbeat for {ttl:g} s"), now)

    async def _await_end(self, watched: RunningCheck) -> None:
        while True:
            expires = watched.state.expires
            with trio.CancelScope(deadline=math.inf if expires is None else expires) as watched.patience:
                await trio.sleep_forever()
            late = trio.current_time() - watched.patience.deadline
            if late > STOPPED_SECONDS:
                watched.state.excuse(late + (watched.check.ttl or watched.check.timeout))
                continue
            self.expired(watched.instance, watched.check.name)
            watched.state.excuse(watched.check.deregister_after or 0)  # if that fails, it is tried again

    def _hear(self, watched: RunningCheck, finding: Finding, now: float) -> None:
        state = watched.state
        if watched.check.kind is CheckKind.TTL:
            self._note(watched.instance)
        watched.runs += 1
        watched.ran = now
        watched.output = _cut(finding.text)
        before, flapping = state.health, state.flapping
        moved = state.record(attrs.evolve(finding, text=finding.text.partition("\n")[0]), now)
        if state.flapping is not flapping:
            self._tell_of_flapping(watched)
        if moved:
            watched.patience.deadline = math.inf if state.expires is None else state.expires
            level = logging.INFO if state.health.gravity < before.gravity else logging.WARNING
            why = f": {state.reason}" if state.reason else ""
            log.log(level, "check %s of %s is %s%s", watched.check.name, watched.instance, state.health, why)
            self.changed(watched.instance)

    def _tell_of_flapping(self, watched: RunningCheck) -> None:
        name, state = watched.check.name, watched.state
        if state.flapping:
            log.warning(
                "check %s of %s flaps: it recovers after %d successes in a row", name, watched.instance, state.needed
            )
        else:
            log.info("check %s of %s is steady again", name, watched.instance)
        self.flapped(watched.instance, name)


def _cut(text: str) -> str:
    """``text`` within the bytes that are kept of an output."""
    return text.encode(errors="replace")[: limits.CHECK_OUTPUT_BYTES_MAX].decode(errors="ignore")
