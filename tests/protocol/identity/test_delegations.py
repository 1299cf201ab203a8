"""What an issuer has signed counts within its delegation, and no longer once the authority revokes that."""

from __future__ import annotations

from typing import Any

import attrs
import msgpack
import pytest

from gossipreg.authority import Authority, AuthorityKey, new_node_key
from gossipreg.certificate import Certificate
from gossipreg.counters import Count
from gossipreg.join_tokens import CertificateRequest, Issuer, request_renewal
from gossipreg.protocol.engine import Engine
from gossipreg.protocol.identity.authenticator import Signer
from gossipreg.protocol.outputs import MemberExpelled
from gossipreg.protocol.registry.policy_version import revocation_version
from gossipreg.revocation import Revocation
from gossipreg.signed_document import authority_id
from tests.protocol.identity.signing import AUTHORITY, FROM, UNTIL, Peer, deliver, names, node, signer
from tests.protocol.making import BORN

ISSUER = new_node_key()
BY_ISSUER = AuthorityKey("prod", ISSUER)
LIMITS: dict[str, Any] = {
    "agent": "ops-1",
    "names": ("web-*",),
    "zones": ("*",),
    "services": ("*",),
    "roles": ("*",),
    "grants": (),
    "not_before": FROM - 300,
    "not_after": UNTIL,
    "lifetime": UNTIL - FROM,
}
DELEGATION = AUTHORITY.delegate(ISSUER.public, **LIMITS)


def trusting(*delegations: Any) -> Engine:
    """A node that trusts the authority, and these issuers."""
    made = node()
    issuers = tuple(Authority(each.cluster, each.public, each) for each in delegations)
    made.trust((AUTHORITY.authority, *issuers), 0.0)
    return made


def web(name: str = "web-1", **fields: Any) -> Peer:
    return Peer(name, 7005, signer(name, by=BY_ISSUER, **fields))


def test_a_member_with_a_certificate_of_an_issuer_is_believed() -> None:
    here, peer = trusting(DELEGATION), web()
    deliver(here, peer.state(), peer.state(), peer.offer())
    assert names(here) == ["a", "web-1"]
    here.handle_timeout(6.0)
    assert [each.owner for each in here.view.service("orders").instances] == ["web-1"]


@pytest.mark.parametrize(
    "peer",
    [web("db-1"), web(grants=("policies",)), web(not_after=UNTIL + 1)],
    ids=["another name", "a grant", "a longer time"],
)
def test_what_an_issuer_signs_beyond_its_delegation_counts_nowhere(peer: Peer) -> None:
    here = trusting(DELEGATION)
    deliver(here, peer.state(), peer.state())
    assert names(here) == ["a"]
    assert here.counters[Count.STATEMENTS_REFUSED] > 0


def test_without_the_delegation_an_issuer_is_no_authority() -> None:
    here, peer = trusting(), web()
    deliver(here, peer.state(), peer.state())
    assert names(here) == ["a"]


def test_the_revocation_of_a_delegation_expels_whatever_its_issuer_has_signed() -> None:
    here, one, two = trusting(DELEGATION), web("web-1"), attrs.evolve(web("web-2"), port=7006)
    other = Peer("b", 7007)
    for peer in (one, two, other):
        deliver(here, peer.state(), peer.state())
    assert names(here) == ["a", "b", "web-1", "web-2"]
    gone = AUTHORITY.revoke(DELEGATION, at=BORN // 1000)
    outputs = deliver(here, other.state(), revocation_version(gone))
    assert sorted(each.member.name for each in outputs if isinstance(each, MemberExpelled)) == ["web-1", "web-2"]
    assert names(here) == ["a", "b"]
    for peer in (one, web("web-3")):
        deliver(here, peer.state(), peer.state())
    assert names(here) == ["a", "b"]


def test_an_issuer_revokes_nothing() -> None:
    here, b = trusting(DELEGATION), Peer("b", 7007)
    deliver(here, b.state(), b.state())
    forged = BY_ISSUER.revoke(web().signer.certificate, at=BORN // 1000)
    assert forged.is_signed_by(ISSUER.public)
    deliver(here, b.state(), revocation_version(forged))
    assert not here.state.authenticator.certificates.revoked


def test_the_authority_revokes_one_certificate_of_an_issuer() -> None:
    here, one, two = trusting(DELEGATION), web("web-1"), attrs.evolve(web("web-2"), port=7006)
    for peer in (one, two):
        deliver(here, peer.state(), peer.state())
    gone = AUTHORITY.revoke(one.signer.certificate, at=BORN // 1000, delegations=(DELEGATION,))
    deliver(here, two.state(), revocation_version(gone))
    assert names(here) == ["a", "web-2"]


def test_a_certificate_by_another_issuer_prolongs_the_present_run() -> None:
    own = new_node_key()
    here = trusting(DELEGATION)
    fields: dict[str, Any] = {"names": ("a",), "not_before": FROM, "not_after": UNTIL}
    first = AUTHORITY.sign(own.public, **fields)
    authenticator = here.state.authenticator
    authenticator.use(Signer(own, first))
    update = authenticator.sign_update(attrs.evolve(here.identity.own_update(), proof=b""))
    longer = BY_ISSUER.sign(own.public, **{**fields, "not_after": UNTIL + 9})
    authenticator.use(Signer(own, longer))
    assert authenticator.prolongs(update, BORN / 1000)


def with_serial(serial: bytes, name: str, **fields: Any) -> Peer:
    """A member whose certificate a stolen issuer has signed, with the serial number of another's."""
    key = new_node_key()
    allowed = ("names", "zones", "services", "roles", "grants", "not_before", "not_after")
    given = {what: LIMITS[what] for what in allowed} | {"names": (name,), "not_before": FROM, **fields}
    certificate = Certificate.issue(ISSUER, cluster="prod", serial=serial, public=key.public, **given)
    return Peer(name, 7006, Signer(key, certificate))


@pytest.mark.parametrize("of", ["a certificate of the authority", "a certificate of its own", "a delegation"])
def test_the_revocation_of_a_certificate_hits_no_other_that_an_issuer_gave_its_serial_number(of: str) -> None:
    other = AUTHORITY.delegate(new_node_key().public, **{**LIMITS, "names": ("db-*",)})
    here = trusting(DELEGATION, other)
    peer = Peer("c", 7007) if of == "a certificate of the authority" else web("web-2")
    serial = other.serial if of == "a delegation" else peer.signer.certificate.serial
    thief = with_serial(serial, "web-9")
    for each in (peer, thief):
        deliver(here, each.state(), each.state())
    gone = AUTHORITY.revoke(thief.signer.certificate, at=FROM, delegations=(DELEGATION,))
    deliver(here, peer.state(), revocation_version(gone))
    assert names(here) == sorted(["a", peer.name])
    assert not here.state.authenticator.certificates.is_revoked(peer.signer.certificate)
    by_other = attrs.evolve(peer.signer.certificate, authority=authority_id(other.public))
    assert not here.state.authenticator.certificates.is_revoked(by_other)


def test_of_two_revocations_with_one_serial_number_both_stay() -> None:
    here, peer = trusting(DELEGATION), web("web-2")
    thief = with_serial(peer.signer.certificate.serial, "web-9")
    said = [
        revocation_version(AUTHORITY.revoke(each.signer.certificate, at=FROM, delegations=(DELEGATION,)))
        for each in (peer, thief)
    ]
    deliver(here, Peer("c", 7007).state(), *said)
    assert set(here.state.policies.revocations) == set(said)
    assert len(here.state.authenticator.certificates.revoked) == 2


def test_a_renewed_certificate_of_another_issuer_is_revoked_with_the_one_before() -> None:
    second = new_node_key()
    here, before = trusting(DELEGATION, AUTHORITY.delegate(second.public, **LIMITS)), web().signer
    fields = attrs.asdict(before.certificate, filter=lambda field, _: field.name not in ("authority", "data"))
    renewed = Peer("web-1", 7005, Signer(before.key, Certificate.issue(second, **fields)))
    deliver(here, renewed.state(), renewed.state())
    assert "web-1" in names(here)
    gone = AUTHORITY.revoke(before.certificate, at=FROM, delegations=(DELEGATION,))
    deliver(here, Peer("c", 7007).state(), revocation_version(gone))
    assert "web-1" not in names(here)


def test_a_revocation_of_an_earlier_release_revokes_by_the_serial_number_alone() -> None:
    here, peer = trusting(DELEGATION), web()
    deliver(here, peer.state(), peer.state())
    gone = of_earlier_release(AUTHORITY.revoke(peer.signer.certificate, at=FROM, delegations=(DELEGATION,)))
    assert revocation_version(gone).key == f"revoked-certificate:{gone.serial_text}"
    deliver(here, Peer("c", 7007).state(), revocation_version(gone))
    assert names(here) == ["a"]


def of_earlier_release(revocation: Revocation) -> Revocation:
    """The same revocation, in a document that names no holder."""
    body = [1, revocation.cluster, revocation.authority, revocation.serial]
    packed = msgpack.packb([*body, revocation.at, revocation.until, list(revocation.names)])
    return Revocation.read(msgpack.packb([packed, AUTHORITY.key.sign(b"revocation", packed)]))


def test_what_another_issuer_has_renewed_falls_with_the_issuer_that_signed_it_first() -> None:
    keys = [new_node_key() for _ in range(2)]
    others = [AUTHORITY.delegate(key.public, **LIMITS) for key in keys]
    here, held = trusting(DELEGATION, *others), web().signer
    renewed, authority_made = held.certificate, signer("web-2")
    for key, delegation in zip(keys, others, strict=True):
        request = CertificateRequest.read(request_renewal(renewed, held.key, BORN / 1000))
        renewed = Issuer(key, delegation).renewed(request, BORN / 1000)
    request = CertificateRequest.read(request_renewal(authority_made.certificate, authority_made.key, BORN / 1000))
    of_authority = Issuer(keys[0], others[0]).renewed(request, BORN / 1000)
    assert of_authority.renewed_from == ()
    peers = [
        Peer("web-1", 7005, Signer(held.key, renewed)),
        Peer("web-2", 7006, Signer(authority_made.key, of_authority)),
    ]
    for each in peers:
        deliver(here, each.state(), each.state())
    assert names(here) == ["a", "web-1", "web-2"]
    deliver(here, Peer("c", 7007).state(), revocation_version(AUTHORITY.revoke(DELEGATION, at=FROM)))
    assert names(here) == ["a", "web-2"]
