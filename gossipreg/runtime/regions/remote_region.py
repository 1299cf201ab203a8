"""Remote region: what a node holds of another region: the services that are asked for, and how old that is.

It does no input or output; `follower` keeps it up to date. Rules:

- A service is followed from the first time it is asked for until nothing has asked for `INTEREST_SECONDS`.
- Its age counts from the last moment at which an agent of the region is known to have confirmed it: the earliest at
  which the agent can have made its answer. So no age is understated.
- What is not confirmed for `STALE_SECONDS` stays, marked as stale. Nothing is removed because it cannot be reached.
- That a service does not exist is said only while the region's directory is fresh and does not list it.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Mapping
from typing import Final

import attrs

from gossipreg import limits
from gossipreg.counters import Count
from gossipreg.errors import RegionUnavailable
from gossipreg.federation import Federation
from gossipreg.model import Instance
from gossipreg.regional import RegionalDirectory, RegionalService, RegionInfo
from gossipreg.runtime.change_log import ChangeLog, Entry
from gossipreg.runtime.regions.remote_answer import RemoteAnswer, RemoteService, UnusableAnswer
from gossipreg.values import frozen

#: How long a service is followed after it was last asked for (seconds).
INTEREST_SECONDS: Final = 600.0

#: Age at which what is held counts as stale (seconds): two requests that went unanswered.
STALE_SECONDS: Final = 10.0

#: How long an agent holds a request about which there is no news (seconds): the greatest age of what is fresh.
WAIT_SECONDS: Final = 4.0

#: How recently a service must have been asked for not to give way to another one when there is no room (seconds).
_BUSY_SECONDS: Final = 60.0

#: What the directory is called in the change log: no service has this name.
_DIRECTORY: Final[Entry] = ("service", "")


@attrs.define(eq=False, repr=False)
class _Followed:
    """One service that is followed."""

    asked: float  # when it was last asked for
    far_index: int = 0  # as the agent that answered last gave it; 0: it has not told the service yet
    index: int = 0
    told: RemoteService | None = None
    healthy: tuple[Instance, ...] = ()
    instances: tuple[Instance, ...] = ()
    confirmed: float | None = None  # the last moment at which this is known to have been so
    is_stale: bool = False
    problem: str = ""


@frozen
class RemoteRequest:
    """What an agent is asked next: the index of each service that is followed, and the directory's digest.

    The first services are told first, if not all have room in an answer.
    """

    services: Mapping[str, int]
    directory: str
    wait: float  # seconds
    run: str = ""  # of the agent that gave the indexes; another one takes them for 0


@attrs.define(eq=False, repr=False)
class RemoteRegion:
    """What is known of one region. ``index`` is the first number that it gives as an index."""

    federation: Federation
    counters: Counter[str]
    _index: int
    change_log: ChangeLog = attrs.field(init=False, factory=ChangeLog)
    agent: str | None = attrs.field(init=False, default=None)  # that is asked
    connected: bool = attrs.field(init=False, default=False)
    problem: str = attrs.field(init=False, default="no agent there has been asked yet")
    is_down: bool = attrs.field(init=False, default=False)  # all agents have failed since one answered
    round_trip: float | None = attrs.field(init=False, default=None)
    _followed: dict[str, _Followed] = attrs.field(init=False, factory=dict)
    _far_run: str = attrs.field(init=False, default="")  # of the agent that answered last
    _instances: int = attrs.field(init=False, default=0)  # that are held
    _chars: int = attrs.field(init=False, default=0)  # of their tags, meta and reasons
    _digest: str = attrs.field(init=False, default="")
    _names: Mapping[str, tuple[str, ...]] = attrs.field(init=False, factory=dict)
    _has_all_names: bool = attrs.field(init=False, default=True)
    directory_index: int = attrs.field(init=False)
    _confirmed: float | None = attrs.field(init=False, default=None)  # of the directory
    _is_stale: bool = attrs.field(init=False, default=False)

    def __attrs_post_init__(self) -> None:
        self.directory_index = self._index

    @property
    def name(self) -> str:
        """The region's name."""
        return self.federation.region

    # What is asked of it: from any thread

    def service(self, name: str, now: float) -> RegionalService:
        """What is held of a service. Raises ``RegionUnavailable`` if that is nothing, not even that there is none."""
        found = self._followed.get(name)
        if found is not None:
            found.asked = max(found.asked, now)
            if found.confirmed is not None:
                return self._shown(name, found, now)
            if found.problem:
                raise RegionUnavailable(found.problem)
        if not self.federation.includes(name):
            return self._none(name, 0.0)
        if self._lacks(name, now):
            return self._none(name, self._age(now) or 0.0)
        why = f": {self.problem}" if self.problem else ", and no agent there has told it yet"
        raise RegionUnavailable(f"nothing is known of {name} in the region {self.name!r}{why}")

    def index(self, name: str) -> int:
        """A number that grows whenever `service` may answer differently in anything but the age."""
        found = self._followed.get(name)
        return self.directory_index if found is None else max(found.index, 1)

    def directory(self, now: float) -> RegionalDirectory:
        """The services of the region that exist here. Raises ``RegionUnavailable``."""
        age = self._age(now)
        if age is None:
            raise RegionUnavailable(f"nothing is known of the region {self.name!r}: {self.problem}")
        return RegionalDirectory(
            region=self.name,
            index=self.directory_index,
            services=self._names,
            age=age,
            stale=self._is_stale or age > STALE_SECONDS,
        )

    def is_wanted(self, name: str, now: float) -> bool:
        """Whether a service that is asked for is to be followed and is not yet."""
        return name not in self._followed and self.federation.includes(name) and not self._lacks(name, now)

    def info(self, now: float) -> RegionInfo:
        """How well the region can be reached, and how much is held of it."""
        age = self._age(now)
        return RegionInfo(
            name=self.name,
            agent=self.agent,
            agents=tuple(map(str, self.federation.places)),
            connected=self.connected,
            age=age,
            stale=age is None or age > STALE_SECONDS,
            round_trip=self.round_trip,
            services=len(self._names),
            followed=len(self._followed),
            instances=self._instances,
            problem="" if self.connected else self.problem,
        )

    def _lacks(self, name: str, now: float) -> bool:
        """Whether the region's directory is fresh and does not list the service."""
        age = self._age(now)
        return age is not None and age <= STALE_SECONDS and self._has_all_names and name not in self._names

    def _age(self, now: float) -> float | None:
        return None if self._confirmed is None else max(0.0, now - self._confirmed)

    def _none(self, name: str, age: float) -> RegionalService:
        return RegionalService(
            service=name,
            region=self.name,
            index=self.directory_index,
            instances=(),
            healthy=(),
            age=age,
            stale=False,
        )

    def _shown(self, name: str, found: _Followed, now: float) -> RegionalService:
        assert found.confirmed is not None
        age = max(0.0, now - found.confirmed)
        return RegionalService(
            service=name,
            region=self.name,
            index=found.index,
            instances=found.instances,
            healthy=found.healthy,
            members={} if found.told is None else found.told.members,
            age=age,
            stale=found.is_stale,
        )

    # What the follower does

    def follow(self, name: str, now: float) -> bool:
        """Begin to follow a service that is wanted; returns whether it is followed. It is not if there is no room."""
        if not self.is_wanted(name, now):
            return name in self._followed
        if len(self._followed) >= limits.REGION_SERVICES_MAX and not self._make_room(now):
            self.counters[Count.REGION_SERVICES_REFUSED] += 1
            return False
        self._followed[name] = _Followed(now, index=self._next_index())
        return True

    def _make_room(self, now: float) -> bool:
        """Give up the service asked for longest ago, one without instances first; whether one could be given up."""
        name = min(self._followed, key=lambda each: (bool(self._followed[each].instances), self._followed[each].asked))
        if self._followed[name].instances and self._followed[name].asked > now - _BUSY_SECONDS:
            return False
        self._give_up(name)
        return True

    def _give_up(self, name: str) -> None:
        self._hold(self._followed.pop(name), None)
        self.directory_index = self._next_index()  # which is now the service's, and must not fall
        self.change_log.write([("service", name)])

    def drop_unwanted(self, now: float) -> None:
        """Follow no longer what nothing has asked for lately."""
        for name in [each for each, found in self._followed.items() if found.asked < now - INTEREST_SECONDS]:
            self._give_up(name)

    def request(self) -> RemoteRequest:
        """What is to be asked next. What was not confirmed for longest comes first: an answer may have no more room."""

        def confirmed(name: str) -> tuple[float, str]:
            moment = self._followed[name].confirmed
            return -math.inf if moment is None else moment, name

        services = {name: self._followed[name].far_index for name in sorted(self._followed, key=confirmed)}
        wait = WAIT_SECONDS if self._digest and all(services.values()) else 0.0
        return RemoteRequest(services, self._digest, wait, self._far_run)

    def apply(self, answer: RemoteAnswer, request: RemoteRequest, sent: float, received: float) -> None:
        """Take up an answer to ``request``, which was ``sent`` and ``received`` at these moments (seconds).

        Raises `UnusableAnswer`, and has changed nothing, if it does not answer the request.
        """
        self._check(answer, request)
        took = received - sent
        moment = sent + min(answer.waited, took) - answer.age
        trip = max(0.0, took - answer.waited)
        self.round_trip = trip if self.round_trip is None else self.round_trip + (trip - self.round_trip) / 8
        self.connected, self.is_down, self.problem = True, False, ""
        if answer.run != self._far_run:
            self._far_run = answer.run
            for each in self._followed.values():
                each.far_index = 0
        changed: list[Entry] = []
        for name in request.services:
            found = self._followed.get(name)
            if found is None or name in answer.left_off:
                continue
            if self._take(name, found, answer.services.get(name), moment, received):
                changed.append(("service", name))
        if self._take_directory(answer, moment, received):
            changed.append(_DIRECTORY)
        self.change_log.write(changed)

    def _check(self, answer: RemoteAnswer, request: RemoteRequest) -> None:
        is_other = answer.run != request.run  # one that did not give the indexes
        untold = [
            name
            for name, index in request.services.items()
            if (is_other or not index) and name not in answer.services and name not in answer.left_off
        ]
        if untold or (answer.directory is None and not request.directory):
            raise UnusableAnswer(f"it does not tell {untold[0] if untold else 'the directory'}, which it was asked for")
        if request.services and not request.services.keys() - answer.left_off:
            raise UnusableAnswer("it leaves off all that it was asked for")

    def _take(self, name: str, found: _Followed, told: RemoteService | None, moment: float, now: float) -> bool:
        """Take up what is told of one service, or that nothing has changed; returns whether it answers differently."""
        was_known, was_stale = found.confirmed is not None, found.is_stale
        content = False
        if told is not None:
            found.far_index = told.index
            problem = self._beyond_limits(name, found, told)
            if problem:
                self.counters[Count.REGION_ANSWERS_OVER_LIMIT] += 1
                self._hold(found, None)
                found.healthy, found.instances, found.confirmed = (), (), None
                found.problem = problem
                found.index = self._next_index()
                return True
            found.problem = ""
            told = _reusing(told, found.told)
            content = told != found.told
            self._hold(found, told)
        elif found.problem:
            return False
        found.confirmed = moment if content or found.confirmed is None else max(found.confirmed, moment)
        found.is_stale = now - found.confirmed > STALE_SECONDS
        if not (content or found.is_stale != was_stale or not was_known):
            return False
        self._show(found)
        return True

    def _beyond_limits(self, name: str, found: _Followed, told: RemoteService) -> str:
        """Why ``told`` cannot be held in place of what is held of a service; empty: it can."""
        if told.beyond:
            return f"{name} in the region {self.name!r} has more than {told.beyond}: it is too large to be followed"
        have = f"the services followed in the region {self.name!r} have more than"
        if self._instances - _count(found.told) + _count(told) > limits.REGION_INSTANCES_MAX:
            return f"{have} {limits.REGION_INSTANCES_MAX} instances"
        if self._chars - _size(found.told) + told.size > limits.REGION_CHARS_MAX:
            return f"{have} {limits.REGION_CHARS_MAX} characters of tags and meta"
        return ""

    def _hold(self, found: _Followed, told: RemoteService | None) -> None:
        """Hold ``told`` in place of what is held of a service."""
        self._instances += _count(told) - _count(found.told)
        self._chars += _size(told) - _size(found.told)
        found.told = told

    def _show(self, found: _Followed) -> None:
        """Make what lookups return of a service that has changed, or has become stale or fresh."""
        assert found.told is not None
        healthy, others = found.told.healthy, found.told.others
        if found.is_stale:
            healthy = tuple(attrs.evolve(each, stale=True) for each in healthy)
            others = tuple(attrs.evolve(each, stale=True) for each in others)
        found.healthy = healthy
        found.instances = tuple(sorted((*healthy, *others), key=lambda each: (each.id, each.owner)))
        found.index = self._next_index()

    def _take_directory(self, answer: RemoteAnswer, moment: float, now: float) -> bool:
        was_known, was_stale = self._confirmed is not None, self._is_stale
        told = answer.directory
        content = told is not None and told.digest != self._digest
        if told is not None and content:
            self._digest, self._has_all_names = told.digest, told.is_whole
            self._names = {name: tags for name, tags in told.services.items() if self.federation.includes(name)}
        self._confirmed = moment if self._confirmed is None or content else max(self._confirmed, moment)
        self._is_stale = now - self._confirmed > STALE_SECONDS
        if not (content or self._is_stale != was_stale or not was_known):
            return False
        self.directory_index = self._next_index()
        return True

    def fail(self, problem: str) -> None:
        """The agent that was asked does not answer, or not as it should. What is held stays, and ages."""
        self.connected, self.problem = False, problem

    def go_down(self) -> None:
        """All agents have failed since one answered: what waits for a first answer need not wait on."""
        if not self.is_down:
            self.is_down = True
            self.change_log.write([_DIRECTORY])

    def expire(self, now: float) -> None:
        """Mark what has not been confirmed for too long as stale."""
        changed: list[Entry] = []
        for name, found in self._followed.items():
            if found.confirmed is not None and not found.is_stale and now - found.confirmed > STALE_SECONDS:
                found.is_stale = True
                self._show(found)
                changed.append(("service", name))
        if self._confirmed is not None and not self._is_stale and now - self._confirmed > STALE_SECONDS:
            self._is_stale = True
            self.directory_index = self._next_index()
            changed.append(_DIRECTORY)
        if changed:
            self.change_log.write(changed)

    def _next_index(self) -> int:
        self._index += 1
        return self._index


def _count(told: RemoteService | None) -> int:
    return 0 if told is None else len(told.healthy) + len(told.others)


def _size(told: RemoteService | None) -> int:
    return 0 if told is None else told.size


def _reusing(told: RemoteService, before: RemoteService | None) -> RemoteService:
    """The same with the objects that were there before for what is equal: caches know instances by identity."""
    if before is None:
        return told
    kept = {(each.owner, each.id): each for each in (*before.healthy, *before.others)}
    same = attrs.evolve(told, healthy=_kept(told.healthy, kept), others=_kept(told.others, kept))
    return before if attrs.evolve(same, index=before.index) == before else same


def _kept(instances: Collection[Instance], kept: Mapping[tuple[str, str], Instance]) -> tuple[Instance, ...]:
    found = []
    for each in instances:
        before = kept.get((each.owner, each.id))
        found.append(before if before == each else each)
    return tuple(each for each in found if each is not None)
