"""The alerts and the dashboard: each metric and label that they name is exported, and promtool takes the rules."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Final

import pytest
import yaml  # type: ignore[import-untyped]

from gossipreg.counters import Count

DOCS: Final = Path(__file__).parents[2] / "docs"
PAGE: Final = (DOCS / "metrics.md").read_text()
RULES: Final = DOCS / "deploy" / "prometheus" / "gossipreg.rules.yml"
DASHBOARD: Final = DOCS / "deploy" / "grafana" / "gossipreg.json"


def exported() -> dict[str, set[str]]:
    """The labels of each metric on the page, which a test of its own compares with what an agent exports."""
    rows = re.findall(r"^\| `(gossipreg_\w+)` \|([^|]*)\|", PAGE, re.MULTILINE)
    return {name: {"instance", "job", *re.findall(r"\w+", labels)} for name, labels in rows}


def expressions() -> list[str]:
    rules = yaml.safe_load(RULES.read_text())["groups"][0]["rules"]
    panels = json.loads(DASHBOARD.read_text())["panels"]
    return [each["expr"] for each in rules] + [each["expr"] for panel in panels for each in panel["targets"]]


@pytest.mark.parametrize("expression", expressions())
def test_every_metric_label_and_counter_that_is_named_exists(expression: str) -> None:
    known = exported()
    named = re.findall(r"\b(gossipreg_\w+|process_\w+)(?:\{([^}]*)\})?", expression)
    assert named
    for metric, selectors in named:
        labels = known[metric] if metric.startswith("gossipreg_") else {"instance", "job"}
        if metric.startswith("process_"):
            assert f"`{metric}`" in PAGE
        for label, values in re.findall(r'(\w+)\s*[=!]~?\s*"([^"]*)"', selectors):
            assert label in labels
            if label == "event":
                assert set(values.split("|")) <= set(map(str, Count))
            elif label == "status":
                assert set(values.split("|")) <= {"alive", "suspect", "failed", "left"}


def test_every_alert_says_what_is_wrong_and_what_to_do() -> None:
    for rule in yaml.safe_load(RULES.read_text())["groups"][0]["rules"]:
        assert set(rule["annotations"]) == {"summary", "remedy"}, rule["alert"]
        assert rule["labels"]["severity"] in ("warning", "critical")


def test_every_expression_to_watch_on_the_page_has_an_alert() -> None:
    rules = {rule["expr"] for rule in yaml.safe_load(RULES.read_text())["groups"][0]["rules"]}
    watched = re.findall(
        r"^\| `([^`]+)`[^|]*\|", PAGE.partition("## What to watch")[2].partition("###")[0], re.MULTILINE
    )
    assert watched
    assert set(watched) <= rules


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed (Debian: prometheus)")
@pytest.mark.parametrize("arguments", [("check", "rules", RULES.name), ("test", "rules", "gossipreg.rules.test.yml")])
def test_promtool_takes_the_rules_and_they_fire_as_meant(arguments: tuple[str, ...]) -> None:
    ran = subprocess.run(["promtool", *arguments], cwd=RULES.parent, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
