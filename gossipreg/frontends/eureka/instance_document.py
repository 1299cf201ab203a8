"""Instance documents: how an instance is shown in Eureka, however it was registered.

What a client of Eureka's posted is shown with the fields that Eureka knows; another instance is shown as its client
would have posted it. Weight, term, role, zone and tags are metadata there.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

import attrs

from gossipreg.frontends.eureka.documents import DocumentForm, DocumentFormat, read_json
from gossipreg.frontends.eureka.instance_info import (
    DATA_CENTERS,
    PORT,
    SECURE_PORT,
    STATUSES,
    DataCenterInfo,
    InstanceInfo,
    LeaseInfo,
    PortInfo,
)
from gossipreg.frontends.eureka.trees import MalformedDocument, Tree, Value, table
from gossipreg.frontends.serving import kept_meta
from gossipreg.frontends.serving.joint_registration import seen_by
from gossipreg.model import Health, Instance
from gossipreg.values import frozen

#: The key of the meta under which is kept what was posted and has no other place.
KEPT: Final = kept_meta.EUREKA

_OVERRIDE: Final = "eureka: "

#: The texts that are kept, by their keys in Eureka's documents: the fields of `InstanceInfo` that they are.
KEPT_TEXTS: Final[Mapping[str, str]] = {
    "sid": "sid",
    "homePageUrl": "home_page",
    "statusPageUrl": "status_page",
    "healthCheckUrl": "health_check",
    "secureHealthCheckUrl": "secure_health_check",
    "vipAddress": "vip",
    "secureVipAddress": "secure_vip",
    "asgName": "asg",
}


def app_of(service: str) -> str:
    """The name of a service in Eureka."""
    return service.upper()


def kept_text(info: InstanceInfo, *, id: str) -> str:
    """What is kept of a post, for an instance that is registered under that ``id``."""
    kept: Tree = {key: getattr(info, field) for key, field in KEPT_TEXTS.items()}
    kept |= {
        "instanceId": None if info.id == id else info.id,
        "hostName": info.host_name,
        "status": info.status,
        "port": info.port.tree(),
        "securePort": info.secure_port.tree(),
        "countryId": info.country,
        "dataCenterInfo": info.data_center.tree(),
        "leaseInfo": info.lease.tree(),
        "lastUpdatedTimestamp": info.updated,
        "lastDirtyTimestamp": info.dirty,
    }
    said = {key: value for key, value in kept.items() if value is not None}
    return json.dumps(said, separators=(",", ":"), ensure_ascii=False)


def kept_of(instance: Instance) -> InstanceInfo | None:
    """What was posted of ``instance``; None if it was not posted by a client of Eureka's.

    Any client may write such a meta, and another version of this program may write it otherwise. So a value of a wrong
    type is taken for a missing one.
    """
    text = instance.meta.get(KEPT)
    if text is None:
        return None
    try:
        kept = read_json(text)
    except MalformedDocument:
        return None
    whole = all(isinstance(kept.get(key), dict) for key in ("leaseInfo", "port", "securePort", "dataCenterInfo"))
    if not whole or kept.get("status") not in STATUSES:
        return None
    texts: dict[str, Any] = {field: _text(kept.get(key)) for key, field in KEPT_TEXTS.items()}
    return InstanceInfo(
        id=_text(kept.get("instanceId")) or instance.id,
        host_name=_text(kept.get("hostName")) or instance.host,
        app=app_of(instance.service),
        address=instance.host,
        status=str(kept["status"]),
        port=_port(table(kept["port"]), PORT),
        secure_port=_port(table(kept["securePort"]), SECURE_PORT),
        country=_number(kept.get("countryId"), 1),
        data_center=_data_center(table(kept["dataCenterInfo"])),
        lease=_lease(table(kept["leaseInfo"])),
        metadata=metadata_of(instance),
        updated=_number(kept.get("lastUpdatedTimestamp"), 0),
        dirty=_number(kept.get("lastDirtyTimestamp"), 0),
        **texts,
    )


def _text(value: Value) -> str | None:
    return value if isinstance(value, str) else None


def _number(value: Value, default: int) -> int:
    """A number that was kept; an earlier version kept some as texts."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 18:
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63 else default


def _port(tree: Tree, default: PortInfo) -> PortInfo:
    return PortInfo(_number(tree.get("$"), default.number), tree.get("@enabled") == "true")


def _data_center(tree: Tree) -> DataCenterInfo:
    name = tree.get("name")
    if name not in DATA_CENTERS:
        return DataCenterInfo()
    said = {key: text for key, text in table(tree.get("metadata")).items() if isinstance(text, str)}
    return DataCenterInfo(str(name), said if name == "Amazon" else {})


def _lease(tree: Tree) -> LeaseInfo:
    default = LeaseInfo()
    return LeaseInfo(
        renewal=_number(tree.get("renewalIntervalInSecs"), 0) or default.renewal,
        duration=_number(tree.get("durationInSecs"), 0) or default.duration,
        registered=_number(tree.get("registrationTimestamp"), 0),
        up=_number(tree.get("serviceUpTimestamp"), 0),
    )


def id_of(instance: Instance, kept: InstanceInfo | None) -> str:
    """Its id in Eureka, where two applications may each have an instance of the same id."""
    return instance.id if kept is None else kept.id


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
    meta = {key: text for key, text in kept_meta.meta_as_given(instance).items() if key != "@class"}
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


def status_of(instance: Instance, kept: InstanceInfo | None, *, healthy: bool) -> str:
    """The status of an instance. It is UP if lookups return it as ``healthy`` and its weight has it called."""
    if instance.health is Health.MAINTENANCE:
        return override_of(instance)
    if healthy and instance.weight:
        return "UP"
    if instance.health.can_serve:
        return "OUT_OF_SERVICE"
    said = "UP" if kept is None else kept.status
    return "DOWN" if said == "UP" else said


def has_ended(instance: Instance, kept: InstanceInfo | None) -> bool:
    """Whether its lease is over since the node that held it has failed: its client has moved to another, or is gone."""
    return kept is not None and instance.stale and not instance.health.can_serve


def info_of(instance: Instance, kept: InstanceInfo | None, status: str) -> InstanceInfo:
    """The instance as Eureka shows it."""
    return attrs.evolve(_unposted(instance) if kept is None else kept, status=status, overridden=override_of(instance))


def _unposted(instance: Instance) -> InstanceInfo:
    """What a client of Eureka's would have posted of an instance that was registered in another way."""
    return InstanceInfo(
        id=instance.id,
        host_name=instance.host,
        app=app_of(instance.service),
        address=instance.host,
        status="UP",
        port=PortInfo(instance.port, enabled=instance.is_callable),
        metadata=metadata_of(instance),
        vip=instance.service,
        secure_vip=instance.service,
    )


@frozen(eq=False)
class InstanceDocument:
    """One instance as it is shown, and how it is written. ``source`` and ``healthy`` are what it was made of."""

    source: Instance
    healthy: bool
    info: InstanceInfo
    ended: bool  # it is not shown any more
    _written: dict[DocumentForm, bytes] = attrs.field(init=False, factory=dict)

    @classmethod
    def of(cls, instance: Instance, *, healthy: bool) -> InstanceDocument:
        """The instance as it is to be shown, ``healthy`` if lookups return it."""
        seen = seen_by(instance, KEPT)
        kept = kept_of(seen)
        status = status_of(seen, kept, healthy=healthy)
        return cls(instance, healthy, info_of(seen, kept, status), has_ended(seen, kept))

    @property
    def id(self) -> str:
        """Its id in Eureka."""
        return self.info.id

    @property
    def status(self) -> str:
        """The status that it is shown with."""
        return self.info.status

    def is_of(self, instance: Instance, *, healthy: bool) -> bool:
        """Whether it would be made of these again."""
        return healthy is self.healthy and (instance is self.source or instance == self.source)

    @property
    def rank(self) -> tuple[bool, int, str]:
        """Of two with the same id, which are one that has moved from owner to owner, the lower is shown.

        That is one that is UP, then the one that was registered last.
        """
        return self.status != "UP", -self.info.lease.registered, self.source.owner

    def is_written(self, form: DocumentForm) -> bool:
        """Whether it has been written in that form."""
        return form in self._written

    def written(self, form: DocumentForm, action: str = "") -> bytes:
        """The instance as one of several in a document, with what was done to it last."""
        written = self._written.get(form)
        if written is None:
            is_json = form.format is DocumentFormat.JSON
            tree = self.info.compact_tree() if form.compact else self.info.tree(_OVERRIDE_KEYS[is_json])
            written = self._written[form] = form.format.part("instance", tree)
        return form.format.extended(written, "instance", "actionType", action or self.info.action)


#: The key of an override in XML and in JSON.
_OVERRIDE_KEYS: Final = ("overriddenstatus", "overriddenStatus")
