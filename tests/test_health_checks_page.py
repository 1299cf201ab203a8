"""The page docs/health-checks.md says what is so."""

from __future__ import annotations

import re
from pathlib import Path

import attrs

from gossipreg import limits
from gossipreg.check import Check, Kind
from gossipreg.model import Health

PAGE = (Path(__file__).parents[1] / "docs" / "health-checks.md").read_text()


def rows(heading: str) -> dict[str, str]:
    """The first two columns of the tables under a heading, for the rows that begin with code."""
    text = PAGE.split(f"## {heading}\n", 1)[1].split("\n## ", 1)[0]
    found = re.findall(r"^\| `([^`]+)` \|([^|]*)\|", text, re.MULTILINE)
    return {name: cell.strip() for name, cell in found}


def test_every_field_of_a_check_is_listed_with_its_default() -> None:
    listed = rows("What can be checked")
    fields = {field.name: field.default for field in attrs.fields(Check)}
    assert list(listed) == [*Kind, *(name for name in fields if name not in list(Kind))]
    for name in ("interval", "timeout", "jitter", "successes", "failures", "initial", "method", "verify", "tls"):
        assert listed[name] == f"`{str(getattr(Check(grpc='a:1'), name)).lower().removesuffix('.0')}`".replace(
            "`get`", "`GET`"
        )


def test_every_health_is_listed_with_what_lookups_do() -> None:
    assert rows("What they come to") == {health: "return it" if health.can_serve else "do not" for health in Health}


def test_the_limits_are_those_that_hold() -> None:
    listed = rows("Limits")
    assert {name: float(value) for name, value in listed.items()} == {
        name: float(getattr(limits, name)) for name in listed
    }
    assert {name for name in vars(limits) if name.startswith(("CHECKS_", "CHECK_RUNS"))} <= set(listed)
