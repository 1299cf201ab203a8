"""The page's files, served at ``/ui/``: they hold nothing of the cluster, so they need no token.

The page reads and writes by the public HTTP API only, with the viewer's token. All addresses in it are relative, so it
works behind a proxy that puts the agent below a path of its own.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import attrs

from gossipreg.frontends.serving.context import ServerContext
from gossipreg.frontends.serving.request import Request, split_target
from gossipreg.frontends.serving.response import Headers, HttpError, Reply, Response
from gossipreg.frontends.serving.router import Router
from gossipreg.frontends.serving.scopes import Action
from gossipreg.text import shown
from gossipreg.values import frozen

FOLDER: Final = Path(__file__).parent / "static"

#: The media type of each kind of file.
MEDIA: Final[Mapping[str, bytes]] = {
    ".html": b"text/html; charset=utf-8",
    ".css": b"text/css; charset=utf-8",
    ".js": b"text/javascript; charset=utf-8",
    ".svg": b"image/svg+xml",
}

#: What the page may load and contact: itself, and nothing else. Texts from instances could not run even as markup.
POLICY: Final = (
    b"default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
    b"base-uri 'none'; frame-ancestors 'none'; form-action 'none'"
)

#: Headers of every file. ``no-cache``: after an upgrade a browser asks, and is told in a word if it has the newest.
_HEADERS: Final[Headers] = (
    (b"content-security-policy", POLICY),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cache-control", b"no-cache"),
)

_ROUTER: Final = Router(
    [("GET", "/ui", Action.SHOW_PAGE), ("GET", "/ui/FILE", Action.SHOW_PAGE)], trailing_slash=False, spanning=("FILE",)
)


@frozen
class PageFile:
    """One file of the page, and its tag, which differs when the content does."""

    body: bytes
    media: bytes
    tag: bytes

    @classmethod
    def read(cls, path: Path) -> PageFile:
        """Read the file."""
        body = path.read_bytes()
        return cls(body, MEDIA[path.suffix], b'"%b"' % hashlib.sha256(body).hexdigest()[:32].encode("ascii"))


@functools.cache
def files() -> Mapping[str, PageFile]:
    """Every file, by its path below ``/ui/``. Read at the first request: an agent that shows no page does without."""
    return {path.name: PageFile.read(path) for path in sorted(FOLDER.iterdir()) if path.suffix in MEDIA}


@frozen
class WebPage:
    """Serves the page's files."""

    @property
    def routes(self) -> Sequence[tuple[str, str, Action]]:
        """See `CompatibilityApi`."""
        return _ROUTER.routes

    def token(self, request: Request) -> str | None:
        """See `CompatibilityApi`."""
        return request.token

    async def answer(self, request: Request, _: ServerContext) -> tuple[str, Reply]:
        """See `CompatibilityApi`."""
        path, _query = split_target(request.target)
        if path == "/ui/":
            return "/ui/FILE", _answer(request, "index.html")
        try:
            found = _ROUTER.find(request.method, path)
            if not found.arguments:
                return found.pattern, Response(308, headers=((b"location", b"ui/"),), is_labelled=False)
            return found.pattern, _answer(request, found.arguments["FILE"])
        except HttpError as error:
            return "", attrs.evolve(error.answer, is_labelled=False)


def _answer(request: Request, name: str) -> Response:
    file = files().get(name)
    if file is None:
        raise HttpError(404, f"the page has no file {shown(name)}: it begins at /ui/")
    headers = (*_HEADERS, (b"etag", file.tag))
    if request.header(b"if-none-match") == file.tag.decode("ascii"):
        return Response(304, headers=headers, is_labelled=False)
    return Response(200, file.body, headers, file.media, is_labelled=False)
