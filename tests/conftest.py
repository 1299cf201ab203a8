"""What all tests share: an option to record the scenes anew."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--record-scenes",
        action="store_true",
        help="write down what happens in tests/scenes/*.txt as what is expected; read the difference before you commit",
    )


# Machines are shared and noisy: how long an example takes says nothing about whether it holds.
settings.register_profile("gossipreg", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("gossipreg")
