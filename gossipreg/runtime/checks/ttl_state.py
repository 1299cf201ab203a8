"""TTL state: the state of an instance's ttl checks, as the data directory keeps it over a restart.

Only ttl checks are stored, since the node repeats all others right after a restart. Times are wall-clock seconds,
since a steady clock ends with its process. The time that the node was down counts against a heartbeat, as the service
could not know of that; a clock that was set back gives a check no more than one ttl.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import attrs
import msgpack

from gossipreg.check import Check, CheckKind
from gossipreg.model import Health
from gossipreg.msgpack_documents import read_msgpack
from gossipreg.protocol.registry.checks import CheckState, Finding


class UnusableTtlState(Exception):
    """Bytes that are no packed state of checks."""


@attrs.define(eq=False, repr=False)
class TtlState:
    """The state of one ttl check, on this process's steady clock (seconds)."""

    state: CheckState
    beats_until: float  # a heartbeat is expected before this
    output: str = ""  # of the last heartbeat


def pack(states: Sequence[TtlState], offset: float) -> bytes:
    """The state of the ttl checks of one instance. ``offset`` converts steady time to wall-clock time (seconds)."""
    packed: bytes = msgpack.packb(
        {
            each.state.check.name: {
                "ttl": each.state.check.ttl,
                "health": str(each.state.health),
                "reason": each.state.reason,
                "since": each.state.since + offset,
                "beats_until": each.beats_until + offset,
                "output": each.output,
                "heard": not each.state.is_new,
            }
            for each in states
        }
    )
    return packed


def unpack(body: bytes, checks: Sequence[Check], now: float, offset: float) -> dict[str, TtlState]:
    """The state of those of ``checks`` that `pack` stored, by name, as it is at ``now``. Raises `UnusableTtlState`.

    A check whose ttl has changed begins anew.
    """
    ttls = {check.name: check for check in checks if check.kind is CheckKind.TTL}
    try:
        said = read_msgpack(body)
        known = [(ttls[name], row) for name, row in said.items() if name in ttls]
        return {check.name: _state(check, row, now, offset) for check, row in known if _number(row["ttl"]) == check.ttl}
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise UnusableTtlState(f"it is of another version: {error}") from None


def _state(check: Check, row: Mapping[str, Any], now: float, offset: float) -> TtlState:
    ttl = check.ttl
    assert ttl is not None, "only ttl checks are kept"
    health, reason, output = Health(row["health"]), row["reason"], row["output"]
    if health is Health.MAINTENANCE or not isinstance(reason, str) or not isinstance(output, str):
        raise ValueError("a health, a reason and an output are expected")
    since = min(now, _number(row["since"]) - offset)
    beats_until = min(now + ttl, _number(row["beats_until"]) - offset)
    state = CheckState(check, since, health, reason, is_new=not row["heard"], scored=now)
    if beats_until <= now:
        for _ in range(min(check.failures, math.floor((now - beats_until) / ttl) + 1)):  # as many as were missed
            missed = Finding(Health.CRITICAL, f"no heartbeat for {ttl:g} s")
            output = missed.text
            if state.record(missed, now):
                state.since = max(since, beats_until)
        beats_until = now + ttl
    if state.expires is not None and state.expires < now + ttl:
        state.excuse(now + ttl - state.expires)  # time for a heartbeat before it is deregistered
    return TtlState(state, beats_until, output)


def _number(value: Any) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
        raise TypeError("a number is expected")
    return value
