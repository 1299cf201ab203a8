"""What a token of each scope may do over HTTP: every route of every frontend, asked with each."""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any, Final

import pytest
import trio

from gossipreg.agent_config import COMPATIBILITY_APIS
from gossipreg.check import Check
from gossipreg.frontends.serving.access import Access, Token
from gossipreg.frontends.serving.compatibility_api import load
from gossipreg.frontends.serving.dispatcher import Dispatcher
from gossipreg.frontends.serving.request import Request
from gossipreg.frontends.serving.response import DeferredResponse, Response
from gossipreg.frontends.serving.scopes import Action, Scope
from gossipreg.frontends.web import create_page
from gossipreg.model import Address, Instance, Status
from gossipreg.node_info import JoinFailure
from gossipreg.policy import Maintenance
from tests.frontends.fake_node import FakeNode, member
from tests.frontends.scopes_page import PAGE, every_route, with_table
from tests.frontends.wire import dispatcher

BOTH: Final = "a-token-that-is-for-two-scopes"

TOKENS: Final = {scope: f"a-token-that-is-for-{scope}" for scope in Scope}

HERE: Final = Address("127.0.0.1", 8500)

EUREKA: Final = {
    "instance": {
        "instanceId": "e",
        "hostName": "h",
        "app": "ORDERS",
        "ipAddr": "10.0.0.1",
        "status": "UP",
        "port": {"$": 80, "@enabled": "true"},
        "dataCenterInfo": {"@class": "com.netflix.appinfo.MyDataCenterInfo", "name": "MyOwn"},
    }
}

#: Bodies by method and pattern, where one is needed.
BODIES: Final[dict[tuple[str, str], Any]] = {
    ("PUT", "/api/v1/instances"): {"service": "orders", "port": 1},
    ("PUT", "/api/v1/keys"): {"key": "A" * 43 + "="},
    ("PUT", "/api/v1/primary_key"): {"id": "00000000"},
    ("PUT", "/api/v1/revocations"): {"revocation": "gossipreg-revocation-1 AAAA"},
    ("POST", "/api/v1/certificates"): {"request": "gossipreg-certificate-request-1 AAAA"},
    ("POST", "/api/v1/follow"): {"region": "us", "directory": "", "services": {}, "wait": 0},
    ("PUT", "/api/v1/tokens"): {"name": "t", "token_sha256": "0" * 64, "scopes": ["operator"]},
    ("PUT", "/api/v1/policies"): {"service": "orders", "instance": "a", "maintenance": "new disk"},
    ("POST", "/api/v1/join"): {"seeds": ["10.0.0.6:7940"]},
    ("PUT", "/v1/agent/service/register"): {"Name": "orders", "Port": 1},
    ("PUT", "/v1/catalog/register"): {"Node": "printer", "Address": "10.0.0.9"},
    ("PUT", "/v1/catalog/deregister"): {"Node": "printer"},
    ("PUT", "/v1/agent/check/register"): {"Name": "t", "ServiceID": "a", "TTL": "9s"},
    ("PUT", "/v1/agent/check/update/{id}"): {"Status": "passing"},
    ("POST", "/v1/query"): {"Name": "near", "Service": {"Service": "orders"}},
    ("POST", "/v3/discovery:endpoints"): {"resource_names": ["orders"]},
    ("POST", "/eureka/apps/{app}"): EUREKA,
    ("POST", "/eureka/v2/apps/{app}"): EUREKA,
}

#: What a path's placeholders stand for, so that something is there.
NAMES: Final = {
    "force-leave/{node}": "force-leave/gone",
    "check/deregister/{id}": "check/deregister/service:a:ttl",
    **{f"check/{word}/{{id}}": f"check/{word}/service:a:ttl" for word in ("pass", "warn", "fail", "update")},
    "{id}": "a",
    "{app}": "ORDERS",
    "{name}": "orders",
    "{node}": "alpha",
    "{address}": "10.0.0.6:7940",
    "{state}": "any",
    "{query}": "orders",
    "/ID": "/a",
    "services/NAME": "services/orders",
    "picks/NAME": "picks/orders",
    "roles/NAME": "roles/orders",
    "members/NAME": "members/gone",
    "tokens/NAME": "tokens/old",
    "/KEY": "/maintenance:orders:z",
}

QUERIES: Final = {
    "/api/v1/credentials/ID": "?service=orders",
    "/eureka/apps/{app}/{id}/status": "?value=DOWN",
    "/eureka/v2/apps/{app}/{id}/status": "?value=DOWN",
    "/v1/agent/maintenance": "?enable=true",
    "/v1/agent/service/maintenance/{id}": "?enable=true",
}


def node() -> FakeNode:
    fake = FakeNode()
    checks = (Check(ttl=9, name="ttl"), Check(http="http://127.0.0.1:1/", name="web"))
    fake.hold(Instance(id="a", service="orders", host="127.0.0.1", port=80, owner=fake.name, term=1))
    fake.checked["a"] = checks
    fake.secrets["a"] = {"user": "u"}
    rule = Maintenance("orders", "z")
    fake.rules[rule.key] = rule
    fake.see("failed", member("gone", 7941, Status.FAILED))
    return fake


def token_for(text: str, *scopes: Scope) -> Token:
    return Token(str(scopes[0]), hashlib.sha256(text.encode()).digest(), frozenset(scopes))


def access_of(*more: Token) -> Access:
    """A token for each scope, and ``more``."""
    return Access((*(token_for(text, scope) for scope, text in TOKENS.items()), *more))


def listener(fake: FakeNode, access: Access | None = None) -> Dispatcher:
    return dispatcher(fake, access_of() if access is None else access, *load(COMPATIBILITY_APIS), create_page())


async def ask(
    asked: Dispatcher, method: str, target: str, body: Any = None, token: str | None = None, **fields: Any
) -> Response:
    sent = b"" if body is None else json.dumps(body).encode()
    request = Request(
        method, target, fields.pop("authority", str(HERE)), announces_body=bool(sent), body=sent, token=token, **fields
    )
    reply = await asked.answer(request, b"name")
    if isinstance(reply, DeferredResponse):
        reply = await reply.answer(0)
    return reply if isinstance(reply, Response) else Response(200)  # an event stream


def target_of(pattern: str) -> str:
    path = pattern + QUERIES.get(pattern, "")
    for name, value in NAMES.items():
        path = path.replace(name, value)
    return re.sub(r"\{[^}]*\}", "x", path)


ROUTES: Final = list(every_route())


@pytest.mark.parametrize("frontend", ["native", "web", *COMPATIBILITY_APIS])
async def test_every_route_is_for_a_token_of_its_scope_and_for_no_other(frontend: str) -> None:
    for whose, method, pattern, action in ROUTES:
        if whose != frontend:
            continue
        for token in (None, "a-token-of-no-caller", *TOKENS.values()):
            answer = await ask(listener(node()), method, target_of(pattern), BODIES.get((method, pattern)), token)
            where = (method, pattern, token, answer)
            if action.scope is None or token in {TOKENS[each] for each in (action.scope, action.also) if each}:
                good = (501,) if action is Action.ABSENT else (200, 201, 202, 204, 308, 404)
                assert answer.status in good, where
            elif token in TOKENS.values() or whose == "consul":
                assert answer.status == 403, where
            else:
                assert answer.status == 401, where


def test_the_page_lists_every_route_as_it_is() -> None:
    text = PAGE.read_text()
    assert with_table(text) == text, "run `python -m tests.frontends.scopes_page`"
    for _, method, pattern, action in ROUTES:
        shown = pattern.replace("/eureka/v2/", "/eureka/")
        assert f"`{shown}`" in text if action is Action.ABSENT else f"`{method} {shown}`" in text


def test_the_page_of_the_api_lists_every_scope() -> None:
    text = PAGE.with_name("http-api.md").read_text()
    table = text.split("| scope | for |\n|---|---|\n", 1)[1].split("\n\n", 1)[0]
    assert re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE) == list(Scope)


def test_eureka_asks_for_the_same_at_both_of_its_places() -> None:
    places = {(method, pattern): action for whose, method, pattern, action in ROUTES if whose == "eureka"}
    assert all(
        places[method, path.replace("/eureka/", "/eureka/v2/", 1)] is action
        for (method, path), action in places.items()
        if not path.startswith("/eureka/v2/")
    )


_MORE: Final = {
    Action.SET_POLICY: (Scope.POLICY, Scope.OPERATOR),
    Action.FOLLOW: (Scope.FEDERATE, None),
    Action.REQUEST_CERTIFICATE: (None, None),  # the request shows what its node is entitled to
}


def test_what_reads_is_for_readers_and_what_is_about_more_than_an_own_instance_for_operators() -> None:
    own = {Action.REGISTER, Action.REPORT_HEALTH, Action.SET_MAINTENANCE}
    for _, method, pattern, action in ROUTES:
        if action is Action.ABSENT or pattern == "/v3/discovery:endpoints":  # which Envoy can only POST
            assert action.scope is Scope.READ
        elif method == "GET" and action not in (Action.MANAGE_KEYS, Action.MANAGE_TOKENS):
            assert action.scope in (Scope.READ, Scope.CREDENTIALS, None), pattern
        else:
            wanted = (action.scope, action.also)
            needed = (Scope.WRITE, None) if action in own else _MORE.get(action, (Scope.OPERATOR, None))
            assert wanted == needed, pattern
    assert {action.scope for action in own} == {Scope.WRITE}


# What is within a route


ELSEWHERE: Final = [
    (
        "PUT",
        "/api/v1/instances",
        {"service": "orders", "port": 1, "host": "10.0.0.5", "checks": [{"http": "http://HOST/"}]},
    ),
    ("PUT", "/api/v1/instances", {"service": "orders", "port": 1, "host": "10.0.0.5", "checks": [{"tcp": "HOST:1"}]}),
    ("PUT", "/api/v1/instances", {"service": "orders", "port": 1, "host": "10.0.0.5", "checks": [{"grpc": "HOST:1"}]}),
    (
        "PUT",
        "/v1/agent/service/register",
        {"Name": "orders", "Port": 1, "Address": "10.0.0.5", "Check": {"HTTP": "http://HOST/", "Interval": "9s"}},
    ),
    (
        "PUT",
        "/v1/agent/service/register",
        {
            "Name": "orders",
            "Port": 1,
            "Address": "10.0.0.5",
            "Checks": [{"TCP": "HOST:1", "Interval": "9s"}],
        },
    ),
    ("PUT", "/v1/agent/check/register", {"Name": "t", "ServiceID": "b", "TCP": "HOST:1", "Interval": "9s"}),
]


@pytest.mark.parametrize(("method", "path", "body"), ELSEWHERE)
@pytest.mark.parametrize(
    ("host", "is_local"),
    [
        *((host, True) for host in ("127.0.0.1", "localhost", "10.0.0.5", "[::ffff:127.0.0.1]", "[::1]")),
        *((host, False) for host in ("10.0.0.6", "db.example", "localhost.example", "[fd00::1]", "169.254.169.254")),
    ],
)
async def test_a_check_of_another_host_takes_a_token_for_checks(
    method: str, path: str, body: Any, host: str, is_local: bool
) -> None:
    fake = node()
    fake.hold(Instance(id="b", service="orders", host="10.0.0.5", port=80, owner=fake.name))
    fake.checked["b"] = ()
    sent = json.loads(json.dumps(body).replace("HOST", host))
    asked = listener(fake, access_of(token_for(BOTH, Scope.WRITE, Scope.CHECKS)))
    answer = await ask(asked, method, path, sent, TOKENS[Scope.WRITE])
    assert (answer.status in (200, 201)) is is_local, answer
    assert answer.status in (200, 201, 403)
    assert is_local or re.search(
        rb"checks\[0\]\.(http|tcp|grpc): the token 'write' is for write: this needs one", answer.body
    )
    assert (await ask(asked, method, path, sent, BOTH)).status in (200, 201)


@pytest.mark.parametrize(
    ("method", "is_safe"), [("GET", True), ("HEAD", True), ("OPTIONS", True), ("POST", False), ("PUT", False)]
)
async def test_a_check_that_may_change_something_takes_a_token_for_checks(method: str, is_safe: bool) -> None:
    url = "http://127.0.0.1:2375/containers/prune"
    native = {"service": "orders", "port": 1, "checks": [{"http": url, "method": method}]}
    consul = {"Name": "orders", "Port": 1, "Check": {"HTTP": url, "Method": method, "Interval": "9s"}}
    for path, body in (("/api/v1/instances", native), ("/v1/agent/service/register", consul)):
        asked = listener(node(), access_of(token_for(BOTH, Scope.WRITE, Scope.CHECKS)))
        assert ((await ask(asked, "PUT", path, body, TOKENS[Scope.WRITE])).status != 403) is is_safe
        assert (await ask(asked, "PUT", path, body, BOTH)).status in (200, 201)


async def test_a_command_takes_a_token_for_checks() -> None:
    native = {"service": "orders", "port": 1, "checks": [{"ttl": 1}, {"command": ["/bin/true"]}]}
    consul = {"Name": "orders", "Port": 1, "Check": {"Args": ["/bin/true"], "Interval": "9s"}}
    added = {"Name": "t", "ServiceID": "a", "Args": ["/bin/true"], "Interval": "9s"}
    places = (
        ("/api/v1/instances", native),
        ("/v1/agent/service/register", consul),
        ("/v1/agent/check/register", added),
    )
    for path, body in places:
        fake = node()
        fake.command_checks = "api"
        asked = listener(fake, access_of(token_for(BOTH, Scope.WRITE, Scope.CHECKS)))
        answer = await ask(asked, "PUT", path, body, TOKENS[Scope.WRITE])
        assert answer.status == 403
        assert re.search(rb"checks\[[01]\]\.command: the token 'write' is for write", answer.body)
        assert (await ask(asked, "PUT", path, body, BOTH)).status in (200, 201)


def outputs(answer: Response) -> dict[str, str | None]:
    document = json.loads(answer.body)
    if "checks" in document:
        return {each["name"]: each["output"] for each in document["checks"]}
    return {id_.rpartition(":")[2]: each["Output"] for id_, each in document.items()}


@pytest.mark.parametrize("path", ["/api/v1/checks", "/api/v1/checks/a", "/v1/agent/checks"])
async def test_what_checks_find_is_shown_for_a_token_for_checks_only(path: str) -> None:
    asked = listener(node(), access_of(token_for(BOTH, Scope.READ, Scope.CHECKS)))
    hidden = "" if path.startswith("/v1") else None
    assert outputs(await ask(asked, "GET", path, token=TOKENS[Scope.READ])) == {"ttl": "200 OK", "web": hidden}
    assert outputs(await ask(asked, "GET", path, token=BOTH)) == {"ttl": "200 OK", "web": "200 OK"}


@pytest.mark.parametrize("path", sorted({target_of(pattern) for _, method, pattern, _ in ROUTES if method == "GET"}))
async def test_no_read_of_any_frontend_shows_what_checks_find(path: str) -> None:
    fake = node()
    fake.checked["a"] = (Check(http="http://127.0.0.1:1/", name="web"),)
    answer = await ask(listener(fake), "GET", path, token=TOKENS[Scope.READ])
    assert b"200 OK" not in answer.body


async def test_without_tokens_checks_are_for_this_machine_only() -> None:
    body = {"service": "orders", "port": 1, "checks": [{"http": "http://10.0.0.6/"}]}
    for exposed, status in ((False, 201), (True, 403)):
        access = Access()
        access.is_exposed = exposed
        asked = listener(node(), access)
        assert (await ask(asked, "PUT", "/api/v1/instances", body)).status == status
        found = outputs(await ask(asked, "GET", "/api/v1/checks/a"))
        assert found == {"ttl": "200 OK", "web": None if exposed else "200 OK"}


async def test_an_override_of_another_agents_instance_is_a_policy_in_eureka_too() -> None:
    for also_own in (False, True):
        fake = node()
        theirs = Instance(id="t", service="orders", host="10.0.0.9", port=80, owner="beta")
        fake.hold(theirs)
        if also_own:  # an override names no owner: it would hit both
            fake.hold(Instance(id="t", service="orders", host="127.0.0.1", port=80, owner=fake.name))
        asked = listener(fake, access_of(token_for(BOTH, Scope.WRITE, Scope.OPERATOR)))
        path = "/eureka/apps/ORDERS/t/status"
        for method, target in (("PUT", f"{path}?value=DOWN"), ("DELETE", path)):
            assert (await ask(asked, method, target, token=TOKENS[Scope.WRITE])).status == 403
            assert (await ask(asked, method, target, token=BOTH)).status == 200


# Supervisors


@pytest.mark.parametrize("token", [None, "nobodys-token-at-all", TOKENS[Scope.WRITE], TOKENS[Scope.OPERATOR]])
async def test_without_a_readers_token_probes_say_a_word(token: str | None) -> None:
    fake = node()
    answer = await ask(listener(fake), "GET", "/healthz", token=token)
    assert (answer.status, json.loads(answer.body), answer.headers) == (200, {"status": "ok"}, ())
    answer = await ask(listener(fake), "GET", "/readyz", token=token)
    assert (answer.status, json.loads(answer.body), answer.headers) == (200, {"ready": True, "reason": ""}, ())
    fake.joined, fake.join_failures = False, (JoinFailure("10.0.0.9:7940", "refused", "connection refused"),)
    answer = await ask(listener(fake), "GET", "/readyz", token=token)
    assert (answer.status, json.loads(answer.body)) == (503, {"ready": False, "reason": "not joined"})
    fake.leaving = True
    answer = await ask(listener(fake), "GET", "/healthz", token=token)
    assert (answer.status, json.loads(answer.body)) == (503, {"status": "leaving"})


@pytest.mark.parametrize(("access", "token"), [(access_of(), TOKENS[Scope.READ]), (Access(), None)])
async def test_with_one_or_where_none_is_asked_for_probes_say_all(access: Access, token: str | None) -> None:
    fake = node()
    answer = await ask(listener(fake, access), "GET", "/healthz", token=token)
    assert json.loads(answer.body)["counters"]
    assert answer.headers
    fake.joined, fake.join_failures = False, (JoinFailure("10.0.0.9:7940", "refused", "connection refused"),)
    answer = await ask(listener(fake, access), "GET", "/readyz", token=token)
    assert json.loads(answer.body)["reason"] == "not joined: 10.0.0.9:7940: connection refused"


async def test_a_closed_agent_tells_a_stranger_no_more_than_that() -> None:
    fake = node()
    asked = listener(fake)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(asked.close_with_node)
        fake.close()
    asked._closed = "node alpha: its name is held by 10.0.0.9:7940"
    for path in ("/healthz", "/api/v1/node", "/v1/agent/self", "/eureka/apps"):
        for token, says in ((None, False), (TOKENS[Scope.READ], True)):
            answer = await ask(asked, "GET", path, token=token)
            assert answer.status == 503
            assert (b"10.0.0.9" in answer.body) is says


# Pages of other sites


FOREIGN: Final[list[tuple[dict[str, str], str]]] = [
    ({"origin": "https://evil.example"}, "a foreign Origin"),
    ({"origin": "null"}, "a sandboxed page"),
    ({"fetch_site": "cross-site", "fetch_dest": "image"}, "an image"),
    ({"fetch_site": "same-site", "fetch_dest": "empty"}, "another port of this machine"),
    ({"authority": "evil.example"}, "DNS rebinding"),
    ({"authority": "evil.example:8500"}, "DNS rebinding"),
]


@pytest.mark.parametrize(("page", "what"), FOREIGN)
async def test_a_page_of_another_site_is_refused_at_every_route(page: dict[str, str], what: str) -> None:
    for _, method, pattern, _ in ROUTES:
        fake = node()
        answer = await ask(listener(fake, Access()), method, target_of(pattern), BODIES.get((method, pattern)), **page)
        assert answer.status == 403, (what, method, pattern)
        assert b"alpha" not in answer.body
