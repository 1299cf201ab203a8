"""Diagnostics: what a node reports, in its log and about itself, of problems with network, clock, name or primaries.

A peer or a client may be able to cause the same report again and again, so a `LogLimiter` bounds each kind.
"""

from __future__ import annotations

import errno
import logging
import os
import time
from collections import Counter, deque
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator
from typing import Final

import attrs

from gossipreg.events import RoleEvent
from gossipreg.limits import PACKET_BYTES_MAX
from gossipreg.model import PRIMARY, Address, Instance
from gossipreg.observations import LinkState
from gossipreg.protocol.engine import Engine
from gossipreg.protocol.membership.paths import Passes
from gossipreg.protocol.membership.peer_clocks import CLOCK_SKEW_MAX
from gossipreg.protocol.outputs import ClockChanged, ClockRefused, PathChanged, PolicyFromFuture
from gossipreg.protocol.registry.view import View

log = logging.getLogger(__name__)

#: Least time between two lines about one peer, one policy writer or one errno (seconds).
_REPEAT_SECONDS = 60.0

#: Peers and policy writers, and errnos, that are limited one by one.
_PEERS_MAX = 256
_ERRNOS_MAX = 32

#: How long a send error counts as a problem (seconds): longer than from one try of a failed member to the next.
_PROBLEM_SECONDS = 10.0

#: What to look at, by the name of the errno.
_SEND_REMEDIES: Final = {
    "ECONNREFUSED": "nothing listens there: look whether its agent runs",
    "EHOSTUNREACH": "look at the routes of both hosts, and whether that one is up",
    "ENETUNREACH": "this host has no route there: add one",
    "EPERM": "a firewall of this host forbids it: let UDP out at the gossip port",
    "EACCES": "a firewall of this host forbids it: let UDP out at the gossip port",
    "EADDRNOTAVAIL": "the address to send from is not this host's any more",
    "EADDRESS": "the member advertises an address of another family than this agent binds",
}

#: Members that one sentence names; of the others it gives the number.
_NAMED_MAX = 8

_SENTENCES = {
    LinkState.STREAMS_ONLY: "packets do not pass, streams do",
    LinkState.PACKETS_ONLY: "streams do not pass, packets do",
    LinkState.OUTGOING_LOST: "what is sent to them is lost, theirs arrives, and they answer through others only",
    LinkState.INCOMING_LOST: "nothing arrives from them, and they answer through others only",
}


@attrs.define(eq=False, repr=False)
class LogLimiter:
    """Limits how often log lines are written. Memory is bounded, whatever the subjects are called.

    ``seconds``: least time between two lines about one subject. ``most``: lines about all subjects in that time, which
    is also how many subjects are distinguished.
    """

    seconds: float
    most: int
    _logged: dict[Hashable, float] = attrs.field(factory=dict)
    _moments: deque[float] = attrs.field(factory=deque)

    def admit(self, subject: Hashable, now: float) -> bool:
        """Return whether to log a line about ``subject`` at ``now`` (seconds); if so, it counts as logged."""
        while self._moments and now - self._moments[0] >= self.seconds:
            self._moments.popleft()
        self._logged = {known: at for known, at in self._logged.items() if now - at < self.seconds}
        if subject in self._logged or len(self._moments) >= self.most:
            return False
        self._logged[subject] = now
        self._moments.append(now)
        return True


def path_states(engine: Engine) -> dict[str, str]:
    """What passes (`LinkState`), by the name of each member to which not everything does; sorted by name."""
    states = {}
    for run_id in [*engine.paths.troubled, *engine.detector.prober.indirect.found()]:
        member = engine.members.by_run_id(run_id)
        if member is not None and member.status.is_present:
            states[member.name] = str(engine.observations.link(member))
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
    skew = engine.clocks.skew(now)
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
    if names := by_state.get(LinkState.SMALL_PACKETS):
        yield f"packets over {engine.paths.least_size} bytes do not pass: {_list(names)}"


def _list(names: list[str]) -> str:
    more = len(names) - _NAMED_MAX
    return ", ".join(names[:_NAMED_MAX]) + (f" and {more} more" if more > 0 else "")


@attrs.define(eq=False, repr=False)
class ClockReporter:
    """Logs clocks that are off: a change at once, a repeated refusal once a minute for each peer."""

    _log_limiter: LogLimiter = attrs.field(factory=lambda: LogLimiter(_REPEAT_SECONDS, _PEERS_MAX))

    def tell(self, news: ClockChanged | ClockRefused | PolicyFromFuture, now: float) -> None:
        """Log one line for ``news``, unless it was logged lately; ``now`` in seconds, on any steady clock."""
        match news:
            case ClockChanged(None):
                log.info("the clock agrees with those of the peers again")
            case ClockChanged(skew):
                assert skew is not None, "the case before"
                log.warning("the clock is %s that of the peers: set it right", _apart(skew))
            case PolicyFromFuture(restamped=True):
                log.warning(
                    "policy %s of %s was stamped %.0f s ahead of the clock, so others refused it: it is sent again",
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
    """Log what passes on a path now."""
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


@attrs.define(eq=False, repr=False)
class SendErrors:
    """How often the kernel refused to send, by the name of the errno, and the last such refusal."""

    counts: Counter[str] = attrs.field(factory=Counter)
    clock: Callable[[], float] = time.monotonic  # seconds
    _recent: dict[Address, tuple[str, float]] = attrs.field(factory=dict)  # a sentence, and when; the latest last
    _log_limiter: LogLimiter = attrs.field(factory=lambda: LogLimiter(_REPEAT_SECONDS, _ERRNOS_MAX))

    def record(self, error: Exception, to: Address) -> None:
        """Count and log that something could not be sent to ``to``. ``EADDRESS``: an address that no socket takes."""
        number = getattr(error, "errno", None)
        name = errno.errorcode.get(number or 0, "EADDRESS")
        reason = os.strerror(number) if number is not None and number > 0 else "not an address of this socket's family"
        self.counts[name] += 1
        now = self.clock()
        remedy = f": {_SEND_REMEDIES[name]}" if name in _SEND_REMEDIES else ""
        sentence = f"cannot send to {to}: {reason} ({name}){remedy}"
        self._recent.pop(to, None)
        self._recent[to] = sentence, now
        if len(self._recent) > _PEERS_MAX:
            del self._recent[next(iter(self._recent))]
        if self._log_limiter.admit(name, now):
            log.warning("%s; %d times so far", sentence, self.counts[name])

    def problem(self, failed: Collection[Address] = ()) -> str | None:
        """The latest error, if it is recent. One of sending to a member that has ``failed`` says nothing more."""
        now = self.clock()
        for to, (sentence, at) in reversed(self._recent.items()):
            if now - at > _PROBLEM_SECONDS:
                break
            if to not in failed:
                return sentence
        return None


@attrs.define(eq=False, repr=False)
class PrimaryConflicts:
    """Services of which several healthy instances claim to be the primary, as last reported."""

    _view: View
    _reported: dict[str, tuple[Instance, ...]] = attrs.field(factory=dict)

    def observe(self, service: str) -> RoleEvent | None:
        """The event to report of the service now, if any."""
        before = self._reported.pop(service, ())
        now = self._view.service(service).contenders
        primary = now[0] if now and now[0].role == PRIMARY else None
        if len(now) > 1:
            self._reported[service] = now
            return None if _claims(now) == _claims(before) else RoleEvent("contested", service, primary, now)
        return RoleEvent("settled", service, primary, now) if before else None

    def warn(self, services: Iterable[str]) -> None:
        """Log the conflicts, and ends of conflicts, of those ``services``, which have changed."""
        for service in services:
            event = self.observe(service)
            if event is not None:
                _log(event)


def _claims(contending: Iterable[Instance]) -> list[tuple[str, str, int, str | None]]:
    return [(each.owner, each.id, each.term, each.role) for each in contending]


def _log(event: RoleEvent) -> None:
    named = [f"{each.id} of {each.owner} (term {each.term})" for each in event.contenders[:4]]
    if event.kind == "settled":
        log.info("%s is no longer contested: its primary is %s", event.service, named[0] if event.primary else "none")
        return
    log.warning(
        "%d instances of %s claim to be its primary: %s: %s is called; register the others as replicas",
        len(event.contenders),
        event.service,
        ", ".join(named),
        event.primary.id if event.primary else "none of them",
    )
