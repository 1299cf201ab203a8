"""Identities over HTTP: the certificate of each member, what was revoked; and to revoke a certificate."""

from __future__ import annotations

from typing import Any

import attrs

from gossipreg.errors import InvalidCertificate
from gossipreg.frontends.http.bodies import read_object
from gossipreg.frontends.http.context import NativeContext
from gossipreg.frontends.serving.response import HttpError, Response
from gossipreg.identities import IdentityReport


async def identity(context: NativeContext) -> Response:
    """The certificate of each member, what was revoked, and which hosts were refused."""
    return Response.of(200, render(context.node.identity()))


async def revoke_certificate(context: NativeContext) -> Response:
    """Have every member expel the holder of a certificate; the answer is as of `identity`."""
    wanted = read_object(context, {"revocation"}, {"revocation": "gossipreg-revocation-1 BASE64"})
    revocation = wanted.get("revocation")
    if not isinstance(revocation, str):
        raise HttpError(400, "revocation: the line that `gossipreg ca revoke` writes is expected", field="revocation")
    try:
        await context.node.revoke_certificate(revocation)
    except InvalidCertificate as error:
        raise HttpError(400, str(error), code="invalid_certificate", field="revocation") from None
    return Response.of(200, render(context.node.identity()))


def render(report: IdentityReport) -> dict[str, Any]:
    """A report; times are in seconds since the epoch."""
    document: dict[str, Any] = attrs.asdict(report)
    return document
