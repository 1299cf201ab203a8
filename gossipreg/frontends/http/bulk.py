"""Bulk registrations: a JSON list, or JSON on each line, of which all instances are registered or none."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import aclosing

from gossipreg.errors import InvalidInstance, naming
from gossipreg.frontends.http import render
from gossipreg.frontends.http.context import NDJSON, NativeContext
from gossipreg.frontends.serving.check_permissions import permit_checks
from gossipreg.frontends.serving.response import HttpError, Response
from gossipreg.frontends.serving.time_slices import TimeSlicer
from gossipreg.spec import NEXT, InstanceSpec
from gossipreg.text import shortened


async def register_many(context: NativeContext) -> Response:
    """Register all instances of a list, or none."""
    node, slicer = context.node, TimeSlicer()
    wanted: list[InstanceSpec] = []
    async with aclosing(slicer.over(enumerate(_listed(context)))) as documents:
        async for place, document in documents:
            wanted.append(_read_listed(context, document, f"[{place}]"))
    registered = await node.register_many(wanted)
    rows = await slicer.json_list(render.written(node, each) for each in registered)
    return Response(200, b'{"instances":%b}' % rows)


def _read_listed(context: NativeContext, document: object, place: str) -> InstanceSpec:
    """The instance at ``place`` of a list. Raises an ``HttpError``, or ``InvalidInstance``, that names the place."""
    with naming(place):
        if not isinstance(document, Mapping):
            raise InvalidInstance(None, f"{shortened(json.dumps(document))} is not an object")
        wanted = InstanceSpec.read(document)
        if wanted.term == NEXT:
            raise InvalidInstance("term", "is a number in a list: register what asks for the next by itself")
    if context.node.command_checks != "api" and wanted.runs_commands:
        raise HttpError(
            403, f"{place}.checks: commands are not taken over HTTP: start the agent with --command-checks api"
        )
    try:
        permit_checks(context.server.access, context.request.token, context.node, wanted.checks, wanted.host)
    except HttpError as no:
        raise HttpError(no.status, f"{place}.{no}", no.headers, code=no.code) from None
    return wanted


def is_list(context: NativeContext) -> bool:
    """Whether the body holds many instances: by its media type, or since it begins as a JSON list."""
    return _is_ndjson(context) or context.request.body.lstrip()[:1] == b"["


def _is_ndjson(context: NativeContext) -> bool:
    said = context.request.header(b"content-type") or ""
    return said.partition(";")[0].strip().lower() == NDJSON


def _listed(context: NativeContext) -> list[object]:
    """The documents in a body: a JSON list, or one on each line."""
    body, place = context.request.body, 0
    try:
        if not _is_ndjson(context):
            document: list[object] = json.loads(body)
            return document
        found: list[object] = []
        for place, line in enumerate(body.splitlines(), 1):  # noqa: B007 - an error names it
            if line.strip():
                found.append(json.loads(line))
    except (ValueError, RecursionError) as error:
        where = f"line {place} of the body" if place else "the body"
        raise HttpError(400, f"{where} is not JSON that can be read: {error}") from None
    return found
