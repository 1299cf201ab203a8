"""Bulk registrations: a JSON list, or JSON on each line, of which all instances are registered or none."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import aclosing
from typing import Any

from gossipreg.errors import InvalidInstance, naming
from gossipreg.frontends.http import render
from gossipreg.frontends.http.context import NativeContext
from gossipreg.frontends.serving.check_permissions import permit_checks
from gossipreg.frontends.serving.request import NDJSON
from gossipreg.frontends.serving.response import HttpError, Response
from gossipreg.frontends.serving.time_slices import TimeSlicer
from gossipreg.json_documents import read_json
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


def _listed(context: NativeContext) -> Iterable[object]:
    """The documents in a body: a JSON list, or one on each line, of which each is decoded when its turn comes."""
    if _is_ndjson(context):
        return _lines(context.request.body)
    document: list[object] = _decoded(context.request.body, "the body")
    return document


def _lines(body: bytes) -> Iterator[object]:
    begin = place = 0
    while begin < len(body):
        end = body.find(b"\n", begin)
        line = body[begin : end if end >= 0 else len(body)]
        begin, place = begin + len(line) + 1, place + 1
        if line.strip():
            yield _decoded(line, f"line {place} of the body")


def _decoded(text: bytes, where: str) -> Any:
    """What ``text`` says in JSON. Raises a 400 ``HttpError`` that names ``where`` it stands."""
    try:
        return read_json(text)
    except ValueError as error:
        raise HttpError(400, f"{where} is not JSON that can be read: {error}") from None
