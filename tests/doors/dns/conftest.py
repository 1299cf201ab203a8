"""What tests of the DNS door share."""

from __future__ import annotations

import pytest

from tests.doors.dns.desk import Desk


@pytest.fixture
def desk() -> Desk:
    return Desk()
