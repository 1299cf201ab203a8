"""The demo's eyes see what agents say, when they say it."""

from __future__ import annotations

import time

import pytest

from gossipreg.cli.client import AgentClient
from gossipreg.cli.demo.observers import AgentView, NotObserved, Observers
from tests.cli.fake_agent import INSTANCE, MEMBER, FakeAgent

SNAPSHOT = {"members": [MEMBER], "instances": [INSTANCE]}


def test_a_sight_follows_the_events_of_a_stream() -> None:
    view = AgentView()
    view.apply("snapshot", SNAPSHOT)
    assert (view.status("web-1"), view.status("web-2"), set(view.instances)) == ("alive", "", {"orders-1"})
    view.apply("instance-added", INSTANCE | {"id": "orders-2"})
    view.apply("instance-changed", INSTANCE | {"weight": 0})
    assert view.instances["orders-1"]["weight"] == 0
    view.apply("instance-removed", INSTANCE)
    assert set(view.instances) == {"orders-2"}
    view.apply("member-suspect", MEMBER | {"status": "suspect"})
    view.apply("member-alive", MEMBER)
    assert (view.status("web-1"), view.suspected) == ("alive", {"web-1"})


def everything(_: AgentView) -> bool:
    return True


def test_waiting_ends_when_the_last_one_has_seen_it() -> None:
    with FakeAgent() as first, FakeAgent() as second:
        first.streams, second.streams = [[("snapshot", SNAPSHOT)]], [[("snapshot", SNAPSHOT)]]
        observers = Observers()
        began = time.perf_counter()
        observers.follow("a", AgentClient.at(first.address))
        observers.follow("b", AgentClient.at(second.address))
        [(what, moment)] = observers.until(["a", "b"], {"orders": lambda view: "orders-1" in view.instances}, 5)
        assert what == "orders"
        assert began < moment <= time.perf_counter()
        assert moment == max(observers.view_of("a").moment, observers.view_of("b").moment)


def test_what_comes_true_first_is_told_first() -> None:
    with FakeAgent() as agent:
        agent.streams = [[("snapshot", SNAPSHOT)]]
        observers = Observers()
        observers.follow("a", AgentClient.at(agent.address))
        waiting = observers.until(["a"], {"never": lambda view: False, "soon": everything}, 0.05)
        assert next(waiting)[0] == "soon"
        with pytest.raises(NotObserved) as error:
            next(waiting)
        assert (error.value.what, error.value.names) == ("never", "a")


def test_waiting_in_vain_names_those_that_did_not_see_it() -> None:
    with FakeAgent() as gone:
        pass
    with FakeAgent() as first, FakeAgent() as second:
        first.streams, second.streams = [[("snapshot", SNAPSHOT)]], [[]]
        observers = Observers()
        observers.follow("sees", AgentClient.at(first.address))
        observers.follow("silent", AgentClient.at(second.address))
        observers.follow("gone", AgentClient.at(gone.address))
        list(observers.until(["sees"], {"anything": everything}, 5))
        with pytest.raises(NotObserved) as error:
            list(observers.until(["sees", "silent", "gone"], {"anything": everything}, 0.01))
        assert error.value.names == "gone, silent"
