"""The web page's files: how they are served, and what may not be in them."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import httpx
import pytest
import trio

from gossipreg.frontends.http import Access, serve_http
from gossipreg.frontends.serving.access import Token
from gossipreg.frontends.serving.scopes import Scope
from gossipreg.frontends.web import create_page
from gossipreg.frontends.web.page import FOLDER, MEDIA, POLICY, files
from gossipreg.model import Address
from tests.frontends.fake_node import FakeNode

PAGE = Path(__file__).parents[3] / "docs" / "web.md"


@pytest.fixture
async def browser(fake: FakeNode, nursery: trio.Nursery) -> AsyncIterator[httpx.AsyncClient]:
    """A client without a token of an agent that asks for one."""
    serve = partial(
        serve_http,
        fake,
        Address("127.0.0.1", 0),
        leave=lambda: None,
        access=Access((Token("ops", b"digest", frozenset(Scope)),)),
        compatibility_apis=(create_page(),),
    )
    address = await nursery.start(serve)
    async with httpx.AsyncClient(base_url=f"http://{address}", trust_env=False) as client:
        yield client


async def test_the_page_is_found_at_its_folder_below_any_path(browser: httpx.AsyncClient) -> None:
    found = await browser.get("/ui/")
    assert (found.status_code, found.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert found.text == (FOLDER / "index.html").read_text()
    moved = await browser.get("/ui")
    assert (moved.status_code, moved.headers["location"], moved.content) == (308, "ui/", b"")


@pytest.mark.parametrize("name", sorted(path.name for path in FOLDER.iterdir() if path.suffix in MEDIA))
async def test_every_file_is_served_with_its_type_and_a_strict_policy_and_no_token(
    browser: httpx.AsyncClient, name: str
) -> None:
    found = await browser.get(f"/ui/{name}")
    assert found.status_code == 200
    assert found.content == (FOLDER / name).read_bytes()
    assert found.headers["content-type"].encode() == MEDIA[Path(name).suffix]
    assert found.headers["content-security-policy"].encode() == POLICY
    assert found.headers["x-content-type-options"] == "nosniff"
    assert "x-gossipreg-isolated" not in found.headers, "a client without a token learns nothing of the cluster"


async def test_a_browser_that_has_the_newest_file_is_not_sent_it_again(browser: httpx.AsyncClient) -> None:
    first = await browser.get("/ui/main.js")
    assert first.headers["cache-control"] == "no-cache"
    again = await browser.get("/ui/main.js", headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    other = await browser.get("/ui/main.js", headers={"If-None-Match": '"other"'})
    assert other.status_code == 200
    head = await browser.head("/ui/main.js")
    assert (head.status_code, head.content) == (200, b"")


@pytest.mark.parametrize("path", ["/ui/none.js", "/ui/../page.py", "/ui/%2e%2e/page.py", "/ui/..%2fpage.py", "/ui//"])
async def test_nothing_but_the_files_is_there(browser: httpx.AsyncClient, path: str) -> None:
    with_path = browser.build_request("GET", "/")
    with_path.url = with_path.url.copy_with(raw_path=path.encode())
    assert (await browser.send(with_path)).status_code == 404


async def test_the_page_is_only_read(browser: httpx.AsyncClient) -> None:
    assert (await browser.put("/ui/main.js")).status_code == 405


def test_every_file_that_the_page_needs_is_a_file_of_it() -> None:
    for name, file in files().items():
        for other in re.findall(
            r"""(?:from |href="|src="|import )["']?(?:\./)?([\w-]+\.\w+)["']""", file.body.decode()
        ):
            assert other in files(), f"{name} needs {other}"


@pytest.mark.parametrize("name", sorted(path.name for path in FOLDER.glob("*.js")))
def test_texts_never_become_markup_nor_code(name: str) -> None:
    code = (FOLDER / name).read_text()
    for forbidden in (
        *("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "createContextualFragment", "DOMParser"),
        *("eval(", "new Function", "setHTML", "srcdoc", "javascript:", "localStorage", "sessionStorage", ".cookie"),
    ):
        assert forbidden not in code, f"{name} uses {forbidden}"


@pytest.mark.parametrize("name", sorted(files()))
def test_files_are_short_and_name_no_other_host(name: str) -> None:
    text = (FOLDER / name).read_text()
    assert len(text.splitlines()) <= 400
    assert not re.findall(r"https?://(?!www\.w3\.org/2000/svg)", text), "it works without a network"
    assert not re.search(r"""(?:href|src)="/|fetch\(["'`]/|url\(/""", text), "all addresses are relative"
    if name.endswith((".js", ".css")):
        assert text.startswith(("// ", "/* ")), "its first line says what it is"


def test_markup_holds_no_script_and_no_style_of_its_own() -> None:
    markup = (FOLDER / "index.html").read_text()
    assert not re.search(r"<style|style=|\son\w+=|<script(?![^>]*src=)", markup)
