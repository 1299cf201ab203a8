"""The picture fits every screen, shows first what is amiss, and says how much it leaves out."""

from __future__ import annotations

from typing import Any

import pytest
from rich.cells import cell_len

from gossipreg.cli.top.layout import layout
from gossipreg.cli.top.model import ScreenModel
from tests.cli.fake_agent import INSTANCE, MEMBER, NODE

NOW = 1_700_000_100.0
SUSPECT = MEMBER | {"name": "web-2", "status": "suspect"}


def model(members: int = 0, services: int = 0, **node: Any) -> ScreenModel:
    """A cluster with a suspect, and so many more members and services of one instance."""
    made = ScreenModel()
    many = [MEMBER | {"name": f"host-{number}"} for number in range(members)]
    offered = [INSTANCE | {"service": f"service-{number}"} for number in range(services)]
    made.apply("snapshot", {"members": [MEMBER, *many], "instances": [INSTANCE, *offered]}, NOW - 60)
    made.apply("member-suspect", SUSPECT, NOW - 7)
    counts: dict[str, Any] = {f"service-{number}": {"instances": 1} for number in range(services)}
    counts["orders"] = {"instances": 2}
    made.refresh(NODE | node, counts, NOW - 1)
    made.refresh(NODE | node | {"counters": {"packets_sent": 30, "bytes_sent": 4200}}, counts, NOW)
    return made


def text(shown: ScreenModel, width: int, height: int, **options: Any) -> list[str]:
    return [line.plain.rstrip() for line in layout(shown, NOW, width, height, **options)]


@pytest.mark.parametrize("width", [1, 20, 46, 69, 70, 80, 109, 110, 200])
@pytest.mark.parametrize("height", [1, 5, 14, 24, 60])
@pytest.mark.parametrize("crowd", [0, 3, 100])
def test_it_fits(width: int, height: int, crowd: int) -> None:
    shown = model(crowd, crowd)
    shown.apply("instance-added", INSTANCE | {"id": "\x1b[31m漢字" * 30, "service": "s" * 63}, NOW)
    lines = layout(shown, NOW, width, height)
    assert len(lines) <= height
    for line in lines:
        assert cell_len(line.plain) <= width, line.plain
        assert line.plain.isprintable()


def test_on_an_ordinary_screen_members_and_services_are_side_by_side() -> None:
    lines = text(model(), 80, 24)
    assert lines[0].startswith("web-1  default  127.0.0.1:7940 ")
    assert lines[0].endswith("q quits")
    assert lines[1] == "reachable 100%  local health 0  23 packets/s  4.2 kB/s"
    assert lines[3].split() == ["members", "1", "suspect", "1", "alive", "services", "1", "1/2", "healthy"]
    assert lines[4].split() == ["web-2", "suspect", "7s", "orders", "1/2", "▅▅"]
    assert lines[5].split() == ["web-1", "alive", "1m"]
    assert lines[7] == "events"
    assert lines[8].split()[1:] == ["member-suspect", "web-2", "suspect", "127.0.0.1:7940"]


def test_a_wide_one_has_addresses_and_a_narrow_one_has_one_below_the_other() -> None:
    assert any("web-2" in line and "127.0.0.1:7940" in line.partition("orders")[0] for line in text(model(), 120, 40))
    narrow = text(model(), 46, 30)
    assert [line.split()[0] for line in narrow if line][2:] == [
        "members", "web-2", "web-1", "services", "orders", "events", narrow[-1].split()[0],
    ]  # fmt: skip


def test_what_is_amiss_comes_first_and_the_rest_is_counted() -> None:
    lines = text(model(members=50, services=50), 80, 24)
    assert lines[3].split()[:5] == ["members", "1", "suspect", "51", "alive"]
    assert lines[4].split()[:4] == ["web-2", "suspect", "7s", "orders"]
    cut = next(line for line in lines if line.startswith("… and "))
    shown = lines.index(cut) - 4
    assert cut.split() == [*f"… and {52 - shown} more".split(), *f"… and {51 - shown} more".split()]
    assert lines[-2] == "events"


@pytest.mark.parametrize(
    ("node", "words"),
    [
        ({"isolated": True}, "isolated: it hears no other member"),
        ({"draining": True, "leaving": False}, "draining"),
        ({"draining": True, "leaving": True}, "leaving"),
        ({"serving_last_known": True}, "serving what it last knew"),
        ({"reachable": 0.5}, "reachable 50%"),
        ({"local_health": 3}, "local health 3"),
    ],
)
def test_how_the_agent_is_stands_above(node: dict[str, Any], words: str) -> None:
    assert words in text(model(**node), 80, 24)[1]


def test_an_agent_that_is_lost_is_said_to_be() -> None:
    shown = model()
    shown.failed["events"] = "lost 127.0.0.1:8500: trying again until it answers"
    assert text(shown, 80, 24)[1] == "lost 127.0.0.1:8500: trying again until it answers"


def test_a_terminal_that_knows_only_ascii_gets_no_blocks() -> None:
    assert text(model(), 80, 24, plain=True)[4].endswith("==")


def test_of_an_instance_that_has_changed_the_weight_is_told() -> None:
    shown = model()
    shown.apply("instance-changed", INSTANCE | {"weight": 0}, NOW)
    assert text(shown, 120, 24)[-1].split()[1:5] == ["instance-changed", "orders-1", "passing", "weight"]


def test_that_nothing_has_happened_is_said_too() -> None:
    shown = ScreenModel()
    shown.apply("snapshot", {"members": [], "instances": []}, NOW)
    shown.refresh(NODE, {}, NOW)
    lines = text(shown, 80, 24)
    assert lines[1] == "reachable 100%  local health 0  - packets/s  -/s"
    assert lines[-1] == "events  nothing has happened in the last hour"


def test_problems_come_first_with_their_reasons_and_the_rest_is_counted() -> None:
    shown = model()
    others = [
        INSTANCE | {"id": f"o-{number}", "service": f"s-{number}", "health": "critical", "reason": "http: 500"}
        for number in range(9)
    ]
    shown.find_problems(others, [], None, NOW - 70)
    lines = text(shown, 80, 24)
    assert lines[2].startswith("✖ s-0 has no instance that can serve  http: 500")
    assert lines[2].endswith("1m")
    assert lines[8] == "… and 4 more problems"
    assert text(shown, 80, 24, plain=True)[2].startswith("x s-0")
    for width in (1, 20, 46, 80):
        for line in layout(shown, NOW, width, 24):
            assert cell_len(line.plain) <= width
    shown.find_problems([], [], None, NOW)
    assert [each.key for each in shown.problems] == ["m web-2"]


def test_a_problem_keeps_the_moment_at_which_it_was_first_found() -> None:
    shown = model()
    sick = [INSTANCE | {"id": "sick", "health": "critical", "reason": "x"}]
    shown.find_problems(sick, [], None, NOW - 50)
    shown.find_problems(sick, [], None, NOW)
    [hurt] = [each for each in shown.problems if each.key == "h orders"]
    assert hurt.since == NOW - 50
    assert hurt.title == "orders: 1 of 2 instances can serve"


def test_a_long_name_is_whole_before_a_bar_is_long_or_an_address_is_shown() -> None:
    shown = ScreenModel()
    service, name = "payments-api-eu-west-1-canary", "node-with-a-long-name-1.eu-west-1"
    instance, member = INSTANCE | {"service": service}, MEMBER | {"name": name}
    address = str(member["address"])
    shown.apply("snapshot", {"members": [member], "instances": [instance]}, NOW - 60)
    for second in range(60):
        shown.refresh(NODE, {service: {"instances": 1}}, NOW - 60 + second)
    narrow, wide = text(shown, 60, 30, plain=True), text(shown, 150, 30, plain=True)
    assert any(line.startswith(service) for line in narrow)
    assert any(service in line and "########" in line for line in narrow), "some of the past is left"
    assert any(line.startswith(name) and address in line for line in wide)
    middle = text(shown, 120, 30)
    assert any(line.startswith(name) for line in middle)
    assert not any(address in line for line in middle if line.startswith(name))


def test_an_event_of_the_last_hour_has_no_address_rather_than_an_empty_one() -> None:
    shown = model()
    change = {"event": "instance-added", "at": NOW - 90, "service": "orders", "owner": "web-1", "id": "o-9"}
    history = {
        "now": NOW,
        "since": {"members": {}, "instances": [{"service": "orders", "owner": "web-1", "id": "o-9", "at": NOW - 90}]},
        "changes": [change | {"health": "passing", "reason": "", "was": {}, "is": {}}],
    }
    shown.recall(history, NOW)
    [line] = [line for line in text(shown, 120, 24) if "o-9" in line]
    assert ":0" not in line
    assert shown.instance_since["web-1", "o-9"] == NOW - 90
