"""The page about DNS says what the frontend does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from gossipreg.frontends.dns import limits
from gossipreg.model import Instance
from tests.frontends.dns.client import DnsClient, code

PAGE = (Path(__file__).parents[3] / "docs" / "dns.md").read_text()

EXAMPLES = re.findall(r"^\| .* \| `([a-z0-9._-]+)` \|$", PAGE, re.MULTILINE)
DUG = re.findall(r"^dig @127\.0\.0\.1 -p 8600 (\S+)", PAGE, re.MULTILINE)


@pytest.fixture
def dns_client() -> DnsClient:
    dns_client = DnsClient(regions=("eu",))
    dns_client.node.hold_elsewhere("eu", "orders", Instance(id="o", service="orders", host="10.1.0.1", port=80))
    dns_client.join("web-1", "10.0.0.7")
    dns_client.offer("10.0.0.1", tags=["v2"], zone="north")
    dns_client.offer("10.0.0.2", service="pg", role="primary")
    return dns_client


@pytest.mark.parametrize("name", EXAMPLES + DUG)
def test_every_name_on_the_page_is_answered(dns_client: DnsClient, name: str) -> None:
    response = dns_client.ask(name, "PTR" if name.endswith(".arpa") else "ANY")
    assert (code(response), bool(response.answer)) == ("NOERROR", True)


def test_the_page_has_an_example_of_each_kind() -> None:
    assert len(EXAMPLES) == 12
    assert len(DUG) == 3


def test_the_numbers_on_the_page_are_the_limits() -> None:
    page = " ".join(PAGE.split())
    assert f"{limits.UDP_BYTES_PLAIN} bytes, or its EDNS size, up to {limits.UDP_BYTES_MAX}" in page
    assert f"{limits.ORDERS} orders are cached" in page
    assert f"every {limits.ANSWERS_PER_DRAW} answers" in page
    assert f"over {limits.TXT_BYTES_MAX} bytes, or over {limits.TXT_RECORD_BYTES_MAX // 1024} KiB" in page
    assert f"at most {limits.NEGATIVE_TTL_MAX} s" in page
