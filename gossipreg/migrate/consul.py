"""Migration from and to a registry that answers Consul's HTTP API: a Consul agent, or an agent of gossipreg.

What is copied: name, id, address, port, tags, meta, weights, tagged addresses, whether tags may be overridden, health
and maintenance. A copy has at most one check, a TTL check, which the migration renews while it follows. Sidecars and
gateways of Consul's service mesh are left out, as is the service ``consul`` itself.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import quote

from gossipreg.migrate.endpoint import Endpoint, reading
from gossipreg.migrate.registry import MARK, ListedInstance, RegistryRefused, origin_of
from gossipreg.values import frozen

#: How long a copy stays critical after its renewals have ended, before it is removed (Consul's minimum: a minute).
_REMOVED_AFTER: Final = "10m"

#: TTL of the check of a copy that is not renewed (seconds): it keeps the state that was written for a day.
_FOR_GOOD: Final = 24 * 3600.0

_GRAVITY: Final[Mapping[str, int]] = {"passing": 0, "warning": 1, "critical": 2, "maintenance": 3}


def _check_id(id: str) -> str:
    return f"migrate:{id}"


@frozen
class ConsulRegistry:
    """A `MigrationSide` that is reached over Consul's API. ``node``: name of the agent's node, which holds copies."""

    endpoint: Endpoint
    name: str
    node: str

    @classmethod
    def at(cls, endpoint: Endpoint, name: str | None = None) -> ConsulRegistry:
        """The registry at ``endpoint``, called ``name`` or ``consul:DATACENTER``. Raises ``RegistryUnreachable``."""
        with reading(endpoint.place, "Consul"):
            config = endpoint.get("/v1/agent/self")["Config"]
            return cls(endpoint, name or f"consul:{config['Datacenter']}", str(config.get("NodeName", "")))

    def instances(self) -> list[ListedInstance]:
        """See `MigrationSide`. One request for the names, and one for each service."""
        with reading(self.endpoint.place, "Consul"):
            rows = [
                row
                for service in sorted(self.endpoint.get("/v1/catalog/services"))
                if service != "consul"
                for row in self.endpoint.get(f"/v1/health/service/{quote(service, safe='')}")
                if not row["Service"].get("Kind")
            ]
            originals = Counter(_key_of(row) for row in rows if MARK not in (row["Service"].get("Meta") or {}))
            return [_listed(row, is_unique=originals[_key_of(row)] <= 1) for row in rows]

    def write(self, instance: ListedInstance, mark: str, seconds: float | None) -> None:
        """See `MigrationSide`."""
        body = dict(instance.record)
        body["Meta"] = {**body["Meta"], MARK: mark}
        if seconds is not None or instance.health in ("warning", "critical"):
            body["Check"] = {
                "CheckID": _check_id(instance.id),
                "Name": "copied by gossipreg migrate",
                "TTL": f"{_FOR_GOOD if seconds is None else seconds:.0f}s",
                "Status": _status(instance),
            }
            if seconds is not None:
                body["Check"]["DeregisterCriticalServiceAfter"] = _REMOVED_AFTER
        if self.endpoint.send("PUT", "/v1/agent/service/register?replace-existing-checks=true", body) == 404:
            raise RegistryRefused("404: what answers there takes no registrations over Consul's API")
        self._tell(instance, seconds)

    def renew(self, instance: ListedInstance, seconds: float | None) -> bool:
        """See `MigrationSide`."""
        return self._tell(instance, seconds)

    def _tell(self, instance: ListedInstance, seconds: float | None) -> bool:
        """Give the copy its original's maintenance and health. False if the registry does not hold the copy."""
        is_out = instance.health == "maintenance"
        reason = f"&reason={quote(instance.reason, safe='')}" if is_out and instance.reason else ""
        enable = f"enable={'true' if is_out else 'false'}{reason}"
        there = self.endpoint.send("PUT", f"/v1/agent/service/maintenance/{quote(instance.id, safe='')}?{enable}")
        if there == 404 or seconds is None:
            return there != 404
        path = f"/v1/agent/check/update/{quote(_check_id(instance.id), safe='')}"
        return self.endpoint.send("PUT", path, {"Status": _status(instance), "Output": instance.reason}) != 404

    def holds(self, copy: ListedInstance) -> bool:
        """See `MigrationSide`. A copy that another agent holds is left to the migration that made it."""
        return copy.node in ("", self.node)

    def remove(self, copy: ListedInstance) -> bool:
        """See `MigrationSide`."""
        return self.endpoint.send("PUT", f"/v1/agent/service/deregister/{quote(copy.id, safe='')}") != 404


def _status(instance: ListedInstance) -> str:
    return "passing" if instance.health == "maintenance" else instance.health


def _key_of(row: Mapping[str, Any]) -> tuple[str, str]:
    return row["Service"]["Service"], row["Service"]["ID"]


def _listed(row: Mapping[str, Any], *, is_unique: bool) -> ListedInstance:
    """The instance in a row of ``/v1/health/service``. An id that is not unique is prefixed with the node's name."""
    service, node = row["Service"], row["Node"]
    meta = {key: text for key, text in (service.get("Meta") or {}).items() if key != MARK}
    origin, digest = origin_of((service.get("Meta") or {}).get(MARK))
    health, reason = _health(row.get("Checks") or ())
    host, id_ = service.get("Address") or node["Address"], service["ID"]
    key = id_ if is_unique or origin else f"{node['Node']}:{id_}"
    weights = service.get("Weights") or {"Passing": 1, "Warning": 1}
    record = {
        "ID": key,
        "Name": service["Service"],
        "Address": host,
        "Port": service.get("Port") or 0,
        "Tags": list(service.get("Tags") or ()),
        "Meta": meta,
        "Weights": {"Passing": weights.get("Passing", 1), "Warning": weights.get("Warning", 1)},
        "EnableTagOverride": bool(service.get("EnableTagOverride")),
    }
    if service.get("TaggedAddresses"):
        record["TaggedAddresses"] = service["TaggedAddresses"]
    return ListedInstance(
        service=service["Service"],
        id=key,
        host=host,
        port=record["Port"],
        health=health,
        reason=reason,
        origin=origin,
        copied_digest=digest,
        node=node["Node"],
        record=record,
    )


def _health(checks: Sequence[Mapping[str, Any]]) -> tuple[str, str]:
    """The worst health among the checks of an instance and of its node, and the output of that check."""
    found = [(_health_of(check), str(check.get("Output") or check.get("Notes") or "")) for check in checks]
    health, reason = max(found, key=lambda each: _GRAVITY[each[0]], default=("passing", ""))
    return health, "" if health == "passing" else reason


def _health_of(check: Mapping[str, Any]) -> str:
    if str(check.get("CheckID", "")).startswith(("_service_maintenance", "_node_maintenance")):
        return "maintenance"
    status = str(check.get("Status", ""))
    return status if status in ("passing", "warning") else "critical"
