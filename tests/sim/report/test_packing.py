"""Packing of numbers for the page."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gossipreg_sim.report import packing

NUMBERS = st.lists(st.integers(0, 2**53))


@given(NUMBERS)
def test_packed_numbers_are_unpacked_equal(numbers: list[int]) -> None:
    assert packing.unvarints(packing.varints(numbers)) == numbers
    assert packing.unrising(packing.rising(sorted(numbers))) == sorted(numbers)


@given(st.binary())
def test_compressed_bytes_are_decompressed_equal(data: bytes) -> None:
    assert packing.decompressed(packing.compressed(data)) == data
