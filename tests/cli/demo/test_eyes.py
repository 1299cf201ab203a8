"""The demo's eyes see what agents say, when they say it."""

from __future__ import annotations

import time

import pytest

from gossipreg.cli.client import Agent
from gossipreg.cli.demo.eyes import Eyes, NotSeen, Sight
from tests.cli.fake_agent import INSTANCE, MEMBER, FakeAgent

SNAPSHOT = {"members": [MEMBER], "instances": [INSTANCE]}


def test_a_sight_follows_the_events_of_a_stream() -> None:
    sight = Sight()
    sight.apply("snapshot", SNAPSHOT)
    assert (sight.status("web-1"), sight.status("web-2"), set(sight.instances)) == ("alive", "", {"orders-1"})
    sight.apply("instance-added", INSTANCE | {"id": "orders-2"})
    sight.apply("instance-changed", INSTANCE | {"weight": 0})
    assert sight.instances["orders-1"]["weight"] == 0
    sight.apply("instance-removed", INSTANCE)
    assert set(sight.instances) == {"orders-2"}
    sight.apply("member-suspect", MEMBER | {"status": "suspect"})
    sight.apply("member-alive", MEMBER)
    assert (sight.status("web-1"), sight.suspected) == ("alive", {"web-1"})


def everything(_: Sight) -> bool:
    return True


def test_waiting_ends_when_the_last_one_has_seen_it() -> None:
    with FakeAgent() as first, FakeAgent() as second:
        first.streams, second.streams = [[("snapshot", SNAPSHOT)]], [[("snapshot", SNAPSHOT)]]
        eyes = Eyes()
        began = time.perf_counter()
        eyes.follow("a", Agent.at(first.address))
        eyes.follow("b", Agent.at(second.address))
        [(what, moment)] = eyes.until(["a", "b"], {"orders": lambda sight: "orders-1" in sight.instances}, 5)
        assert what == "orders"
        assert began < moment <= time.perf_counter()
        assert moment == max(eyes.of("a").moment, eyes.of("b").moment)


def test_what_comes_true_first_is_told_first() -> None:
    with FakeAgent() as agent:
        agent.streams = [[("snapshot", SNAPSHOT)]]
        eyes = Eyes()
        eyes.follow("a", Agent.at(agent.address))
        waiting = eyes.until(["a"], {"never": lambda sight: False, "soon": everything}, 0.05)
        assert next(waiting)[0] == "soon"
        with pytest.raises(NotSeen) as unseen:
            next(waiting)
        assert (unseen.value.what, unseen.value.names) == ("never", "a")


def test_waiting_in_vain_names_those_that_did_not_see_it() -> None:
    with FakeAgent() as gone:
        pass
    with FakeAgent() as first, FakeAgent() as second:
        first.streams, second.streams = [[("snapshot", SNAPSHOT)]], [[]]
        eyes = Eyes()
        eyes.follow("sees", Agent.at(first.address))
        eyes.follow("silent", Agent.at(second.address))
        eyes.follow("gone", Agent.at(gone.address))
        list(eyes.until(["sees"], {"anything": everything}, 5))
        with pytest.raises(NotSeen) as unseen:
            list(eyes.until(["sees", "silent", "gone"], {"anything": everything}, 0.01))
        assert unseen.value.names == "gone, silent"
