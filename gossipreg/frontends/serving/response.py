"""What an HTTP listener says: answers with their status, and refusals with their reason."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

import attrs

from gossipreg.errors import GossipregError

#: What programs tell refusals apart by where no error of a node has a code of its own.
CODES: Final[Mapping[int, str]] = {
    400: "bad_request",
    401: "unauthorized",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    408: "request_timeout",
    409: "conflict",
    411: "length_required",
    413: "body_too_large",
    414: "target_too_long",
    415: "unsupported_media_type",
    421: "misdirected_request",
    429: "too_many_requests",
    431: "head_too_large",
    500: "internal_error",
    501: "not_implemented",
    503: "unavailable",
    505: "http_version_not_supported",
}


def encode(value: Any) -> bytes:
    """``value`` as compact JSON. It is pure ASCII, so no text that a peer gossips can fail to be encoded."""
    return json.dumps(value, separators=(",", ":")).encode("ascii")


@attrs.frozen
class Response:
    """One whole answer. ``body`` is of the type ``media``, or empty where the status says it all."""

    status: int
    body: bytes = b""
    headers: tuple[tuple[bytes, bytes], ...] = ()
    media: bytes = b"application/json"

    @classmethod
    def of(cls, status: int, value: Any) -> Response:
        """An answer whose body is ``value`` in JSON."""
        return cls(status, encode(value))

    @classmethod
    def error(
        cls,
        status: int,
        sentence: str,
        headers: tuple[tuple[bytes, bytes], ...] = (),
        *,
        code: str | None = None,
        field: str | None = None,
    ) -> Response:
        """An answer that says no, and why.

        ``sentence`` is for people. ``code`` is for programs: unless given, the one of the ``status``. ``field`` is the
        path of the field that cannot be used, if there is one.
        """
        document = {"error": sentence, "code": CODES.get(status, "error") if code is None else code}
        return cls(status, encode(document if field is None else {**document, "field": field}), headers)

    @classmethod
    def of_error(cls, status: int, error: GossipregError) -> Response:
        """What a node or its parts refused."""
        return cls.error(status, str(error), code=error.code, field=error.field)


class HttpError(Exception):
    """A request that cannot be granted: raised anywhere on its way, and answered in place of it."""

    def __init__(
        self,
        status: int,
        sentence: str,
        headers: tuple[tuple[bytes, bytes], ...] = (),
        *,
        code: str | None = None,
        field: str | None = None,
    ) -> None:
        super().__init__(sentence)
        self.answer = Response.error(status, sentence, headers, code=code, field=field)
