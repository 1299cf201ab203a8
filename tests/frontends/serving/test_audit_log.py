"""The audit log: a line for each change that clients make or are refused, before they have their answer."""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections import Counter
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio
import trio.testing

from gossipreg.errors import ConfigError, InvalidCertificate
from gossipreg.frontends.http import serve_http
from gossipreg.frontends.serving.access import Access, Token
from gossipreg.frontends.serving.audit_log import AuditLog
from gossipreg.frontends.serving.scoped_node import ScopedNode
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


async def at_once(write: Callable[[bytes], None], line: bytes, **_: object) -> None:
    """In place of a thread, for which virtual time does not wait."""
    write(line)


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


async def test_what_the_guard_refuses_is_not_recorded_as_the_request_before(
    http: httpx.AsyncClient, audit: AuditLog
) -> None:
    body = {"service": "orders", "id": "o-1", "port": 1}
    await http.put("/api/v1/instances", json=body, headers={"X-Request-Id": "mine"})
    attack = {"Origin": "http://evil.example", "Authorization": "", "X-Request-Id": "theirs"}
    await http.put("/api/v1/drain?x=1", headers=attack)
    assert about(lines(audit)[1]) == {"action": "PUT /api/v1/drain", "status": 403, "outcome": "refused"}
    assert [(each["token"], each["request"]) for each in lines(audit)] == [("ci", "mine"), (None, "theirs")]


async def test_a_flood_of_refusals_is_written_in_part_and_the_rest_is_counted(
    audit: AuditLog, autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trio.to_thread, "run_sync", at_once)
    for _ in range(250):
        await audit.refused("PUT /api/v1/instances", status=401)
    await trio.sleep(11)
    await audit.refused("PUT /api/v1/instances", status=401)
    assert len(lines(audit)) == 101
    assert lines(audit)[-1]["left_out"] == 150


async def test_a_flood_of_requests_for_certificates_is_written_in_part_and_the_rest_is_counted(
    audit: AuditLog, fake: FakeNode, autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trio.to_thread, "run_sync", at_once)
    node = ScopedNode(fake, audit)
    for _ in range(250):
        with pytest.raises(InvalidCertificate):
            await node.issue_certificate("junk")
    assert list(map(about, lines(audit))) == [{"action": "issue_certificate", "outcome": "invalid_certificate"}] * 100
    fake.is_issuer = True
    request = "gossipreg-certificate-request-1 AAAA"
    for _ in range(3):
        for _ in range(50):
            assert await node.issue_certificate(request) == "gossipreg-certificate-1 AAAA"
        await trio.sleep(11)
    given = {"action": "issue_certificate", "outcome": "done"}
    assert list(map(about, lines(audit)))[100:] == [given, *2 * [{**given, "left_out": 49}]]


async def test_what_a_client_sent_is_cut_and_is_json_whatever_it_was(audit: AuditLog) -> None:
    await audit.write("set_policy", "done", key="k" * 5000, weight=math.inf, shares={"v" * 5000: [1] * 5000})
    assert audit.path is not None
    assert audit.path.stat().st_size < 1000
    assert lines(audit)[0]["weight"] == "inf"


async def test_a_disk_that_hangs_keeps_a_change_waiting_for_two_seconds(
    audit: AuditLog, monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.testing.MockClock
) -> None:
    async def hang(*_: object, **__: object) -> None:
        await trio.sleep_forever()

    with monkeypatch.context() as patched:
        patched.setattr(trio.to_thread, "run_sync", hang)
        began = trio.current_time()
        await audit.write("drain", "done")
        assert trio.current_time() - began == 2
        assert audit.counters == Counter(audit_lines_lost=1)
        patched.setattr(trio.to_thread, "run_sync", at_once)
        await audit.write("undrain", "done")
    assert [each["action"] for each in lines(audit)] == ["undrain"]


def test_a_file_that_others_could_read_is_closed_to_them(tmp_path: Path) -> None:
    (tmp_path / "audit.log").touch()
    (tmp_path / "audit.log").chmod(0o666)
    AuditLog(tmp_path / "audit.log").open()
    assert (tmp_path / "audit.log").stat().st_mode & 0o777 == 0o600
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ConfigError):
        AuditLog(tmp_path / "pipe").open()


async def test_a_log_that_is_closed_loses_lines_and_ends_no_request(audit: AuditLog) -> None:
    audit.close()
    await audit.write("drain", "done")


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
