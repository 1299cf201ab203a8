"""Signature verifier: verifies each signature once, and bounds how many the packets of one sender make it verify.

Theory of operation (docs/decisions/0074). To verify a signature takes 0.1 ms, as long as all else that a small packet
causes. Members pass on only what they have verified themselves, so a wrong signature is an attacker's. Three bounds:

- What was verified, with whatever result, is remembered by its content.
- A packet or frame that brings several wrong signatures is verified no further.
- Each sender has a token bucket, from which a wrong signature takes as much as many right ones. A sender is a member,
  if it proves its packets, else a source; and sources that prove nothing share another bucket. Those of streams have
  one of their own: their addresses cannot be forged, so a flood of packets leaves newcomers the streams.

What is beyond a bound is neither believed nor refused: it comes again, by gossip or when states are compared.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Final

import attrs

from gossipreg import limits
from gossipreg.hosts import source_of
from gossipreg.protocol.token_bucket import TokenBucket
from gossipreg.signatures import SIGNATURE_BYTES

#: A member's run id; or the network of a source, and whether it is that of a stream.
_Sender = int | tuple[str, bool]

_LENGTH_BYTES: Final = 4


@attrs.define(eq=False, repr=False)
class _Reading:
    """The packet or frame that is being handled: what its signatures are paid from."""

    buckets: tuple[TokenBucket, ...]
    room: int  # signatures that it may have
    wrong: int = 0  # of those that were verified

    def has_room(self) -> bool:
        """Whether one more signature may be verified."""
        is_within = self.room > 0 and self.wrong < limits.SIGNATURES_WRONG_PER_PACKET_MAX
        return is_within and all(bucket.tokens >= 1 for bucket in self.buckets)

    def pay(self, *, is_wrong: bool) -> None:
        """A signature was verified."""
        self.room -= 1
        self.wrong += is_wrong
        for bucket in self.buckets:
            bucket.tokens -= limits.SIGNATURE_WRONG_COST if is_wrong else 1


@attrs.define(eq=False, repr=False)
class SignatureVerifier:
    """Verifies signatures for one node. Outside `begin` and `end` nothing is bounded: then no peer has asked for it."""

    _results: dict[bytes, bool] = attrs.field(factory=dict)  # by content
    _senders: dict[_Sender, TokenBucket] = attrs.field(factory=dict)  # the longest unused first
    _shared: dict[bool, TokenBucket] = attrs.field(factory=dict)  # of sources of packets, and of streams
    _reading: _Reading | None = None
    is_over: bool = False  # whether a signature of the present statement was left unverified

    def begin(self, member: int | None, host: str, size: int, now: float, *, over_stream: bool) -> None:
        """Begin a packet or frame of ``size`` bytes from ``host``.

        ``member``: the run id of the member that is proven to have made it, if one is. ``now``: seconds.
        """
        buckets: tuple[TokenBucket, ...]
        if member is not None:
            buckets = (self._bucket(member, now),)
        else:
            own = self._bucket((source_of(host), over_stream), now)
            buckets = own, self._shared_bucket(over_stream, now)
        for bucket in buckets:
            bucket.fill(now)
        self._reading = _Reading(buckets, size // SIGNATURE_BYTES)

    def next_statement(self) -> None:
        """Begin the next statement of the packet or frame."""
        self.is_over = False

    def end(self) -> None:
        """The packet or frame has been handled."""
        self._reading = None
        self.is_over = False

    def verify(
        self,
        content: tuple[bytes, ...],
        signature: Callable[[], bool],
        *,
        is_held: bool = False,
        may_differ: bool = False,
    ) -> bool:
        """Return whether a signature is right, as ``signature`` says; False, and `is_over`, if it may not be asked now.

        ``content``: what the result depends on. ``is_held``: this node needs to know it itself, of what it holds.
        ``may_differ``: honest members, too, may have signed something else.
        """
        digest = _digest(content)
        known = self._results.get(digest)
        if known is not None:
            return known
        reading = None if is_held else self._reading
        if reading is not None and not reading.has_room():
            self.is_over = True
            return False
        is_right = signature()
        if reading is not None:
            reading.pay(is_wrong=not (is_right or may_differ))
        if len(self._results) >= limits.SIGNATURES_REMEMBERED_MAX:
            del self._results[next(iter(self._results))]
        self._results[digest] = is_right
        return is_right

    def _bucket(self, sender: _Sender, now: float) -> TokenBucket:
        bucket = self._senders.pop(sender, None)
        if bucket is None:
            if len(self._senders) >= limits.SIGNATURE_SENDERS_MAX:
                del self._senders[next(iter(self._senders))]
            bucket = TokenBucket(limits.SIGNATURES_BURST, limits.SIGNATURES_RATE, now)
        self._senders[sender] = bucket
        return bucket

    def _shared_bucket(self, over_stream: bool, now: float) -> TokenBucket:
        bucket = self._shared.get(over_stream)
        if bucket is None:
            factor = limits.SIGNATURE_SOURCES_AT_ONCE
            made = TokenBucket(limits.SIGNATURES_BURST * factor, limits.SIGNATURES_RATE * factor, now)
            bucket = self._shared[over_stream] = made
        return bucket


def _digest(content: tuple[bytes, ...]) -> bytes:
    """What stands for ``content``: no two have the same."""
    found = hashlib.blake2b(digest_size=32, person=b"gossipreg sign")
    for part in content:
        found.update(len(part).to_bytes(_LENGTH_BYTES))
        found.update(part)
    return found.digest()
