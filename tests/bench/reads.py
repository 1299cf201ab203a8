"""Reads per second that a program gets from its own node, beside a lookup in a dict in the same run.

    python -m tests.bench.reads [--instances N] [--json]

Each figure is the best of several rounds: whatever else the machine does can only make a round slower. The rounds of
all rows take turns, so that a busy spell does not fall on one row alone.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import timeit
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from gossipreg import Config
from gossipreg.embed.chooser import Chooser
from gossipreg.embed.threads import BlockingNode, open_node
from tests.bench.figures import ratio_text
from tests.bench.tables import machine, markdown, verdict

ROUNDS: Final = 9

#: How long a round should take (seconds): long beside the interpreter's switch interval of 5 ms.
_ROUND_SECONDS: Final = 0.05

#: What is promised, in reads a second.
TARGETS: Final = {"lookup": 1_000_000, "pick": 500_000}


def rows_of(node: BlockingNode) -> dict[str, Callable[[], object]]:
    """What is measured, by name."""
    table = {"orders": node.lookup("orders")}
    trio_node = node._node
    chooser, turns = Chooser(node), Chooser(node, strategy="round-robin")
    least, keyed = Chooser(node, strategy="least-loaded"), Chooser(node)
    return {
        "dict": lambda: table.get("orders"),
        "lookup": lambda: node.lookup("orders"),
        "lookup, trio": lambda: trio_node.lookup("orders"),
        "pick": lambda: node.pick("orders"),
        "pick, trio": lambda: trio_node.pick("orders"),
        "choose": lambda: chooser.choose("orders"),
        "choose, round-robin": lambda: turns.choose("orders"),
        "choose, least-loaded": lambda: least.choose("orders"),
        "choose, by key": lambda: keyed.choose("orders", key="customer-7"),
    }


def measure(rows: dict[str, Callable[[], object]], *, rounds: int = ROUNDS) -> dict[str, float]:
    """Reads a second of each row, the best of so many rounds."""
    timers = {name: timeit.Timer(row) for name, row in rows.items()}
    numbers = {name: _number(timer) for name, timer in timers.items()}
    seconds = dict.fromkeys(rows, float("inf"))
    for _ in range(rounds):
        for name, timer in timers.items():
            seconds[name] = min(seconds[name], timer.timeit(numbers[name]))
    return {name: numbers[name] / seconds[name] for name in rows}


def _number(timer: timeit.Timer) -> int:
    """How many reads take about a round."""
    number = 1000
    return max(number, round(number * _ROUND_SECONDS / timer.timeit(number)))


def table(figures: dict[str, float]) -> str:
    """The figures for people, as they stand in the documentation."""
    rows = [["read", "a second", "beside a dict", "target", ""]]
    for name, figure in figures.items():
        target = [f"≥ {TARGETS[name]:,}", verdict(figure >= TARGETS[name])] if name in TARGETS else ["", ""]
        rows.append([name, f"{figure:,.0f}", ratio_text(figure / figures["dict"]), *target])
    return markdown(rows)


def run(instances: int, *, rounds: int = ROUNDS) -> dict[str, float]:
    """All figures, from a node that offers so many instances, read from a thread that is not its own."""
    with open_node(Config(name="reads", bind="127.0.0.1:0")) as node:
        for port in range(1, instances + 1):
            node.register("orders", port=port)
        with ThreadPoolExecutor(1) as pool:
            return pool.submit(measure, rows_of(node), rounds=rounds).result()


def main() -> None:
    """Measure and print."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--instances", type=int, default=5, help="how many instances the service has (default: 5)")
    options.add_argument("--json", action="store_true", help="for programs")
    chosen = options.parse_args()
    load = os.getloadavg()[0]
    figures = run(chosen.instances)
    said = json.dumps(figures) if chosen.json else f"{chosen.instances} instances; {machine(load)}.\n\n{table(figures)}"
    sys.stdout.write(f"{said}\n")


if __name__ == "__main__":
    main()
