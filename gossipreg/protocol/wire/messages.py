"""Messages: how each kind is encoded as bytes, and how it is decoded and checked.

A packet, or a frame on a stream, is the sender's run id and then any number of messages. A message is a msgpack array:
a kind, then fields in a fixed order. Readers skip unknown kinds, and fields beyond those that they know, so that nodes
of two versions can live in one cluster; whatever else is wrong is `Junk`. A message that is junk does not spoil the
others: the framing says where the next one begins. Nor does an item of a list spoil its message.
"""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Callable, Iterator
from functools import lru_cache
from itertools import pairwise
from typing import Any, Final

import msgpack

from gossipreg import limits
from gossipreg.model import Address, Status, is_name
from gossipreg.protocol.anti_entropy.fingerprint import BUCKETS
from gossipreg.protocol.anti_entropy.reconcile import Compare, End, KeepOpen, Listing, Want
from gossipreg.protocol.cells.cell_head import COMMON, CellHead
from gossipreg.protocol.dissemination.receipts import Receipt, ReceiptRequest
from gossipreg.protocol.membership.identity import NameConflictQuery
from gossipreg.protocol.membership.member_update import MemberUpdate
from gossipreg.protocol.membership.observations import LINKS, Entry, ObservationRequest, Observations
from gossipreg.protocol.membership.peer_clocks import WallClock
from gossipreg.protocol.membership.probe import Ack, Nack, Ping, PingReq
from gossipreg.protocol.registry.policy_version import PolicyVersion
from gossipreg.protocol.registry.records import Announcement, Fetch, Record, RecordRequest, TableDigest
from gossipreg.protocol.registry.terms import TermProofs, TermRegister
from gossipreg.signatures import SIGNATURE_BYTES
from gossipreg.values import frozen

Message = (
    Ping
    | Ack
    | Nack
    | PingReq
    | MemberUpdate
    | NameConflictQuery
    | Record
    | Announcement
    | TableDigest
    | Fetch
    | Compare
    | Listing
    | Want
    | End
    | KeepOpen
    | PolicyVersion
    | TermRegister
    | WallClock
    | ReceiptRequest
    | Receipt
    | RecordRequest
    | ObservationRequest
    | Observations
    | CellHead
)

#: Bytes of the sender's run id at the start of every packet and frame.
SENDER_BYTES: Final = 8

_BROADCAST: Final = ipaddress.IPv4Address("255.255.255.255")

#: Length of the longest IP address as text (characters): an IPv4 one inside an IPv6 one.
_IP_CHARS_MAX: Final = 45

#: Longest proof (bytes): a signature and a certificate.
_PROOF_BYTES_MAX: Final = SIGNATURE_BYTES + limits.CERTIFICATE_BYTES_MAX

#: Messages read from one packet or frame; a frame of the smallest that are ever sent in numbers has fewer.
MESSAGES_MAX: Final = 16_384


class Junk(Exception):
    """Bytes that are no packet; the text says why."""


# Readers of one field each. Every field of a peer's message passes through exactly one of these.


def _whole(bits: int) -> Callable[[Any], int]:
    top = 1 << bits

    def read(value: Any) -> int:
        if type(value) is not int or not 0 <= value < top:
            raise Junk(f"not a whole number of {bits} bits")
        return value

    return read


_u8, _u16, _u32, _u64 = _whole(8), _whole(16), _whole(32), _whole(64)
#: Generations and versions: 53 bits last for 285,000 years of milliseconds, and survive JSON.
_count = _whole(53)


def _name(value: Any) -> str:
    if type(value) is not str or not is_name(value):
        raise Junk("not a name")
    return value


def _zone(value: Any) -> str:
    return "" if value == "" else _name(value)


def _partition(value: Any) -> str:
    return COMMON if value == COMMON else _cell(value)


def _cell(value: Any) -> str:
    """The name of a cell; what cannot be one counts as none, as do further fields of later releases."""
    return value if type(value) is str and is_name(value) else ""


def _contact(value: Any) -> Address:
    if type(value) is not list or len(value) < 2:
        raise Junk("not an address")
    return Address(_host(value[0]), _port(value[1]))


def _writer(value: Any) -> str:
    return "" if value == "" else _name(value)


def _id(value: Any) -> str:
    # Bytes, not characters: users' ids are ASCII, and a tombstone or an announcement must fit the smallest packet.
    if type(value) is not str or not 0 < len(value.encode()) <= limits.ID_CHARS_MAX:
        raise Junk("not an id")
    return value


def _host(value: Any) -> str:
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


def _port(value: Any) -> int:
    port = _u16(value)
    if not port:
        raise Junk("not a port")
    return port


def _flag(value: Any) -> bool:
    if type(value) is not bool:
        raise Junk("not a flag")
    return value


def _proof(value: Any) -> bytes:
    """A proof; what cannot be one counts as none, as do further fields of later releases."""
    return value if type(value) is bytes and len(value) <= _PROOF_BYTES_MAX else b""


def _term_proofs(value: Any) -> TermProofs:
    if type(value) is not list or len(value) != 3:
        return TermProofs()
    return TermProofs(*map(_proof, value))


def _packed_term_proofs(proofs: TermProofs) -> list[bytes] | None:
    return [proofs.reset, proofs.claimed, proofs.seen] if proofs != TermProofs() else None


def _witnesses(value: Any) -> tuple[tuple[int, bytes], ...]:
    if type(value) is not list or len(value) > 2 * limits.WITNESSES_MAX or len(value) % 2:
        return ()
    pairs = zip(value[::2], value[1::2], strict=True)
    return tuple((run_id, _proof(signature)) for run_id, signature in pairs if type(run_id) is int)


def _status(value: Any) -> Status:
    if type(value) is not int or not Status.ALIVE <= value <= Status.LEFT:
        raise Junk("not a status")
    return Status(value)


def _payload(value: Any) -> bytes | None:
    if value is not None and (type(value) is not bytes or not 0 < len(value) <= limits.RECORD_BYTES_MAX):
        raise Junk("not a payload")
    return value


def _rule_payload(value: Any) -> bytes | None:
    if value is not None and (type(value) is not bytes or not 0 < len(value) <= limits.POLICY_BYTES_MAX):
        raise Junk("not a packed rule")
    return value


def _policy_key(value: Any) -> str:
    if type(value) is not str or not 0 < len(value) <= limits.POLICY_KEY_CHARS_MAX or not _is_visible(value):
        raise Junk("not the key of a policy")
    return value


def _is_visible(text: str) -> bool:
    """Whether ``text`` is of ASCII letters, digits and marks only: nothing that would act on a terminal or in a log."""
    return all("!" <= character <= "~" for character in text)


def _list_of(read: Callable[[Any], Any], most: int) -> Callable[[Any], tuple[Any, ...]]:
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


def _phrase(value: Any) -> str:
    if type(value) is not str or len(value) > limits.OBSERVER_PROBLEM_CHARS_MAX:
        raise Junk("not a phrase within its limit")
    return value


def _observation(value: Any) -> Entry:
    if type(value) is not list or len(value) < _OBSERVATION_FIELDS:
        raise Junk("not an observation")
    name, status, link, ticks = value[:_OBSERVATION_FIELDS]
    unanswered = _u8(value[_OBSERVATION_FIELDS]) if len(value) > _OBSERVATION_FIELDS else 0
    if _u8(link) >= len(LINKS):
        raise Junk("not a link that this version knows")
    entry = _name(name), int(_status(status)), link, _u32(ticks)
    return (*entry, unanswered) if unanswered else entry


#: Fields that each observation has. The next is told where it is not 0; later versions may add some.
_OBSERVATION_FIELDS: Final = 4

_digests = _list_of(_u64, limits.LISTING_DIGESTS_MAX)


def _ranges(value: Any) -> tuple[int, ...]:
    if type(value) is not list or len(value) > limits.RANGES_MAX or len(value) % 2:
        raise Junk("not ranges within their limit")
    bounds = tuple(map(_count, value))
    if any(low > high for low, high in pairwise(bounds)):
        raise Junk("ranges that are not in order")
    return bounds


def _sums(value: Any) -> tuple[int, ...]:
    if type(value) is not bytes or len(value) != 8 * BUCKETS:
        raise Junk("not the sums of all buckets")
    return struct.unpack(f">{BUCKETS}Q", value)


@frozen
class _Form:
    """How one kind of message is laid out: its number, its class, its fields' readers in order."""

    number: int
    noun: type
    fields: tuple[tuple[str, Callable[[Any], Any]], ...]
    items: int = 0  # which of its fields is a list, counted from 1; 0: none
    proof: str = ""  # the field that follows where it has a value: what proves the message, or the part it is about
    read_proof: Callable[[Any], Any] = _proof
    pack_proof: Callable[[Any], Any] = bytes


#: The numbers are never reused, and fields are only ever added at the end.
_FORMS: Final = (
    _Form(1, Ping, (("seq", _u32), ("target", _u64), ("fingerprint", _u64))),
    _Form(2, Ack, (("seq", _u32), ("subject", _u64), ("fingerprint", _u64))),
    _Form(3, Nack, (("seq", _u32),)),
    _Form(4, PingReq, (("seq", _u32), ("target", _u64), ("patience", _u32))),
    _Form(
        6,
        NameConflictQuery,
        (("name", _name), ("run_id", _u64), ("born", _count), ("announced", _flag)),
        proof="proof",
    ),
    _Form(
        7,
        Record,
        (
            ("owner", _name),
            ("generation", _count),
            ("version", _count),
            ("id", _id),
            ("table_xor", _u64),
            ("payload", _payload),
        ),
        proof="proof",
    ),
    _Form(
        8,
        Announcement,
        (
            ("owner", _name),
            ("generation", _count),
            ("version", _count),
            ("id", _id),
            ("table_xor", _u64),
            ("digest", _u64),
            ("size", _u32),
        ),
    ),
    _Form(
        9,
        TableDigest,
        (
            ("owner", _name),
            ("generation", _count),
            ("version", _count),
            ("table_xor", _u64),
            ("gone", _list_of(_id, limits.RECORDS_PER_OWNER_MAX)),
        ),
        items=5,
        proof="proof",
    ),
    _Form(
        11,
        Listing,
        (("bucket", _u8), ("digests", _digests)),
        items=2,
        proof="partition",
        read_proof=_partition,
        pack_proof=str,
    ),
    _Form(
        12,
        Want,
        (("bucket", _u8), ("digests", _digests)),
        items=2,
        proof="partition",
        read_proof=_partition,
        pack_proof=str,
    ),
    _Form(13, Fetch, (("owner", _name), ("generation", _count), ("version", _count), ("id", _id))),
    _Form(14, End, ()),
    _Form(15, KeepOpen, ()),
    _Form(
        16,
        PolicyVersion,
        (
            ("key", _policy_key),
            ("ms", _count),
            ("counter", _u16),
            ("writer", _name),
            ("payload", _rule_payload),
        ),
        proof="proof",
    ),
    _Form(
        17,
        TermRegister,
        (
            ("service", _name),
            ("ms", _count),
            ("counter", _u16),
            ("writer", _writer),
            ("claimed", _count),
            ("seen", _count),
        ),
        proof="proofs",
        read_proof=_term_proofs,
        pack_proof=_packed_term_proofs,
    ),
    _Form(18, WallClock, (("ms", _count),)),
    _Form(19, ReceiptRequest, (("number", _u32),)),
    _Form(20, Receipt, (("numbers", _list_of(_u32, limits.RECEIPT_NUMBERS_MAX)),), items=1),
    _Form(
        21,
        RecordRequest,
        (
            ("owner", _name),
            ("generation", _count),
            ("version", _count),
            ("have", _ranges),
        ),
    ),
    _Form(22, ObservationRequest, ()),
    _Form(
        23,
        Observations,
        (
            ("version", _phrase),
            ("problems", _list_of(_phrase, limits.OBSERVER_PROBLEMS_MAX)),
            ("entries", _list_of(_observation, limits.OBSERVATIONS_MAX)),
        ),
        items=3,
    ),
    _Form(
        25,
        CellHead,
        (
            ("cell", _name),
            ("size", _u32),
            ("fingerprint", _u64),
            ("common", _u64),
            ("relays", _list_of(_contact, limits.CELL_RELAYS_MAX)),
            ("confirmed", _count),
        ),
        items=5,
    ),
)
_BY_NUMBER: Final = {form.number: form for form in _FORMS}
_BY_NOUN: Final = {form.noun: form for form in _FORMS}

# Two kinds whose fields are not one to one.
_MEMBER_UPDATE: Final = 5
_MEMBER_UPDATE_FIELDS: Final = 12  # its number included
_COMPARE: Final = 10

_pack = msgpack.Packer(autoreset=True).pack


def pack(message: Message) -> bytes:
    """One message as bytes."""
    if isinstance(message, MemberUpdate):
        host, port = message.address
        fields: list[Any] = [_MEMBER_UPDATE, message.name, message.generation, message.incarnation, int(message.status)]
        fields += (host, port, message.zone, message.draining, message.accuser, message.age, message.refused)
        if message.proof or message.witnesses or message.cell:
            fields.append(message.proof)
        if message.witnesses or message.cell:
            fields.append([part for witness in message.witnesses for part in witness])
        if message.cell:
            fields.append(message.cell)
    elif isinstance(message, Compare):
        fields = [_COMPARE, struct.pack(f">{BUCKETS}Q", *message.sums)]
        if message.partition:
            fields.append(message.partition)
    else:
        form = _BY_NOUN[type(message)]
        fields = [form.number, *(getattr(message, name) for name, _ in form.fields)]
        proof = form.pack_proof(getattr(message, form.proof)) if form.proof else None
        if proof:
            fields.append(proof)
    packed: bytes = _pack(fields)
    return packed


def pack_padded(ping: Ping, size: int) -> bytes:
    """``ping`` in ``size`` bytes: with a further field, which readers skip."""
    fields = [1, ping.seq, ping.target, ping.fingerprint]
    padding = size - len(_pack([*fields, b""])) - 1  # a field of more than 255 bytes has a head that is one longer
    padded: bytes = _pack([*fields, bytes(max(0, padding))])
    return padded


def pack_sender(run_id: int) -> bytes:
    """What every packet and frame starts with."""
    return run_id.to_bytes(SENDER_BYTES)


def message_of(raw: bytes) -> Message | None:
    """The message with these bytes; None for a kind that a later version may have added. Raises `Junk`."""
    return read_message(raw)[0]


def read_message(raw: bytes) -> tuple[Message | None, int]:
    """As `message_of`, with how many items of its list could not be read and were left out. Raises `Junk`."""
    try:
        fields = msgpack.unpackb(
            raw,
            max_str_len=limits.FRAME_BYTES_MAX,
            max_bin_len=limits.FRAME_BYTES_MAX,
            max_array_len=min(limits.RECORDS_PER_OWNER_MAX, len(raw)),  # a list is allocated before it is read
        )
    except (ValueError, msgpack.UnpackException) as error:
        raise Junk(f"not msgpack: {error}") from None
    return _message(fields)


def _message(fields: Any) -> tuple[Message | None, int]:
    if type(fields) is not list or not fields or type(fields[0]) is not int:
        raise Junk("not a message")
    if fields[0] == _MEMBER_UPDATE:
        return _update(fields), 0
    if fields[0] == _COMPARE:
        if len(fields) < 2:
            raise Junk("fields are missing")
        return Compare(_sums(fields[1]), _partition(fields[2]) if len(fields) > 2 else ""), 0
    form = _BY_NUMBER.get(fields[0])
    if form is None:
        return None, 0
    if len(fields) <= len(form.fields):
        raise Junk("fields are missing")
    values = [read(value) for (_, read), value in zip(form.fields, fields[1:], strict=False)]
    if form.proof and len(fields) > len(form.fields) + 1:
        values.append(form.read_proof(fields[len(form.fields) + 1]))
    message: Message = form.noun(*values)
    return message, len(fields[form.items]) - len(values[form.items - 1]) if form.items else 0


def _update(fields: list[Any]) -> MemberUpdate:
    if len(fields) < _MEMBER_UPDATE_FIELDS:
        raise Junk("fields are missing")
    _, name, generation, incarnation, status, host, port, zone, draining, accuser, age, refused = fields[:12]
    return MemberUpdate(
        _name(name),
        _count(generation),
        _u32(incarnation),
        _status(status),
        Address(_host(host), _port(port)),
        _zone(zone),
        _flag(draining),
        _u64(accuser),
        _u32(age),
        _flag(refused),
        _proof(fields[12]) if len(fields) > _MEMBER_UPDATE_FIELDS else b"",
        _witnesses(fields[13]) if len(fields) > _MEMBER_UPDATE_FIELDS + 1 else (),
        _cell(fields[14]) if len(fields) > _MEMBER_UPDATE_FIELDS + 2 else "",
    )
