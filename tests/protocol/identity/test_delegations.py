"""What an issuer has signed counts within its delegation, and no longer once the authority revokes that."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from gossipreg.authority import Authority, AuthorityKey, new_node_key
from gossipreg.counters import Count
from gossipreg.protocol.engine import Engine
from gossipreg.protocol.identity.authenticator import Signer
from gossipreg.protocol.outputs import MemberExpelled
from gossipreg.protocol.registry.policy_version import revocation_version
from tests.protocol.identity.signing import AUTHORITY, FROM, UNTIL, Peer, deliver, names, node, signer
from tests.protocol.making import BORN

ISSUER = new_node_key()
BY_ISSUER = AuthorityKey("prod", ISSUER)
DELEGATION = AUTHORITY.delegate(
    ISSUER.public,
    agent="ops-1",
    names=("web-*",),
    zones=("*",),
    services=("*",),
    roles=("*",),
    grants=(),
    not_before=FROM - 300,
    not_after=UNTIL,
    lifetime=UNTIL - FROM,
)


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
    assert not here.state.authenticator.revoked


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
