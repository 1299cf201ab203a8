"""Join tokens and requests for certificates: what an issuer grants, and nothing overheard or changed."""

from __future__ import annotations

from typing import Any

import attrs
import msgpack
import pytest

from gossipreg import limits
from gossipreg.authority import CERTIFICATE_REQUEST, JOIN_TOKEN, AuthorityKey, decode, encode, new_node_key
from gossipreg.certificate import Certificate
from gossipreg.delegation import Delegation
from gossipreg.errors import CertificateRefused, InvalidCertificate, NotAnIssuer
from gossipreg.join_tokens import (
    CertificateRequest,
    Issuer,
    JoinToken,
    request_by_token,
    request_renewal,
)

NOW = 1_790_000_000
AUTHORITY = AuthorityKey.new("prod")
KEY, NODE, OTHER = new_node_key(), new_node_key(), new_node_key()


def delegation(**fields: Any) -> Delegation:
    wanted: dict[str, Any] = {
        "agent": "ops-1",
        "names": ("web-*",),
        "zones": ("*",),
        "services": ("orders",),
        "roles": (),
        "grants": (),
        "not_before": NOW - 10,
        "not_after": NOW + 1_000_000,
        "lifetime": 86_400,
    }
    return AUTHORITY.delegate(KEY.public, **{**wanted, **fields})


ISSUER = Issuer(KEY, delegation())


def token(issuer: Issuer = ISSUER, **fields: Any) -> JoinToken:
    wanted: dict[str, Any] = {
        "names": ("web-*",),
        "zones": ("*",),
        "services": ("orders",),
        "roles": (),
        "grants": (),
        "lifetime": 3600,
        "uses": 1,
        "expires": NOW + 600,
    }
    return JoinToken.make(issuer.key, issuer.delegation, **{**wanted, **fields})


def given(made: JoinToken, name: str = "web-7", issuer: Issuer = ISSUER, now: float = NOW) -> Certificate:
    request = CertificateRequest.read(request_by_token(made, NODE, name, now))
    return issuer.first(request, issuer.check_token(request, now), now)


def test_a_token_brings_a_certificate_for_the_one_name_and_what_it_says() -> None:
    made = JoinToken.decoded(token().encoded(), where="test")
    certificate = given(made)
    assert (certificate.public, certificate.names) == (NODE.public, ("web-7",))
    assert (certificate.services, certificate.roles, certificate.grants) == (("orders",), (), ())
    assert certificate.not_after == NOW + 3600
    assert certificate.is_signed_by(KEY.public)
    assert ISSUER.delegation.excess_of(certificate) is None


def test_the_secret_of_a_token_is_not_in_a_request() -> None:
    made = token()
    line = request_by_token(made, NODE, "web-7", NOW)
    sent = decode(CERTIFICATE_REQUEST, line, where="test")
    assert made.body in sent
    assert made.secret not in sent
    assert NODE.secret not in sent
    assert len(line) < limits.CERTIFICATE_REQUEST_CHARACTERS_MAX


def test_without_the_secret_no_request_is_granted() -> None:
    made = attrs.evolve(token(), secret=bytes(32))
    with pytest.raises(CertificateRefused, match="the join token is wrong"):
        given(made)


def test_a_request_cannot_be_changed_or_signed_by_another_key() -> None:
    parts = msgpack.unpackb(decode(CERTIFICATE_REQUEST, request_by_token(token(), NODE, "web-7", NOW), where="test"))
    for place in range(len(parts[0])):
        inner = parts[0][:place] + bytes([parts[0][place] ^ 1]) + parts[0][place + 1 :]
        with pytest.raises(InvalidCertificate):
            CertificateRequest.read(encode(CERTIFICATE_REQUEST, msgpack.packb([inner, *parts[1:]])))
    # A thief that overhears it and signs it with a key of its own has no code for that key.
    fields = msgpack.unpackb(parts[0])
    inner = msgpack.packb([fields[0], OTHER.public, *fields[2:]])
    stolen = encode(CERTIFICATE_REQUEST, msgpack.packb([inner, parts[1], OTHER.sign(b"certificate request", inner)]))
    with pytest.raises(CertificateRefused, match="the join token is wrong"):
        ISSUER.check_token(CertificateRequest.read(stolen), NOW)


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (token(expires=NOW - 1), "has expired"),
        (token(names=("web-1",)), "is for web-1, not for web-7"),
    ],
)
def test_a_token_that_does_not_count_is_refused_with_the_reason(made: JoinToken, said: str) -> None:
    with pytest.raises(CertificateRefused, match=said):
        given(made)


def test_a_token_is_honoured_by_its_own_issuer_only() -> None:
    other = Issuer(OTHER, AUTHORITY.delegate(OTHER.public, **_fields(ISSUER.delegation)))
    with pytest.raises(NotAnIssuer, match=f"is of issuer {ISSUER.id}, this one is {other.id}"):
        given(token(), issuer=other)


def _fields(of: Delegation) -> dict[str, Any]:
    names = ("agent", "names", "zones", "services", "roles", "grants", "not_before", "not_after", "lifetime")
    return {name: getattr(of, name) for name in names}


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"names": ("*",)}, r"names: \*: the delegation"),
        ({"services": ("pay",)}, "services: pay"),
        ({"grants": ("keys",)}, "grants: keys"),
        ({"lifetime": 86_401}, "lifetime: 86401 s"),
        ({"lifetime": 0}, "lifetime: 0 s"),
        ({"uses": 0}, "uses: 0 is not 1 to 1000"),
        ({"uses": limits.JOIN_TOKEN_USES_MAX + 1}, "uses: 1001 is not 1 to 1000"),
    ],
)
def test_a_token_gives_no_more_than_its_issuer_may(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidCertificate, match=said):
        token(**fields)


def test_a_token_of_a_wider_delegation_gives_what_the_present_one_allows() -> None:
    wide = Issuer(KEY, delegation(names=("*",), grants=("keys",)))
    with pytest.raises(CertificateRefused, match="may not sign names db-1"):
        given(token(wide, names=("db-*",)), "db-1")
    with pytest.raises(CertificateRefused, match="may not sign grant keys"):
        given(token(wide, grants=("keys",)))


def test_a_renewal_lasts_as_long_again_and_keeps_serial_key_and_rights() -> None:
    held = given(token())
    later = NOW + 2400
    renewed = ISSUER.renewed(CertificateRequest.read(request_renewal(held, NODE, later)), later)
    assert renewed.not_after == later + 3600
    same = ("serial", "public", "names", "zones", "services", "roles", "grants")
    assert [getattr(renewed, name) for name in same] == [getattr(held, name) for name in same]
    assert ISSUER.delegation.excess_of(renewed) is None


def test_a_renewal_is_asked_for_by_the_holder_of_the_key_and_now() -> None:
    held = given(token())
    with pytest.raises(CertificateRefused, match="that of another key"):
        ISSUER.renewed(CertificateRequest.read(request_renewal(held, OTHER, NOW)), NOW)
    with pytest.raises(CertificateRefused, match="301 s ago by this clock"):
        ISSUER.renewed(CertificateRequest.read(request_renewal(held, NODE, NOW)), NOW + 301)


def test_a_certificate_beyond_the_delegation_is_renewed_by_the_authority_only() -> None:
    held = AUTHORITY.sign(NODE.public, names=("db-1",), not_before=NOW - 300, not_after=NOW + 100)
    with pytest.raises(CertificateRefused, match="may not sign names db-1: renew it with `gossipreg ca renew`"):
        ISSUER.renewed(CertificateRequest.read(request_renewal(held, NODE, NOW)), NOW)


def test_no_certificate_outlives_the_delegation() -> None:
    brief = Issuer(KEY, delegation(not_after=NOW + 100))
    assert given(token(brief), issuer=brief).not_after == NOW + 100
    with pytest.raises(CertificateRefused, match="has ended: sign another"):
        given(token(brief), issuer=brief, now=NOW + 100)


JUNK: dict[str, bytes] = {
    "no msgpack": b"\xc1",
    "no list": msgpack.packb(5),
    "no parts": msgpack.packb([]),
    "parts that are no bytes": msgpack.packb([1, 2, 3]),
    "a body that is no list": msgpack.packb([msgpack.packb(5), bytes(32), bytes(64)]),
    "another version": msgpack.packb([msgpack.packb([2, *range(12)]), bytes(32), bytes(64)]),
    "other types": msgpack.packb([msgpack.packb([1, *range(12)]), bytes(32), bytes(64)]),
    "other types in the token": msgpack.packb([msgpack.packb([1, *range(12)]), bytes(32)]),
}


@pytest.mark.parametrize("data", JUNK.values(), ids=JUNK)
def test_junk_is_no_token_and_no_request(data: bytes) -> None:
    with pytest.raises(InvalidCertificate):
        JoinToken.decoded(encode(JOIN_TOKEN, data), where="file")
    with pytest.raises(InvalidCertificate):
        CertificateRequest.read(encode(CERTIFICATE_REQUEST, data))


def test_a_token_without_its_secret_is_none_and_the_error_quotes_nothing_of_it() -> None:
    line = encode(JOIN_TOKEN, msgpack.packb([token().body, b"short"]))
    with pytest.raises(InvalidCertificate, match=r"^file: not a join token: copy the whole line$"):
        JoinToken.decoded(line, where="file")


def test_a_request_that_is_too_long_is_not_read() -> None:
    with pytest.raises(InvalidCertificate, match="too long"):
        CertificateRequest.read("x" * (limits.CERTIFICATE_REQUEST_CHARACTERS_MAX + 1))


def test_a_request_for_no_name_is_none() -> None:
    with pytest.raises(InvalidCertificate, match="no name of a member"):
        CertificateRequest.read(request_by_token(token(), NODE, "web 7", NOW))
