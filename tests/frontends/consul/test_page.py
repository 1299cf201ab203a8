"""The page about Consul says what the API does."""

from __future__ import annotations

import re

from gossipreg.frontends.consul.api import ABSENT, PATHS
from gossipreg.frontends.serving.settling import SETTLE_SECONDS
from tests.peers.stage import DOCS

PAGE = (DOCS / "clients" / "consul.md").read_text()


def test_it_says_how_long_a_node_is_young() -> None:
    assert f"up to {SETTLE_SECONDS:g} s to answer" in PAGE


def test_it_names_everything_that_there_is() -> None:
    [paths] = re.findall(r"^- \*\*Paths\*\*: (.*?)\n- ", PAGE, re.DOTALL | re.MULTILINE)
    named = [f"/v1/{name.replace('NAME', '{query}')}" for name in re.findall(r"`(.*?)`", paths)]
    for pattern in (pattern for pattern in PATHS.patterns if pattern not in ABSENT):
        assert any(pattern.startswith(name) for name in named), pattern


def test_it_names_everything_that_there_is_not() -> None:
    [row] = re.findall(r"^\| (.*?) \| 501, ", PAGE, re.MULTILINE)
    named = [f"/v1/{name}" for name in re.findall(r"`(.*?)`", row)]
    for pattern in ABSENT:
        assert any(pattern.startswith(name) for name in named), pattern
