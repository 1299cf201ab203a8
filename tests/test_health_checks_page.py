"""The page docs/health-checks.md says what is so."""

from __future__ import annotations

import re
from pathlib import Path

import attrs

from gossipreg import limits
from gossipreg.check import Check, CheckKind
from gossipreg.cli.settings import load
from gossipreg.model import Health
from gossipreg.targets import _BANNED, _NETWORKS_OF, DEFAULT_TARGETS

PAGE = (Path(__file__).parents[1] / "docs" / "health-checks.md").read_text()  # docs/health-checks.md


def rows(heading: str) -> dict[str, str]:
    """The first two columns of the tables under a heading, for the rows that begin with code."""
    text = PAGE.split(f"## {heading}\n", 1)[1].split("\n## ", 1)[0]
    found = re.findall(r"^\| `([^`]+)` \|([^|]*)\|", text, re.MULTILINE)
    return {name: cell.strip() for name, cell in found}


def test_every_field_of_a_check_is_listed_with_its_default() -> None:
    listed = rows("What can be checked")
    fields = {field.name: field.default for field in attrs.fields(Check)}
    assert list(listed) == [*CheckKind, *(name for name in fields if name not in list(CheckKind))]
    for name in ("interval", "timeout", "jitter", "successes", "failures", "initial", "method", "verify", "tls"):
        assert listed[name] == f"`{str(getattr(Check(grpc='a:1'), name)).lower().removesuffix('.0')}`".replace(
            "`get`", "`GET`"
        )


def test_every_health_is_listed_with_what_lookups_do() -> None:
    assert rows("Resulting health") == {health: "return it" if health.can_serve else "do not" for health in Health}


def test_the_limits_are_those_that_hold() -> None:
    listed = rows("Limits")
    assert {name: float(value) for name, value in listed.items()} == {
        name: float(getattr(limits, name)) for name in listed
    }
    assert {name for name in vars(limits) if name.startswith(("CHECKS_", "CHECK_RUNS"))} <= set(listed)


def test_what_may_be_contacted_is_listed_as_it_is() -> None:
    text = PAGE.split("## What a check may contact\n", 1)[1].split("\n## ", 1)[0]
    assert f"The default is `{', '.join(DEFAULT_TARGETS)}`." in text
    listed = rows("What a check may contact")
    assert set(_NETWORKS_OF) < set(listed)
    named = re.findall(r"[0-9a-f][0-9a-f.:]+/\d+|::1", listed["loopback"] + listed["private"])
    assert {each.partition("/")[0] for each in named} == {
        str(network.network_address) for word in ("loopback", "private") for network in _NETWORKS_OF[word]
    }
    for network in _BANNED:
        assert str(network.network_address if network.num_addresses == 1 else network) in text


def test_the_settings_that_are_shown_are_taken(tmp_path: Path) -> None:
    file = tmp_path / "agent.toml"
    for block in re.findall(r"^```toml\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE):
        file.write_text(block)
        assert "203.0.113.0/24" in load({}, {}, file).check_targets
