"""A registration in any form is checked once and packed once, and the node never decodes its own bytes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgpack
import pytest

from gossipreg import Check, open_node
from gossipreg.frontends.http.handlers import read_spec
from gossipreg.model import Instance
from tests.runtime.nodes import config


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often an instance was checked, and a document that describes one was packed or unpacked."""
    counts: Counter[str] = Counter()

    def counting(name: str, act: Callable[..., Any], of: Callable[[Any], bool]) -> Callable[..., Any]:
        def counted(*arguments: Any, **options: Any) -> Any:
            result = act(*arguments, **options)
            if of(arguments[0]) or of(result):
                counts[name] += 1
            return result

        return counted

    def describes(document: object) -> bool:
        return isinstance(document, dict) and {"service", "port", "meta"} <= document.keys()

    monkeypatch.setattr(msgpack, "packb", counting("packed", msgpack.packb, describes))
    monkeypatch.setattr(msgpack, "unpackb", counting("unpacked", msgpack.unpackb, describes))
    monkeypatch.setattr(Instance, "check", counting("checked", Instance.check, lambda each: isinstance(each, Instance)))
    return counts


async def test_one_without_checks_is_packed_once_also_where_it_is_kept_on_disk(
    counted: Counter[str], tmp_path: Path
) -> None:
    for data_dir in (None, tmp_path):
        async with open_node(config("ann", data_dir=data_dir)) as node:
            counted.clear()
            await node.register("orders", port=80, tags=("v1",))
            assert node.lookup("orders")[0].tags == ("v1",)
            assert counted == {"packed": 1, "checked": 1}


async def test_one_over_http_likewise(counted: Counter[str]) -> None:
    async with open_node(config("ann")) as node:
        counted.clear()
        await node.register_spec(read_spec(b'{"service": "orders", "port": 80, "meta": {"a": "b"}}'))
        assert counted == {"packed": 1, "checked": 1}


async def test_one_with_checks_is_packed_once_for_the_others_and_once_for_the_disk(
    counted: Counter[str], tmp_path: Path
) -> None:
    async with open_node(config("ann", data_dir=tmp_path)) as node:
        counted.clear()
        await node.register("orders", port=80, checks=(Check(ttl=60, initial="passing"),))
        assert counted == {"packed": 2, "checked": 1}
