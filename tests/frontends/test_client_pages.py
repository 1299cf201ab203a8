"""The pages about Envoy and Traefik say what the compatibility APIs do."""

from __future__ import annotations

import re

import pytest

from gossipreg.frontends.envoy import api as envoy
from gossipreg.frontends.serving.settling import SETTLE_SECONDS
from gossipreg.frontends.traefik import api as traefik
from tests.peers.stage import DOCS

ENVOY, TRAEFIK = ((DOCS / "clients" / f"{name}.md").read_text() for name in ("envoy", "traefik"))


@pytest.mark.parametrize("page", [ENVOY, TRAEFIK])
def test_they_say_how_long_a_node_is_young(page: str) -> None:
    assert f"for {SETTLE_SECONDS:g} s" in page


def test_the_longest_wait_is_named() -> None:
    assert f"the most is {envoy.WAIT_SECONDS_MAX:g}" in ENVOY


def test_every_parameter_of_the_configuration_is_named() -> None:
    assert set(re.findall(r"^\| `(\w+)=", TRAEFIK, re.MULTILINE)) == set(traefik.PARAMETERS)
