from __future__ import annotations

import pytest

from gossipreg.frontends.serving.response import HttpError
from gossipreg.frontends.serving.router import Router

ROUTER = Router(
    [
        ("GET", "/v1/kv/{key...}", "kv"),
        ("PUT", "/v1/check/pass/{id}", "pass"),
        ("GET", "/v1/{what}/state/{state}", "state"),
        ("GET", "/v1/health/state/any", "any"),
        ("POST", "/v1/health/state/any", "post"),
    ]
)


def test_a_path_is_found_with_what_its_placeholders_stand_for() -> None:
    found = ROUTER.find("PUT", "/v1/check/pass/service%3Aweb%2F1")
    assert (found.handler, found.pattern) == ("pass", "/v1/check/pass/{id}")
    assert found.arguments == {"id": "service:web/1"}


def test_words_come_before_placeholders_and_an_open_end_takes_the_rest() -> None:
    assert ROUTER.find("GET", "/v1/health/state/any").handler == "any"
    assert ROUTER.find("GET", "/v1/health/state/critical").arguments == {"what": "health", "state": "critical"}
    assert ROUTER.find("GET", "/v1/kv/a/b/c").arguments == {"key": "a/b/c"}


def test_a_last_slash_means_nothing_and_head_goes_where_get_goes() -> None:
    assert ROUTER.find("HEAD", "/v1/health/state/any/").handler == "any"


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/nothing", 404),
        ("GET", "/v1//state/any", 404),
        ("GET", "/v1/check/pass/web", 405),
        ("PUT", "/v1/health/state/any", 405),
        ("PUT", "/v1/check/pass/%ff", 400),
    ],
)
def test_what_is_not_there_is_refused(method: str, path: str, status: int) -> None:
    with pytest.raises(HttpError) as refusal:
        ROUTER.find(method, path)
    assert refusal.value.answer.status == status


def test_a_method_that_is_not_meant_is_told_which_are() -> None:
    with pytest.raises(HttpError) as refusal:
        ROUTER.find("PUT", "/v1/health/state/any")
    assert refusal.value.answer.headers == ((b"allow", b"GET, POST, HEAD"),)


def test_a_placeholder_may_be_in_capitals_and_a_last_slash_may_count() -> None:
    router = Router([("GET", "/services/NAME", "one"), ("GET", "/services", "all")], trailing_slash=False, hint=": no")
    assert router.find("GET", "/services/NAME").arguments == {"NAME": "NAME"}
    assert router.find("GET", "/services").handler == "all"
    for path in ("/services/", "/services/a/b", "/services/a/", "", "*"):
        with pytest.raises(HttpError, match=r": no$"):
            router.find("GET", path)


IDS = Router(
    [
        ("PUT", "/apps/{app}/{id}", "renew"),
        ("GET", "/apps/{app}/{id}", "show"),
        ("GET", "/apps/delta", "delta"),
        ("PUT", "/apps/{app}/{id}/status", "status"),
        ("PUT", "/service/register", "register"),
        ("GET", "/service/{id}", "service"),
        ("PUT", "/service/deregister/{id}", "deregister"),
    ],
    spanning=("id",),
)


@pytest.mark.parametrize(
    ("path", "id"),
    [
        ("ns/app-1", "ns/app-1"),
        ("ns%2Fapp-1", "ns/app-1"),
        ("ns%252Fapp-1", "ns%2Fapp-1"),
        ("http://10.0.0.1:80/", "http://10.0.0.1:80/"),
        ("/rooted", "/rooted"),
        ("a//b", "a//b"),
        ("a/../b", "a/../b"),
        ("./a/.", "./a/."),
        ("a/", "a/"),
        ("a%2F", "a/"),
        ("/", "/"),
    ],
)
def test_an_id_with_slashes_is_the_rest_of_the_path_as_it_stands(path: str, id: str) -> None:
    for found in (IDS.find("PUT", f"/service/deregister/{path}"), IDS.find("GET", f"/service/{path}")):
        assert found.arguments == {"id": id}
    found = IDS.find("PUT", f"/apps/shop/{path}")
    assert (found.handler, found.arguments) == ("renew", {"app": "shop", "id": id})


@pytest.mark.parametrize("slash", ["", "/"])
@pytest.mark.parametrize(("path", "id"), [("x", "x"), ("ns/x", "ns/x"), ("x/status", "x/status"), ("a//b", "a//b")])
def test_words_may_follow_an_id_with_slashes(path: str, id: str, slash: str) -> None:
    found = IDS.find("PUT", f"/apps/shop/{path}/status{slash}")
    assert (found.handler, found.arguments) == ("status", {"app": "shop", "id": id})


def test_an_encoded_slash_is_no_boundary_of_a_word() -> None:
    assert IDS.find("PUT", "/apps/shop/x%2Fstatus").arguments == {"app": "shop", "id": "x/status"}


def test_a_pattern_of_another_method_gives_way() -> None:
    assert IDS.find("GET", "/apps/shop/x/status").arguments == {"app": "shop", "id": "x/status"}
    assert IDS.find("GET", "/service/register").arguments == {"id": "register"}
    with pytest.raises(HttpError) as refusal:
        IDS.find("DELETE", "/service/register")
    assert refusal.value.answer.headers == ((b"allow", b"PUT, GET, HEAD"),)


@pytest.mark.parametrize("path", ["/service/deregister", "/service/deregister/", "/apps/shop/", "/apps//x"])
def test_an_id_is_never_empty(path: str) -> None:
    with pytest.raises(HttpError):
        IDS.find("PUT", path)


def test_a_long_path_is_matched_in_little_work() -> None:
    path = "/apps/shop/" + "status/" * 1_200
    assert IDS.find("PUT", path).handler == "status"
