"""Payloads: how an instance is packed by its owner, and unpacked by all other nodes.

An instance is packed once, by its owner; every other node keeps and passes on the very same bytes. So fields that a
later version adds survive a pass through nodes of this one, and a record's digest means the same everywhere.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Mapping
from operator import itemgetter
from typing import Any, Final, ParamSpec, TypeVar

import msgpack

from gossipreg import limits
from gossipreg.errors import InvalidInstance
from gossipreg.model import Health, Instance

P = ParamSpec("P")
T = TypeVar("T")

_KEYS: Final = ("service", "host", "port", "tags", "meta", "weight", "role", "zone")
_SELDOM: Final = ("reason", "term", "sealed")
_OFFERED: Final[Callable[[Any], tuple[Any, ...]]] = itemgetter(*_KEYS)

#: The types of what msgpack unpacks that hold other values.
_NESTING: Final = frozenset((list, dict))

#: The port in the record of an instance without one, for nodes that know no such instances: they refuse port 0. They
#: see it drained, so that they do not call it; its weight is beside it.
_NO_PORT: Final = 1


class BadPayload(Exception):
    """Bytes that are not a packed instance."""


def pack_instance(instance: Instance, extra: Mapping[str, Any] | None = None) -> bytes:
    """The instance as its owner states it: without id and owner, which are known from elsewhere.

    What most instances do not have is left out, so that their records stay as short, and the same, as ever. ``extra``:
    fields that the owner keeps beside them.
    """
    offer: dict[str, Any] = {
        "service": instance.service,
        "host": instance.host,
        "port": instance.port,
        "tags": instance.tags,
        "meta": instance.meta,
        "weight": instance.weight,
        "role": instance.role,
        "zone": instance.zone,
    }
    if not instance.is_callable:
        offer |= {"port": _NO_PORT, "weight": 0, "portless": instance.weight}
    if instance.health is not Health.PASSING:
        offer |= {"health": str(instance.health), "reason": instance.reason}
    if instance.term:
        offer["term"] = instance.term
    if instance.sealed:
        offer["sealed"] = instance.sealed
    packed: bytes = msgpack.packb({**offer, **(extra or {})})
    return packed


def contained(read: Callable[P, T]) -> Callable[P, T]:
    """``read``, with any exception that it raises by a bug as a `BadPayload`: every node reads what one has stated."""

    @functools.wraps(read)
    def reading(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return read(*args, **kwargs)
        except BadPayload:
            raise
        except Exception as error:
            raise BadPayload(f"a bug in gossipreg: {type(error).__name__}") from error

    return reading


@contained
def unpack_instance(payload: bytes, *, id: str, owner: str) -> Instance:
    """The instance that ``owner`` packed. Raises `BadPayload` for anything else, whatever the bytes."""
    try:
        offer = msgpack.unpackb(
            payload,
            raw=False,
            strict_map_key=True,
            max_map_len=limits.META_ENTRIES_MAX,
            max_array_len=limits.TAGS_MAX,
        )
    except (ValueError, msgpack.UnpackException) as error:
        raise BadPayload(f"not msgpack: {error}") from None
    if type(offer) is not dict:
        raise BadPayload("not an offer")
    try:
        service, host, port, tags, meta, weight, role, zone = _OFFERED(offer)
    except KeyError:
        raise BadPayload("not an offer") from None
    if type(tags) is not list or type(meta) is not dict:
        raise BadPayload("tags or meta of another shape")
    seldom = {key: offer[key] for key in _SELDOM if key in offer} if len(offer) > len(_KEYS) else {}
    leaves = (service, host, port, weight, role, zone, *tags, *meta.values(), *seldom.values(), offer.get("portless"))
    if not _NESTING.isdisjoint(map(type, leaves)):
        raise BadPayload("nested too deep")  # deeper than an error message could describe
    if "portless" in offer:
        port, weight = 0, offer["portless"]
    instance = Instance(
        id=id,
        owner=owner,
        health=_health(offer),
        service=_shared(service),
        host=host,
        port=port,
        tags=tuple(map(_shared, tags)),
        meta={_shared(key): value for key, value in meta.items()},
        weight=weight,
        role=_shared(role),
        zone=_shared(zone),
        **seldom,
    )
    try:
        instance.check()
    except InvalidInstance as error:
        raise BadPayload(str(error)) from None
    return instance


def _shared(text: Any) -> Any:
    """``text`` as one object for all instances that have it, if it is text: most have the same few."""
    return sys.intern(text) if type(text) is str else text


def _health(offer: dict[str, Any]) -> Health:
    """The health that the owner states; one that only a later version knows counts as critical."""
    stated = offer.get("health")
    if stated is None and "health" not in offer:
        return Health.PASSING
    if not isinstance(stated, str):  # an error about what is nested could not be worded
        return Health.CRITICAL
    try:
        return Health(stated)
    except ValueError:
        return Health.CRITICAL
