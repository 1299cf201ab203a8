"""A registry that answers Eureka's REST API: a Eureka server, or one of our agents.

What is copied: every field that Eureka knows, the status among them. A copy's lease is renewed by the copier. A status
that was overridden is copied as the status, so that it ends there when it ends at the original's side.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote

from gossipreg.migrate.endpoint import Endpoint, reading
from gossipreg.migrate.registry import MARK, ListedInstance, RegistryRefused, origin_of
from gossipreg.values import frozen

#: The lease of a copy that is not renewed (seconds): Eureka has no lease without an end.
_FOR_GOOD: Final = 24 * 3600

#: What of an instance is posted as it is shown.
_FIELDS: Final = (
    *("instanceId", "hostName", "app", "ipAddr", "sid", "status", "port", "securePort", "countryId", "dataCenterInfo"),
    *("homePageUrl", "statusPageUrl", "healthCheckUrl", "secureHealthCheckUrl", "vipAddress", "secureVipAddress"),
    "asgName",
)


@frozen
class EurekaRegistry:
    """One side of a migration, over Eureka's API; the endpoint's path is that before ``/apps``."""

    endpoint: Endpoint
    name: str = "eureka"

    def instances(self) -> list[ListedInstance]:
        """See `MigrationSide`. One request."""
        with reading(self.endpoint.place, "Eureka"):
            apps = self.endpoint.get("/apps")["applications"].get("application") or []
            return [_listed(each) for app in apps for each in app.get("instance") or []]

    def write(self, instance: ListedInstance, mark: str, seconds: float | None) -> None:
        """See `MigrationSide`."""
        body = dict(instance.record)
        body["metadata"] = {**body["metadata"], MARK: mark}
        if seconds is not None:
            lease = body["leaseInfo"]
            body["leaseInfo"] = lease | {"durationInSecs": max(int(seconds), int(lease["durationInSecs"]))}
        else:
            body["leaseInfo"] = {"durationInSecs": _FOR_GOOD}
        if self.endpoint.send("POST", f"/apps/{_quoted(instance.service)}", {"instance": body}) == 404:
            raise RegistryRefused("404: what answers there takes no registrations over Eureka's API")

    def renew(self, instance: ListedInstance, seconds: float | None) -> bool:
        """See `MigrationSide`. Its status is part of what is written."""
        del seconds
        return self.endpoint.send("PUT", _path(instance)) != 404

    def holds(self, copy: ListedInstance) -> bool:
        """See `MigrationSide`. A list does not tell which agent holds an instance; a removal does."""
        del copy
        return True

    def remove(self, copy: ListedInstance) -> bool:
        """See `MigrationSide`."""
        return self.endpoint.send("DELETE", _path(copy)) != 404


def _path(instance: ListedInstance) -> str:
    return f"/apps/{_quoted(instance.service)}/{_quoted(instance.id)}"


def _quoted(text: str) -> str:
    return quote(text, safe="")


def _listed(shown: Mapping[str, Any]) -> ListedInstance:
    """One instance of a list in JSON."""
    metadata = {key: text for key, text in (shown.get("metadata") or {}).items() if key not in (MARK, "@class")}
    origin, digest = origin_of((shown.get("metadata") or {}).get(MARK))
    lease = shown.get("leaseInfo") or {}
    id_ = str(shown.get("instanceId") or shown["hostName"])
    record = {key: shown[key] for key in _FIELDS if shown.get(key) is not None}
    record |= {
        "instanceId": id_,
        "metadata": metadata,
        "leaseInfo": {
            "renewalIntervalInSecs": lease.get("renewalIntervalInSecs", 30),
            "durationInSecs": lease.get("durationInSecs", 90),
        },
    }
    status = str(shown.get("status"))
    plain, secure = shown.get("port") or {}, shown.get("securePort") or {}
    called = secure if _is_on(secure) and not _is_on(plain) else plain
    return ListedInstance(
        service=str(shown["app"]).upper(),
        id=id_,
        host=str(shown.get("ipAddr", "")),
        port=int(called.get("$", 0)),
        health={"UP": "passing", "OUT_OF_SERVICE": "maintenance"}.get(status, "critical"),
        reason=status,
        origin=origin,
        copied_digest=digest,
        record=record,
    )


def _is_on(port: Mapping[str, Any]) -> bool:
    return str(port.get("@enabled")).lower() == "true"
