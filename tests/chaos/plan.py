"""Plan of a run, drawn from its seed: operations and faults, with offsets from the start of their phase.

The plan depends on nothing that happens, so that a seed gives the same plan on every machine. Operations are drawn from
earlier operations, not from answers: an operation on an instance that was never accepted is refused, which is also in
the history.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from typing import Any, Final

import attrs

from tests.chaos.faults import NEMESES, Fault

#: Services, by their use: a policy that changes all weights, policies on one instance, none, roles.
SPLIT, TUNED, PLAIN, ROLES = "orders", "billing", "mail", "pg"
SERVICES: Final = (SPLIT, TUNED, PLAIN, ROLES)

#: Instances that each host registers and removes repeatedly, so that removed ones could come back.
_IDS_PER_HOST: Final = 7

#: A time to live longer than any run: the health is that of the last heartbeat (seconds; the maximum).
LONG_TTL: Final = 86_400.0

#: A time to live without heartbeats: critical once it has passed (seconds).
SHORT_TTL: Final = 1.0

#: The number of the instance that gets heartbeats, and their statuses. Never critical: after some failures a check is
#: flapping, and needs more successes than it gets here.
_BEATEN: Final = 3
_HEALTHS: Final = ("passing", "warning")

KINDS: Final = ("register", "deregister", "beat", "maintain", "set", "remove", "drain")
_CHANCES: Final = (40, 18, 14, 6, 12, 6, 4)


@attrs.frozen
class Operation:
    """One operation at one host's agent. ``number`` is unique in the run, and rises with time."""

    number: int
    at: float  # seconds since the beginning of the phase
    host: int
    kind: str  # one of `KINDS`
    id: str = ""
    service: str = ""
    weight: int = 1
    ttl: float = 0.0
    role: str = ""
    health: str = ""  # of a heartbeat
    on: bool = False  # maintenance or draining begins, rather than ends
    key: str = ""  # of a policy


@attrs.frozen
class Phase:
    """Faults and operations, then a heal, then a check."""

    number: int
    length: float  # seconds until everything is healed
    faults: tuple[Fault, ...]
    operations: tuple[Operation, ...]


def draw_phases(
    seed: int, *, agents: int, nemeses: Sequence[str], rate: float, length: float, mixed: bool = True
) -> Iterator[Phase]:
    """Yield the phases of the run with that seed, without end.

    ``rate``: operations a second, over all hosts. ``length``: seconds of faults in a phase. ``mixed``: a phase may have
    two or three nemeses at a time; otherwise one each, in a random order.
    """
    rng = random.Random(f"order/{seed}")
    order: list[str] = []
    drawer = _Drawer(seed, agents, rate)
    for number in range(1, 1_000_000):
        if not order:
            order = rng.sample(list(nemeses), len(nemeses))
        chosen = [order.pop()]
        if mixed and rng.random() < 0.5:
            for _ in range(rng.choice((1, 1, 2))):
                others = [each for each in nemeses if all(_go_together(each, one) for one in chosen)]
                chosen += rng.sample(others, min(len(others), 1))
        yield drawer.phase(number, length, chosen)


def _go_together(one: str, other: str) -> bool:
    """Whether two faults may be active in one phase.

    Two that end or start processes would interfere; and with a namesake the plan does not determine which of the two
    agents exits.
    """
    if one == other or "namesake" in (one, other):
        return False
    return not (NEMESES[one].handles_process and NEMESES[other].handles_process)


@attrs.define
class _Drawer:
    seed: int
    agents: int
    rate: float
    _numbers: int = 0
    _offered: list[set[int]] = attrs.field(init=False)  # instances registered if all operations succeeded, by host

    def __attrs_post_init__(self) -> None:
        self._offered = [set() for _ in range(self.agents)]

    def phase(self, number: int, length: float, nemeses: Sequence[str]) -> Phase:
        rng = random.Random(f"phase/{self.seed}/{number}")
        faults = tuple(fault for name in nemeses for fault in NEMESES[name].draw(rng, self.agents, length))
        times = sorted(rng.uniform(0.0, length) for _ in range(round(self.rate * length)))
        operations = tuple(self._operation(rng, at) for at in times)
        return Phase(number, length, tuple(sorted(faults, key=lambda each: each.at)), operations)

    def _operation(self, rng: random.Random, at: float) -> Operation:
        self._numbers += 1
        host = rng.randrange(self.agents)
        [kind] = rng.choices(KINDS, _CHANCES)
        details = self._details(rng, kind, host)
        return Operation(self._numbers, round(at, 3), host, **details)

    def _details(self, rng: random.Random, kind: str, host: int) -> dict[str, Any]:
        if kind in ("set", "remove"):
            return {"kind": kind, "key": rng.choice(_keys(self.agents))}
        if kind == "drain":
            return {"kind": kind, "on": rng.random() < 0.4}
        number = _BEATEN if kind == "beat" else rng.randrange(_IDS_PER_HOST)
        instance = instance_of(host, number)
        offered = self._offered[host]
        if kind == "register" or number not in offered:
            offered.add(number)
            return {"kind": "register", **instance, "weight": rng.randint(1, 9)}
        if kind == "beat":
            return {"kind": kind, "id": instance["id"], "health": rng.choice(_HEALTHS)}
        if kind == "deregister":
            offered.remove(number)
            return {"kind": kind, "id": instance["id"], "service": instance["service"]}
        return {"kind": kind, "id": instance["id"], "on": rng.random() < 0.5}


def instance_of(host: int, number: int) -> dict[str, Any]:
    """Return the fixed fields of one of a host's instances; its kind depends on its number."""
    id_ = f"n{host + 1}-{number}"
    if number == _BEATEN:
        return {"id": id_, "service": PLAIN, "ttl": LONG_TTL}
    if number == 4:
        return {"id": id_, "service": PLAIN, "ttl": SHORT_TTL}
    if number == 5:
        return {"id": id_, "service": ROLES, "role": "primary"}
    return {"id": id_, "service": (SPLIT, TUNED, PLAIN)[number % 3]}


def _keys(agents: int) -> list[str]:
    """Return the keys of the policies that are set and removed: few, so that writers conflict."""
    tuned = [f"{kind}:{TUNED}:n{host + 1}-1" for kind in ("weight", "maintenance") for host in range(min(agents, 3))]
    return [f"split:{SPLIT}", f"split:{SPLIT}", *tuned]
