"""Files of authorities: no two keys in one have the same id."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from gossipreg import ConfigError
from gossipreg.authority import DELEGATION, Authority, encode
from gossipreg.runtime.identity_files import read_authorities
from tests.hidden import hidden
from tests.runtime.issuers import IssuingPlace


@pytest.fixture
def place(tmp_path: Path) -> IssuingPlace:
    return IssuingPlace(tmp_path, int(time.time()))


def test_an_issuer_whose_id_is_an_authoritys_is_refused(place: IssuingPlace, monkeypatch: pytest.MonkeyPatch) -> None:
    file = place.path / "authorities"
    assert len(read_authorities("authority_file", file, "default")[0]) == 2
    monkeypatch.setattr(Authority, "id", "00000000")  # in place of a search through 2**32 keys
    with pytest.raises(ConfigError, match=r"^authority_file .*: the id 00000000 is that of two"):
        read_authorities("authority_file", file, "default")


def test_an_authority_is_no_issuer_of_its_own(place: IssuingPlace) -> None:
    place.issuer = place.authority.key
    place.delegation = place.delegate()
    place.trust()
    with pytest.raises(ConfigError, match=f"the id {place.authority.authority.id} is that of two"):
        read_authorities("authority_file", place.path / "authorities", "default")


def test_an_issuer_may_have_a_second_delegation_for_its_key(place: IssuingPlace) -> None:
    file = place.path / "authorities"
    hidden(file, file.read_text() + encode(DELEGATION, place.delegate().data) + "\n")
    assert len(read_authorities("authority_file", file, "default")[0]) == 3
