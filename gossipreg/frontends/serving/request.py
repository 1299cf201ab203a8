"""Requests: the parsed head and body of one, and its query parameters."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final, Self
from urllib.parse import parse_qsl, unquote, urlsplit

import attrs
import h11

from gossipreg.frontends.serving import limits, request_id
from gossipreg.frontends.serving.response import HttpError
from gossipreg.text import shortened, shown
from gossipreg.values import frozen

#: The media type of JSON lines, in which many instances are registered at once.
NDJSON: Final = "application/x-ndjson"

#: Characters of a path that a trace or a log shows: what a client sends is of any length.
SHOWN_PATH_CHARS: Final = 256

#: Where a path ends.
_AFTER_PATH: Final = re.compile(r"[?#]|%3f|%23", re.IGNORECASE)

#: Values of a flag that deny it.
_NO: Final = frozenset({"0", "f", "false", "no", "off"})

#: Headers that every request is looked through for.
_READ: Final = frozenset(
    {
        *(b"host", b"origin", b"sec-fetch-site", b"sec-fetch-dest", b"authorization", b"x-gossipreg-token"),
        *(request_id.HEADER, b"transfer-encoding", b"content-length", b"content-encoding"),
        b"content-type",
    }
)


@frozen
class Request:
    """One request. Texts are as the client wrote them, nothing is decoded yet."""

    method: str
    target: str
    authority: str | None = None  # the host that the client addresses: the Host header
    origin: str | None = None  # the page that the request came from, if a browser sent it for one
    fetch_site: str | None = None  # how that page's site relates to this one: the Sec-Fetch-Site header
    fetch_dest: str | None = None  # what the browser makes of the answer: the Sec-Fetch-Dest header
    announces_body: bool = False
    is_ambiguous: bool = False  # both a Content-Length and a Transfer-Encoding: nothing may follow (RFC 9112 §6.1)
    body_bytes_max: int = limits.BODY_BYTES_MAX  # the most that its body may have
    body: bytes = b""
    token: str | None = attrs.field(default=None, repr=False)  # the client's token
    name: bytes | None = None  # the client's id for it, if that can be repeated: the X-Request-Id header
    headers: Sequence[tuple[bytes, bytes]] = attrs.field(default=(), repr=False, eq=False)  # names in lower case

    @classmethod
    def of(cls, head: h11.Request) -> Self:
        """The request that begins with ``head``.

        Raises an ``HttpError``: 413, 414 or 431 for what is too large, 505 for a version other than HTTP/1, 415 for a
        compressed body.
        """
        if head.http_version[:1] != b"1":
            raise unknown_version(head.http_version)
        size = len(head.target)
        if size > limits.TARGET_BYTES_MAX:
            raise target_too_long()
        said: dict[bytes, bytes] = {}
        for name, value in head.headers:
            size += len(name) + len(value)
            if name in _READ:
                said[name] = value
        if size > limits.HEAD_BYTES_MAX:
            raise head_too_large()
        announces_body = b"content-length" in said or b"transfer-encoding" in said
        is_lines = said.get(b"content-type", b"").partition(b";")[0].strip().lower() == NDJSON.encode()
        most = limits.BULK_BYTES_MAX if is_lines else limits.BODY_BYTES_MAX
        if int(said.get(b"content-length", 0)) > most:
            raise body_too_large(most)
        coding = said.get(b"content-encoding", b"").strip().lower()
        if announces_body and coding not in (b"", b"identity"):
            raise compressed(coding.decode("latin-1"))

        def text(name: bytes) -> str | None:
            return said[name].decode("latin-1") if name in said else None

        called = said.get(request_id.HEADER)
        return cls(
            method=head.method.decode("ascii"),
            target=head.target.decode("ascii"),
            authority=text(b"host"),
            origin=text(b"origin"),
            fetch_site=text(b"sec-fetch-site"),
            fetch_dest=text(b"sec-fetch-dest"),
            announces_body=announces_body,
            body_bytes_max=most,
            is_ambiguous=b"content-length" in said and b"transfer-encoding" in said,
            token=text(b"x-gossipreg-token") or _bearer(text(b"authorization")),
            name=called if called is not None and request_id.is_sane(called) else None,
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
        """The same request with a path for a target: clients of a proxy send the whole URL, with this host in it."""
        if self.target.startswith("/"):
            return self
        try:
            url = urlsplit(self.target)
        except ValueError:
            raise HttpError(400, f"{shown(self.target)} is not a URL") from None
        if url.scheme != "http":
            return self
        return attrs.evolve(self, target=url._replace(scheme="", netloc="").geturl() or "/", authority=url.netloc)


def shown_path(target: str) -> str:
    """The path of a request's target as traces and logs may show it, cut to `SHOWN_PATH_CHARS`.

    What may hold a secret is left out: scheme, user and host of an absolute target (RFC 9112 §3.2.2), and the query and
    fragment, also if their separators are percent-encoded.
    """
    _scheme, absolute, rest = target.partition("://")
    if absolute and not target.startswith("/"):
        _authority, slash, path = rest.partition("/")
        target = slash + path
    path = _AFTER_PATH.split(target, maxsplit=1)[0]
    if "@" in path and not path.startswith("/"):  # the authority-form, as CONNECT has it (RFC 9112 §3.2.3)
        path = path.rpartition("@")[2]
    return shortened(path or "/", SHOWN_PATH_CHARS)


def _bearer(value: str | None) -> str | None:
    """The token of an ``Authorization`` header, if it holds one."""
    scheme, _, token = (value or "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None


@frozen
class QueryParameters:
    """The parameters of a query, decoded, in order. A name may be repeated and may lack a value."""

    pairs: tuple[tuple[str, str], ...] = ()

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``a=1&b&a=2``. Raises a 400 ``HttpError`` unless UTF-8 comes out."""
        try:
            return cls(tuple(parse_qsl(text, keep_blank_values=True, errors="strict")))
        except UnicodeDecodeError:
            raise HttpError(400, f"the query {shown(text)} is not UTF-8 under its percent signs") from None

    def __contains__(self, name: object) -> bool:
        return any(each == name for each, _ in self.pairs)

    def all(self, name: str) -> tuple[str, ...]:
        """Every value of that name."""
        return tuple(value for each, value in self.pairs if each == name)

    def first(self, name: str, default: str = "") -> str:
        """The first value of that name."""
        return next((value for each, value in self.pairs if each == name), default)

    def get(self, name: str) -> str | None:
        """The first value of that name; None if there is none."""
        return next((value for each, value in self.pairs if each == name), None)

    def flag(self, name: str) -> bool:
        """Whether it is there and not denied: ``?stale``, ``?stale=1`` and ``?stale=True`` say yes."""
        return name in self and self.first(name).lower() not in _NO

    def require_unique(self) -> None:
        """Raise a 400 ``HttpError`` if a name is repeated."""
        seen: set[str] = set()
        for name, _ in self.pairs:
            if name in seen:
                raise HttpError(400, f"the query gives {shown(name)} twice")
            seen.add(name)


_NO_PARAMETERS: Final = QueryParameters()


def split_target(target: str) -> tuple[str, QueryParameters]:
    """The path of a request's target, still encoded, and its query. Raises a 400 ``HttpError``."""
    path, _, text = target.partition("?")
    return path, QueryParameters.parse(text) if text else _NO_PARAMETERS


def decoded(segment: str) -> str:
    """One segment of a path without its percent signs. Raises a 400 ``HttpError`` unless UTF-8 comes out."""
    try:
        return unquote(segment, errors="strict")
    except UnicodeDecodeError:
        raise HttpError(400, f"the path segment {shown(segment)} is not UTF-8 under its percent signs") from None


def unknown_version(version: bytes) -> HttpError:
    """The refusal of a request in a version of HTTP other than 1.0 and 1.1 (RFC 9110 §15.6.6)."""
    return HttpError(505, f"HTTP/{version.decode('ascii')} is not spoken here: send the request as HTTP/1.1")


def compressed(coding: str) -> HttpError:
    """The refusal of a body with a content coding, which could unpack to any size (RFC 9110 §15.5.16)."""
    return HttpError(
        415,
        f"the body's Content-Encoding {shown(coding)} is not read here: send it uncompressed",
        ((b"accept-encoding", b"identity"),),
    )


def head_too_large() -> HttpError:
    """The refusal of a request whose line and headers are over the limit."""
    return HttpError(431, f"the request line and headers are over {limits.HEAD_BYTES_MAX} bytes together")


def target_too_long() -> HttpError:
    """The refusal of a request whose line is over the limit."""
    return HttpError(414, f"the request's target is over {limits.TARGET_BYTES_MAX} bytes")


def body_too_large(most: int) -> HttpError:
    """The refusal of a request whose body is over the limit of ``most`` bytes, announced or not."""
    if most > limits.BODY_BYTES_MAX:
        return HttpError(413, f"the request's body is over {most} bytes: send the lines in several requests")
    return HttpError(
        413,
        f"the request's body is over {most} bytes: every node holds every instance, so none may be large; many are "
        f"registered at once as JSON lines with Content-Type: {NDJSON}",
    )


def too_many_bulk_bodies() -> HttpError:
    """The refusal of a large body while as many are held as there is room for."""
    return HttpError(503, "too many bulk registrations at once: try again in a second", ((b"retry-after", b"1"),))
