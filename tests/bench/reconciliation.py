"""The cost of repairing a difference, of joining a large registry, and of churn.

    python -m tests.bench.reconciliation               all parts
    python -m tests.bench.reconciliation repair        two engines in memory, 10,000 records: bytes against difference
    python -m tests.bench.reconciliation join          real agents: a node joins a cluster of 10,000 instances
    python -m tests.bench.reconciliation crowd         simulated: 64 nodes join such a cluster in the same instant
    python -m tests.bench.reconciliation churn         simulated: 64 nodes, 100 changes a second for 30 s

*Repair*, *crowd* and *churn* run the production engine on virtual time: the same figures on every machine, but for the
lines that say otherwise. Streams are counted before they are sealed, which adds 20 bytes to a frame and two hellos of
30 bytes to a stream; in the simulator packets are counted sealed (tests/bench/simulated.py).
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from random import Random
from typing import Final

import attrs
import click
import trio

from gossipreg.model import Address
from gossipreg.protocol.engine import Engine
from gossipreg.protocol.engine_creation import create_engine
from gossipreg.protocol.engine_settings import EngineSettings
from gossipreg.protocol.outputs import OpenStream, Output, SendFrame
from gossipreg.protocol.stream_sessions import Purpose
from gossipreg_sim.world import EPOCH_MS
from tests.bench import http_client
from tests.bench.cluster import Agent
from tests.bench.ears import Ears
from tests.bench.figures import Figure, ratio_text
from tests.bench.gossipreg_cluster import GossipregCluster
from tests.bench.offers import body, offer, spread
from tests.bench.processes import BenchError, Brood
from tests.bench.simulated import churn, cluster
from tests.bench.tables import machine, markdown, verdict

RECORDS: Final = 10_000
OWNERS: Final = 10

#: What is promised: at so many differing records at most such a share of a full exchange.
TARGET_DIFFERENCE: Final = 10
TARGET_SHARE: Final = 1 / 20

#: Within so many seconds a node that joins has everything.
TARGET_JOIN: Final = 2.0


# Repair


@attrs.frozen
class Talk:
    """What one talk between two engines cost."""

    opener_bytes: int
    accepter_bytes: int
    trips: int  # turns of the accepter: times that the opener waited for an answer

    @property
    def bytes(self) -> int:
        """Both ways."""
        return self.opener_bytes + self.accepter_bytes


@attrs.define
class Pair:
    """Engines that talk whenever they are told to and at no other time: no gossip passes between them."""

    now: float = 1.0
    _born: int = 0

    def engine(self, name: str) -> Engine:
        """A new one, settled, alone."""
        self._born += 1
        return create_engine(
            name=name,
            generation=EPOCH_MS + self._born,
            address=Address("198.18.0.1", 7000 + self._born),
            zone="",
            settings=EngineSettings(lifelines=0),
            rng=Random(self._born),
            has_seeds=False,
            packet_room=1350,
            now=self.now,
        )

    def talk(self, opener: Engine, accepter: Engine) -> Talk:
        """Have them compare their states until the opener closes the talk."""
        opener.handle_timeout(self.now)
        opener.streams.open_comparison(Purpose.RECONCILE, accepter.identity.own_update().destination, 0.0)
        said = {True: 0, False: 0}
        trips = 0
        waiting: deque[tuple[bool, int, bytes]] = deque()  # whether the opener says it, the stream, the frame

        def perform(by_opener: bool, outputs: list[Output]) -> None:
            for output in outputs:
                match output:
                    case OpenStream(stream=stream, frame=frame) | SendFrame(stream=stream, frame=frame):
                        waiting.append((by_opener, stream, frame))
                        said[by_opener] += len(frame)

        perform(True, opener.handle_timeout(self.now))
        last_said, used = True, 0
        while waiting:
            by_opener, stream, frame = waiting.popleft()
            hearer, speaker = (accepter, opener) if by_opener else (opener, accepter)
            trips += last_said and not by_opener
            last_said = by_opener
            perform(not by_opener, hearer.stream_frame(-stream, frame, speaker.identity.address, self.now))
            used = abs(stream)
        accepter.stream_ended(-used, self.now)  # its opener has closed it; the next opener may number its own alike
        return Talk(said[True], said[False], trips)


@attrs.frozen
class Repair:
    """What it cost to mend so many differing records; None: a node that has nothing at all."""

    differing: int | None
    cost: Talk


def repairs(records: int, differences: list[int]) -> list[Repair]:
    """Measure each, on the same two engines, one after the other."""
    pair = Pair()
    up_to_date, behind = pair.engine("up-to-date"), pair.engine("behind")
    owners = [pair.engine(f"owner-{number}") for number in range(OWNERS)]
    for number in range(records):
        owners[number % OWNERS].register(offer(number), pair.now)
    for owner in owners:
        pair.talk(owner, up_to_date)
    found = [Repair(None, pair.talk(behind, up_to_date))]
    for turn, differing in enumerate(differences):
        changed = spread(range(records), differing) if differing else []
        for number in changed:
            owners[number % OWNERS].register(offer(number, weight=2 + turn), pair.now)
        for owner in owners if changed else ():
            pair.talk(owner, up_to_date)
        found.append(Repair(differing, pair.talk(behind, up_to_date)))
        assert behind.fingerprint == up_to_date.fingerprint, "the talk has mended everything"
    return found


def repair_table(found: list[Repair]) -> str:
    """The figures as they stand in the documentation."""
    full = next(each.cost for each in found if each.differing is None)
    rows = [["differing records", "bytes", "bytes a record", "round trips", "of a full exchange", "target", ""]]
    for each in sorted(found, key=lambda each: RECORDS * 2 if each.differing is None else each.differing):
        share = each.cost.bytes / full.bytes
        held = each.differing == TARGET_DIFFERENCE
        rows.append(
            [
                "all: it has none" if each.differing is None else f"{each.differing:,}",
                f"{each.cost.bytes:,}",
                f"{each.cost.bytes / each.differing:,.0f}" if each.differing else "",
                str(each.cost.trips),
                "1" if each.differing is None else ratio_text(share),
                *([f"≤ {ratio_text(TARGET_SHARE)}", verdict(share <= TARGET_SHARE)] if held else ["", ""]),
            ]
        )
    return markdown(rows)


def repair(options: argparse.Namespace) -> str:
    """The first part."""
    differences = [count for count in (0, 1, 10, 100, 1000) if count <= options.records]
    found = repairs(options.records, differences)
    return f"Repair of a state of {options.records:,} records, in memory, exact:\n\n{repair_table(found)}"


# Join


async def _joins(options: argparse.Namespace) -> list[tuple[float, float]]:
    ears = Ears()
    found: list[tuple[float, float]] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ears.listen)
        with Brood(ears) as brood:
            cluster = GossipregCluster("gossipreg", ears, brood)
            await cluster.start(2)
            await _fill(cluster.agents[0], options.records)
            await _full(cluster.agents[1], cluster.agents[0])
            for number in range(options.joins):
                started = time.perf_counter()
                process = cluster.spawn(f"joiner-{number}", cluster.agents[0])
                await process.wait_ready()
                full = await _full(cluster.agent(process), cluster.agents[0])
                found.append((full - started, full - process.ready_at))
                process.popen.kill()
                brood.reap(process)
        nursery.cancel_scope.cancel()
    return found


async def _fill(agent: Agent, records: int) -> None:
    async with http_client.connect(agent.asked) as client:
        for number in range(records):
            await client.ask("PUT", "/api/v1/instances", body(offer(number)))


async def _full(agent: Agent, like: Agent) -> float:
    """When ``agent`` had all instances that ``like`` has (``time.perf_counter``), looked at every 20 ms."""
    async with http_client.connect(like.asked) as client:
        wanted = (await client.ask("GET", "/api/v1/node"))["instances"]
    with trio.move_on_after(60):
        async with http_client.connect(agent.asked) as client:
            while (await client.ask("GET", "/api/v1/node"))["instances"] < wanted:  # noqa: ASYNC110 -- another process's
                await trio.sleep(0.02)
        return time.perf_counter()
    raise BenchError(f"{agent.name} did not have all {wanted} instances after 60 s")


def join(options: argparse.Namespace) -> str:
    """The second part."""
    found = trio.run(_joins, options)
    from_start, from_ready = (Figure.of(each) for each in zip(*found, strict=True))
    rows = [["a node that joins is full", "s", "target", ""]]
    rows.append(["after its ready line", str(from_ready), "", ""])
    target = [f"≤ {TARGET_JOIN:g} s", verdict(from_start.middle <= TARGET_JOIN)]
    rows.append(["after its process was started", str(from_start), *target])
    return f"Real agents: a third one joins two that hold {options.records:,} instances:\n\n{markdown(rows)}"


PARTS: Final[dict[str, Callable[[argparse.Namespace], str]]] = {
    "repair": repair,
    "join": join,
    "crowd": cluster,
    "churn": churn,
}


def reports(options: argparse.Namespace) -> Iterator[str]:
    """What each part has to say, as it is done."""
    for name in options.parts or PARTS:
        load = os.getloadavg()[0]
        said = PARTS[name](options)
        yield f"`python -m tests.bench.reconciliation {name}`; {machine(load)}\n\n{said}\n"


def main() -> int:
    """Measure and print; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"{', '.join(PARTS)} (all)")
    parser.add_argument("--records", type=int, default=RECORDS, help=f"instances in the registry ({RECORDS})")
    parser.add_argument("--joins", type=int, default=5, help="joins of real agents (5)")
    parser.add_argument("--newcomers", type=int, default=64, help="nodes that join at once (64)")
    parser.add_argument("--nodes", type=int, default=64, help="nodes under churn (64)")
    parser.add_argument("--changes", type=int, default=100, help="changes a second (100)")
    parser.add_argument("--seconds", type=int, default=30, help="how long the churn lasts, virtual time (30)")
    parser.add_argument("--seed", type=int, default=1, help="of the simulator (1)")
    options = parser.parse_args()
    unknown = [name for name in options.parts if name not in PARTS]
    if unknown:
        parser.error(f"there is no part {', '.join(unknown)}; there are {', '.join(PARTS)}")
    failed = False
    try:
        for said in reports(options):
            click.echo(said)
    except* BenchError as failure:
        click.echo(f"reconciliation: {failure.exceptions[0]}", err=True)
        failed = True
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
