"""Reconciliation: how two nodes find and repair what gossip missed, at a cost proportional to the difference.

Theory of operation (design §4.5). The two sides send in turn on a stream: some messages, then an `End`.

    opener    Compare: the 256 sums of its buckets                                            (2 KiB)
    accepter  for each bucket that differs: its term registers, and its entries by digest (Listing),
              or, where the opener's is empty, the entries themselves                         (9 bytes an entry)
    opener    the entries that the accepter lacks, and Want: the digests it lacks itself
    accepter  the entries wanted, and tombstones for what was deleted
    opener    tombstones for what was deleted, or nothing: the stream is closed

An entry is a member update, a table digest, a record, a policy version or a term register, encoded as in gossip. Term
registers go before the records, and unasked: a node that holds a record without its service's register may show a
primary that was superseded long ago. Each side merges entries as it would merge gossip, so nothing that goes wrong on
the way (a cut stream, states that changed meanwhile) does any harm. A joiner is a node all of whose buckets are empty:
it gets everything at once.

Two cells compare one partition of the state at a time (docs/decisions/0089): each of the requests names it.
"""

from __future__ import annotations

from collections.abc import Iterator

from gossipreg import limits
from gossipreg.protocol.anti_entropy.fingerprint import BUCKETS, Entry, Fingerprint
from gossipreg.protocol.membership.member_update import MemberUpdate
from gossipreg.protocol.registry.terms import TermRegister
from gossipreg.values import frozen


@frozen
class Compare:
    """The sums of the opener's buckets."""

    sums: tuple[int, ...]
    partition: str = ""  # a cell, or `cells.cell_head.COMMON`; empty: the whole state


@frozen
class Listing:
    """The digests of the entries in one bucket."""

    bucket: int
    digests: tuple[int, ...]
    partition: str = ""


@frozen
class Want:
    """Asks for the entries with these digests in one bucket."""

    bucket: int
    digests: tuple[int, ...]
    partition: str = ""


@frozen
class End:
    """The sender has sent all it has to send for now; the other side is next."""


@frozen
class KeepOpen:
    """Asks the peer to keep this stream open although nothing more is sent on it; the peer answers with the same."""


def answer_compare(state: Fingerprint, compare: Compare) -> Iterator[Entry | Listing]:
    """The accepter's answer to the opener's sums."""
    assert len(compare.sums) == BUCKETS, "decoding has checked the number of sums"
    told: list[Entry] = []
    listings: list[Listing] = []
    for bucket, (ours, theirs) in enumerate(zip(state.sums, compare.sums, strict=True)):
        if ours == theirs:
            continue
        if theirs == 0:
            told += state.lacking(bucket, ())
        else:
            told += [entry for entry in state.lacking(bucket, ()) if isinstance(entry, TermRegister)]
            digests = state.digests(bucket)[: limits.LISTING_DIGESTS_MAX]
            listings.append(Listing(bucket, digests, compare.partition))
    yield from sorted(told, key=_send_order)
    yield from listings


def answer_size(state: Fingerprint, question: Compare | Listing | Want) -> int:
    """How many entries the answer to ``question`` tells as they are."""
    match question:
        case Listing():
            return len(state.lacking(question.bucket, frozenset(question.digests)))
        case Want():
            return len(state.find(question.bucket, frozenset(question.digests)))
    told = 0
    for bucket, (ours, theirs) in enumerate(zip(state.sums, question.sums, strict=True)):
        if theirs == 0:
            told += state.count(bucket)
        elif ours != theirs:
            told += sum(isinstance(entry, TermRegister) for entry in state.lacking(bucket, ()))
    return told


def _send_order(entry: Entry) -> int:
    """Members come first, then terms, then the rest."""
    return 0 if isinstance(entry, MemberUpdate) else 1 if isinstance(entry, TermRegister) else 2


def answer_listing(state: Fingerprint, listing: Listing) -> Iterator[Entry | Want]:
    """The opener's answer to a listing of one of the accepter's buckets."""
    theirs = frozenset(listing.digests)
    yield from sorted(state.lacking(listing.bucket, theirs), key=_send_order)
    unknown = state.unknown(listing.bucket, listing.digests)
    if unknown:
        yield Want(listing.bucket, unknown, listing.partition)


def answer_want(state: Fingerprint, want: Want) -> Iterator[Entry]:
    """The entries that are still there, each once."""
    yield from sorted(state.find(want.bucket, tuple(dict.fromkeys(want.digests))), key=_send_order)
