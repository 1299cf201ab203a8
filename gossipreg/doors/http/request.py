"""Knows a request as it came: who is asked for what, before anything is made of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Self
from urllib.parse import parse_qsl, unquote, urlsplit

import attrs
import h11

from gossipreg.doors.http import limits, naming
from gossipreg.doors.http.answers import Refusal, shown


@attrs.frozen
class Request:
    """One request. Texts are as the client wrote them, nothing is decoded yet."""

    method: str
    target: str
    authority: str | None = None  # what the client calls us: the Host header
    origin: str | None = None  # the page that the request came from, if a browser sent it for one
    announces_body: bool = False
    body: bytes = b""
    token: str | None = attrs.field(default=None, repr=False)  # what the client shows to be let in
    name: bytes | None = None  # what the client calls it, if that can be repeated: the X-Request-Id header
    headers: Sequence[tuple[bytes, bytes]] = attrs.field(default=(), repr=False, eq=False)  # names in lower case

    @classmethod
    def of(cls, head: h11.Request) -> Self:
        """The request that begins with ``head``. Raises a ``Refusal`` if that says that it is too large."""
        authority = origin = token = called = None
        announces_body = False
        size = len(head.target)
        if size > limits.TARGET_BYTES_MAX:
            raise target_too_long()
        for name, value in head.headers:
            size += len(name) + len(value)
            if name == b"host":
                authority = value.decode("latin-1")
            elif name == b"origin":
                origin = value.decode("latin-1")
            elif name == naming.HEADER:
                called = value if naming.is_sane(value) else None
            elif name == b"authorization":
                token = token or _bearer(value)
            elif name == b"x-gossipreg-token":
                token = value.decode("latin-1")
            elif name == b"transfer-encoding":
                announces_body = True
            elif name == b"content-length":
                announces_body = True
                if int(value) > limits.BODY_BYTES_MAX:
                    raise body_too_large()
        if size > limits.HEAD_BYTES_MAX:
            raise head_too_large()
        return cls(
            method=head.method.decode("ascii"),
            target=head.target.decode("ascii"),
            authority=authority,
            origin=origin,
            announces_body=announces_body,
            token=token,
            name=called,
            headers=head.headers,
        )

    def header(self, name: bytes) -> str | None:
        """The first header of that name, which is in lower case."""
        return next((value.decode("latin-1") for each, value in self.headers if each == name), None)

    @property
    def is_bare_get(self) -> bool:
        """Whether it is a GET that ends with its head."""
        return self.method == "GET" and not self.announces_body

    def at_our_own_name(self) -> Self:
        """The same request with a path for a target: clients of a proxy write the whole URL, which then names us."""
        if self.target.startswith("/"):
            return self
        try:
            url = urlsplit(self.target)
        except ValueError:
            raise Refusal(400, f"{shown(self.target)} is not a URL") from None
        if url.scheme != "http":
            return self
        return attrs.evolve(self, target=url._replace(scheme="", netloc="").geturl() or "/", authority=url.netloc)


def _bearer(value: bytes) -> str | None:
    """The token of an ``Authorization`` header, if it holds one."""
    scheme, _, token = value.decode("latin-1").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None


def split_target(target: str) -> tuple[str, Mapping[str, str]]:
    """The path, still encoded, and the decoded query. Raises a 400 ``Refusal`` for a query that says a thing twice."""
    path, question_mark, text = target.partition("?")
    if not question_mark:
        return path, {}
    query: dict[str, str] = {}
    try:
        pairs = parse_qsl(text, keep_blank_values=True, errors="strict")
    except UnicodeDecodeError:
        raise Refusal(400, f"the query {shown(text)} is not UTF-8 under its percent signs") from None
    for name, value in pairs:
        if name in query:
            raise Refusal(400, f"the query gives {shown(name)} twice")
        query[name] = value
    return path, query


def decoded(segment: str) -> str:
    """One segment of a path without its percent signs. Raises a 400 ``Refusal`` unless UTF-8 comes out."""
    try:
        return unquote(segment, errors="strict")
    except UnicodeDecodeError:
        raise Refusal(400, f"the path segment {shown(segment)} is not UTF-8 under its percent signs") from None


def head_too_large() -> Refusal:
    """The refusal of a request whose line and headers are over the limit."""
    return Refusal(431, f"the request line and headers are over {limits.HEAD_BYTES_MAX} bytes together")


def target_too_long() -> Refusal:
    """The refusal of a request whose line is over the limit."""
    return Refusal(414, f"the request's target is over {limits.TARGET_BYTES_MAX} bytes")


def body_too_large() -> Refusal:
    """The refusal of a request whose body is over the limit, announced or not."""
    return Refusal(
        413,
        f"the request's body is over {limits.BODY_BYTES_MAX} bytes: every node holds every instance, "
        f"so none may be large",
    )
