from __future__ import annotations

from typing import Any

import attrs
import httpx
import pytest
import trio
import trio.testing

from gossipreg import limits
from gossipreg.errors import NameConflict, StorageError
from gossipreg.frontends.http.exports import Exports
from gossipreg.frontends.serving.dispatcher import Dispatcher
from gossipreg.model import Address, Health, Instance, Status
from gossipreg.node_info import JoinFailure
from gossipreg.observations import ObserverReport
from gossipreg.regional import CellInfo
from tests.frontends.fake_node import FakeNode, member
from tests.frontends.wire import acceptor, ask, dial, get


@pytest.fixture
def fake() -> FakeNode:
    node = FakeNode()
    for number, tag in ((1, "v1"), (2, "v2")):
        node.hold(Instance(id=f"o{number}", service="orders", host="10.0.0.1", port=number, tags=(tag,), owner="beta"))
    return node


async def test_a_node_describes_itself(client: httpx.AsyncClient) -> None:
    answer = await client.get("/api/v1/node")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert "date" in answer.headers
    assert answer.json() == {
        "name": "alpha",
        "version": "0.1.0",
        "protocol": 1,
        "cluster": "default",
        "region": "default",
        "address": "127.0.0.1:7940",
        "generation": 1_700_000_000_000,
        "incarnation": 0,
        "zone": "north",
        "local_health": 0,
        "isolated": False,
        "silence": 0.0,
        "reachable": 1.0,
        "joined": True,
        "join_failures": {},
        "draining": False,
        "leaving": False,
        "serving_last_known": False,
        "fingerprint": "0123456789abcdef",
        "members": {"alive": 1},
        "forgotten": 0,
        "services": 1,
        "instances": 2,
        "counters": {"packets_sent": 12, "packets_received": 11},
        "paths": {},
        "clock_skew": None,
        "send_errors": {"EPERM": 1},
        "name_conflict": None,
        "problems": [],
        "warnings": [],
    }


async def test_a_running_node_is_healthy(client: httpx.AsyncClient) -> None:
    answer = await client.get("/healthz")
    assert answer.status_code == 200
    assert answer.json() == {"status": "ok", **(await client.get("/api/v1/node")).json()}


async def test_a_node_is_ready_once_it_has_joined_and_until_it_leaves(
    client: httpx.AsyncClient, fake: FakeNode
) -> None:
    fake.joined = False
    answer = await client.get("/readyz")
    assert (answer.status_code, answer.json()) == (503, {"ready": False, "reason": "not joined: no seed has answered"})
    fake.join_failures = (JoinFailure("seed", "refused", "nothing listens there"),)
    assert (await client.get("/readyz")).json()["reason"] == "not joined: seed: nothing listens there"
    assert (await client.get("/healthz")).status_code == 200
    fake.joined, fake.draining = True, True
    answer = await client.get("/readyz")
    assert (answer.status_code, answer.json()) == (200, {"ready": True, "reason": ""})
    fake.leaving = True
    assert (await client.get("/readyz")).status_code == 503


async def test_a_member_that_failed_can_be_forgotten_and_no_other(client: httpx.AsyncClient, fake: FakeNode) -> None:
    fake.see("failed", member("beta", 7941, Status.FAILED))
    fake.see("alive", member("gamma", 7942))
    assert (await client.delete("/api/v1/members/beta")).status_code == 204
    refused = await client.delete("/api/v1/members/gamma")
    assert refused.status_code == 409
    sentence = "'gamma' is alive: only a member that failed can be forgotten"
    assert refused.json() == {"error": sentence, "code": "member_present"}
    assert (await client.delete("/api/v1/members/missing")).status_code == 404


async def test_a_leaving_node_is_not_healthy_but_still_answers(client: httpx.AsyncClient, fake: FakeNode) -> None:
    fake.draining = fake.leaving = True
    health = await client.get("/healthz")
    assert (health.status_code, health.json()["status"]) == (503, "leaving")
    assert (await client.get("/api/v1/services/orders")).status_code == 200


async def test_a_node_drains_and_asks_for_work_again_and_is_well_meanwhile(client: httpx.AsyncClient) -> None:
    assert (await client.put("/api/v1/drain")).json() == {"draining": True}
    health = await client.get("/healthz")
    assert (health.status_code, health.json()["status"], health.json()["draining"]) == (200, "draining", True)
    assert (await client.delete("/api/v1/drain")).json() == {"draining": False}
    assert (await client.get("/healthz")).json()["status"] == "ok"


KNOWN = "all, tag, zone, role, panic, stated, region, failover, failover_threshold, index, wait"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/healthz"),
        ("GET", "/readyz"),
        ("GET", "/api/v1/node"),
        ("GET", "/api/v1/members"),
        ("GET", "/api/v1/services"),
        ("GET", "/api/v1/services/orders"),
        ("GET", "/api/v1/events"),
        ("DELETE", "/api/v1/instances/o1"),
    ],
)
async def test_a_closed_node_says_so(client: httpx.AsyncClient, fake: FakeNode, method: str, path: str) -> None:
    fake.close()
    await trio.testing.wait_all_tasks_blocked()
    answer = await client.request(method, path)
    assert answer.status_code == 503
    assert "closed" in answer.json()["error"]


async def test_members_are_listed_with_their_status(client: httpx.AsyncClient, fake: FakeNode) -> None:
    fake.see("suspect", member("beta", 7941, Status.SUSPECT))
    assert (await client.get("/api/v1/members")).json()["members"][1] == {
        "name": "beta",
        "address": "127.0.0.1:7941",
        "status": "suspect",
        "generation": 1_700_000_000_000,
        "incarnation": 0,
        "zone": "north",
        "draining": False,
        "round_trip": None,
        "version": None,
        "protocol": 1,
    }
    fake.round_trips["beta"] = 0.0012345678
    assert (await client.get("/api/v1/members")).json()["members"][1]["round_trip"] == 0.001235


async def test_members_are_asked_for_their_versions_on_request_and_once_for_each_run(
    client: httpx.AsyncClient, fake: FakeNode
) -> None:
    async def versions(query: str = "?versions") -> list[str | None]:
        return [each["version"] for each in (await client.get(f"/api/v1/members{query}")).json()["members"]]

    fake.see("alive", member("beta", 7941))
    fake.reports = (ObserverReport("alpha", "", version="0.1.0"), ObserverReport("beta", "", version="0.2.0"))
    assert await versions("") == [None, None]
    assert fake.observed == 0
    assert await versions() == ["0.1.0", "0.2.0"]
    assert await versions() == await versions("") == ["0.1.0", "0.2.0"]
    assert fake.observed == 1
    fake.see("alive", attrs.evolve(member("beta", 7941), generation=1_700_000_000_001))
    assert await versions("") == ["0.1.0", None], "it was started anew, perhaps as another release"


async def test_services_are_counted(client: httpx.AsyncClient, fake: FakeNode) -> None:
    fake.fail_checks(fake.lookup("orders")[0])
    assert (await client.get("/api/v1/services")).json() == {"services": {"orders": {"instances": 2, "healthy": 1}}}


async def test_a_lookup_gives_every_field_of_an_instance(client: httpx.AsyncClient, fake: FakeNode) -> None:
    answer = await client.get("/api/v1/services/orders", params={"tag": "v2"})
    assert answer.json() == {
        "index": fake.index("orders"),
        "instances": [
            {
                "id": "o2",
                "service": "orders",
                "host": "10.0.0.1",
                "port": 2,
                "tags": ["v2"],
                "meta": {},
                "weight": 1,
                "role": None,
                "term": 0,
                "zone": "",
                "health": "passing",
                "owner": "beta",
                "reason": "",
                "sealed": False,
                "stale": False,
            }
        ],
    }


async def test_a_lookup_of_an_unknown_service_is_empty(client: httpx.AsyncClient) -> None:
    answer = await client.get("/api/v1/services/nothing%20of%20the%20kind")
    assert (answer.status_code, answer.json()) == (200, {"index": 1, "instances": []})


@pytest.mark.parametrize(("query", "found"), [("all", 2), ("all=true", 2), ("all=1", 2), ("all=false", 1), ("", 1)])
async def test_instances_that_cannot_serve_are_given_when_asked_for(
    client: httpx.AsyncClient, fake: FakeNode, query: str, found: int
) -> None:
    fake.fail_checks(fake.lookup("orders")[0])
    answer = await client.get(f"/api/v1/services/orders?{query}")
    assert len(answer.json()["instances"]) == found


async def test_a_lookup_can_be_narrowed_by_zone_and_role(client: httpx.AsyncClient, fake: FakeNode) -> None:
    fake.hold(Instance(id="o3", service="orders", host="h", port=3, zone="eu", role="primary", owner="beta"))
    answer = await client.get("/api/v1/services/orders", params={"zone": "eu", "role": "primary"})
    assert [each["id"] for each in answer.json()["instances"]] == ["o3"]


@pytest.mark.parametrize(("query", "found"), [("?panic=0.5", ["o3"]), ("?panic=0", []), ("", [])])
async def test_what_was_lost_is_given_in_a_panic(
    client: httpx.AsyncClient, fake: FakeNode, query: str, found: list[str]
) -> None:
    fake.hold(Instance(id="o3", service="orders", host="h", port=3, owner="gone", stale=True))
    answer = await client.get(f"/api/v1/services/orders{query}")
    assert [each["id"] for each in answer.json()["instances"] if each["stale"]] == found


async def test_answers_in_a_panic_are_asked_of_the_node_each_time(client: httpx.AsyncClient, fake: FakeNode) -> None:
    for _ in range(3):
        await client.get("/api/v1/services/orders?panic=0.5")
    assert fake.lookups == 3


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ("panic=2", "panic: '2' is not a share from 0 to 1"),
        ("panic=nan", "panic: 'nan' is not a share from 0 to 1"),
        ("panic=half", "panic: 'half' is not a share from 0 to 1"),
        ("all=maybe", "all: 'maybe' is neither true, false, 1 nor 0"),
        ("tag=", "tag: is empty: write tag=VALUE, or leave it out"),
        ("tags=v1", f"/api/v1/services/NAME has no query parameter 'tags': it knows {KNOWN}"),
        ("tag=v1&tag=v2", "the query gives 'tag' twice"),
        ("tag=%ff", "the query 'tag=%ff' is not UTF-8 under its percent signs"),
    ],
)
async def test_a_query_that_cannot_be_used_is_refused(client: httpx.AsyncClient, query: str, sentence: str) -> None:
    answer = await client.get(f"/api/v1/services/orders?{query}")
    assert (answer.status_code, answer.json()) == (400, {"error": sentence, "code": "bad_request"})


async def test_an_instance_is_registered_as_it_was_written(client: httpx.AsyncClient, fake: FakeNode) -> None:
    written = {
        "id": "host/1:8080",
        "service": "search",
        "host": "10.0.0.9",
        "port": 8080,
        "tags": ["v2", "größer"],
        "meta": {"team": "a"},
        "weight": 3,
        "role": "primary",
        "term": 7,
        "zone": "south",
    }
    answer = await client.put("/api/v1/instances", json=written)
    assert answer.status_code == 201
    standing = {"health": "passing", "owner": "alpha", "reason": "", "sealed": False, "stale": False}
    assert answer.json() == {**written, **standing}
    assert fake.own("host/1:8080") is not None


async def test_what_is_left_out_is_the_nodes_to_choose(client: httpx.AsyncClient) -> None:
    answer = await client.put("/api/v1/instances", json={"service": "search", "port": 8080, "id": None})
    assert answer.status_code == 201
    assert answer.json()["host"] == "127.0.0.1"
    assert answer.json()["zone"] == "north"
    assert answer.json()["weight"] == 1


async def test_registering_an_id_again_replaces_the_instance(client: httpx.AsyncClient, fake: FakeNode) -> None:
    body = {"service": "search", "port": 8080, "id": "s1"}
    assert (await client.put("/api/v1/instances", json=body)).status_code == 201
    answer = await client.put("/api/v1/instances", json={**body, "port": 8081})
    assert answer.status_code == 200
    assert [each.port for each in fake.lookup("search")] == [8081]


async def test_registering_again_without_an_id_replaces_the_instance_too(client: httpx.AsyncClient) -> None:
    body = {"service": "search", "port": 8080}
    assert (await client.put("/api/v1/instances", json=body)).status_code == 201
    assert (await client.put("/api/v1/instances", json=body)).status_code == 200
    assert (await client.put("/api/v1/instances", json={**body, "port": 8081})).status_code == 201


class FullNode(FakeNode):
    async def deregister(self, id: str) -> None:
        raise StorageError("data_dir: no space left")


async def test_what_the_node_cannot_do_is_answered_with_its_sentence(caplog: pytest.LogCaptureFixture) -> None:
    async with trio.open_nursery() as nursery:
        request = b"DELETE /api/v1/instances/a HTTP/1.1\r\nHost: localhost\r\n\r\n"
        [answer] = await ask(dial(acceptor(FullNode()), nursery), request)
    assert (answer.status, answer.error) == (500, "data_dir: no space left")
    assert "data_dir: no space left" in caplog.text


class OustedNode(FakeNode):
    async def wait_closed(self) -> None:
        raise NameConflict("another alpha is older")


async def test_a_node_that_lost_its_name_says_so(nursery: trio.Nursery) -> None:
    listener = acceptor(OustedNode())
    assert isinstance(listener.handler, Dispatcher)
    await listener.handler.close_with_node()
    [answer] = await ask(dial(listener, nursery), get("/api/v1/members"))
    assert (answer.status, answer.error) == (503, "another alpha is older")


async def test_a_body_is_json_whatever_its_content_type_says(client: httpx.AsyncClient) -> None:
    body = b'{"service": "search", "port": 8080}'
    answer = await client.put("/api/v1/instances", content=body, headers={"Content-Type": "text/plain"})
    assert answer.status_code == 201


async def test_an_instance_that_the_node_refuses_is_answered_with_its_sentence(client: httpx.AsyncClient) -> None:
    answer = await client.put("/api/v1/instances", json={"service": "search", "port": 70_000})
    assert answer.status_code == 400
    sentence = "port: 70000 is not a whole number from 0 to 65535"
    assert answer.json() == {"error": sentence, "code": "invalid_instance", "field": "port"}


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_body_that_is_too_large_is_refused_with_the_reason(client: httpx.AsyncClient, chunked: bool) -> None:
    async def pieces() -> Any:
        for _ in range(100):
            yield b" " * 10_000

    answer = await client.put("/api/v1/instances", content=pieces() if chunked else b" " * 1_000_000)
    assert answer.status_code == 413
    assert f"over {2 * limits.RECORD_BYTES_MAX} bytes" in answer.json()["error"]


async def test_an_instance_is_removed_under_its_decoded_id(client: httpx.AsyncClient, fake: FakeNode) -> None:
    await fake.register("search", port=80, id="host/1:80%")
    answer = await client.delete("/api/v1/instances/host%2F1%3A80%25")
    assert (answer.status_code, answer.content) == (204, b"")
    assert fake.own("host/1:80%") is None


async def test_an_instance_of_another_node_is_not_removed(client: httpx.AsyncClient) -> None:
    answer = await client.delete("/api/v1/instances/o1")
    assert answer.status_code == 404
    assert answer.json() == {"error": "this node owns no instance 'o1'", "code": "unknown_instance"}


async def test_leave_is_answered_and_passed_on(client: httpx.AsyncClient, left: list[str]) -> None:
    answer = await client.post("/api/v1/leave")
    assert (answer.status_code, answer.json()) == (202, {"status": "leaving"})
    assert left == ["leave"]


@pytest.mark.parametrize("path", ["/healthz", "/api/v1/node", "/api/v1/services/orders", "/api/v1/services/none"])
async def test_head_is_get_without_the_body(client: httpx.AsyncClient, path: str) -> None:
    head, get = await client.head(path), await client.get(path)
    assert head.status_code == get.status_code
    assert head.headers["content-length"] == get.headers["content-length"] == str(len(get.content))
    assert head.content == b""


@pytest.mark.parametrize("path", ["services/orders?", "services?", "events?service=orders&"])
async def test_another_region_is_unknown_and_the_own_one_is_answered(
    client: httpx.AsyncClient, fake: FakeNode, path: str
) -> None:
    refused = await client.get(f"/api/v1/{path}region=eu")
    assert refused.status_code == 404
    assert refused.json() == {
        "error": "no region 'eu' is known here: this node is in 'default'",
        "code": "unknown_region",
    }
    if "events" not in path:
        asked, own = [await client.get(f"/api/v1/{path}{query}") for query in ("", "region=default")]
        assert (own.status_code, own.content) == (200, asked.content)


async def test_another_region_is_answered_with_its_age(client: httpx.AsyncClient, fake: FakeNode) -> None:
    well = Instance(id="o1", service="shop", host="10.1.0.1", port=80, tags=("v2",), owner="beta")
    sick = attrs.evolve(well, id="o2", health=Health.CRITICAL)
    fake.hold_elsewhere("eu", "shop", well, sick, age=12.34, stale=True)
    answer = await client.get("/api/v1/services/shop?region=eu")
    assert [(each["id"], each["region"], each["stale"]) for each in answer.json()["instances"]] == [("o1", "eu", True)]
    assert {"region": "eu", "index": 8, "stale": True}.items() <= answer.json().items()
    assert (answer.headers["x-gossipreg-age"], answer.headers["x-gossipreg-index"]) == ("12.4", "8"), "rounded up"
    for query, ids in (("&all", ["o1", "o2"]), ("&tag=v2", ["o1"]), ("&tag=v1", []), ("&zone=x", []), ("&role=x", [])):
        answer = await client.get(f"/api/v1/services/shop?region=eu{query}")
        assert [each["id"] for each in answer.json()["instances"]] == ids
    listed = (await client.get("/api/v1/services?region=eu")).json()
    assert listed == {"region": "eu", "stale": False, "services": {"shop": {"instances": None, "healthy": None}}}
    regions = (await client.get("/api/v1/regions")).json()["regions"]
    assert [(each["name"], each["own"]) for each in regions] == [("default", True), ("eu", False)]
    failed_over = await client.get("/api/v1/services/shop?failover=eu")
    assert (failed_over.json()["region"], failed_over.headers["x-gossipreg-age"]) == ("eu", "12.4")
    assert failed_over.json()["stale"]
    for query in (
        "region=eu&stated",
        "region=eu&panic=0.5",
        "region=eu&failover=eu",
        "failover=eu&zone=a",
        "failover=eu&failover_threshold=2",
        "failover=eu,",
    ):
        assert (await client.get(f"/api/v1/services/shop?{query}")).status_code == 400, query
    for query in ("failover=eu&index=1", "failover=eu,", "failover_threshold=false", "region="):
        assert (await client.get(f"/api/v1/services/shop?{query}")).status_code == 400, query
    assert (await client.get("/api/v1/services/shop?failover=asia")).status_code == 404
    assert (await client.get("/api/v1/events?region=eu")).status_code == 400
    fake.cut = True
    refused = await client.get("/api/v1/services/shop?region=eu")
    assert (refused.status_code, refused.json()["code"]) == (503, "region_unavailable")


async def test_members_of_other_cells_are_listed_when_they_are_asked_for(
    client: httpx.AsyncClient, fake: FakeNode
) -> None:
    fake.see("joined", attrs.evolve(member("gamma", 7942), cell="b", stale=True))
    assert [each["name"] for each in (await client.get("/api/v1/members")).json()["members"]] == ["alpha"]
    listed = (await client.get("/api/v1/members?all_cells")).json()["members"]
    assert [(each["name"], each["cell"], each["stale"]) for each in listed] == [
        ("alpha", "", False),
        ("gamma", "b", True),
    ]
    assert (listed[1]["round_trip"], listed[1]["version"]) == (None, None)


async def test_followers_are_told_of_owners_in_all_cells(fake: FakeNode) -> None:
    fake.see("joined", attrs.evolve(member("gamma", 7942), cell="b"))
    assert sorted(Exports(fake).members()) == ["alpha", "gamma"]


async def test_cells_are_shown_with_their_relays_and_ages(client: httpx.AsyncClient, fake: FakeNode) -> None:
    assert (await client.get("/api/v1/cells")).json() == {"cells": []}
    peers = (Address("10.0.0.7", 7940),)
    there = CellInfo(name="b", members=2, relays=("a", "b"), peers=peers, age=None, stale=True, problem="silent")
    fake.of_cells = (CellInfo(name="a", own=True, members=3), there)
    [own, other] = (await client.get("/api/v1/cells")).json()["cells"]
    assert (own["own"], own["members"], own["age"], own["stale"]) == (True, 3, 0.0, False)
    assert other == {
        "name": "b",
        "own": False,
        "members": 2,
        "failed": 0,
        "instances": 0,
        "relays": ["a", "b"],
        "peers": ["10.0.0.7:7940"],
        "age": None,
        "stale": True,
        "problem": "silent",
    }
