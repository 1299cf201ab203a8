"""Observations: what the members believe of each other, where that differs, and how long calls between zones take."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

import attrs

from gossipreg.frontends.http.render import Json
from gossipreg.frontends.serving import limits
from gossipreg.frontends.serving.node_api import NodeApi
from gossipreg.frontends.serving.response import encode
from gossipreg.frontends.serving.time_slices import SingleFlight, TimeSlicer
from gossipreg.median import median
from gossipreg.model import Member, Status
from gossipreg.observations import LinkState, MemberObservation, ObserverReport

#: What an observer believes of a member that it does not know.
_UNKNOWN: Final = "unknown"


@attrs.define(eq=False, repr=False)
class ObservationCache:
    """The latest answer, made for all clients that ask soon after: it asks all members.

    ``clock``: seconds, steady.
    """

    node: NodeApi
    _clock: Callable[[], float] = time.monotonic
    _flight: SingleFlight[bytes] = attrs.field(init=False, factory=SingleFlight)
    _kept: tuple[float, bytes] | None = attrs.field(init=False, default=None)  # until when, and the answer

    _versions: dict[str, tuple[int, str]] = attrs.field(init=False, factory=dict)  # by name: a run, and what it is of

    def version(self, member: Member) -> str | None:
        """The release of gossipreg that ``member`` runs; None if it has not told yet."""
        run, version = self._versions.get(member.name, (None, None))
        return version if run == member.generation else None

    async def learn_versions(self) -> None:
        """Ask the members if the release of one that is present is not known."""
        if any(self.version(each) is None for each in self.node.members() if each.status.is_present):
            await self.body()

    async def body(self) -> bytes:
        """The answer in JSON."""
        if self._kept is not None and self._clock() < self._kept[0]:
            return self._kept[1]
        return await self._flight.get("", self._ask)

    async def _ask(self) -> bytes:
        mine, *others = await self.node.observer_reports()
        reports = [mine, *others]
        self._note_versions(reports)
        slicer = TimeSlicer()
        observers = await slicer.json_list(map(_observer, reports))
        differences = await slicer.json_list(_differences(mine, reports))
        zones = await slicer.json_list(_zones(reports))
        answered = sum(not each.failure for each in reports)
        head = {"at": round(time.time(), 3), "observer": mine.name, "asked": len(reports), "answered": answered}
        trips = await slicer.json_list(_trips(reports) if len(reports) <= limits.OBSERVED_TRIPS_MAX else ())
        body = b'%b,"observers":%b,"differences":%b,"zones":%b,"round_trips":%b}' % (
            encode(head)[:-1],
            observers,
            differences,
            zones,
            trips,
        )
        kept = limits.OBSERVATIONS_KEPT_PER_MEMBER * len(reports)
        kept = min(limits.OBSERVATIONS_KEPT_MAX, max(limits.OBSERVATIONS_KEPT_MIN, kept))
        self._kept = self._clock() + kept, body
        return body

    def _note_versions(self, reports: Sequence[ObserverReport]) -> None:
        told = {each.name: each.version for each in reports if each.version}
        members = self.node.members()
        known = {each.name: (each.generation, version) for each in members if (version := self.version(each))}
        self._versions = known | {
            each.name: (each.generation, told[each.name]) for each in members if each.name in told
        }


def _observer(report: ObserverReport) -> Json:
    return {
        "name": report.name,
        "zone": report.zone,
        "failure": report.failure,
        "silent": report.is_silent,
        "version": report.version,
        "problems": list(report.problems),
    }


def _differences(mine: ObserverReport, reports: Sequence[ObserverReport]) -> Iterator[Json | None]:
    """Each belief that is another than this node's, and each link on which not everything passes."""
    reference = {each.name: str(each.status) for each in mine.observed} | {mine.name: str(Status.ALIVE)}
    for report in reports:
        if report.failure:
            continue
        observed = {each.name: each for each in report.observed}
        for name in sorted((reference.keys() | observed.keys()) - {report.name}):
            yield _difference(report.name, name, observed.get(name), reference.get(name, _UNKNOWN))


def _difference(observer: str, name: str, seen: MemberObservation | None, expected: str) -> Json | None:
    status = _UNKNOWN if seen is None else str(seen.status)
    link = LinkState.DIRECT if seen is None else seen.link
    unanswered = 0 if seen is None else seen.unanswered
    if status == expected and link is LinkState.DIRECT and not unanswered:
        return None
    return {"observer": observer, "member": name, "status": status, "link": str(link), "unanswered": unanswered}


def _zones(reports: Sequence[ObserverReport]) -> Iterator[Json]:
    """The round trips that were measured from each zone to each zone (seconds)."""
    zone_of = {report.name: report.zone for report in reports}
    found: Mapping[tuple[str, str], list[float]] = defaultdict(list)
    for report in reports:
        for each in report.observed:
            if each.round_trip is not None and each.name in zone_of and each.status.is_present:
                found[report.zone, zone_of[each.name]].append(each.round_trip)
    for (source, target), trips in sorted(found.items()):
        middle, worst = round(median(trips), 6), round(max(trips), 6)
        yield {"from": source, "to": target, "median": middle, "worst": worst, "links": len(trips)}


def _trips(reports: Sequence[ObserverReport]) -> Iterator[Json]:
    """Each round trip that was measured, by observer (seconds by member)."""
    for report in reports:
        trips = {each.name: round(each.round_trip, 6) for each in report.observed if each.round_trip is not None}
        yield {"observer": report.name, "members": trips}
