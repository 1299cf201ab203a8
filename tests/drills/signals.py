"""Sends signals at random moments to a program under each framework, and checks that all of it ends in order.

    python -m tests.drills.signals --runs 200 --seed 1            all frameworks that are installed
    python -m tests.drills.signals --framework uvicorn --runs 20  one of them
    python -m tests.drills.signals --baseline                     how they end without a node

Each run starts a program of docs/frameworks.md and calls it. A signal comes while it starts (a quarter
of the runs) or within a second after that; a second one follows within a second and a half in a third of the runs.
Checked is that the process ends, with a status that it has without a node too; that a peer sees each of its nodes leave
and none fail, unless a second signal cut that short; that no call is refused for as long as its instance is offered;
that nothing of ours is in a traceback; and that what the program's handlers print is printed once.
"""

from __future__ import annotations

import argparse
import http.client
import random
import re
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from signal import SIGINT, SIGQUIT
from typing import Final

import attrs

import gossipreg
from gossipreg import Status
from gossipreg.embed.threads import BlockingNode, open_node
from tests.embed.pages import PATIENCE
from tests.embed.seeing import config
from tests.peers.frameworks import FRAMEWORKS, Framework, Started, started, write_programs

#: What a program's own handlers or hooks print, at most once.
_ONCE: Final = ("Shutting down", "Finished server process", "Warm shutdown", "Cold shutdown", "Handling signal: term")

#: The end of a program takes no longer than this after the last signal (seconds), or the run is a fault. On a quiet
#: machine it is the framework's own end and 3.2 s; this one may be busy.
_END_MAX: Final = 30.0

#: What a traceback through our code has in it; the folder above may have our name, too, and the libraries below it.
_OURS: Final = f'File "{Path(gossipreg.__file__).parent}/'

_WITHOUT: Final = Path(__file__).parent / "without_node"


@attrs.frozen
class Plan:
    """Which signals are sent, and when."""

    signals: tuple[int, ...]
    starting: float | None  # so long after its start (seconds); None: when it is ready
    delay: float  # from then to the first signal (seconds)
    pause: float  # from the first to the second

    @classmethod
    def drawn(cls, framework: Framework, rng: random.Random) -> Plan:
        """A random one."""
        signals = tuple(rng.choice(framework.ended_by) for _ in range(1 if rng.random() < 2 / 3 else 2))
        starting = rng.uniform(0, 2) if rng.random() < 1 / 4 else None
        return cls(signals, starting, 0.0 if starting is not None else rng.uniform(0, 1), rng.uniform(0, 1.5))

    @property
    def description(self) -> str:
        """Such as "SIGTERM when ready"."""
        names = ", ".join(signal.Signals(each).name for each in self.signals)
        return (
            f"{names} {'when ready' if self.starting is None else f'after {self.starting:.3f} s'} (+{self.delay:.3f} s)"
        )


@attrs.define
class Outcome:
    """How one run ended."""

    plan: Plan
    status: int = 0
    seconds: float = 0.0  # from the last signal to the end
    was_ready: bool = False
    calls: int = 0
    faults: list[str] = attrs.field(factory=list)


@attrs.define(eq=False)
class Caller:
    """Calls the program for as long as a peer sees it offered, and notes what is refused."""

    node: BlockingNode
    calls: int = 0
    refused: list[str] = attrs.field(factory=list)
    is_over: bool = False

    def run(self) -> None:
        """Call it until `is_over`. What is refused before the first answer counts not: a server may listen late."""
        while not self.is_over:
            instances = self.node.lookup("shop")
            if instances and instances[0].port:
                try:
                    self._call(instances[0].port)
                except OSError as error:
                    if self.calls:
                        self.refused.append(repr(error))
            time.sleep(0.02)

    def _call(self, port: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
        try:
            connection.request("GET", "/")
            answer = connection.getresponse()
            answer.read()
        finally:
            connection.close()
        self.calls += 1
        if answer.status != 200:
            self.refused.append(f"status {answer.status}")


def run_with_a_node(framework: Framework, folder: Path, plan: Plan) -> Outcome:
    """Run the program, send it the signals, and see how it ends."""
    outcome = Outcome(plan)
    with open_node(config("seer")) as node:
        seen: dict[str, Status] = {}
        caller = Caller(node)

        def is_ready() -> bool:
            seen.update({each.owner: Status.ALIVE for each in node.lookup("shop")})
            return len(seen) >= framework.instances

        calling = threading.Thread(target=caller.run, daemon=True)
        calling.start()
        with started(framework, folder, node.address) as program:
            try:
                send_signals(program, plan, outcome, is_ready)
            finally:
                caller.is_over = True
                calling.join(PATIENCE)
            is_ready()
            outcome.was_ready, outcome.calls = bool(seen), caller.calls
            check_log(program.log.read_text(errors="replace"), outcome)
            if len(plan.signals) == 1:
                outcome.faults += [f"a call failed: {each}" for each in caller.refused]
                check_left(node, seen, outcome)
        check_status(framework, outcome)
    return outcome


def send_signals(program: Started, plan: Plan, outcome: Outcome, is_ready: Callable[[], bool]) -> None:
    """Send the signals at their moments, and wait for the end."""
    process = program.process
    if plan.starting is None:
        wait_until(lambda: is_ready() or process.poll() is not None)
    time.sleep(plan.delay if plan.starting is None else plan.starting)
    for number, signum in enumerate(plan.signals):
        if number:
            deadline = time.monotonic() + plan.pause
            while time.monotonic() < deadline and process.poll() is None:
                time.sleep(0.01)
        if process.poll() is None:
            is_ready()
            process.send_signal(signum)
    sent = time.monotonic()
    try:
        outcome.status = process.wait(_END_MAX)
    except Exception:  # noqa: BLE001 - subprocess.TimeoutExpired
        outcome.faults.append(f"it has not ended after {_END_MAX:.0f} s")
    outcome.seconds = time.monotonic() - sent


def check_log(log: str, outcome: Outcome) -> None:
    """Nothing of ours failed, and no handler ran twice."""
    for traceback in log.split("Traceback (most recent call last)")[1:]:
        passed_on = re.search(
            r"^(SystemExit|KeyboardInterrupt|aiohttp.web_runner.GracefulExit)", traceback, re.MULTILINE
        )
        if _OURS in traceback and not passed_on:  # what a handler of the program's raised, the server may print
            outcome.faults.append(f"a traceback of ours: {traceback}")
    if len(outcome.plan.signals) == 1:
        outcome.faults += [f"{log.count(each)} times {each!r}" for each in _ONCE if log.count(each) > 1]


def check_left(node: BlockingNode, seen: dict[str, Status], outcome: Outcome) -> None:
    """Every node that was offered has left."""

    def all_are_gone() -> bool:
        seen.update({each.name: each.status for each in node.members() if each.name in seen})
        return all(status not in (Status.ALIVE, Status.SUSPECT) for status in seen.values())

    wait_until(all_are_gone)
    outcome.faults += [f"{name} is {status}" for name, status in seen.items() if status is not Status.LEFT]


def check_status(framework: Framework, outcome: Outcome) -> None:
    """It ends as it would without a node: by a handler, or by the signal before or after there was one."""
    plan = outcome.plan
    allowed = {framework.statuses.get(each, -each) for each in plan.signals}
    if plan.starting is not None or len(plan.signals) > 1:
        allowed |= {-each for each in plan.signals} | framework.other_statuses
    if outcome.status not in allowed:
        outcome.faults.append(f"it ended with {outcome.status}, not {sorted(allowed)}")


def run_without_a_node(framework: Framework, folder: Path, plan: Plan) -> Outcome:
    """How the program ends where nothing is offered."""
    ready = Path(tempfile.mkdtemp(dir=folder))
    path = f"{_WITHOUT}:{folder}:{Path(__file__).parents[2]}"
    outcome = Outcome(plan)
    with started(framework, folder, "", PYTHONPATH=path, READY=str(ready)) as program:
        send_signals(program, plan, outcome, lambda: len(list(ready.iterdir())) >= framework.instances)
    return outcome


def wait_until(holds: Callable[[], bool]) -> None:
    """Return when it holds, or after a minute."""
    deadline = time.monotonic() + PATIENCE
    while not holds() and time.monotonic() < deadline:
        time.sleep(0.02)


def run_one(framework: Framework, folder: Path, seed: int, number: int) -> Outcome:
    """The run of that number."""
    plan = Plan.drawn(framework, random.Random(f"{seed} {framework.name} {number}"))
    return run_with_a_node(framework, folder, plan)


def summary(name: str, outcomes: Sequence[Outcome]) -> str:
    """A row of the table."""
    single = [each.seconds for each in outcomes if len(each.plan.signals) == 1] or [0.0]
    statuses = ", ".join(f"{status}: {count}" for status, count in sorted(Counter(o.status for o in outcomes).items()))
    ready, calls = sum(each.was_ready for each in outcomes), sum(each.calls for each in outcomes)
    faults = sum(bool(each.faults) for each in outcomes)
    return (
        f"| {name} | {len(outcomes)} | {ready} | {calls} | {sorted(single)[len(single) // 2]:.1f} | {max(single):.1f} "
        f"| {statuses} | {faults} |"
    )


def measure_baseline(names: Sequence[str], folder: Path, pool: ThreadPoolExecutor) -> int:
    """Print how each framework ends without a node, and whether that is what it is known for."""
    differing = 0
    for name in names:
        framework = FRAMEWORKS[name]
        plans = [Plan((each,), starting, 0.3, 0.0) for starting in (None, 1.0) for each in framework.ended_by]
        ended = list(pool.map(lambda plan, framework=framework: run_without_a_node(framework, folder, plan), plans))
        for plan, outcome in zip(plans, ended, strict=True):
            known = framework.statuses.get(plan.signals[0], -plan.signals[0])
            differs = plan.starting is None and outcome.status != known
            differing += differs
            status = f"{outcome.status}, not {known}" if differs else str(outcome.status)
            print(f"{name}: {plan.description}: {status} after {outcome.seconds:.1f} s", flush=True)
    return differing


def main() -> int:
    """Run the drill; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--runs", type=int, default=200, help="of each framework")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--first", type=int, default=0, help="number of the first run: repeats one with --runs 1")
    parser.add_argument("--at-once", type=int, default=4)
    parser.add_argument("--framework", action="append", choices=FRAMEWORKS)
    parser.add_argument("--baseline", action="store_true", help="run without a node, each signal when ready and before")
    options = parser.parse_args()
    # What is ignored here would be ignored by the programs; a shell has its background jobs ignore both.
    signal.signal(SIGINT, signal.default_int_handler)
    signal.signal(SIGQUIT, signal.SIG_DFL)
    names = [each for each in options.framework or FRAMEWORKS if not FRAMEWORKS[each].missing]
    with tempfile.TemporaryDirectory() as directory, ThreadPoolExecutor(options.at_once) as pool:
        folder = Path(directory)
        write_programs(folder)
        if options.baseline:
            return int(bool(measure_baseline(names, folder, pool)))
        print("| framework | runs | were ready | calls | median end (s) | longest end (s) | status | faults |")
        print("|---|---|---|---|---|---|---|---|", flush=True)
        faults = 0
        for name in names:
            numbers = range(options.first, options.first + options.runs)
            framework = FRAMEWORKS[name]
            runs = [pool.submit(run_one, framework, folder, options.seed, number) for number in numbers]
            outcomes = [run.result() for run in runs]
            print(summary(name, outcomes), flush=True)
            for number, outcome in zip(numbers, outcomes, strict=True):
                faults += bool(outcome.faults)
                for fault in outcome.faults:
                    print(f"  run {number}: {outcome.plan.description}: {fault}", file=sys.stderr, flush=True)
    return int(bool(faults))


if __name__ == "__main__":
    sys.exit(main())
