"""Prometheus HTTP service discovery: instances as scrape targets."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from operator import attrgetter
from typing import Any

from gossipreg.frontends.http.context import NativeContext
from gossipreg.frontends.serving.kept_meta import meta_as_given
from gossipreg.frontends.serving.response import Response
from gossipreg.frontends.serving.time_slices import TimeSlicer, decoded
from gossipreg.model import Instance

#: What every label starts with. Prometheus drops labels in ``__meta_`` after relabelling, so none gets stored unasked.
PREFIX = "__meta_gossipreg_"


async def http_sd(context: NativeContext) -> Response:
    """What Prometheus is to scrape: every instance with a port of one service, or of all, unable ones included."""
    service = context.text("service")
    names = sorted(context.node.services()) if service is None else [service]
    healthy = context.flag("healthy")
    for name in names:
        await decoded(context.node, name)
    every = (each for name in names for each in context.node.lookup(name, healthy=healthy))
    return Response(200, await TimeSlicer().json_chunks(targets(every)))


def targets(instances: Iterable[Instance]) -> Iterator[dict[str, Any]]:
    """One group for each instance, since no two have the same labels."""
    for instance in filter(attrgetter("port"), instances):
        yield {"targets": [str(instance.address)], "labels": labels(instance)}


def labels(instance: Instance) -> dict[str, str]:
    """An instance's labels. Tags are joined by commas, with one at each end, so that ``.*,v2,.*`` finds a whole tag."""
    known = {
        "service": instance.service,
        "id": instance.id,
        "owner": instance.owner,
        "zone": instance.zone,
        "role": instance.role or "",
        "health": str(instance.health),
        "weight": str(instance.weight),
        "stale": "true" if instance.stale else "false",
        "tags": f",{','.join(instance.tags)}," if instance.tags else "",
    }
    meta = {
        f"meta_{re.sub('[^a-zA-Z0-9_]', '_', key)}": value for key, value in sorted(meta_as_given(instance).items())
    }
    return {PREFIX + name: value for name, value in {**known, **meta}.items()}
