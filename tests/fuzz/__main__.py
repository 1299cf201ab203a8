"""Fuzz parsers: ``python -m tests.fuzz [TARGET…] [--seconds S] [--seed N] [--driver plain|guided] [--keep BYTES]``.

Prints a row for each target. An input that breaks a target's property is printed as a line for its corpus, and makes
the exit status 1.
"""

from __future__ import annotations

import argparse
import sys
import traceback

import click

from tests.fuzz import guided, plain
from tests.fuzz.corpus import add_to_corpus, inputs
from tests.fuzz.target import Target
from tests.fuzz.targets import NAMES, load

_ROW = "{:<16} {:>11} {:>10} {:>9} {:>9}  {}"


def main() -> None:
    """Fuzz the targets of the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=str(__doc__).partition("\n")[0])
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"of {', '.join(NAMES)} (default: all)")
    parser.add_argument("--seconds", type=float, default=60.0, help="for each target (default: %(default)g)")
    parser.add_argument("--seed", type=int, default=1, help="(default: %(default)s)")
    drivers = ("plain", "guided")
    default = drivers[guided.is_here()]
    parser.add_argument("--driver", choices=drivers, default=default, help="guided needs atheris (here: %(default)s)")
    parser.add_argument(
        "--keep",
        type=int,
        default=0,
        metavar="BYTES",
        help="add up to BYTES of new inputs to the corpus",
    )
    given = parser.parse_args()
    for name in given.targets:
        if name not in NAMES:
            parser.error(f"unknown target {name}: choose from {', '.join(NAMES)}")
    click.echo(_ROW.format("target", "inputs", "inputs/s", "edges", "features", ""))
    well = [_fuzz(load(name), given) for name in given.targets or NAMES]
    sys.exit(0 if all(well) else 1)


def _fuzz(target: Target, given: argparse.Namespace) -> bool:
    if given.driver == "plain":
        outcome = plain.fuzz(target, seed=given.seed, inputs_max=sys.maxsize, seconds=given.seconds)
        _show(target.name, outcome.inputs, outcome.seconds, None, outcome.features, well=outcome.failure is None)
        if outcome.failure is not None:
            traceback.print_exception(outcome.failure.error)
            click.echo(repr(outcome.failure.data))
        return outcome.failure is None
    ran = guided.run(target, seed=given.seed, seconds=given.seconds)
    _show(target.name, ran.inputs, ran.seconds, ran.edges, ran.features, well=ran.is_good)
    if not ran.is_good:
        click.echo(ran.said)
        for data in ran.failures:
            click.echo(repr(data))
    if given.keep:
        _keep(target, ran.corpus, given.keep)
    return ran.is_good


def _show(name: str, count: int, seconds: float, edges: int | None, features: int, *, well: bool) -> None:
    rate = count / seconds if seconds else 0.0
    row = (name, f"{count:,}", f"{rate:,.0f}", "-" if edges is None else edges, features, "" if well else "ESCAPED")
    click.echo(_ROW.format(*row))


def _keep(target: Target, corpus: tuple[bytes, ...], room: int) -> None:
    """Keep the shortest inputs whose outcomes are new to the corpus."""
    seen = {target.run(data) for data in inputs(target)}
    found = []
    for data in sorted(corpus, key=lambda each: (len(each), each)):
        word = target.run(data)
        if word not in seen and len(data) <= room:
            seen.add(word)
            room -= len(data)
            found.append(data)
    add_to_corpus(target.name, found, "reached by fuzzing")


if __name__ == "__main__":
    main()
