"""A delegation bounds what its issuer may sign, pattern by pattern and in time."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossipreg.authority import AuthorityKey
from gossipreg.delegation import Delegation, beyond_patterns
from gossipreg.errors import InvalidCertificate
from tests.authorities import AUTHORITY, BY_ISSUER, FROM, ISSUER, OTHER, UNTIL, certificate, delegation
from tests.protocol.making import law


def test_a_delegation_is_read_as_it_was_signed_and_is_no_certificate() -> None:
    made = delegation()
    assert Delegation.read(made.data) == made
    assert made.is_signed_by(AUTHORITY.authority.public)
    assert not made.is_signed_by(OTHER.authority.public)
    assert not attrs.evolve(made, data=certificate().data).is_signed_by(AUTHORITY.authority.public)
    with pytest.raises(InvalidCertificate):
        Delegation.read(certificate().data)
    with pytest.raises(InvalidCertificate, match="ends before it begins"):
        delegation(not_after=FROM)


@pytest.mark.parametrize(
    ("fields", "excess"),
    [
        ({}, None),
        ({"names": ("web-*", "db-1"), "roles": ("primary",), "grants": ("forget",)}, None),
        ({"names": ("we*",)}, "names we*"),
        ({"names": ("db-*",)}, "names db-*"),
        ({"services": ("*",)}, "services *"),
        ({"roles": ("replica",)}, "roles replica"),
        ({"grants": ("policies",)}, "grant policies"),
        ({"not_after": FROM + 1001 + 3600}, "3601 s of time, where 3600 are allowed"),
        ({"not_before": FROM - 301, "not_after": FROM + 60}, "a time outside of its own"),
        ({"not_before": UNTIL - 60, "not_after": UNTIL + 1}, "a time outside of its own"),
    ],
)
def test_a_certificate_of_an_issuer_counts_within_the_delegation(fields: dict[str, Any], excess: str | None) -> None:
    by = AuthorityKey("prod", ISSUER)
    assert delegation().excess_of(certificate(by, **{**BY_ISSUER, **fields})) == excess


def test_a_delegation_is_of_one_cluster() -> None:
    by = AuthorityKey("test", ISSUER)
    assert delegation().excess_of(certificate(by, **BY_ISSUER)) == "cluster test"


@law
@given(inner=st.text("ab*", min_size=1, max_size=5), outer=st.text("ab*", min_size=1, max_size=5), name=st.text("ab"))
def test_what_a_pattern_within_others_matches_these_match_too(inner: str, outer: str, name: str) -> None:
    if beyond_patterns((inner,), (outer,)) is None and fnmatchcase(name, inner):
        assert fnmatchcase(name, outer)
