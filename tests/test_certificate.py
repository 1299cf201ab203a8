"""Certificates say what the authority signed, and nothing else is read as one."""

from __future__ import annotations

from typing import Any

import attrs
import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossipreg import limits
from gossipreg.authority import AuthorityKey, decode, decode_authority, decode_authority_key, encode
from gossipreg.authority import encode_authority as as_line
from gossipreg.authority import encode_authority_key as as_secret_line
from gossipreg.certificate import Certificate
from gossipreg.delegation import Delegation
from gossipreg.errors import InvalidCertificate
from gossipreg.revocation import Revocation
from gossipreg.signatures import VerifyingKey
from tests.authorities import AUTHORITY, FROM, NODE, OTHER, UNTIL, certificate
from tests.protocol.making import law


def test_what_was_signed_is_read_and_only_its_authority_has_signed_it() -> None:
    made = certificate(services=("orders", "pay-*"), roles=("primary",), grants=("policies",))
    read = Certificate.read(made.data)
    assert read == made
    assert (read.cluster, read.names, read.services) == ("prod", ("web-1",), ("orders", "pay-*"))
    assert read.is_signed_by(AUTHORITY.authority.public)
    assert not read.is_signed_by(OTHER.authority.public)
    assert len(certificate().data) < 200, "it travels with every statement about a member"


def test_no_byte_of_a_certificate_can_be_changed() -> None:
    data = certificate().data
    for place in range(len(data)):
        forged = data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]
        try:
            read = Certificate.read(forged)
        except InvalidCertificate:
            continue
        assert not read.is_signed_by(AUTHORITY.authority.public), f"byte {place}"


def test_an_id_that_another_key_claims_is_not_enough() -> None:
    body, _ = msgpack.unpackb(certificate().data)
    posed = Certificate.read(msgpack.packb([body, OTHER.key.sign(b"certificate", body)]))
    assert posed.authority == AUTHORITY.authority.id
    assert not posed.is_signed_by(AUTHORITY.authority.public)


def test_patterns_allow_what_they_match_and_an_empty_list_nothing() -> None:
    made = certificate(names=("web-*", "db-1"), services=("orders",), roles=())
    assert [made.allows("names", name) for name in ("web-7", "web-", "db-1", "db-12", "xweb-7")] == [
        True, True, True, False, False,
    ]  # fmt: skip
    assert made.allows("services", "orders")
    assert not made.allows("services", "orders2")
    assert not made.allows("roles", "primary")
    assert made.allows("zones", "")
    for pattern in ("a?b", "[ab]", "a b", "", "x" * 64):
        with pytest.raises(InvalidCertificate, match="not a pattern"):
            certificate(names=(pattern,))


def test_it_is_in_force_from_its_begin_to_before_its_end() -> None:
    made = certificate()
    assert [made.is_in_force(at) for at in (FROM - 1, FROM, UNTIL - 1, UNTIL)] == [False, True, True, False]
    assert made.is_in_force(UNTIL + 29, leeway=30)
    with pytest.raises(InvalidCertificate, match="ends before it begins"):
        certificate(not_after=FROM)


def test_a_certificate_has_a_bounded_size_and_count_of_patterns() -> None:
    fits = certificate(services=tuple("abcdefghij"))
    assert len(fits.data) < limits.CERTIFICATE_BYTES_MAX
    with pytest.raises(InvalidCertificate, match="bytes, 512 are allowed: use fewer"):
        certificate(services=tuple("x" * 60 for _ in range(10)))
    with pytest.raises(InvalidCertificate):
        certificate(services=("x",) * (limits.CERTIFICATE_PATTERNS_MAX + 1))


def test_a_certificate_of_a_later_release_may_have_further_fields() -> None:
    made = certificate()
    body, _ = msgpack.unpackb(made.data)
    longer = msgpack.packb([*msgpack.unpackb(body), [], "more"])
    later = Certificate.read(msgpack.packb([longer, AUTHORITY.key.sign(b"certificate", longer)]))
    assert attrs.evolve(later, data=made.data) == made
    assert later.is_signed_by(AUTHORITY.authority.public)
    newer = msgpack.packb([2, *msgpack.unpackb(body)[1:]])
    with pytest.raises(InvalidCertificate, match="another version"):
        Certificate.read(msgpack.packb([newer, bytes(64)]))


def test_a_renewed_certificate_is_for_the_same_holder_and_another_one() -> None:
    made = certificate(grants=("keys",))
    again = AUTHORITY.renew(made, not_before=UNTIL, not_after=UNTIL + 1)
    same: dict[str, Any] = {"serial": made.serial, "not_before": FROM, "not_after": UNTIL, "data": made.data}
    assert again.serial != made.serial
    assert attrs.evolve(again, **same) == made
    with pytest.raises(InvalidCertificate, match="for cluster prod, the authority is that of test"):
        AuthorityKey.new("test").renew(made, not_before=FROM, not_after=UNTIL)


def test_a_signature_of_one_kind_is_none_of_another() -> None:
    data = b"the same bytes"
    signature = NODE.sign(b"record", data)
    key = VerifyingKey(NODE.public)
    assert key.is_signed(b"record", data, signature)
    assert not key.is_signed(b"member", data, signature)
    body, _ = msgpack.unpackb(certificate().data)
    posed = msgpack.packb([body, AUTHORITY.key.sign(b"revocation", body)])
    assert not Certificate.read(posed).is_signed_by(AUTHORITY.authority.public)


@law
@given(st.binary(max_size=600))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    for noun in (Certificate, Delegation, Revocation):
        with pytest.raises(InvalidCertificate):
            noun.read(data)


def test_files_name_what_they_hold_and_never_quote_a_secret() -> None:
    secret = as_secret_line(AUTHORITY)
    assert decode_authority_key(secret, where="f").key.public == AUTHORITY.key.public
    assert decode_authority(as_line(AUTHORITY.authority), where="f") == AUTHORITY.authority
    with pytest.raises(InvalidCertificate) as wrong:
        decode("gossipreg-certificate-1", secret, where="f")
    assert str(wrong.value) == (
        "f: not a certificate, as `gossipreg ca sign` writes it: it is an authority's key, as `gossipreg ca init` "
        "writes it"
    )
    kind = "gossipreg-authority-key-1"
    for line in (f"{kind} !", f"{kind} gAAA", encode(kind, b"\xc0")):
        with pytest.raises(InvalidCertificate, match=r"^f: "):
            decode_authority_key(line, where="f")
    assert AUTHORITY.key.secret.hex() not in repr(AUTHORITY)
