"""The keys of the gossip over HTTP: listed by their ids, added, used and removed."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from gossipreg.identities import IdentityReport, MemberIdentity
from gossipreg.key_format import encode_key, key_id
from tests.frontends.fake_node import FakeNode

OLD, NEW = bytes(32), bytes(range(32))
OLD_ID, NEW_ID = key_id(OLD), key_id(NEW)


async def test_keys_are_added_used_and_removed_and_never_shown(client: httpx.AsyncClient, fake: FakeNode) -> None:
    assert (await client.get("/api/v1/keys")).json() == {"keys": []}
    for key, id_ in ((OLD, OLD_ID), (NEW, NEW_ID)):
        answer = await client.put("/api/v1/keys", json={"key": encode_key(key)})
        assert (answer.status_code, answer.json()) == (200, {"id": id_})
    vain = await client.put("/api/v1/primary_key", json={"id": NEW_ID})
    assert (vain.status_code, vain.json()["code"]) == (409, "key_not_held")
    used = await client.put("/api/v1/primary_key", json={"id": NEW_ID, "keep": "1h30m", "force": True})
    listed = await client.get("/api/v1/keys")
    assert used.json() == listed.json()
    assert listed.json()["keys"] == [
        {
            "id": OLD_ID,
            "primary": False,
            "held_by": 1,
            "used_by": 0,
            "not_held_by": ["beta"],
            "until": 1767225600.0 + 5400,
        },
        {"id": NEW_ID, "primary": True, "held_by": 1, "used_by": 0, "not_held_by": ["beta"], "until": None},
    ]
    assert encode_key(NEW) not in listed.text
    in_use = await client.delete(f"/api/v1/keys/{NEW_ID}")
    assert (in_use.status_code, in_use.json()["code"]) == (409, "key_in_use")
    assert (await client.delete(f"/api/v1/keys/{OLD_ID}")).status_code == 204
    again = await client.put("/api/v1/keys", json={"key": encode_key(OLD)})
    assert (again.status_code, again.json()["code"]) == (409, "key_given_up")
    unknown = await client.put("/api/v1/primary_key", json={"id": OLD_ID})
    assert (unknown.status_code, unknown.json()["code"]) == (404, "unknown_key")


async def test_with_identity_the_members_and_policies_that_are_not_ready_for_it_to_be_required_are_named(
    client: httpx.AsyncClient, fake: FakeNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    members = [
        MemberIdentity(name, is_present, None, None, None, ready=is_ready)
        for name, is_present, is_ready in (("a", True, True), ("b", True, False), ("c", False, False))
    ]
    report = IdentityReport("prefer", None, tuple(members), (), {}, ("split:orders",))
    monkeypatch.setattr(type(fake), "identity", lambda _: report)
    said = (await client.get("/api/v1/keys")).json()["identity"]
    assert said == {"mode": "prefer", "not_ready": ["b"], "unsigned_policies": ["split:orders"]}


@pytest.mark.parametrize(
    ("path", "body", "sentence"),
    [
        ("keys", [], "the body is not an object"),
        ("keys", {"keys": "x"}, "'keys': there is no such field"),
        ("keys", {"key": 7}, "key: a key is expected as a string in base64"),
        ("keys", {"key": "AAAA"}, "key: the key has 3 bytes, not 32"),
        ("primary_key", {}, "id: the id of a key is expected"),
        ("primary_key", {"id": NEW_ID, "force": "yes"}, "force: is neither true nor false"),
        ("primary_key", {"id": NEW_ID, "keep": 3}, "keep: a time of 0 to 366 days is expected"),
        ("primary_key", {"id": NEW_ID, "keep": "367x"}, "keep: a time of 0 to 366 days is expected"),
        ("primary_key", {"id": NEW_ID, "keep": "8785h"}, "keep: a time of 0 to 366 days is expected"),
    ],
    ids=str,
)
async def test_what_cannot_be_read_is_refused_with_its_field(
    client: httpx.AsyncClient, path: str, body: Any, sentence: str
) -> None:
    answer = await client.put(f"/api/v1/{path}", json=body)
    assert (answer.status_code, sentence in answer.json()["error"]) == (400, True)


async def test_a_body_is_needed_and_has_to_be_json(client: httpx.AsyncClient) -> None:
    assert (await client.put("/api/v1/primary_key", content=b"{")).status_code == 400
    bare = await client.send(httpx.Request("PUT", f"{client.base_url}/api/v1/keys"))
    assert bare.status_code in (400, 411)
