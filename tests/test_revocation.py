"""Only the authority that signed a certificate, or its issuer's delegation, revokes it."""

from __future__ import annotations

import pytest

from gossipreg.authority import AuthorityKey
from gossipreg.errors import InvalidCertificate
from gossipreg.revocation import Revocation
from tests.authorities import AUTHORITY, BY_ISSUER, FROM, ISSUER, OTHER, UNTIL, certificate, delegation


def test_only_the_authority_of_a_certificate_revokes_it() -> None:
    made = certificate()
    revoked = AUTHORITY.revoke(made, at=FROM + 5)
    assert Revocation.read(revoked.data) == revoked
    assert (revoked.serial, revoked.until, revoked.names) == (made.serial, UNTIL, ("web-1",))
    assert revoked.is_signed_by(AUTHORITY.authority.public)
    assert not revoked.is_signed_by(OTHER.authority.public)
    with pytest.raises(InvalidCertificate, match="only the authority that signed it revokes it"):
        OTHER.revoke(made, at=FROM)


def test_a_delegation_and_what_its_issuer_signed_are_revoked_by_the_authority_only() -> None:
    made, by = delegation(), AuthorityKey("prod", ISSUER)
    gone = AUTHORITY.revoke(made, at=FROM)
    assert (gone.serial, gone.until) == (made.serial, UNTIL)
    issued = certificate(by, **BY_ISSUER)
    revoked = AUTHORITY.revoke(issued, at=FROM, delegations=(made,))
    assert (revoked.serial, revoked.authority) == (issued.serial, AUTHORITY.authority.id)
    assert revoked.is_signed_by(AUTHORITY.authority.public)
    with pytest.raises(InvalidCertificate, match="only the authority"):
        AUTHORITY.revoke(issued, at=FROM)
    with pytest.raises(InvalidCertificate, match="only the authority"):
        OTHER.revoke(issued, at=FROM, delegations=(made,))
