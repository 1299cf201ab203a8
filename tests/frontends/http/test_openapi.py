"""The OpenAPI document is true: what it lists is there, what is there it lists, and answers have the shapes it says."""

from __future__ import annotations

import base64
import inspect
import re
from collections.abc import Iterator
from typing import Any

import httpx

from gossipreg.frontends.http import handlers
from gossipreg.frontends.http.openapi import OPERATIONS, document
from gossipreg.frontends.http.routes import ROUTES
from gossipreg.key_format import key_id
from tests.frontends.fake_node import FakeNode

DOCUMENT = document(ROUTES)

#: Everything a program may be told, by asking for it: how, and the status code. The order matters.
KEY, OTHER_KEY = (key_id(base64.b64decode(text)) for text in ("A" * 43 + "=", "B" * 42 + "A="))

CALLS: list[tuple[str, str, Any, int]] = [
    ("GET", "/healthz", None, 200),
    ("GET", "/readyz", None, 200),
    ("GET", "/api/v1/node", None, 200),
    ("GET", "/api/v1/members", None, 200),
    ("PUT", "/api/v1/instances", {"id": "a", "service": "orders", "port": 1, "tags": ["x"], "meta": {"k": "v"}}, 201),
    ("PUT", "/api/v1/instances", {"id": "a", "service": "orders", "port": 2, "role": "primary"}, 200),
    ("PUT", "/api/v1/instances", {"service": "orders", "port": "2"}, 400),
    ("PUT", "/api/v1/instances", {"x": "y" * 200_000}, 413),
    ("GET", "/api/v1/services", None, 200),
    ("GET", "/api/v1/services/orders?all&tag=x", None, 200),
    ("GET", "/api/v1/services/orders?all&stated", None, 200),
    ("GET", "/api/v1/picks/orders", None, 200),
    ("GET", "/api/v1/picks/orders?count=0", None, 400),
    ("GET", "/api/v1/changes?service=orders", None, 200),
    ("GET", "/api/v1/changes?service=", None, 400),
    ("PUT", "/api/v1/keys", {"key": "A" * 43 + "="}, 200),
    ("PUT", "/api/v1/keys", {"key": "B" * 42 + "A="}, 200),
    ("PUT", "/api/v1/keys", {"key": "?"}, 400),
    ("PUT", "/api/v1/keys", {"x": "y" * 200_000}, 413),
    ("GET", "/api/v1/keys", None, 200),
    ("PUT", "/api/v1/primary_key", {"id": OTHER_KEY}, 409),
    ("PUT", "/api/v1/primary_key", {"id": OTHER_KEY, "keep": "1h", "force": True}, 200),
    ("PUT", "/api/v1/primary_key", {"id": "none"}, 404),
    ("PUT", "/api/v1/primary_key", {"id": OTHER_KEY, "keep": "?"}, 400),
    ("PUT", "/api/v1/primary_key", {"x": "y" * 200_000}, 413),
    ("DELETE", f"/api/v1/keys/{OTHER_KEY}", None, 409),
    ("DELETE", f"/api/v1/keys/{KEY}", None, 204),
    ("DELETE", f"/api/v1/keys/{KEY}", None, 404),
    ("GET", "/api/v1/token", None, 200),
    ("GET", "/api/v1/tokens", None, 200),
    ("PUT", "/api/v1/tokens", {"name": "ci", "token_sha256": "0" * 64, "scopes": ["read"]}, 409),
    ("PUT", "/api/v1/tokens", {"x": "y" * 200_000}, 413),
    ("GET", "/api/v1/identity", None, 200),
    ("PUT", "/api/v1/revocations", {"revocation": "gossipreg-revocation-1 AAAA"}, 200),
    ("PUT", "/api/v1/revocations", {"revocation": "junk"}, 400),
    ("PUT", "/api/v1/revocations", {"x": "y" * 200_000}, 413),
    ("POST", "/api/v1/certificates", {"request": "gossipreg-certificate-request-1 AAAA"}, 201),
    ("POST", "/api/v1/certificates", {"request": "junk"}, 400),
    ("POST", "/api/v1/certificates", {"x": "y" * 200_000}, 413),
    ("DELETE", "/api/v1/tokens/none", None, 404),
    ("GET", "/api/v1/observations", None, 200),
    ("GET", "/api/v1/rates", None, 200),
    ("GET", "/api/v1/services/orders?all=perhaps", None, 400),
    ("GET", "/api/v1/http_sd", None, 200),
    ("GET", "/api/v1/http_sd?service=", None, 400),
    ("GET", "/api/v1/events?service=", None, 400),
    ("GET", "/api/v1/openapi.json", None, 200),
    ("GET", "/metrics", None, 200),
    ("PUT", "/api/v1/instances", {"id": "a", "service": "orders", "port": 2, "checks": [{"ttl": "5s"}]}, 200),
    ("PUT", "/api/v1/instances", [{"id": "b", "service": "orders", "port": 3}], 200),
    ("PUT", "/api/v1/instances", {"service": "orders", "port": 2, "checks": [{"command": ["true"]}]}, 403),
    ("GET", "/api/v1/checks", None, 200),
    ("GET", "/api/v1/checks/a", None, 200),
    ("GET", "/api/v1/checks/missing", None, 404),
    ("PUT", "/api/v1/heartbeats/a?health=warning&note=slow", None, 204),
    ("PUT", "/api/v1/heartbeats/a?health=well", None, 400),
    ("PUT", "/api/v1/heartbeats/missing", None, 404),
    ("PUT", "/api/v1/maintenance/a?reason=disk", None, 200),
    ("PUT", "/api/v1/maintenance/a?nonsense", None, 400),
    ("PUT", "/api/v1/maintenance/missing", None, 404),
    ("GET", "/api/v1/services/orders?all", None, 200),
    ("DELETE", "/api/v1/maintenance/a", None, 200),
    ("DELETE", "/api/v1/maintenance/missing", None, 404),
    ("PUT", "/api/v1/policies", {"service": "orders", "split": {"v1": 9, "v2": 1}}, 200),
    ("PUT", "/api/v1/policies", {"service": "orders", "instance": "a", "weight": 5}, 200),
    ("PUT", "/api/v1/policies", {"service": "orders", "instance": "a", "maintenance": "disk"}, 200),
    ("PUT", "/api/v1/policies", {"service": "orders", "split": {}}, 400),
    ("PUT", "/api/v1/policies", {"x": "y" * 200_000}, 413),
    ("GET", "/api/v1/policies", None, 200),
    ("DELETE", "/api/v1/policies/split:orders", None, 204),
    ("DELETE", "/api/v1/policies/split:orders", None, 404),
    ("DELETE", "/api/v1/instances/missing", None, 404),
    ("DELETE", "/api/v1/instances/a", None, 204),
    ("PUT", "/api/v1/instances", {"service": "pg", "port": 1, "role": "primary", "term": 3}, 201),
    ("GET", "/api/v1/services?region=asia", None, 404),
    ("GET", "/api/v1/services/orders?region=asia", None, 404),
    ("GET", "/api/v1/events?service=orders&region=asia", None, 404),
    ("GET", "/api/v1/cells", None, 200),
    ("GET", "/api/v1/regions", None, 200),
    ("POST", "/api/v1/follow", {"region": "us", "directory": "", "services": {"orders": 0}, "wait": 0}, 200),
    ("POST", "/api/v1/follow", {"region": "a b"}, 400),
    ("POST", "/api/v1/follow", {"x": "y" * 200_000}, 413),
    ("GET", "/api/v1/roles", None, 200),
    ("DELETE", "/api/v1/roles/pg", None, 200),
    ("DELETE", "/api/v1/roles/nix", None, 404),
    ("DELETE", "/api/v1/members/alpha", None, 409),
    ("DELETE", "/api/v1/members/missing", None, 404),
    ("PUT", "/api/v1/drain", None, 200),
    ("DELETE", "/api/v1/drain", None, 200),
    ("POST", "/api/v1/join", {"seeds": ["10.0.0.6:7940"]}, 200),
    ("POST", "/api/v1/join", {"seeds": []}, 400),
    ("POST", "/api/v1/join", {"seeds": ["x" * 200_000]}, 413),
    ("POST", "/api/v1/join", {"seeds": ["10.0.0.7"]}, 502),
    ("POST", "/api/v1/leave", None, 202),
]


def valid(schema: dict[str, Any], value: Any, where: str = "$") -> Iterator[str]:
    """What is wrong with ``value``: as much of JSON Schema as the document uses."""
    if "$ref" in schema:
        schema = DOCUMENT["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    if "oneOf" in schema and not any(not list(valid(each, value, where)) for each in schema["oneOf"]):
        yield f"{where}: {value!r} is none of those that it may be"
        return
    kinds: dict[str, Any] = {
        "null": type(None),
        "string": str,
        "integer": int,
        "number": (int, float),
        "boolean": bool,
        "array": list,
        "object": dict,
    }
    wanted = schema.get("type", [])
    allowed = [wanted] if isinstance(wanted, str) else wanted
    fits = any(value is None if kind == "null" else isinstance(value, kinds[kind]) for kind in allowed)
    if allowed and (not fits or (isinstance(value, bool) and "boolean" not in allowed)):
        yield f"{where}: {value!r} is no {wanted}"
        return
    if value not in schema.get("enum", [value]) or (
        "pattern" in schema and re.search(schema["pattern"], value) is None
    ):
        yield f"{where}: {value!r} is not as it should be"
    if isinstance(value, list):
        for number, each in enumerate(value):
            yield from valid(schema.get("items", {}), each, f"{where}[{number}]")
    if isinstance(value, dict):
        yield from (f"{where}: no {name}" for name in schema.get("required", []) if name not in value)
        others = schema.get("additionalProperties", {})
        for name, each in value.items():
            inner = schema.get("properties", {}).get(name, others)
            if inner is False:
                yield f"{where}.{name} should not be there"
            else:
                yield from valid(inner, each, f"{where}.{name}")


def operation(method: str, path: str) -> dict[str, Any]:
    """What the document says of the route that answers at ``path``."""
    for pattern, methods in DOCUMENT["paths"].items():
        if re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", pattern), path.partition("?")[0]) and method.lower() in methods:
            found: dict[str, Any] = methods[method.lower()]
            return found
    raise AssertionError(f"{method} {path} is not in the document")


def test_every_route_is_in_the_document_and_no_other() -> None:
    listed = {
        (method.upper(), re.sub(r"\{(\w+)\}", lambda name: name[1].upper(), path))
        for path, methods in DOCUMENT["paths"].items()
        for method in methods
    }
    assert listed == {(route.method, route.path) for route in ROUTES} == set(OPERATIONS)


def test_every_parameter_is_in_the_document_and_no_other() -> None:
    for route in ROUTES:
        told = operation(route.method, route.path)["parameters"]
        assert [each["name"] for each in told if each["in"] == "query"] == list(route.query)
        assert [each["name"] for each in told if each["in"] == "path"] == (
            [route.path.rpartition("/")[2].lower()] if route.takes_argument else []
        )


def test_what_asks_for_a_token_says_so_and_for_which() -> None:
    for route in ROUTES:
        told = operation(route.method, route.path)
        if route.action.scope is None:
            assert "security" not in told
        else:
            assert str(route.action.scope) in told["description"]
            assert [name for each in told["security"] for name in each] == list(
                DOCUMENT["components"]["securitySchemes"]
            )
            assert {"401", "403"} <= set(told["responses"])


def test_every_operation_has_a_name_of_its_own_and_a_sentence() -> None:
    told = [each for methods in DOCUMENT["paths"].values() for each in methods.values()]
    assert len({each["operationId"] for each in told}) == len(told)
    assert all(each["summary"].endswith(".") for each in told)


def test_every_handler_is_behind_a_route() -> None:
    every = {each for _, each in inspect.getmembers(handlers, inspect.iscoroutinefunction)}
    found = {each for each in every if each.__module__ == handlers.__name__}
    assert found
    assert found <= {route.handler for route in ROUTES}


def test_every_reference_leads_somewhere() -> None:
    text = str(DOCUMENT)
    assert set(re.findall(r"#/components/schemas/(\w+)", text)) <= set(DOCUMENT["components"]["schemas"])


async def test_answers_have_the_codes_types_and_shapes_that_are_told(client: httpx.AsyncClient) -> None:
    for method, path, body, status in CALLS:
        answer = await client.request(method, path, **({} if body is None else {"json": body}))
        assert answer.status_code == status, answer.text
        told = operation(method, path)["responses"][str(status)]
        if status == 204:
            assert "content" not in told
            continue
        [(media, content)] = told["content"].items()
        assert answer.headers["content-type"] == media
        if media == "application/json":
            assert list(valid(content["schema"], answer.json())) == [], (method, path)


def test_every_answer_that_is_told_of_is_asked_for_above_or_in_the_tests_below() -> None:
    told = {
        (each["operationId"], int(status))
        for methods in DOCUMENT["paths"].values()
        for each in methods.values()
        for status in each["responses"]
        if status not in ("default", "401", "403", "411")  # 401, 403 below; 411 with the handlers: httpx cannot
    }
    asked = {(operation(method, path)["operationId"], status) for method, path, _, status in CALLS}
    elsewhere = {("credentials", status) for status in (200, 400, 404, 409)}  # for a token: test_credentials
    elsewhere |= {
        ("create_token", 201),
        ("create_token", 400),
        ("revoke_token", 204),
        ("revoke_token", 409),
    }  # test_tokens
    elsewhere |= {("issue_certificate", 409)}  # test_identities
    elsewhere |= {("add_key", 409), ("join", 503)}  # in clear, as the node of test_fuzzed is; of a closed node
    assert told - asked == {("health", 503), ("ready", 503), ("forget", 204), ("events", 200)} | elsewhere


async def test_a_node_that_leaves_is_told_of_as_well(fake: FakeNode, client: httpx.AsyncClient) -> None:
    fake.draining = fake.leaving = True
    answer = await client.get("/healthz")
    told = operation("GET", "/healthz")["responses"][str(answer.status_code)]
    assert list(valid(told["content"]["application/json"]["schema"], answer.json())) == []


async def test_a_page_that_was_tricked_is_told_no_where_the_document_says_so(client: httpx.AsyncClient) -> None:
    for route in ROUTES:
        if route.method != "GET":
            answer = await client.request(route.method, route.path, headers={"Origin": "http://evil.example"})
            assert answer.status_code == 403
            assert "403" in operation(route.method, route.path)["responses"]


async def test_every_other_no_has_the_shape_of_one(client: httpx.AsyncClient) -> None:
    default = operation("GET", "/healthz")["responses"]["default"]["content"]["application/json"]["schema"]
    for method, path in (("GET", "/nowhere"), ("BREW", "/healthz"), ("GET", "/healthz?x=1")):
        answer = await client.request(method, path)
        assert answer.is_client_error
        assert list(valid(default, answer.json())) == []


def test_what_is_declared_of_a_registration_is_what_is_asked_for() -> None:
    shape = DOCUMENT["components"]["schemas"]["Registration"]
    assert shape["required"] == ["service", "port"]
    assert list(valid(shape, {"service": "a", "port": 1, "tags": ["x"], "meta": {}, "zone": None})) == []
    assert list(valid(shape, {"service": "a", "port": True, "x": 1})) == [
        "$.port: True is no integer",
        "$.x should not be there",
    ]


def test_a_shape_is_the_noun_itself() -> None:
    told = operation("PUT", "/api/v1/instances")["responses"]["201"]["content"]["application/json"]["schema"]
    assert told == {"$ref": "#/components/schemas/Instance"}
