"""Instance documents: how an instance is shown in Eureka, however it was registered.

What a client of Eureka's posted is shown as it was posted; another instance is shown as its client would have posted
it. Weight, term, role, zone and tags are metadata there.
"""

from __future__ import annotations

from typing import Final

import attrs

from gossipreg.frontends.eureka.documents import DocumentFormat, read_json
from gossipreg.frontends.eureka.trees import MalformedDocument, Tree, table, text_of, whole_number
from gossipreg.model import Health, Instance

#: The key of the meta under which is kept what was posted and has no other place.
KEPT: Final = "eureka.instance"

#: What a client may say of itself. Anything else is UNKNOWN, as in Eureka.
STATUSES: Final = ("UP", "DOWN", "STARTING", "OUT_OF_SERVICE", "UNKNOWN")

#: How often a client renews, and how long a lease lasts, unless it says so (seconds): Eureka's own numbers.
RENEWAL_SECONDS: Final = 30
LEASE_SECONDS: Final = 90

SECURE_PORT: Final = 443
DATA_CENTER: Final[Tree] = {"@class": "com.netflix.appinfo.InstanceInfo$DefaultDataCenterInfo", "name": "MyOwn"}

_OVERRIDE: Final = "eureka: "


def app_of(service: str) -> str:
    """The name of a service in Eureka."""
    return service.upper()


def kept_of(instance: Instance) -> Tree | None:
    """What is kept of a post; None if ``instance`` was not posted by a client of Eureka's."""
    text = instance.meta.get(KEPT)
    if text is None:
        return None
    try:
        kept = read_json(text)
    except MalformedDocument:
        return None  # not written by a client of Eureka's
    whole = all(isinstance(kept.get(key), dict) for key in ("leaseInfo", "port", "securePort", "dataCenterInfo"))
    return kept if whole and kept.get("status") in STATUSES else None


def id_of(instance: Instance, kept: Tree | None) -> str:
    """Its id in Eureka, where two applications may each have an instance of the same id."""
    return text_of((kept or {}).get("instanceId")) or instance.id


def metadata_of(instance: Instance) -> dict[str, str]:
    """The meta and the fields of an instance as its metadata in Eureka.

    Role and term are shown as they are now, also where the meta has another: clients of Consul's write them there, and
    a primary that was superseded must be read as such.
    """
    fields = {
        "weight": str(instance.weight),
        "term": str(instance.term) if instance.term else "",
        "role": instance.role or "",
        "zone": instance.zone,
        "tags": ",".join(instance.tags),
    }
    meta = {key: text for key, text in instance.meta.items() if key != KEPT}
    shown = {key: text for key, text in fields.items() if text}
    return shown | meta | {key: shown[key] for key in ("role", "term") if key in shown}


def reason_of(override: str) -> str:
    """Why an instance is taken out whose status was set to ``override`` by a client of Eureka's."""
    return f"{_OVERRIDE}{override}"


def is_override(reason: str) -> bool:
    """Whether that is why an instance was taken out by a client of Eureka's."""
    return reason.startswith(_OVERRIDE) and reason.removeprefix(_OVERRIDE) in STATUSES


def override_of(instance: Instance) -> str:
    """The status that an instance was set to, whatever its client says; UNKNOWN if it was not."""
    if instance.health is not Health.MAINTENANCE:
        return "UNKNOWN"
    return instance.reason.removeprefix(_OVERRIDE) if is_override(instance.reason) else "OUT_OF_SERVICE"


def status_of(instance: Instance, kept: Tree | None, *, healthy: bool) -> str:
    """The status of an instance. It is UP if lookups return it as ``healthy`` and its weight has it called."""
    if instance.health is Health.MAINTENANCE:
        return override_of(instance)
    if healthy and instance.weight:
        return "UP"
    if instance.health.can_serve:
        return "OUT_OF_SERVICE"
    said = "UP" if kept is None else text_of(kept["status"])
    return "DOWN" if said == "UP" else said


def has_ended(instance: Instance, kept: Tree | None) -> bool:
    """Whether its lease is over since the node that held it has failed: its client has moved to another, or is gone."""
    return kept is not None and instance.stale and not instance.health.can_serve


def tree_of(instance: Instance, kept: Tree | None, status: str) -> Tree:
    """The instance as Eureka shows it."""
    return {
        **(_unposted(instance) if kept is None else kept),
        "instanceId": id_of(instance, kept),
        "app": app_of(instance.service),
        "ipAddr": instance.host,
        "status": status,
        "overriddenstatus": override_of(instance),
        "metadata": {key: text for key, text in metadata_of(instance).items() if key[:1] not in ("@", "$")},
    }


def _unposted(instance: Instance) -> Tree:
    """What a client of Eureka's would have posted of an instance that was registered in another way."""
    return {
        "hostName": instance.host,
        "port": {"$": instance.port, "@enabled": "true"},
        "securePort": {"$": SECURE_PORT, "@enabled": "false"},
        "countryId": 1,
        "dataCenterInfo": DATA_CENTER,
        "leaseInfo": lease_of(RENEWAL_SECONDS, LEASE_SECONDS, 0),
        "vipAddress": instance.service,
        "secureVipAddress": instance.service,
        "isCoordinatingDiscoveryServer": "false",
        "lastUpdatedTimestamp": "0",
        "lastDirtyTimestamp": "0",
    }


def lease_of(renewal: int, duration: int, since: int) -> Tree:
    """A lease (seconds) that began at ``since`` (ms since 1970). Renewals are not told to other nodes, nor shown."""
    return {
        "renewalIntervalInSecs": renewal,
        "durationInSecs": duration,
        "registrationTimestamp": since,
        "lastRenewalTimestamp": since,
        "evictionTimestamp": 0,
        "serviceUpTimestamp": since,
    }


@attrs.frozen(eq=False)
class InstanceDocument:
    """One instance as it is shown, and how it is written. ``source`` and ``healthy`` are what it was made of."""

    source: Instance
    healthy: bool
    id: str
    status: str
    tree: Tree
    ended: bool  # it is not shown any more
    _written: dict[DocumentFormat, bytes] = attrs.field(init=False, factory=dict)

    @classmethod
    def of(cls, instance: Instance, *, healthy: bool) -> InstanceDocument:
        """The instance as it is to be shown, ``healthy`` if lookups return it."""
        kept = kept_of(instance)
        status = status_of(instance, kept, healthy=healthy)
        tree = tree_of(instance, kept, status)
        return cls(instance, healthy, id_of(instance, kept), status, tree, has_ended(instance, kept))

    def is_of(self, instance: Instance, *, healthy: bool) -> bool:
        """Whether it would be made of these again."""
        return healthy is self.healthy and (instance is self.source or instance == self.source)

    @property
    def rank(self) -> tuple[bool, int, str]:
        """Of two with the same id, which are one that has moved from owner to owner, the lower is shown.

        That is one that is UP, then the one that was registered last.
        """
        began = whole_number(table(self.tree["leaseInfo"]).get("registrationTimestamp")) or 0
        return self.status != "UP", -began, self.source.owner

    def is_written(self, form: DocumentFormat) -> bool:
        """Whether it has been written in that form."""
        return form in self._written

    def written(self, form: DocumentFormat, action: str = "") -> bytes:
        """The instance as one of several in a document, which perhaps says what has been done to it."""
        written = self._written.get(form)
        if written is None:
            written = self._written[form] = form.part("instance", self.tree)
        return form.extended(written, "instance", "actionType", action) if action else written
