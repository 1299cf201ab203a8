"""Field readers: check and convert one field of a peer's message each. Every field passes through exactly one of them.

A reader raises `Junk` for a value that its field cannot have.
"""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Callable, Iterator
from functools import lru_cache
from itertools import pairwise
from typing import Any, Final

from gossipreg import limits
from gossipreg.model import Address, Status, is_name
from gossipreg.protocol.anti_entropy.fingerprint import BUCKETS
from gossipreg.protocol.cells.cell_head import COMMON
from gossipreg.protocol.membership.observations import LINKS, Entry
from gossipreg.protocol.registry.terms import TermProofs
from gossipreg.signatures import SIGNATURE_BYTES

_BROADCAST: Final = ipaddress.IPv4Address("255.255.255.255")

#: Length of the longest IP address as text (characters): an IPv4 one inside an IPv6 one.
_IP_CHARS_MAX: Final = 45

#: Longest proof (bytes): a signature and a certificate.
_PROOF_BYTES_MAX: Final = SIGNATURE_BYTES + limits.CERTIFICATE_BYTES_MAX


class Junk(Exception):
    """Bytes that are no packet; the text says why."""


def _whole(bits: int) -> Callable[[Any], int]:
    top = 1 << bits

    def read(value: Any) -> int:
        if type(value) is not int or not 0 <= value < top:
            raise Junk(f"not a whole number of {bits} bits")
        return value

    return read


read_u8, read_u16, read_u32, read_u64 = _whole(8), _whole(16), _whole(32), _whole(64)
#: Generations and versions: 53 bits last for 285,000 years of milliseconds, and survive JSON.
read_count = _whole(53)


def read_name(value: Any) -> str:
    """The name of a member, service or cell."""
    if type(value) is not str or not is_name(value):
        raise Junk("not a name")
    return value


def read_zone(value: Any) -> str:
    """The name of a zone; empty for none."""
    return "" if value == "" else read_name(value)


def read_partition(value: Any) -> str:
    """The partition that a comparison is about; what cannot be one counts as none."""
    return COMMON if value == COMMON else read_cell(value)


def read_cell(value: Any) -> str:
    """The name of a cell; what cannot be one counts as none, as do further fields of later releases."""
    return value if type(value) is str and is_name(value) else ""


def read_contact(value: Any) -> Address:
    """An address at which a member is: its host and port, and what later releases may add."""
    if type(value) is not list or len(value) < 2:
        raise Junk("not an address")
    return Address(read_host(value[0]), read_port(value[1]))


def read_writer(value: Any) -> str:
    """The member that reset a term; empty if it was never reset."""
    return "" if value == "" else read_name(value)


def read_id(value: Any) -> str:
    """The id of an instance."""
    # Bytes, not characters: users' ids are ASCII, and a tombstone or an announcement must fit the smallest packet.
    if type(value) is not str or not 0 < len(value.encode()) <= limits.ID_CHARS_MAX:
        raise Junk("not an id")
    return value


def read_host(value: Any) -> str:
    """The IP address of one host, as text."""
    # A name instead of an address would make us query a name server for a peer, and wait for it.
    if type(value) is not str or len(value) > _IP_CHARS_MAX or not _is_ip_address(value):
        raise Junk("not an IP address")
    return value


@lru_cache(maxsize=4096)
def _is_ip_address(text: str) -> bool:
    try:
        address = ipaddress.ip_address(text)
        address = getattr(address, "ipv4_mapped", None) or address
        if address.is_multicast or address.is_unspecified or address == _BROADCAST:
            return False  # not the address of one host: to send there would be to send to many
    except ValueError:
        return False
    return "%" not in text  # a scope means something on the host that wrote it only


def read_port(value: Any) -> int:
    """A port at which a member can be reached."""
    port = read_u16(value)
    if not port:
        raise Junk("not a port")
    return port


def read_flag(value: Any) -> bool:
    """A truth value."""
    if type(value) is not bool:
        raise Junk("not a flag")
    return value


def read_proof(value: Any) -> bytes:
    """A proof; what cannot be one counts as none, as do further fields of later releases."""
    return value if type(value) is bytes and len(value) <= _PROOF_BYTES_MAX else b""


def read_term_proofs(value: Any) -> TermProofs:
    """The proofs of a term register; what cannot be any counts as none."""
    if type(value) is not list or len(value) != 3:
        return TermProofs()
    return TermProofs(*map(read_proof, value))


def pack_term_proofs(proofs: TermProofs) -> list[bytes] | None:
    """The proofs of a term register as a field; None if it has none."""
    return [proofs.reset, proofs.claimed, proofs.seen] if proofs != TermProofs() else None


def read_witnesses(value: Any) -> tuple[tuple[int, bytes], ...]:
    """The run ids and signatures of members that support an accusation; a malformed list counts as none."""
    if type(value) is not list or len(value) > 2 * limits.WITNESSES_MAX or len(value) % 2:
        return ()
    pairs = zip(value[::2], value[1::2], strict=True)
    return tuple((run_id, read_proof(signature)) for run_id, signature in pairs if type(run_id) is int)


def read_status(value: Any) -> Status:
    """A member's status."""
    if type(value) is not int or not Status.ALIVE <= value <= Status.LEFT:
        raise Junk("not a status")
    return Status(value)


def read_payload(value: Any) -> bytes | None:
    """A packed instance; None in a tombstone."""
    if value is not None and (type(value) is not bytes or not 0 < len(value) <= limits.RECORD_BYTES_MAX):
        raise Junk("not a payload")
    return value


def read_rule_payload(value: Any) -> bytes | None:
    """A packed rule of a policy; None if the version removes it."""
    if value is not None and (type(value) is not bytes or not 0 < len(value) <= limits.POLICY_BYTES_MAX):
        raise Junk("not a packed rule")
    return value


def read_policy_key(value: Any) -> str:
    """The key of a policy."""
    if type(value) is not str or not 0 < len(value) <= limits.POLICY_KEY_CHARS_MAX or not _is_visible(value):
        raise Junk("not the key of a policy")
    return value


def _is_visible(text: str) -> bool:
    """Whether ``text`` is of ASCII letters, digits and marks only: nothing that would act on a terminal or in a log."""
    return all("!" <= character <= "~" for character in text)


def read_list_of(read: Callable[[Any], Any], most: int) -> Callable[[Any], tuple[Any, ...]]:
    """A reader of lists of up to ``most`` items, which leaves out the items that ``read`` cannot read."""

    def read_list(value: Any) -> tuple[Any, ...]:
        if type(value) is not list or len(value) > most:
            raise Junk("not a list within its limit")
        try:
            return tuple(map(read, value))
        except Junk:
            return tuple(_readable(read, value))

    return read_list


def _readable(read: Callable[[Any], Any], values: list[Any]) -> Iterator[Any]:
    for value in values:
        try:
            yield read(value)
        except Junk:
            continue


def read_phrase(value: Any) -> str:
    """A text that a peer states of itself: its version, or a problem."""
    if type(value) is not str or len(value) > limits.OBSERVER_PROBLEM_CHARS_MAX:
        raise Junk("not a phrase within its limit")
    return value


def read_observation(value: Any) -> Entry:
    """What a peer believes of one member."""
    if type(value) is not list or len(value) < _OBSERVATION_FIELDS:
        raise Junk("not an observation")
    name, status, link, ticks = value[:_OBSERVATION_FIELDS]
    unanswered = read_u8(value[_OBSERVATION_FIELDS]) if len(value) > _OBSERVATION_FIELDS else 0
    if read_u8(link) >= len(LINKS):
        raise Junk("not a link that this version knows")
    entry = read_name(name), int(read_status(status)), link, read_u32(ticks)
    return (*entry, unanswered) if unanswered else entry


#: Fields that each observation has. The next is told where it is not 0; later versions may add some.
_OBSERVATION_FIELDS: Final = 4

read_digests = read_list_of(read_u64, limits.LISTING_DIGESTS_MAX)


def read_ranges(value: Any) -> tuple[int, ...]:
    """Ranges of versions: the two ends of each, in ascending order."""
    if type(value) is not list or len(value) > limits.RANGES_MAX or len(value) % 2:
        raise Junk("not ranges within their limit")
    bounds = tuple(map(read_count, value))
    if any(low > high for low, high in pairwise(bounds)):
        raise Junk("ranges that are not in order")
    return bounds


def read_sums(value: Any) -> tuple[int, ...]:
    """The sums of all buckets of a fingerprint."""
    if type(value) is not bytes or len(value) != 8 * BUCKETS:
        raise Junk("not the sums of all buckets")
    return struct.unpack(f">{BUCKETS}Q", value)
