"""Troubles: what a node says, in the log and about itself, of a network or a clock that is half right."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import attrs

from gossipreg.limits import PACKET_BYTES_MAX
from gossipreg.protocol.engine import Engine
from gossipreg.protocol.membership.paths import Passes
from gossipreg.protocol.membership.peer_clocks import CLOCK_SKEW_MAX
from gossipreg.protocol.outputs import ClockChanged, ClockRefused, PathChanged, PolicyFromFuture
from gossipreg.runtime.log_limiter import LogLimiter

log = logging.getLogger(__name__)

#: Members that one sentence names; of the others it gives the number.
_NAMED_MAX = 8

#: Least time between two lines about one peer or writer (seconds).
_REPEAT_SECONDS = 60.0

#: Peers and writers that are told apart.
_TOLD_MAX = 256

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


def problems_of(engine: Engine, now: float) -> tuple[str, ...]:
    """What is wrong between this node and its peers, a sentence each. ``now``: see `Engine`."""
    return (*_name_problems(engine), *_clock_problems(engine, now), *_path_problems(engine))


def _name_problems(engine: Engine) -> Iterator[str]:
    identity = engine.identity
    if identity.conflict is not None:
        yield (
            f"the name {identity.name!r} is held by the member at {identity.conflict}, which is older: the others do "
            "not see what this node offers"
        )


def _clock_problems(engine: Engine, now: float) -> Iterator[str]:
    skew = engine.clock_skew(now)
    if skew is not None and abs(skew) > CLOCK_SKEW_MAX:
        joined = "" if engine.identity.announced else ": it is not let in until they agree"
        yield f"the clock is {_apart(skew)} that of the peers{joined}"


def _apart(skew: float) -> str:
    return f"{abs(skew):.0f} s {'ahead of' if skew > 0 else 'behind'}"


def _path_problems(engine: Engine) -> Iterator[str]:
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


@attrs.define(eq=False, repr=False)
class ClockReporter:
    """Tells of clocks that are off: a change at once, what comes again and again once a minute for each peer."""

    _log_limiter: LogLimiter = attrs.field(factory=lambda: LogLimiter(_REPEAT_SECONDS, _TOLD_MAX))

    def tell(self, news: ClockChanged | ClockRefused | PolicyFromFuture, now: float) -> None:
        """One line for ``news``, unless it was told lately; ``now`` in seconds, on any steady clock."""
        match news:
            case ClockChanged(None):
                log.info("the clock agrees with those of the peers again")
            case ClockChanged(skew):
                assert skew is not None, "the case before"
                log.warning("the clock is %s that of the peers: set it right", _apart(skew))
            case PolicyFromFuture(restamped=True):
                log.warning(
                    "policy %s of %s was stamped %.0f s ahead of the clock, and so refused by others: it is said again",
                    news.key,
                    news.writer,
                    news.ahead,
                )
            case PolicyFromFuture() if self._log_limiter.admit(("policy", news.writer), now):
                log.warning(
                    "policy %s is refused: %s, which set it, stamped it %.0f s ahead of the clock here; "
                    "synchronise both clocks, then set it again",
                    news.key,
                    news.writer,
                    news.ahead,
                )
            case ClockRefused() if self._log_limiter.admit(("newcomer", news.peer.host), now):
                log.warning(
                    "a node at %s is not let in: its clock is %s ours, %.0f s are allowed: synchronise both clocks",
                    news.peer,
                    _apart(news.skew),
                    CLOCK_SKEW_MAX,
                )


def clock_detail(skew: float) -> str:
    """Why a node is not let in by a seed whose clock is ``skew`` seconds ahead of ours (below 0: behind)."""
    return (
        f"the clock here is {_apart(-skew)} its clock, {CLOCK_SKEW_MAX:.0f} s are allowed: synchronise both clocks "
        "(it joins when they agree)"
    )


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
