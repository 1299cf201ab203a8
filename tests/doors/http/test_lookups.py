from __future__ import annotations

import json
from typing import Any

from gossipreg.doors.http.lookups import Lookup, Lookups
from tests.doors.http.fake_node import FakeNode


def ids(body: bytes) -> list[Any]:
    return [each["id"] for each in json.loads(body)["instances"]]


async def test_the_same_lookup_is_asked_of_the_node_once(fake: FakeNode) -> None:
    await fake.register("orders", port=80, id="a")
    lookups = Lookups(fake)
    assert lookups.body(Lookup("orders")) is lookups.body(Lookup("orders"))
    assert fake.lookups == 1


async def test_a_change_is_seen_at_once(fake: FakeNode) -> None:
    lookups = Lookups(fake)
    assert ids(lookups.body(Lookup("orders"))) == []
    instance = await fake.register("orders", port=80, id="a")
    assert ids(lookups.body(Lookup("orders"))) == ["a"]
    fake.fail_checks(instance)
    assert ids(lookups.body(Lookup("orders"))) == []
    assert ids(lookups.body(Lookup("orders", healthy=False))) == ["a"]
    await fake.deregister("a")
    assert ids(lookups.body(Lookup("orders", healthy=False))) == []


async def test_filters_do_not_share_an_answer(fake: FakeNode) -> None:
    await fake.register("orders", port=80, id="a", tags=["x"])
    await fake.register("orders", port=81, id="b", role="x", zone="x")
    lookups = Lookups(fake)
    assert ids(lookups.body(Lookup("orders", tag="x"))) == ["a"]
    assert ids(lookups.body(Lookup("orders", role="x"))) == ["b"]
    assert ids(lookups.body(Lookup("orders", zone="x"))) == ["b"]
    assert ids(lookups.body(Lookup("orders"))) == ["a", "b"]


async def test_names_that_do_not_exist_cannot_fill_the_cache(fake: FakeNode) -> None:
    await fake.register("orders", port=80)
    lookups = Lookups(fake, bytes_max=1000)
    kept = lookups.body(Lookup("orders"))
    for number in range(100):
        lookups.body(Lookup(f"nothing-{number}"))
    assert lookups.body(Lookup("orders")) is kept


async def test_when_the_cache_is_full_what_was_kept_longest_gives_way(fake: FakeNode) -> None:
    for service in "abc":
        await fake.register(service, port=80)
    size = len(Lookups(fake).body(Lookup("a")))
    lookups = Lookups(fake, bytes_max=2 * size)
    first = {service: lookups.body(Lookup(service)) for service in "abc"}
    assert lookups.body(Lookup("c")) is first["c"]
    assert lookups.body(Lookup("b")) is first["b"]
    assert lookups.body(Lookup("a")) == first["a"]
    assert lookups.body(Lookup("a")) is not first["a"]


async def test_an_answer_larger_than_the_cache_is_given_all_the_same(fake: FakeNode) -> None:
    await fake.register("orders", port=80, id="a")
    assert ids(Lookups(fake, bytes_max=10).body(Lookup("orders"))) == ["a"]
