"""What the API registers, and what services tell it, with a real node behind it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
import trio

from gossipreg import Config, Node, limits, open_node
from gossipreg.check import CheckKind, CheckReport
from gossipreg.frontends.consul.posted import check_id, check_name
from gossipreg.frontends.serving import settling
from gossipreg.frontends.serving.access import Access
from gossipreg.model import Health, Status
from tests.frontends.consul.client import Client
from tests.frontends.fake_node import FakeNode, member


@pytest.fixture(autouse=True)
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """A node that has just been started is asked at once."""
    monkeypatch.setattr(settling, "SETTLE_SECONDS", 0.0)


@pytest.fixture
async def node() -> AsyncIterator[Node]:
    async with open_node(Config(name="alpha", bind="127.0.0.1:0")) as node:
        yield node


@pytest.fixture
def client(node: Node) -> Client:
    return Client(node)


TTL = {"TTL": "1m"}


async def test_a_registration_makes_an_ordinary_instance(node: Node, client: Client) -> None:
    await client.put(
        "agent/service/register",
        {
            "Name": "web",
            "ID": "web-1",
            "Address": "10.0.0.1",
            "Port": 80,
            "Tags": ["v2"],
            "Meta": {"team": "shop", "role": "primary", "term": "4"},
            "Weights": {"Passing": 5, "Warning": 2},
            "EnableTagOverride": True,
            "TaggedAddresses": {"wan": {"Address": "1.2.3.4", "Port": 80}},
            "Locality": {"Region": "eu", "Zone": "north"},
        },
    )
    [web] = node.lookup("web")
    assert (web.id, web.host, web.port, web.tags, web.weight) == ("web-1", "10.0.0.1", 80, ("v2",), 5)
    assert (web.role, web.term, web.zone, web.meta["team"]) == ("primary", 4, "north", "shop")


async def test_keys_are_read_however_they_are_written(node: Node, client: Client) -> None:
    await client.put(
        "agent/service/register",
        {
            "name": "web",
            "port": 80,
            "enabletagoverride": False,
            "tagged_addresses": {},
            "meta": {"weight": "7", "role": "not a role"},
            "checks": [
                {
                    "http": "http://127.0.0.1:1/",
                    "interval": "10s",
                    "tls_skip_verify": True,
                    "header": {"X-A": ["b", "c"]},
                },
                {"grpc": "127.0.0.1:1/web", "grpc_use_tls": True, "Interval": 15_000_000_000},
                {"tcp": "127.0.0.1:1", "interval": "1m30s", "deregister_critical_service_after": "90m"},
            ],
        },
    )
    web = node.own("web")
    assert web is not None
    assert (web.weight, web.role) == (7, None)
    http, grpc, tcp = (report.check for report in node.checks("web"))
    assert (http.http, http.interval, http.timeout, http.verify) == ("http://127.0.0.1:1/", 10, 10, False)
    assert http.headers == {"X-A": "b, c"}
    assert (grpc.grpc, grpc.tls, grpc.interval) == ("127.0.0.1:1/web", True, 15)
    assert (tcp.tcp, tcp.interval, tcp.deregister_after) == ("127.0.0.1:1", 90, 5400)
    assert list(await client.get("agent/checks")) == ["service:web:1", "service:web:2", "service:web:3"]


@pytest.mark.parametrize("ttl", ["1m30s", "90000ms", 90_000_000_000])
async def test_a_ttl_is_a_text_or_nanoseconds(ttl: object) -> None:
    fake = FakeNode()
    said = await Client(fake).ask("PUT", "agent/service/register", {**WEB, "Check": {"TTL": ttl}})
    assert said.status == 200, said
    assert [each.ttl for each in fake.checked["web"]] == [90.0]


async def test_a_check_begins_critical_and_follows_what_the_service_says(node: Node, client: Client) -> None:
    await client.put("agent/service/register", {"Name": "web", "Port": 80, "Check": TTL})
    assert node.lookup("web") == ()
    await client.put("agent/check/pass/service:web?note=fine")
    assert [each.health for each in node.lookup("web")] == [Health.PASSING]
    await client.put("agent/check/warn/service%3Aweb?note=slow")
    assert [each.health for each in node.lookup("web")] == [Health.WARNING]
    await client.put("agent/check/fail/service:web")
    assert node.lookup("web") == ()
    await client.put("agent/check/update/service:web", {"Status": "passing", "Output": "all is well"})
    assert [each.health for each in node.lookup("web")] == [Health.PASSING]
    assert (await client.get("agent/checks"))["service:web"]["Output"] == "all is well"


async def test_a_status_thresholds_and_a_name_are_kept(node: Node, client: Client) -> None:
    check = {
        "CheckID": "web alive!",
        "Name": "Is it alive?",
        "Notes": "asks nicely",
        "TTL": "1m",
        "Status": "passing",
        "SuccessBeforePassing": 3,
        "FailuresBeforeCritical": 2,
        "FailuresBeforeWarning": 1,
    }
    await client.put("agent/service/register", {"Name": "web", "Port": 80, "Checks": [check]})
    [report] = node.checks("web")
    assert (report.check.successes, report.check.failures, report.health) == (3, 2, Health.PASSING)
    shown = (await client.get("agent/checks"))["web alive!"]
    assert (shown["Name"], shown["Notes"], shown["Status"], shown["Type"]) == (
        "Is it alive?",
        "asks nicely",
        "passing",
        "ttl",
    )
    await client.put("agent/check/warn/web%20alive!")


async def test_a_check_is_found_by_its_id_after_the_agent_was_restarted(node: Node, client: Client) -> None:
    checks = [{"CheckID": "web alive!", "TTL": "1m"}, {"TTL": "1m"}]
    await client.put("agent/service/register", {"Name": "web", "Port": 80, "Checks": checks})
    forgetful = Client(node)
    await forgetful.put("agent/check/pass/web%20alive!")
    await forgetful.put("agent/check/pass/service:web:2")
    assert [each.id for each in node.lookup("web")] == ["web"]
    for id_ in await forgetful.get("agent/checks"):
        await forgetful.put(f"agent/check/pass/{id_}")


class AskedNode(FakeNode):
    """It remembers whose checks it was asked for."""

    asked: ClassVar[list[str | None]] = []

    def checks(self, id: str | None = None) -> tuple[CheckReport, ...]:
        self.asked.append(id)
        return super().checks(id)


async def test_a_heartbeat_is_found_without_looking_at_every_check() -> None:
    node = AskedNode()
    client = Client(node)
    for number in range(50):
        checks = [{"TTL": "1m"}, {"TTL": "1m", "CheckID": f"alive {number}"}]
        await client.put("agent/service/register", {"Name": "web", "ID": f"web:{number}", "Port": 80, "Checks": checks})
    node.asked.clear()
    await client.put("agent/check/pass/service:web:7:1")
    await client.put("agent/check/pass/alive%208")
    assert set(node.asked) == {"web:7", "web:8"}
    assert [beat[:2] for beat in node.beats] == [("web:7", "service.1"), ("web:8", check_name("alive 8", "web:8"))]


@pytest.mark.parametrize("name", ["service", "service.2", "http", "web-alive.12ab34cd"])
def test_the_id_of_a_check_leads_back_to_its_name(name: str) -> None:
    assert check_name(check_id(name, "web"), "web") == name


async def test_checks_that_are_not_named_again_stay_unless_told(node: Node, client: Client) -> None:
    service: dict[str, Any] = {"Name": "web", "Port": 80}
    await client.put("agent/service/register", {**service, "Check": {**TTL, "CheckID": "one"}})
    await client.put("agent/service/register", {**service, "Check": {**TTL, "CheckID": "two"}})
    assert [report.check.name for report in node.checks("web")] == ["one", "two"]
    await client.put(
        "agent/service/register?replace-existing-checks=true", {**service, "Check": {**TTL, "CheckID": "two"}}
    )
    assert [report.check.name for report in node.checks("web")] == ["two"]
    await client.put("agent/service/register?replace-existing-checks", service)
    assert node.checks("web") == ()


async def test_a_check_more_often_than_is_possible_is_made_as_often_as_is(node: Node, client: Client) -> None:
    await client.put("agent/service/register", {"Name": "web", "Port": 80})
    check = {"Name": "quick", "ServiceID": "web", "TCP": "127.0.0.1:1", "Interval": "10ns"}
    await client.put("agent/check/register", check)
    assert [each.check.interval for each in node.checks("web")] == [limits.CHECK_SECONDS_MIN]


async def test_checks_come_and_go_one_by_one(node: Node, client: Client) -> None:
    await client.put("agent/service/register", {"Name": "web", "Port": 80, "Meta": {"a": "b"}, "Tags": ["t"]})
    await client.put("agent/check/register", {"Name": "alive", "ServiceID": "web", "TTL": "1m"})
    await client.put("agent/check/register", {"ID": "more", "Name": "more", "service_id": "web", **TTL})
    assert node.lookup("web") == ()
    await client.put("agent/check/pass/alive")
    await client.put("agent/check/deregister/more")
    [web] = node.lookup("web")
    assert (web.meta["a"], web.tags) == ("b", ("t",))
    assert (await client.get("agent/service/web"))["Meta"] == {"a": "b"}


async def test_a_service_is_taken_out_back_in_and_away(node: Node, client: Client) -> None:
    await client.put("agent/service/register", {"Name": "web", "Port": 80})
    await client.put("agent/service/maintenance/web?enable=true&reason=new%20disk")
    [web] = node.lookup("web", healthy=False)
    assert (web.health, web.reason) == (Health.MAINTENANCE, "new disk")
    assert "_service_maintenance:web" in await client.get("agent/checks")
    await client.put("agent/service/maintenance/web?enable=false")
    assert [each.id for each in node.lookup("web")] == ["web"]
    await client.put("agent/service/deregister/web")
    assert node.lookup("web", healthy=False) == ()


async def test_a_member_that_failed_is_made_to_leave_and_a_live_one_never() -> None:
    there = FakeNode()
    there.see("failed", member("beta", 7941, Status.FAILED))
    there.see("alive", member("gamma", 7942))
    client = Client(there)
    await client.put("agent/force-leave/beta?prune")
    assert [each.status for each in there.members() if each.name == "beta"] == [Status.LEFT]
    await client.put("agent/force-leave/gamma")
    assert [each.status for each in there.members() if each.name == "gamma"] == [Status.ALIVE]
    unknown = await client.ask("PUT", "agent/force-leave/unknown")
    assert (unknown.status, unknown.text) == (500, "No node found with name 'unknown'")


async def test_the_maintenance_of_a_node_drains_it(node: Node, client: Client) -> None:
    await client.put("agent/service/register", {"Name": "web", "Port": 80})
    await client.put("agent/maintenance?enable=true&reason=reboot")
    assert [each.weight for each in node.lookup("web")] == [0]
    assert await client.get("health/service/web?passing") == []
    out = (await client.get("agent/checks"))["_node_maintenance"]
    assert (out["Notes"], out["Status"], out["ServiceID"]) == ("reboot", "critical", "")
    await client.put("agent/maintenance?enable=true")
    assert "no reason was provided" in (await client.get("agent/checks"))["_node_maintenance"]["Notes"]
    await client.put("agent/maintenance?enable=false")
    assert "_node_maintenance" not in await client.get("agent/checks")
    assert len(await client.get("health/service/web?passing")) == 1


async def test_what_clients_set_outlives_a_restart_of_the_agent(tmp_path: Path) -> None:
    async with open_node(Config(name="alpha", bind="127.0.0.1:0", data_dir=tmp_path)) as node:
        client = Client(node)
        for name in ("web", "api"):
            check = {"CheckID": f"{name}-alive", "TTL": "60s"}
            await client.put("agent/service/register", {"Name": name, "Port": 80, "Check": check})
        await client.put("agent/check/pass/web-alive")
        await client.put("agent/check/fail/api-alive?note=disk%20full")
        await client.put("agent/service/maintenance/api?enable=true&reason=new%20disk")
        await client.put("agent/maintenance?enable=true&reason=reboot")
    async with open_node(Config(name="alpha", bind="127.0.0.1:0", data_dir=tmp_path)) as node:
        client = Client(node)
        checks = await client.get("agent/checks")
        assert {id_: (row["Status"], row["Notes"] or row["Output"]) for id_, row in checks.items()} == {
            "web-alive": ("passing", ""),
            "api-alive": ("critical", "disk full"),
            "_node_maintenance": ("critical", "reboot"),
            "_service_maintenance:api": ("critical", "new disk"),
        }
        for path in ("agent/maintenance?enable=false", "agent/service/maintenance/api?enable=false"):
            await client.put(path)
        await client.put("agent/check/pass/api-alive")
        for name in ("web", "api"):
            assert len(await client.get(f"health/service/{name}?passing")) == 1


async def test_an_agent_joins_another_and_says_why_it_could_not() -> None:
    client = Client(FakeNode(joinable=("10.0.0.6:7940", "[fd00::6]:7940")))
    assert (await client.ask("PUT", "agent/join/10.0.0.6:7940")).status == 200
    assert (await client.ask("PUT", "agent/join/%5Bfd00::6%5D:7940?wan=")).status == 501
    assert (await client.ask("PUT", "agent/join/%5Bfd00::6%5D:7940?wan=0")).status == 200
    said = await client.ask("PUT", "agent/join/10.0.0.7")
    assert (said.status, said.text) == (
        500,
        "not joined: 10.0.0.7: nothing listens there: the connection is refused",
    )
    said = await client.ask("PUT", "agent/join/a%20b")
    assert (said.status, said.text.partition(":")[0]) == (400, "seeds")


async def test_an_agent_leaves_when_told(client: Client) -> None:
    await client.put("agent/leave")
    assert client.left == ["leave"]


@pytest.mark.parametrize("allowed", ["off", "own"])
async def test_a_command_is_not_taken_from_a_client_unless_the_agent_was_told_so(allowed: str) -> None:
    """``own`` is for the agent's own files."""
    node = FakeNode(command_checks=allowed)
    client = Client(node)
    check = {"args": ["/bin/true"], "interval": "10s"}
    said = await client.ask("PUT", "agent/service/register", {"Name": "web", "Port": 80, "Check": check})
    assert (said.status, node.own("web")) == (400, None)
    assert "Scripts are disabled" in said.text
    await client.put("agent/service/register", {"Name": "web", "Port": 80})
    said = await client.ask("PUT", "agent/check/register", {"Name": "sly", "ServiceID": "web", **check})
    assert (said.status, node.checked["web"]) == (400, ())
    assert "Scripts are disabled" in said.text


async def test_a_command_is_taken_where_commands_are() -> None:
    check = {"args": ["/bin/true"], "interval": "10s"}
    trusting = FakeNode(command_checks="api")
    await Client(trusting).put("agent/service/register", {"Name": "web", "Port": 80, "Check": check})
    assert [(each.kind, each.timeout) for each in trusting.checked["web"]] == [(CheckKind.COMMAND, 30)]


WEB: dict[str, Any] = {"Name": "web", "Port": 80}

MALFORMED: list[object] = [
    b"",
    b"{",
    b"[]",
    b"null",
    b'"web"',
    b"\xff",
    b"[" * 5000,
    {},
    {"Name": ""},
    {"Name": 3, "Port": 80},
    {"Name": "web", "Port": -1},
    {"Name": "web", "Port": "80"},
    {"Name": "web", "Meta": {"consul.service": "{}"}},
    {"Name": "web", "TaggedAddresses": {"lan": "10.0.0.1"}},
    {"Name": "web", "TaggedAddresses": {"lan": {"Address": "10.0.0.1", "Port": "80"}}},
    {"Name": "web", "Port": 80.5},
    {"Name": "web", "Port": 70000},
    {"Name": "web", "Port": True},
    {"Name": "no name!", "Port": 80},
    {**WEB, "ID": "white space"},
    {**WEB, "ID": "\ud800"},
    {**WEB, "Tags": "v2"},
    {**WEB, "Tags": [1]},
    {**WEB, "Meta": {"a": 1}},
    {**WEB, "Meta": []},
    {**WEB, "Weights": 3},
    {**WEB, "Weights": {"Passing": -1}},
    {**WEB, "Weights": {"Passing": "5"}},
    {**WEB, "Address": "not a host"},
    {**WEB, "Kind": "connect-proxy"},
    {**WEB, "SocketPath": "/run/web"},
    {"Name": "web", "SocketPath": 3},
    {**WEB, "Locality": "north"},
    {**WEB, "Checks": {}},
    {**WEB, "Checks": [3]},
    {**WEB, "Check": "http"},
    {**WEB, "Check": {"Name": "nothing"}},
    {**WEB, "Check": {"TTL": "soon"}},
    {**WEB, "Check": {"TTL": "0s"}},
    {**WEB, "Check": {"HTTP": "http://127.0.0.1:1/"}},
    {**WEB, "Check": {"HTTP": "nowhere", "Interval": "1s"}},
    {**WEB, "Check": {"HTTP": "http://127.0.0.1:1/", "Interval": "1s", "Header": "x"}},
    {**WEB, "Check": {"HTTP": "http://127.0.0.1:1/", "Interval": "1s", "Header": {"x": [1]}}},
    {**WEB, "Check": {"HTTP": "https://127.0.0.1:1/", "Interval": "1s", "TLSServerName": "web.internal"}},
    {**WEB, "Check": {"HTTP": "http://127.0.0.1:1/", "Interval": "1s", "Body": "x"}},
    {**WEB, "Check": {"TTL": "1m", "Status": "fine"}},
    {**WEB, "Check": {"TTL": "1m", "SuccessBeforePassing": "3"}},
    {**WEB, "Check": {"UDP": "127.0.0.1:1", "Interval": "1s"}},
    {**WEB, "Check": {"H2PING": "127.0.0.1:1", "Interval": "1s"}},
    {**WEB, "Check": {"Script": "true", "Interval": "1s"}},
    {**WEB, "Check": {"TCP": "127.0.0.1:1", "Interval": "1s", "TCPUseTLS": True}},
    {**WEB, "Checks": [{"TTL": "1m", "CheckID": "same"}, {"TTL": "1m", "CheckID": "same"}]},
]


@pytest.mark.parametrize("body", MALFORMED, ids=lambda body: repr(body)[:60])
async def test_a_malformed_service_is_refused_in_plain_text_and_changes_nothing(body: object) -> None:
    fake = FakeNode()
    said = await Client(fake).ask("PUT", "agent/service/register", body)
    assert said.status == 400, said
    assert said.headers["content-type"].startswith("text/plain")
    assert 5 < len(said.text) < 300
    assert not fake.services()


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("agent/check/register", b"{", 400),
        ("agent/check/register", {"TTL": "1m", "ServiceID": "web"}, 400),
        ("agent/check/register", {"Name": "x"}, 400),
        ("agent/service/register", {"Name": "gossipreg.node"}, 400),
        ("agent/service/register", {"Name": "web", "ID": "gossipreg.node"}, 400),
        ("agent/service/deregister/gossipreg.node", None, 404),
        ("agent/service/maintenance/gossipreg.node?enable=true", None, 404),
        ("agent/check/register", {"Name": "x", "ServiceID": "web"}, 400),
        ("agent/check/register", {"Name": "x", "ServiceID": "other", "TTL": "1m"}, 404),
        ("agent/check/register", {"Name": "x", "ServiceID": "web", "Args": ["x"], "Interval": "1s"}, 400),
        ("agent/check/update/service:web", b"", 400),
        ("agent/check/update/service:web", {"Status": "fine"}, 400),
        ("agent/check/update/service:web", {"Status": "passing", "Output": 3}, 400),
        ("agent/check/pass/missing", None, 404),
        ("agent/check/deregister/missing", None, 404),
        ("agent/check/pass/http", None, 400),
        ("agent/service/deregister/missing", None, 404),
        ("agent/service/maintenance/missing?enable=true", None, 404),
        ("agent/service/maintenance/web", None, 400),
        ("agent/maintenance?enable=perhaps", None, 400),
        ("agent/service/register?x=%ff", WEB, 400),
        ("agent/service/register", {**WEB, "Checks": [{"TTL": "1m"}] * 17}, 400),
        ("agent/nothing", None, 404),
        ("catalog/services", None, 405),
    ],
)
async def test_what_else_is_malformed_or_unknown_is_refused_and_changes_nothing(
    node: Node, client: Client, path: str, body: object, status: int
) -> None:
    checks = [TTL, {"CheckID": "http", "HTTP": "http://127.0.0.1:1/", "Interval": "1h"}]
    await client.put("agent/service/register", {**WEB, "Checks": checks})
    before = node.own("web"), [report.check for report in node.checks()]
    said = await client.ask("PUT", path, body)
    assert (said.status, said.headers["content-type"]) == (status, "text/plain; charset=utf-8"), said
    after = node.own("web")
    assert before[1] == [report.check for report in node.checks()]
    assert after is not None
    assert before[0] is not None
    assert (after.weight, after.tags) == (before[0].weight, before[0].tags)


async def test_checks_of_an_instance_with_credentials_are_left_alone() -> None:
    fake = FakeNode()
    await fake.register("db", id="db", port=1, credentials={"user": "x"})
    said = await Client(fake).ask("PUT", "agent/check/register", {"Name": "x", "ServiceID": "db", "TTL": "1m"})
    assert said.status == 409
    assert fake.secrets["db"] == {"user": "x"}


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "kv/config/web"),
        ("PUT", "kv/config/web"),
        ("DELETE", "kv/config/web"),
        ("GET", "kv/?recurse"),
        ("PUT", "session/create"),
        ("PUT", "txn"),
        ("GET", "acl/tokens"),
        ("PUT", "event/fire/deploy"),
        ("PUT", "coordinate/update"),
    ],
)
async def test_what_there_is_not_says_why_and_what_to_use(client: Client, method: str, path: str) -> None:
    said = await client.ask(method, path)
    assert said.status == 501
    assert said.text.startswith("gossipreg ")


TOKENS = """
[[tokens]]
name = "reader"
token = "reader-reader-reader"
scopes = ["read"]
[[tokens]]
name = "web"
token = "writer-writer-writer"
scopes = ["read", "write"]
"""


@pytest.fixture
def guarded(tmp_path: Any) -> Client:
    file = tmp_path / "tokens.toml"
    file.write_text(TOKENS)
    file.chmod(0o600)
    return Client(FakeNode(), Access.from_file(file))


async def test_without_the_right_token_permission_is_denied(guarded: Client) -> None:
    assert (await guarded.ask("GET", "catalog/services")).status == 403
    said = await guarded.ask("GET", "catalog/services?token=another-callers-token")
    assert (said.status, said.text) == (403, "ACL not found"), "clients compare these words"
    assert (await guarded.ask("GET", "catalog/services?token=reader-reader-reader")).status == 200
    said = await guarded.ask("PUT", "agent/service/register?token=reader-reader-reader", WEB)
    assert (said.status, said.headers["content-type"]) == (403, "text/plain; charset=utf-8")


async def test_two_that_change_the_checks_of_one_instance_at_once_both_succeed(node: Node, client: Client) -> None:
    await client.put("agent/service/register", WEB)
    async with trio.open_nursery() as nursery:
        for number in range(5):
            body = {"Name": f"check-{number}", "ServiceID": "web", "TTL": "1m"}
            nursery.start_soon(client.put, "agent/check/register", body)
    assert len(node.checks("web")) == 5
