from __future__ import annotations

import json

import pytest

from gossipreg.frontends.http.routes import ROUTER, ROUTES
from gossipreg.frontends.serving.request import Request, split_target
from gossipreg.frontends.serving.response import HttpError


def test_every_route_is_found() -> None:
    for each in ROUTES:
        found = ROUTER.find(each.method, each.path)
        assert (found.handler, found.pattern) == (each, each.path)
        last = each.path.rpartition("/")[2]
        assert found.arguments == ({last: last} if each.takes_argument else {})


def test_an_argument_is_decoded() -> None:
    assert ROUTER.find("DELETE", "/api/v1/instances/a%2Fb%3A1%20%C3%BC").arguments == {"ID": "a/b:1 ü"}
    for method, noun in [("PUT", "heartbeats"), ("PUT", "maintenance"), ("GET", "checks"), ("GET", "credentials")]:
        assert ROUTER.find(method, f"/api/v1/{noun}/http://a//b/../").arguments == {"ID": "http://a//b/../"}


def test_head_goes_where_get_goes() -> None:
    assert ROUTER.find("HEAD", "/api/v1/node").handler is ROUTER.find("GET", "/api/v1/node").handler


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "",
        "*",
        "/api/v1",
        "/api/v1/nodes",
        "/api/v1/node/",
        "/api/v1/services/",
        "/api/v1/members/a/b",
        "//healthz",
    ],
)
def test_an_unknown_path_is_named(path: str) -> None:
    with pytest.raises(HttpError, match="there is nothing at ") as refused:
        ROUTER.find("GET", path)
    assert refused.value.answer.status == 404
    assert repr(path) in str(refused.value)


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("POST", "/api/v1/members", "GET, HEAD"),
        ("GET", "/api/v1/leave", "POST"),
        ("HEAD", "/api/v1/instances", "PUT"),
        ("GET", "/api/v1/instances/x", "DELETE"),
        ("OPTIONS", "/healthz", "GET, HEAD"),
    ],
)
def test_a_method_that_does_not_fit_is_told_which_do(method: str, path: str, allowed: str) -> None:
    with pytest.raises(HttpError) as refused:
        ROUTER.find(method, path)
    answer = refused.value.answer
    assert answer.status == 405
    assert dict(answer.headers) == {b"allow": allowed.encode()}
    assert json.loads(answer.body)["error"] == f"{path} is not for '{method}': use {allowed}"


def test_an_argument_that_is_not_utf8_is_refused() -> None:
    with pytest.raises(HttpError) as refused:
        ROUTER.find("GET", "/api/v1/services/%ff")
    assert refused.value.answer.status == 400


@pytest.mark.parametrize(
    ("target", "path", "authority"),
    [
        ("/a?b=c", "/a", "here"),
        ("http://there:1/a?b=c", "/a", "there:1"),
        ("HTTP://there", "/", "there"),
        ("https://there/a", "https://there/a", "here"),
        ("there:443", "there:443", "here"),
        ("*", "*", "here"),
    ],
)
def test_a_whole_url_names_path_and_host(target: str, path: str, authority: str) -> None:
    request = Request("GET", target, authority="here").at_our_own_name()
    assert split_target(request.target)[0] == path
    assert request.authority == authority


def test_a_url_that_is_none_is_refused() -> None:
    with pytest.raises(HttpError, match=r"'http://\[/' is not a URL"):
        Request("GET", "http://[/").at_our_own_name()
