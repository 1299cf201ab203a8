"""Identity at one node: its user revokes, trusts and renews, and what was stored is verified when it is recalled."""

from __future__ import annotations

import attrs
import pytest

from gossipreg.authority import AuthorityKey
from gossipreg.errors import InvalidCertificate
from gossipreg.policy import Split
from gossipreg.protocol.engine import Engine
from gossipreg.protocol.identity.authenticator import IdentityMode
from gossipreg.protocol.outputs import MemberExpelled, PoliciesChanged
from gossipreg.protocol.registry.policy_version import PolicyVersion, pack_rule, revocation_version
from tests.protocol.delivering import deliver
from tests.protocol.identity.signing import AUTHORITY, OTHER, Peer, authenticator, meeting, names, node, signer
from tests.protocol.making import BORN, address, engine, instance, said_to, update

B = Peer("b")
EVIL = Peer("evil", 7666)
BY_OTHER = Peer("c", 7003, signer("c", by=OTHER))
RULE = Split("orders", {"v1": 1})
GONE = AUTHORITY.revoke(EVIL.signer.certificate, at=BORN // 1000)


def own_signatures(of: Engine) -> list[bytes]:
    """The signatures of what an engine itself offers."""
    return [each.proof for each in of.state.registry.table(of.identity.name) or ()]


def test_a_revocation_that_is_published_expels_the_holder_here_and_is_told_on() -> None:
    here = meeting(B, EVIL)
    version = here.local_policies.revocation_of(GONE)
    outputs = here.publish_policy(version, 6.0)
    assert [each.member.name for each in outputs if isinstance(each, MemberExpelled)] == ["evil"]
    assert names(here) == ["a", "b"]
    assert PoliciesChanged((version.key,)) in outputs
    assert version in said_to(here.handle_timeout(6.1), B.state().address)


def test_what_is_issued_after_a_revocation_of_a_later_clock_is_later_than_that() -> None:
    here = meeting(B, EVIL)
    ahead = AUTHORITY.revoke(EVIL.signer.certificate, at=BORN // 1000 + 20)
    here.publish_policy(here.local_policies.revocation_of(ahead), 6.0)
    here.publish_policy(here.local_policies.version_of(RULE, 6.1), 6.1)
    [revoked, rule] = sorted(here.state.policies, key=lambda version: version.stamp)
    assert (revoked.revocation, rule.rule) == (ahead, RULE)


@pytest.mark.parametrize(
    ("by", "why"),
    [
        (OTHER, "it is of another authority"),
        (AuthorityKey("test", AUTHORITY.key), "it is no revocation of this cluster"),
    ],
)
def test_a_revocation_that_no_trusted_authority_has_signed_is_not_taken(by: AuthorityKey, why: str) -> None:
    here = meeting(B)
    revocation = by.revoke(signer("b", by=by).certificate, at=BORN // 1000)
    with pytest.raises(InvalidCertificate, match=f"{revocation.serial_text} is not taken: {why}"):
        here.local_policies.revocation_of(revocation)
    assert here.state.authenticator.certificates.revoked == {}


def test_members_are_those_of_the_authorities_that_are_trusted_now() -> None:
    here = meeting(B, BY_OTHER)
    assert names(here) == ["a", "b"]
    here.trust((AUTHORITY.authority, OTHER.authority), 6.0)
    deliver(here, BY_OTHER.state(), BY_OTHER.state())
    assert names(here) == ["a", "b", "c"]
    outputs = here.trust((OTHER.authority,), 6.1)
    assert [each.member.name for each in outputs if isinstance(each, MemberExpelled)] == ["b"]
    assert names(here) == ["a", "c"]


def test_a_node_that_renews_its_certificate_registers_again_with_its_new_key() -> None:
    here, there = node(), node("d", address=address(7009))
    here.register(instance("x"), 1.0)
    born, signed = here.identity.generation, own_signatures(here)
    here.renew_certificate(signer("a"), 2.0)
    assert here.identity.generation > born
    assert own_signatures(here) != signed
    own = here.state.own
    assert own is not None
    deliver(there, own, own, *(here.state.registry.table("a") or ()))
    there.handle_timeout(6.0)
    assert [each.id for each in there.view.service("orders").instances] == ["x"]


def test_a_node_that_gets_its_first_certificate_signs_what_it_has_registered() -> None:
    here = engine("a", authenticator=authenticator(None, IdentityMode.PREFER))
    here.set_wall_clock(BORN, 0.0)
    here.register(instance("x"), 1.0)
    assert own_signatures(here) == [b""]
    here.renew_certificate(signer("a"), 2.0)
    own = here.state.own
    assert own is not None
    assert own.proof
    [signature] = own_signatures(here)
    assert signature


def test_a_certificate_that_is_renewed_by_itself_changes_nothing() -> None:
    here = node()
    here.register(instance("x"), 1.0)
    own, signed = here.state.own, own_signatures(here)
    assert here.state.authenticator.signer is not None
    here.renew_certificate(here.state.authenticator.signer, 2.0)
    assert (here.state.own, own_signatures(here)) == (own, signed)


def test_a_revocation_that_was_stored_counts_after_a_restart() -> None:
    here = node()
    here.recall([revocation_version(GONE)], 1.0)
    assert [each.serial for each in here.state.authenticator.certificates.revoked.values()] == [GONE.serial]
    assert here.state.policies.get(revocation_version(GONE).key) == revocation_version(GONE)
    deliver(here, EVIL.state(), EVIL.state())
    assert names(here) == ["a"]


def test_what_is_stored_as_a_revocation_and_is_none_is_dropped() -> None:
    here = node()
    forged = revocation_version(OTHER.revoke(signer("b", by=OTHER).certificate, at=BORN // 1000))
    true = revocation_version(GONE)
    for stored in (forged, attrs.evolve(true, payload=b"junk"), attrs.evolve(true, ms=BORN + 5)):
        here.recall([stored], 1.0)
        assert here.state.policies.get(stored.key) is None
    assert here.state.authenticator.certificates.revoked == {}


def test_this_nodes_own_policies_from_before_it_had_a_certificate_are_signed_when_they_are_recalled() -> None:
    here, there = node(), node("d", address=address(7009))
    stored = PolicyVersion(RULE.key, BORN, 0, "a", pack_rule(RULE))
    here.recall([stored], 1.0)
    held = here.state.policies.get(RULE.key)
    assert held is not None
    there.recall([held], 1.0)
    assert there.state.policies.rule(RULE.key) == RULE, "another node believes it"


def test_policies_that_were_stored_and_would_not_be_believed_of_a_peer_are_dropped() -> None:
    unsigned = PolicyVersion(RULE.key, BORN, 0, "b", pack_rule(RULE))
    for stored in (unsigned, B.authenticator.sign_policy(unsigned)):
        here = node()
        here.recall([stored], 1.0)
        assert here.state.policies.get(RULE.key) is None
    here = node()
    here.state.authenticator.use(signer("a"))
    here.recall([attrs.evolve(unsigned, writer="a")], 1.0)
    assert here.state.policies.get(RULE.key) is None, "its own certificate allows no policies now"


def test_a_node_that_comes_to_require_identity_drops_what_is_not_signed_and_takes_no_more_of_it() -> None:
    here, unsigned = meeting(B, EVIL, mode=IdentityMode.PREFER), update("u", port=7050)
    here.publish_policy(here.local_policies.revocation_of(GONE), 6.0)
    by_u = PolicyVersion("split:users", BORN, 0, "u", pack_rule(Split("users", {"v1": 1})))
    removal = PolicyVersion("split:old", BORN, 0, "u", None)
    deliver(here, unsigned, unsigned, by_u, removal)
    here.set_policy(RULE, 6.0)
    assert here.unproven_policies() == ["split:users"]
    needed_before = here.detector.needs_two_accusers
    here.require_identity(6.1)
    assert (needed_before, here.detector.needs_two_accusers) == (False, True)
    assert names(here) == ["a", "b"]
    assert {each.key for each in here.state.policies} == {"split:orders", revocation_version(GONE).key}
    deliver(here, unsigned, unsigned, by_u, removal)
    assert names(here) == ["a", "b"]
    assert here.unproven_policies() == []
    deliver(here, B.state(), B.offer())
    here.handle_timeout(6.2)
    assert [each.owner for each in here.view.service("orders").instances] == ["b"]
