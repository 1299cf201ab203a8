"""What a node sees is grouped into applications, each instance once, and written down once until it changes."""

from __future__ import annotations

import json
from typing import Any

import attrs
import pytest

from gossipreg.frontends.eureka.applications import ApplicationCache, hash_code
from gossipreg.frontends.eureka.documents import FORMS, DocumentForm, DocumentFormat
from gossipreg.frontends.eureka.posted_instance import PostedInstance
from gossipreg.frontends.eureka.recent_changes import KEPT_SECONDS
from gossipreg.model import Health, Instance
from tests.frontends.eureka.posts import NOW, post
from tests.frontends.fake_node import FakeNode

JSON, XML = DocumentForm(DocumentFormat.JSON), DocumentForm(DocumentFormat.XML)


@attrs.define
class Clock:
    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def node() -> FakeNode:
    return FakeNode()


@pytest.fixture
def apps(node: FakeNode, clock: Clock) -> ApplicationCache:
    return ApplicationCache(node, clock)


def orders(id: str = "orders-1", **fields: Any) -> Instance:
    return attrs.evolve(Instance(id=id, service="orders", host="127.0.0.1", port=8080, owner="beta"), **fields)


def moved(owner: str, now: int = NOW, **fields: Any) -> Instance:
    """What comes of a post to ``owner`` at ``now`` (ms since 1970)."""
    spec = PostedInstance.read("ORDERS", post(), now).spec("host-1:orders:8080")
    return attrs.evolve(spec.instance(member=owner, host="127.0.0.1", zone=""), **fields)


def read(document: bytes) -> Any:
    return json.loads(document)["applications"]


async def everything(apps: ApplicationCache) -> Any:
    return read(await apps.everything(JSON))


async def changes(apps: ApplicationCache) -> dict[str, str]:
    """What is told to have changed: the action by id."""
    instances = [each for app in read(await apps.changes(JSON))["application"] for each in app["instance"]]
    return {each["instanceId"]: each["actionType"] for each in instances}


async def test_services_are_applications_in_upper_case(node: FakeNode, apps: ApplicationCache) -> None:
    node.hold(orders())
    node.hold(orders("b-1", service="Billing", port=9000))
    found = await everything(apps)
    assert [app["name"] for app in found["application"]] == ["BILLING", "ORDERS"]
    assert found["application"][1]["instance"][0]["port"] == {"$": 8080, "@enabled": "true"}


async def test_services_whose_names_differ_in_case_alone_meet(node: FakeNode, apps: ApplicationCache) -> None:
    node.hold(orders())
    node.hold(orders("orders-2", service="Orders"))
    [app] = (await everything(apps))["application"]
    assert {each["instanceId"] for each in app["instance"]} == {"orders-1", "orders-2"}


async def test_the_hash_code_counts_every_status(node: FakeNode, apps: ApplicationCache) -> None:
    assert hash_code(["UP", "DOWN", "UP", "OUT_OF_SERVICE"]) == "DOWN_1_OUT_OF_SERVICE_1_UP_2_"
    assert hash_code([]) == ""
    node.hold(orders())
    node.hold(orders("orders-2", health=Health.CRITICAL))
    node.hold(orders("orders-3", weight=0))
    assert (await everything(apps))["apps__hashcode"] == "DOWN_1_OUT_OF_SERVICE_1_UP_1_"
    assert read(await apps.changes(JSON))["apps__hashcode"] == "DOWN_1_OUT_OF_SERVICE_1_UP_1_"


async def test_an_answer_is_encoded_once_for_each_form(node: FakeNode, apps: ApplicationCache) -> None:
    node.hold(orders())
    asked = node.lookups
    first = {form: await apps.everything(form) for form in FORMS}
    lookups = node.lookups - asked
    for form in FORMS:
        assert await apps.everything(form) is first[form]
        assert await apps.changes(form) is await apps.changes(form)
    assert node.lookups - asked == lookups


async def test_only_what_has_changed_is_looked_at_again(node: FakeNode, apps: ApplicationCache) -> None:
    node.hold(orders())
    node.hold(orders("b-1", service="billing"))
    await apps.everything(XML)
    billing, asked = await apps.app("BILLING"), node.lookups
    node.hold(orders("orders-2"))
    await apps.everything(XML)
    assert node.lookups - asked == 2  # all of the orders, and those that are healthy
    assert await apps.app("BILLING") is billing


async def test_of_two_records_of_one_instance_the_healthy_one_is_shown(node: FakeNode, apps: ApplicationCache) -> None:
    node.hold(moved("alpha", health=Health.CRITICAL, host="10.0.0.1"))
    node.hold(moved("beta", host="10.0.0.2"))
    [app] = (await everything(apps))["application"]
    [shown] = app["instance"]
    assert (shown["ipAddr"], shown["status"]) == ("10.0.0.2", "UP")
    assert (await everything(apps))["apps__hashcode"] == "UP_1_"
    node.hold(moved("beta", host="10.0.0.2", health=Health.CRITICAL))
    node.hold(moved("alpha", host="10.0.0.1"))
    [app] = (await everything(apps))["application"]
    assert [each["ipAddr"] for each in app["instance"]] == ["10.0.0.1"]


async def test_a_lease_ends_with_the_node_that_held_it(node: FakeNode, apps: ApplicationCache, clock: Clock) -> None:
    node.hold(moved("beta"))
    node.hold(orders(owner="beta"))
    await apps.everything(XML)
    clock.now += KEPT_SECONDS
    node.hold(moved("beta", health=Health.CRITICAL, stale=True))
    node.hold(orders(owner="beta", health=Health.CRITICAL, stale=True))
    assert (await changes(apps)) == {"host-1:orders:8080": "DELETED", "orders-1": "MODIFIED"}
    [app] = (await everything(apps))["application"]
    assert [(each["instanceId"], each["status"]) for each in app["instance"]] == [("orders-1", "DOWN")]


async def test_an_application_without_instances_is_none(node: FakeNode, apps: ApplicationCache) -> None:
    node.hold(moved("beta", health=Health.CRITICAL, stale=True))
    assert (await everything(apps))["application"] == []


async def test_of_two_healthy_records_the_later_one_is_shown(node: FakeNode, apps: ApplicationCache) -> None:
    node.hold(moved("alpha", NOW, host="10.0.0.1"))
    node.hold(moved("beta", NOW + 1, host="10.0.0.2"))
    node.hold(moved("gamma", NOW, host="10.0.0.3"))
    [app] = (await everything(apps))["application"]
    assert [each["ipAddr"] for each in app["instance"]] == ["10.0.0.2"]


async def test_an_instance_that_moves_is_modified_not_deleted(
    node: FakeNode, apps: ApplicationCache, clock: Clock
) -> None:
    before, after = moved("alpha"), moved("beta", NOW + 5000)
    node.hold(before)
    await apps.everything(XML)
    node.hold(after)
    node.drop(before)
    clock.now += KEPT_SECONDS
    assert (await changes(apps)) == {"host-1:orders:8080": "MODIFIED"}


async def test_at_first_everything_may_be_news(node: FakeNode, apps: ApplicationCache, clock: Clock) -> None:
    node.hold(orders())
    assert (await changes(apps)) == {"orders-1": "MODIFIED"}
    node.hold(orders("orders-2"))
    assert (await changes(apps)) == {"orders-1": "MODIFIED", "orders-2": "ADDED"}
    clock.now += KEPT_SECONDS
    assert (await changes(apps)) == {}


async def test_then_only_what_came_changed_and_went_is(node: FakeNode, apps: ApplicationCache, clock: Clock) -> None:
    node.hold(orders())
    node.hold(orders("orders-2"))
    await apps.everything(XML)
    clock.now += KEPT_SECONDS
    assert (await changes(apps)) == {}
    node.hold(orders("orders-3"))
    assert (await changes(apps)) == {"orders-3": "ADDED"}
    node.fail_checks(orders())
    assert (await changes(apps)) == {"orders-3": "ADDED", "orders-1": "MODIFIED"}
    node.drop(orders("orders-2"))
    assert (await changes(apps)) == {"orders-3": "ADDED", "orders-1": "MODIFIED", "orders-2": "DELETED"}
    assert read(await apps.changes(JSON))["apps__hashcode"] == "DOWN_1_UP_1_"
    clock.now += KEPT_SECONDS
    assert (await changes(apps)) == {}


async def test_what_changed_between_requests_is_in_the_next_answers(
    node: FakeNode, apps: ApplicationCache, clock: Clock
) -> None:
    node.hold(orders())
    await apps.everything(XML)
    clock.now += 10 * KEPT_SECONDS
    node.drop(orders())
    node.hold(orders("orders-2"))
    clock.now += 10 * KEPT_SECONDS
    assert (await changes(apps)) == {"orders-1": "DELETED", "orders-2": "ADDED"}


async def test_what_no_client_could_see_is_no_change(node: FakeNode, apps: ApplicationCache, clock: Clock) -> None:
    node.hold(orders(health=Health.CRITICAL, reason="http: 500"))
    await apps.everything(XML)
    clock.now += KEPT_SECONDS
    node.hold(orders(health=Health.CRITICAL, reason="http: 503"))
    assert (await changes(apps)) == {}


async def test_every_change_has_another_version(node: FakeNode, apps: ApplicationCache) -> None:
    versions = set()
    for number in range(4):
        node.hold(orders(port=8000 + number))
        versions.add((await everything(apps))["versions__delta"])
        assert read(await apps.changes(JSON))["versions__delta"] in versions
    assert len(versions) == 4


async def test_instances_are_found_by_each_of_their_virtual_addresses(node: FakeNode, apps: ApplicationCache) -> None:
    node.hold(moved("beta"))
    node.hold(orders("b-1", service="billing"))
    for address, names in (("orders", ["ORDERS"]), ("orders-api", ["ORDERS"]), ("billing", ["BILLING"]), ("x", [])):
        found = read(await apps.at_address(address, JSON, secure=False))
        assert [app["name"] for app in found["application"]] == names
    assert read(await apps.at_address("orders-secure", JSON, secure=True))["application"]


async def test_an_instance_is_found_by_its_id_alone(node: FakeNode, apps: ApplicationCache) -> None:
    node.hold(orders())
    found = await apps.instance("orders-1")
    assert found is not None
    assert found.status == "UP"
    assert await apps.instance("orders-2") is None


async def test_nothing_at_all_is_an_empty_document(apps: ApplicationCache) -> None:
    assert (await everything(apps))["application"] == []
    assert await apps.app("ORDERS") is None
    assert b"<application>" not in await apps.everything(XML)
