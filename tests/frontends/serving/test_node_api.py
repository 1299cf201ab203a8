"""What frontends make of a node's answers: long ones a piece at a time."""

from __future__ import annotations

import pytest

from gossipreg import Check
from gossipreg.check import CheckReport
from gossipreg.frontends.serving.node_api import each_check
from tests.frontends.fake_node import FakeNode


async def test_reports_of_checks_are_made_as_they_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    node, asked = FakeNode(), []
    for number in range(3):
        await node.register("orders", id=f"o-{number}", port=80, checks=[Check(ttl=60.0)])
    checks = FakeNode.checks

    def counted(fake: FakeNode, id: str | None = None) -> tuple[CheckReport, ...]:
        asked.append(id)
        return checks(fake, id)

    monkeypatch.setattr(FakeNode, "checks", counted)
    reports = each_check(node)
    assert (next(reports).instance, asked) == ("o-0", ["o-0"])
    await node.deregister("o-1")
    assert [each.instance for each in reports] == ["o-2"]
