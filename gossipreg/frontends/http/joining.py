"""Joining over HTTP: an operator has the node join others while it runs."""

from __future__ import annotations

from gossipreg import limits
from gossipreg.errors import ConfigError
from gossipreg.frontends.http.bodies import read_object
from gossipreg.frontends.http.context import NativeContext
from gossipreg.frontends.serving.response import HttpError, Response


async def join(context: NativeContext) -> Response:
    """Have this node join the members at some addresses; the answer comes when the states have been compared."""
    seeds = read_object(context, {"seeds"}, {"seeds": ["10.0.0.6:7940"]}).get("seeds")
    if not isinstance(seeds, list) or not all(isinstance(each, str) for each in seeds):
        sentence = f"seeds: a list of 1 to {limits.JOIN_SEEDS_MAX} addresses is expected, each HOST or HOST:PORT"
        raise HttpError(400, sentence, field="seeds")
    try:
        result = await context.node.join(seeds)
    except ConfigError as error:
        raise HttpError(400, str(error), field="seeds") from None
    failures = {each.seed: {"reason": each.reason, "detail": each.detail} for each in result.failures}
    return Response.of(200, {"joined": list(result.joined), "failures": failures})
