"""An agent is asked again only for services that have changed."""

from __future__ import annotations

from typing import Any

import attrs

from gossipreg.frontends.render.answers import KeptAnswers

SNAPSHOT: dict[str, Any] = {"members": [], "instances": []}


@attrs.define
class Agent:
    """Counts what it is asked; each answer is another one."""

    asked: list[tuple[str, ...]] = attrs.field(factory=list)
    meanwhile: Any = None  # called while it answers

    def __call__(self, *path: str, **_: str | None) -> int:
        self.asked.append(path)
        if self.meanwhile is not None:
            self.meanwhile()
        return len(self.asked)


def following() -> tuple[Agent, KeptAnswers]:
    agent = Agent()
    answers = KeptAnswers(agent)
    answers.heard("snapshot", SNAPSHOT)
    return agent, answers


def test_a_service_is_asked_for_again_only_when_it_has_changed() -> None:
    agent, answers = following()
    for _ in range(3):
        for number in range(1000):
            answers("services", f"s{number}")
    answers.heard("instance-changed", {"id": "a", "service": "s7"})
    for number in range(1000):
        answers("services", f"s{number}")
    assert agent.asked[1000:] == [("services", "s7")]


def test_everything_else_is_asked_for_each_time() -> None:
    agent, answers = following()
    for _ in range(2):
        answers("node")
        answers("services")
        answers("members")
        answers("services", "orders", all="true")
    assert len(agent.asked) == 8


def test_a_members_event_and_a_snapshot_change_all() -> None:
    agent, answers = following()
    for event, data in (("member-failed", {"name": "b"}), ("snapshot", SNAPSHOT)):
        answers("services", "orders")
        answers("services", "orders")
        answers.heard(event, data)
    assert answers("services", "orders") == 3 == len(agent.asked)


def test_nothing_is_kept_while_no_stream_says_what_changes() -> None:
    agent = Agent()
    answers = KeptAnswers(agent)
    assert [answers("services", "orders") for _ in range(2)] == [1, 2]
    answers.heard("snapshot", SNAPSHOT)
    assert [answers("services", "orders") for _ in range(2)] == [3, 3]
    answers.lost()
    assert [answers("services", "orders") for _ in range(2)] == [4, 5]


def test_an_answer_that_an_event_overtakes_is_not_kept() -> None:
    agent, answers = following()
    agent.meanwhile = lambda: answers.heard("instance-changed", {"service": "orders"})
    answers("services", "orders")
    agent.meanwhile = None
    assert answers("services", "orders") == 2
