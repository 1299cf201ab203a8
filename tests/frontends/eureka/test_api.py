"""Each thing that Eureka's clients ask for is answered as they expect; what is wrong is said, and changes nothing."""

from __future__ import annotations

import hashlib
import xml.etree.ElementTree as ET
from collections.abc import Callable
from typing import Any

import attrs
import httpx
import pytest
import trio

from gossipreg.check import Check
from gossipreg.frontends.eureka.instance_document import KEPT, reason_of
from gossipreg.frontends.eureka.posted_instance import LEASE, STATUS
from gossipreg.frontends.eureka.trees import Tree
from gossipreg.frontends.serving.access import Access, Token
from gossipreg.frontends.serving.scopes import Scope
from gossipreg.hosts import flaw
from gossipreg.model import Health, Instance
from gossipreg.policy import Maintenance
from tests.frontends.eureka.conftest import Client, basic
from tests.frontends.eureka.posts import in_json, in_xml, post
from tests.frontends.fake_node import FakeNode
from tests.fuzz.targets.eureka import require_types

ID = "host-1:orders:8080"
THEIRS = Instance(id="theirs", service="orders", host="10.0.0.2", port=8080, owner="beta")


def token(name: str, text: str, *scopes: Scope) -> Token:
    return Token(name, hashlib.sha256(text.encode()).digest(), frozenset(scopes))


async def test_a_client_registers_with_204_and_reads_what_it_posted(client: Client, fake: FakeNode) -> None:
    answer = await client.post(post())
    assert (answer.status_code, answer.content) == (204, b"")
    instance = fake.own(ID)
    assert instance is not None
    assert (instance.service, instance.host, instance.port) == ("orders", "127.0.0.1", 8080)
    shown = (await client.shown())[ID]
    assert shown["vipAddress"] == "orders,orders-api"
    assert shown["metadata"] == {"management.port": "8081", "weight": "1", "zone": "north"}


@pytest.mark.parametrize("root", ["/eureka", "/eureka/v2"])
@pytest.mark.parametrize("encoded", [in_json, in_xml])
async def test_xml_and_json_are_taken_at_both_roots(
    client: Client, root: str, encoded: Callable[[Tree], bytes]
) -> None:
    there = Client(client.http, root)
    assert (await there.ask("POST", "apps/orders", encoded(post("orders")))).status_code == 204
    assert list(await there.shown()) == [ID]


async def test_answers_are_xml_unless_json_is_asked_for(client: Client) -> None:
    await client.post(post())
    for path in ("apps", "apps/", "apps/delta", "apps/orders", f"apps/ORDERS/{ID}", f"instances/{ID}", "vips/orders"):
        xml, json = await client.ask("GET", path, accept="*/*"), await client.ask("GET", path)
        assert xml.headers["content-type"] == "application/xml"
        assert json.headers["content-type"] == "application/json"
        assert ET.fromstring(xml.text).tag == next(iter(json.json()))


async def test_renewals_are_heartbeats_for_the_lease(client: Client, fake: FakeNode) -> None:
    await client.post(post())
    assert [check.name for check in fake.checked[ID]] == [LEASE]
    fake.beats.clear()
    assert (await client.ask("PUT", f"apps/orders/{ID}")).status_code == 200
    assert fake.beats == [(ID, LEASE, Health.PASSING, "")]


async def test_an_instance_that_is_starting_says_so_until_it_is_up(client: Client, fake: FakeNode) -> None:
    await client.post(post(status="STARTING"))
    assert [check.name for check in fake.checked[ID]] == [LEASE, STATUS]
    assert (ID, STATUS, Health.CRITICAL, "STARTING") in fake.beats
    await client.post(post())
    assert [check.name for check in fake.checked[ID]] == [LEASE]


async def test_a_renewal_of_what_is_not_here_has_the_client_register(client: Client, fake: FakeNode) -> None:
    fake.hold(THEIRS)
    for id_ in ("missing", "theirs"):
        answer = await client.ask("PUT", f"apps/ORDERS/{id_}")
        assert answer.status_code == 404
        assert answer.content == b"", "some clients read an instance from it"
    await client.post(post())
    assert (await client.ask("PUT", f"apps/BILLING/{ID}")).status_code == 404


async def test_a_renewal_of_something_newer_has_the_client_register(client: Client) -> None:
    await client.post(post(lastDirtyTimestamp="2000"))
    for dirty, status in (("1999", 200), ("2000", 200), ("2001", 404), ("soon", 400)):
        answer = await client.ask("PUT", f"apps/ORDERS/{ID}?status=UP&lastDirtyTimestamp={dirty}")
        assert answer.status_code == status, dirty


async def test_a_renewal_of_what_another_client_registered_has_this_one_register(
    client: Client, fake: FakeNode
) -> None:
    await fake.register("orders", port=8080, id="native", checks=[Check(ttl=5)])
    assert (await client.ask("PUT", "apps/ORDERS/native")).status_code == 404
    assert not fake.beats


@pytest.mark.parametrize("id_", ["ns/app-1", "http://host-1:8080/app", "a//b", "a/../b"])
async def test_an_id_with_slashes_is_the_rest_of_the_path(client: Client, fake: FakeNode, id_: str) -> None:
    """Eureka's clients do not encode them, and its server takes no request for such an instance."""
    http = httpx.URL(str(client.http.base_url)).netloc.decode()

    async def ask(method: str, rest: str = "", query: str = "") -> tuple[int, bytes]:
        request = f"{method} /eureka/apps/ORDERS/{id_}{rest}{query} HTTP/1.0\r\nHost: {http}\r\n\r\n"
        host, _, port = http.partition(":")
        stream = await trio.open_tcp_stream(host, int(port))
        async with stream:
            await stream.send_all(request.encode())
            answer = b"".join([part async for part in stream])
        head, _, body = answer.partition(b"\r\n\r\n")
        return int(head.split()[1]), body

    await client.post(post(instanceId=id_))
    assert (await ask("GET"))[0] == 200
    assert (await ask("PUT"))[0] == 200
    assert (await ask("PUT", "/metadata", "?team=b"))[0] == 200
    assert (await client.shown())[id_]["metadata"]["team"] == "b"
    assert (await ask("PUT", "/status", "?value=OUT_OF_SERVICE"))[0] == 200
    assert fake.rules
    assert (await ask("DELETE", "/status"))[0] == 200
    assert (await ask("DELETE"))[0] == 200
    assert fake.own(id_) is None


@pytest.mark.parametrize(
    "odd",
    [
        {"isCoordinatingDiscoveryServer": True},
        {"another": {"a": "b"}},
        {"vipAddress": 5},
        {"countryId": "x"},
        {"metadata": {"a": 1.5, "c": None}},
        {"leaseInfo": {"durationInSecs": "x"}},
        {"actionType": {"a": 1}},
        {"lastUpdatedTimestamp": {}},
    ],
)
async def test_no_post_makes_a_list_unreadable(client: Client, odd: dict[str, Any]) -> None:
    """Every field is printed in the one type that Netflix's and other decoders expect."""
    tree: Any = post()
    tree["instance"] |= odd
    assert (await client.post(tree)).status_code == 204
    for path in ("apps", "apps/delta", "apps/ORDERS", "vips/orders"):
        document = (await client.ask("GET", path)).json()
        app = document["application"] if path == "apps/ORDERS" else document["applications"]["application"]
        for each in app if isinstance(app, list) else [app]:
            for instance in each["instance"]:
                require_types(instance)


async def test_in_xml_an_override_has_another_key_than_in_json(client: Client) -> None:
    await client.post(post())
    instance = ET.fromstring((await client.ask("GET", f"apps/ORDERS/{ID}", accept="*/*")).text)
    assert instance.findtext("overriddenstatus") == "UNKNOWN"
    assert instance.find("overriddenStatus") is None
    shown = (await client.shown())[ID]
    assert shown["overriddenStatus"] == "UNKNOWN"
    assert "overriddenstatus" not in shown


@pytest.mark.parametrize("word", ["compact", "COMPACT"])
async def test_the_compact_form_has_only_what_callers_need(client: Client, word: str) -> None:
    cloud = {"instance-id": "i-1", "ami-id": "ami-1"}
    amazon = {"@class": "com.netflix.appinfo.AmazonInfo", "name": "Amazon", "metadata": cloud}
    await client.post(post(dataCenterInfo=amazon, asgName="group"))
    headers: Any = {"x-eureka-accept": word}
    for path in ("apps", "apps/delta", "vips/orders", "svips/orders-secure", "apps/ORDERS"):
        document = (await client.ask("GET", path, **headers)).json()
        app = document["application"] if path == "apps/ORDERS" else document["applications"]["application"][0]
        [shown] = app["instance"]
        assert shown["dataCenterInfo"]["metadata"] == {"instance-id": "i-1"}
        assert isinstance(shown["lastUpdatedTimestamp"], int)
        assert shown.keys() == {
            *("instanceId", "app", "ipAddr", "vipAddress", "secureVipAddress", "dataCenterInfo", "hostName", "status"),
            *("lastUpdatedTimestamp", "actionType", "asgName", "port", "securePort"),
        }
    alone = (await client.ask("GET", f"apps/ORDERS/{ID}", **headers)).json()["instance"]
    assert "metadata" in alone, "one instance is whole, as it is with Eureka's server"
    headers["x-eureka-accept"] = "full"
    full = (await client.ask("GET", "apps/ORDERS", **headers)).json()
    assert "metadata" in full["application"]["instance"][0]


async def test_the_hash_code_of_a_virtual_address_is_that_of_its_instances(client: Client, fake: FakeNode) -> None:
    await client.post(post())
    fake.hold(Instance(id="b-1", service="billing", host="10.0.0.2", port=8080, owner="beta"))
    for path, counts in (
        ("vips/orders", "UP_1_"),
        ("svips/orders-secure", "UP_1_"),
        ("vips/none", ""),
        ("apps", "UP_2_"),
    ):
        assert (await client.ask("GET", path)).json()["applications"]["apps__hashcode"] == counts


async def test_what_the_client_changed_last_holds_and_not_what_arrived_last(client: Client) -> None:
    await client.post(post(lastDirtyTimestamp="2000", vipAddress="new"))
    assert (await client.post(post(lastDirtyTimestamp="1000", vipAddress="old"))).status_code == 204
    assert (await client.shown())[ID]["vipAddress"] == "new"
    await client.post(post(lastDirtyTimestamp="3000", vipAddress="newer"))
    assert (await client.shown())[ID]["vipAddress"] == "newer"


@pytest.mark.parametrize("key", ["overriddenstatus", "overriddenStatus"])
async def test_a_posted_override_is_one(client: Client, fake: FakeNode, key: str) -> None:
    await client.post(post(**{"overriddenstatus": None, key: "OUT_OF_SERVICE"}))
    rule = Maintenance("orders", ID, reason_of("OUT_OF_SERVICE"))
    assert fake.rules == {rule.key: rule}
    await client.post(post())
    assert fake.rules, "the client does not know of it, and leaves it alone"


async def test_a_posted_override_does_not_hold_for_another_nodes_instance(client: Client, fake: FakeNode) -> None:
    fake.hold(attrs.evolve(THEIRS, id=ID))
    await client.post(post(overriddenstatus="OUT_OF_SERVICE"))
    assert not fake.rules


async def test_an_instance_is_taken_back(client: Client, fake: FakeNode) -> None:
    await client.post(post())
    assert (await client.ask("DELETE", f"apps/orders/{ID}")).status_code == 200
    assert fake.own(ID) is None
    assert (await client.ask("DELETE", f"apps/orders/{ID}")).status_code == 404
    assert await client.shown() == {}


async def test_metadata_is_added_to(client: Client, fake: FakeNode) -> None:
    await client.post(post(metadata={"team": "a", "weight": "2"}))
    assert (await client.ask("PUT", f"apps/ORDERS/{ID}/metadata?team=b&weight=5&new=x%20y")).status_code == 200
    instance = fake.own(ID)
    assert instance is not None
    assert instance.weight == 5
    assert (await client.shown())[ID]["metadata"] == {"team": "b", "weight": "5", "new": "x y", "zone": "north"}
    assert (await client.ask("PUT", "apps/ORDERS/missing/metadata?a=b")).status_code == 404


async def test_two_applications_of_a_host_may_use_one_id(client: Client, fake: FakeNode) -> None:
    for app in ("ORDERS", "BILLING"):
        assert (await client.post(post(app, instanceId="host-1"), app)).status_code == 204
    assert {app: list(await client.shown(app)) for app in ("ORDERS", "BILLING")} == {
        "ORDERS": ["host-1"],
        "BILLING": ["host-1"],
    }
    fake.beats.clear()
    assert (await client.ask("PUT", "apps/BILLING/host-1")).status_code == 200
    assert [id_ for id_, *_ in fake.beats] == ["billing:host-1"]
    await client.post(post("BILLING", instanceId="host-1"), "BILLING")
    assert (await client.ask("DELETE", "apps/ORDERS/host-1")).status_code == 200
    assert list(await client.shown("BILLING")) == ["host-1"]


async def test_no_registration_of_another_agent_is_written_over(client: Client, fake: FakeNode) -> None:
    await fake.register("web", port=80, id=ID)
    await fake.register("web", port=80, id=f"orders:{ID}")
    answer = await client.post(post())
    assert (answer.status_code, answer.text) == (
        400,
        f"instanceId: '{ID}' is taken by another service's instance: choose another",
    )


async def test_an_override_is_a_policy_for_all_nodes(client: Client, fake: FakeNode) -> None:
    await client.post(post())
    fake.hold(THEIRS)
    for id_ in (ID, "theirs"):
        assert (await client.ask("PUT", f"apps/ORDERS/{id_}/status?value=OUT_OF_SERVICE")).status_code == 200
        rule = Maintenance("orders", id_, reason_of("OUT_OF_SERVICE"))
        assert fake.rules[rule.key] == rule
        assert (await client.ask("DELETE", f"apps/ORDERS/{id_}/status?value=UP")).status_code == 200
        assert not fake.rules
    await client.ask("PUT", f"apps/ORDERS/{ID}/status?value=DOWN")
    assert (await client.ask("PUT", f"apps/ORDERS/{ID}/status?value=UP")).status_code == 200
    assert not fake.rules


async def test_an_override_ends_with_its_instance(client: Client, fake: FakeNode) -> None:
    await client.post(post())
    await client.ask("PUT", f"apps/ORDERS/{ID}/status?value=OUT_OF_SERVICE")
    await client.post(post())
    assert fake.rules, "it was registered again, and was there all the time"
    await client.ask("DELETE", f"apps/ORDERS/{ID}")
    assert not fake.rules
    await fake.set_policy(Maintenance("orders", ID, reason_of("OUT_OF_SERVICE")))
    await client.post(post())
    assert not fake.rules, "it was left from an earlier life"


async def test_an_operators_policy_is_not_undone(client: Client, fake: FakeNode) -> None:
    await fake.set_policy(Maintenance("orders", ID, "new disk"))
    await client.post(post())
    await client.ask("DELETE", f"apps/ORDERS/{ID}/status")
    await client.ask("PUT", f"apps/ORDERS/{ID}/status?value=UP")
    await client.ask("DELETE", f"apps/ORDERS/{ID}")
    assert fake.rules


@pytest.mark.parametrize(
    "path", ["apps/BILLING", "apps/ORDERS/missing", "instances/missing", "apps/BILLING/x", "nothing"]
)
async def test_what_is_not_there_is_not_found(client: Client, path: str) -> None:
    await client.post(post())
    answer = await client.ask("GET", path)
    assert answer.status_code == 404
    assert answer.headers["content-type"].startswith("text/plain")


async def test_an_unknown_virtual_address_is_an_empty_list(client: Client) -> None:
    answer = await client.ask("GET", "svips/missing")
    assert answer.json()["applications"]["application"] == []


async def test_a_method_that_is_not_for_a_path_is_refused(client: Client) -> None:
    answer = await client.ask("POST", "apps")
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, HEAD")


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (
            b"",
            (
                "cannot parse request body: this is neither JSON nor XML that can be read: "
                "Expecting value: line 1 column 1 (char 0)"
            ),
        ),
        (
            b"<instance>",
            "cannot parse request body: the body is not XML that can be read: no element found: line 1, column 10",
        ),
        (
            b"<!DOCTYPE x><x/>",
            "cannot parse request body: the body has a document type declaration: send it without <!DOCTYPE>",
        ),
        (b"{}", 'cannot parse request body: the body is neither {"instance": {...}} nor <instance>...</instance>'),
        (in_json(post(hostName=None)), "Missing hostname"),
        (in_json(post(app=None)), "cannot parse request body: app: is missing"),
        (in_json(post(app="")), "Missing appName"),
        (
            in_json(post(ipAddr="two words")),
            f"ipAddr: 'two words' is {flaw('two words')}",
        ),
        (in_json(post(metadata={KEPT: "x"})), f"metadata: the key {KEPT} is taken: choose another"),
    ],
)
async def test_a_malformed_body_is_refused_in_words_and_changes_nothing(
    client: Client, fake: FakeNode, body: bytes, sentence: str
) -> None:
    answer = await client.ask("POST", "apps/ORDERS", body)
    assert (answer.status_code, answer.text) == (400, sentence)
    assert answer.headers["content-type"].startswith("text/plain")
    assert not fake.services()
    assert not fake.beats


async def test_an_application_that_cannot_be_a_service_is_refused(client: Client, fake: FakeNode) -> None:
    answer = await client.post(post("MY APP"), "my%20app")
    assert answer.status_code == 400
    assert answer.text.startswith("service: 'my app' is not a name")
    assert not fake.services()


async def test_an_unknown_status_is_refused(client: Client) -> None:
    await client.post(post())
    answer = await client.ask("PUT", f"apps/ORDERS/{ID}/status?value=DANCING")
    assert (answer.status_code, answer.text.partition(" is ")[0]) == (400, "value: 'DANCING'")


class TestWithTokens:
    @pytest.fixture
    def access(self) -> Access:
        reader = token("reader", "r" * 20, Scope.READ)
        writer = token("writer", "w" * 20, Scope.READ, Scope.WRITE)
        operator = token("operator", "o" * 20, Scope.READ, Scope.WRITE, Scope.OPERATOR)
        return Access((reader, writer, operator))

    async def test_a_token_is_the_password_in_the_url(self, client: Client) -> None:
        for authorization in (basic("eureka", "w" * 20), basic("w" * 20, ""), f"Bearer {'w' * 20}"):
            answer = await client.ask("POST", "apps/ORDERS", in_json(post()), authorization=authorization)
            assert answer.status_code == 204

    async def test_without_one_a_client_is_asked_for_it(self, client: Client) -> None:
        for authorization in ("", basic("eureka", "guess"), "Basic !", "Basic"):
            answer = await client.ask("GET", "apps", authorization=authorization)
            assert answer.status_code == 401
            assert answer.headers["www-authenticate"] == 'Basic realm="gossipreg"'

    async def test_a_reader_may_not_register(self, client: Client, fake: FakeNode) -> None:
        allowed = basic("", "r" * 20)
        assert (await client.ask("GET", "apps", authorization=allowed)).status_code == 200
        assert (await client.ask("POST", "apps/ORDERS", in_json(post()), authorization=allowed)).status_code == 403
        assert not fake.services()

    async def test_only_an_operator_sets_the_status_of_what_another_node_owns(
        self, client: Client, fake: FakeNode
    ) -> None:
        fake.hold(THEIRS)
        path = "apps/ORDERS/theirs/status?value=DOWN"
        assert (await client.ask("PUT", path, authorization=basic("", "w" * 20))).status_code == 403
        assert (await client.ask("PUT", path, authorization=basic("", "o" * 20))).status_code == 200
