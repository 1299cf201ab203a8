"""How exact the balancer's shares are: `python -m tests.bench.balance`. Pure simulation; the same on every machine."""

from __future__ import annotations

import heapq
from collections import Counter
from random import Random
from typing import Final

import click

from gossipreg.frontends.proxy.backend import Backend
from gossipreg.frontends.proxy.balancer import Balance, Balancer
from gossipreg.model import Instance
from tests.bench.tables import markdown

#: The instances' weights, by their owners.
WEIGHTS: Final = {"small": 1, "big": 99}

CONNECTIONS: Final = 10_000

#: How long short and long connections take (seconds).
SHORT: Final = 0.01
LONG: Final = 1.0


def simulate(balance: Balance, callers: int, seed: int = 1) -> Counter[str]:
    """How many connections each instance gets from ``callers`` that call again and again, every second one for long."""
    rng = Random(seed)
    balancer = Balancer(rng, balance=balance)
    balancer.replace(
        Instance(id=name, service="orders", host="127.0.0.1", port=80, owner=name, weight=weight)
        for name, weight in WEIGHTS.items()
    )
    counts: Counter[str] = Counter()
    ends: list[tuple[float, int, Backend]] = []
    now = 0.0
    for number in range(CONNECTIONS):
        if len(ends) == callers:
            now, _, ended = heapq.heappop(ends)
            ended.ended()
        backend = balancer.choose((), now)
        assert backend is not None, "there are instances with room"
        backend.chosen(now)
        counts[backend.instance.owner] += 1
        lasts = (LONG if rng.random() < 0.5 else SHORT) * rng.uniform(0.5, 1.5)
        heapq.heappush(ends, (now + lasts, number, backend))
    return counts


def chi_square(counts: Counter[str]) -> float:
    """How far the counts are from the weights: Pearson's χ², with one degree of freedom for two instances."""
    weights = sum(WEIGHTS.values())
    expected = {name: counts.total() * weight / weights for name, weight in WEIGHTS.items()}
    return sum((counts[name] - share) ** 2 / share for name, share in expected.items())


def table() -> str:
    """The figures for people, as they stand in the documentation."""
    rows = [["balance", "callers", "to the small one, of 100 expected", "χ²"]]
    for balance in Balance:
        for callers in (1, 10, 50):
            counts = simulate(balance, callers)
            rows.append([f"`{balance}`", str(callers), str(counts["small"]), f"{chi_square(counts):.2f}"])
    return markdown(rows)


if __name__ == "__main__":
    click.echo(table())
