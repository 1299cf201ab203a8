"""``python -m tests.chaos --minutes M --seed S``: real agents under seeded faults, with their answers checked."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Sequence

import trio

from tests.chaos.faults import NEMESES
from tests.chaos.faults import WAITING as NEMESES_WAITING
from tests.chaos.hosts import missing_for_nemesis, missing_requirement
from tests.chaos.invariants import DEFAULT, INVARIANTS, WAITING
from tests.chaos.run import QUICK, Result, RunOptions, run


def _parser() -> argparse.ArgumentParser:
    listed = [f"  {name:<11}{'*' if name in NEMESES_WAITING else ' '}{each.what}" for name, each in NEMESES.items()]
    listed += ["", "invariants:"]
    listed += [f"  {name:<12}{'*' if name in WAITING else ' '}{what}" for name, what in INVARIANTS.items()]
    parser = argparse.ArgumentParser(
        prog="python -m tests.chaos",
        description="Real agents under seeded faults, checked against the acknowledged operations. Needs root.",
        epilog="nemeses (those with * only on request, here and below):\n" + "\n".join(listed),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--minutes", type=float, default=0.0, help="start no phase later than this")
    parser.add_argument("--phases", type=int, default=0, help="run at most this many phases")
    parser.add_argument("--seed", type=int, default=1, help="seed of the plan of faults and operations")
    parser.add_argument("--agents", type=int, default=5, choices=range(3, 17), metavar="N", help="3 to 16; default 5")
    parser.add_argument(
        "--nemeses", default="", metavar="A,B", help="only these; default: all that this machine supports"
    )
    parser.add_argument("--alone", action="store_true", help="one nemesis at a time")
    parser.add_argument("--rate", type=float, default=4.0, help="operations a second, over all hosts")
    parser.add_argument("--length", type=float, default=20.0, help="seconds of faults in a phase")
    parser.add_argument("--bound", type=float, default=180.0, help="time limit of healing (seconds of progress)")
    parser.add_argument("--quick", action="store_true", help="protocol settings that detect and heal faster")
    parser.add_argument("--invariants", default="", metavar="A,B", help="check only these; +A: also A, -A: all but A")
    parser.add_argument("--keep", action="store_true", help="keep history and logs even without a violation")
    return parser


def _chosen(parser: argparse.ArgumentParser, text: str, all_: Sequence[str], what: str) -> list[str]:
    names = [each for each in text.split(",") if each]
    for name in names:
        if name not in all_:
            parser.error(f"unknown {what} {name!r}: choose from {', '.join(all_)}")
    return names


def _invariants(parser: argparse.ArgumentParser, text: str) -> frozenset[str]:
    names = text.split(",") if text else []
    plain = ",".join(name.lstrip("+-") for name in names)
    _chosen(parser, plain, list(INVARIANTS), "invariant")
    only = {name for name in names if name[:1] not in "+-"}
    base = only or DEFAULT
    added = {name[1:] for name in names if name[:1] == "+"}
    return frozenset((base | added) - {name[1:] for name in names if name[:1] == "-"})


def main() -> int:
    """Run with the given arguments; return 0 if all held, 1 for a violation, 2 if it cannot be run."""
    parser = _parser()
    arguments = parser.parse_args()
    if reason := missing_requirement():
        parser.error(reason)
    nemeses = _chosen(parser, arguments.nemeses, list(NEMESES), "nemesis")
    nemeses = nemeses or [name for name in NEMESES if name not in NEMESES_WAITING]
    for name in list(nemeses):
        if reason := missing_for_nemesis(name):
            _say(f"skipped: {name}: {reason}")
            nemeses.remove(name)
    options = RunOptions(
        seed=arguments.seed,
        minutes=arguments.minutes or (0.0 if arguments.phases else 1.0),
        phases=arguments.phases,
        agents=arguments.agents,
        nemeses=tuple(nemeses),
        mixed=not arguments.alone,
        rate=arguments.rate,
        length=arguments.length,
        bound=arguments.bound,
        settings=QUICK if arguments.quick else {},
        invariants=_invariants(parser, arguments.invariants),
    )
    result = trio.run(_until_interrupted, options, arguments.keep)
    if result is None:
        _say("interrupted: all resources are released")
        return 130
    _say(summary(result))
    return 1 if result.violations else 0


async def _until_interrupted(options: RunOptions, keep: bool) -> Result | None:
    """Return the run's result; None if SIGINT or SIGTERM interrupted it, after the cleanup."""
    result = None
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with trio.open_nursery() as nursery:

            async def heed() -> None:
                async for _ in signals:
                    nursery.cancel_scope.cancel()

            nursery.start_soon(heed)
            result = await run(options, _say, keep=keep)
            nursery.cancel_scope.cancel()
    return result


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def summary(result: Result) -> str:
    """Return a summary of a run, in some lines."""
    counts = ", ".join(f"{count} {name}" for name, count in sorted(result.outcomes.items()))
    slowest = max(result.heal_times, default=0.0)
    lines = [f"{result.phases} phases; operations: {counts}; slowest heal {slowest:.1f} s"]
    lines += [f"VIOLATED {each}" for each in result.violations[:20]]
    if result.directory is not None:
        lines.append(f"history and logs: {result.directory}")
    if result.violations:
        lines.append(f"again: {result.command}")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
