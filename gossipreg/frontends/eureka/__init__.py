"""Eureka's REST interface, for its clients: applications that register themselves, renew leases and fetch the registry.

`trees`, `documents` and `xml` read and write documents. `posted_instance` and `instance_document` convert instances
from and to Eureka's form. `leases` and `overrides` are what clients may do, `applications` and `recent_changes` what
they see.
"""

from __future__ import annotations

from gossipreg.frontends.eureka.api import Eureka
from gossipreg.frontends.serving.compatibility_api import CompatibilityApi


def create_api() -> CompatibilityApi:
    """The API, with nothing kept yet."""
    return Eureka()
