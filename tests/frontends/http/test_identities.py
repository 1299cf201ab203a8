"""Identities over HTTP: shown, and a certificate is revoked; the change is in the audit log, and counted in metrics."""

from __future__ import annotations

import httpx
import pytest

from gossipreg.frontends.serving.node_metrics import exposition
from gossipreg.identities import IdentityReport, MemberIdentity
from tests.frontends.fake_node import FakeNode


async def test_a_certificate_is_revoked_and_what_is_known_is_shown(client: httpx.AsyncClient, fake: FakeNode) -> None:
    empty: dict[str, object] = {"mode": "off", "until": None, "members": [], "revoked": [], "refused": {}}
    assert (await client.get("/api/v1/identity")).json() == empty
    done = await client.put("/api/v1/revocations", json={"revocation": "gossipreg-revocation-1 AAAA"})
    [gone] = done.json()["revoked"]
    assert gone["exposed"] == [{"owner": "alpha", "service": "db", "id": "db-1"}]
    assert (await client.get("/api/v1/identity")).json() == done.json()


@pytest.mark.parametrize(
    ("body", "code", "said"),
    [
        ({"revocation": "junk"}, "invalid_certificate", "not a revocation"),
        ({"revocation": 5}, "bad_request", "the line that `gossipreg ca revoke` writes"),
        ({"certificate": "x"}, "bad_request", "'certificate': there is no such field"),
        ({}, "bad_request", "the line that `gossipreg ca revoke` writes"),
    ],
)
async def test_what_is_no_revocation_is_refused(
    client: httpx.AsyncClient, body: dict[str, object], code: str, said: str
) -> None:
    answer = await client.put("/api/v1/revocations", json=body)
    assert (answer.status_code, answer.json()["code"]) == (400, code)
    assert said in answer.json()["error"]


async def test_a_certificate_is_issued_or_refused_with_the_reason(client: httpx.AsyncClient, fake: FakeNode) -> None:
    line = "gossipreg-certificate-request-1 AAAA"
    given = await client.post("/api/v1/certificates", json={"request": line})
    assert (given.status_code, given.json()) == (201, {"certificate": "gossipreg-certificate-1 AAAA"})
    fake.is_issuer = False
    for request, status, code in (
        (line, 409, "not_an_issuer"),
        ("junk", 400, "invalid_certificate"),
        (5, 400, "bad_request"),
    ):
        refused = await client.post("/api/v1/certificates", json={"request": request})
        assert (refused.status_code, refused.json()["code"]) == (status, code)
    fake.is_issuer = True
    refused = await client.post("/api/v1/certificates", json={"request": f"{line} none"})
    assert (refused.status_code, refused.json()["code"]) == (403, "certificate_refused")


async def test_members_are_listed_with_what_they_prove_where_there_is_an_identity(
    client: httpx.AsyncClient, fake: FakeNode
) -> None:
    [plain] = (await client.get("/api/v1/members")).json()["members"]
    assert "identity" not in plain
    own = MemberIdentity(fake.name, True, "0f", "ab", 1767225600.0, ready=True)
    fake.identities = IdentityReport("prefer", 1767225600.0, (own,), (), {})
    [member] = (await client.get("/api/v1/members")).json()["members"]
    assert member == plain | {
        "identity": {"certificate": "0f", "authority": "ab", "until": 1767225600.0, "ready": True}
    }


def test_identity_is_in_the_metrics_where_there_is_one() -> None:
    fake = FakeNode()
    assert b"\ngossipreg_identity" not in exposition(fake, {})
    ready = MemberIdentity("a", True, "0f", "ab", 1767225600.0, True)
    others = (MemberIdentity("b", True, None, None, None, False), MemberIdentity("c", False, None, None, None, False))
    fake.identities = IdentityReport("prefer", 1767225600.0, (ready, *others), (), {"10.0.0.9": 3})
    found = exposition(fake, {}).decode()
    for line in (
        'gossipreg_identity_members{ready="no"} 1.0',
        'gossipreg_identity_members{ready="yes"} 1.0',
        'gossipreg_identity_certificate_end_seconds{member="a"} 1.7672256e+09',
        'gossipreg_identity_refused_total{source="10.0.0.9"} 3.0',
        "gossipreg_identity_revoked 0.0",
    ):
        assert line in found
