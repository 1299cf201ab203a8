"""Fixtures of DNS tests."""

from __future__ import annotations

import math

import pytest

from gossipreg.frontends.dns import limits
from tests.frontends.dns.client import DnsClient


@pytest.fixture
def dns_client() -> DnsClient:
    return DnsClient()


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """However slow this machine is, a batch is whole; the test of how long one may take says otherwise."""
    monkeypatch.setattr(limits, "BATCH_SECONDS", math.inf)
