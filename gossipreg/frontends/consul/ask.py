"""Knows what a handler of the dialect is handed: one request that found its route, and what the dialect remembers."""

from __future__ import annotations

import math
import random
import re
from collections.abc import Awaitable, Callable, Hashable, Mapping
from typing import Any, Final, Self

import attrs
import trio

from gossipreg.errors import GossipregError
from gossipreg.frontends.consul.durations import seconds
from gossipreg.frontends.consul.filters import parse
from gossipreg.frontends.consul.pieces import Pieces
from gossipreg.frontends.consul.shapes import Cluster, Json, Seen
from gossipreg.frontends.consul.shelf import Asked, Kept, Shelf
from gossipreg.frontends.consul.titles import Titles
from gossipreg.frontends.http import limits
from gossipreg.frontends.http.answers import Answer, Refusal, encode
from gossipreg.frontends.http.call import Room
from gossipreg.frontends.http.registry import Registry
from gossipreg.frontends.http.request import Request
from gossipreg.frontends.http.slices import Pace
from gossipreg.frontends.http.waiting import Waiting
from gossipreg.frontends.serving.compatibility_api import Query, refused
from gossipreg.model import Member
from gossipreg.text import shown

TEXT: Final = b"text/plain; charset=utf-8"

_INDEX: Final = re.compile(r"\d{1,20}")

#: What every answer that comes from the catalog says: whom it is from does not matter here, each knows all.
_ALWAYS: Final = (
    (b"x-consul-knownleader", b"true"),
    (b"x-consul-lastcontact", b"0"),
    (b"x-consul-effective-consistency", b"stale"),
)


def plain(status: int, text: str = "") -> Answer:
    """A word in plain text, which is how Consul says no; or nothing, which is how it says yes."""
    if not text:
        return Answer(status, headers=((b"content-length", b"0"),))
    return Answer(status, text.encode(errors="backslashreplace"), media=TEXT)


def json(value: Any) -> Answer:
    """A document that nobody waits for."""
    return Answer.of(200, value)


def no(error: Refusal | GossipregError) -> Answer:
    """A no as Consul says it. It has no 401: its clients take that for something else."""
    status, sentence = refused(error)
    if status == 401:
        return plain(403, f"Permission denied: {sentence}")
    return (
        attrs.evolve(plain(status, sentence), headers=error.answer.headers)
        if isinstance(error, Refusal)
        else plain(status, sentence)
    )


@attrs.frozen(eq=False)
class Memory:
    """What the dialect remembers from request to request; nothing that would be missed."""

    datacenter: str
    shelf: Shelf
    pieces: Pieces
    titles: Titles = attrs.field(factory=Titles)
    turn: trio.Lock = attrs.field(factory=trio.Lock)  # whoever reads what is there to replace it does so alone

    @classmethod
    def of(cls, node: Registry) -> Self:
        """What there is to remember of a node at first."""
        info = node.info()
        return cls(info.cluster, Shelf(node, info.generation), Pieces(node))


def token_of(request: Request, query: Query) -> str | None:
    """What the client shows to be let in, in any of the places that Consul looks at."""
    return request.header(b"x-consul-token") or request.token or query.first("token") or None


@attrs.frozen
class Ask:
    """One request. ``arguments`` are what the pattern's placeholders stand for."""

    room: Room
    request: Request
    query: Query
    arguments: Mapping[str, str]
    memory: Memory

    @property
    def token(self) -> str | None:
        """What the client shows to be let in."""
        return token_of(self.request, self.query)

    @property
    def node(self) -> Registry:
        """The node that is asked."""
        return self.room.node

    # What it asks about

    def cluster(self) -> Cluster:
        """What all rows share, as it is now."""
        return Cluster(self.memory.datacenter, {each.name: each for each in self.node.members()})

    def near(self) -> Callable[[Seen], tuple[bool, bool]] | None:
        """The order in which instances are wanted: those of a node first, then those of its zone."""
        name = self.query.first("near")
        if not name:
            return None
        name = self.node.name if name == "_agent" else name
        there: Member | None = next((each for each in self.node.members() if each.name == name), None)
        zone = "" if there is None else there.zone

        def rank(seen: Seen) -> tuple[bool, bool]:
            return seen.instance.owner != name, not zone or seen.instance.zone != zone

        return rank

    def node_meta(self) -> Callable[[Json], bool]:
        """Whether the meta of a node is wanted. Raises a 400 ``Refusal``."""
        wanted = []
        for text in self.query.all("node-meta"):
            key, colon, value = text.partition(":")
            if not colon:
                raise Refusal(400, f"node-meta: {shown(text)} is not KEY:VALUE")
            wanted.append((key, value))
        return lambda meta: all(meta.get(key) == value for key, value in wanted)

    def filter(self, example: Mapping[str, Any]) -> Callable[[Any], bool]:
        """Whether a row with the fields of ``example`` is wanted. Raises a 400 ``Refusal``."""
        text = self.query.first("filter")
        return parse(text, example) if text.strip() else lambda _row: True

    # What it is answered

    async def answer(
        self, service: str | None, key: Hashable, make: Callable[[Pace], Awaitable[bytes]]
    ) -> Answer | Waiting:
        """What ``make`` makes, which hangs on a service or on everything; later, if it shows the index that there is.

        ``key`` tells this query from all others. Raises a 400 ``Refusal`` for an index or a time that is none.
        """
        asked = Asked(service, key, make)
        index, wait = self._index(), self._wait()
        unsettled = self.memory.shelf.settles_in()
        kept = await self.memory.shelf.read(asked)
        if index != kept.index and not unsettled:
            return _catalogued(kept)

        async def later(most: float = math.inf) -> Answer:
            seconds_left = min(wait * (1 + random.random() / limits.WAIT_JITTER), most)
            try:
                await trio.sleep(unsettled)
                return _catalogued(await self.memory.shelf.changed(asked, index, seconds_left))
            except GossipregError as error:
                return no(error)

        return Waiting(later)

    def _index(self) -> int:
        text = self.query.first("index") or "0"
        if not _INDEX.fullmatch(text):
            raise Refusal(400, f"Invalid index: {shown(text)}")
        return int(text)

    def _wait(self) -> float:
        text = self.query.first("wait")
        if not text:
            return limits.WAIT_SECONDS
        found = seconds(text)
        if found is None:
            raise Refusal(400, f"Invalid wait time: {shown(text)}")
        return min(found or limits.WAIT_SECONDS, limits.WAIT_SECONDS_MAX)


def _catalogued(kept: Kept) -> Answer:
    return Answer(200, kept.body, ((b"x-consul-index", b"%d" % kept.index), *_ALWAYS))


def once(value: Any) -> Answer:
    """A document with the headers of the catalog, that never changes."""
    return Answer(200, encode(value), ((b"x-consul-index", b"1"), *_ALWAYS))
