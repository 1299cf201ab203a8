"""Scene: actions at given times, for a runner on the simulator or on trio."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

import attrs

from gossipreg.model import Address, Instance
from gossipreg.policy import Rule
from gossipreg_sim.world import ns
from tests.sim.conformance.diary import Diary

#: Seed of all random numbers of a scene.
SEED: Final = 11

#: The port of every node on its host.
PORT: Final = 7940


def address_of(name: str) -> Address:
    """Return a node's address; the simulator assigns the same one if nodes start in order."""
    return Address(f"198.18.0.{name[1:]}", PORT)


def name_at(host: str) -> str:
    """Return the node on a host."""
    return f"n{host.rpartition('.')[2]}"


def latency(sender: str, receiver: str, now: float) -> int:
    """Return the one-way latency (ns) of a packet sent at ``now`` (seconds).

    The order of arrivals never depends on chance: no two sums of links are equal, and paths grow by forty microseconds
    per second. Otherwise a node's suspicion could reach a peer in the very instant in which the peer reaches the same
    conclusion.
    """
    return ns(0.0005) + 7919 * int(sender[1:]) + 104_729 * int(receiver[1:]) + ns(now * 4e-5)


def instance_of(owner: str, service: str) -> Instance:
    """Return the instance of ``service`` that ``owner`` offers."""
    return Instance(id=f"{service}-{owner}", service=service, host=address_of(owner).host, port=8000, owner=owner)


class SceneCluster(Protocol):
    """A runner's cluster: it performs actions, and records the resulting beliefs in its diary."""

    diary: Diary

    def start(self, name: str, *seeds: str) -> None:
        """Start a run of ``name``."""

    def offer(self, name: str, service: str) -> None:
        """Register an instance at ``name``."""

    def withdraw(self, name: str, service: str) -> None:
        """Deregister it."""

    def rule(self, name: str, rule: Rule) -> None:
        """Set a policy at ``name``."""

    def unrule(self, name: str, key: str) -> None:
        """Remove the policy at ``name``."""

    def crash(self, name: str) -> None:
        """Kill a process; its kernel refuses connections and closes streams."""

    def silence(self, name: str) -> None:
        """Silence a host; nothing answers there."""

    def leave(self, name: str) -> None:
        """Let a node leave gracefully: drain, leave message, close."""

    def cut(self, *names: str) -> None:
        """Cut the links between these nodes and the others."""

    def mend(self) -> None:
        """Restore all links."""


Act = Callable[[SceneCluster], None]


@attrs.frozen
class Scene:
    """Actions with their times (seconds), and the end of the scene."""

    title: str
    acts: tuple[tuple[float, Act], ...]
    ends: float


def _started(name: str, *seeds: str) -> tuple[float, Act]:
    return 0.0, lambda cluster: cluster.start(name, *seeds)


def _offered(name: str) -> tuple[float, Act]:
    return 0.1, lambda cluster: cluster.offer(name, "web")


def scene(title: str, count: int, *acts: tuple[float, Act], ends: float) -> Scene:
    """Return a scene of ``count`` nodes that start at once, all with the first as seed and with one offer each."""
    names = [f"n{number}" for number in range(count)]
    starts = [_started("n0"), *(_started(name, "n0") for name in names[1:])]
    return Scene(title, (*starts, *map(_offered, names), *acts), ends)
