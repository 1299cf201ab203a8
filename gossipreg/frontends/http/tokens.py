"""The tokens that the whole cluster knows, over HTTP: listing, creating and revoking them.

A token is never sent: the client that creates one makes it, and sends its SHA-256.
"""

from __future__ import annotations

import time
from math import inf
from typing import Any, Final

from gossipreg.durations import parse_duration
from gossipreg.frontends.http.context import NativeContext
from gossipreg.frontends.serving.response import HttpError, Response
from gossipreg.frontends.serving.scopes import Grant
from gossipreg.json_documents import read_json
from gossipreg.tokens import ClusterToken

#: The longest time for which a token can be created (seconds).
_TTL_SECONDS_MAX: Final = 10 * 366 * 86_400.0

_EXAMPLE: Final = '{"name": "ci", "token_sha256": "64 HEXADECIMAL DIGITS", "scopes": ["write:orders"], "ttl": "720h"}'
_FIELDS: Final = frozenset({"name", "token_sha256", "scopes", "ttl"})


async def tokens(context: NativeContext) -> Response:
    """The cluster's tokens and those of this agent's file, without what would open anything."""
    access = context.server.access
    listed = [render(each, access.cluster_scopes) for each in context.node.tokens()]
    listed += [
        {"name": each.name, "scopes": list(map(str, each.grants)), "from": "file", "expires": None, "accepted": True}
        for each in access.tokens
    ]
    return Response.of(200, {"tokens": listed})


async def create_token(context: NativeContext) -> Response:
    """Have every agent that asks for tokens accept a further one."""
    access = context.server.access
    if access.is_open:
        raise HttpError(409, "this agent asks for no token, so it creates none: start it with --tokens-file FILE")
    token = _read(context)
    found = access.find(context.request.token or "")
    for text in token.scopes:
        grant = _grant(text)
        if found is None or not found.covers(grant):
            raise HttpError(403, f"scopes: your token is not for {text}, so it cannot give that away", field="scopes")
        if grant.scope not in access.cluster_scopes:
            accepted = ", ".join(sorted(access.cluster_scopes)) or "none"
            raise HttpError(
                400,
                f"scopes: {text} is not among this agent's cluster_token_scopes: {accepted}",
                field="scopes",
            )
    if found is not None and found.expires is not None and (token.expires or inf) > found.expires:
        raise HttpError(
            403,
            f"ttl: your token expires in {found.expires - time.time():.0f} s, so the new one has to expire by then",
            field="ttl",
        )
    token.check()
    digest = bytes.fromhex(token.digest)
    if any(each.name != token.name for each in context.node.tokens_with(digest)) or any(
        each.digest == digest for each in access.tokens
    ):
        raise HttpError(409, "token_sha256: it is that of a token with another name: make one for each")
    if any(each.name == token.name for each in access.tokens):
        raise HttpError(409, f"name: the tokens file of this agent has a token {token.name!r}: use another name")
    return Response.of(201, render(await context.node.create_token(token), access.cluster_scopes))


async def revoke_token(context: NativeContext) -> Response:
    """Have no agent accept a token any more."""
    name = context.argument
    if all(each.name != name for each in context.node.tokens()) and any(
        each.name == name for each in context.server.access.tokens
    ):
        raise HttpError(409, f"the token {name!r} is one of this agent's tokens file: remove it there and send SIGHUP")
    await context.node.revoke_token(name)
    return Response(204)


def render(token: ClusterToken, accepted: frozenset[str]) -> dict[str, Any]:
    """One token of the cluster; times are in seconds since the epoch.

    ``accepted`` in the answer says whether this agent accepts it for any of its scopes now.
    """
    is_past = token.expires is not None and token.expires <= time.time()
    return {
        "name": token.name,
        "scopes": list(token.scopes),
        "from": "cluster",
        "expires": token.expires,
        "accepted": not is_past and any(each.partition(":")[0] in accepted for each in token.scopes),
        "writer": token.writer,
        "at": token.at,
    }


def _read(context: NativeContext) -> ClusterToken:
    """The token that the body describes. Raises a 400 ``HttpError``; names and digests are for the node to check."""
    if not context.request.announces_body:
        raise HttpError(411, f"a body such as {_EXAMPLE} is expected: send it with a Content-Length")
    try:
        wanted = read_json(context.request.body)
    except ValueError as error:
        raise HttpError(400, f"the body is not JSON that can be read: {error}") from None
    if not isinstance(wanted, dict):
        raise HttpError(400, f"the body is not an object: write {_EXAMPLE}")
    for name in sorted(wanted.keys() - _FIELDS):
        raise HttpError(400, f"{name!r:.40}: there is no such field: write {_EXAMPLE}")
    scopes = wanted.get("scopes")
    if not isinstance(scopes, list):
        raise HttpError(400, 'scopes: a list is expected, such as ["read", "write:orders"]', field="scopes")
    digest = wanted.get("token_sha256")
    return ClusterToken(
        wanted.get("name", ""),
        digest.lower() if isinstance(digest, str) else "",
        tuple(str(_grant(each)) for each in scopes),
        _expires(wanted.get("ttl")),
    )


def _grant(text: object) -> Grant:
    try:
        return Grant.read(text)
    except ValueError as error:
        raise HttpError(400, f"scopes: {text!r:.80} {error}", field="scopes") from None


def _expires(ttl: object) -> float | None:
    """When a token for that long expires (seconds since the epoch)."""
    if ttl is None:
        return None
    seconds = parse_duration(ttl) if isinstance(ttl, str) else None
    if seconds is None or not 0 < seconds <= _TTL_SECONDS_MAX:
        raise HttpError(400, 'ttl: a time of up to ten years is expected, such as "720h"', field="ttl")
    return time.time() + seconds
