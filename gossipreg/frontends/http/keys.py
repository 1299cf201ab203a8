"""The keys that seal the gossip, over HTTP: their ids and holders; adding, using and removing one."""

from __future__ import annotations

from typing import Any

from gossipreg import limits
from gossipreg.durations import parse_duration
from gossipreg.errors import ConfigError
from gossipreg.frontends.http.bodies import read_object
from gossipreg.frontends.http.context import NativeContext
from gossipreg.frontends.serving.response import HttpError, Response
from gossipreg.keys import GossipKey


async def keys(context: NativeContext) -> Response:
    """The keys that seal the gossip, the primary one first; none if it is in clear."""
    return _listed(context)


async def add_key(context: NativeContext) -> Response:
    """Have every member hold a key, too."""
    wanted = read_object(context, {"key"}, {"key": "KEY_IN_BASE64"})
    key = wanted.get("key")
    if not isinstance(key, str):
        raise HttpError(400, "key: a key is expected as a string in base64, as `gossipreg keygen` prints", field="key")
    try:
        added = await context.node.add_gossip_key(key)
    except ConfigError as error:
        raise HttpError(400, str(error), code="invalid_key", field="key") from None
    return Response.of(200, {"id": added})


async def use_key(context: NativeContext) -> Response:
    """Have every member seal with a key that all hold; the one so far is held for a while."""
    wanted = read_object(context, {"id", "keep", "force"}, {"id": "ID"})
    force = wanted.get("force", False)
    if not isinstance(force, bool):
        raise HttpError(400, "force: is neither true nor false", field="force")
    more = {"kept": _seconds(wanted["keep"])} if "keep" in wanted else {}
    await context.node.use_gossip_key(_id(wanted.get("id")), force=force, **more)
    return _listed(context)


async def remove_key(context: NativeContext) -> Response:
    """Have every member give up a key."""
    await context.node.remove_gossip_key(context.argument)
    return Response(204)


def render(key: GossipKey) -> dict[str, Any]:
    """One key; ``until`` is in seconds since the epoch."""
    return {
        "id": key.id,
        "primary": key.primary,
        "held_by": len(key.held_by),
        "used_by": len(key.used_by),
        "not_held_by": list(key.not_held_by),
        "until": key.until,
    }


def _listed(context: NativeContext) -> Response:
    body: dict[str, Any] = {"keys": [render(each) for each in context.node.gossip_keys()]}
    identity = context.node.identity()
    if identity.mode != "off":
        not_ready = [each.name for each in identity.members if each.present and not each.ready]
        unsigned = list(identity.unsigned_policies)
        body["identity"] = {"mode": identity.mode, "not_ready": not_ready, "unsigned_policies": unsigned}
    return Response.of(200, body)


def _id(value: object) -> str:
    if not isinstance(value, str):
        raise HttpError(400, "id: the id of a key is expected, as GET /api/v1/keys lists them", field="id")
    return value


def _seconds(value: object) -> float:
    seconds = parse_duration(value) if isinstance(value, str) else None
    if seconds is None or not 0 <= seconds <= limits.GOSSIP_KEY_KEPT_SECONDS_MAX:
        raise HttpError(400, 'keep: a time of 0 to 366 days is expected, such as "72h"', field="keep")
    return seconds
