"""Nemeses by name, with their effects on hosts and their network as data. `tests.chaos.nemeses` executes them."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any, Final

import attrs

from tests.chaos.packets import Rule


@attrs.frozen
class Fault:
    """One temporary fault. Times are seconds since the start of the phase."""

    nemesis: str
    at: float
    until: float
    hosts: tuple[int, ...] = ()  # the affected hosts
    rules: tuple[Rule, ...] = ()  # of the switch, while it lasts
    amount: float = 0.0  # meaning depends on the nemesis: seconds of a clock, ...

    def description(self) -> str:
        """The fault in one line of the timeline."""
        hosts = ", ".join(f"n{host + 1}" for host in self.hosts)
        extent = f" ({self.amount:g})" if self.amount else ""
        return f"{self.nemesis}{extent}{' at ' + hosts if hosts else ''}"


Draw = Callable[[random.Random, int, float], list[Fault]]


@attrs.frozen
class Nemesis:
    """A kind of fault. ``handles_process``: it starts, ends or stops processes."""

    name: str
    what: str
    draw: Draw
    handles_process: bool = False


def _span(rng: random.Random, length: float) -> tuple[float, float]:
    """Draw the start and end of a fault, which takes most of the phase."""
    return round(rng.uniform(0.05, 0.2) * length, 3), round(rng.uniform(0.7, 1.0) * length, 3)


def _on_some(name: str, most: int = 1, amounts: tuple[float, ...] = (0.0,)) -> Draw:
    """Affect one to ``most`` hosts, but always fewer than half."""

    def draw(rng: random.Random, agents: int, length: float) -> list[Fault]:
        at, until = _span(rng, length)
        count = rng.randint(1, min(most, (agents - 1) // 2))
        return [Fault(name, at, until, tuple(sorted(rng.sample(range(agents), count))), (), rng.choice(amounts))]

    return draw


def _between(some: frozenset[int], others: frozenset[int], **what: Any) -> tuple[Rule, ...]:
    return Rule(some, others, **what), Rule(others, some, **what)


def _everywhere(name: str, rule: Callable[[random.Random], dict[str, Any]]) -> Draw:
    """One rule on all links."""

    def draw(rng: random.Random, agents: int, length: float) -> list[Fault]:
        at, until = _span(rng, length)
        all_hosts = frozenset(range(agents))
        return [Fault(name, at, until, (), (Rule(all_hosts, all_hosts, **rule(rng)),))]

    return draw


def _around_one(name: str, what: dict[str, Any], *, ways: int = 2) -> Draw:
    """One rule on all links of one host: in both directions, or only from it or only to it."""

    def draw(rng: random.Random, agents: int, length: float) -> list[Fault]:
        at, until = _span(rng, length)
        host = rng.randrange(agents)
        one, others = frozenset({host}), frozenset(range(agents)) - {host}
        rules = _between(one, others, **what)
        return [Fault(name, at, until, (host,), tuple(rng.sample(rules, ways)))]

    return draw


def _separated(some: frozenset[int], agents: int) -> tuple[Rule, ...]:
    return _between(some, frozenset(range(agents)) - some, drop=1.0)


def _halves(rng: random.Random, agents: int, length: float) -> list[Fault]:
    at, until = _span(rng, length)
    some = frozenset(rng.sample(range(agents), agents // 2))
    return [Fault("halves", at, until, tuple(sorted(some)), _separated(some, agents))]


def _few(rng: random.Random, agents: int, length: float) -> list[Fault]:
    """The same minority is cut off three times."""
    some = frozenset(rng.sample(range(agents), rng.randint(1, max(1, agents // 3))))
    third = length / 3
    return [
        Fault("few", round(turn * third + 0.1, 3), round((turn + 0.6) * third, 3), tuple(sorted(some)), rules)
        for turn in range(3)
        for rules in (_separated(some, agents),)
    ]


def _at_once(name: str) -> Draw:
    """Affect one or two hosts, and end at once."""

    def draw(rng: random.Random, agents: int, length: float) -> list[Fault]:
        return [attrs.evolve(each, until=each.at) for each in _on_some(name, 2)(rng, agents, length)]

    return draw


#: Rule fields of faults of one host's network, and of all links.
_LOST: Final = {"drop": 1.0}
_UDP_LOST: Final = {"drop": 1.0, "protocol": "udp"}
_TCP_LOST: Final = {"drop": 1.0, "protocol": "tcp"}
_LONG_LOST: Final = {"drop": 1.0, "longer_than": 600}

#: Clock jumps (seconds): beyond the maximum age of packets, and beyond the allowed lead of a policy's stamp.
_JUMPS: Final = (90.0, -90.0, 7200.0, -7200.0)
_DAYS: Final = (172_800.0, -172_800.0)


def _loss(rng: random.Random) -> dict[str, Any]:
    return {"drop": rng.choice((0.05, 0.1, 0.3))}


def _delay(rng: random.Random) -> dict[str, Any]:
    return {"delay": (0.0, rng.choice((0.02, 0.1, 0.3)))}


def _duplicates(rng: random.Random) -> dict[str, Any]:
    return {"duplicate": rng.choice((0.2, 0.5)), "delay": (0.0, 0.02)}


def _corruption(rng: random.Random) -> dict[str, Any]:
    return {"corrupt": rng.choice((0.02, 0.1))}


_NEMESES: Final = (
    Nemesis("kill", "SIGKILL; started again with its disk", _on_some("kill", 2), handles_process=True),
    Nemesis("pause", "SIGSTOP, and SIGCONT later", _on_some("pause", 2), handles_process=True),
    Nemesis("restart", "SIGTERM; started again at once", _at_once("restart"), handles_process=True),
    Nemesis("wipe", "SIGKILL; started again with an empty disk", _on_some("wipe"), handles_process=True),
    Nemesis("unplugged", "one host is cut off from all others", _around_one("unplugged", _LOST)),
    Nemesis("halves", "the agents are split in two halves", _halves),
    Nemesis("few", "a minority is cut off, three times", _few),
    Nemesis("one-way", "all packets from one host, or all to it, are lost", _around_one("one-way", _LOST, ways=1)),
    Nemesis("udp", "UDP of one host is lost, TCP passes", _around_one("udp", _UDP_LOST)),
    Nemesis("tcp", "TCP of one host is lost, UDP passes", _around_one("tcp", _TCP_LOST)),
    Nemesis("mtu", "packets over 600 bytes to and from one host are lost", _around_one("mtu", _LONG_LOST)),
    Nemesis("loss", "packets are lost everywhere", _everywhere("loss", _loss)),
    Nemesis("delay", "packets are late, and overtake each other", _everywhere("delay", _delay)),
    Nemesis("duplicates", "packets come twice", _everywhere("duplicates", _duplicates)),
    Nemesis("corruption", "packets are corrupted so that checksums hold", _everywhere("corruption", _corruption)),
    Nemesis("clock", "the wall clock of one host jumps, and is later corrected", _on_some("clock", 1, _JUMPS)),
    Nemesis("days", "the wall clock of one host is two days off, and is later corrected", _on_some("days", 1, _DAYS)),
    Nemesis("disk", "the disk of one host is full", _on_some("disk")),
    Nemesis(
        "descriptors",
        "one agent can open no or only two more descriptors",
        _on_some("descriptors", 1, (0.0, 2.0)),
    ),
    Nemesis("renumber", "another address; the agent is restarted later", _on_some("renumber"), handles_process=True),
    Nemesis("moved", "another address; the agent keeps running", _on_some("moved"), handles_process=True),
    Nemesis("namesake", "a second agent starts with a name in use", _on_some("namesake"), handles_process=True),
    Nemesis("reject", "one host's own firewall rejects all that it sends", _on_some("reject")),
    Nemesis("rotate", "a key of the gossip is added, and later used in place of the one so far", _on_some("rotate")),
)

NEMESES: Final = {each.name: each for each in _NEMESES}

#: Nemeses that run only on request: the product does not keep its guarantees under these yet.
WAITING: Final[tuple[str, ...]] = ()
