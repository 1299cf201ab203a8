"""Regions: all regions that a node knows, its own among them, and which of them a lookup is answered from."""

from __future__ import annotations

import math
import random
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Final

import attrs
import trio

from gossipreg.errors import NodeClosed, RegionUnavailable, UnknownRegion
from gossipreg.federation import NEAREST, Federation
from gossipreg.model import Instance
from gossipreg.regional import RegionalDirectory, RegionalService, RegionInfo
from gossipreg.runtime.change_log import ChangeLog
from gossipreg.runtime.regions.agent_connection import AgentConnection, Connector
from gossipreg.runtime.regions.follower import Follower
from gossipreg.runtime.regions.remote_region import RemoteRegion
from gossipreg.runtime.supervision import run_restarting

#: How often a service that is waited for counts as asked for (seconds).
_TOUCH_SECONDS: Final = 60.0

#: Share of the round trip to the region in use below which that to another one counts as shorter: measurements vary.
_NEARER: Final = 0.75

#: How long a lookup waits for a service that was not followed until then (seconds).
FIRST_ANSWER_SECONDS: Final = 3.0


def clock() -> float:
    """A steady clock that also counts the time in which the machine is suspended (seconds)."""
    return time.clock_gettime(_CLOCK)


_CLOCK: Final = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


@attrs.define(eq=False, repr=False)
class Regions:
    """The regions that one node follows. Methods that are no coroutines may be called from any thread."""

    own: str
    _followers: dict[str, Follower]
    _clock: Callable[[], float]

    @classmethod
    def of(
        cls,
        own: str,
        federations: Iterable[Federation],
        counters: Counter[str],
        *,
        index: int,
        rng: random.Random,
        connect: Connector = AgentConnection.open,
        now: Callable[[], float] = clock,
    ) -> Regions:
        """Those of a node in the region ``own``. ``index`` is the first that they give. Call it inside trio."""
        followers = {
            each.region: Follower(RemoteRegion(each, counters, index), own, counters, now, rng, connect)
            for each in federations
        }
        return cls(own, followers, now)

    async def run(self) -> None:
        """Follow all of them until cancelled."""
        try:
            async with trio.open_nursery() as nursery:
                for name, follower in self._followers.items():
                    nursery.start_soon(run_restarting, follower.counters, f"following the region {name}", follower.run)
        finally:
            self.close()

    def close(self) -> None:
        """Wake all that wait: nothing will change any more."""
        for follower in self._followers.values():
            follower.region.change_log.close()

    def _follower(self, region: str) -> Follower:
        found = self._followers.get(region)
        if found is None:
            raise unknown(region, self.own, self._followers)
        return found

    def service(self, name: str, region: str) -> RegionalService:
        """What is held of a service, which is followed from now on. Raises ``UnknownRegion``, ``RegionUnavailable``."""
        follower = self._follower(region)
        now = self._clock()
        if follower.region.is_wanted(name, now):
            follower.want(name)
        return follower.region.service(name, now)

    async def fetch(self, name: str, region: str, patience: float = FIRST_ANSWER_SECONDS) -> RegionalService:
        """As `service`, once it is known; waits up to ``patience`` seconds for that."""
        follower = self._follower(region)
        with trio.move_on_after(patience):
            while not follower.region.change_log.closed:
                try:
                    found = self.service(name, region)
                except RegionUnavailable:
                    if follower.region.is_down:
                        raise
                    await follower.region.change_log.wait(follower.region.change_log.position)
                else:
                    await trio.lowlevel.checkpoint()
                    return found
        return self.service(name, region)

    async def fetch_directory(self, region: str, patience: float = FIRST_ANSWER_SECONDS) -> RegionalDirectory:
        """The services of a region, once they are known; waits up to ``patience`` seconds for that."""
        found = self._follower(region).region
        with trio.move_on_after(patience):
            while not found.change_log.closed:
                try:
                    return self.directory(region)
                except RegionUnavailable:
                    if found.is_down:
                        raise
                    await found.change_log.wait(found.change_log.position)
        return self.directory(region)

    def directory(self, region: str) -> RegionalDirectory:
        """The services of a region. Raises ``UnknownRegion``, ``RegionUnavailable``."""
        return self._follower(region).region.directory(self._clock())

    def index(self, name: str | None, region: str) -> int:
        """See `Node.index`."""
        found = self._follower(region).region
        return found.directory_index if name is None else found.index(name)

    async def wait_changed(self, name: str | None, region: str, index: int) -> None:
        """Return when the index differs. Raises ``NodeClosed``."""
        log = self._follower(region).region.change_log
        while not log.closed and self.index(name, region) == index:
            if name is not None:
                with suppress(RegionUnavailable):
                    self.service(name, region)  # so that it stays followed
            with trio.move_on_after(_TOUCH_SECONDS):
                await log.wait(log.position)
        await trio.lowlevel.checkpoint()
        if self.index(name, region) == index:
            raise NodeClosed("the node is closed")

    def held(self, name: str, region: str) -> tuple[Instance, ...]:
        """The healthy instances of a service as far as they are known, which is followed from now on."""
        try:
            return self.service(name, region).healthy
        except RegionUnavailable:
            return ()

    def change_logs(self, regions: Iterable[str]) -> list[ChangeLog]:
        """Those of the regions among these that are followed. Raises ``UnknownRegion`` for one that is not known."""
        return [self._follower(each).region.change_log for each in regions if each != self.own]

    def infos(self) -> tuple[RegionInfo, ...]:
        """All that are followed, sorted by name."""
        now = self._clock()
        return tuple(self._followers[name].region.info(now) for name in sorted(self._followers))

    def in_order(self, failover: Sequence[str], used: str = "") -> tuple[str, ...]:
        """The regions of a list, each once, ``nearest`` replaced by those that it does not name, nearest first.

        Another region is nearer than the one in use, ``used``, if its round trip is shorter by a quarter. Raises
        ``UnknownRegion``.
        """

        def distance(info: RegionInfo) -> tuple[bool, float, str]:
            trip = math.inf if info.round_trip is None else info.round_trip
            return info.stale, trip * _NEARER if info.name == used else trip, info.name

        named = [each for each in failover if each != NEAREST]
        ordered: list[str] = []
        for each in failover:
            if each == NEAREST:
                ordered += [info.name for info in sorted(self.infos(), key=distance) if info.name not in named]
            else:
                if each != self.own:
                    self._follower(each)
                ordered.append(each)
        return tuple(dict.fromkeys(ordered))


def unknown(region: str, own: str, others: Iterable[str] = ()) -> UnknownRegion:
    """The error about a region that a node in ``own`` does not know, which follows ``others``."""
    follows = ", ".join(repr(each) for each in sorted(others)[:16])
    more = f" and follows {follows}" if follows else " and follows no other"
    return UnknownRegion(f"no region {region!r} is known here: this node is in {own!r}{more}")
