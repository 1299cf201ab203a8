"""Eureka's REST interface, for its clients: applications that register themselves, renew leases and fetch the registry.

`trees` and `xml` know how documents are written, `posted` and `shown` how an instance becomes one of this registry and
one of Eureka's again, `leases` and `overrides` what clients may do, `apps` and `recent` what they see.
"""

from __future__ import annotations

from gossipreg.frontends.eureka.api import Eureka
from gossipreg.frontends.serving.compatibility_api import CompatibilityApi


def create_api() -> CompatibilityApi:
    """The API, for one door."""
    return Eureka()
