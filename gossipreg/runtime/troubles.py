"""Troubles: what a node says, in the log and about itself, of a network or a clock that is half right."""

from __future__ import annotations

import logging
from collections.abc import Iterator

from gossipreg.limits import PACKET_BYTES_MAX
from gossipreg.protocol.engine import Engine
from gossipreg.protocol.membership.paths import Passes
from gossipreg.protocol.outputs import PathChanged

log = logging.getLogger(__name__)

#: Members that one sentence names; of the others it gives the number.
_NAMED_MAX = 8

_SENTENCES = {
    Passes.STREAMS_ONLY: "packets do not pass, streams do",
    Passes.PACKETS_ONLY: "streams do not pass, packets do",
}


def path_states(engine: Engine) -> dict[str, str]:
    """What passes (`Passes`), by the name of each member to which not everything does; sorted by name."""
    states = {}
    for life, passes in engine.paths.troubled.items():
        member = engine.members.by_life(life)
        if member is not None and member.status.is_present:
            states[member.name] = str(passes)
    return dict(sorted(states.items()))


def troubles_of(engine: Engine) -> tuple[str, ...]:
    """What is wrong between this node and its peers, a sentence each."""
    return tuple(_path_troubles(engine))


def _path_troubles(engine: Engine) -> Iterator[str]:
    by_state: dict[str, list[str]] = {}
    for name, passes in path_states(engine).items():
        by_state.setdefault(passes, []).append(name)
    for passes, sentence in _SENTENCES.items():
        if names := by_state.get(passes):
            yield f"{sentence}: {_list(names)}"
    if names := by_state.get(Passes.SMALL_PACKETS):
        yield f"packets over {engine.paths.least_size} bytes do not pass: {_list(names)}"


def _list(names: list[str]) -> str:
    more = len(names) - _NAMED_MAX
    return ", ".join(names[:_NAMED_MAX]) + (f" and {more} more" if more > 0 else "")


def log_path(change: PathChanged) -> None:
    """Tell of a path on which something else passes than before."""
    member = change.member
    match change.passes:
        case Passes.STREAMS_ONLY if change.hears:
            log.warning("packets to %s do not pass (its own arrive), streams do: states are compared over them", member)
        case Passes.STREAMS_ONLY:
            log.warning("packets between us and %s do not pass, streams do: states are compared over them", member)
        case Passes.PACKETS_ONLY:
            log.warning("streams to %s do not pass, packets do: states are compared with other members", member)
        case Passes.SMALL_PACKETS:
            log.warning(
                "packets of %d bytes to %s do not pass: those that are sent have %d at most",
                PACKET_BYTES_MAX,
                member,
                change.size,
            )
        case _:
            log.info("packets and streams to %s pass again", member)
