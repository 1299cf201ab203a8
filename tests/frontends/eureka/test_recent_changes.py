"""What changed is told for some minutes, each instance's last change once."""

from __future__ import annotations

from gossipreg.frontends.eureka.instance_document import InstanceDocument
from gossipreg.frontends.eureka.recent_changes import KEPT_MAX, KEPT_SECONDS, RecentChanges
from gossipreg.model import Instance


def shown(id: str, port: int) -> InstanceDocument:
    return InstanceDocument.of(Instance(id=id, service="a", host="127.0.0.1", port=port), healthy=True)


def said(recent: RecentChanges) -> list[tuple[str, str]]:
    return [(change.action, str(change.shown.source.port)) for change in recent]


def test_the_last_change_of_an_instance_is_told() -> None:
    recent = RecentChanges()
    recent.note("A", "ADDED", shown("one", 1), now=0)
    recent.note("A", "ADDED", shown("two", 2), now=1)
    recent.note("A", "MODIFIED", shown("one", 3), now=2)
    assert said(recent) == [("ADDED", "2"), ("MODIFIED", "3")]
    recent.note("A", "DELETED", shown("one", 3), now=3)
    assert said(recent) == [("ADDED", "2"), ("DELETED", "3")]


def test_what_went_and_came_back_is_modified_for_readers_that_did_not_see_it_go() -> None:
    recent = RecentChanges()
    recent.note("A", "DELETED", shown("one", 1), now=0)
    recent.note("A", "ADDED", shown("one", 2), now=1)
    assert said(recent) == [("MODIFIED", "2")]


def test_instances_of_two_applications_may_have_one_id() -> None:
    recent = RecentChanges()
    recent.note("A", "ADDED", shown("one", 1), now=0)
    recent.note("B", "ADDED", shown("one", 2), now=0)
    assert said(recent) == [("ADDED", "1"), ("ADDED", "2")]


def test_a_change_is_forgotten_in_time_and_the_version_says_so() -> None:
    recent = RecentChanges()
    recent.begin(0)
    recent.note("A", "ADDED", shown("one", 1), now=0)
    recent.note("A", "ADDED", shown("two", 2), now=10)
    first = recent.version(KEPT_SECONDS - 1)
    assert recent.version(KEPT_SECONDS - 1) == first
    assert len(said(recent)) == 2
    second = recent.version(KEPT_SECONDS)
    assert second != first
    assert said(recent) == [("ADDED", "2")]
    assert recent.version(KEPT_SECONDS + 10) != second
    assert said(recent) == []


def test_it_is_torn_until_it_has_noted_for_as_long_as_a_reader_may_ask_for() -> None:
    recent = RecentChanges()
    assert recent.torn(0)
    recent.begin(5)
    assert recent.torn(KEPT_SECONDS + 4)
    assert not recent.torn(KEPT_SECONDS + 5)


def test_too_many_changes_tear_it_again_instead_of_filling_memory() -> None:
    recent = RecentChanges()
    recent.begin(0)
    now = 2 * KEPT_SECONDS
    for number in range(KEPT_MAX):
        recent.note("A", "ADDED", shown(str(number), 1), now=now)
    assert not recent.torn(now)
    recent.note("A", "ADDED", shown("one-more", 1), now=now)
    assert recent.torn(now)
    assert said(recent) == []
