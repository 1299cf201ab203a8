"""What a DNS answer costs that is not cached, for services of several sizes: `python -m tests.bench.dns_fresh`.

The first answer after a change of the service looks at every instance once. Each further one is drawn and encoded as
far as it fits, so it should not depend on the size. Figures are CPU time of the thread.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Sequence
from random import Random
from typing import Any, Final

import attrs
import click
import dns.message

from gossipreg.frontends.dns.directory import Directory
from gossipreg.frontends.dns.responder import DnsResponder
from gossipreg.frontends.dns.zone import Zone
from gossipreg.model import Address, Instance
from tests.bench.figures import Figure
from tests.bench.tables import machine, markdown

SIZES: Final = (100, 1000, 5000)

#: What is asked: a name and a type.
QUESTIONS: Final = (("orders", "SRV"), ("orders", "A"), ("v2.orders", "SRV"))

#: Answers after each change: fewer than are cached before one of them is used again.
_ANSWERS: Final = 60


@attrs.define
class Changing:
    """A registry of one service, of which one instance changes now and then."""

    instances: tuple[Instance, ...]
    changes: int = 0
    address: Address = Address("127.0.0.1", 7940)

    @classmethod
    def of(cls, size: int) -> Changing:
        """A service of so many instances, half of them with a tag."""
        return cls(
            tuple(
                Instance(
                    id=f"orders-{number:05}",
                    service="orders",
                    host=f"10.0.{number // 250}.{number % 250 + 1}",
                    port=8080,
                    tags=("v2",) if number % 2 else (),
                    weight=1 + number % 5,
                    owner=f"web-{number}",
                )
                for number in range(size)
            )
        )

    def change(self) -> None:
        """Change the first instance."""
        self.changes += 1
        self.instances = (attrs.evolve(self.instances[0], weight=1 + self.changes % 9), *self.instances[1:])

    def lookup(self, service: str, *, healthy: bool = True) -> tuple[Instance, ...]:
        """All, from memory."""
        return self.instances if service == "orders" else ()

    def index(self, service: str) -> int:
        """How often the service changed."""
        return self.changes if service == "orders" else 0

    def events(self) -> Any:
        """None: the benchmark does not follow."""
        raise AssertionError


def measure(size: int, name: str, type_: str, rounds: int) -> tuple[list[float], list[float]]:
    """The cost of the first answer after each change (milliseconds), and the mean of those after it (microseconds)."""
    node = Changing.of(size)
    zone = Zone(node, Directory(node), Address("127.0.0.1", 0), ("gossipreg",), 0, Random(1))  # type: ignore[arg-type]
    responder = DnsResponder(zone)
    query = dns.message.make_query(f"{name}.service.gossipreg", type_, use_edns=0, payload=1232).to_wire()
    first, further = [], []
    for _ in range(rounds):
        node.change()
        began = time.thread_time()
        responder.answer(query)
        then = time.thread_time()
        for _ in range(_ANSWERS):
            responder.answer(query)
        first.append(1e3 * (then - began))
        further.append(1e6 * (time.thread_time() - then) / _ANSWERS)
    return first, further


def table(sizes: Sequence[int], rounds: int) -> str:
    """The figures as they stand in the documentation."""
    rows = [["instances", "question", "first answer after a change, ms", "each further one, µs"]]
    for name, type_ in QUESTIONS:
        for size in sizes:
            first, further = measure(size, name, type_, rounds)
            rows.append([f"{size:,}", f"{name} {type_}", str(Figure.of(first)), str(Figure.of(further))])
    return markdown(rows)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=20, help="changes (default: %(default)s)")
    given = parser.parse_args()
    load_before = os.getloadavg()[0]
    click.echo(table(SIZES, given.rounds))
    click.echo(f"\n`python -m tests.bench.dns_fresh`; {machine(load_before)}.")


if __name__ == "__main__":
    main()
