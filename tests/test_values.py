"""Every field of a value that users make is judged: junk of any type is refused by name, with an error of ours."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import attrs
import pytest

import gossipreg
from gossipreg.check import Check
from gossipreg.errors import GossipregError, InvalidInstance, InvalidPolicy
from gossipreg.frontends.proxy.settings import Forward
from gossipreg.model import Instance
from gossipreg.policy import Maintenance, Split, WeightOverride
from tests.runtime.nodes import config

JUNK: tuple[Any, ...] = (
    *(
        None,
        True,
        False,
        0,
        1,
        -1,
        1.5,
        float("nan"),
        float("inf"),
        10**400,
        "",
        "x",
        "no",
        "1",
        b"x",
        "\ud800",
        "a\nb",
    ),
    *([], ["a"], [1], [[]], [None], {}, {"a": 1}, {1: "a"}, {"a": "b"}, (), ("a",), {"v1"}, object, "a" * 100_000),
)

#: What the node and not the user says of an instance.
NOT_GIVEN = ("health", "owner", "stale")


def names(made: type[Any], *but: str) -> Iterator[str]:
    yield from (field.name for field in attrs.fields(made) if field.name not in but)


def made_and_checked(made: type[Any]) -> Callable[..., Any]:
    def make(**values: Any) -> Any:
        value = made(**values)
        value.check()
        return value

    return make


CASES = [
    *((Check, {"http": "http://h/"}, name) for name in names(Check, "http", "tcp", "grpc", "ttl", "command")),
    *((Check, {}, kind) for kind in ("http", "tcp", "grpc", "ttl", "command")),
    *((made_and_checked(Split), {"service": "s", "shares": {"v1": 1}}, name) for name in names(Split)),
    *(
        (made_and_checked(WeightOverride), {"service": "s", "instance": "i", "weight": 1}, name)
        for name in names(WeightOverride)
    ),
    *((made_and_checked(Maintenance), {"service": "s", "instance": "i"}, name) for name in names(Maintenance)),
    *(
        (made_and_checked(Instance), {"id": "i", "service": "s", "host": "h", "port": 1}, name)
        for name in names(Instance, *NOT_GIVEN)
    ),
    *((Forward, {"listen": "h:1", "service": "s"}, name) for name in names(Forward)),
]


@pytest.mark.parametrize(("make", "rest", "name"), CASES)
def test_junk_is_refused_by_name_in_one_line(make: Callable[..., Any], rest: dict[str, Any], name: str) -> None:
    called = {"shares": "split", "sealed": "credentials"}.get(name, name)
    refused = 0
    for value in JUNK:
        try:
            make(**rest | {name: value})
        except GossipregError as error:
            refused += 1
            sentence = str(error)
        else:
            continue
        assert sentence.startswith((f"{called}: ", f"{called} ", "kind: ")), sentence[:100]
        assert "\n" not in sentence
        assert len(sentence) < 300
    assert refused > len(JUNK) / 3, "hardly any of it may pass"


async def test_what_a_program_registers_is_judged_likewise() -> None:
    async with gossipreg.open_node(config()) as node:
        for name in ("host", "tags", "meta", "weight", "zone", "role", "term", "id", "checks", "credentials"):
            wrong: dict[str, Any] = {name: object()}
            with pytest.raises(InvalidInstance, match=f"^{name}: "):
                await node.register("orders", port=80, **wrong)
        assert node.services() == {}


async def test_what_is_no_rule_is_no_policy() -> None:
    async with gossipreg.open_node(config()) as node:
        no_rule: Any = {"service": "orders", "weight": 1}
        with pytest.raises(InvalidPolicy, match=r"^rule: .* is none of Split, .*, PreparedQuery$"):
            await node.set_policy(no_rule)
