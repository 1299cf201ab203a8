"""Consul requests: what a handler is given, how it reads the query, and how it answers."""

from __future__ import annotations

import math
import random
import re
from collections.abc import Awaitable, Callable, Hashable, Mapping
from typing import TYPE_CHECKING, Any, Final, Self

import attrs
import trio

from gossipreg.errors import GossipregError
from gossipreg.frontends.consul.catalog_rows import CatalogContext, CatalogInstance, Json
from gossipreg.frontends.consul.check_ids import CheckIdMap
from gossipreg.frontends.consul.durations import seconds
from gossipreg.frontends.consul.filters import parse
from gossipreg.frontends.consul.local_catalog import Nearness, catalog_of, nearness_to
from gossipreg.frontends.consul.query_cache import CachedQuery, KeptResponse, QueryCache
from gossipreg.frontends.consul.row_cache import ServiceRowCache
from gossipreg.frontends.serving import limits
from gossipreg.frontends.serving.access import Access
from gossipreg.frontends.serving.context import ServerContext
from gossipreg.frontends.serving.node_api import NodeApi
from gossipreg.frontends.serving.prepared_queries import DefinedQueries
from gossipreg.frontends.serving.request import QueryParameters, Request
from gossipreg.frontends.serving.response import DeferredResponse, HttpError, Response, encode, http_error
from gossipreg.frontends.serving.scopes import Action
from gossipreg.frontends.serving.time_slices import TimeSlicer
from gossipreg.text import shown
from gossipreg.values import frozen

if TYPE_CHECKING:
    from gossipreg.frontends.consul.query_execution import QueryRunner

TEXT: Final = b"text/plain; charset=utf-8"

Headers = tuple[tuple[bytes, bytes], ...]

_INDEX: Final = re.compile(r"\d{1,20}")

#: Headers of every answer from the catalog. Any agent's answer is as good as another's.
_ALWAYS: Final = (
    (b"x-consul-knownleader", b"true"),
    (b"x-consul-lastcontact", b"0"),
    (b"x-consul-effective-consistency", b"stale"),
)


def text_response(status: int, text: str = "") -> Response:
    """Plain text, which is Consul's form of an error; or nothing, which is its form of success."""
    if not text:
        return Response(status, headers=((b"content-length", b"0"),))
    return Response(status, text.encode(errors="backslashreplace"), media=TEXT)


def json_response(value: Any) -> Response:
    """A document that cannot be waited for."""
    return Response.of(200, value)


def error_response(error: HttpError | GossipregError) -> Response:
    """An error in Consul's form. 401 becomes 403: Consul's clients take 401 for something else."""
    error = http_error(error)
    if error.status == 401:
        return text_response(403, f"Permission denied: {error}")
    return attrs.evolve(text_response(error.status, str(error)), headers=error.headers)


@frozen(eq=False)
class ConsulState:
    """What the API keeps between requests. All of it can be lost."""

    datacenter: str
    query_cache: QueryCache
    service_rows: ServiceRowCache
    queries: DefinedQueries
    runners: list[QueryRunner] = attrs.field(factory=list)  # one, from the first query that is executed on
    check_ids: CheckIdMap = attrs.field(factory=CheckIdMap)

    @classmethod
    def of(cls, node: NodeApi) -> Self:
        """What there is to remember of a node at first."""
        info = node.info()
        return cls(info.region, QueryCache(node, info.generation), ServiceRowCache(node), DefinedQueries(node))


def token_of(request: Request, query: QueryParameters) -> str | None:
    """What the client shows to be let in, in any of the places that Consul looks at."""
    return request.header(b"x-consul-token") or request.token or query.first("token") or None


def permit(access: Access, token: str | None, action: Action, service: str | None = None) -> None:
    """Raise an ``HttpError`` unless ``token`` may be used for ``action``; unknown ones get Consul's words."""
    try:
        access.permit(token, action, service)
    except HttpError as error:
        if error.status == 401 and token is not None:
            raise HttpError(403, "ACL not found") from None
        raise


def region_of(name: str, node: NodeApi, *, only_own: bool) -> str | None:
    """The region that a client means by a datacenter; None for the node's own. Raises a 500 ``HttpError``."""
    if not name or name.lower() == node.region.lower():
        return None
    for each in node.regions():
        if each.name.lower() == name.lower() and not only_own:
            return each.name
    raise HttpError(500, "No path to datacenter")


def check_datacenter(name: str, own: str) -> None:
    """Raise a 500 ``HttpError`` in Consul's words unless ``name`` is empty or that of the own datacenter."""
    if name and name.lower() != own.lower():
        raise HttpError(500, "No path to datacenter")


@frozen
class ConsulContext:
    """One request. ``arguments`` are what the pattern's placeholders stand for."""

    server: ServerContext
    request: Request
    query: QueryParameters
    arguments: Mapping[str, str]
    state: ConsulState
    region: str | None = None  # that is asked about, if it is another one

    @property
    def token(self) -> str | None:
        """What the client shows to be let in."""
        return token_of(self.request, self.query)

    @property
    def node(self) -> NodeApi:
        """The node that is asked."""
        return self.server.node

    # What it asks about

    def cluster(self) -> CatalogContext:
        """What all rows share, as it is now."""
        return catalog_of(self.node, self.state.datacenter)

    def near(self) -> Callable[[CatalogInstance], Nearness] | None:
        """The order in which instances are wanted; None if any is as good."""
        nearness = self.nearness()
        return None if nearness is None else lambda seen: nearness(seen.instance.owner, seen.instance.zone)

    def nearness(self) -> Callable[[str, str], Nearness] | None:
        """How near a node of that name and zone is to the one that ``?near=`` names; None without it."""
        name = self.query.first("near")
        return nearness_to(self.node, name) if name else None

    def node_meta(self) -> Callable[[Json], bool]:
        """Whether the meta of a node is wanted. Raises a 400 ``HttpError``."""
        wanted = []
        for text in self.query.all("node-meta"):
            key, colon, value = text.partition(":")
            if not colon:
                raise HttpError(400, f"node-meta: {shown(text)} is not KEY:VALUE")
            wanted.append((key, value))
        return lambda meta: all(meta.get(key) == value for key, value in wanted)

    def filter(self, example: Mapping[str, Any]) -> Callable[[Any], bool]:
        """Whether a row with the fields of ``example`` is wanted. Raises a 400 ``HttpError``."""
        text = self.query.first("filter")
        return parse(text, example) if text.strip() else lambda _row: True

    # What it is answered

    async def answer(
        self, service: str | None, key: Hashable, make: Callable[[TimeSlicer], Awaitable[bytes]]
    ) -> Response | DeferredResponse:
        """What ``make`` makes, which hangs on a service or on everything; later, if it shows the index that there is.

        ``key`` tells this query from all others. Raises a 400 ``HttpError`` for an index or a time that is none.
        """
        asked = CachedQuery(service, key, make)
        index, wait = self._index(), self.wait()
        unsettled = self.state.query_cache.settles_in()
        cached = self._cache_headers(asked)
        kept = await self.state.query_cache.read(asked)
        if not self.state.query_cache.is_known(kept, index) and not unsettled:
            return _catalogued(kept, cached)

        async def later(most: float = math.inf) -> Response:
            seconds_left = min(wait * (1 + random.random() / limits.WAIT_JITTER), most)
            try:
                await trio.sleep(unsettled)
                return _catalogued(await self.state.query_cache.changed(asked, index, seconds_left), cached)
            except GossipregError as error:
                return error_response(error)

        return DeferredResponse(later)

    async def answer_about(
        self, service: str | None, region: str, make: Callable[[], Awaitable[tuple[bytes, int, float, bool]]]
    ) -> Response | DeferredResponse:
        """What ``make`` makes of another region: a body, its index, its age and whether it is stale; or later.

        ``X-Consul-LastContact`` is the age, and ``X-Consul-KnownLeader`` is false when it is stale.
        """
        index, wait = self._index(), self.wait()

        async def answer() -> Response:
            body, now, age, stale = await make()
            told = (
                (b"x-consul-index", b"%d" % now),
                (b"x-consul-knownleader", b"false" if stale else b"true"),
                (b"x-consul-lastcontact", b"%d" % math.ceil(age * 1000)),
                (b"x-consul-effective-consistency", b"stale"),
            )
            return Response(200, body, told)

        first = await answer()
        if not index or index != self.node.index(service, region):
            return first

        async def later(most: float = math.inf) -> Response:
            seconds_left = min(wait * (1 + random.random() / limits.WAIT_JITTER), most)
            try:
                with trio.move_on_after(seconds_left):
                    await self.node.wait_changed(service, index, region)
                return await answer()
            except GossipregError as error:
                return error_response(error)

        return DeferredResponse(later)

    def _cache_headers(self, asked: CachedQuery) -> Headers:
        """What a client that asks for a cached answer is told of the cache, which is never behind."""
        if not self.query.flag("cached"):
            return ()
        return ((b"x-cache", b"HIT" if self.state.query_cache.has(asked) else b"MISS"), (b"age", b"0"))

    def _index(self) -> int:
        text = self.query.first("index") or "0"
        if not _INDEX.fullmatch(text):
            raise HttpError(400, f"Invalid index: {shown(text)}")
        return int(text)

    def wait(self) -> float:
        """How long an answer may be waited for (seconds). Raises a 400 ``HttpError``."""
        text = self.query.first("wait")
        if not text:
            return limits.WAIT_SECONDS
        found = seconds(text)
        if found is None:
            raise HttpError(400, f"Invalid wait time: {shown(text)}")
        return min(found or limits.WAIT_SECONDS, limits.WAIT_SECONDS_MAX)


def _catalogued(kept: KeptResponse, cached: Headers) -> Response:
    return Response(200, kept.body, ((b"x-consul-index", b"%d" % kept.index), *_ALWAYS, *cached))


def constant_response(value: Any) -> Response:
    """A document with the headers of the catalog, that never changes."""
    return Response(200, encode(value), ((b"x-consul-index", b"1"), *_ALWAYS))
