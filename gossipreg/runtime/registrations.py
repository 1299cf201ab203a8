"""Registrations: an instance as it was registered on this node, with its checks and whether it is in maintenance.

An `InstanceSpec` is what a program, a file or a client states about an instance; a `LocalRegistration` is what that
becomes on one node. `registration_note` says in a sentence why an instance is not called as it was stated: an operator
that registers a primary and reads `role: primary` back would believe that it is called.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any, Final

import attrs
import msgpack

from gossipreg import limits
from gossipreg.check import Check, read_checks
from gossipreg.errors import RecordTooLarge
from gossipreg.model import FENCED, PRIMARY, Health, Instance
from gossipreg.msgpack_documents import read_msgpack
from gossipreg.policy import KINDS, Maintenance, Rule, Split, WeightOverride, key_of
from gossipreg.protocol.engine import Engine
from gossipreg.protocol.registry.payload import BadPayload, pack_instance, unpack_instance
from gossipreg.spec import InstanceSpec
from gossipreg.values import frozen

#: What a record grows by when a check fails (bytes, at most): health and reason. It has up to 15 fields even then.
_WORST_BYTES: Final = (
    len(msgpack.packb({"health": str(Health.MAINTENANCE), "reason": "\U0001f600" * limits.REASON_CHARS_MAX})) - 1
)


@frozen
class LocalRegistration:
    """One registration of this node's own. Its health is not part of it: that comes from the checks."""

    instance: Instance
    checks: tuple[Check, ...] = ()
    maintenance: str | None = None  # why it is taken out, if it is
    defined: bool = False  # by a file, which is read again after a restart
    credentials: Mapping[str, str] = attrs.field(factory=dict, repr=False)  # until they are sealed into the instance
    is_bound: bool = False  # to the stream of an attached process, so it is not stored

    @classmethod
    def of(cls, spec: InstanceSpec, *, member: str, host: str, zone: str) -> LocalRegistration:
        """What ``member``, at ``host`` and in ``zone``, registers by ``spec``. Raises ``InvalidInstance``."""
        instance = spec.instance(member=member, host=host, zone=zone)
        return cls(instance, spec.checks, credentials=spec.credentials)

    @cached_property
    def payload(self) -> bytes:
        """The instance as it is gossiped while its checks pass."""
        return pack_instance(self.instance)

    @property
    def size_max(self) -> int:
        """The size of its record (bytes), at most: when a check fails, or in maintenance, it has a reason besides."""
        may_fail = bool(self.checks) or self.maintenance is not None
        return len(self.payload) + (_WORST_BYTES if may_fail else 0)

    def check_room(self) -> None:
        """Raise ``RecordTooLarge`` if its record has no room for what the checks may find, or for its maintenance."""
        size = self.size_max
        if size > limits.RECORD_BYTES_MAX and size > len(self.payload):
            when = "when a check fails" if self.checks else "in maintenance"
            raise RecordTooLarge(
                None,
                f"instance {self.instance.id!r}: its record may have {size} bytes {when}, "
                f"{limits.RECORD_BYTES_MAX} are allowed: shorten its meta or tags",
            )

    def packed(self) -> bytes:
        """As it is stored: the record, and beside it what only its owner knows."""
        if not self.checks and self.maintenance is None and not self.defined:
            return self.payload
        mine: dict[str, Any] = {"checks": [check.stated() for check in self.checks], "maintenance": self.maintenance}
        if self.defined:
            mine["defined"] = True
        return pack_instance(self.instance, mine)

    @classmethod
    def unpack(cls, body: bytes, *, id: str, owner: str) -> LocalRegistration:
        """What an earlier run of the node stored.

        Raises ``InvalidInstance`` for a check that is not known here, and ``BadPayload`` for what is no registration.
        """
        instance = unpack_instance(body, id=id, owner=owner)
        try:
            stored = read_msgpack(body)
        except ValueError as error:
            raise BadPayload(str(error)) from None
        maintenance, defined = stored.get("maintenance"), stored.get("defined", False)
        if not isinstance(maintenance, str | None) or not isinstance(defined, bool):
            raise BadPayload("maintenance or defined of another type")
        return cls(instance, read_checks(stored.get("checks", [])), maintenance, defined=defined)


def registration_note(instance: Instance, engine: Engine) -> str:
    """Why this node's own ``instance``, as lookups show it, is not as it was stated; empty if it is."""
    stated = engine.local_registry.own(instance.id)
    if stated is None or instance.owner != engine.identity.name:
        return ""
    return "; ".join([*_role(instance, engine), *_weight(instance, stated, engine), *_health(instance, engine)])


def _role(instance: Instance, engine: Engine) -> Iterator[str]:
    if instance.role != FENCED:
        return
    service, claimed = instance.service, engine.state.terms.claimed(instance.service)
    if instance.term < claimed:
        yield (
            f"fenced, so not called as the primary: its term {instance.term} is below {claimed}, the highest of "
            f"{service}: register it with the term next once it is promoted, or as a replica"
        )
        return
    primary = next((i for i in engine.view.service(service).instances if i.role == PRIMARY), None)
    if primary is not None:
        yield (
            f"fenced, so not called as the primary: {primary.id} of {primary.owner} has term {primary.term} as well "
            "and goes first"
        )


def _weight(instance: Instance, stated: Instance, engine: Engine) -> Iterator[str]:
    if instance.weight == stated.weight:
        return
    if engine.identity.draining:
        yield f"its weight is 0, not {stated.weight}: this node drains"
        return
    keys = sorted(rule.key for rule in _rules(instance, engine) if isinstance(rule, Split | WeightOverride))
    yield f"its weight is {instance.weight}, not {stated.weight}, by policy {' and '.join(keys)}"


def _health(instance: Instance, engine: Engine) -> Iterator[str]:
    if instance.health is Health.PASSING:
        return
    why = f": {instance.reason}" if instance.reason else ""
    by_policy = (rule.key for rule in _rules(instance, engine) if isinstance(rule, Maintenance))
    if instance.health is Health.MAINTENANCE and (key := next(by_policy, None)) is not None:
        yield f"it is in maintenance by policy {key}{why}"
    elif instance.health is Health.WARNING:
        yield f"its health is a warning{why}"
    else:
        state = "in maintenance" if instance.health is Health.MAINTENANCE else "critical"
        yield f"it is {state}, so not called{why}"


def _rules(instance: Instance, engine: Engine) -> list[Rule]:
    """The policies about ``instance`` or all of its service; of two of a kind, the one that names its owner."""
    rules = engine.state.policies.of(instance.service)
    owned = {key_of(kind, instance.service, instance.id, instance.owner): kind for kind in KINDS}
    outdone = {key_of(kind, instance.service, instance.id) for key, kind in owned.items() if key in rules}
    return [rule for key, rule in rules.items() if rule.is_about(instance) and key not in outdone]
