"""Follower: keeps what a node holds of one region up to date, at one of its agents, and at the next when that fails."""

from __future__ import annotations

import logging
import math
import random
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from typing import Final

import attrs
import trio

from gossipreg import limits
from gossipreg.counters import Count
from gossipreg.federation import AgentPlace
from gossipreg.runtime.regions.agent_connection import AgentConnection, AgentFailed, AgentLink, Connector
from gossipreg.runtime.regions.remote_answer import UnusableAnswer, read_answer
from gossipreg.runtime.regions.remote_region import RemoteRegion, RemoteRequest

log = logging.getLogger(__name__)

#: How long an agent may take to answer beyond the time that it is asked to wait (seconds). Time for a transfer at this
#: speed (bytes/s) is given besides, up to so much: over a long way with loss, a large service takes longer.
PATIENCE_SECONDS: Final = 5.0
SLOWEST_BYTES_PER_SECOND: Final = 65_536
TRANSFER_SECONDS_MAX: Final = 60.0

#: How long an agent is followed that hears no member of its cluster, before the others are tried again (seconds).
ISOLATED_SECONDS: Final = 30.0

#: Time between two lines in the log about the same agent (seconds).
LOG_SECONDS: Final = 60.0

#: How long nothing is asked after all agents have failed: at first, and at most (seconds). It doubles.
BACKOFF_SECONDS: Final = 0.5
BACKOFF_SECONDS_MAX: Final = 8.0

#: How long names that are asked for are gathered before a request that is held is given up for them (seconds).
_GATHER_SECONDS: Final = 0.02

#: Requests that may be made of a region's agents one right after the other, and the time in which one more may
#: (seconds). An answer counts once more for each `REGION_ANSWER_BYTES_SOFT`. An agent answers at most so often, but one
#: that answers at once for ever would keep the node busy.
BURST: Final = 64
PACE_SECONDS: Final = 0.25

#: Time between two looks at how old what is held has become (seconds).
_LOOK_SECONDS: Final = 0.5


@attrs.define(eq=False, repr=False)
class Follower:
    """Follows one region. ``clock`` is steady and counts the time in which the machine is suspended (seconds)."""

    region: RemoteRegion
    own: str  # the node's own region
    counters: Counter[str]
    clock: Callable[[], float]
    rng: random.Random
    connect: Connector = AgentConnection.open
    _token: trio.lowlevel.TrioToken = attrs.field(init=False, factory=trio.lowlevel.current_trio_token)
    _wanted: dict[str, float] = attrs.field(init=False, factory=dict)
    _news: trio.Event = attrs.field(init=False, factory=trio.Event)
    _next: int = attrs.field(init=False, default=0)
    _turn: float = attrs.field(init=False, default=0.0)  # when the next request would be due without a burst
    _takes_isolated: bool = attrs.field(init=False, default=False)  # an agent that hears no member of its cluster
    _isolated_until: float = attrs.field(init=False, default=0.0)
    _logged: dict[tuple[AgentPlace, int], float] = attrs.field(
        init=False, factory=dict
    )  # when, of each agent and level

    def want(self, name: str) -> None:
        """Have a service followed. Any thread may call it."""
        if name not in self._wanted:
            self._wanted[name] = self.clock()
            with suppress(trio.RunFinishedError):
                self._token.run_sync_soon(self._take_wanted)

    def _take_wanted(self) -> None:
        for name in list(self._wanted):
            asked = self._wanted.pop(name)
            if self.region.is_wanted(name, asked) and self.region.follow(name, asked):
                self._news.set()

    async def run(self) -> None:
        """Follow until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._keep_ages)
            await self._ask_agents()

    async def _keep_ages(self) -> None:
        while True:
            await trio.sleep(_LOOK_SECONDS)
            now = self.clock()
            self.region.expire(now)
            self.region.drop_unwanted(now)

    async def _ask_agents(self) -> None:
        places = self.region.federation.places
        self._next = self.rng.randrange(len(places))  # so that the nodes of a cluster do not all ask the same one
        failed, backoff = 0, BACKOFF_SECONDS
        while True:
            place = places[self._next % len(places)]
            if await self._follow(place):
                failed, backoff = 0, BACKOFF_SECONDS
                self._takes_isolated = False
            failed += 1
            self._next += 1
            if failed >= len(places):
                failed = 0
                self._takes_isolated = True
                self._isolated_until = trio.current_time() + ISOLATED_SECONDS + BACKOFF_SECONDS_MAX
                self.region.go_down()
                await trio.sleep(backoff * (1 + self.rng.random()) / 2)
                backoff = min(2 * backoff, BACKOFF_SECONDS_MAX)

    async def _follow(self, place: AgentPlace) -> bool:
        """Ask one agent until it fails; returns whether it has answered."""
        has_answered = False
        connection: AgentLink | None = None
        try:
            while True:
                if connection is None:
                    connection = await self.connect(self.region.federation, place, self.own)
                    self.region.agent = str(place)
                if await self._ask(connection):
                    if not has_answered and self._take_line(place, logging.INFO):
                        log.info("the agent %s of the region %s answers", place, self.region.name)
                    has_answered = True
                else:  # a held request was given up, and its connection with it
                    await connection.aclose()
                    connection = None
        except AgentFailed as failure:
            self._failed(place, str(failure), Count.REGION_FAILURES)
        except UnusableAnswer as junk:
            self._failed(place, str(junk), Count.REGION_JUNK)
        finally:
            if connection is not None:
                with trio.CancelScope(shield=True):
                    await connection.aclose()
        return has_answered

    def _failed(self, place: AgentPlace, why: str, count: Count) -> None:
        self.counters[count] += 1
        problem = f"the agent {place} of the region {self.region.name}: {why}"
        if self._take_line(place, logging.WARNING):
            log.warning("%s; what is known of it stays, and ages", problem)
        self.region.fail(problem)

    def _take_line(self, place: AgentPlace, level: int) -> bool:
        """Take a line in the log about an agent; False if there was one lately, as with one that fails and answers."""
        now = trio.current_time()
        if now - self._logged.get((place, level), -math.inf) < LOG_SECONDS:
            return False
        self._logged[place, level] = now
        return True

    async def _ask(self, connection: AgentLink) -> bool:
        """Ask once. False if the request was given up because there is more to ask."""
        await self._take_turn()
        self._news = trio.Event()
        request = self.region.request()
        sent = self.clock()
        body = await self._answered(connection, request)
        if body is None:
            return False
        received = self.clock()
        self._turn += PACE_SECONDS * (len(body) // limits.REGION_ANSWER_BYTES_SOFT)
        answer = await read_answer(body, self.region.name, frozenset(request.services))
        if answer.age > 0 and not (self._takes_isolated and trio.current_time() < self._isolated_until):
            raise AgentFailed(f"it hears no member of its cluster since {answer.age:.0f} s")
        self.region.apply(answer, request, sent, received)
        self.counters[Count.REGION_ANSWERS] += 1
        return True

    async def _take_turn(self) -> None:
        """Wait until a request may be made. The pace is that of the region: another agent gives no new burst."""
        self._turn = max(self._turn, trio.current_time() - (BURST - 1) * PACE_SECONDS)
        await trio.sleep_until(self._turn)
        self._turn += PACE_SECONDS

    async def _answered(self, connection: AgentLink, request: RemoteRequest) -> bytes | None:
        """The answer; None if it was not waited for because a service is wanted that it is not about."""
        patience = request.wait * 1.125 + PATIENCE_SECONDS
        body: bytes | AgentFailed | None = None
        latest = trio.current_time() + patience + TRANSFER_SECONDS_MAX

        def progress(received: int) -> None:
            slow.deadline = min(latest, slow.deadline + received / SLOWEST_BYTES_PER_SECOND)

        with trio.move_on_after(patience) as slow:
            async with trio.open_nursery() as nursery:
                if request.wait:
                    nursery.start_soon(self._give_up_for_news, nursery.cancel_scope)
                try:
                    body = await connection.ask(request, progress)
                except AgentFailed as failure:  # not through the nursery, which would put it into a group
                    body = failure
                nursery.cancel_scope.cancel()
        if slow.cancelled_caught:
            waited = trio.current_time() - latest + patience + TRANSFER_SECONDS_MAX
            raise AgentFailed(f"it is silent, or slow: its answer is not there after {waited:.1f} s")
        if isinstance(body, AgentFailed):
            raise body
        return body

    async def _give_up_for_news(self, scope: trio.CancelScope) -> None:
        await self._news.wait()
        await trio.sleep(_GATHER_SECONDS)
        scope.cancel()
