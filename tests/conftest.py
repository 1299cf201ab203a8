"""What all tests share: an option to record the scenes anew."""

from __future__ import annotations

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--record-scenes",
        action="store_true",
        help="write down what happens in tests/scenes/*.txt as what is expected; read the difference before you commit",
    )
