"""The packet codecs: which packets are accepted, and each of them once."""

from __future__ import annotations

import hashlib
import hmac
import string
import subprocess
import sys

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given, settings
from hypothesis import strategies as st

from gossipreg import limits
from gossipreg.key_format import key_id
from gossipreg.protocol.wire.packets import (
    FRESHNESS_SECONDS,
    LEAP_PACKETS,
    LEAP_PACKETS_PER_SECOND,
    WINDOW_PACKETS,
    ChecksummedPackets,
    PacketCodec,
    Refusal,
    Refused,
    SealedPackets,
)
from tests.keyrings import ring

KEY = bytes(range(32))
OTHER_KEY = bytes(range(1, 33))
NOW = 1_750_000_000.0

Seals = list[tuple[PacketCodec, PacketCodec]]


def sealed(sender: bytes = b"receiver", *, key: bytes = KEY, cluster: str = "prod") -> SealedPackets:
    return SealedPackets(ring(key), cluster, sender)


def pairs() -> Seals:
    """A sender and a receiver of each kind."""
    return [(ChecksummedPackets("prod"), ChecksummedPackets("prod")), (sealed(b"sender.."), sealed())]


def reason(answer: bytes | Refused) -> Refusal:
    assert isinstance(answer, Refused)
    return answer.reason


law = settings(deadline=None)  # how busy the machine is, is not a law's business
payloads = st.binary(max_size=300)
cluster_names = st.text(string.ascii_letters + string.digits, min_size=1, max_size=limits.NAME_CHARS_MAX)


@law
@given(payload=payloads)
def test_what_was_sealed_is_opened(payload: bytes) -> None:
    for sender, receiver in pairs():
        packet = sender.encode(payload, NOW)
        assert len(packet) == len(payload) + sender.overhead
        assert receiver.decode(packet, NOW) == payload


def test_the_largest_payload_fills_a_packet_and_one_byte_more_is_our_own_mistake() -> None:
    for sender, receiver in pairs():
        payload = bytes(limits.PACKET_BYTES_MAX - sender.overhead)
        packet = sender.encode(payload, NOW)
        assert len(packet) == limits.PACKET_BYTES_MAX
        assert receiver.decode(packet, NOW) == payload
        with pytest.raises(AssertionError):
            sender.encode(payload + b"!", NOW)


def test_a_packet_in_clear_is_laid_out_as_documented() -> None:
    packet = ChecksummedPackets("prod").encode(b"payload", NOW)
    digest = hashlib.blake2b(b"payload", key=b"prod", digest_size=8, person=b"gossipreg packet").digest()
    assert packet == b"\x01" + digest + b"payload"


def test_a_sealed_packet_is_laid_out_as_documented() -> None:
    sender = sealed(b"sender..")
    sender.encode(b"the first has counter 0", NOW)
    packet = sender.encode(b"payload", NOW + 0.25)
    header = b"\x81" + bytes.fromhex(key_id(KEY)) + b"sender.." + (1).to_bytes(8, "big")
    assert packet.startswith(header)
    extracted = hmac.digest(b"sender..", KEY, "sha256")  # HKDF, RFC 5869, one block
    subkey = hmac.digest(extracted, b"gossipreg packet" + b"prod" + b"\x01", "sha256")
    plain = AESGCM(subkey).decrypt((1).to_bytes(12, "big"), packet[len(header) :], header + b"prod")
    assert plain == int((NOW + 0.25) * 1000).to_bytes(6, "big") + b"payload"


@law
@given(junk=st.binary(max_size=200), head=st.sampled_from([b"", b"\x01", b"\x81"]))
def test_any_bytes_are_refused_and_never_raise(junk: bytes, head: bytes) -> None:
    for _, receiver in pairs():
        assert isinstance(receiver.decode(head + junk, NOW), Refused)


@law
@given(payload=st.binary(min_size=1, max_size=40), data=st.data())
def test_any_change_to_a_packet_is_noticed(payload: bytes, data: st.DataObject) -> None:
    for sender, receiver in pairs():
        packet = sender.encode(payload, NOW)
        start = data.draw(st.integers(0, len(packet) - 1))
        end = data.draw(st.integers(start, len(packet)))
        changed = packet[:start] + data.draw(st.binary(max_size=8)) + packet[end:]
        if changed != packet:
            assert isinstance(receiver.decode(changed, NOW), Refused)


def test_every_flipped_bit_is_noticed_even_from_a_run_that_is_known() -> None:
    for sender, receiver in pairs():
        receiver.decode(sender.encode(b"hello", NOW), NOW)
        packet = sender.encode(b"a payload", NOW)
        for bit in range(len(packet) * 8):
            flipped = bytearray(packet)
            flipped[bit // 8] ^= 1 << bit % 8
            assert isinstance(receiver.decode(bytes(flipped), NOW), Refused), f"bit {bit}"
        assert receiver.decode(packet, NOW) == b"a payload"


def test_a_truncated_packet_is_refused_at_every_length() -> None:
    for sender, receiver in pairs():
        packet = sender.encode(b"payload", NOW)
        assert reason(receiver.decode(b"", NOW)) is Refusal.TOO_SHORT
        assert reason(receiver.decode(packet[: sender.overhead - 1], NOW)) is Refusal.TOO_SHORT
        for length in range(len(packet)):
            assert isinstance(receiver.decode(packet[:length], NOW), Refused)


def test_a_packet_longer_than_any_is_refused_unread() -> None:
    for sender, receiver in pairs():
        packet = sender.encode(b"", NOW)
        assert reason(receiver.decode(packet.ljust(limits.RECEIVE_BYTES_MAX + 1), NOW)) is Refusal.TOO_LONG


def test_each_kind_names_the_other_and_a_later_version() -> None:
    (clear, _), (secret, _) = pairs()
    assert reason(clear.decode(secret.encode(b"", NOW), NOW)) is Refusal.SEALED
    assert reason(secret.decode(clear.encode(b"", NOW), NOW)) is Refusal.IN_CLEAR
    assert reason(clear.decode(b"\x02" + bytes(100), NOW)) is Refusal.WRONG_VERSION
    assert reason(secret.decode(b"\x82" + bytes(100), NOW)) is Refusal.WRONG_VERSION


@law
@given(payload=payloads, names=st.lists(cluster_names, min_size=2, max_size=2, unique=True))
def test_two_clusters_never_hear_each_other(payload: bytes, names: list[str]) -> None:
    ours, theirs = names
    answer = ChecksummedPackets(ours).decode(ChecksummedPackets(theirs).encode(payload, NOW), NOW)
    assert reason(answer) is Refusal.WRONG_CLUSTER_OR_CORRUPT
    answer = sealed(cluster=ours).decode(sealed(b"stranger", cluster=theirs).encode(payload, NOW), NOW)
    assert reason(answer) is Refusal.FORGED


def test_a_cluster_without_a_name_cannot_be_sealed() -> None:
    with pytest.raises(AssertionError):
        ChecksummedPackets("")


def test_the_longest_cluster_name_can_be_sealed() -> None:
    name = "x" * limits.NAME_CHARS_MAX
    assert ChecksummedPackets(name).decode(ChecksummedPackets(name).encode(b"hello", NOW), NOW) == b"hello"


@law
@given(payload=payloads)
def test_another_key_is_named_as_such_even_where_its_id_is_forged(payload: bytes) -> None:
    receiver, stranger = sealed(), sealed(b"stranger", key=OTHER_KEY)
    packet = stranger.encode(payload, NOW)
    assert reason(receiver.decode(packet, NOW)) is Refusal.UNKNOWN_KEY
    key_id = sealed(b"any-run.").encode(b"", NOW)[1:5]
    assert reason(receiver.decode(packet[:1] + key_id + packet[5:], NOW)) is Refusal.FORGED


def test_a_sealed_packet_shows_neither_payload_nor_key() -> None:
    packet = sealed(b"sender..").encode(b"the password is swordfish", NOW)
    assert b"swordfish" not in packet
    assert "key" not in repr(sealed()).replace("_key_id", "")


def test_no_two_packets_are_sealed_alike() -> None:
    sender = sealed(b"sender..")
    packets = [sender.encode(b"same", NOW) for _ in range(100)]
    assert len({packet[13:21] for packet in packets}) == 100
    assert packets[0][13:21] == bytes(8)
    assert packets[0][21:] != sealed(b"reborn..").encode(b"same", NOW)[21:], "another run, another subkey"


def test_the_counter_never_wraps() -> None:
    sender = sealed(b"sender..")
    sender._counter = (1 << 48) - 1
    assert sealed().decode(sender.encode(b"last", NOW), NOW) == b"last"
    with pytest.raises(AssertionError):
        sender.encode(b"one more", NOW)


def test_a_key_or_a_run_of_another_length_is_our_own_mistake() -> None:
    with pytest.raises(AssertionError):
        sealed(key=b"short")
    with pytest.raises(AssertionError):
        sealed(b"short")


def test_our_own_packet_sent_back_is_refused() -> None:
    node = sealed()
    assert reason(node.decode(node.encode(b"echo", NOW), NOW)) is Refusal.REFLECTED


@law
@given(data=st.data(), count=st.integers(1, 40))
def test_whatever_the_order_each_packet_is_believed_once(data: st.DataObject, count: int) -> None:
    sender, receiver = sealed(b"sender.."), sealed()
    packets = [sender.encode(bytes([i]), NOW) for i in range(count)]
    arrivals = data.draw(st.permutations(packets * 2))
    opened = [answer for packet in arrivals if isinstance(answer := receiver.decode(packet, NOW), bytes)]
    assert sorted(opened) == [bytes([i]) for i in range(count)]
    assert {reason(receiver.decode(packet, NOW)) for packet in packets} == {Refusal.REPLAYED}


@law
@given(
    counters=st.lists(
        st.one_of(st.integers(0, 3 * WINDOW_PACKETS), st.integers(0, LEAP_PACKETS)), min_size=1, max_size=60
    )
)
def test_the_window_agrees_with_a_plain_set_of_counters(counters: list[int]) -> None:
    sender, receiver = sealed(b"sender.."), sealed()
    opened: set[int] = set()
    for counter in counters:
        sender._counter = counter
        answer = receiver.decode(sender.encode(b"payload", NOW), NOW)
        if counter <= max(opened, default=-1) - WINDOW_PACKETS:
            assert reason(answer) is Refusal.LATE
        elif counter in opened:
            assert reason(answer) is Refusal.REPLAYED
        else:
            assert answer == b"payload"
            opened.add(counter)


def test_a_packet_at_the_far_edge_of_the_window_is_believed_and_one_beyond_it_is_late() -> None:
    sender, receiver = sealed(b"sender.."), sealed()
    packets = [sender.encode(b"payload", NOW) for _ in range(WINDOW_PACKETS + 1)]
    assert receiver.decode(packets[-1], NOW) == b"payload"
    assert receiver.decode(packets[1], NOW) == b"payload"
    assert reason(receiver.decode(packets[0], NOW)) is Refusal.LATE


def test_a_forged_packet_moves_no_window() -> None:
    sender, receiver = sealed(b"sender.."), sealed()
    receiver.decode(sender.encode(b"first", NOW), NOW)
    genuine = sender.encode(b"second", NOW)
    ahead = genuine[:13] + (1 << 15).to_bytes(8, "big") + genuine[21:]
    assert reason(receiver.decode(ahead, NOW)) is Refusal.FORGED
    assert receiver.decode(genuine, NOW) == b"second"


# Packets that another holder of the key seals under a run that is not its own


def forged(sender: bytes, counter: int, sent: float) -> bytes:
    """A packet that is authentic, but not from the node whose run it bears."""
    attacker = sealed(sender)
    attacker._counter = counter
    return attacker.encode(b"forged", sent)


@pytest.mark.parametrize("counter", [(1 << 64) - 2, (1 << 64) - 1, 1 << 63, 1 << 48, (1 << 48) - 1, 2 * LEAP_PACKETS])
@pytest.mark.parametrize("lead", [0.0, 3.0, 1e9])
def test_a_leap_that_no_sender_can_have_made_moves_no_window(counter: int, lead: float) -> None:
    sender, receiver = sealed(b"sender.."), sealed()
    receiver.decode(sender.encode(b"first", NOW), NOW)
    leap = forged(b"sender..", min(counter, (1 << 48) - 1), NOW + lead)
    if counter >= 1 << 48:
        leap = leap[:13] + counter.to_bytes(8, "big") + leap[21:]
    assert reason(receiver.decode(leap, NOW)) is Refusal.LEAPT
    assert receiver.decode(sender.encode(b"second", NOW), NOW) == b"second"


def test_a_counter_for_which_there_is_no_nonce_is_a_leap_also_of_a_sender_not_met_before() -> None:
    packet = sealed(b"sender..").encode(b"first", NOW)
    assert reason(sealed().decode(packet[:13] + (1 << 48).to_bytes(8, "big") + packet[21:], NOW)) is Refusal.LEAPT


@law
@given(
    counter=st.integers(0, LEAP_PACKETS),
    lead=st.sampled_from([-FRESHNESS_SECONDS, -1.0, 0.0, 1.0, FRESHNESS_SECONDS, 1e9]),
    first=st.booleans(),
)
def test_whatever_was_forged_the_true_sender_is_heard_after_a_moment(counter: int, lead: float, first: bool) -> None:
    sender, receiver = sealed(b"sender.."), sealed()
    if not first:
        receiver.decode(sender.encode(b"hello", NOW - 1), NOW - 1)
    met = isinstance(receiver.decode(forged(b"sender..", counter, NOW + lead), NOW), bytes) and first
    for step in range(1, 20):
        later = NOW + 1 + step / 100 + (max(0.0, lead) if met else 0.0)
        assert receiver.decode(sender.encode(b"genuine", later), later) == b"genuine"


def test_the_first_packet_heard_of_a_run_may_be_forged_too() -> None:
    sender, receiver = sealed(b"sender.."), sealed()
    assert receiver.decode(forged(b"sender..", (1 << 48) - 2, NOW), NOW) == b"forged"
    assert reason(receiver.decode(sender.encode(b"at once", NOW), NOW)) is Refusal.LATE
    assert receiver.decode(sender.encode(b"later", NOW + 0.1), NOW + 0.1) == b"later"


def test_a_window_that_was_put_back_lets_no_replay_in() -> None:
    sender, receiver = sealed(b"sender.."), sealed()
    recorded = [sender.encode(b"old", NOW + number / 1000) for number in range(50)]
    for packet in recorded:
        receiver.decode(packet, NOW + 0.1)
    receiver.decode(forged(b"sender..", LEAP_PACKETS, NOW + 0.2), NOW + 0.2)
    assert receiver.decode(sender.encode(b"new", NOW + 0.3), NOW + 0.3) == b"new"
    for packet in recorded:
        assert isinstance(receiver.decode(packet, NOW + 0.3), Refused)


def test_a_sender_that_is_heard_seldom_may_have_sent_many_packets_meanwhile() -> None:
    sender, receiver = sealed(b"sender.."), sealed()
    receiver.decode(sender.encode(b"first", NOW), NOW)
    sender._counter = LEAP_PACKETS + 10 * LEAP_PACKETS_PER_SECOND
    assert reason(receiver.decode(sender.encode(b"too soon", NOW + 9), NOW + 9)) is Refusal.LEAPT
    assert receiver.decode(sender.encode(b"by now", NOW + 11), NOW + 11) == b"by now"
    sender._counter += LEAP_PACKETS + LEAP_PACKETS_PER_SECOND
    refused = receiver.decode(sender.encode(b"too soon again", NOW + 11.5), NOW + 11.5)
    assert reason(refused) is Refusal.LEAPT, "it was heard half a second ago"


def test_no_packet_from_a_made_up_future_keeps_its_run_remembered_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "SENDER_KEYS_MAX", 1)
    receiver, later = sealed(), NOW + 3600 + FRESHNESS_SECONDS + 1
    receiver.decode(forged(b"attacker", 0, NOW), NOW)
    receiver.decode(forged(b"attacker", 1, NOW + 1e9), NOW)
    assert receiver.decode(sealed(b"newcomer").encode(b"hello", later), later) == b"hello"


def test_nothing_is_remembered_of_a_packet_that_does_not_authenticate() -> None:
    receiver = sealed()
    key_id = sealed(b"any-run.").encode(b"", NOW)[1:5]
    for number in range(100):
        junk = b"\x81" + key_id + number.to_bytes(8, "big") + bytes(60)
        assert reason(receiver.decode(junk, NOW)) is Refusal.FORGED
    assert receiver._senders == {}


@law
@given(skew=st.floats(-FRESHNESS_SECONDS + 0.01, FRESHNESS_SECONDS - 0.01))
def test_an_unknown_run_is_believed_within_the_skew(skew: float) -> None:
    assert sealed().decode(sealed(b"sender..").encode(b"hello", NOW + skew), NOW) == b"hello"


@pytest.mark.parametrize("skew", [-FRESHNESS_SECONDS, FRESHNESS_SECONDS])
def test_an_unknown_run_is_believed_at_the_very_end_of_the_skew(skew: float) -> None:
    assert sealed().decode(sealed(b"sender..").encode(b"hello", NOW + skew), NOW) == b"hello"


@law
@given(skew=st.floats(FRESHNESS_SECONDS + 0.01, 1e9), ahead=st.booleans())
def test_an_unknown_run_beyond_the_skew_is_refused_with_how_far_its_clock_is_off(skew: float, ahead: bool) -> None:
    receiver = sealed()
    answer = receiver.decode(sealed(b"sender..").encode(b"hello", NOW + (skew if ahead else -skew)), NOW)
    assert isinstance(answer, Refused)
    assert answer.reason is Refusal.STALE
    assert answer.skew == pytest.approx(skew if ahead else -skew, abs=0.01)
    assert receiver._senders == {}


def test_a_known_run_is_heard_even_if_its_clock_or_ours_is_set() -> None:
    sender, receiver = sealed(b"sender.."), sealed()
    for sent, wall in [(NOW, NOW), (NOW + 3600, NOW), (NOW - 3600, NOW), (NOW, NOW + 86_400)]:
        assert receiver.decode(sender.encode(b"hello", sent), wall) == b"hello"


def test_old_packets_of_a_run_are_late_to_a_node_that_met_it_only_now() -> None:
    """Else a restarted node would believe again all that its past run had opened within the window."""
    sender, restarted = sealed(b"sender.."), sealed(b"restart.")
    old = sender.encode(b"from long ago", NOW - FRESHNESS_SECONDS - 1)
    overtaken = sender.encode(b"from just now", NOW - 1)
    assert restarted.decode(sender.encode(b"hello", NOW), NOW) == b"hello"
    assert reason(restarted.decode(old, NOW)) is Refusal.LATE
    assert restarted.decode(overtaken, NOW) == b"from just now"


def test_a_new_run_is_refused_while_every_known_one_was_heard_lately(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "SENDER_KEYS_MAX", 2)
    receiver, first, second = sealed(), sealed(b"sender.1"), sealed(b"sender.2")
    latest = NOW + FRESHNESS_SECONDS
    for sender in (first, second):
        assert receiver.decode(sender.encode(b"hello", NOW), NOW) == b"hello"
    assert reason(receiver.decode(sealed(b"sender.3").encode(b"hello", latest), latest)) is Refusal.TOO_MANY_SENDERS
    for sender in (first, second):
        assert receiver.decode(sender.encode(b"hello again", latest), latest) == b"hello again"


def test_the_run_unheard_for_longest_is_forgotten_for_a_new_one_and_cannot_be_replayed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "SENDER_KEYS_MAX", 2)
    receiver, first, quiet = sealed(), sealed(b"sender.1"), sealed(b"sender.Q")
    old, later = quiet.encode(b"old", NOW), NOW + FRESHNESS_SECONDS + 1
    for packet in (first.encode(b"hello", NOW), old):
        receiver.decode(packet, NOW)
    receiver.decode(first.encode(b"hello", NOW + 2), NOW + 2)
    assert receiver.decode(sealed(b"sender.3").encode(b"hello", later), later) == b"hello"
    assert reason(receiver.decode(old, later)) is Refusal.STALE
    assert reason(receiver.decode(quiet.encode(b"back", later), later)) is Refusal.TOO_MANY_SENDERS
    assert receiver.decode(first.encode(b"hello", later), later) == b"hello"


def test_a_run_whose_clock_is_ahead_is_not_forgotten_while_its_packets_would_still_be_fresh(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    receiver, fast = sealed(), sealed(b"sender.F")
    monkeypatch.setattr(limits, "SENDER_KEYS_MAX", 1)
    receiver.decode(fast.encode(b"hello", NOW), NOW)
    ahead = fast.encode(b"from the future", NOW + 100)
    assert receiver.decode(ahead, NOW) == b"from the future"
    assert reason(receiver.decode(sealed(b"sender.9").encode(b"", NOW + 100), NOW + 100)) is Refusal.TOO_MANY_SENDERS
    assert reason(receiver.decode(ahead, NOW + 100)) is Refusal.REPLAYED


def test_a_node_without_a_key_never_loads_the_cryptography_library() -> None:
    program = (
        "import sys; from gossipreg.protocol.wire import packets, streams; "
        "packets.ChecksummedPackets('prod').encode(b'', 0.0); "
        "print(any(name.partition('.')[0] == 'cryptography' for name in sys.modules))"
    )
    shown = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert shown.stdout == "False\n"


def test_every_refusal_has_a_counter() -> None:
    assert [each.counter for each in Refusal] == [f"packets_{each}" for each in Refusal]


# While the key is replaced


def in_rotation(sender: bytes = b"receiver", *, keys: tuple[bytes, ...] = (OTHER_KEY, KEY)) -> SealedPackets:
    return SealedPackets(ring(*keys), "prod", sender)


def test_each_key_that_is_held_opens_and_the_primary_one_seals() -> None:
    receiver = in_rotation()
    for number, key in enumerate((KEY, OTHER_KEY)):
        sender = sealed(f"sender.{number}".encode(), key=key)
        assert receiver.decode(sender.encode(b"payload", NOW), NOW) == b"payload"
    packet = receiver.encode(b"payload", NOW)
    assert packet[1:5] == bytes.fromhex(key_id(OTHER_KEY))
    assert reason(sealed(b"another.").decode(packet, NOW)) is Refusal.UNKNOWN_KEY


def test_a_key_that_is_given_up_opens_nothing_any_more() -> None:
    receiver, sender = in_rotation(), sealed(b"sender..")
    assert receiver.decode(sender.encode(b"before", NOW), NOW) == b"before"
    receiver.keyring.replace([OTHER_KEY])
    assert reason(receiver.decode(sender.encode(b"after", NOW), NOW)) is Refusal.UNKNOWN_KEY


def test_no_counter_comes_twice_when_the_primary_key_changes_there_and_back() -> None:
    sender = in_rotation(b"sender..", keys=(KEY, OTHER_KEY))
    heads = set()
    for primary, other in [(KEY, OTHER_KEY), (OTHER_KEY, KEY)] * 3:
        sender.keyring.replace([primary, other])
        packet = sender.encode(b"payload", NOW)
        assert packet[1:5] == bytes.fromhex(key_id(primary))
        heads.add(packet[13:21])
    assert len(heads) == 6


def test_a_packet_is_accepted_once_under_whichever_key_it_came() -> None:
    receiver, sender = in_rotation(), in_rotation(b"sender..", keys=(KEY, OTHER_KEY))
    old = [sender.encode(b"old", NOW) for _ in range(2)]
    sender.keyring.replace([OTHER_KEY, KEY])
    new = sender.encode(b"new", NOW)
    assert receiver.decode(old[0], NOW) == b"old"
    assert receiver.decode(new, NOW) == b"new"
    assert receiver.decode(old[1], NOW) == b"old", "it was overtaken by one under the new key"
    for packet in (*old, new):
        assert reason(receiver.decode(packet, NOW)) is Refusal.REPLAYED


def test_a_sender_whose_clock_is_wrong_stays_known_under_the_new_key() -> None:
    receiver, sender = in_rotation(), in_rotation(b"sender..", keys=(KEY, OTHER_KEY))
    assert receiver.decode(sender.encode(b"met", NOW), NOW) == b"met"
    wrong = NOW + 10 * FRESHNESS_SECONDS  # set while it runs
    sender.keyring.replace([OTHER_KEY])
    assert receiver.decode(sender.encode(b"new key", wrong), NOW + 1) == b"new key"
    assert reason(receiver.decode(in_rotation(b"stranger").encode(b"", wrong), NOW + 1)) is Refusal.STALE


def test_junk_in_the_name_of_a_known_sender_under_another_key_neither_mutes_it_nor_costs_more_than_once() -> None:
    receiver, sender = in_rotation(), in_rotation(b"sender..", keys=(KEY, OTHER_KEY))
    assert receiver.decode(sender.encode(b"met", NOW), NOW, "127.0.0.1") == b"met"
    junk = bytearray(in_rotation(b"sender..").encode(b"junk", NOW))
    junk[13:21] = (1).to_bytes(8, "big")
    reasons = {reason(receiver.decode(bytes(junk), NOW, "127.0.0.1")) for _ in range(2000)}
    assert reasons == {Refusal.FORGED}
    sender.keyring.replace([OTHER_KEY, KEY])
    assert receiver.decode(sender.encode(b"new key", NOW), NOW, "127.0.0.1") == b"new key"
    assert len(receiver._senders[b"sender.."].ciphers) == 2
    receiver.keyring.replace([OTHER_KEY, bytes(32)])
    third = SealedPackets(ring(bytes(32)), "prod", b"sender..")
    third._counter = 100
    assert receiver.decode(third.encode(b"third", NOW + 1), NOW + 1, "127.0.0.1") == b"third"
    assert bytes.fromhex(key_id(KEY)) not in receiver._senders[b"sender.."].ciphers
