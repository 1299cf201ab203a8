"""The page of metrics that Prometheus scrapes."""

from __future__ import annotations

from gossipreg.frontends.http.context import NativeContext
from gossipreg.frontends.serving.node_metrics import exposition
from gossipreg.frontends.serving.prometheus import MEDIA
from gossipreg.frontends.serving.response import Response


async def metrics(context: NativeContext) -> Response:
    """What this node sees and has counted, for Prometheus."""
    return Response(200, exposition(context.node, context.server.requests), media=MEDIA)
