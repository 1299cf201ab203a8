"""Problems of `top`: gravest first, each with its reason; and the same that the web page's overview finds."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any, Final

import pytest

from gossipreg.cli.top.problems import ClusterFacts, find_problems
from gossipreg.frontends.web.page import FOLDER
from tests.cli.fake_agent import INSTANCE, MEMBER, NODE

WELL: Final = NODE | {
    "joined": True,
    "join_failures": {},
    "serving_last_known": False,
    "name_conflict": None,
    "leaving": False,
    "problems": [],
    "warnings": [],
    "generation": 1_700_000_000_000,
}

OBSERVED: Final[dict[str, Any]] = {
    "observer": "web-1",
    "observers": [
        {"name": "web-1", "failure": "", "version": "0.1.0", "problems": []},
        {"name": "web-2", "failure": "", "version": "0.1.0", "problems": ["the disk is full, 7 KiB are left"]},
        {"name": "web-3", "failure": "", "version": "0.2.0", "problems": ["they answer through others only: web-2"]},
        {"name": "web-4", "failure": "it does not answer", "version": "", "problems": []},
    ],
    "differences": [
        {"observer": "web-2", "member": "web-3", "status": "alive", "link": "outgoing_lost"},
        {"observer": "web-3", "member": "web-2", "status": "alive", "link": "incoming_lost"},
        {"observer": "web-3", "member": "web-1", "status": "suspect", "link": "streams_only"},
    ],
    "zones": [],
    "round_trips": [],
}


def member(name: str, status: str = "alive", **fields: Any) -> dict[str, Any]:
    return MEMBER | {"name": name, "status": status} | fields


def instance(id_: str, **fields: Any) -> dict[str, Any]:
    return INSTANCE | {"id": id_, "role": None, "term": 0, "reason": "", "stale": False} | fields


#: Clusters as the API tells them, by what is wrong: each is found by `top` and by the page alike.
CLUSTERS: Final[dict[str, dict[str, Any]]] = {
    "nothing": {},
    "the node": {
        "node": {
            "isolated": True,
            "joined": False,
            "serving_last_known": True,
            "draining": True,
            "local_health": 2,
            "name_conflict": "10.0.0.9:7940",
            "problems": ["the clock is 5 s ahead of", "the name 'web-1' is held by the member at 10.0.0.9:7940"],
            "warnings": ["no key"],
        }
    },
    "members one by one": {
        "members": [member("web-1"), member("web-2", "failed"), member("web-3", "suspect"), member("web-4", "left")],
        "since": {"web-2": 100.0, "web-3": 300.0},
    },
    "a member that cannot be sent to": {
        "members": [member("web-2", "failed", address="10.0.0.2:7940"), member("web-3", address="10.0.0.3:7940")],
        "since": {"web-2": 100.0},
        "node": {"problems": [f"cannot send to 10.0.0.{host}:7940: no route (EHOSTUNREACH)" for host in (2, 3)]},
    },
    "a failed member of which another agent tells that it cannot be sent to": {
        "members": [member("web-2", "failed", address="10.0.0.2:7940"), member("web-3", address="10.0.0.3:7940")],
        "since": {"web-2": 100.0},
        "observed": {
            "observer": "web-1",
            "observers": [
                {"name": name, "failure": "", "version": "1", "problems": problems}
                for name, problems in (
                    ("web-1", []),
                    ("web-3", [f"cannot send to 10.0.0.{host}:7940: refused (ECONNREFUSED)" for host in (2, 9)]),
                )
            ],
            "differences": [],
        },
    },
    "members at one time": {
        "members": [member("web-2", "failed"), member("web-3", "failed"), member("web-4", draining=True)],
        "since": {"web-2": 100.0, "web-3": 103.0},
    },
    "services": {
        "instances": [
            instance("a", health="critical", reason="http: 500"),
            instance("b", service="users"),
            instance("c", service="users", health="maintenance"),
            instance("d", service="pay", health="warning", reason="slow"),
            instance("e", service="pg", role="primary", term=2),
            instance("f", service="pg", role="fenced", term=1),
            instance("g", service="gossipreg.node", health="critical"),
        ]
    },
    "checks": {"checks": [{"instance": "a", "service": "orders", "name": "http", "flapping": True, "reason": "x"}]},
    "what members observe": {
        "members": [member(f"web-{number}") for number in (1, 2, 3, 4)],
        "observed": OBSERVED,
        "node": {"problems": ["they answer through others only: web-9"]},
    },
}


def observed(*silent: str, **unanswered: str) -> dict[str, Any]:
    """What three members answer: those that are ``silent``, and whose last ping each has not answered."""
    observers: list[dict[str, Any]] = [
        {"name": name, "failure": "no answer" if name in silent else "", "silent": name in silent, "version": "1"}
        | {"problems": []}
        for name in ("web-1", "web-2", "web-3")
    ]
    differences = [
        {"observer": by.replace("_", "-"), "member": name, "status": "alive", "link": "direct", "unanswered": 1}
        for by, name in unanswered.items()
    ]
    return OBSERVED | {"observers": observers, "differences": differences}


_THREE: Final = [member(f"web-{number}") for number in (1, 2, 3)]
_SUSPECT: Final = [member("web-1"), member("web-2", "suspect"), member("web-3")]

CLUSTERS.update(
    {
        "one member is silent": {"members": _THREE, "observed": observed("web-2")},
        "a suspect is silent": {"members": _SUSPECT, "since": {"web-2": 7.0}, "observed": observed("web-2")},
        "a suspect, and one that is silent": {"members": _SUSPECT, "observed": observed("web-3")},
        "none answers": {"members": _THREE, "observed": observed("web-2", "web-3")},
        "none answers an isolated agent": {
            "members": _THREE,
            "observed": observed("web-2", "web-3"),
            "node": {"isolated": True},
        },
        "a ping was not answered": {"members": _THREE, "observed": observed(web_1="web-3", web_2="web-3")},
        "pings from and to a silent member": {
            "members": _THREE,
            "observed": observed("web-2", web_2="web-3", web_1="web-2"),
        },
    }
)

_SCRIPT: Final = """
import { Registry } from "./model.js";
import { findProblems } from "./problems.js";
const found = JSON.parse(process.argv[2]).map(({ node, members, since, instances, checks, observed }) => {
  const registry = new Registry();
  registry.apply("snapshot", { members: [], instances }, 1);
  for (const each of members) registry.apply(`member-${each.status}`, each, since[each.name] ?? 1);
  const ownStatus = [...members.map((each) => [each.name, each.status]), [observed?.observer, "alive"]];
  const told = observed && { ...observed, ownStatus };
  const state = { registry, node, policies: [], unreadable: [], checks, observed: told, panicked: false };
  return findProblems(state).map(({ key, level }) => [key, level]).sort();
});
console.log(JSON.stringify(found));
"""


def facts(cluster: dict[str, Any]) -> dict[str, Any]:
    made: dict[str, Any] = {"members": [], "since": {}, "instances": [], "checks": [], "observed": None}
    return made | cluster | {"node": WELL | cluster.get("node", {})}


@pytest.fixture(scope="module")
def on_the_page(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[list[str]]]:
    """What the page finds in each cluster: keys and levels."""
    if shutil.which("node") is None:
        pytest.skip("node is not installed (Debian: nodejs)")
    folder: Path = tmp_path_factory.mktemp("page")
    for file in FOLDER.glob("*.js"):
        shutil.copy(file, folder)
    (folder / "package.json").write_text('{"type": "module"}')
    (folder / "find.js").write_text(_SCRIPT)
    asked = json.dumps([facts(cluster) for cluster in CLUSTERS.values()])
    ran = subprocess.run(["node", "find.js", asked], cwd=folder, capture_output=True, text=True, check=True, timeout=60)
    return dict(zip(CLUSTERS, json.loads(ran.stdout), strict=True))


@pytest.mark.parametrize("what", CLUSTERS)
def test_top_and_the_page_find_the_same(what: str, on_the_page: dict[str, list[list[str]]]) -> None:
    found = find_problems(ClusterFacts(**facts(CLUSTERS[what])))
    assert sorted([each.key, each.level] for each in found) == on_the_page[what]
    assert bool(found) == (what != "nothing")


def test_the_gravest_come_first_and_say_why() -> None:
    found = find_problems(ClusterFacts(**facts(CLUSTERS["what members observe"])))
    assert [each.level for each in found] == sorted((each.level for each in found), key=["bad", "warn", "note"].index)
    assert found[0].title == "what web-2 sends to web-3 is lost"
    full = next(each for each in found if "disk" in each.title)
    assert full.why == "reported by web-2"
    down = next(each for each in find_problems(ClusterFacts(**facts(CLUSTERS["services"]))) if each.level == "bad")
    assert down.title
    assert {each.why for each in find_problems(ClusterFacts(**facts(CLUSTERS["services"])))} >= {
        "http: 500",
        "fenced: f",
    }


def test_a_name_that_another_node_has_is_one_problem() -> None:
    found = find_problems(ClusterFacts(**facts(CLUSTERS["the node"])))
    assert [each.key for each in found if "name" in each.title or "called" in each.title] == ["name"]


def test_that_a_failed_member_cannot_be_sent_to_is_no_problem_of_its_own() -> None:
    found = find_problems(ClusterFacts(**facts(CLUSTERS["a member that cannot be sent to"])))
    assert [each.title.partition(":")[0] for each in found] == ["member web-2 has failed", "cannot send to 10.0.0.3"]
