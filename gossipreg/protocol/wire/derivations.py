"""The derivation budget: how many subkeys may be derived for unknown senders, so that junk costs little.

The header of a sealed packet is in clear, so anyone can make one with the right key id and a random sender id. Each
such sender id costs a key derivation before the packet proves to be forged, 25 us. So derivations are paid from token
buckets: one for each source, and one for all sources together. The source of a datagram can be forged as well, and a
flood under many addresses would use up what newcomers need. So sources that have sent something authentic have a
bucket for all of them that strangers cannot touch; a newcomer joins over a stream, whose source cannot be forged.
"""

from __future__ import annotations

import attrs

from gossipreg import limits
from gossipreg.hosts import source_of
from gossipreg.protocol.token_bucket import TokenBucket


@attrs.define(eq=False, repr=False)
class DerivationBudget:
    """The derivations that one node may still make; ``now`` is any clock in seconds."""

    _sources: dict[str, TokenBucket] = attrs.field(factory=dict)  # the longest unused first
    _vouched: dict[str, None] = attrs.field(factory=dict)  # likewise
    _all: dict[bool, TokenBucket] = attrs.field(factory=dict)  # for vouched sources, and for strangers

    def take(self, host: str, now: float) -> bool:
        """Whether one more subkey may be derived for a packet from ``host``; if so it is paid for."""
        source = source_of(host)
        bucket = self._sources.pop(source, None)
        if bucket is None:
            if len(self._sources) >= limits.DERIVATION_SOURCES_MAX:
                del self._sources[next(iter(self._sources))]
            bucket = TokenBucket(limits.DERIVATIONS_PER_SOURCE_BURST, limits.DERIVATIONS_PER_SOURCE_RATE, now)
        self._sources[source] = bucket
        shared = self._shared(source in self._vouched, now)
        if not (bucket.fill(now) and shared.fill(now)):
            return False
        bucket.tokens -= 1
        shared.tokens -= 1
        return True

    def vouch(self, host: str) -> None:
        """Something authentic has come from ``host``."""
        source = source_of(host)
        self._vouched.pop(source, None)
        if len(self._vouched) >= limits.DERIVATION_SOURCES_MAX:
            del self._vouched[next(iter(self._vouched))]
        self._vouched[source] = None

    def _shared(self, vouched: bool, now: float) -> TokenBucket:
        bucket = self._all.get(vouched)
        if bucket is None:
            bucket = self._all[vouched] = TokenBucket(limits.DERIVATIONS_BURST, limits.DERIVATIONS_RATE, now)
        return bucket
