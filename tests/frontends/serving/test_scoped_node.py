"""Tokens that are for some services only: what they may change and read, in every protocol."""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any, Final, cast

import pytest
import trio

from gossipreg import open_node
from gossipreg.agent_config import COMPATIBILITY_APIS
from gossipreg.errors import UnknownInstance
from gossipreg.frontends.serving.access import Access, Token
from gossipreg.frontends.serving.compatibility_api import load
from gossipreg.frontends.serving.joint_registration import seen_by
from gossipreg.frontends.serving.kept_meta import JOINT
from gossipreg.frontends.serving.node_api import NodeApi
from gossipreg.frontends.serving.response import HttpError
from gossipreg.frontends.serving.scoped_node import ScopedNode, watch
from gossipreg.frontends.serving.scopes import Grant, Scope
from gossipreg.model import Instance
from gossipreg.policy import Maintenance
from gossipreg.prepared_query import PreparedQuery
from gossipreg.spec import InstanceSpec
from tests.frontends.fake_node import FakeNode
from tests.frontends.scopes_page import every_route
from tests.frontends.test_scopes import BODIES, EUREKA, ask, target_of
from tests.frontends.wire import dispatcher
from tests.runtime.nodes import config

TOKEN: Final = "a-token-for-some-services"


def node() -> FakeNode:
    """It owns an instance of ``orders`` and one of ``pay``; another member has one of ``pay``, too."""
    fake = FakeNode()
    for id_, service, owner in (("o", "orders", fake.name), ("p", "pay", fake.name), ("q", "pay", "beta")):
        fake.hold(Instance(id=id_, service=service, host="127.0.0.1", port=80, owner=owner, sealed=b"s"))
        fake.secrets[id_] = {"user": "u"}
    rule = Maintenance("pay", "p")
    fake.rules[rule.key] = rule
    return fake


def access(*grants: str) -> Access:
    return Access((Token.of("ci", hashlib.sha256(TOKEN.encode()).digest(), map(Grant.read, grants)),))


async def status(fake: FakeNode, grants: str, method: str, target: str, body: Any = None) -> int:
    asked = dispatcher(fake, access(*grants.split()), *load(COMPATIBILITY_APIS))
    return (await ask(asked, method, target, body, TOKEN)).status


@pytest.mark.parametrize(
    ("method", "target", "body"),
    [
        ("PUT", "/api/v1/instances", {"service": "SERVICE", "port": 1}),
        ("PUT", "/api/v1/instances", [{"service": "SERVICE", "port": 1}]),
        ("PUT", "/v1/agent/service/register", {"Name": "SERVICE", "Port": 1}),
        ("POST", "/eureka/apps/SERVICE", EUREKA),
        ("DELETE", "/api/v1/instances/ID", None),
        ("PUT", "/api/v1/heartbeats/ID", None),
        ("PUT", "/api/v1/maintenance/ID", None),
        ("DELETE", "/api/v1/maintenance/ID", None),
        ("PUT", "/v1/agent/service/deregister/ID", None),
        ("PUT", "/v1/agent/service/maintenance/ID?enable=true", None),
        ("DELETE", "/eureka/apps/SERVICE/ID", None),
        ("PUT", "/eureka/apps/SERVICE/ID/status?value=DOWN", None),
    ],
    ids=str,
)
async def test_what_changes_an_instance_is_for_the_services_of_the_token(method: str, target: str, body: Any) -> None:
    outcomes = []
    for id_, service in (("o", "orders"), ("p", "pay")):
        text = "null" if body is None else json.dumps(body).replace("SERVICE", service).replace("ORDERS", service)
        path = target.replace("ID", id_).replace("SERVICE", service)
        outcomes.append(await status(node(), "write:orders", method, path, json.loads(text)))
    assert outcomes[0] < 300
    assert outcomes[1] == 403


async def test_an_instance_of_another_service_is_not_taken_over_by_its_id() -> None:
    fake, taken = node(), {"id": "p", "service": "orders", "port": 1}
    assert await status(fake, "write:orders", "PUT", "/api/v1/instances", taken) == 403
    own = fake.own("p")
    assert own is not None
    assert own.service == "pay"


async def test_of_many_instances_one_of_another_service_is_enough_to_refuse_all() -> None:
    fake = node()
    both = [{"service": "orders", "port": 1}, {"service": "pay", "port": 1}]
    assert await status(fake, "write:orders", "PUT", "/api/v1/instances", both) == 403
    assert fake.own_ids() == node().own_ids()
    assert await status(fake, "write:orders write:pay", "PUT", "/api/v1/instances", both) == 200


@pytest.mark.parametrize(
    ("grants", "service", "expected"),
    [
        ("policy:orders", "orders", 200),
        ("policy:orders", "pay", 403),
        ("policy:*", "pay", 200),
        ("policy:p*", "pay", 200),
        ("operator", "pay", 200),
        ("write", "pay", 403),
    ],
)
async def test_a_policy_is_for_a_token_that_is_for_policies_of_its_service(
    grants: str, service: str, expected: int
) -> None:
    body = {"service": service, "instance": "o", "weight": 3}
    assert await status(node(), grants, "PUT", "/api/v1/policies", body) == expected


async def test_a_policy_is_removed_by_a_token_for_its_service_only() -> None:
    path = "/api/v1/policies/maintenance:pay:p"
    assert await status(node(), "policy:orders", "DELETE", path) == 403
    assert await status(node(), "policy:pay", "DELETE", path) == 204
    assert await status(node(), "policy:orders", "DELETE", "/api/v1/policies/maintenance:none:x") == 403


@pytest.mark.parametrize(
    ("grants", "name", "service", "expected"),
    [
        ("policy:orders", "orders", "orders", 200),
        ("policy:orders", "pay", "orders", 403),  # it would answer in the place of pay
        ("policy:orders", "orders", "pay", 403),
        ("policy:orders policy:pay", "orders", "pay", 200),
        ("policy:O*", "ORDERS", "Other", 403),  # DNS asks for it as orders
        ("policy:O* policy:o*", "ORDERS", "Other", 200),
        ("policy", "any", "orders", 200),
        ("write", "orders", "orders", 403),
    ],
)
async def test_a_prepared_query_is_for_a_token_that_is_for_its_service_and_for_its_name(
    grants: str, name: str, service: str, expected: int
) -> None:
    fake = node()
    body = {"Name": name, "Service": {"Service": service}}
    assert await status(fake, grants, "POST", "/v1/query", body) == expected
    theirs = PreparedQuery("8f246b77-f3e1-ff88-5b48-8ec93abf3e05", "search", "search")
    fake.rules[theirs.key] = theirs
    path = f"/v1/query/{theirs.id}"
    allowed = 200 if grants == "policy" else 403
    assert await status(fake, grants, "PUT", path, {"Name": "orders2", "Service": {"Service": "orders"}}) == allowed
    assert await status(fake, grants, "DELETE", path) == allowed


async def test_a_template_answers_for_many_names_so_it_is_for_a_token_for_all_services() -> None:
    body = {"Name": "orders", "Template": {"Type": "name_prefix_match"}, "Service": {"Service": "orders"}}
    assert await status(node(), "policy:orders", "POST", "/v1/query", body) == 403
    assert await status(node(), "policy", "POST", "/v1/query", body) == 200


async def test_eurekas_override_of_another_agents_instance_is_a_policy_of_its_service() -> None:
    path = "/eureka/apps/PAY/q/status?value=OUT_OF_SERVICE"
    assert await status(node(), "write:pay", "PUT", path) == 403
    assert await status(node(), "write:pay policy:orders", "PUT", path) == 403
    assert await status(node(), "write:pay policy:pay", "PUT", path) == 200


@pytest.mark.parametrize(
    "target",
    [
        "/api/v1/services/SERVICE",
        "/api/v1/events?service=SERVICE",
        "/api/v1/changes?service=SERVICE",
        "/api/v1/http_sd?service=SERVICE",
        "/api/v1/picks/SERVICE",
        "/v1/health/service/SERVICE",
        "/v1/health/checks/SERVICE",
        "/v1/catalog/service/SERVICE",
    ],
)
async def test_what_is_about_one_service_is_shown_to_a_token_for_it(target: str) -> None:
    for grants, service, expected in (
        ("read:orders", "orders", 200),
        ("read:ord*", "orders", 200),
        ("read:orders", "pay", 403),
        ("read:orders", "Orders", 403),
        ("write:orders", "orders", 403),
    ):
        assert await status(node(), grants, "GET", target.replace("SERVICE", service)) == expected


async def test_credentials_are_for_a_token_for_those_of_the_service() -> None:
    for grants, expected in (("credentials:orders", 200), ("credentials:pay", 403), ("credentials", 200)):
        assert await status(node(), grants, "GET", "/api/v1/credentials/o?service=orders") == expected


@pytest.mark.parametrize("frontend", ["native", *COMPATIBILITY_APIS])
async def test_no_route_shows_or_changes_anything_of_another_service(frontend: str) -> None:
    grants = " ".join(f"{scope}:other" for scope in ("read", "write", "policy", "credentials"))
    for whose, method, pattern, action in every_route():
        if whose != frontend or action.scope is None:
            continue
        fake = node()
        before = (fake.own_ids(), dict(fake.rules), fake.beats.copy(), fake.draining)
        answer = await status(fake, grants, method, target_of(pattern), BODIES.get((method, pattern)))
        is_in_vain = pattern == "/v1/catalog/deregister"  # of a node that is not there
        assert answer in ((200,) if is_in_vain else (400, 403, 404)), (method, pattern, answer)
        assert (fake.own_ids(), dict(fake.rules), fake.beats.copy(), fake.draining) == before, (method, pattern)


def test_every_verb_that_changes_something_is_looked_at() -> None:
    verbs = {
        name
        for name, verb in vars(NodeApi).items()
        if inspect.iscoroutinefunction(verb) and not name.startswith(("wait_", "fetch", "observer_"))
    }
    assert verbs == {name for name, verb in vars(ScopedNode).items() if inspect.iscoroutinefunction(verb)} - {"_do"}


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ("read", "read:orders", True),
        ("read", "read", True),
        ("read:orders", "read:orders", True),
        ("read:orders", "read", False),
        ("read:o*", "read:orders", True),
        ("read:o*", "read:o*", True),
        ("read:o*", "read:or*", False),
        ("read:*o*", "read:o", True),
        ("read", "write:orders", False),
    ],
)
def test_a_grant_covers_another_if_it_is_for_all_of_it(one: str, other: str, expected: bool) -> None:
    assert Grant.read(one).covers(Grant.read(other)) is expected


@pytest.mark.parametrize(
    "text", ["", "reed", "read:", "read:a b", "operator:orders", "checks:orders", "read:-a", 7, None]
)
def test_what_is_no_grant_is_refused(text: object) -> None:
    with pytest.raises(ValueError, match=r"^(is none of|is not followed|cannot be for)"):
        Grant.read(text)


def test_grants_of_one_scope_add_up_and_the_whole_scope_stands_for_all() -> None:
    token = Token.of("ci", b"", map(Grant.read, ("read:a", "read:b", "write", "write:c")))
    assert list(map(str, token.grants)) == ["read:a", "read:b", "write"]
    assert token.scopes == {Scope.WRITE}
    assert [token.has(Scope.READ, each) for each in ("a", "b", "c", None)] == [True, True, False, False]


async def test_what_is_registered_while_a_change_waits_for_its_turn_is_not_taken_over(tmp_path: Path) -> None:
    """With a disk the registrar holds an id while it writes: who owned it before is asked once it is held."""
    token = Token.of("ci", b"", [Grant.read("write:orders")])
    async with open_node(config("ann", data_dir=tmp_path)) as ann:
        scoped = ScopedNode(cast("NodeApi", ann))
        outcomes: list[str] = []

        async def take(change: Callable[[], Awaitable[object]]) -> None:
            watch(token)
            try:
                await change()
            except HttpError as refused:
                outcomes.append(str(refused.status))
            except UnknownInstance:
                outcomes.append("unknown")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ann.register_spec, InstanceSpec(service="pay", id="x", port=1))
            await trio.lowlevel.checkpoint()
            spec = InstanceSpec(service="orders", id="x", port=2)
            nursery.start_soon(take, partial(scoped.register_spec, spec))
            nursery.start_soon(take, partial(scoped.register_many, [spec]))
            nursery.start_soon(take, partial(scoped.deregister, "x"))
            nursery.start_soon(take, partial(scoped.set_maintenance, "x", "mine"))
        own = ann.own("x")
        assert own is not None
        assert (own.service, own.health.can_serve, len(outcomes)) == ("pay", True, 4)
        assert set(outcomes) <= {"403", "unknown"}
        assert outcomes.count("403") >= 3


async def test_a_status_of_eurekas_leaves_an_operators_maintenance_alone() -> None:
    fake, path = node(), "/eureka/apps/ORDERS/o/status"
    operators = Maintenance("orders", "o", "operator: keep out")
    for grants in ("write:orders", "write"):
        fake.rules[operators.key] = operators
        assert await status(fake, grants, "PUT", f"{path}?value=DOWN") == 403
        assert await status(fake, grants, "DELETE", path) == 403
        again = json.loads(json.dumps(EUREKA).replace('"e"', '"o"'))
        again["instance"]["overriddenStatus"] = "OUT_OF_SERVICE"
        assert await status(fake, grants, "POST", "/eureka/apps/ORDERS", again) == 204
        assert fake.rules[operators.key] == operators
    assert await status(fake, "write policy", "PUT", f"{path}?value=DOWN") == 200


async def test_write_for_one_service_and_policies_of_another_make_no_policy_of_the_one() -> None:
    grants = "write:orders policy:pay"
    body = {"service": "orders", "instance": "o", "maintenance": "x"}
    assert await status(node(), grants, "PUT", "/api/v1/policies", body) == 403
    assert await status(node(), grants, "PUT", "/api/v1/policies", body | {"owner": "beta", "instance": "new"}) == 403
    fake = node()
    fake.rules["maintenance:orders:o"] = Maintenance("orders", "o")
    assert await status(fake, grants, "DELETE", "/api/v1/policies/maintenance:orders:o") == 403


async def test_a_policy_that_is_none_is_named_whatever_the_token() -> None:
    for service in (5, None, ["orders"]):
        body = {"service": service, "split": {"a": 1}}
        assert await status(node(), "policy:orders", "PUT", "/api/v1/policies", body) == 400


async def test_credentials_of_another_service_are_refused_whether_or_not_they_are_there() -> None:
    for id_ in ("p", "none"):
        path = f"/api/v1/credentials/{id_}?service=pay"
        assert await status(node(), "credentials:orders", "GET", path) == 403


def test_a_share_of_another_service_in_meta_is_ignored() -> None:
    share = {"id": "o", "service": "pay", "host": "6.6.6.6", "port": 66, "tags": [], "meta": {}, "weight": 1}
    share |= {"zone": "", "role": None, "term": 0, "lapses": {}}
    joint = {api: share | {"service": "orders"} for api in ("eureka.instance",)} | {"consul.service": share}
    instance = Instance(
        id="o", service="orders", host="127.0.0.1", port=80, owner="alpha", meta={JOINT: json.dumps(joint)}
    )
    assert seen_by(instance, "consul.service") == instance
    assert seen_by(instance, "eureka.instance").host == "6.6.6.6"
