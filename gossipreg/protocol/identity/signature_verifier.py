"""Signature verifier: verifies each signature once, and bounds how many the packets of one sender make it verify.

Theory of operation (docs/decisions/0074). To verify a signature takes 0.1 ms, as long as all else that a small packet
causes. Members pass on only what they have verified themselves, so a wrong signature is an attacker's. Four bounds:

- What was verified, with whatever result, is remembered by its content.
- A packet or frame that brings several wrong signatures is verified no further.
- Each sender has a token bucket, from which a wrong signature takes as much as many right ones. A sender is a member,
  if it proves its packets, else a source.
- Sources that prove nothing share two buckets besides: one for the first signatures of each in ten minutes, one for
  what it has verified beyond these. So sources that send many wrong ones leave the others their first, by which a
  newcomer becomes a member. Packets can be made under any address, so streams have buckets and a table of their own.

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

_LENGTH_BYTES: Final = 4


@attrs.define(eq=False, repr=False)
class _Senders:
    """The token buckets of the senders of one kind, the longest unused first."""

    size: float
    rate: float  # a second
    _buckets: dict[int | str, TokenBucket] = attrs.field(factory=dict)  # by run id, or by the network of a source

    def __len__(self) -> int:
        return len(self._buckets)

    def bucket(self, sender: int | str, now: float) -> TokenBucket:
        """The bucket of a sender, filled up to ``now`` (seconds)."""
        bucket = self._buckets.pop(sender, None)
        if bucket is None:
            if len(self._buckets) >= limits.SIGNATURE_SENDERS_MAX:
                del self._buckets[next(iter(self._buckets))]
            bucket = TokenBucket(self.size, self.rate, now)
        self._buckets[sender] = bucket
        bucket.fill(now)
        return bucket


def _senders() -> _Senders:
    return _Senders(limits.SIGNATURES_BURST, limits.SIGNATURES_RATE)


def _first_signatures() -> _Senders:
    size = limits.SIGNATURES_FIRST
    return _Senders(size, size / limits.SIGNATURES_FIRST_SECONDS)


def _shared_bucket() -> TokenBucket:
    factor = limits.SIGNATURE_SOURCES_AT_ONCE / 2  # they are two
    return TokenBucket(limits.SIGNATURES_BURST * factor, limits.SIGNATURES_RATE * factor, 0.0)


@attrs.define(eq=False, repr=False)
class _Sources:
    """The sources of packets, or of streams, that no member is proven to use."""

    _own: _Senders = attrs.field(factory=_senders)
    _first: _Senders = attrs.field(factory=_first_signatures)
    _shared_first: TokenBucket = attrs.field(factory=_shared_bucket)
    _shared_rest: TokenBucket = attrs.field(factory=_shared_bucket)

    def __len__(self) -> int:
        return len(self._own)

    def payers(self, source: str, now: float) -> tuple[tuple[TokenBucket, ...], ...]:
        """What a source pays from: from the first of these sets that can, from all buckets of it."""
        self._shared_first.fill(now)
        self._shared_rest.fill(now)
        own = self._own.bucket(source, now)
        return (own, self._first.bucket(source, now), self._shared_first), (own, self._shared_rest)


@attrs.define(eq=False, repr=False)
class _Reading:
    """The packet or frame that is being handled: what its signatures are paid from."""

    payers: tuple[tuple[TokenBucket, ...], ...]  # the first set that can pays, from each bucket of it
    room: int  # signatures that it may have
    wrong: int = 0  # of those that were verified

    def payer(self) -> tuple[TokenBucket, ...] | None:
        """The buckets that one more signature would be paid from; None if it may not be verified."""
        if self.room <= 0 or self.wrong >= limits.SIGNATURES_WRONG_PER_PACKET_MAX:
            return None
        return next((payer for payer in self.payers if all(bucket.tokens >= 1 for bucket in payer)), None)

    def pay(self, payer: tuple[TokenBucket, ...], *, is_wrong: bool) -> None:
        """A signature was verified."""
        self.room -= 1
        self.wrong += is_wrong
        for bucket in payer:
            bucket.tokens -= limits.SIGNATURE_WRONG_COST if is_wrong else 1


@attrs.define(eq=False, repr=False)
class SignatureVerifier:
    """Verifies signatures for one node. Outside `begin` and `end` nothing is bounded: then no peer has asked for it."""

    _results: dict[bytes, bool] = attrs.field(factory=dict)  # by content
    _members: _Senders = attrs.field(factory=_senders)
    _of_packets: _Sources = attrs.field(factory=_Sources)
    _of_streams: _Sources = attrs.field(factory=_Sources)
    _reading: _Reading | None = None
    is_over: bool = False  # whether a signature of the present statement was left unverified

    def begin(self, member: int | None, host: str, size: int, now: float, *, over_stream: bool) -> None:
        """Begin a packet or frame of ``size`` bytes from ``host``.

        ``member``: the run id of the member that is proven to have made it, if one is. ``now``: seconds.
        """
        if member is not None:
            payers: tuple[tuple[TokenBucket, ...], ...] = ((self._members.bucket(member, now),),)
        else:
            payers = (self._of_streams if over_stream else self._of_packets).payers(source_of(host), now)
        self._reading = _Reading(payers, size // SIGNATURE_BYTES)

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
        if reading is None:
            is_right = signature()
        elif (payer := reading.payer()) is not None:
            is_right = signature()
            reading.pay(payer, is_wrong=not (is_right or may_differ))
        else:
            self.is_over = True
            return False
        if len(self._results) >= limits.SIGNATURES_REMEMBERED_MAX:
            del self._results[next(iter(self._results))]
        self._results[digest] = is_right
        return is_right


def _digest(content: tuple[bytes, ...]) -> bytes:
    """What stands for ``content``: no two have the same."""
    found = hashlib.blake2b(digest_size=32, person=b"gossipreg sign")
    for part in content:
        found.update(len(part).to_bytes(_LENGTH_BYTES))
        found.update(part)
    return found.digest()
