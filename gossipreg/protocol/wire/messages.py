"""Messages: how each kind is encoded as bytes, and how it is decoded and checked.

A packet, or a frame on a stream, is the sender's run id and then any number of messages. A message is a msgpack array:
a kind, then fields in a fixed order. Readers skip unknown kinds, and fields beyond those that they know, so that nodes
of two versions can live in one cluster; whatever else is wrong is `Junk`. A message that is junk does not spoil the
others: the framing says where the next one begins. Nor does an item of a list spoil its message.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from operator import attrgetter
from typing import Any, Final

import msgpack

from gossipreg import limits
from gossipreg.model import Address
from gossipreg.protocol.anti_entropy.fingerprint import BUCKETS
from gossipreg.protocol.anti_entropy.reconcile import Compare, End, KeepOpen, Listing, Want
from gossipreg.protocol.cells.cell_head import CellHead
from gossipreg.protocol.dissemination.receipts import Receipt, ReceiptRequest
from gossipreg.protocol.membership.identity import NameConflictQuery
from gossipreg.protocol.membership.member_update import MemberUpdate
from gossipreg.protocol.membership.observations import ObservationRequest, Observations
from gossipreg.protocol.membership.peer_clocks import WallClock
from gossipreg.protocol.membership.probe import Ack, Nack, Ping, PingReq
from gossipreg.protocol.registry.policy_version import PolicyVersion
from gossipreg.protocol.registry.records import Announcement, Fetch, Record, RecordRequest, TableDigest
from gossipreg.protocol.registry.terms import TermRegister
from gossipreg.protocol.wire.field_readers import (
    Junk,
    pack_term_proofs,
    read_cell,
    read_contact,
    read_count,
    read_digests,
    read_flag,
    read_host,
    read_id,
    read_list_of,
    read_name,
    read_observation,
    read_partition,
    read_payload,
    read_phrase,
    read_policy_key,
    read_port,
    read_proof,
    read_ranges,
    read_rule_payload,
    read_status,
    read_sums,
    read_term_proofs,
    read_u8,
    read_u16,
    read_u32,
    read_u64,
    read_witnesses,
    read_writer,
    read_zone,
)
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

#: Messages read from one packet or frame; a frame of the smallest that are ever sent in numbers has fewer.
MESSAGES_MAX: Final = 16_384


@frozen
class _Form:
    """How one kind of message is laid out: its number, its class, its fields' readers in order."""

    number: int
    noun: type
    fields: tuple[tuple[str, Callable[[Any], Any]], ...]
    items: int = 0  # which of its fields is a list, counted from 1; 0: none
    proof: str = ""  # the field that follows where it has a value: what proves the message, or the part it is about
    read_proof: Callable[[Any], Any] = read_proof
    pack_proof: Callable[[Any], Any] = bytes


def _values(form: _Form) -> Callable[[Any], tuple[Any, ...]]:
    """What gives the fields of a message of that kind."""
    names = [name for name, _ in form.fields]
    if len(names) > 1:
        return attrgetter(*names)
    return lambda message: tuple(getattr(message, name) for name in names)


#: The numbers are never reused, and fields are only ever added at the end.
_FORMS: Final = (
    _Form(1, Ping, (("seq", read_u32), ("target", read_u64), ("fingerprint", read_u64))),
    _Form(2, Ack, (("seq", read_u32), ("subject", read_u64), ("fingerprint", read_u64))),
    _Form(3, Nack, (("seq", read_u32),)),
    _Form(4, PingReq, (("seq", read_u32), ("target", read_u64), ("patience", read_u32))),
    _Form(
        6,
        NameConflictQuery,
        (("name", read_name), ("run_id", read_u64), ("born", read_count), ("announced", read_flag)),
        proof="proof",
    ),
    _Form(
        7,
        Record,
        (
            ("owner", read_name),
            ("generation", read_count),
            ("version", read_count),
            ("id", read_id),
            ("table_xor", read_u64),
            ("payload", read_payload),
        ),
        proof="proof",
    ),
    _Form(
        8,
        Announcement,
        (
            ("owner", read_name),
            ("generation", read_count),
            ("version", read_count),
            ("id", read_id),
            ("table_xor", read_u64),
            ("digest", read_u64),
            ("size", read_u32),
        ),
    ),
    _Form(
        9,
        TableDigest,
        (
            ("owner", read_name),
            ("generation", read_count),
            ("version", read_count),
            ("table_xor", read_u64),
            ("gone", read_list_of(read_id, limits.RECORDS_PER_OWNER_MAX)),
        ),
        items=5,
        proof="proof",
    ),
    _Form(
        11,
        Listing,
        (("bucket", read_u8), ("digests", read_digests)),
        items=2,
        proof="partition",
        read_proof=read_partition,
        pack_proof=str,
    ),
    _Form(
        12,
        Want,
        (("bucket", read_u8), ("digests", read_digests)),
        items=2,
        proof="partition",
        read_proof=read_partition,
        pack_proof=str,
    ),
    _Form(13, Fetch, (("owner", read_name), ("generation", read_count), ("version", read_count), ("id", read_id))),
    _Form(14, End, ()),
    _Form(15, KeepOpen, ()),
    _Form(
        16,
        PolicyVersion,
        (
            ("key", read_policy_key),
            ("ms", read_count),
            ("counter", read_u16),
            ("writer", read_name),
            ("payload", read_rule_payload),
        ),
        proof="proof",
    ),
    _Form(
        17,
        TermRegister,
        (
            ("service", read_name),
            ("ms", read_count),
            ("counter", read_u16),
            ("writer", read_writer),
            ("claimed", read_count),
            ("seen", read_count),
        ),
        proof="proofs",
        read_proof=read_term_proofs,
        pack_proof=pack_term_proofs,
    ),
    _Form(18, WallClock, (("ms", read_count),)),
    _Form(19, ReceiptRequest, (("number", read_u32),)),
    _Form(20, Receipt, (("numbers", read_list_of(read_u32, limits.RECEIPT_NUMBERS_MAX)),), items=1),
    _Form(
        21,
        RecordRequest,
        (
            ("owner", read_name),
            ("generation", read_count),
            ("version", read_count),
            ("have", read_ranges),
        ),
    ),
    _Form(22, ObservationRequest, ()),
    _Form(
        23,
        Observations,
        (
            ("version", read_phrase),
            ("problems", read_list_of(read_phrase, limits.OBSERVER_PROBLEMS_MAX)),
            ("entries", read_list_of(read_observation, limits.OBSERVATIONS_MAX)),
        ),
        items=3,
    ),
    _Form(
        25,
        CellHead,
        (
            ("cell", read_name),
            ("size", read_u32),
            ("fingerprint", read_u64),
            ("common", read_u64),
            ("relays", read_list_of(read_contact, limits.CELL_RELAYS_MAX)),
            ("confirmed", read_count),
        ),
        items=5,
    ),
)
_BY_NUMBER: Final = {form.number: form for form in _FORMS}
_BY_NOUN: Final = {form.noun: form for form in _FORMS}
_VALUES_OF: Final[dict[type, Callable[[Any], tuple[Any, ...]]]] = {form.noun: _values(form) for form in _FORMS}

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
        fields = [form.number, *_VALUES_OF[form.noun](message)]
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
        return Compare(read_sums(fields[1]), read_partition(fields[2]) if len(fields) > 2 else ""), 0
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
        read_name(name),
        read_count(generation),
        read_u32(incarnation),
        read_status(status),
        Address(read_host(host), read_port(port)),
        read_zone(zone),
        read_flag(draining),
        read_u64(accuser),
        read_u32(age),
        read_flag(refused),
        read_proof(fields[12]) if len(fields) > _MEMBER_UPDATE_FIELDS else b"",
        read_witnesses(fields[13]) if len(fields) > _MEMBER_UPDATE_FIELDS + 1 else (),
        read_cell(fields[14]) if len(fields) > _MEMBER_UPDATE_FIELDS + 2 else "",
    )
