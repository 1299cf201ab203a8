"""Posted instances: what a Eureka client sends about its instance, and how that becomes an instance here.

The application's name in lower case is the service's, and the metadata is the meta, but for weight, term, role, zone
and tags, which have fields of their own. What else Eureka knows of an instance is kept as JSON under one key of the
meta, so that Eureka's clients read it wherever they ask; what it does not know is dropped. Two checks stand for what
Eureka knows of an instance's health: a lease, which lapses when no renewal comes, and its status, which is there while
the client does not say UP.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import attrs

from gossipreg import hosts, limits
from gossipreg.check import Check
from gossipreg.frontends.eureka import coercions
from gossipreg.frontends.eureka.documents import DocumentFormat
from gossipreg.frontends.eureka.instance_document import KEPT, KEPT_TEXTS, kept_of, kept_text
from gossipreg.frontends.eureka.instance_info import (
    LEASE_SECONDS,
    PORT,
    RENEWAL_SECONDS,
    SECURE_PORT,
    DataCenterInfo,
    InstanceInfo,
    LeaseInfo,
)
from gossipreg.frontends.eureka.trees import MalformedDocument, Tree, Value, table, unparsable, whole_number
from gossipreg.frontends.serving.joint_registration import registered_by
from gossipreg.model import FENCED, Health, Instance, is_name
from gossipreg.spec import InstanceSpec
from gossipreg.text import shown
from gossipreg.values import frozen

#: The names of the two checks.
LEASE: Final = "lease"
STATUS: Final = "status"

#: What Eureka takes for no sid at all.
_NO_SID: Final = "na"

#: What an instance has a field for, and shows as metadata whether its client posted it or not.
_FIELDS: Final = frozenset({"weight", "term", "role", "zone", "tags"})


@frozen(kw_only=True)
class PostedInstance:
    """An instance as its client describes it."""

    info: InstanceInfo
    override: str | None = None  # the status that the post says it was set to, if it says so
    says_dirty: bool = True  # whether the client said when it changed the instance; else that is the time of the post

    @classmethod
    def read(cls, app: str, document: Tree, now: int, form: DocumentFormat = DocumentFormat.JSON) -> PostedInstance:
        """The instance posted to ``app`` at ``now`` (ms since 1970), in a document of that form.

        Raises ``MalformedDocument`` with Eureka's own words.
        """
        tree = document.get("instance")
        if not isinstance(tree, dict) or len(document) > 1:
            raise unparsable('the body is neither {"instance": {...}} nor <instance>...</instance>')
        texts = {key: coercions.text(tree, key, form) for key in ("instanceId", "hostName", "app", "ipAddr")}
        if texts["app"] is None:
            raise unparsable("app: is missing")
        override = tree.get("overriddenStatus", tree.get("overriddenstatus"))
        override = coercions.status(override, form)
        data_center = coercions.data_center(tree.get("dataCenterInfo"), form)
        fields = _fields(tree, form, now, is_overridden=override not in (None, "UNKNOWN", "UP"))
        _require(app, texts, data_center)
        assert data_center is not None, "it was required"
        id_ = texts["instanceId"] or data_center.instance_id or texts["hostName"]
        if data_center.name == "Amazon" and not data_center.instance_id:
            data_center = DataCenterInfo("Amazon", {**data_center.metadata, "instance-id": str(id_)})
        info = InstanceInfo(
            id=str(id_),
            host_name=str(texts["hostName"]),
            app=app,
            address=str(texts["ipAddr"]),
            data_center=data_center,
            **fields,
        )
        _require_callable(info)
        says_dirty = tree.get("lastDirtyTimestamp") is not None
        return cls(info=info, override=None if override == "UNKNOWN" else override, says_dirty=says_dirty)

    @classmethod
    def of(cls, instance: Instance) -> PostedInstance | None:
        """What was posted of ``instance``; None if it was not posted by a client of Eureka's."""
        kept = kept_of(registered_by(instance, KEPT))
        return None if kept is None else cls(info=kept)

    @property
    def app(self) -> str:
        """Its application, in upper case."""
        return self.info.app

    @property
    def id(self) -> str:
        """Its id in Eureka."""
        return self.info.id

    @property
    def port(self) -> int:
        """The port that is called: the secure one if that is the only one that is enabled."""
        plain, secure = self.info.port, self.info.secure_port
        return secure.number if secure.enabled and not plain.enabled else plain.number

    @property
    def status(self) -> str:
        """What its client says of it."""
        return self.info.status

    @property
    def dirty(self) -> int:
        """When its client last changed it (ms since 1970)."""
        return self.info.dirty

    def since(self, earlier: PostedInstance | None) -> PostedInstance:
        """The same with the time of registration of an ``earlier`` post, or that post if nothing else is new."""
        if earlier is None:
            return self
        before = earlier.info.lease
        began = {"registered": before.registered, "up": before.up or self.info.lease.up}
        info = attrs.evolve(self.info, lease=attrs.evolve(self.info.lease, **began))
        same = attrs.evolve(
            info,
            metadata=earlier.info.metadata if self._says_the_metadata_of(earlier) else info.metadata,
            updated=earlier.info.updated,
            dirty=info.dirty if self.says_dirty else earlier.dirty,
        )
        return attrs.evolve(self, info=attrs.evolve(same, metadata=info.metadata) if same == earlier.info else info)

    def _says_the_metadata_of(self, earlier: PostedInstance) -> bool:
        mine, theirs = self.info.metadata.items(), earlier.info.metadata.items()
        return mine <= theirs and {key for key, _ in theirs - mine} <= _FIELDS

    def spec(self, id: str) -> InstanceSpec:
        """What is registered by it under the given ``id``."""
        fields, meta = _split(self.info.metadata)
        meta[KEPT] = kept_text(self.info, id=id)
        return InstanceSpec(
            service=self.app.lower(),
            id=id,
            host=self.info.address,
            port=self.port,
            meta=meta,
            checks=self._checks(),
            **fields,
        )

    def _checks(self) -> tuple[Check, ...]:
        seconds = self.info.lease.duration
        lease = Check(name=LEASE, ttl=seconds, initial=Health.PASSING, deregister_after=seconds)
        if self.status == "UP":
            return (lease,)
        return lease, Check(name=STATUS, ttl=limits.CHECK_SECONDS_MAX)


def _fields(tree: Tree, form: DocumentFormat, now: int, *, is_overridden: bool) -> dict[str, Any]:
    """The fields that each have a value of their own if nothing was posted."""
    said = coercions.status(tree.get("status"), form)
    status = "UP" if said is None else said
    texts = {field: coercions.text(tree, key, form) for key, field in KEPT_TEXTS.items()}
    return {
        **texts,
        "sid": None if texts["sid"] == _NO_SID else texts["sid"],
        "status": status,
        "port": coercions.port(tree.get("port"), "port", PORT, form),
        "secure_port": coercions.port(tree.get("securePort"), "securePort", SECURE_PORT, form),
        "country": coercions.country(tree.get("countryId"), form),
        "lease": _lease(tree.get("leaseInfo"), form, now, is_up=status == "UP" and not is_overridden),
        "metadata": _metadata(tree.get("metadata"), form),
        "updated": now,
        "dirty": coercions.timestamp(tree.get("lastDirtyTimestamp"), "lastDirtyTimestamp", now, form),
    }


def _require(app: str, texts: Mapping[str, str | None], data_center: DataCenterInfo | None) -> None:
    """Raise ``MalformedDocument`` for what is missing, in the order and the words of Eureka's server."""
    id_ = texts["instanceId"] or (data_center and data_center.instance_id) or texts["hostName"]
    required = (id_, "instanceId"), (texts["hostName"], "hostname"), (texts["ipAddr"], "ip address")
    for text, what in (*required, (texts["app"], "appName")):
        if not text:
            raise MalformedDocument(f"Missing {what}")
    said = str(texts["app"]).upper()
    if said != app:
        raise MalformedDocument(f"Mismatched appName, expecting {app:.80} but was {said:.80}")
    if data_center is None:
        raise MalformedDocument("Missing dataCenterInfo")
    if not data_center.name:
        raise MalformedDocument("Missing dataCenterInfo Name")


def _require_callable(info: InstanceInfo) -> None:
    """Raise ``MalformedDocument`` for an address or an enabled port that cannot be called. Eureka takes any."""
    if (flaw := hosts.flaw(info.address)) is not None:
        raise MalformedDocument(f"ipAddr: {shown(info.address)} is {flaw}")
    for key, port in (("port", info.port), ("securePort", info.secure_port)):
        if port.enabled and not 1 <= port.number <= 65_535:
            raise MalformedDocument(f"{key}: {port.number} is not a port from 1 to 65535")


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


def _lease(value: Value, form: DocumentFormat, now: int, *, is_up: bool) -> LeaseInfo:
    """The lease that begins at ``now``. A duration that is none is the usual one."""
    if form is DocumentFormat.JSON and value is not None and not isinstance(value, dict):
        raise unparsable(f"leaseInfo: {shown(value)} is not an object")
    said = table(coercions.last(value))

    def seconds(key: str, default: int) -> int:
        return min(max(coercions.seconds(said.get(key), key, form), 0) or default, int(limits.CHECK_SECONDS_MAX))

    return LeaseInfo(
        renewal=seconds("renewalIntervalInSecs", RENEWAL_SECONDS),
        duration=seconds("durationInSecs", LEASE_SECONDS),
        registered=now,
        up=now if is_up else 0,
    )


def _metadata(value: Value, form: DocumentFormat) -> dict[str, str]:
    texts = coercions.metadata(value, "metadata", form)
    if KEPT in texts:
        raise MalformedDocument(f"metadata: the key {KEPT} is taken: choose another")
    return texts
