"""Joining: where the seeds are, and why this node has not joined yet, for the log, for `Node.info` and for readiness.

A node joins over streams to its seeds. Each failed stream has a `JoinFailureReason`; the last one of each seed is kept
until the node has joined. A seed that can never work is thus named in the log within `FIRST_SECONDS`, and rarely after.
"""

from __future__ import annotations

import enum
import logging
from collections.abc import Iterator, Mapping

import attrs
import trio

from gossipreg.config_rules import DEFAULT_PORT
from gossipreg.model import Address
from gossipreg.node_info import JoinFailure
from gossipreg.protocol.wire.streams import StreamRefusal
from gossipreg.runtime.diagnostics import LogLimiter

log = logging.getLogger(__name__)

#: When a join that has not succeeded is logged first, and again, after the node began (seconds). A try ends after
#: `Settings.stream_patience` (5 s) at the latest, so that by then the reason is known.
FIRST_SECONDS = 8.0
SECOND_SECONDS = 60.0

#: Time between two further such warnings (seconds), and between two about one source whose streams were refused.
SELDOM_SECONDS = 600.0

#: Sources whose refused streams are logged in that time; the others are only counted.
_SOURCES_MAX = 64

#: Seeds that are named in one line, and whose failures are kept.
_NAMED_MAX = 4
_KEPT_MAX = 64


class JoinFailureReason(enum.StrEnum):
    """Why a stream to a seed failed. The values are public: in JSON and as a label of a metric."""

    UNRESOLVED = "unresolved"
    REFUSED = "refused"
    NO_ANSWER = "no_answer"
    UNREACHABLE = "unreachable"
    NOT_GOSSIP = "not_gossip"
    CLOSED = "closed"
    SILENT = "silent"
    OTHER_KEY = "other_key"
    IN_CLEAR = "in_clear"
    SEALED = "sealed"
    OTHER_CLUSTER = "other_cluster"
    OTHER_VERSION = "other_version"
    ITSELF = "itself"
    CLOCK = "clock"
    JUNK = "junk"
    BROKEN = "broken"
    UNFINISHED = "unfinished"


#: What each means to the node that joins.
_SENTENCES: Mapping[JoinFailureReason, str] = {
    JoinFailureReason.UNRESOLVED: "its name does not resolve",
    JoinFailureReason.REFUSED: "nothing listens there: the connection is refused",
    JoinFailureReason.NO_ANSWER: "no answer: the host is down, or a firewall drops what is sent",
    JoinFailureReason.UNREACHABLE: "it cannot be reached",
    JoinFailureReason.NOT_GOSSIP: "what listens there does not speak gossip: is it the HTTP or the DNS port?",
    JoinFailureReason.CLOSED: "it closes the connection at once: it may have too many, or only one of the two has "
    "a cell",
    JoinFailureReason.SILENT: "it accepts the connection and then sends nothing",
    JoinFailureReason.OTHER_KEY: "it holds another key",
    JoinFailureReason.IN_CLEAR: "it gossips in clear, and this node holds a key",
    JoinFailureReason.SEALED: "its gossip is sealed, and this node holds no key",
    JoinFailureReason.OTHER_CLUSTER: "its cluster has another name than {cluster!r}",
    JoinFailureReason.OTHER_VERSION: "it speaks another version of the protocol",
    JoinFailureReason.ITSELF: "it is this node itself",
    JoinFailureReason.CLOCK: "the clocks differ by more than is allowed",
    JoinFailureReason.JUNK: "what it sends cannot be read",
    JoinFailureReason.BROKEN: "the connection ended before the states were compared",
    JoinFailureReason.UNFINISHED: "it has not sent all of its state yet; the comparison goes on",
}

#: What each means to the node that was called; the others it cannot tell from a client that hung up.
_CALLED: Mapping[JoinFailureReason, str] = {
    JoinFailureReason.NOT_GOSSIP: "it does not speak gossip",
    JoinFailureReason.OTHER_KEY: "it holds another key than this node",
    JoinFailureReason.IN_CLEAR: "it gossips in clear, and this node holds a key",
    JoinFailureReason.SEALED: "its gossip is sealed, and this node holds no key",
    JoinFailureReason.OTHER_CLUSTER: "its cluster has another name than {cluster!r}",
    JoinFailureReason.OTHER_VERSION: "it speaks another version of the protocol",
}

_OF_REFUSALS: Mapping[StreamRefusal, JoinFailureReason] = {
    StreamRefusal.NOT_GOSSIPREG: JoinFailureReason.NOT_GOSSIP,
    StreamRefusal.WRONG_VERSION: JoinFailureReason.OTHER_VERSION,
    StreamRefusal.IN_CLEAR: JoinFailureReason.IN_CLEAR,
    StreamRefusal.SEALED: JoinFailureReason.SEALED,
    StreamRefusal.UNKNOWN_KEY: JoinFailureReason.OTHER_KEY,
    StreamRefusal.WRONG_CLUSTER_OR_CORRUPT: JoinFailureReason.OTHER_CLUSTER,
    StreamRefusal.REFLECTED: JoinFailureReason.ITSELF,
    StreamRefusal.FORGED: JoinFailureReason.OTHER_CLUSTER,  # the key is the same, or the hello had not passed
}


def reason_of(refusal: StreamRefusal) -> JoinFailureReason:
    """The failure that a refusal of a peer's first message means."""
    return _OF_REFUSALS.get(refusal, JoinFailureReason.JUNK)


@attrs.define(eq=False, repr=False)
class Seeds:
    """The seeds that a user named, and the peers remembered from before a restart."""

    names: tuple[str, ...]
    remembered: tuple[Address, ...] = ()
    unresolved: dict[str, str] = attrs.field(factory=dict)  # names that have no address now, and why
    _labels: dict[Address, str] = attrs.field(factory=dict)  # of the addresses that were found last

    def __bool__(self) -> bool:
        return bool(self.names or self.remembered)

    async def resolve(self, *, ipv6: bool) -> list[Address]:
        """Every address of the seeds now that a socket of our family can reach. Names are resolved afresh each time."""
        found: dict[Address, None] = {}
        labels: dict[Address, str] = {address: str(address) for address in self.remembered}
        for name in self.names:
            addresses = await self._addresses(name)
            found.update(dict.fromkeys(addresses))
            labels |= {address: name if len(addresses) == 1 else f"{name} ({address})" for address in addresses}
        found.update(dict.fromkeys(self.remembered))
        self._labels = labels
        return [address for address in found if (":" in address.host) == ipv6]

    def label(self, address: Address) -> str | None:
        """The name that the user gave the seed at ``address``; None for what is no seed."""
        return self._labels.get(address)

    async def _addresses(self, name: str) -> list[Address]:
        try:
            addresses = await addresses_of(name)
        except UnresolvedSeed as error:
            known, self.unresolved[name] = self.unresolved.get(name), str(error)
            if known is None:
                log.warning("cannot resolve the seed %s: %s; it is tried again", name, error)
            return []
        self.unresolved.pop(name, None)
        return addresses


class UnresolvedSeed(Exception):
    """The name of a seed has no address now; the text is the resolver's reason."""


async def addresses_of(name: str) -> list[Address]:
    """Every address of the seed ``name`` now, of whichever family. Raises `UnresolvedSeed`."""
    wanted = Address.parse(name, default_port=DEFAULT_PORT, any_host=True)
    try:
        answers = await trio.socket.getaddrinfo(wanted.host, wanted.port, type=trio.socket.SOCK_DGRAM)
    except (OSError, UnicodeError) as error:
        raise UnresolvedSeed(str(error.strerror) if isinstance(error, OSError) else "not a host name") from None
    return [Address(str(answer[4][0]), wanted.port) for answer in answers]


@attrs.define(eq=False, repr=False)
class JoinAttempt:
    """A join at one address that a user has requested."""

    failure: tuple[JoinFailureReason, str] | None = None  # the last one, and a sentence
    compared: bool = False  # whether the states were compared to the end
    ended: trio.Event = attrs.field(factory=trio.Event)


@attrs.define(eq=False, repr=False)
class JoinReport:
    """The seeds of one node, and the outcome of the last try at each."""

    cluster: str
    seeds: Seeds
    began: float  # seconds, on the loop's clock
    joined: trio.Event = attrs.field(factory=trio.Event)
    _failures: dict[str, JoinFailure] = attrs.field(factory=dict)  # by seed
    _answered: str | None = None  # the seed that answered last
    _attempts: dict[Address, JoinAttempt] = attrs.field(factory=dict)  # requested, and under way
    _sources: LogLimiter = attrs.field(factory=lambda: LogLimiter(SELDOM_SECONDS, _SOURCES_MAX))

    def failed(self, to: Address, reason: JoinFailureReason, detail: str = "") -> None:
        """Record a failed stream to ``to``; ``detail``, if there is one, replaces the reason's sentence."""
        label = self.seeds.label(to)
        if label is not None and not self.joined.is_set():
            self._fail(label, reason, detail)
        attempt = self._attempts.get(to)
        if attempt is not None:
            attempt.failure = (reason, detail or self.sentence(reason))

    def sentence(self, reason: JoinFailureReason) -> str:
        """What a failure means to the node that joins."""
        return _SENTENCES[reason].format(cluster=self.cluster)

    def attempt(self, to: Address) -> JoinAttempt:
        """The requested join at ``to``, which several requests may share; from now on it is told how streams end."""
        return self._attempts.setdefault(to, JoinAttempt())

    def attempt_ended(self, to: Address, *, compared: bool) -> None:
        """Record that the requested join at ``to`` has ended."""
        attempt = self._attempts.pop(to, None)
        if attempt is not None:
            attempt.compared = compared
            attempt.ended.set()

    def answered(self, to: Address) -> None:
        """Record that a seed has sent something that could be read."""
        label = self.seeds.label(to)
        if label is not None:
            self._failures.pop(label, None)
            self._answered = label

    def resolved(self) -> None:
        """Record that the seeds' names were resolved: those without an address have failed."""
        if not self.joined.is_set():
            for name, reason in self.seeds.unresolved.items():
                self._fail(name, JoinFailureReason.UNRESOLVED, f"its name does not resolve: {reason}")

    def _fail(self, label: str, reason: JoinFailureReason, detail: str) -> None:
        self._failures.pop(label, None)
        self._failures[label] = JoinFailure(label, reason, detail or self.sentence(reason))
        if len(self._failures) > _KEPT_MAX:
            del self._failures[next(iter(self._failures))]

    @property
    def failures(self) -> tuple[JoinFailure, ...]:
        """The seeds that the last try failed at, and why; none once the node has joined."""
        return () if self.joined.is_set() else tuple(self._failures[label] for label in sorted(self._failures))

    @property
    def reason(self) -> str:
        """Why the node has not joined, in a sentence."""
        failures = self.failures
        if not failures:
            return "no seed has answered yet"
        more = len(failures) - _NAMED_MAX
        named = "; ".join(f"{each.seed}: {each.detail}" for each in failures[:_NAMED_MAX])
        return f"{named}{f'; and {more} more' if more > 0 else ''}"

    async def run(self) -> None:
        """Log rarely that the node has not joined, until it has; then that it has."""
        warned = False
        for moment in _moments():
            with trio.move_on_at(self.began + moment):
                await self.joined.wait()
            if self.joined.is_set():
                break
            warned = True
            log.warning("not joined after %.0f s: %s; still trying", trio.current_time() - self.began, self.reason)
        through = f" through {self._answered}" if self._answered else ""
        after = f" after {trio.current_time() - self.began:.0f} s" if warned else ""
        log.info("joined the cluster %s%s%s", self.cluster, through, after)

    def refused(self, source: Address, reason: JoinFailureReason) -> None:
        """Log that a peer's stream was refused, rarely for each host."""
        sentence = _CALLED.get(reason)
        if sentence is not None and self._sources.admit((source.host, reason), trio.current_time()):
            log.warning("a stream from %s is refused: %s", source, sentence.format(cluster=self.cluster))


def _moments() -> Iterator[float]:
    yield FIRST_SECONDS
    moment = SECOND_SECONDS
    while True:
        yield moment
        moment += SELDOM_SECONDS
