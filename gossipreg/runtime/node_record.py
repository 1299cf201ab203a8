"""Node record: what a node states of itself beyond its membership, as an instance of a reserved service.

It holds the node's meta and its own checks. A check of the node that fails makes all of its instances critical, in the
lookups of all nodes (`instance_health`). A node without meta and checks has no such record.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import attrs

from gossipreg import limits
from gossipreg.model import NODE_SERVICE, Instance
from gossipreg.protocol.registry.key_statements import is_key_id
from gossipreg.runtime.registrar import Registrar
from gossipreg.runtime.registrations import LocalRegistration
from gossipreg.spec import InstanceSpec

#: Keys with this character are what frontends keep beside the node's meta, which has none of them.
_OF_FRONTENDS: Final = "."


#: The record that tells which keys a node holds, and the entry of its meta that lists their ids.
KEYS: Final = "gossipreg.keys"
_IDS: Final = "ids"


#: The entry of the node's meta that tells its region, if it was given one. No user can write a key with a dot.
REGION: Final = "gossipreg.region"


def meta_of(pairs: Iterable[str], region: str = "") -> dict[str, str]:
    """The meta that is written as ``KEY=VALUE``, each checked already, and the ``region`` if there is one."""
    meta = {key: value for key, _, value in (pair.partition("=") for pair in pairs)}
    return {**meta, REGION: region} if region else meta


async def state_meta(registrar: Registrar, meta: Mapping[str, str], *, host: str, zone: str) -> None:
    """Have the node state this meta, in place of what it stated before its restart."""
    before = registrar.registrations.get(NODE_SERVICE)
    if before is None:
        if meta:
            spec = InstanceSpec(service=NODE_SERVICE, id=NODE_SERVICE, port=0, meta=meta)
            await registrar.register(LocalRegistration.of(spec, member=registrar.member, host=host, zone=zone))
        return
    kept = {key: value for key, value in before.instance.meta.items() if _OF_FRONTENDS in key and key != REGION}
    stated = dict(meta) | kept
    if not stated and not before.checks:
        await registrar.deregister(NODE_SERVICE)
    elif stated != before.instance.meta:
        instance = attrs.evolve(before.instance, meta=stated)
        await registrar.register(attrs.evolve(before, instance=instance))


async def state_keys(registrar: Registrar, ids: Sequence[str], *, host: str, zone: str) -> None:
    """Have the node state the ids of the keys that it holds, the primary one first; with none, nothing.

    It is a record of its own, since frontends write the other one. Raises what `Registrar.register` raises.
    """
    before = registrar.registrations.get(KEYS)
    if not ids:
        if before is not None:
            await registrar.deregister(KEYS)
        return
    meta = {_IDS: " ".join(ids)}
    if before is None or before.instance.meta != meta:
        spec = InstanceSpec(service=NODE_SERVICE, id=KEYS, port=0, meta=meta)
        await registrar.register(LocalRegistration.of(spec, member=registrar.member, host=host, zone=zone))


def stated_regions(instances: Iterable[Instance]) -> dict[str, str]:
    """The region that each member states, by its name, from the instances of the nodes' service."""
    return {each.owner: each.meta[REGION] for each in instances if each.id == NODE_SERVICE and REGION in each.meta}


def stated_keys(instances: Iterable[Instance]) -> dict[str, list[str]]:
    """The ids of the keys that each member states to hold, by its name, from the instances of the nodes' service."""
    return {
        each.owner: [id_ for id_ in each.meta.get(_IDS, "").split()[: limits.GOSSIP_KEYS_MAX] if is_key_id(id_)]
        for each in instances
        if each.id == KEYS
    }
