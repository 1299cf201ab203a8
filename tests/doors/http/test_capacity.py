from __future__ import annotations

import resource
from collections.abc import Iterator

import pytest

from gossipreg.doors.http import limits
from gossipreg.doors.http.answers import Refusal
from gossipreg.doors.http.capacity import DESCRIPTORS, Capacity, Places, ask_for_descriptors, soft_limit


def rooms(descriptors: int) -> tuple[int, int, int]:
    room = Capacity.within(descriptors)
    return room.connections, room.event_streams.most, room.waiting.most


@pytest.mark.parametrize("descriptors", [DESCRIPTORS, DESCRIPTORS + 1, 2**31])
def test_with_enough_descriptors_the_limits_hold(descriptors: int) -> None:
    assert rooms(descriptors) == (limits.CONNECTIONS_MAX, limits.EVENT_STREAMS_MAX, limits.WAITING_MAX)


@pytest.mark.parametrize("descriptors", [700, 1024, 2048, 4096, DESCRIPTORS - 1])
def test_with_fewer_all_shrink_by_the_same_share_and_the_rest_is_left(descriptors: int) -> None:
    connections, streams, waiting = rooms(descriptors)
    assert connections + limits.REFUSALS_MAX + limits.OTHER_DESCRIPTORS <= descriptors
    assert 0 < streams == waiting < connections
    assert streams / connections == pytest.approx(limits.EVENT_STREAMS_MAX / limits.CONNECTIONS_MAX, abs=0.02)
    assert streams + waiting < connections


def test_a_process_with_hardly_any_still_answers_somebody() -> None:
    assert rooms(0)[0] == limits.CONNECTIONS_MIN
    assert rooms(0) == rooms(limits.OTHER_DESCRIPTORS)


def test_a_thousand_watchers_and_a_thousand_who_wait_find_room_and_others_beside_them() -> None:
    connections, streams, waiting = rooms(DESCRIPTORS)
    assert streams >= 1000 <= waiting
    assert connections >= streams + waiting + 512


def test_places_are_given_back() -> None:
    places = Places("event streams", 1)
    for _ in range(3):
        with places.one(), pytest.raises(Refusal, match="1 event streams are open, which is the limit"), places.one():
            pass
    with pytest.raises(ZeroDivisionError), places.one():
        raise ZeroDivisionError
    with places.one():
        pass


@pytest.fixture
def _limits_restored() -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (before[0], resource.getrlimit(resource.RLIMIT_NOFILE)[1]))


@pytest.mark.usefixtures("_limits_restored")
def test_a_soft_limit_is_raised_to_what_is_needed_and_a_higher_one_stays() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard <= DESCRIPTORS:
        pytest.skip(f"the hard limit of descriptors here is {hard}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (1024, hard))
    assert ask_for_descriptors() == DESCRIPTORS == soft_limit()
    resource.setrlimit(resource.RLIMIT_NOFILE, (DESCRIPTORS + 1, hard))
    assert ask_for_descriptors() == DESCRIPTORS + 1


def test_a_hard_limit_is_the_most_that_can_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    soft = [1024]
    monkeypatch.setattr(resource, "getrlimit", lambda _: (soft[0], 2048))
    monkeypatch.setattr(resource, "setrlimit", lambda _, pair: soft.__setitem__(0, pair[0]))
    assert ask_for_descriptors() == 2048


def test_no_limit_at_all_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    infinity = resource.RLIM_INFINITY
    monkeypatch.setattr(resource, "getrlimit", lambda _: (infinity, infinity))
    assert ask_for_descriptors() > DESCRIPTORS
