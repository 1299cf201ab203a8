"""Sealed credentials are opened with their key only, and for their own instance only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs
import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossipreg import limits
from gossipreg.errors import CredentialsUnavailable, InvalidInstance
from gossipreg.model import Instance
from gossipreg.protocol.registry import credentials as credentials_module
from gossipreg.protocol.registry.credentials import NONCE_BYTES, CredentialKeyring

OLD, NEW = b"o" * 32, b"n" * 32
NONCE = bytes(range(NONCE_BYTES))
LOGIN = {"user": "app", "password": "correct horse"}

ring = CredentialKeyring("shop", (OLD,))
bare = Instance(id="pg-1", service="pg", host="10.0.0.1", port=5432, owner="ann")


def carrying(
    credentials: Mapping[str, str] = LOGIN, keyring: CredentialKeyring = ring, nonce: bytes = NONCE
) -> Instance:
    """The instance as it carries them."""
    return attrs.evolve(bare, sealed=keyring.seal(credentials, bare, nonce))


def why_not(keyring: CredentialKeyring, instance: Instance) -> str:
    with pytest.raises(CredentialsUnavailable) as refused:
        keyring.open(instance)
    return str(refused.value)


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)


@given(st.dictionaries(st.text("abcxyz._-é", min_size=1, max_size=20), texts, max_size=8))
def test_what_was_sealed_is_what_is_opened(credentials: dict[str, str]) -> None:
    instance = carrying(credentials)
    if credentials:
        assert ring.open(instance) == credentials
        instance.check()
    else:
        assert why_not(ring, instance) == "instance 'pg-1' of 'pg' has no credentials"


@pytest.mark.parametrize(
    ("cluster", "changes"),
    [
        ("other", {}),
        ("shop", {"service": "pg2"}),
        ("shop", {"owner": "eve"}),
        ("shop", {"id": "pg-2"}),
        ("shop", {"host": "10.0.0.66"}),
        ("shop", {"port": 5433}),
        ("shop", {"id": "1", "owner": "annpg-"}),
    ],
)
def test_what_was_sealed_for_one_instance_cannot_be_opened_as_anothers(cluster: str, changes: dict[str, Any]) -> None:
    moved = attrs.evolve(carrying(), **changes)
    assert "they were sealed for another instance, or changed" in why_not(CredentialKeyring(cluster, (OLD,)), moved)


def test_how_it_is_may_change_without_sealing_anew() -> None:
    changed = attrs.evolve(carrying(), weight=0, role="primary", term=3, zone="z", meta={"a": "b"})
    assert ring.open(changed) == LOGIN


@given(st.integers(0, 287), st.integers(1, 255))
def test_a_changed_byte_is_noticed(place: int, flip: int) -> None:
    sealed = bytearray(carrying().sealed)
    sealed[place] ^= flip
    why_not(ring, attrs.evolve(bare, sealed=bytes(sealed)))


@given(st.binary(min_size=1, max_size=64))
def test_junk_is_refused_in_a_sentence(junk: bytes) -> None:
    assert "'pg-1' of 'pg'" in why_not(ring, attrs.evolve(bare, sealed=junk))
    assert "'pg-1' of 'pg'" in why_not(ring, attrs.evolve(bare, sealed=carrying().sealed[:4] + junk))


def test_who_lacks_the_key_is_told_which_it_is() -> None:
    name = carrying().sealed[:4].hex()
    assert why_not(CredentialKeyring("shop"), carrying()) == (
        f"the credentials of instance 'pg-1' of 'pg' are sealed with the key {name}, which is not here: "
        "this node has no credential key: add it to the file of credential_key_file"
    )
    assert f"the key {name}, which is not among the credential keys" in why_not(
        CredentialKeyring("shop", (NEW,)), carrying()
    )


def test_the_first_key_seals_and_all_open() -> None:
    both = CredentialKeyring("shop", (NEW, OLD))
    assert both.open(carrying()) == LOGIN
    renewed = carrying(keyring=both)
    assert (both.supersedes(carrying()), both.supersedes(renewed), both.supersedes(bare)) == (True, False, False)
    assert CredentialKeyring("shop", (NEW,)).open(renewed) == LOGIN
    why_not(ring, renewed)


def test_the_same_under_the_same_key_is_not_sealed_again() -> None:
    held = carrying().sealed
    assert ring.seal(dict(reversed(LOGIN.items())), bare, b"x" * NONCE_BYTES, held) == held


@pytest.mark.parametrize(
    ("keyring", "credentials", "instance"),
    [
        (ring, LOGIN | {"password": "another"}, bare),
        (CredentialKeyring("shop", (NEW, OLD)), LOGIN, bare),
        (ring, LOGIN, attrs.evolve(bare, service="mysql")),
    ],
    ids=["other credentials", "another key", "another instance"],
)
def test_anything_else_is(keyring: CredentialKeyring, credentials: dict[str, str], instance: Instance) -> None:
    sealed = keyring.seal(credentials, instance, b"x" * NONCE_BYTES, carrying().sealed)
    assert sealed != carrying().sealed
    assert keyring.open(attrs.evolve(instance, sealed=sealed)) == credentials


def test_the_size_does_not_tell_how_long_a_password_is() -> None:
    sizes = {len(carrying({"user": "u", "password": "x" * length}).sealed) for length in range(1, 200)}
    assert len(sizes) == 1


def test_an_instance_without_credentials_needs_no_key() -> None:
    assert CredentialKeyring("shop").seal({}, bare, NONCE) == b""


def test_one_with_credentials_needs_a_key() -> None:
    with pytest.raises(
        CredentialsUnavailable, match=r"^credentials: this node has no credential key .* credential_key_file"
    ):
        CredentialKeyring("shop").seal(LOGIN, bare, NONCE)


SECRET = "hunter2"


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ([SECRET], "at most 64 names with their values are allowed"),
        ({str(number): SECRET for number in range(65)}, "at most 64 names"),
        ({"": SECRET}, "a name in it is not a string of 1 to 128 characters"),
        ({SECRET * 30: ""}, "a name in it is not a string"),
        ({SECRET: 7}, "a value in it is not a string of text"),
        ({"password": f"{SECRET}\ud800"}, "a value in it is not a string of text"),
        ({"password": SECRET * limits.SEALED_BYTES_MAX}, "sealed they take more than 16384 bytes"),
    ],
)
def test_what_cannot_be_sealed_is_refused_without_being_quoted(wrong: Any, sentence: str) -> None:
    with pytest.raises(InvalidInstance) as refused:
        ring.seal(wrong, bare, NONCE)
    assert str(refused.value).startswith(f"credentials: {sentence}")
    assert SECRET not in str(refused.value)


def test_the_largest_that_are_sealed_fit_their_limit() -> None:
    room = limits.SEALED_BYTES_MAX - 400
    instance = carrying({"certificate": "x" * room})
    instance.check()
    assert ring.open(instance) == {"certificate": "x" * room}


def test_neither_keys_nor_what_they_seal_are_shown() -> None:
    assert "ooo" not in repr(ring)
    assert repr(carrying()) == repr(bare)


@pytest.mark.parametrize("body", [b"\xc1", b"", msgpack.packb(["user", "app"]), msgpack.packb({"user": 7})])
def test_what_a_later_version_might_seal_is_not_opened(body: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(credentials_module, "packed", lambda _: body)
    assert why_not(ring, carrying()).startswith("the credentials of instance 'pg-1' of 'pg' cannot be opened")
