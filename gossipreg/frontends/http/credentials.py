"""Credentials over HTTP: shown only for a token with that scope."""

from __future__ import annotations

import logging
from typing import Final

import attrs

from gossipreg.frontends.http.context import NativeContext
from gossipreg.frontends.serving.response import HttpError, Response
from gossipreg.model import Instance
from gossipreg.text import shown

log = logging.getLogger(__name__)

_NOT_KEPT: Final = ((b"cache-control", b"no-store"),)


async def credentials(context: NativeContext) -> Response:
    """What a client needs to log in to an instance. The route's scope has been checked."""
    instance = _one(context)
    if not instance.sealed:
        raise HttpError(404, f"instance {shown(instance.id)} of {instance.service!r} has no credentials")
    found = context.node.credentials(instance)
    reader = context.server.access.holder(context.request.token)
    log.info("the credentials of %s of %s were read with the token %s", instance.id, instance.service, reader)
    answer = Response.of(
        200,
        {"id": instance.id, "service": instance.service, "owner": instance.owner, "credentials": dict(found)},
    )
    return attrs.evolve(answer, headers=_NOT_KEPT)


def _one(context: NativeContext) -> Instance:
    """The instance that is asked about, whether or not it can serve."""
    service, owner = context.text("service"), context.text("owner")
    if service is None:
        raise HttpError(400, "service: is missing: write ?service=NAME")
    found = [
        each
        for each in context.node.lookup(service, healthy=False)
        if each.id == context.argument and owner in (None, each.owner)
    ]
    if not found:
        of = "" if owner is None else f" of the owner {shown(owner)}"
        raise HttpError(404, f"{shown(service)} has no instance {shown(context.argument)}{of}")
    if len(found) > 1:
        owners = ", ".join(each.owner for each in found[:8])
        raise HttpError(
            409, f"{shown(context.argument)} is the id of {len(found)} instances: add &owner= with one of {owners}"
        )
    return found[0]
