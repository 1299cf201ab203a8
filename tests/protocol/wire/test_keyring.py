"""The gossip keyring: which key seals, and which are held."""

from __future__ import annotations

import pytest

from gossipreg import limits
from gossipreg.key_format import key_id
from tests.keyrings import ring

OLD, NEW = bytes(32), bytes(range(32))


def test_the_first_key_is_the_primary_one_and_all_are_held_by_their_ids() -> None:
    keyring = ring(NEW, OLD)
    new, old = (bytes.fromhex(key_id(key)) for key in (NEW, OLD))
    assert (keyring.primary, keyring.primary_id) == (NEW, new)
    assert (keyring.get(new), keyring.get(old), keyring.get(bytes(4))) == (NEW, OLD, None)
    assert old in keyring
    assert bytes(4) not in keyring
    assert keyring.ids == (new.hex(), old.hex())
    assert keyring.keys == (NEW, OLD)


def test_a_key_that_is_replaced_is_not_held_any_more() -> None:
    keyring = ring(OLD)
    keyring.replace([NEW])
    assert keyring.keys == (NEW,)
    assert keyring.primary == NEW


@pytest.mark.parametrize("count", [0, limits.GOSSIP_KEYS_MAX + 1])
def test_no_key_and_more_than_are_allowed_are_our_own_mistake(count: int) -> None:
    with pytest.raises(AssertionError):
        ring(*(bytes([each]) * 32 for each in range(count)))


def test_a_keyring_shows_no_key() -> None:
    assert repr(ring(NEW)).startswith("<")
