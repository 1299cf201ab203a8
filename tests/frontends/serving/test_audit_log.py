"""The audit log: a line for each change that clients make or are refused, before they have their answer."""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio

from gossipreg.errors import ConfigError
from gossipreg.frontends.http import serve_http
from gossipreg.frontends.serving.access import Access, Token
from gossipreg.frontends.serving.audit_log import AuditLog
from gossipreg.frontends.serving.scopes import Grant
from gossipreg.model import Address
from tests.frontends.fake_node import FakeNode

CI = "the-pipelines-token"


@pytest.fixture
def audit(tmp_path: Path) -> AuditLog:
    log = AuditLog(tmp_path / "audit.log")
    log.open()
    return log


@pytest.fixture
async def http(audit: AuditLog, fake: FakeNode, nursery: trio.Nursery) -> AsyncIterator[httpx.AsyncClient]:
    token = Token.of("ci", hashlib.sha256(CI.encode()).digest(), [Grant.read("write:orders"), Grant.read("read")])
    place = Address("127.0.0.1", 0)
    serve = partial(serve_http, fake, place, leave=lambda: None, access=Access((token,)), audit=audit)
    address = await nursery.start(serve)
    async with httpx.AsyncClient(base_url=f"http://{address}", headers={"Authorization": f"Bearer {CI}"}) as client:
        yield client


def lines(audit: AuditLog) -> list[dict[str, Any]]:
    assert audit.path is not None
    return list(map(json.loads, audit.path.read_text().splitlines()))


def about(line: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in line.items() if key not in ("at", "from", "token", "request")}


async def test_a_change_is_recorded_with_its_client_and_a_read_is_not(http: httpx.AsyncClient, audit: AuditLog) -> None:
    body = {"service": "orders", "id": "o-1", "port": 1}
    await http.put("/api/v1/instances", json=body, headers={"X-Request-Id": "deploy-7"})
    await http.get("/api/v1/services")
    await http.put("/api/v1/heartbeats/o-1")
    await http.delete("/api/v1/instances/o-1")
    first, last = lines(audit)
    assert (first["token"], first["request"]) == ("ci", "deploy-7")
    assert first["from"].startswith("127.0.0.1:")
    assert first["at"].endswith("Z")
    assert len(first["at"]) == len("2026-11-29T18:34:00.123Z")
    assert about(first) == {"action": "register", "service": "orders", "instance": "o-1", "outcome": "done"}
    assert about(last) == {"action": "deregister", "service": "orders", "instance": "o-1", "outcome": "done"}


async def test_an_id_that_the_node_has_chosen_is_recorded(http: httpx.AsyncClient, audit: AuditLog) -> None:
    chosen = await http.put("/api/v1/instances", json={"service": "orders", "port": 1})
    assert [each["instance"] for each in lines(audit)] == [chosen.json()["id"]]


async def test_what_is_refused_is_recorded(http: httpx.AsyncClient, audit: AuditLog) -> None:
    await http.put("/api/v1/instances", json={"service": "pay", "port": 1})
    await http.put("/api/v1/instances", json={"service": "orders", "port": 1}, headers={"Authorization": "Bearer no"})
    await http.post("/api/v1/leave")
    await http.delete("/api/v1/instances/none")
    assert list(map(about, lines(audit))) == [
        {"action": "PUT /api/v1/instances", "status": 403, "outcome": "refused"},
        {"action": "PUT /api/v1/instances", "status": 401, "outcome": "refused"},
        {"action": "POST /api/v1/leave", "status": 403, "outcome": "refused"},
        {"action": "deregister", "service": None, "instance": "none", "outcome": "unknown_instance"},
    ]
    assert [each["token"] for each in lines(audit)] == ["ci", None, "ci", "ci"]


async def test_no_line_holds_a_secret_or_breaks(http: httpx.AsyncClient, audit: AuditLog) -> None:
    body = {"service": "orders", "id": "o-1", "port": 1, "credentials": {"password": "hunter2"}}
    await http.put("/api/v1/instances", json=body)
    await http.put("/api/v1/maintenance/o-1?reason=a%0Ab%E2%80%A8c")
    assert audit.path is not None
    text = audit.path.read_text()
    assert ("hunter2" in text, CI in text, len(text.splitlines())) == (False, False, 2)
    assert lines(audit)[1]["reason"] == "a\nb\u2028c"


def test_the_file_is_for_its_owner_alone_and_is_no_link(tmp_path: Path) -> None:
    log = AuditLog(tmp_path / "audit.log")
    log.open()
    assert (tmp_path / "audit.log").stat().st_mode & 0o777 == 0o600
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    for bad in (tmp_path / "link", tmp_path / "none" / "audit.log", tmp_path):
        with pytest.raises(ConfigError, match=f"audit_log: {bad} cannot be written: "):
            AuditLog(bad).open()


async def test_a_file_that_was_moved_away_is_left_when_it_is_opened_again(audit: AuditLog, tmp_path: Path) -> None:
    await audit.write("drain", "done")
    assert audit.path is not None
    audit.path.rename(tmp_path / "audit.log.1")
    await audit.write("drain", "done")
    audit.open()
    await audit.write("undrain", "done")
    assert [each["action"] for each in lines(audit)] == ["undrain"]
    assert len((tmp_path / "audit.log.1").read_text().splitlines()) == 2


async def test_a_disk_that_is_full_is_reported_once_and_each_lost_line_counted(
    audit: AuditLog, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(_: int, __: bytes) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "write", full)
        for _ in range(2):
            await audit.write("drain", "done")
    assert audit.counters == Counter(audit_lines_lost=2)
    assert [record.message.endswith("No space left on device") for record in caplog.records] == [True]
    await audit.write("undrain", "done")
    assert [each["action"] for each in lines(audit)] == ["undrain"]


async def test_without_a_path_nothing_is_written() -> None:
    log = AuditLog()
    log.open()
    await log.write("drain", "done")
    log.close()
