"""What Prometheus is told to scrape. The form is that of its HTTP service discovery."""

from __future__ import annotations

import re
from pathlib import Path

import httpx

from gossipreg.frontends.http.http_sd import PREFIX, labels
from gossipreg.model import Instance
from tests.frontends.fake_node import FakeNode

PAGE = (Path(__file__).parents[3] / "docs" / "metrics.md").read_text()


async def test_every_instance_is_a_target_with_its_labels(fake: FakeNode, client: httpx.AsyncClient) -> None:
    await fake.register("orders", port=8080, id="o1", tags=["v2", "eu"], meta={"team-a": "x"}, role="primary", weight=3)
    answer = await client.get("/api/v1/http_sd")
    assert answer.headers["content-type"] == "application/json"
    assert answer.json() == [
        {
            "targets": ["127.0.0.1:8080"],
            "labels": {
                "__meta_gossipreg_service": "orders",
                "__meta_gossipreg_id": "o1",
                "__meta_gossipreg_owner": "alpha",
                "__meta_gossipreg_zone": "north",
                "__meta_gossipreg_role": "primary",
                "__meta_gossipreg_health": "passing",
                "__meta_gossipreg_weight": "3",
                "__meta_gossipreg_stale": "false",
                "__meta_gossipreg_tags": ",v2,eu,",
                "__meta_gossipreg_meta_team_a": "x",
            },
        }
    ]


async def test_what_cannot_serve_is_scraped_all_the_same_unless_asked_otherwise(
    fake: FakeNode, client: httpx.AsyncClient
) -> None:
    await fake.register("orders", port=1)
    fake.fail_checks(await fake.register("orders", port=2))
    await fake.register("users", port=3)

    async def ports(query: str) -> list[str]:
        found = (await client.get(f"/api/v1/http_sd{query}")).json()
        return [target.rpartition(":")[2] for each in found for target in each["targets"]]

    assert await ports("") == ["1", "2", "3"]
    assert await ports("?service=orders") == ["1", "2"]
    assert await ports("?service=orders&healthy") == ["1"]
    assert await ports("?service=missing") == []


def test_what_was_last_known_of_an_instance_is_marked() -> None:
    known = Instance(id="x", service="s", host="::1", port=1, stale=True)
    assert labels(known)[f"{PREFIX}stale"] == "true"


def test_labels_are_of_the_form_that_prometheus_takes() -> None:
    odd = Instance(id="x", service="s", host="::1", port=1, meta={"a.b/c-é": "1", "": "2"})
    assert all(re.fullmatch("[a-zA-Z_][a-zA-Z0-9_]*", name) for name in labels(odd))


def test_every_label_is_on_the_page() -> None:
    made = labels(Instance(id="x", service="s", host="h", port=1))
    rows = set(re.findall(r"^\| `(__meta_\w+?)(?:_KEY)?` \|", PAGE, re.MULTILINE))
    assert rows == {*made, f"{PREFIX}meta"}
