"""Posted instances: what a Eureka client sends about its instance, and how that becomes an instance here.

The application's name in lower case is the service's, and the metadata is the meta, but for weight, term, role, zone
and tags, which have fields of their own. All else that was posted is kept as it came, as JSON under one key of the
meta, so that Eureka's clients read what was written, wherever they ask. Two checks stand for what Eureka knows of an
instance: a lease, which lapses when no renewal comes, and its status, which is there while the client does not say UP.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

import attrs

from gossipreg import limits
from gossipreg.check import Check
from gossipreg.frontends.eureka.instance_document import (
    DATA_CENTER,
    KEPT,
    LEASE_SECONDS,
    RENEWAL_SECONDS,
    SECURE_PORT,
    STATUSES,
    app_of,
    id_of,
    kept_of,
    lease_of,
    metadata_of,
)
from gossipreg.frontends.eureka.trees import MalformedDocument, Tree, Value, table, text_of, whole_number
from gossipreg.model import FENCED, Health, Instance, is_name
from gossipreg.spec import InstanceSpec

#: The names of the two checks.
LEASE: Final = "lease"
STATUS: Final = "status"

_PORT: Final = 80
_NUMBERS: Final = ("countryId", "lastUpdatedTimestamp", "lastDirtyTimestamp")
_AMAZON: Final = "com.netflix.appinfo.AmazonInfo"

#: What is not kept, since the registry knows it, or says so itself.
_KNOWN: Final = frozenset(
    {"instanceId", "app", "ipAddr", "metadata", "overriddenstatus", "overriddenStatus", "actionType"}
)


@attrs.frozen(kw_only=True)
class PostedInstance:
    """An instance as its client describes it."""

    app: str  # in upper case
    id: str
    host: str
    port: int
    metadata: Mapping[str, str]
    kept: Tree  # all else

    @classmethod
    def read(cls, app: str, document: Tree, now: int) -> PostedInstance:
        """The instance posted to ``app`` at ``now`` (ms since 1970).

        Raises ``MalformedDocument`` with Eureka's own words.
        """
        tree = document.get("instance")
        if not isinstance(tree, dict):
            raise MalformedDocument("Missing instance")
        host_name = text_of(tree.get("hostName"))
        id_ = text_of(tree.get("instanceId")) or _amazon_id(tree) or host_name
        said = text_of(tree.get("app")).upper()
        for missing, what in ((id_, "instanceId"), (host_name, "hostname"), (said, "appName")):
            if not missing:
                raise MalformedDocument(f"Missing {what}")
        if said != app:
            raise MalformedDocument(f"Mismatched appName, expecting {app:.80} but was {said:.80}")
        address = text_of(tree.get("ipAddr"))
        if not address:
            raise MalformedDocument("Missing ip address")
        data_center = tree.get("dataCenterInfo", DATA_CENTER)
        if not isinstance(data_center, dict) or not text_of(data_center.get("name")):
            raise MalformedDocument("Missing dataCenterInfo Name")
        plain, secure = _port(tree, "port", _PORT, on=True), _port(tree, "securePort", SECURE_PORT, on=False)
        status = text_of(tree.get("status")).upper()
        kept: Tree = {key: value for key, value in tree.items() if key not in _KNOWN and not _is_no_number(key, value)}
        kept |= {
            "hostName": host_name,
            "status": status if status in STATUSES else "UNKNOWN",
            "dataCenterInfo": {"@class": _class_of(data_center), **data_center},
            "port": _shown_port(plain),
            "securePort": _shown_port(secure),
            "leaseInfo": _lease(tree.get("leaseInfo"), now),
        }
        return cls(
            app=app,
            id=id_,
            host=address,
            port=secure[0] if secure[1] and not plain[1] else plain[0],
            metadata=_metadata(tree.get("metadata")),
            kept=kept,
        )

    @classmethod
    def of(cls, instance: Instance) -> PostedInstance | None:
        """What was posted of ``instance``; None if it was not posted by a client of Eureka's."""
        kept = kept_of(instance)
        if kept is None:
            return None
        return cls(
            app=app_of(instance.service),
            id=id_of(instance, kept),
            host=instance.host,
            port=instance.port,
            metadata=metadata_of(instance),
            kept={key: value for key, value in kept.items() if key != "instanceId"},
        )

    @property
    def status(self) -> str:
        """What its client says of it."""
        return str(self.kept["status"])

    @property
    def dirty(self) -> int | None:
        """When its client last changed it (ms since 1970), if it says so."""
        return whole_number(self.kept.get("lastDirtyTimestamp"))

    def since(self, earlier: PostedInstance | None) -> PostedInstance:
        """The same with the time of registration of an ``earlier`` post, unless there is none."""
        if earlier is None:
            return self
        began = {key: time for key, time in table(earlier.kept["leaseInfo"]).items() if key.endswith("Timestamp")}
        return attrs.evolve(self, kept=self.kept | {"leaseInfo": table(self.kept["leaseInfo"]) | began})

    def spec(self, id: str) -> InstanceSpec:
        """What is registered by it under the given ``id``."""
        fields, meta = _split(self.metadata)
        kept = self.kept if id == self.id else {"instanceId": self.id, **self.kept}
        meta[KEPT] = json.dumps(kept, separators=(",", ":"), ensure_ascii=False)
        return InstanceSpec(
            service=self.app.lower(),
            id=id,
            host=self.host,
            port=self.port,
            meta=meta,
            checks=self._checks(),
            **fields,
        )

    def _checks(self) -> tuple[Check, ...]:
        seconds = whole_number(table(self.kept["leaseInfo"]).get("durationInSecs")) or LEASE_SECONDS
        lease = Check(name=LEASE, ttl=seconds, initial=Health.PASSING, deregister_after=seconds)
        if self.status == "UP":
            return (lease,)
        return lease, Check(name=STATUS, ttl=limits.CHECK_SECONDS_MAX)


def _split(metadata: Mapping[str, str]) -> tuple[dict[str, Any], dict[str, str]]:
    """The fields that metadata gives an instance, and the rest."""
    fields: dict[str, Any] = {}
    meta = dict(metadata)
    for key, most in (("weight", limits.WEIGHT_MAX), ("term", limits.TERM_MAX)):
        number = whole_number(meta.get(key))
        if number is not None and number <= most and str(number) == meta[key]:
            fields[key] = int(meta.pop(key))
    for key in ("role", "zone"):
        if is_name(meta.get(key, "")) and meta[key] != FENCED:
            fields[key] = meta.pop(key)
    tags = tuple(meta.get("tags", "").split(","))
    if all(tag and len(tag) <= limits.TAG_CHARS_MAX for tag in tags) and len(tags) <= limits.TAGS_MAX:
        fields["tags"] = tags
        del meta["tags"]
    return fields, meta


def _is_no_number(key: str, value: Value) -> bool:
    """Whether clients that read it would take it for a number, and give up all that they read with it."""
    return key in _NUMBERS and whole_number(value) is None


def _class_of(data_center: Tree) -> str:
    """The class that is missing in what some clients post, and that others cannot read an instance without."""
    return _AMAZON if text_of(data_center.get("name")) == "Amazon" else text_of(DATA_CENTER["@class"])


def _amazon_id(tree: Tree) -> str:
    return text_of(table(table(tree.get("dataCenterInfo")).get("metadata")).get("instance-id"))


def _port(tree: Tree, key: str, default: int, *, on: bool) -> tuple[int, bool]:
    """A port, and whether it is enabled. One that is not need be no port at all: clients post 0 and -1."""
    value = tree.get(key)
    if value is None:
        return default, on
    number, word = whole_number(value), text_of(table(value).get("@enabled")).lower()
    enabled = word == "true" if word else on
    if enabled and not (number and number <= 65_535):
        raise MalformedDocument(f"{key}: {text_of(value)!r:.80} is not a port from 1 to 65535")
    return number or 0, enabled


def _shown_port(port: tuple[int, bool]) -> Tree:
    return {"$": port[0], "@enabled": "true" if port[1] else "false"}


def _lease(value: Value, now: int) -> Tree:
    said = table(value)
    renewal, duration = (whole_number(said.get(key)) for key in ("renewalIntervalInSecs", "durationInSecs"))
    longest = int(limits.CHECK_SECONDS_MAX)
    return lease_of(min(renewal or RENEWAL_SECONDS, longest), min(duration or LEASE_SECONDS, longest), now)


def _metadata(value: Value) -> dict[str, str]:
    texts = {key: text_of(each) for key, each in table(value).items() if key[:1] not in ("@", "$")}
    if KEPT in texts:
        raise MalformedDocument(f"metadata: the key {KEPT} is taken: choose another")
    return texts
