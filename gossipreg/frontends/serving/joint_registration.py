"""Joint registrations: one instance that clients of two compatibility APIs have registered, each in its own way.

A program may hold a client of each API, as applications do while they move. Both speak of one process, so there is one
instance: it is called once, and only while the checks of both pass. What each client said of it is kept in its meta.
So each API shows what its own clients registered, and one may take its registration back and leave the other's.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Any, Final, Self

import attrs

from gossipreg.check import Check
from gossipreg.errors import InvalidInstance, UnknownPolicy
from gossipreg.frontends.serving.kept_meta import CONSUL, EUREKA, JOINT, meta_as_given
from gossipreg.frontends.serving.node_api import NodeApi
from gossipreg.json_documents import read_json
from gossipreg.model import Instance
from gossipreg.policy import Maintenance, WeightOverride
from gossipreg.spec import InstanceSpec
from gossipreg.values import frozen

#: The APIs that register, by their keys in the meta. The first gives a joint instance its id and the service's name.
_APIS: Final = (CONSUL, EUREKA)

#: The names of an API's checks, where they are always the same. All other checks are those of the other API.
_CHECKS: Final[Mapping[str, frozenset[str]]] = {EUREKA: frozenset({"lease", "status"})}

#: What an API keeps that says of an instance: it is at a node without an agent; its host is also called so.
_NODE: Final = (CONSUL, "Node")
_HOST_NAME: Final = (EUREKA, "hostName")


@frozen(kw_only=True)
class Share:
    """What clients of one API registered of an instance, but for its checks and what the API keeps for itself.

    ``lapses`` are those of its checks that end its registration when they have failed for so long (seconds).
    """

    id: str
    service: str
    host: str
    port: int
    tags: tuple[str, ...]
    meta: Mapping[str, str]
    weight: int
    zone: str | None  # the node's own
    role: str | None
    term: int
    lapses: Mapping[str, float]

    @classmethod
    def of(cls, instance: Instance, checks: Iterable[Check]) -> Self:
        """That of the one API which has registered ``instance``, with these ``checks``."""
        return cls(
            id=instance.id,
            service=instance.service,
            host=instance.host,
            port=instance.port,
            tags=instance.tags,
            meta=meta_as_given(instance),
            weight=instance.weight,
            zone=instance.zone,
            role=instance.role,
            term=instance.term,
            lapses={each.name: each.deregister_after for each in checks if each.deregister_after is not None},
        )

    @classmethod
    def read(cls, told: Any) -> Self:
        """What was kept of it. Raises ``TypeError``, ``KeyError`` or ``ValueError`` if it is not that."""
        share = cls(**{**told, "tags": tuple(told["tags"])})
        texts = (share.id, share.service, share.host, share.zone or "", share.role or "", *share.tags)
        if not all(isinstance(each, str) for each in (*texts, *share.meta, *share.meta.values(), *share.lapses)):
            raise TypeError(told)
        if not all(
            type(each) in (int, float) for each in (share.port, share.weight, share.term, *share.lapses.values())
        ):
            raise TypeError(told)
        return share


# What clients are shown


def seen_by(instance: Instance, api: str) -> Instance:
    """An instance as clients of ``api`` know it: their id, host, tags and meta, and all else as it is now."""
    share = _kept_shares(instance).get(api)
    if share is None:
        return instance
    kept = {key: instance.meta[key] for key in (api,) if key in instance.meta}
    return attrs.evolve(instance, id=share.id, host=share.host, tags=share.tags, meta={**share.meta, **kept})


def registered_by(instance: Instance, api: str) -> Instance:
    """An own instance as a client of ``api`` registered it, without what another API added."""
    share = _kept_shares(instance).get(api)
    if share is None:
        return instance
    return attrs.evolve(
        seen_by(instance, api),
        port=share.port,
        weight=share.weight,
        zone=instance.zone if share.zone is None else share.zone,
        role=share.role,
        term=share.term,
    )


def checks_of(node: NodeApi, instance: Instance, api: str) -> list[Check]:
    """The checks of an own instance but for those that another API registered."""
    checks = [report.check for report in node.checks(instance.id)]
    return [each for each in checks if _is_of(api, each.name, _shares(node, instance))]


# What clients do


def twin(node: NodeApi, api: str, spec: InstanceSpec, *names: str) -> Instance | None:
    """The own instance that another API alone registered of what ``spec`` describes; None if there is not just one.

    It has the same service, in upper or lower case, and the same port of the same host. ``names`` are what else than by
    the host of ``spec`` it may be called by.
    """
    hosts = {each.lower() for each in (spec.host or node.address.host, *names)}
    found = []
    for own in _own(node, spec.service):
        shares = _shares(node, own)
        if shares and api not in shares and own.port == spec.port and not own.sealed and not _told(own, *_NODE):
            called = {own.host, _told(own, *_HOST_NAME), *(share.host for share in shares.values())}
            if hosts & {each.lower() for each in called}:
                found.append(own)
    return found[0] if len(found) == 1 else None


def joint_instances(node: NodeApi, service: str) -> Iterator[Instance]:
    """This node's own instances of a service whose clients may know them by other ids than the node does."""
    return (own for own in _own(node, service) if JOINT in own.meta)


async def register(node: NodeApi, api: str, spec: InstanceSpec, there: Iterable[Instance | None]) -> Instance:
    """Register ``spec`` for a client of ``api``, together with what other APIs have registered of the same instance.

    ``there`` are the own instances that it is: the one that the client knows by the id of ``spec``, and its `twin`.
    Raises ``InvalidInstance``.
    """
    same = {each.id: each for each in there if each is not None}
    same = {id_: each for id_, each in same.items() if _is_named(each, spec.service) and not each.sealed}
    shares: dict[str, Share] = {}
    kept: dict[str, str] = {}
    checks: dict[str, Check] = {}
    for own in same.values():
        for other, share in _shares(node, own).items():
            if other != api:
                shares[other], kept[other] = share, own.meta[other]
                checks |= {each.name: each for each in checks_of(node, own, other)}
    if not shares and all(id_ == spec.id for id_ in same):
        return await node.register_spec(spec)
    taken = sorted(checks.keys() & {each.name for each in spec.checks})
    if taken:
        raise InvalidInstance("checks", f"another API has registered a check {taken[0]!r} of it: choose another name")
    said = spec.instance(member=node.name, host=node.address.host, zone="")
    shares[api] = attrs.evolve(Share.of(said, spec.checks), zone=spec.zone)
    kept[api] = spec.meta[api]
    id_ = next((shares[each].id for each in _APIS if len(shares) > 1 and each in shares), next(iter(same)))
    instance = await node.register_spec(_joined(id_, shares, kept, [*checks.values(), *spec.checks]))
    for own in same.values():
        if own.id != instance.id:
            await _move_policies(node, own, instance)
            await node.deregister(own.id)
    return instance


async def deregister(node: NodeApi, api: str, instance: Instance) -> None:
    """Take back what a client of ``api`` registered of an own instance; what another API registered stays."""
    shares = _kept_shares(instance)
    rest = {other: share for other, share in shares.items() if other != api}
    if api not in shares or not rest:
        await node.deregister(instance.id)
        return
    checks = [each for other in rest for each in checks_of(node, instance, other)]
    kept = {other: instance.meta[other] for other in rest if other in instance.meta}
    await node.register_spec(_joined(instance.id, rest, kept, checks))


def _joined(id_: str, shares: Mapping[str, Share], kept: Mapping[str, str], checks: Iterable[Check]) -> InstanceSpec:
    """The one instance of all ``shares``. A check that ends a registration does so only if there is no other."""
    ordered = [shares[api] for api in _APIS if api in shares]
    first, last = ordered[0], ordered[-1]
    meta: dict[str, str] = {}
    for share in reversed(ordered):
        meta |= share.meta
    meta |= kept
    if len(ordered) > 1 or first.id != id_:
        told = {api: attrs.asdict(share) for api, share in shares.items()}
        meta[JOINT] = json.dumps(told, separators=(",", ":"), ensure_ascii=False)
    return InstanceSpec(
        service=first.service,
        id=id_,
        host=last.host,  # Eureka's clients are given an address, Consul's may be given a name
        port=last.port,
        tags=tuple(dict.fromkeys(tag for share in ordered for tag in share.tags)),
        meta=meta,
        weight=next((share.weight for share in ordered if share.weight != 1), 1),
        zone=first.zone or last.zone,
        role=first.role or last.role,
        term=max(share.term for share in ordered),
        checks=tuple(_lapsing(each, shares) for each in checks),
    )


def _lapsing(check: Check, shares: Mapping[str, Share]) -> Check:
    """A check whose failure removes the instance only if its client learns of that, and registers the rest again."""
    api = next(api for api in shares if _is_of(api, check.name, shares))
    after = shares[api].lapses.get(check.name)
    if api in _CHECKS:
        return attrs.evolve(check, deregister_after=after if len(shares) == 1 else None)
    return check


async def _move_policies(node: NodeApi, old: Instance, new: Instance) -> None:
    """Have the policies about an own instance hold for it under its new id."""
    for rule in [policy.rule for policy in node.policies()]:
        if not isinstance(rule, Maintenance | WeightOverride) or rule.owner not in ("", node.name):
            continue
        if (rule.service, rule.instance) == (old.service, old.id):
            await node.set_policy(attrs.evolve(rule, service=new.service, instance=new.id))
            if all(each.owner == node.name for each in node.lookup(old.service, healthy=False) if each.id == old.id):
                with suppress(UnknownPolicy):
                    await node.remove_policy(rule.key)


# What is known


def _own(node: NodeApi, service: str) -> Iterator[Instance]:
    """This node's own instances of a service, in upper or lower case, as they were registered."""
    for name in list(node.services()):
        if name.lower() == service.lower():
            for each in node.lookup(name, healthy=False):
                own = node.own(each.id) if each.owner == node.name else None
                if own is not None and own.service == name:
                    yield own


def _is_named(instance: Instance, service: str) -> bool:
    return instance.service.lower() == service.lower()


def _shares(node: NodeApi, own: Instance) -> Mapping[str, Share]:
    """What each API has registered of an own instance."""
    shares = _kept_shares(own)
    if shares:
        return shares
    # Beside Eureka's key, Consul's tells of checks that were added to the instance, not that it was registered.
    api = next((api for api in reversed(_APIS) if api in own.meta), None)
    return {} if api is None else {api: Share.of(own, (report.check for report in node.checks(own.id)))}


def _is_of(api: str, check: str, shares: Mapping[str, Share]) -> bool:
    """Whether a check belongs to an API, where these have registered the instance."""
    if list(shares) == [api]:
        return True
    if api in _CHECKS:
        return check in _CHECKS[api]
    return all(check not in _CHECKS.get(other, ()) for other in shares)


def _kept_shares(instance: Instance) -> Mapping[str, Share]:
    """The shares of a joint registration; none of any other."""
    text = instance.meta.get(JOINT)
    if text is None:
        return {}
    # A client may have written it: a share of another service would be registered as that when the others go.
    of = instance.service.lower()
    return {api: share for api, share in _read(text).items() if share.service.lower() == of}


@functools.lru_cache(maxsize=4096)
def _read(text: str) -> Mapping[str, Share]:
    """Another node may have written anything: what does not have the form is ignored."""
    try:
        told = read_json(text)
        return {api: Share.read(told[api]) for api in _APIS if api in told}
    except (ValueError, TypeError, KeyError, AttributeError):
        return {}


def _told(instance: Instance, api: str, key: str) -> str:
    """One text of what an API keeps for itself; empty if it keeps none."""
    try:
        found = read_json(instance.meta.get(api, "{}")).get(key, "")
    except (ValueError, AttributeError):
        return ""
    return found if isinstance(found, str) else ""
