"""A cluster of plain documents: what an agent would answer to what a template asks."""

from __future__ import annotations

from typing import Any

import attrs

from tests.cli.fake_agent import INSTANCE, MEMBER, NODE


@attrs.define
class FakeCluster:
    """Answers from what a test put there, and remembers what was asked."""

    instances: list[dict[str, Any]] = attrs.field(factory=list)
    members: list[dict[str, Any]] = attrs.field(factory=lambda: [MEMBER])
    node: dict[str, Any] = attrs.field(factory=lambda: dict(NODE))
    asked: list[tuple[str, ...]] = attrs.field(factory=list)

    def add(self, id: str, **fields: Any) -> None:
        self.instances.append(INSTANCE | {"id": id} | fields)

    def ask(self, *path: str, **query: str | None) -> Any:
        self.asked.append(path)
        match path:
            case ("node",):
                return self.node
            case ("members",):
                return {"members": self.members}
            case ("policies",):
                return {"policies": [{"key": "split:orders", "kind": "split", "shares": {"v1": 1}}]}
            case ("services",):
                names = {each["service"] for each in self.instances}
                return {"services": {name: {"instances": 2, "healthy": 1} for name in names}}
            case ("services", name):
                serving = ("passing", "warning")
                found = [
                    each
                    for each in self.instances
                    if each["service"] == name and (query.get("all") or each["health"] in serving)
                ]
                return {"index": 1, "instances": found}
        raise AssertionError(path)
