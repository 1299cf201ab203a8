"""Targets of identity: what holders of the key send to a node that requires signatures, and files with documents."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

import attrs

from gossipreg import authority
from gossipreg.authority import AuthorityKey
from gossipreg.certificate import Certificate
from gossipreg.counters import Count
from gossipreg.errors import InvalidCertificate
from gossipreg.model import Address
from gossipreg.policy import Split
from gossipreg.protocol.engine import Engine
from gossipreg.protocol.identity.authenticator import Authenticator, IdentityMode, Signer
from gossipreg.protocol.identity.certificate_verifier import CertificateVerifier
from gossipreg.protocol.membership.member_update import MemberUpdate
from gossipreg.protocol.registry.policy_version import PolicyVersion, pack_rule, revocation_version
from gossipreg.protocol.registry.records import Record, TableDigest
from gossipreg.protocol.registry.registry import Registry
from gossipreg.protocol.registry.terms import TermProofs, TermRegister
from gossipreg.protocol.wire.messages import Message, pack, pack_sender
from gossipreg.signatures import SigningKey
from gossipreg.signed_document import SERIAL_BYTES
from tests.fuzz.target import Target, check_error_text, outcome
from tests.protocol.making import BORN, engine, instance, update

_AUTHORITY: Final = AuthorityKey("prod", SigningKey(bytes(32)))
_SECONDS: Final = BORN // 1000


def _signer(number: int, *names: str, grants: tuple[str, ...] = ()) -> Signer:
    """A key with a certificate for ``names``; the same in every run."""
    key = SigningKey(bytes([number]) * 32)
    certificate = Certificate.issue(
        _AUTHORITY.key,
        cluster="prod",
        serial=bytes([number]) * SERIAL_BYTES,
        public=key.public,
        names=names,
        zones=("*",),
        services=("orders",),
        roles=("*",),
        grants=grants,
        not_before=_SECONDS - 3600,
        not_after=_SECONDS + 86_400,
    )
    return Signer(key, certificate)


def _authenticator(signer: Signer) -> Authenticator:
    return Authenticator(CertificateVerifier("prod", (_AUTHORITY.authority,)), IdentityMode.REQUIRE, signer)


_B, _C, _OWN = _signer(1, "b", grants=("policies",)), _signer(2, "c"), _signer(3, "a", grants=("policies",))


@attrs.frozen
class _Said:
    """What two members have signed, and the authority: a node may hold that, and nothing else."""

    members: tuple[MemberUpdate, ...]
    records: tuple[Record, ...]
    digests: tuple[TableDigest, ...]
    policies: tuple[PolicyVersion, ...]
    terms: tuple[TermRegister, ...]

    @property
    def messages(self) -> tuple[Message, ...]:
        return (*self.members, *self.records, *self.digests, *self.policies, *self.terms)


def _say() -> _Said:
    by_b, by_c = _authenticator(_B), _authenticator(_C)
    members = (
        by_b.sign_update(update("b", port=7001)),
        by_b.sign_update(update("b", port=7001, incarnation=1, draining=True)),
        by_c.sign_update(update("c", port=7002, zone="east")),
    )
    registry = Registry("b", sign=lambda record, _: by_b.sign_record(record))
    first, _ = registry.offer(instance("x"), BORN)
    second, _ = registry.offer(instance("y", port=81), BORN)
    gone, _ = registry.delete("x", BORN)
    records = (first, second, gone)
    digests = tuple(
        TableDigest("b", BORN, each.version, each.table_xor, ("x",) * (each is gone), each.content + each.proof)
        for each in records
    )
    rule = Split("orders", {"v1": 90})
    set_, removed = (PolicyVersion(rule.key, BORN + at, 0, "b", said) for at, said in ((0, pack_rule(rule)), (5, None)))
    revoked = revocation_version(_AUTHORITY.revoke(_C.certificate, at=_SECONDS))
    plain = TermRegister("orders", claimed=3, seen=3)
    claimed = attrs.evolve(plain, proofs=TermProofs(claimed=by_b.sign_term(plain, 3, claimed=True)))
    reset = by_b.sign_reset(TermRegister("orders", BORN + 9, 0, "b", 1, 2))
    policies = (by_b.sign_policy(set_), by_b.sign_policy(removed), revoked)
    return _Said(members, records, digests, policies, (claimed, reset))


_SAID: Final = _say()


def _own_part(member: MemberUpdate) -> tuple[Any, ...]:
    return member.name, member.generation, member.incarnation, member.address, member.zone, member.draining


_MEMBERS: Final = tuple(map(_own_part, _SAID.members))
_TABLES: Final = tuple((each.version, each.table_xor) for each in _SAID.digests)

#: What may be held of terms: a reset without its numbers, too, and with one of them.
_REGISTERS: Final = (
    *_SAID.terms,
    attrs.evolve(_SAID.terms[1], claimed=0, seen=0),
    attrs.evolve(_SAID.terms[1], claimed=1, seen=1),
    attrs.evolve(_SAID.terms[1], claimed=0, seen=2),
)

#: Where the packets come from, and how many pieces of one input are handed in.
_SOURCE: Final = Address("10.0.0.9", 7009)
_PIECES_MAX: Final = 12


def _statements(data: bytes) -> str:
    """First byte: over a stream or not, known members or not. Each piece is the messages of a packet or frame."""
    mode = (data[:1] or b"\0")[0]
    node = engine("a", authenticator=_authenticator(_OWN))
    node.set_wall_clock(BORN, 0.0)
    sender = _SAID.members[0].run_id
    if mode & 1:
        node.receive(pack_sender(sender) + b"".join(map(pack, (_SAID.members[0], _SAID.members[2]))), _SOURCE, 0.0)
    for number, piece in enumerate(data[1:].split(b"||")[:_PIECES_MAX]):
        now = 1.0 + number
        if mode & 2:
            node.stream_frame(-1 - number, pack_sender(sender) + piece, _SOURCE, now)
        else:
            node.receive(pack_sender(sender) + piece, _SOURCE, now)
        node.handle_timeout(now)
        _check(node)
    held = len(list(node.members.snapshot())), len(list(node.state.policies)), len(list(node.state.registry.owners))
    return f"{held} {sorted(node.state.counters)[:4]}"


def _check(node: Engine) -> None:
    assert not node.counters[Count.MESSAGES_FAILED], "no exception was contained"
    for member in node.members.snapshot():
        assert member.name == "a" or _own_part(member) in _MEMBERS, f"holds {member}"
    for table in node.state.registry.owners:
        for record in table:
            assert record in _SAID.records, f"holds {record}"
        version = table.latest_digest.version
        assert not version or (version, table.latest_digest.table_xor) in _TABLES, f"holds {table.latest_digest}"
    for register in node.state.terms:
        assert register in _REGISTERS, f"holds {register}"
    for policy in node.state.policies:
        assert policy in _SAID.policies, f"holds {policy}"


def _statement_seeds() -> Iterator[bytes]:
    for mode in (b"\0", b"\1", b"\2", b"\3"):
        yield mode + b"||".join(map(pack, _SAID.messages))
    for each in _SAID.messages:
        yield b"\1" + pack(each)
    for record in _SAID.records:
        yield b"\1" + pack(attrs.evolve(record, payload=None)) + b"||" + pack(record)
    for digest in _SAID.digests:
        yield b"\3" + pack(_SAID.records[0]) + pack(attrs.evolve(digest, gone=("x", "y")))


# Files

_READERS: Final[tuple[Callable[[str], object], ...]] = (
    lambda line: authority.decode_authority(line, where="a file"),
    lambda line: authority.decode_authority_key(line, where="a file"),
    lambda line: authority.decode_key(authority.NODE_KEY, line, where="a file"),
    lambda line: authority.decode_key(authority.PUBLIC_KEY, line, where="a file"),
    lambda line: Certificate.read(authority.decode(authority.CERTIFICATE, line, where="a file")),
)


def _files(data: bytes) -> str:
    """Every document of a file is read, or is refused in a sentence that quotes no secret."""
    said = []
    for line in authority.lines_of(data.decode("utf-8", "replace")):
        for read in _READERS:
            try:
                said.append(type(read(line)).__name__)
            except InvalidCertificate as error:
                check_error_text(error)
                said.append(f"{outcome(error)} {error}")
    assert not any(_SECRET in each for each in said), "a sentence quotes no secret"
    return " ".join(sorted(set(said)))[:200]


_SECRET: Final = authority.encode(authority.NODE_KEY, bytes([3]) * 32).split()[1]


def _file_seeds() -> Iterator[bytes]:
    lines = [
        authority.encode_authority(_AUTHORITY.authority),
        authority.encode_authority_key(_AUTHORITY),
        authority.encode(authority.NODE_KEY, bytes([3]) * 32),
        authority.encode(authority.PUBLIC_KEY, _OWN.key.public),
        authority.encode(authority.CERTIFICATE, _OWN.certificate.data),
        authority.encode(authority.REVOCATION, _AUTHORITY.revoke(_C.certificate, at=_SECONDS).data),
    ]
    for line in lines:
        yield line.encode()
    yield ("# a comment\n\n" + "\n".join(lines)).encode()


TARGETS: Final = (
    Target(
        "statements",
        "a node that requires identity holds only what its owners and the authority have signed",
        _statements,
        _statement_seeds,
        (b"||", b"\xc4\x40", b"\xc4\x00", b"\xc3", b"\xc2", b"\xc0", bytes(64)),
        cost=20,
    ),
    Target(
        "authority-files",
        "each line is a document, or InvalidCertificate in a sentence that quotes no secret",
        _files,
        _file_seeds,
        tuple(f"{kind} ".encode() for kind in (authority.AUTHORITY, authority.NODE_KEY, authority.CERTIFICATE)),
    ),
)
