"""A program that registers through Consul's API and through Eureka's has one instance in each view, and everywhere."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import httpx
import pytest
import trio

from gossipreg import Address, Config, Health, Instance, Node, open_node
from gossipreg.frontends.http import serve_http
from gossipreg.frontends.serving.compatibility_api import load
from gossipreg.frontends.serving.joint_registration import seen_by
from gossipreg.frontends.serving.kept_meta import CONSUL, EUREKA, JOINT
from tests.drills.waiting import eventually
from tests.frontends.eureka.posts import post

#: As the two clients of Spring Cloud call an application by default.
CONSUL_ID, EUREKA_ID = "orders-8080", "host-1:orders:8080"

OFFER: dict[str, Any] = {
    "Name": "orders",
    "ID": CONSUL_ID,
    "Address": "127.0.0.1",
    "Port": 8080,
    "Tags": ["v2"],
    "Meta": {"team": "a"},
    "Check": {"TTL": "30s"},
}


@attrs.frozen
class Program:
    """A program with both clients, at one agent, which is its node's."""

    http: httpx.AsyncClient
    node: Node

    async def offer_to_consul(self, **fields: Any) -> None:
        """Register by Consul's client, and pass its check."""
        answer = await self.http.put("/v1/agent/service/register", json=OFFER | fields)
        assert answer.status_code == 200, answer.text
        await self.beat()

    async def beat(self) -> int:
        """Pass the check of Consul's client; the status."""
        return (await self.http.put(f"/v1/agent/check/pass/service:{CONSUL_ID}")).status_code

    async def offer_to_eureka(self, **fields: Any) -> None:
        """Register by Eureka's client."""
        answer = await self.http.post("/eureka/apps/ORDERS", json=post(**fields))
        assert answer.status_code == 204, answer.text

    async def renew(self, id_: str = EUREKA_ID) -> int:
        """Renew the lease of Eureka's client; the status."""
        return (await self.http.put(f"/eureka/apps/ORDERS/{id_}")).status_code

    async def leave_consul(self) -> None:
        """Deregister by Consul's client."""
        assert (await self.http.put(f"/v1/agent/service/deregister/{CONSUL_ID}")).status_code == 200

    async def leave_eureka(self, id_: str = EUREKA_ID) -> None:
        """Cancel the lease."""
        assert (await self.http.delete(f"/eureka/apps/ORDERS/{id_}")).status_code == 200

    async def in_consul(self) -> list[dict[str, Any]]:
        """The rows of the service as Consul's clients see them."""
        return list((await self.http.get("/v1/health/service/orders")).json())

    async def in_eureka(self) -> list[dict[str, Any]]:
        """The instances of the application as Eureka's clients see them."""
        answer = await self.http.get("/eureka/apps/ORDERS", headers={"accept": "application/json"})
        return [] if answer.status_code == 404 else list(answer.json()["application"]["instance"])

    async def is_one_in_each_view(self) -> None:
        """Fail unless each API shows one instance, as its own client registered it, and lookups find one."""
        [row] = await self.in_consul()
        service = row["Service"]
        assert (service["ID"], service["Address"], service["Port"]) == (CONSUL_ID, "127.0.0.1", 8080)
        assert (service["Tags"], service["Meta"]) == (["v2"], {"team": "a"})
        assert {check["Status"] for check in row["Checks"]} == {"passing"}
        assert [check["CheckID"] for check in row["Checks"]] == ["serfHealth", f"service:{CONSUL_ID}"]
        [shown] = await self.in_eureka()
        assert (shown["instanceId"], shown["status"], shown["port"]["$"]) == (EUREKA_ID, "UP", 8080)
        assert shown["vipAddress"] == "orders,orders-api"
        assert shown["metadata"]["management.port"] == "8081"
        assert "team" not in shown["metadata"]
        assert "tags" not in shown["metadata"]
        [found] = self.node.lookup("orders")
        assert (found.id, found.tags) == (CONSUL_ID, ("v2",))
        assert {report.check.name for report in self.node.checks(CONSUL_ID)} == {"service", "lease"}


@asynccontextmanager
async def running(directory: Path | None = None) -> AsyncIterator[Program]:
    """A program beside an agent, which keeps its state in ``directory`` if there is one."""
    config = Config(name="alpha", bind="127.0.0.1:0", data_dir=directory)
    async with open_node(config) as node, trio.open_nursery() as nursery:
        serve = partial(serve_http, leave=lambda: None, compatibility_apis=load(["consul", "eureka"]))
        bound = await nursery.start(serve, node, Address("127.0.0.1", 0))
        async with httpx.AsyncClient(base_url=f"http://{bound}", trust_env=False) as http:
            yield Program(http, node)
        nursery.cancel_scope.cancel()


@pytest.fixture
async def program() -> AsyncIterator[Program]:
    async with running() as program:
        yield program


async def test_it_is_one_instance_whichever_client_comes_first() -> None:
    async with running() as program:
        await program.offer_to_consul()
        await program.offer_to_eureka()
        await program.is_one_in_each_view()
    async with running() as program:
        await program.offer_to_eureka()
        await program.offer_to_consul()
        await program.is_one_in_each_view()


async def test_both_at_once_are_one_instance(program: Program) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(program.offer_to_consul)
        nursery.start_soon(program.offer_to_eureka)
    await program.is_one_in_each_view()


async def test_each_client_goes_on_renewing_and_registering_its_own(program: Program) -> None:
    for _ in range(2):
        await program.offer_to_consul()
        await program.offer_to_eureka()
        assert (await program.beat(), await program.renew()) == (200, 200)
        await program.is_one_in_each_view()
    url = "/v1/agent/service/register?replace-existing-checks"
    assert (await program.http.put(url, json=OFFER)).status_code == 200
    await program.beat()
    await program.is_one_in_each_view()


async def test_one_id_in_both_is_one_instance_also_at_two_addresses(program: Program) -> None:
    await program.offer_to_consul(Address="localhost")
    await program.offer_to_eureka(instanceId=CONSUL_ID)
    assert (await program.beat(), await program.renew(CONSUL_ID)) == (200, 200)
    [row], [shown], [_] = await program.in_consul(), await program.in_eureka(), program.node.lookup("orders")
    assert (row["Service"]["ID"], row["Service"]["Address"]) == (CONSUL_ID, "localhost")
    assert (shown["instanceId"], shown["ipAddr"]) == (CONSUL_ID, "127.0.0.1")


async def test_a_host_that_is_called_by_its_name_in_one_is_the_same(program: Program) -> None:
    await program.offer_to_consul(Address="Host-1")
    await program.offer_to_eureka()
    [found] = program.node.lookup("orders", healthy=False)
    assert (found.id, found.host) == (CONSUL_ID, "127.0.0.1")


async def test_another_port_or_service_is_another_instance(program: Program) -> None:
    await program.offer_to_consul(Port=8081)
    await program.offer_to_eureka()
    assert {each.id for each in program.node.lookup("orders")} == {CONSUL_ID, EUREKA_ID}
    await program.leave_eureka()
    await program.offer_to_consul(Name="billing")
    await program.offer_to_eureka()
    assert [each.id for each in program.node.lookup("orders")] == [EUREKA_ID]
    assert [each.id for each in program.node.lookup("billing")] == [CONSUL_ID]


async def test_two_of_one_address_in_one_api_stay_two(program: Program) -> None:
    await program.offer_to_consul()
    await program.offer_to_consul(ID="orders-b", Check=None)
    await program.offer_to_eureka()
    assert len(program.node.lookup("orders", healthy=False)) == 3, "it is not told which of the two is meant"


async def test_when_consuls_client_leaves_eurekas_registration_is_whole(program: Program) -> None:
    await program.offer_to_eureka(metadata={"management.port": "8081", "weight": "3"})
    before = await program.in_eureka()
    await program.offer_to_consul()
    await program.leave_consul()
    assert await program.in_eureka() == before
    assert (await program.renew(), await program.beat()) == (200, 404)
    [found] = program.node.lookup("orders")
    assert (found.tags, found.weight, "team" in found.meta) == ((), 3, False)
    [report] = program.node.checks(found.id)
    assert (report.check.name, report.check.deregister_after) == ("lease", 40)
    await program.offer_to_eureka()
    assert len(program.node.lookup("orders")) == 1
    await program.offer_to_consul()
    await program.is_one_in_each_view()
    await program.leave_consul()
    await program.leave_eureka()
    assert program.node.lookup("orders", healthy=False) == ()


async def test_when_eurekas_client_leaves_consuls_registration_is_whole(program: Program) -> None:
    await program.offer_to_consul()
    before = await program.in_consul()
    await program.offer_to_eureka()
    await program.leave_eureka()
    assert await program.in_consul() == before
    assert (await program.renew(), await program.beat()) == (404, 200)
    [found] = program.node.lookup("orders")
    assert JOINT not in found.meta
    await program.leave_consul()
    assert await program.in_eureka() == []


async def test_it_is_called_only_while_the_checks_of_both_pass(program: Program) -> None:
    await program.offer_to_consul()
    await program.offer_to_eureka(status="STARTING")
    assert program.node.lookup("orders") == ()
    await program.offer_to_eureka()
    assert len(program.node.lookup("orders")) == 1
    await program.http.put(f"/v1/agent/check/fail/service:{CONSUL_ID}")
    assert program.node.lookup("orders") == ()
    assert [each["status"] for each in await program.in_eureka()] == ["DOWN"]


@pytest.mark.slow
async def test_a_lease_that_lapses_shows_in_both_and_removes_nothing_of_consuls(program: Program) -> None:
    await program.offer_to_consul()
    await program.offer_to_eureka(leaseInfo={"durationInSecs": 1})

    async def has_lapsed() -> None:
        assert [each["status"] for each in await program.in_eureka()] == ["DOWN"]

    await eventually(has_lapsed)
    await trio.sleep(2.5)  # for longer than the duration, after which a lease alone would be over
    [row] = await program.in_consul()
    states = {check["CheckID"]: check["Status"] for check in row["Checks"]}
    assert states == {
        "serfHealth": "passing",
        f"service:{CONSUL_ID}": "passing",
        f"service:{CONSUL_ID}:lease": "critical",
    }
    assert await program.renew() == 200
    await program.is_one_in_each_view()


async def test_maintenance_that_was_asked_for_before_they_were_joined_holds(program: Program) -> None:
    await program.offer_to_eureka()
    await program.http.put(f"/eureka/apps/ORDERS/{EUREKA_ID}/status?value=OUT_OF_SERVICE")
    await program.offer_to_consul()
    assert [each["status"] for each in await program.in_eureka()] == ["OUT_OF_SERVICE"]
    assert program.node.lookup("orders") == ()
    assert (await program.http.delete(f"/eureka/apps/ORDERS/{EUREKA_ID}/status")).status_code == 200
    await program.is_one_in_each_view()
    assert program.node.policies() == ()


async def test_metadata_and_checks_that_are_added_stay_with_their_api(program: Program) -> None:
    await program.offer_to_consul()
    await program.offer_to_eureka()
    assert (await program.http.put(f"/eureka/apps/ORDERS/{EUREKA_ID}/metadata?color=red")).status_code == 200
    more = {"Name": "disk", "ServiceID": CONSUL_ID, "TTL": "30s", "Status": "passing"}
    assert (await program.http.put("/v1/agent/check/register", json=more)).status_code == 200
    [shown], [row] = await program.in_eureka(), await program.in_consul()
    assert shown["metadata"]["color"] == "red"
    assert row["Service"]["Meta"] == {"team": "a"}
    assert [check["CheckID"] for check in row["Checks"]] == ["serfHealth", f"service:{CONSUL_ID}", "disk"]
    await program.leave_consul()
    [shown] = await program.in_eureka()
    assert (shown["status"], shown["metadata"]["color"]) == ("UP", "red")
    assert [report.check.name for report in program.node.checks(CONSUL_ID)] == ["lease"]


async def test_a_check_that_is_called_as_one_of_eurekas_is_refused(program: Program) -> None:
    await program.offer_to_eureka()
    answer = await program.http.put(
        "/v1/agent/service/register", json=OFFER | {"Check": {"CheckID": "lease", "TTL": "30s"}}
    )
    assert answer.status_code == 400
    assert "choose another name" in answer.text
    assert [each.id for each in program.node.lookup("orders")] == [EUREKA_ID]


async def test_it_is_one_instance_after_a_restart_of_the_agent(tmp_path: Path) -> None:
    async with running(tmp_path) as program:
        await program.offer_to_eureka()
        await program.offer_to_consul()
    async with running(tmp_path) as program:
        assert (await program.beat(), await program.renew()) == (200, 200)
        await program.is_one_in_each_view()


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{", '{"eureka.instance": 1}', '{"eureka.instance": {"tags": []}}', '{"eureka.instance": {"tags": 1}}'],
)
def test_what_another_node_wrote_and_is_no_joint_registration_is_ignored(text: str) -> None:
    instance = Instance(
        id="a",
        service="s",
        host="127.0.0.1",
        port=1,
        owner="n",
        health=Health.PASSING,
        meta={JOINT: text, EUREKA: "{}"},
    )
    assert seen_by(instance, EUREKA) is instance
    assert seen_by(instance, CONSUL) is instance


def test_a_share_of_wrong_types_is_ignored() -> None:
    share: dict[str, Any] = {
        "id": "b",
        "service": "s",
        "host": "127.0.0.1",
        "port": 1,
        "tags": [],
        "meta": {},
        "weight": 1,
        "zone": None,
        "role": None,
        "term": 0,
        "lapses": {},
    }
    instance = Instance(id="a", service="s", host="127.0.0.1", port=1, owner="n")
    for field, wrong in {"id": 1, "port": "1", "meta": {"a": 1}, "tags": [1], "lapses": {"a": "b"}}.items():
        told = attrs.evolve(instance, meta={JOINT: json.dumps({EUREKA: share | {field: wrong}})})
        assert seen_by(told, EUREKA).id == "a", field
    told = attrs.evolve(instance, meta={JOINT: json.dumps({EUREKA: share})})
    assert seen_by(told, EUREKA).id == "b"
