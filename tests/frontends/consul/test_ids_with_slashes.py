"""Ids with slashes: the rest of the path is the id, in every call that takes one."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import quote

import pytest

from gossipreg.model import Health
from tests.frontends.consul.client import Client
from tests.frontends.fake_node import FakeNode

IDS = ["ns/app-1", "http://10.0.0.1:80/", "a//b", "a/../b", "/rooted", "a/", "register", "a%2Fb", "ns/app/status"]


def encoded(id_: str) -> str:
    return quote(id_, safe="")


def plain(id_: str) -> str:
    """As clients write it that leave slashes alone, which are most."""
    return quote(id_, safe="/:")


@pytest.mark.parametrize("write", [plain, encoded])
@pytest.mark.parametrize("id_", IDS)
async def test_an_id_with_slashes_is_found_in_every_call(id_: str, write: Callable[[str], str]) -> None:
    node = FakeNode()
    client = Client(node)
    await client.put("agent/service/register", {"Name": "web", "ID": id_, "Port": 80, "Check": {"TTL": "1m"}})
    path, check = write(id_), write(f"service:{id_}")
    assert (await client.get(f"agent/service/{path}"))["ID"] == id_
    assert (await client.get(f"agent/health/service/id/{path}"))["Service"]["ID"] == id_
    assert list(await client.get("agent/services")) == [id_]

    await client.put(f"agent/service/maintenance/{path}?enable=true")
    assert [each.health for each in node.lookup("web", healthy=False)] == [Health.MAINTENANCE]
    await client.put(f"agent/service/maintenance/{path}?enable=false")

    for verb, health in [("pass", Health.PASSING), ("warn", Health.WARNING), ("fail", Health.CRITICAL)]:
        await client.put(f"agent/check/{verb}/{check}")
        assert node.beats.pop() == (id_, "service", health, "")
    await client.put(f"agent/check/update/{check}", {"Status": "passing"})
    assert node.beats.pop()[:3] == (id_, "service", Health.PASSING)

    await client.put("agent/check/register", {"ID": f"more/{id_}", "Name": "more", "ServiceID": id_, "TTL": "1m"})
    await client.put(f"agent/check/pass/{write(f'more/{id_}')}")
    await client.put(f"agent/check/deregister/{write(f'more/{id_}')}")
    assert [each.name for each in node.checked[id_]] == ["service"]

    await client.put(f"agent/service/deregister/{path}")
    assert node.lookup("web", healthy=False) == ()
