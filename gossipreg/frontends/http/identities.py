"""Identities over HTTP: the certificate of each member, what was revoked; to revoke and to issue one."""

from __future__ import annotations

import attrs

from gossipreg.errors import InvalidCertificate
from gossipreg.frontends.http.bodies import read_object
from gossipreg.frontends.http.context import NativeContext
from gossipreg.frontends.serving.response import HttpError, Response, encode
from gossipreg.frontends.serving.time_slices import TimeSlicer
from gossipreg.identities import IdentityReport


async def identity(context: NativeContext) -> Response:
    """The certificate of each member, what was revoked, and which hosts were refused."""
    return await _answer(context.node.identity())


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
    return await _answer(context.node.identity())


async def issue_certificate(context: NativeContext) -> Response:
    """Sign the certificate that a node asks for."""
    wanted = read_object(context, {"request"}, {"request": "gossipreg-certificate-request-1 BASE64"})
    request = wanted.get("request")
    if not isinstance(request, str):
        raise HttpError(400, "request: the line that a node makes is expected", field="request")
    try:
        return Response.of(201, {"certificate": await context.node.issue_certificate(request)})
    except InvalidCertificate as error:
        raise HttpError(400, str(error), code="invalid_certificate", field="request") from None


async def _answer(report: IdentityReport) -> Response:
    """A report; times are in seconds since the epoch. There may be thousands of members."""
    slicer = TimeSlicer()
    members = await slicer.json_list(map(attrs.asdict, report.members))
    revoked = await slicer.json_list(map(attrs.asdict, report.revoked))
    body = b'{"mode":%b,"until":%b,"members":%b,"revoked":%b,"refused":%b}' % (
        *(encode(report.mode), encode(report.until), members, revoked),
        encode(dict(report.refused)),
    )
    return Response(200, body)
