"""Key statements: what a cluster has decided about the keys that seal its gossip, and which keys a node then holds.

Theory of operation (docs/decisions/0060). A statement is about one key, or it names the primary key; of two about the
same the later counts, everywhere, so that keys change as policies do: any member may state something, statements merge
in any order, a node that was away learns them when it joins, and they are stored where policies are. A statement that
adds a key carries the key itself, sealed with the key that is primary until then. One about a key that members have in
their files needs only its id: so a key that is to replace a leaked one never travels under that.

A key that is given up is remembered as such, or the file of a host that was away would bring it back.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, ClassVar, Final

import attrs
import msgpack

from gossipreg import limits
from gossipreg.key_format import KEY_BYTES, key_id
from gossipreg.protocol.registry.payload import BadPayload, contained
from gossipreg.values import frozen

#: What the keys of all statements begin with, in the table that holds policies.
_PREFIX: Final = "gossip-key:"

#: The key of the statement that names the primary key. No id of a key is spelled like this.
PRIMARY: Final = f"{_PREFIX}primary"

_ID_CHARS: Final = 8

#: Most entries of a packed statement; a later release may add some.
_FIELDS_MAX: Final = 16

#: The first time that no statement names (seconds since the epoch): the year 10889, as in a packet.
_TIME_END: Final = 2.0**48 / 1000
_HEX: Final = frozenset("0123456789abcdef")


@frozen
class KeyStatement:
    """A key of the cluster: added with its bytes, or given up from ``until`` on."""

    kind: ClassVar[str] = "gossip-key"
    id: str
    key: bytes = attrs.field(default=b"", repr=False)  # empty: members have it in their files, if at all
    until: float | None = None  # when it is given up (seconds since the epoch); None: it is not

    @property
    def about(self) -> str:
        """The key of this statement in the table."""
        return _PREFIX + self.id

    def is_in_force(self, wall: float) -> bool:
        """Whether the key may be held at ``wall`` (seconds since the epoch)."""
        return self.until is None or wall < self.until


@frozen
class PrimaryKeyStatement:
    """The id of the key that every member that holds it seals with."""

    kind: ClassVar[str] = "gossip-key-primary"
    id: str

    @property
    def about(self) -> str:
        """The key of this statement in the table."""
        return PRIMARY


Statement = KeyStatement | PrimaryKeyStatement


def is_about_keys(table_key: str) -> bool:
    """Whether ``table_key`` is one of a statement."""
    return table_key.startswith(_PREFIX)


def pack_statement(statement: Statement) -> bytes:
    """A statement as it travels."""
    fields: dict[str, object] = {"kind": statement.kind, "id": statement.id}
    if isinstance(statement, KeyStatement):
        fields |= {"key": statement.key, "until": statement.until}
    packed: bytes = msgpack.packb(fields)
    return packed


@contained
def unpack_statement(payload: bytes, table_key: str) -> Statement:
    """The statement that was packed for ``table_key``. Raises `BadPayload` for anything else, whatever the bytes."""
    try:
        stated = msgpack.unpackb(payload, raw=False, strict_map_key=True, max_map_len=_FIELDS_MAX)
    except (ValueError, msgpack.UnpackException) as error:
        raise BadPayload(f"not msgpack: {error}") from None
    if not isinstance(stated, dict):
        raise BadPayload("not a statement")
    statement = _statement(stated)
    if statement.about != table_key:
        raise BadPayload("a statement about another key")
    return statement


def _statement(stated: dict[str, Any]) -> Statement:
    kind, id_ = stated.get("kind"), stated.get("id")
    if not isinstance(id_, str) or not is_key_id(id_):
        raise BadPayload("no id of a key")
    if kind == PrimaryKeyStatement.kind:
        return PrimaryKeyStatement(id_)
    if kind != KeyStatement.kind:
        raise BadPayload("a kind that is not known here")
    key, until = stated.get("key"), stated.get("until")
    if not isinstance(key, bytes) or (key and (len(key) != KEY_BYTES or key_id(key) != id_)):
        raise BadPayload("not the key of that id")
    if until is not None and not (isinstance(until, float) and 0 <= until < _TIME_END):
        raise BadPayload("not the time until which a key is held")
    return KeyStatement(id_, key, until)


def is_key_id(text: str) -> bool:
    """Whether ``text`` is spelled as the id of a key."""
    return len(text) == _ID_CHARS and set(text) <= _HEX


@frozen
class KeysInForce:
    """The keys that a node holds, by its file and the cluster's statements."""

    keys: tuple[bytes, ...] = attrs.field(repr=False)  # the primary one first; at least one
    until: float | None  # when that may be other keys (seconds since the epoch); None: not before a statement comes
    lacking: str | None = None  # the id of the primary key, if the node does not hold it
    given_up: tuple[str, ...] = ()  # the ids of keys that its file holds in vain


def keys_in_force(files: Sequence[bytes], statements: Iterable[Statement], wall: float) -> KeysInForce:
    """The keys of a node whose file holds ``files``, at ``wall`` (seconds since the epoch).

    Those of the file and those that were added, less those that were given up; first the one that is stated to be
    primary, or else the first of the file. A node that would be left without a key keeps those of its file: no member
    hears it, but it can say so.
    """
    by_id = {each.id: each for each in statements if isinstance(each, KeyStatement)}
    primary = next((each.id for each in statements if isinstance(each, PrimaryKeyStatement)), None)
    held = {key_id(key): key for key in files}
    in_files = tuple(held)
    held |= {id_: each.key for id_, each in by_id.items() if each.key}
    gone = {id_ for id_ in held if id_ in by_id and not by_id[id_].is_in_force(wall)}
    kept = {id_: key for id_, key in held.items() if id_ not in gone}
    given_up = tuple(id_ for id_ in in_files if id_ in gone)
    if not kept:
        return KeysInForce(tuple(files), None, primary, given_up)
    first = primary if primary in kept else next(iter(kept))
    keys = (kept.pop(first), *kept.values())[: limits.GOSSIP_KEYS_MAX]
    ends = [each.until for id_, each in by_id.items() if each.until is not None and id_ in (*kept, first)]
    return KeysInForce(keys, min(ends, default=None), primary if primary not in (first, None) else None, given_up)
