"""A join over HTTP: what was joined, what was not and why, and what is no list of addresses."""

from __future__ import annotations

from typing import Any

import httpx
import pytest


async def test_the_answer_has_what_was_joined_and_why_the_others_were_not(client: httpx.AsyncClient) -> None:
    answer = await client.post("/api/v1/join", json={"seeds": ["10.0.0.6:7940", "10.0.0.7"]})
    detail = "nothing listens there: the connection is refused"
    assert (answer.status_code, answer.json()) == (
        200,
        {"joined": ["10.0.0.6:7940"], "failures": {"10.0.0.7": {"reason": "refused", "detail": detail}}},
    )
    vain = await client.post("/api/v1/join", json={"seeds": ["10.0.0.7"]})
    assert (vain.status_code, vain.json()) == (502, {"error": f"not joined: 10.0.0.7: {detail}", "code": "join_failed"})


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ([], "the body is not an object"),
        ({"seed": "x"}, "'seed': there is no such field"),
        ({}, "seeds: a list of 1 to 16 addresses is expected"),
        ({"seeds": "10.0.0.6"}, "seeds: a list of 1 to 16 addresses is expected"),
        ({"seeds": [7]}, "seeds: a list of 1 to 16 addresses is expected"),
        ({"seeds": []}, "seeds: 0 are named"),
        ({"seeds": ["0.0.0.0"]}, "seeds: the host of '0.0.0.0' is every address"),
    ],
    ids=str,
)
async def test_what_is_no_list_of_addresses_is_refused(client: httpx.AsyncClient, body: Any, sentence: str) -> None:
    answer = await client.post("/api/v1/join", json=body)
    assert answer.status_code == 400
    assert answer.json()["error"].startswith(sentence)
