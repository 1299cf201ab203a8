"""A typical instance, for benchmarks that need thousands of them."""

from __future__ import annotations

from typing import Any

from gossipreg.model import Instance


def offer(number: int, *, weight: int = 1) -> Instance:
    """An instance like those that people register: about a hundred bytes, packed."""
    return Instance(
        id=f"orders-{number:05}",
        service=f"orders-{number % 100}",
        host=f"10.0.{number // 250}.{number % 250}",
        port=8080,
        weight=weight,
        zone="eu-central-1a",
        tags=("v2", "canary"),
        meta={"build": "1423"},
    )


def spread(numbers: range, count: int) -> list[int]:
    """``count`` of ``numbers``, at equal distances."""
    return [numbers[place * len(numbers) // count] for place in range(count)]


def body(instance: Instance) -> dict[str, Any]:
    """What a client sends to an agent to have it registered."""
    plain = {name: getattr(instance, name) for name in ("id", "service", "host", "port", "zone")}
    return plain | {"tags": list(instance.tags), "meta": dict(instance.meta)}
