"""Path health: which of packets and streams pass between this node and each other member, and up to which size.

Theory of operation (docs/decisions/0031). A firewall may drop UDP and pass TCP, or the other way round, on one link
or on all; a tunnel may drop what is large. The member looks alive all the same, because a probe that is answered over
a stream counts. So every such answer puts the path under test:

- *packets*: small pings follow until one is answered by a packet. After `_LOST_MAX` without an answer the path is
  "streams only". The tests go on, less often, until packets pass again;
- *streams*: a stream to the member that ends neither answered nor refused, twice in a row, while packets are
  acknowledged, makes the path "packets only";
- *sizes*: where a ping was lost, or states had to be compared because gossip did not arrive, a ping padded to a full
  packet is sent. If `_LOST_MAX` of these are lost, smaller ones follow, until one passes.

The monitor holds nothing about paths that work. It decides nothing about membership.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import Final

import attrs

from gossipreg.limits import PACKET_BYTES_MAX
from gossipreg.values import frozen

#: Pings in a row that must be lost before a path is said not to pass packets (or packets of a size). At 30 % loss a
#: round trip fails with probability 0.51, and five in a row with 0.03.
_LOST_MAX = 5

#: Streams in a row that must fail before a path is said not to pass streams; each has had `stream_patience` seconds.
_STALLED_MAX = 2

#: Time between two tests of a suspected path (seconds): longer than most round trips.
_TEST_SECONDS = 0.5

#: Time between two tests of a path that is known not to pass (seconds).
_RETEST_SECONDS = 5.0

#: Least time between two tests of the size that a path passes, unless one was lost (seconds).
_SIZE_SECONDS = 30.0

#: Paths tested at one time. Where all packets are lost, the other paths wait for the next turn.
_TESTS_AT_ONCE = 8

#: Time between two streams to a member to which the last ones failed (seconds); each may take `stream_patience`.
_STREAM_SECONDS = 10.0

#: How long one stream that failed counts, if the next is not tried before (seconds).
_STALL_COUNTS = 60.0

#: Sizes tried (bytes of a datagram): full; IPv6's least MTU less headers; a little above a tunnel in a tunnel; the
#: largest that every IPv4 host must take (RFC 791: 576 less the longest headers).
_SIZES = (PACKET_BYTES_MAX, 1200, 900, 508)

#: The size that passes everywhere (bytes).
SIZE_MIN: Final = _SIZES[-1]

#: The first sequence number of a test: far above those of the prober, which needs decades to get there.
_FIRST_SEQ = 0x8000_0000

_NEVER = float("inf")


class Passes(enum.StrEnum):
    """What passes on the path to one member."""

    ALL = "all"
    STREAMS_ONLY = "streams_only"
    PACKETS_ONLY = "packets_only"
    SMALL_PACKETS = "small_packets"


@frozen
class PathTest:
    """A ping to be sent to the member ``run_id``: over a stream, or in a packet.

    ``size`` is that of the payload before it is encoded (bytes; 0: as small as it is).
    """

    run_id: int
    seq: int
    size: int = 0
    over_stream: bool = False


@frozen
class PathChange:
    """From now on this ``passes`` on the path to the member ``run_id``.

    ``size`` (bytes of a datagram) is the largest that passes. ``hears``: with streams only, whether the member's own
    packets still arrive here, so that the loss is in one direction.
    """

    run_id: int
    passes: Passes
    size: int
    hears: bool


@attrs.define(eq=False, repr=False)
class _Path:
    """What is known of one path that does not, or may not, pass everything."""

    next_test: float = _NEVER  # seconds
    lost: int = 0  # small pings in a row without an answer by packet, since a stream answered
    in_flight: bool = False  # whether such a ping is without an answer
    lost_since: float = -_NEVER  # when `lost` began to count
    acked_at: float = -_NEVER  # when a packet last acknowledged one of ours
    heard_at: float = -_NEVER  # when any packet last came from there
    stalled: int = 0  # streams in a row that ended neither answered nor refused
    stalled_at: float = _NEVER  # when the first of these ended
    size: int = 0  # index into _SIZES of the largest that passes
    sizing: int | None = None  # index into _SIZES of what is being tested
    size_lost: int = 0  # padded pings in a row without an answer
    sized_at: float = -_NEVER  # when a test of the size last began
    tests: dict[int, int] = attrs.field(factory=dict)  # sequence number of a padded ping -> index into _SIZES
    told: tuple[Passes, int] = (Passes.ALL, 0)

    @property
    def passes(self) -> Passes:
        if self.lost >= _LOST_MAX:
            return Passes.STREAMS_ONLY
        if self.stalled >= _STALLED_MAX and self.acked_at >= self.stalled_at:
            return Passes.PACKETS_ONLY
        return Passes.SMALL_PACKETS if self.size else Passes.ALL

    @property
    def is_well(self) -> bool:
        """Whether nothing is wrong, and no test is under way."""
        return not (self.lost or self.stalled or self.size) and self.sizing is None


@attrs.define(eq=False, repr=False)
class PathMonitor:
    """The paths that do not pass everything, and the tests of suspected ones.

    ``overhead``: bytes that encoding adds to a payload. Members are identified by their run ids.
    """

    overhead: int
    deadline: float = _NEVER  # when `handle_timeout` is wanted (seconds)
    _paths: dict[int, _Path] = attrs.field(factory=dict)
    _seq: int = _FIRST_SEQ

    def passes(self, run_id: int) -> Passes:
        """What passes on the path to ``run_id``, as far as it is known."""
        path = self._paths.get(run_id)
        return Passes.ALL if path is None else path.passes

    def size(self, run_id: int) -> int:
        """The largest datagram that passes to ``run_id`` (bytes), as far as it is known."""
        path = self._paths.get(run_id)
        return _SIZES[0 if path is None else path.size]

    @property
    def least_size(self) -> int:
        """The largest datagram that passes to every member (bytes), as far as it is known."""
        return _SIZES[max([path.size for path in self._paths.values()], default=0)]

    @property
    def troubled(self) -> dict[int, Passes]:
        """The run ids to which not everything passes."""
        found = {run_id: path.passes for run_id, path in self._paths.items()}
        return {run_id: passes for run_id, passes in found.items() if passes is not Passes.ALL}

    def changed(self) -> list[PathChange]:
        """The paths on which something else passes than at the last call."""
        changes: list[PathChange] = []
        for run_id, path in self._paths.items():
            passes = (path.passes, path.size)
            if passes != path.told:
                path.told = passes
                hears = path.heard_at > path.lost_since
                changes.append(PathChange(run_id, path.passes, _SIZES[path.size], hears))
        return changes

    def sweep(self, present: Callable[[int], bool], now: float) -> None:
        """Forget the paths that are well again, and those to runs that are not ``present``."""
        for path in self._paths.values():
            if path.stalled < _STALLED_MAX and now - path.stalled_at > _STALL_COUNTS:
                path.stalled, path.stalled_at = 0, _NEVER
        self._paths = {
            run_id: path
            for run_id, path in self._paths.items()
            if present(run_id) and not (path.is_well and now >= path.sized_at + _SIZE_SECONDS)
        }

    # Evidence

    def packet_heard(self, run_id: int, now: float) -> None:
        """A packet came from ``run_id``."""
        path = self._paths.get(run_id)
        if path is not None:
            path.heard_at = now

    def packet_acked(self, run_id: int, seq: int, now: float) -> None:
        """A packet from ``run_id`` acknowledged the ping ``seq``: small packets pass in both directions."""
        path = self._paths.get(run_id)
        if path is None:
            return
        path.acked_at = now
        tested = path.tests.pop(seq, None)
        if tested is not None:
            self._size_passed(path, tested, now)
        if path.lost:
            path.lost, path.in_flight = 0, False
            self._plan(path, now)
            self._begin_sizing(path, now)  # it may have been lost for what was piggybacked

    def stream_acked(self, run_id: int, now: float) -> None:
        """The ping of a probe was answered over a stream, and by no packet."""
        path = self._path(run_id)
        if not path.lost:
            path.lost, path.lost_since = 1, now
            self._test_at(path, now)

    def stream_answered(self, run_id: int) -> None:
        """A stream that this node opened to ``run_id`` was answered."""
        path = self._paths.get(run_id)
        if path is not None:
            path.stalled, path.stalled_at = 0, _NEVER

    def stream_stalled(self, run_id: int, now: float) -> None:
        """A stream that this node opened to ``run_id`` ended neither answered nor refused."""
        path = self._path(run_id)
        path.stalled += 1
        path.stalled_at = min(path.stalled_at, now)
        self._begin_sizing(path, now)  # only its large segments may be lost
        if path.stalled == 1:  # else the test itself may have failed, at once, for want of a route
            self._test_at(path, now)

    def gossip_missed(self, run_id: int, now: float) -> None:
        """States had to be compared with ``run_id``: perhaps large packets do not pass."""
        self._begin_sizing(self._path(run_id), now)

    def _path(self, run_id: int) -> _Path:
        return self._paths.setdefault(run_id, _Path())

    # Tests

    def handle_timeout(self, now: float) -> list[PathTest]:
        """The tests that are due."""
        if now < self.deadline:
            return []
        tests: list[PathTest] = []
        due = [(path.next_test, run_id) for run_id, path in self._paths.items() if path.next_test <= now]
        for _, run_id in sorted(due)[:_TESTS_AT_ONCE]:
            tests += self._test(run_id, self._paths[run_id], now)
            self._plan(self._paths[run_id], now)
        self._reset_deadline()
        if self.deadline <= now:
            self.deadline = now + _TEST_SECONDS / 2  # those that were left out have their turn then
        return tests

    def _test(self, run_id: int, path: _Path, now: float) -> list[PathTest]:
        """The tests to send for one path."""
        if path.lost:
            path.lost = min(_LOST_MAX, path.lost + path.in_flight)
            path.in_flight = True
            return [PathTest(run_id, self._next_seq())]
        if path.stalled:
            small = [PathTest(run_id, self._next_seq())] if path.acked_at < path.stalled_at else []
            return [*small, PathTest(run_id, self._next_seq(), over_stream=True)]
        if path.sizing is None:
            if not path.size:
                return []
            path.sizing, path.sized_at = 0, now  # does a full packet pass again?
        return self._test_size(run_id, path, path.sizing)

    def _test_size(self, run_id: int, path: _Path, sizing: int) -> list[PathTest]:
        if path.size_lost >= _LOST_MAX:
            path.size_lost = 0
            sizing += 1
            path.size = max(path.size, min(sizing, len(_SIZES) - 1))
            path.sizing = sizing if sizing < len(_SIZES) else None
            if path.sizing is None:
                path.tests.clear()
                return []
        path.size_lost += 1
        seq = self._next_seq()
        path.tests[seq] = sizing
        return [PathTest(run_id, seq, _SIZES[sizing] - self.overhead)]

    def _size_passed(self, path: _Path, tested: int, now: float) -> None:
        path.size, path.sizing, path.size_lost = tested, None, 0
        path.tests.clear()
        self._plan(path, now)

    def _begin_sizing(self, path: _Path, now: float) -> None:
        if path.sizing is None and now >= path.sized_at + _SIZE_SECONDS:
            path.sizing, path.size_lost, path.sized_at = 0, 0, now
            if not path.stalled:
                self._test_at(path, now)

    def _plan(self, path: _Path, now: float) -> None:
        """Set when the path is tested next, now that it was tested, or was found to pass what was tested."""
        if path.lost:
            wait = _TEST_SECONDS if path.lost < _LOST_MAX else _RETEST_SECONDS
        elif path.stalled:
            wait = _STREAM_SECONDS
        elif path.sizing is not None:
            wait = _TEST_SECONDS
        else:
            wait = _SIZE_SECONDS if path.size else _NEVER
        path.next_test = now + wait
        self._reset_deadline()

    def _test_at(self, path: _Path, when: float) -> None:
        path.next_test = min(path.next_test, when)
        self.deadline = min(self.deadline, path.next_test)

    def _reset_deadline(self) -> None:
        self.deadline = min([path.next_test for path in self._paths.values()], default=_NEVER)

    def _next_seq(self) -> int:
        self._seq = self._seq + 1 if self._seq < 0xFFFF_FFFF else _FIRST_SEQ
        return self._seq
