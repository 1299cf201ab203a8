"""Fault: one fault of a scenario, and the table of all kinds of fault."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import count
from typing import Final

import attrs


@attrs.frozen
class Kind:
    """One kind of fault: its description, required keys, optional keys, and the marks that it makes.

    A kind that takes `to` also marks its beginning and its end.
    """

    does: str
    needs: tuple[str, ...] = ()
    takes: tuple[str, ...] = ()
    marks: tuple[str, ...] = ()


#: Each kind of fault. All kinds may have kind, name, at, lasts and nodes; times are in seconds.
KINDS: Final[Mapping[str, Kind]] = {
    "cut": Kind("no packet gets through between `nodes` and `to` (the others)", (), ("to", "both_ways", "permanent")),
    "flip-flop": Kind(
        "cut for `off`, then working for `on`, over and over", ("off", "on"), ("to", "both_ways", "permanent")
    ),
    "loss": Kind("each packet is lost with this `probability`", ("probability",), ("to", "both_ways", "permanent")),
    "udp-only-loss": Kind(
        "each packet is lost with this `probability`, streams pass", ("probability",), ("to", "both_ways")
    ),
    "tcp-only-loss": Kind(
        "streams lose each segment with this `probability`, packets pass", ("probability",), ("to", "both_ways")
    ),
    "mtu": Kind("packets and segments of more than `size` bytes are lost", ("size",), ("to", "both_ways")),
    "bursts": Kind(
        "losses come in bursts: each packet turns a good link bad with `probability`, a bad one good with `spread`",
        ("probability",),
        ("to", "both_ways", "spread", "permanent"),
    ),
    "duplicate": Kind(
        "a packet arrives twice, the second up to `spread` later",
        ("probability",),
        ("to", "both_ways", "spread", "permanent"),
    ),
    "reorder": Kind(
        "a packet is held back for up to `spread`", ("probability",), ("to", "both_ways", "spread", "permanent")
    ),
    "delay": Kind(
        "everything takes `seconds` longer, plus an exponential tail of mean `spread`",
        ("seconds",),
        ("to", "both_ways", "spread", "permanent"),
    ),
    "narrow": Kind(
        "`rate` bytes a second get through; `buffer` bytes may wait",
        ("rate",),
        ("to", "both_ways", "buffer", "permanent"),
    ),
    "bit-flips": Kind("one bit of a packet is flipped", ("probability",), ("to", "both_ways", "permanent")),
    "swizzle": Kind("a third of `nodes` is cut off one after the other, and reconnected in reverse order", ("every",)),
    "forge": Kind(
        "one of `nodes` receives a forged packet: junk, a corrupted packet, or one under a wrong key",
        ("every",),
        (),
        ("forge",),
    ),
    "replay": Kind(
        "one of `nodes` receives a copy of a packet that is at least `seconds` old",
        ("every",),
        ("seconds",),
        ("replay",),
    ),
    "impostor": Kind(
        "a holder of the cluster's key sends one of `nodes` forged and old statements, dated `seconds` ahead, signed "
        "with a `certificate`: `none`, or one that is `foreign`, `other`, `revoked`, `ended`, `issued` or `numbered`",
        ("every", "certificate"),
        ("seconds",),
        ("impostor",),
    ),
    "rotate": Kind(
        "a key of the gossip is added at one of `nodes`; a third of `seconds` later it is used, and at their end the "
        "old one is given up",
        ("seconds",),
        (),
        ("key added", "key used", "key given up"),
    ),
    "output-rejected": Kind(
        "the kernel of `nodes` refuses all their packets and connects at once", (), (), ("output-rejected",)
    ),
    "clock-skew": Kind(
        "the wall clock is wrong by `seconds` (below 0: behind)", ("seconds",), ("permanent",), ("clock",)
    ),
    "clock-skew-at-start": Kind(
        "the wall clock is wrong by `seconds` from the first start until the fault ends", ("seconds",), (), ("clock",)
    ),
    "clock-drift": Kind(
        "both clocks gain `drift` seconds a second (below 0: lose)", ("drift",), ("permanent",), ("drift",)
    ),
    "block": Kind(
        "sending and receiving wait while timers run: for `off`, then working for `on`",
        (),
        ("off", "on"),
        ("block", "unblock"),
    ),
    "freeze": Kind(
        "everything stops, as under SIGSTOP: for `off`, then working for `on`",
        (),
        ("off", "on"),
        ("freeze", "unfreeze"),
    ),
    "slow": Kind("each arrival takes `seconds` to handle", ("seconds",), (), ("slow",)),
    "crash": Kind(
        "the process dies; it comes back after `lasts`, if given", (), ("disk", "permanent"), ("crash", "start")
    ),
    "crash-host": Kind(
        "the host falls silent; it comes back after `lasts`, if given",
        (),
        ("disk", "permanent"),
        ("crash-host", "start"),
    ),
    "leave": Kind(
        "the node leaves gracefully; it comes back after `lasts`, if given",
        (),
        ("disk", "permanent"),
        ("leave", "start"),
    ),
    "restart": Kind(
        "`nodes` die and come back `seconds` later, each `every` after the one before",
        ("seconds",),
        ("disk", "port", "every"),
        ("crash", "start"),
    ),
    "revoke": Kind(
        "the authority revokes the certificates of `nodes`; after `lasts`, if given, each has another and starts anew",
        (),
        ("disk",),
        ("revoke", "crash", "start"),
    ),
    "upgrade": Kind(
        "`nodes` are restarted with another `identity` mode, back after `seconds`, each `every` after the one before",
        ("seconds", "identity"),
        ("disk", "every"),
        ("crash", "start"),
    ),
    "churn": Kind(
        "one of `nodes` dies and comes back `seconds` later, over and over",
        ("every", "seconds"),
        ("disk",),
        ("crash", "crash-host", "start"),
    ),
}

#: What an impostor may sign with: nothing, or a certificate of another authority, one for another name and service, one
#: that was revoked, one that has ended, one by a stolen issuer beyond its delegation, or one by it that was revoked and
#: has the serial number of a node's.
CERTIFICATES: Final = ("none", "foreign", "other", "revoked", "ended", "issued", "numbered")

_ALWAYS: Final = ("kind", "name", "at", "lasts", "nodes")

#: Keys that may be below 0, for these kinds.
SIGNED: Final = ("clock-skew", "clock-skew-at-start", "clock-drift")


def as_tuple(value: str | Iterable[str]) -> tuple[str, ...]:
    """Return the strings as a tuple; a single string gives a tuple of one."""
    return (value,) if isinstance(value, str) else tuple(value)


@attrs.frozen(kw_only=True)
class Fault:
    """One fault: from ``at`` on, for ``lasts`` seconds, on ``nodes`` or on links."""

    kind: str
    name: str = ""  # names its random stream; by default the kind and a number
    at: float = 0.0
    lasts: float = 0.0  # 0: until the heal
    nodes: tuple[str, ...] = attrs.field(default=("*",), converter=as_tuple)
    to: tuple[str, ...] = attrs.field(default=("*",), converter=as_tuple)
    both_ways: bool = True
    probability: float = 0.0
    spread: float = 0.05
    off: float = 0.0
    on: float = 0.0
    every: float = 0.0
    seconds: float = 0.0
    drift: float = 0.0  # seconds a second
    rate: float = 0.0  # bytes a second
    buffer: int = 65_536  # bytes
    size: int = 0  # bytes
    disk: bool = False
    port: int = 0
    certificate: str = ""  # one of CERTIFICATES
    identity: str = ""  # off, prefer or require
    permanent: bool = False


def named(faults: Iterable[Fault]) -> tuple[Fault, ...]:
    """Return the faults with names; a name stays when other faults are removed, so that its draws do not change."""
    taken = dict.fromkeys(fault.name for fault in faults)
    named = []
    for fault in faults:
        numbered = (f"{fault.kind}-{number}" for number in count(1))
        name = fault.name or next(name for name in numbered if name not in taken)
        taken[name] = None
        named.append(attrs.evolve(fault, name=name))
    return tuple(named)


def keys_of(kind: str) -> tuple[str, ...]:
    """Return the keys that a fault of this kind may have."""
    return (*_ALWAYS, *KINDS[kind].needs, *KINDS[kind].takes)
