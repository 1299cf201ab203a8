"""The stream codec: whole frames, in order, from the peer of the hello; else a refusal."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import hmac

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given, settings
from hypothesis import strategies as st

from gossipreg import limits
from gossipreg.key_format import key_id
from gossipreg.protocol.wire.streams import NONCE_BYTES, StreamCodec, StreamRefusal, StreamRefused
from tests.keyrings import ring, ring_or_clear

KEY = bytes(range(32))
OTHER_KEY = bytes(range(1, 33))
HELLO_BYTES = 30
OPENER_NONCE = b"o" * NONCE_BYTES
ACCEPTER_NONCE = b"a" * NONCE_BYTES

law = settings(deadline=None)  # how busy the machine is, is not a law's business
keys = st.sampled_from([None, KEY])
either_key = pytest.mark.parametrize("key", [None, KEY], ids=["clear", "sealed"])


def opener(key: bytes | None = KEY, *, cluster: str = "prod", nonce: bytes = OPENER_NONCE) -> StreamCodec:
    return StreamCodec(cluster, ring_or_clear(key), nonce, opened_by_us=True)


def accepter(key: bytes | None = KEY, *, cluster: str = "prod", nonce: bytes = ACCEPTER_NONCE) -> StreamCodec:
    return StreamCodec(cluster, ring_or_clear(key), nonce, opened_by_us=False)


def met(key: bytes | None = KEY) -> tuple[StreamCodec, StreamCodec]:
    """Two ends that have read each other's hello."""
    here, there = opener(key), accepter(key)
    assert there.feed(here.hello()) == []
    assert here.feed(there.hello()) == []
    return here, there


def refusal(codec: StreamCodec, data: bytes) -> StreamRefusal:
    with pytest.raises(StreamRefused) as refused:
        codec.feed(data)
    return refused.value.reason


@either_key
def test_hellos_cross_and_then_frames_pass_both_ways(key: bytes | None) -> None:
    here, there = opener(key), accepter(key)
    assert (here.ready, there.ready) == (False, False)
    assert len(here.hello()) == HELLO_BYTES
    there.feed(here.hello())
    here.feed(there.hello())
    assert (here.ready, there.ready) == (True, True)
    assert (here.peer_nonce, there.peer_nonce) == (ACCEPTER_NONCE, OPENER_NONCE)
    assert there.feed(here.frame(b"ping") + here.frame(b"")) == [b"ping", b""]
    assert here.feed(there.frame(b"pong")) == [b"pong"]


@either_key
def test_a_stream_is_mid_frame_from_the_first_byte_of_a_frame_to_its_last(key: bytes | None) -> None:
    here, there = opener(key), accepter(key)
    there.feed(here.hello()[:-1])
    assert not there.is_mid_frame, "that is a hello"
    here.feed(there.hello())
    there.feed(here.hello()[-1:])
    assert not there.is_mid_frame
    frame = here.frame(b"body")
    for byte in frame[:-1]:
        there.feed(bytes([byte]))
        assert there.is_mid_frame
    there.feed(frame[-1:] + here.frame(b"next")[:-1])
    assert there.is_mid_frame


def test_a_stream_in_clear_is_laid_out_as_documented() -> None:
    here, _ = met(None)
    keyed = functools.partial(hashlib.blake2b, key=b"prod", digest_size=8, person=b"gossipreg stream")
    assert here.hello() == b"GREG\x01\x00" + OPENER_NONCE + keyed(OPENER_NONCE).digest()
    for counter in range(3):
        place = b"\0\0\0\0" + counter.to_bytes(8, "big")
        digest = keyed(OPENER_NONCE + ACCEPTER_NONCE + place + b"body").digest()
        assert here.frame(b"body") == (12).to_bytes(4, "big") + digest + b"body"


def test_a_sealed_stream_is_laid_out_as_documented() -> None:
    _, there = met(KEY)
    assert there.hello() == b"GREG\x01\x01" + ACCEPTER_NONCE + bytes.fromhex(key_id(KEY)) + bytes(4)
    extracted = hmac.digest(OPENER_NONCE + ACCEPTER_NONCE, KEY, "sha256")  # HKDF, RFC 5869, one block
    subkey = hmac.digest(extracted, b"gossipreg stream" + b"prod" + b"\x01", "sha256")
    for counter in range(3):
        frame = there.frame(b"body")
        assert frame[:4] == (20).to_bytes(4, "big")
        assert AESGCM(subkey).decrypt(b"\1\0\0\0" + counter.to_bytes(8, "big"), frame[4:], b"") == b"body"


@law
@given(key=keys, bodies=st.lists(st.binary(max_size=50), max_size=6), data=st.data())
def test_any_chunking_of_a_stream_yields_the_same_frames(
    key: bytes | None, bodies: list[bytes], data: st.DataObject
) -> None:
    here, there = opener(key), accepter(key)
    here.feed(there.hello())
    stream = here.hello() + b"".join(here.frame(body) for body in bodies)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=12)))
    chunks = [stream[start:end] for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    assert [body for chunk in chunks for body in there.feed(chunk)] == bodies


@either_key
def test_a_stream_that_arrives_byte_by_byte_is_read(key: bytes | None) -> None:
    here, there = met(key)
    frames = here.frame(b"one") + here.frame(b"two")
    assert [body for byte in frames for body in there.feed(bytes([byte]))] == [b"one", b"two"]


@either_key
def test_the_largest_frame_passes_and_one_byte_more_is_our_own_mistake(key: bytes | None) -> None:
    here, there = met(key)
    body = bytes(limits.FRAME_BYTES_MAX)
    assert there.feed(here.frame(body)) == [body]
    with pytest.raises(AssertionError):
        here.frame(body + b"!")


def test_a_frame_before_the_peers_hello_is_our_own_mistake() -> None:
    with pytest.raises(AssertionError):
        opener().frame(b"too soon")


def test_a_codec_without_a_cluster_or_a_full_nonce_is_our_own_mistake() -> None:
    with pytest.raises(AssertionError):
        opener(cluster="")
    with pytest.raises(AssertionError):
        opener(nonce=b"short")


def test_a_codec_shows_no_key() -> None:
    assert "key" not in repr(opener())


@law
@given(key=keys, junk=st.lists(st.binary(max_size=60), max_size=4), says_hello=st.booleans())
def test_any_bytes_are_read_or_refused_and_nothing_else_is_raised(
    key: bytes | None, junk: list[bytes], says_hello: bool
) -> None:
    codec = accepter(key)
    if says_hello:
        codec.feed(opener(key).hello())
    with contextlib.suppress(StreamRefused):
        for chunk in junk:
            assert codec.feed(chunk) == [], "no junk makes a frame"


@pytest.mark.parametrize("first", [b"GET / HTTP/1.1\r\n", b"\x16\x03\x01", b"g", b"GREX"])
def test_a_stranger_is_noticed_at_its_first_wrong_byte(first: bytes) -> None:
    assert refusal(accepter(), first) is StreamRefusal.NOT_GOSSIPREG


def test_a_stream_once_refused_stays_refused() -> None:
    codec = accepter()
    assert refusal(codec, b"junk") is StreamRefusal.NOT_GOSSIPREG
    assert refusal(codec, opener().hello()) is StreamRefusal.NOT_GOSSIPREG
    assert refusal(codec, b"") is StreamRefusal.NOT_GOSSIPREG


@either_key
def test_a_later_version_and_an_unknown_kind_are_named(key: bytes | None) -> None:
    hello = opener(key).hello()
    assert refusal(accepter(key), hello[:4] + b"\x02" + hello[5:]) is StreamRefusal.WRONG_VERSION
    assert refusal(accepter(key), hello[:5] + b"\x02" + hello[6:]) is StreamRefusal.WRONG_VERSION


def test_a_peer_that_cannot_be_understood_is_named() -> None:
    assert refusal(accepter(KEY), opener(None).hello()) is StreamRefusal.IN_CLEAR
    assert refusal(accepter(None), opener(KEY).hello()) is StreamRefusal.SEALED
    assert refusal(accepter(None), opener(None, cluster="test").hello()) is StreamRefusal.WRONG_CLUSTER_OR_CORRUPT


def test_a_peer_whose_key_is_unknown_may_still_hold_ours_so_its_first_frame_decides() -> None:
    stranger, there = opener(OTHER_KEY), accepter(KEY)
    assert there.feed(stranger.hello()) == stranger.feed(there.hello()) == []
    assert there.doubt is stranger.doubt is StreamRefusal.UNKNOWN_KEY
    assert refusal(there, stranger.frame(b"hello")) is StreamRefusal.UNKNOWN_KEY
    _, there = met()
    assert there.doubt is None


KEYRINGS = [(KEY,), (OTHER_KEY,), (KEY, OTHER_KEY), (OTHER_KEY, KEY)]


@pytest.mark.parametrize("ours", KEYRINGS)
@pytest.mark.parametrize("theirs", KEYRINGS)
def test_two_nodes_in_a_rotation_understand_each_other_if_either_holds_the_others_primary_key(
    ours: tuple[bytes, ...], theirs: tuple[bytes, ...]
) -> None:
    here = StreamCodec("prod", ring(*ours), OPENER_NONCE, opened_by_us=True)
    there = StreamCodec("prod", ring(*theirs), ACCEPTER_NONCE, opened_by_us=False)
    assert here.key_ids == {bytes.fromhex(key_id(ours[0]))}
    there.feed(here.hello())
    here.feed(there.hello())
    if not set(ours) & set(theirs):
        assert refusal(there, here.frame(b"ping")) is StreamRefusal.UNKNOWN_KEY
        return
    for number in range(2):
        assert there.feed(here.frame(b"ping %d" % number)) == [b"ping %d" % number]
        assert here.feed(there.frame(b"pong %d" % number)) == [b"pong %d" % number]
    assert here.doubt is there.doubt is None
    assert here.key_ids == there.key_ids
    assert here.key_ids <= {bytes.fromhex(key_id(key)) for key in set(ours) & set(theirs)}


def test_a_stream_keeps_its_key_when_the_keyring_changes() -> None:
    keyring = ring(KEY)
    here, there = StreamCodec("prod", keyring, OPENER_NONCE, opened_by_us=True), accepter(KEY)
    there.feed(here.hello())
    here.feed(there.hello())
    keyring.replace([OTHER_KEY])
    assert there.feed(here.frame(b"ping")) == [b"ping"]


@pytest.mark.parametrize("opened_by_us", [True, False])
def test_a_stream_whose_key_is_given_up_before_the_peers_hello_is_refused(*, opened_by_us: bool) -> None:
    keyring = ring(KEY, OTHER_KEY)
    ours = StreamCodec("prod", keyring, OPENER_NONCE, opened_by_us=opened_by_us)
    theirs = StreamCodec("prod", ring(KEY), ACCEPTER_NONCE, opened_by_us=not opened_by_us)
    assert ours.key_ids == {bytes.fromhex(key_id(KEY))}
    keyring.replace([OTHER_KEY])
    assert refusal(ours, theirs.hello()) is StreamRefusal.UNKNOWN_KEY


def test_a_named_key_with_anything_behind_it_is_refused() -> None:
    hello = opener().hello()
    assert refusal(accepter(), hello[:-1] + b"\1") is StreamRefusal.UNKNOWN_KEY


def test_two_clusters_that_share_a_key_part_at_the_first_frame() -> None:
    here, there = opener(cluster="prod"), accepter(cluster="test")
    here.feed(there.hello())
    there.feed(here.hello())
    assert refusal(there, here.frame(b"hello")) is StreamRefusal.FORGED


def test_a_forged_key_id_does_not_get_past_the_first_frame() -> None:
    stranger, there = opener(OTHER_KEY), accepter(KEY)
    forged = opener(KEY).hello()
    stranger.feed(forged[:6] + ACCEPTER_NONCE + stranger.hello()[-8:])
    there.feed(forged)
    assert refusal(there, stranger.frame(b"hello")) is StreamRefusal.FORGED


@either_key
def test_our_own_hello_sent_back_is_refused(key: bytes | None) -> None:
    codec = opener(key)
    assert refusal(codec, codec.hello()) is StreamRefusal.REFLECTED


@either_key
def test_our_own_frame_sent_back_is_refused(key: bytes | None) -> None:
    here, _ = met(key)
    assert refusal(here, here.frame(b"echo")) is StreamRefusal.FORGED


@either_key
def test_a_recorded_stream_replayed_to_another_accepter_is_refused(key: bytes | None) -> None:
    here, there = opener(key), accepter(key)
    here.feed(there.hello())
    recorded = here.hello() + here.frame(b"deregister everything")
    assert there.feed(recorded) == [b"deregister everything"]
    assert refusal(accepter(key, nonce=b"A" * NONCE_BYTES), recorded) is StreamRefusal.FORGED


@either_key
def test_a_frame_repeated_left_out_or_moved_is_refused(key: bytes | None) -> None:
    here, there = met(key)
    first, second, third = here.frame(b"same"), here.frame(b"same"), here.frame(b"same")
    assert len({first, second, third}) == 3
    assert refusal(there, first + first) is StreamRefusal.FORGED
    for stream in (first + third, second + first):
        here, there = met(key)
        assert refusal(there, stream) is StreamRefusal.FORGED


@either_key
def test_every_flipped_bit_of_a_hello_or_a_frame_is_noticed_before_the_next_frame_is_read(key: bytes | None) -> None:
    here, there = opener(key), accepter(key)
    here.feed(there.hello())
    stream = here.hello() + here.frame(b"body") + here.frame(bytes(100))
    first_frame_ends = len(here.hello()) + 4 + (16 if key else 8) + len(b"body")
    # The id of the opener's key only chooses among the keys that the other side holds, and here it holds one.
    key_id = range(22 * 8, 26 * 8) if key else range(0)
    for bit in (each for each in range(first_frame_ends * 8) if each not in key_id):
        flipped = bytearray(stream)
        flipped[bit // 8] ^= 1 << bit % 8
        with contextlib.suppress(StreamRefused):
            assert accepter(key).feed(bytes(flipped)) == [], f"bit {bit}: at most a longer frame is awaited"


@either_key
def test_a_length_out_of_bounds_is_refused_before_its_body_comes(key: bytes | None) -> None:
    overhead = 8 if key is None else 16
    longest = limits.FRAME_BYTES_MAX + overhead
    for length, expected in [
        (0, StreamRefusal.FRAME_TOO_SHORT),
        (overhead - 1, StreamRefusal.FRAME_TOO_SHORT),
        (longest + 1, StreamRefusal.FRAME_TOO_LONG),
        ((1 << 32) - 1, StreamRefusal.FRAME_TOO_LONG),
    ]:
        _, there = met(key)
        assert refusal(there, length.to_bytes(4, "big")) is expected
    _, there = met(key)
    assert there.feed(longest.to_bytes(4, "big")) == []


@either_key
def test_no_more_than_one_unfinished_frame_is_kept(key: bytes | None) -> None:
    here, there = met(key)
    frame = here.frame(bytes(1000))
    for _ in range(50):
        assert there.feed(frame[:-1]) == []
        assert len(there._buffer) == len(frame) - 1
        assert there.feed(frame[-1:]) == [bytes(1000)]
        assert len(there._buffer) == 0
        frame = here.frame(bytes(1000))
    refusal(there, b"\xff" * 100)
    assert len(there._buffer) == 0


def test_every_refusal_has_a_counter() -> None:
    assert [each.counter for each in StreamRefusal] == [f"streams_{each}" for each in StreamRefusal]
