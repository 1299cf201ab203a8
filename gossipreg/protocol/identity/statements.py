"""Statements: what exactly a member signs of its updates, records and policies, and of what it says of others.

Each is a msgpack array that begins with the cluster, so that a statement of one cluster is none of another with the
same authority; its kind is signed before it (`SigningKey.sign`).
"""

from __future__ import annotations

from typing import Final

import msgpack

from gossipreg.model import Status
from gossipreg.protocol.membership.identity import NameConflictQuery
from gossipreg.protocol.membership.member_update import MemberUpdate
from gossipreg.protocol.registry.policy_version import PolicyVersion
from gossipreg.protocol.registry.records import Record, TableDigest
from gossipreg.protocol.registry.terms import TermRegister

#: The kinds, as they are signed.
MEMBER: Final = b"member"
RECORD: Final = b"record"
POLICY: Final = b"policy"
VERDICT: Final = b"verdict"
SUSPICION: Final = b"suspicion"
TERM: Final = b"term"
RESET: Final = b"term reset"
NAME: Final = b"name"

_pack = msgpack.Packer(autoreset=True).pack


def member_statement(cluster: str, update: MemberUpdate) -> bytes:
    """What a member signs of itself: all of an update that is its own, and no accusation."""
    has_left = update.status is Status.LEFT and not update.accuser
    host, port = update.address
    own = [cluster, update.name, update.generation, update.incarnation, has_left]
    own += [host, port, update.zone, update.draining]
    packed: bytes = _pack(own)
    return packed


def is_same_statement(one: MemberUpdate, other: MemberUpdate) -> bool:
    """Whether both have the same own part, whatever others have added: then one signature is for both."""
    return member_statement("", one) == member_statement("", other)


def record_statement(cluster: str, said: Record | TableDigest, content: bytes) -> bytes:
    """What an owner signs of a record: with its ``content`` in place of id and payload, it vouches for the table."""
    packed: bytes = _pack([cluster, said.owner, said.generation, said.version, said.table_xor, content])
    return packed


def policy_statement(cluster: str, version: PolicyVersion) -> bytes:
    """What a writer signs of a policy version."""
    packed: bytes = _pack([cluster, version.key, version.ms, version.counter, version.writer, version.payload])
    return packed


def verdict_statement(cluster: str, update: MemberUpdate, accuser: int) -> bytes:
    """What ``accuser`` (a run id) signs of another: that its kernel refused, that it is to be forgotten.

    And of itself, that it concedes a failure. As a `SUSPICION` it says that the other did not answer.
    """
    packed: bytes = _pack([cluster, update.run_id, update.incarnation, update.status is Status.LEFT, accuser])
    return packed


def term_statement(cluster: str, register: TermRegister, term: int, *, claimed: bool) -> bytes:
    """What is signed of a term in the epoch of ``register``: that a primary ``claimed`` it, or that it was stated.

    The epoch is in it, so that a statement from before a reset is none after it.
    """
    packed: bytes = _pack([cluster, register.service, *register.epoch, claimed, term])
    return packed


def reset_statement(cluster: str, register: TermRegister) -> bytes:
    """What is signed of the last reset of a register."""
    packed: bytes = _pack([cluster, register.service, *register.epoch])
    return packed


def name_statement(cluster: str, query: NameConflictQuery, to: int) -> bytes:
    """What a run of a name signs of itself for the other run of that name, ``to``; it proves nothing to a third."""
    packed: bytes = _pack([cluster, query.name, query.run_id, query.born, query.announced, to])
    return packed
