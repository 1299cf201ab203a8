"""Bodies of small requests: a JSON object with known fields."""

from __future__ import annotations

import json
from typing import Any

from gossipreg.frontends.http.context import NativeContext
from gossipreg.frontends.serving.response import HttpError
from gossipreg.json_documents import read_json


def read_object(context: NativeContext, fields: set[str], example: dict[str, Any]) -> dict[str, Any]:
    """The body of a request: an object that may have these ``fields``, such as ``example``. Raises ``HttpError``."""
    written = json.dumps(example)
    if not context.request.announces_body:
        raise HttpError(411, f"a body such as {written} is expected: send it with a Content-Length")
    try:
        wanted = read_json(context.request.body)
    except ValueError as error:
        raise HttpError(400, f"the body is not JSON that can be read: {error}") from None
    if not isinstance(wanted, dict):
        raise HttpError(400, f"the body is not an object: write {written}")
    for name in wanted.keys() - fields:
        raise HttpError(400, f"{name!r:.40}: there is no such field: write {written}")
    return wanted
