from __future__ import annotations

import resource
from collections.abc import Iterator

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossipreg.frontends.serving import limits
from gossipreg.frontends.serving.capacity import (
    DESCRIPTORS,
    Capacity,
    Connections,
    ConnectionSlot,
    EventStreams,
    UnsentResponses,
    ask_for_descriptors,
    soft_limit,
)
from gossipreg.frontends.serving.response import HttpError


def rooms(descriptors: int) -> tuple[int, int, int]:
    capacity = Capacity.within(descriptors)
    return capacity.connections.most, capacity.event_streams.most, capacity.waiting.most


@pytest.mark.parametrize("descriptors", [DESCRIPTORS, DESCRIPTORS + 1, 2**31])
def test_with_enough_descriptors_the_limits_hold(descriptors: int) -> None:
    assert rooms(descriptors) == (limits.CONNECTIONS_MAX, limits.EVENT_STREAMS_MAX, limits.WAITING_MAX)
    assert Capacity.within(descriptors).waiting_to_be_served == limits.WAITING_TO_BE_SERVED_MAX


@pytest.mark.parametrize("descriptors", [700, 1024, 2048, 4096, DESCRIPTORS - 1])
def test_with_fewer_all_shrink_by_the_same_share_and_the_rest_is_left(descriptors: int) -> None:
    connections, streams, waiting = rooms(descriptors)
    queue = Capacity.within(descriptors).waiting_to_be_served
    assert limits.WAITING_TO_BE_SERVED_MIN <= queue <= limits.WAITING_TO_BE_SERVED_MAX
    assert connections + queue + limits.REFUSALS_MAX + limits.OTHER_DESCRIPTORS <= descriptors
    assert 0 < streams < waiting < connections
    assert streams / connections == pytest.approx(limits.EVENT_STREAMS_MAX / limits.CONNECTIONS_MAX, abs=0.02)
    assert waiting / connections == pytest.approx(limits.WAITING_MAX / limits.CONNECTIONS_MAX, abs=0.02)
    assert streams + waiting < connections


def test_a_process_with_hardly_any_still_answers_one_caller() -> None:
    assert rooms(0)[0] == limits.CONNECTIONS_MIN
    assert rooms(0) == rooms(limits.OTHER_DESCRIPTORS)
    assert Capacity.within(0).waiting_to_be_served == limits.WAITING_TO_BE_SERVED_MIN


def test_a_thousand_watchers_and_a_thousand_blocked_readers_find_room_and_others_beside_them() -> None:
    connections, streams, waiting = rooms(DESCRIPTORS)
    assert streams >= 1000 <= waiting
    assert connections >= streams + waiting + 512


@attrs.define(eq=False)
class Clients:
    """Seats that note which callers have given way."""

    gone: list[str] = attrs.field(factory=list)

    def slot(self, name: str) -> ConnectionSlot:
        """A seat called ``name``; its source is what comes before its dash."""
        return ConnectionSlot(name.partition("-")[0], lambda: self.gone.append(name))


def test_the_connection_that_was_idle_for_longest_gives_way_to_a_newcomer() -> None:
    clients, connections = Clients(), Connections(3)
    seats = {name: clients.slot(name) for name in ("a-1", "a-2", "a-3")}
    for slot in seats.values():
        assert connections.take(slot)
    connections.awaits(seats["a-2"])
    connections.awaits(seats["a-1"])
    assert connections.take(clients.slot("a-4"))
    assert connections.take(clients.slot("a-5"))
    assert clients.gone == ["a-2", "a-1"]


def test_no_connection_that_is_answered_gives_way() -> None:
    clients, connections = Clients(), Connections(1)
    first = clients.slot("a-1")
    assert connections.take(first)
    connections.awaits(first)
    connections.has_request(first)
    assert not connections.take(clients.slot("b-1"))
    connections.leave(first)
    assert connections.take(clients.slot("b-1"))
    assert clients.gone == []


def test_the_source_that_holds_most_gives_way_first() -> None:
    clients, connections = Clients(), Connections(4)
    for name in ("modest-1", "greedy-1", "greedy-2", "greedy-3"):
        slot = clients.slot(name)
        assert connections.take(slot)
        connections.awaits(slot)
    assert connections.take(clients.slot("new-1"))
    assert clients.gone == ["greedy-1"]


def test_a_source_that_holds_most_gets_nothing_from_others() -> None:
    clients, connections = Clients(), Connections(3)
    modest = clients.slot("modest-1")
    for slot in (modest, clients.slot("greedy-1"), clients.slot("greedy-2")):
        assert connections.take(slot)
    connections.awaits(modest)
    assert not connections.take(clients.slot("greedy-3"))
    assert connections.take(clients.slot("new-1"))
    assert clients.gone == ["modest-1"]


def test_a_connection_that_gave_way_is_counted_no_more() -> None:
    clients, connections = Clients(), Connections(1)
    first, second = clients.slot("a-1"), clients.slot("b-1")
    assert connections.take(first)
    connections.awaits(first)
    assert connections.take(second)
    connections.awaits(first)  # it has not noticed yet
    connections.leave(first)
    assert not connections.take(clients.slot("c-1"))


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from(["take", "leave"])), max_size=60))
def test_event_streams_are_shared_fairly_and_never_exceed_their_number(steps: list[tuple[str, str]]) -> None:
    clients, places, held = Clients(), EventStreams(6), list[tuple[str, object]]()
    for number, (source, step) in enumerate(steps):
        if step == "leave" and held:
            held.pop(0)[1].__exit__(None, None, None)  # type: ignore[attr-defined]
        elif step == "take":
            place = places.one(clients.slot(f"{source}-{number}"))
            try:
                place.__enter__()
            except HttpError:
                counts = [sum(len(each) for name, each in places._held.items() if name == one) for one in "abcd"]
                assert counts["abcd".index(source)] + 1 >= max(counts)
            else:
                held.append((source, place))
        assert places._taken == sum(map(len, places._held.values())) <= 6


def test_an_event_stream_too_many_is_refused_to_the_source_that_has_them() -> None:
    clients, places = Clients(), EventStreams(2)
    with places.one(clients.slot("a-1")), places.one(clients.slot("a-2")):
        with (
            pytest.raises(HttpError, match="2 event streams are open, which is the limit"),
            places.one(clients.slot("a-3")),
        ):
            pass
        with places.one(clients.slot("b-1")):
            assert clients.gone == ["a-1"]


def test_what_many_clients_take_is_counted_once() -> None:
    clients, outgoing = Clients(), UnsentResponses(100)
    data = bytes(100)
    with outgoing.one(clients.slot("a-1"), data), outgoing.one(clients.slot("a-2"), data):
        pass
    assert (clients.gone, outgoing._bytes, outgoing._takers) == ([], 0, {})


def test_the_slowest_client_gives_way_when_long_answers_take_too_much_memory() -> None:
    clients, outgoing = Clients(), UnsentResponses(100)
    with outgoing.one(clients.slot("a-1"), bytes(60)), outgoing.one(clients.slot("a-2"), bytes(40)):
        assert clients.gone == []
        with outgoing.one(clients.slot("a-3"), bytes(41)):
            assert clients.gone == ["a-1"]
        with outgoing.one(clients.slot("a-4"), bytes(200)):
            assert clients.gone == ["a-1", "a-2"]
    assert outgoing._bytes == 0


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
