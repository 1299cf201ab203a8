"""Eureka's REST interface, for its clients: applications that register themselves, renew leases and fetch the registry.

`trees`, `documents` and `xml` read and write documents. `posted_instance` and `instance_document` convert instances
from and to Eureka's form. `leases` and `overrides` are what clients may do, `applications` and `recent_changes` what
they see.
"""

from __future__ import annotations

from gossipreg.frontends.serving.deferred_api import DeferredApi

_ROUTINE = frozenset(("PUT", f"{root}/apps/{{app}}/{{id}}") for root in ("/eureka", "/eureka/v2"))


def create_api() -> DeferredApi:
    """The API, with nothing kept yet."""
    return DeferredApi("gossipreg.frontends.eureka.api", "Eureka", ("/eureka",), _ROUTINE)
