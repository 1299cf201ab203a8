"""Times of the web page: how long after a fault is injected into real agents its overview names the cause.

``python -m tests.peers.web_fault_times --runs 5`` prints a table in Markdown, of medians and the longest. A cluster is
started for each run, so it takes a quarter of an hour. ``--fault NAME`` plays one.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from statistics import median
from typing import Final

import attrs
import pytest
import trio

from tests.peers.browser import install_browser
from tests.peers.test_web_faults import (
    Stage,
    fill_disk,
    otherwise,
    put,
    register_in_vain,
    small_disk,
    stage,
    unmount_disk,
)


@attrs.frozen
class Fault:
    """A fault: its cluster, how it is injected, and what the page says, first and then for certain."""

    name: str
    members: tuple[str, ...]
    inject: Callable[[Stage], Awaitable[None]]
    first: str  # regular expressions of JavaScript
    certain: str
    prepare: Callable[[Stage], Awaitable[None]] | None = None
    clear: Callable[[Stage], None] | None = None


async def _kill(cluster: Stage) -> None:
    await cluster.kill("beta")


async def _pause(cluster: Stage) -> None:
    cluster.running["beta"].stop()


async def _cut_one_way(cluster: Stage) -> None:
    cluster.switch.lost.add(("beta", "gamma"))


async def _split(cluster: Stage) -> None:
    for one in ("alpha", "beta"):
        for other in ("gamma", "delta"):
            cluster.cut(one, other)


async def _isolate(cluster: Stage) -> None:
    for other in ("beta", "gamma"):
        cluster.cut("alpha", other)


async def _down(cluster: Stage) -> None:
    await cluster.running["beta"].register("users", 9000, id="u-1", checks=[{"ttl": "1h"}])


async def _primaries(cluster: Stage) -> None:
    await cluster.running["alpha"].register("pg", 5432, id="pg-1", role="primary", term=1)
    await cluster.running["beta"].register("pg", 5433, id="pg-2", role="primary", term=2)


async def _idle_policy(cluster: Stage) -> None:
    await put(cluster.running["alpha"], "policies", {"service": "pg", "split": {"v1": 1, "v2": 1}})


async def _checked(cluster: Stage) -> None:
    await cluster.running["alpha"].register("web", 80, id="w-1", checks=[{"ttl": "1h", "name": "beat"}])


async def _flap(cluster: Stage) -> None:
    for turn in range(16):
        await put(cluster.running["alpha"], f"heartbeats/w-1?health={'critical' if turn % 2 else 'passing'}")


async def _orders(cluster: Stage) -> None:
    agents = list(cluster.running.values())
    ids = [await agent.register("orders", 8080, id=f"o-{agent.name}") for agent in agents[:3]]
    await cluster.agents.agree(agents, offers={"orders": ids})


async def _kill_two(cluster: Stage) -> None:
    for name in ("beta", "gamma"):
        await cluster.kill(name)


async def _lost_and_settled(cluster: Stage) -> None:
    await _orders(cluster)
    await _kill_two(cluster)
    await cluster.browser.sees("2 members were lost at one time")


async def _panic(cluster: Stage) -> None:
    for _ in range(3):
        await cluster.running["alpha"].get("services/orders?panic=0.9")


async def _full(cluster: Stage) -> None:
    data = cluster.directory / "data"
    data.rename(cluster.directory / "elsewhere")


async def _with_data(cluster: Stage) -> None:
    await cluster.start("beta", "--data-dir", str(cluster.directory / "data"))
    await cluster.browser.sees("2 members alive")


async def _small_disk(cluster: Stage) -> None:
    small_disk(cluster.directory / "small")
    await cluster.start("beta", "--data-dir", str(cluster.directory / "small" / "data"))
    await cluster.browser.sees("2 members alive")


async def _fill(cluster: Stage) -> None:
    fill_disk(cluster.directory / "small")
    await register_in_vain(cluster.running["beta"])


async def _other_version(cluster: Stage) -> None:
    with pytest.MonkeyPatch.context() as patch:
        otherwise(cluster.directory / "newer", "import gossipreg\ngossipreg.__version__ = '9.8.7'\n")(patch)
        await cluster.start("beta")


_THREE: Final = ("alpha", "beta", "gamma")
_SILENT: Final = "beta does not answer|beta is suspect|beta has failed"

FAULTS: Final = (
    Fault("an agent is killed", _THREE, _kill, _SILENT, "Member beta has failed"),
    Fault("an agent is paused", _THREE, _pause, _SILENT, "Member beta is suspect|Member beta has failed"),
    Fault(
        "a link is cut in one direction",
        _THREE,
        _cut_one_way,
        "did not answer the last ping of (beta|gamma)|What beta sends to gamma is lost",
        "What beta sends to gamma is lost",
    ),
    Fault(
        "a split",
        (*_THREE, "delta"),
        _split,
        "2 members (do not answer|were lost)",
        "2 members were lost at one time|Member (gamma|delta) has failed",
    ),
    Fault("isolation", _THREE, _isolate, "None of the other members answers|is isolated", "This agent is isolated"),
    Fault("a service is down", _THREE[:2], _down, "users has no instance", "users has no instance"),
    Fault("two primaries", _THREE[:2], _primaries, "claim to be the primary", "claim to be the primary"),
    Fault("a policy without effect", _THREE[:2], _idle_policy, "split:pg has no effect", "split:pg has no effect"),
    Fault("a check flaps", _THREE[:2], _flap, "beat of w-1 flaps", "beat of w-1 flaps", _checked),
    Fault(
        "two of three owners are killed",
        (*_THREE, "delta"),
        _kill_two,
        "2 members (do not answer|were lost)",
        "callers with a panic threshold above 33 %",
        _orders,
    ),
    Fault(
        "lookups in a panic",
        (*_THREE, "delta"),
        _panic,
        "answered in a panic",
        "answered in a panic",
        _lost_and_settled,
    ),
    Fault("a member of another version", _THREE[:1], _other_version, "different versions", "9.8.7 .beta"),
    Fault(
        "a full disk",
        _THREE[:1],
        _fill,
        "cannot use the data directory",
        "cannot use the data directory",
        _small_disk,
        clear=lambda cluster: unmount_disk(cluster.directory / "small"),
    ),
    Fault(
        "a data directory is gone",
        _THREE[:1],
        _full,
        "cannot use the data directory",
        "cannot use the data directory",
        _with_data,
    ),
)


async def _shown(cluster: Stage, pattern: str) -> None:
    await cluster.browser.run(f"await page.getByText(new RegExp({json.dumps(pattern)})).first().waitFor()")


async def play(fault: Fault, modules: Path) -> tuple[float, float]:
    """Play ``fault`` once; after how many seconds the page says something, and is certain."""
    with tempfile.TemporaryDirectory() as made:
        async with stage(Path(made), modules, *fault.members) as cluster:
            try:
                return await _play(fault, cluster)
            finally:
                if fault.clear is not None:
                    fault.clear(cluster)


async def _play(fault: Fault, cluster: Stage) -> tuple[float, float]:
    if fault.prepare is not None:
        await fault.prepare(cluster)
    await cluster.browser.run("await page.getByText(/All is well|problem/).first().waitFor()")
    await trio.sleep(2 + random.random())  # so that it comes at any moment between two polls and two probes
    await fault.inject(cluster)
    began = trio.current_time()
    await _shown(cluster, fault.first)
    first = trio.current_time() - began
    await _shown(cluster, fault.certain)
    return first, trio.current_time() - began


def _played(fault: Fault, modules: Path) -> tuple[float, float]:
    """Play ``fault`` once, again if an agent could not start: another program may have taken its port."""
    for _ in range(3):
        try:
            return trio.run(play, fault, modules)
        except AssertionError as error:
            if "in use by another program" not in str(error):
                raise
    raise AssertionError("three times in a row a port was taken")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--fault", action="append", default=[], choices=[each.name for each in FAULTS])
    told = parser.parse_args()
    with tempfile.TemporaryDirectory() as made:
        modules = install_browser(Path(made))
        write = sys.stdout.write
        write("| fault | first (s): median, longest | certain (s): median, longest |\n|---|---|---|\n")
        for fault in FAULTS:
            if told.fault and fault.name not in told.fault:
                continue
            times = [_played(fault, modules) for _ in range(told.runs)]
            cells = [f"{median(each):.1f}, {max(each):.1f}" for each in zip(*times, strict=True)]
            write(f"| {fault.name} | {' | '.join(cells)} |\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
