"""The board follows an agent's events, and counts between them."""

from __future__ import annotations

from typing import Any

from gossipreg.cli.top.layout import layout
from gossipreg.cli.top.model import ScreenModel
from tests.cli.fake_agent import INSTANCE, MEMBER, NODE

SNAPSHOT: dict[str, Any] = {"members": [MEMBER], "instances": [INSTANCE, INSTANCE | {"id": "orders-2"}]}
SERVICES = {"orders": {"healthy": 2, "instances": 3}}


def model() -> ScreenModel:
    """One that knows everything since the moment 10."""
    made = ScreenModel()
    made.apply("snapshot", SNAPSHOT, 10.0)
    made.refresh(NODE, SERVICES, 10.0)
    return made


def row(shown: ScreenModel) -> tuple[float | None, str]:
    """Since when the member is what it is."""
    member = shown.members["web-1"]
    return member.since, member.member["status"]


def rates(shown: ScreenModel) -> tuple[float | None, float | None]:
    return shown.packets, shown.bytes


def test_members_are_so_since_the_event_that_said_so() -> None:
    shown = model()
    assert row(shown) == (None, "alive")
    shown.apply("member-suspect", MEMBER | {"status": "suspect"}, 12.0)
    assert row(shown) == (12.0, "suspect")


def test_a_new_snapshot_keeps_since_when_nothing_has_changed() -> None:
    shown = model()
    suspect = MEMBER | {"status": "suspect"}
    shown.apply("member-suspect", suspect, 12.0)
    shown.apply("snapshot", SNAPSHOT | {"members": [suspect]}, 20.0)
    assert row(shown) == (12.0, "suspect")
    shown.apply("snapshot", SNAPSHOT, 21.0)
    assert row(shown) == (None, "alive")


def test_each_second_is_remembered_by_its_worst_moment() -> None:
    shown = model()
    shown.apply("instance-removed", INSTANCE, 10.5)
    shown.apply("instance-added", INSTANCE, 10.6)
    shown.refresh(NODE, SERVICES, 11.0)
    shown.refresh(NODE, SERVICES, 12.0)
    assert list(shown.services["orders"].samples) == [(2, 3), (1, 3), (2, 3)]


def test_a_service_that_no_instance_can_serve_is_known_from_its_count_alone() -> None:
    shown = model()
    shown.refresh(NODE, SERVICES | {"billing": {"healthy": 0, "instances": 1}}, 11.0)
    assert list(shown.services["billing"].samples) == [(0, 1)]


def test_a_service_that_has_gone_is_shown_no_more() -> None:
    shown = model()
    shown.refresh(NODE, {}, 11.0)
    assert shown.services == {}


def test_rates_are_what_was_counted_between_two_questions() -> None:
    shown = model()
    assert rates(shown) == (None, None)
    counters = {"packets_sent": 17, "packets_received": 5, "bytes_sent": 300}
    shown.refresh(NODE | {"counters": counters}, SERVICES, 12.0)
    assert rates(shown) == (7.5, 150.0)
    shown.refresh(NODE | {"generation": NODE["generation"] + 1}, SERVICES, 13.0)  # type: ignore[operator]
    assert rates(shown) == (None, None)


def test_there_is_nothing_to_show_before_the_first_snapshot_or_failure() -> None:
    shown = ScreenModel()
    shown.refresh(NODE, SERVICES, 10.0)
    known = [shown.is_known]
    shown.failed["events"] = "lost"
    known.append(shown.is_known)
    shown.apply("snapshot", SNAPSHOT, 11.0)
    assert [*known, shown.is_known] == [False, True, True]
    assert shown.failed == {}


def test_what_happens_is_kept_in_order() -> None:
    shown = model()
    for number in range(1000):
        shown.apply("member-alive", MEMBER, float(number))
    assert (shown.events[0].at, shown.events[-1].at) == (500.0, 999.0)


def test_ages_and_events_go_back_to_before_the_screen_by_the_agents_account() -> None:
    shown = model()
    shown.apply("instance-changed", INSTANCE | {"weight": 5}, 11.0)
    history = {
        "now": 1012.0,  # its clock is 1,000 s ahead
        "since": {
            "members": {"web-1": 950.0, "gone": 1.0},
            "instances": [{"service": "orders", "owner": "web-1", "id": "orders-1", "at": 940.0}],
        },
        "changes": [
            {"at": 900.0, "event": "member-joined", "member": "web-1", "status": "alive", "draining": False},
            {
                "at": 940.0,
                "event": "instance-changed",
                "service": "orders",
                "owner": "web-1",
                "id": "orders-1",
                "health": "critical",
                "reason": "",
                "was": {},
                "is": {"weight": 5},
            },
            {"at": 1011.5, "event": "member-joined", "member": "web-1", "status": "alive", "draining": False},
            {"at": 941.0, "event": "role-contested", "service": "orders"},
        ],
    }
    shown.recall(history, 12.0)
    assert row(shown) == (-50.0, "alive")
    assert [(each.at, each.name) for each in shown.events] == [
        (-100.0, "member-joined"),
        (-60.0, "instance-changed"),
        (11.0, "instance-changed"),
    ]
    assert shown.services["orders"].since == 11.0
    assert shown.events[0].data["address"] == MEMBER["address"]
    assert layout(shown, 12.0, 120, 30)
    shown.recall(history, 12.0)
    assert len(shown.events) == 3, "after another snapshot nothing is told twice"


def test_a_problem_of_a_service_is_as_old_as_the_latest_change_there() -> None:
    shown = model()
    shown.services["orders"].since = 3.0
    critical = INSTANCE | {"id": "orders-3", "health": "critical", "reason": ""}
    shown.find_problems([critical], [], None, 12.0)
    assert [(each.key, each.since) for each in shown.problems] == [("h orders", 3.0)]
