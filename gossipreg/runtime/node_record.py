"""Node record: what a node states of itself beyond its membership, as an instance of a reserved service.

It holds the node's meta and its own checks. A check of the node that fails makes all of its instances critical, in the
lookups of all nodes (`instance_health`). A node without meta and checks has no such record.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

import attrs

from gossipreg.model import NODE_SERVICE
from gossipreg.runtime.registrar import Registrar
from gossipreg.runtime.registrations import LocalRegistration
from gossipreg.spec import InstanceSpec

#: Keys with this character are what is kept beside the node's meta, which has none of them.
_BESIDE: Final = "."


def meta_of(pairs: Iterable[str]) -> dict[str, str]:
    """The meta that is written as ``KEY=VALUE``, each checked already."""
    return {key: value for key, _, value in (pair.partition("=") for pair in pairs)}


async def state_meta(registrar: Registrar, meta: Mapping[str, str], *, host: str, zone: str) -> None:
    """Have the node state this meta, in place of what it stated before its restart."""
    before = registrar.registrations.get(NODE_SERVICE)
    if before is None:
        if meta:
            spec = InstanceSpec(service=NODE_SERVICE, id=NODE_SERVICE, port=0, meta=meta)
            await registrar.register(LocalRegistration.of(spec, member=registrar.member, host=host, zone=zone))
        return
    kept = {key: value for key, value in before.instance.meta.items() if _BESIDE in key}
    stated = dict(meta) | kept
    if not stated and not before.checks:
        await registrar.deregister(NODE_SERVICE)
    elif stated != before.instance.meta:
        instance = attrs.evolve(before.instance, meta=stated)
        await registrar.register(attrs.evolve(before, instance=instance))


async def state_beside_meta(registrar: Registrar, key: str, value: str | None, *, host: str, zone: str) -> None:
    """Have the node state ``value`` beside its meta; with None, no longer. Nothing happens if that is so already.

    Raises what `Registrar.register` raises.
    """
    assert _BESIDE in key, "it could be a key of the node's meta"
    before = registrar.registrations.get(NODE_SERVICE)
    stated = {} if before is None else dict(before.instance.meta)
    if stated.get(key) == value:
        return
    stated.pop(key, None)
    if value is not None:
        stated[key] = value
    if before is None:
        spec = InstanceSpec(service=NODE_SERVICE, id=NODE_SERVICE, port=0, meta=stated)
        await registrar.register(LocalRegistration.of(spec, member=registrar.member, host=host, zone=zone))
    elif not stated and not before.checks:
        await registrar.deregister(NODE_SERVICE)
    else:
        instance = attrs.evolve(before.instance, meta=stated)
        await registrar.register(attrs.evolve(before, instance=instance))
