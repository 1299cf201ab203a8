"""HTTP responses: whole, deferred and streamed, and the errors that become one.

Every error of a request becomes an `HttpError`: `http_error` makes one of a node's error. Each API then words it in the
form that its clients expect; `Response.error` is the form of the native API.
"""

from __future__ import annotations

import json
import logging
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from math import inf
from typing import Any, Final, Protocol

from gossipreg.errors import (
    CertificateRefused,
    ClockWrong,
    CredentialsUnavailable,
    GossipInClear,
    GossipregError,
    InvalidInstance,
    InvalidPolicy,
    InvalidToken,
    JoinFailed,
    KeyGivenUp,
    KeyInUse,
    KeyNotHeld,
    MemberPresent,
    NameConflict,
    NodeClosed,
    NotAllowed,
    NotAnIssuer,
    NotJoined,
    RegionUnavailable,
    TooManyKeys,
    TooManyTokens,
    UnknownInstance,
    UnknownKey,
    UnknownMember,
    UnknownPolicy,
    UnknownRegion,
    UnknownTerm,
    UnknownToken,
)
from gossipreg.values import frozen

log = logging.getLogger(__name__)

Headers = tuple[tuple[bytes, bytes], ...]

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


@frozen(eq=False)
class ByteChunks:
    """Bytes in several chunks, so that responses which differ in a few can share the others."""

    parts: tuple[bytes, ...]
    _size: int

    def __len__(self) -> int:
        return self._size


#: The body of an answer.
Body = bytes | ByteChunks


@frozen
class Response:
    """One whole answer. ``content`` is of the type ``media``, or empty where the status says it all."""

    status: int
    content: Body = b""
    headers: Headers = ()
    media: bytes = b"application/json"
    is_labelled: bool = True  # whether it says how far it can be relied on: not if it holds nothing of the cluster

    @property
    def body(self) -> bytes:
        """The content in one piece: not for long answers."""
        return self.content if isinstance(self.content, bytes) else b"".join(self.content.parts)

    @classmethod
    def of(cls, status: int, value: Any) -> Response:
        """An answer whose body is ``value`` in JSON."""
        return cls(status, encode(value))

    @classmethod
    def error(
        cls,
        status: int,
        sentence: str,
        headers: Headers = (),
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


class HttpError(Exception):
    """A request that cannot be granted: raised anywhere on its way, and answered in place of it."""

    def __init__(
        self,
        status: int,
        sentence: str,
        headers: Headers = (),
        *,
        code: str | None = None,
        field: str | None = None,
    ) -> None:
        super().__init__(sentence)
        self.status = status
        self.headers = headers
        self.code = code
        self.field = field

    @property
    def answer(self) -> Response:
        """The error in the form of the native API."""
        return Response.error(self.status, str(self), self.headers, code=self.code, field=self.field)


#: The status of each of a node's errors; any other is 500.
_STATUS: Final[tuple[tuple[type[GossipregError], int], ...]] = (
    (InvalidInstance, 400),
    (InvalidPolicy, 400),
    (UnknownInstance, 404),
    (UnknownPolicy, 404),
    (UnknownTerm, 404),
    (InvalidToken, 400),
    (UnknownToken, 404),
    (TooManyTokens, 409),
    (ClockWrong, 503),
    (UnknownMember, 404),
    (UnknownRegion, 404),
    (RegionUnavailable, 503),
    (CredentialsUnavailable, 409),
    (MemberPresent, 409),
    (UnknownKey, 404),
    (GossipInClear, 409),
    (KeyGivenUp, 409),
    (KeyInUse, 409),
    (KeyNotHeld, 409),
    (TooManyKeys, 409),
    (NotAllowed, 403),
    (CertificateRefused, 403),
    (NotAnIssuer, 409),
    (NodeClosed, 503),
    (NotJoined, 503),
    (JoinFailed, 502),
    (NameConflict, 503),
)


def http_error(error: HttpError | GossipregError) -> HttpError:
    """The error of a request that ``error`` amounts to: itself, or one with the status of a node's error.

    The status is 500, and the log says why, for an error that the client has no part in, such as a full disk.
    """
    if isinstance(error, HttpError):
        return error
    status = next((status for type_, status in _STATUS if isinstance(error, type_)), 500)
    if status == 500:
        log.error("the node could not do what a client asked for: %s", error)
    return HttpError(status, str(error), code=error.code, field=error.field)


class ResponseWaiter(Protocol):
    """Waits for an answer."""

    def __call__(self, most: float = inf) -> Coroutine[Any, Any, Response]:
        """Return the answer once there is news, or after the client's own time or ``most`` seconds what there is."""


@frozen(eq=False)
class DeferredResponse:
    """The answer will be what ``answer`` returns. It is cancelled if the client goes away before that."""

    answer: ResponseWaiter


#: Hands something to a client, and returns when it has been taken.
Send = Callable[[bytes | ByteChunks], Awaitable[None]]


class StreamingResponse(ABC):
    """A response that goes on until its source ends or the client has gone."""

    __slots__ = ()

    headers: Headers  # beside those that every such response has

    @abstractmethod
    def with_headers(self, headers: Headers) -> StreamingResponse:
        """The same response with these headers."""

    @abstractmethod
    async def run(self, send: Send) -> None:
        """Send the body part by part. Sends nothing if there is nothing to send any more."""


Reply = Response | DeferredResponse | StreamingResponse
