"""A scene: actions at their times, for a runner that is either the simulator's or trio's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

import attrs

from gossipreg.model import Address, Instance
from gossipreg.policy import Rule
from gossipreg_sim.world import ns
from tests.sim.conformance.diary import Diary

#: What all random numbers of a scene are drawn from.
SEED: Final = 11

#: The port that every node has at its host.
PORT: Final = 7940


def address_of(name: str) -> Address:
    """Where the node lives; the simulator gives the same addresses if nodes are started in their order."""
    return Address(f"198.18.0.{name[1:]}", PORT)


def name_at(host: str) -> str:
    """Who lives at a host."""
    return f"n{host.rpartition('.')[2]}"


def latency(sender: str, receiver: str, now: float) -> int:
    """One way (ns), for what is sent at ``now`` (seconds).

    The order of arrivals is never left to chance: no two sums of links are alike, and paths grow longer by forty
    microseconds a second. Else what one node concludes some seconds after it had told another of its suspicion would
    reach that one in the very instant in which it concludes the same.
    """
    return ns(0.0005) + 7919 * int(sender[1:]) + 104_729 * int(receiver[1:]) + ns(now * 4e-5)


def instance_of(owner: str, service: str) -> Instance:
    """What ``owner`` offers as ``service``."""
    return Instance(id=f"{service}-{owner}", service=service, host=address_of(owner).host, port=8000, owner=owner)


class Stage(Protocol):
    """Where a scene is run: these things can be done there, and what came of it is in the diary."""

    diary: Diary

    def start(self, name: str, *seeds: str) -> None:
        """Begin a life of ``name``."""

    def offer(self, name: str, service: str) -> None:
        """Register an instance at ``name``."""

    def withdraw(self, name: str, service: str) -> None:
        """Take it back."""

    def rule(self, name: str, rule: Rule) -> None:
        """Set a policy at ``name``."""

    def unrule(self, name: str, key: str) -> None:
        """Remove it there."""

    def crash(self, name: str) -> None:
        """End a process; its kernel refuses and closes."""

    def silence(self, name: str) -> None:
        """End a host; nothing answers there."""

    def leave(self, name: str) -> None:
        """Let a node go in good order: drain, goodbye, close."""

    def cut(self, *names: str) -> None:
        """Let nothing through between these and the others."""

    def mend(self) -> None:
        """Let everything through."""


Act = Callable[[Stage], None]


@attrs.frozen
class Scene:
    """Acts at their times (seconds), and when it is over."""

    title: str
    acts: tuple[tuple[float, Act], ...]
    ends: float


def _started(name: str, *seeds: str) -> tuple[float, Act]:
    return 0.0, lambda stage: stage.start(name, *seeds)


def _offered(name: str) -> tuple[float, Act]:
    return 0.1, lambda stage: stage.offer(name, "web")


def scene(title: str, count: int, *acts: tuple[float, Act], ends: float) -> Scene:
    """``acts`` happen to ``count`` nodes that start at once, the first being everybody's seed, each with an offer."""
    names = [f"n{number}" for number in range(count)]
    starts = [_started("n0"), *(_started(name, "n0") for name in names[1:])]
    return Scene(title, (*starts, *map(_offered, names), *acts), ends)
