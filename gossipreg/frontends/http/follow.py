"""Followers of other regions: what their agents are told of the services of this cluster that are exported to them.

One request is a blocking read of many services: it names those that are followed, each with the index that was told
last, and the digest of the directory. It is answered with what differs from that, at once or when something does. An
answer is made of this cluster's own state alone: what this node follows of other regions is passed on to none.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Final

import attrs
import trio

from gossipreg import limits
from gossipreg.federation import includes
from gossipreg.frontends.http.context import NativeContext
from gossipreg.frontends.http.exports import Exports
from gossipreg.frontends.http.lookups import RowCache
from gossipreg.frontends.http.render import member
from gossipreg.frontends.serving.node_api import NodeApi
from gossipreg.frontends.serving.response import DeferredResponse, HttpError, Response, encode
from gossipreg.frontends.serving.time_slices import TimeSlicer, decoded
from gossipreg.json_documents import read_json
from gossipreg.model import NODE_SERVICE, is_name
from gossipreg.text import is_text, shown
from gossipreg.values import frozen

#: Longest time that a request may be held (seconds).
WAIT_SECONDS_MAX: Final = 60.0

#: Time between two looks at whether what changes concerns a request (seconds). Changes in it are told together.
_GATHER_SECONDS: Final = 0.25


@frozen
class FollowRequest:
    """What an agent of another region asks: the index of each service that it follows, and its directory's digest."""

    region: str
    directory: str
    services: Mapping[str, int]
    wait: float  # seconds
    run: str = ""  # of the agent that gave the indexes

    @classmethod
    def read(cls, body: bytes) -> FollowRequest:
        """The request in ``body``. Raises a 400 ``HttpError``."""
        try:
            document = read_json(body)
        except ValueError as error:
            raise HttpError(400, f"the body is not JSON that can be read: {error}") from None
        if not isinstance(document, dict):
            raise HttpError(400, "the body is not an object with the fields region, directory, services, wait")
        region, directory = document.get("region"), document.get("directory")
        services, wait = document.get("services"), document.get("wait")
        if not isinstance(region, str) or not is_name(region):
            raise HttpError(400, f"region: {shown(region)} is not the name of a region", field="region")
        if not isinstance(directory, str) or not is_text(directory, 0, 64):
            raise HttpError(400, f"directory: {shown(directory)} is no digest", field="directory")
        if isinstance(wait, bool) or not isinstance(wait, int | float) or not 0 <= wait <= WAIT_SECONDS_MAX:
            raise HttpError(400, f"wait: {shown(wait)} is not 0 to {WAIT_SECONDS_MAX:g} seconds", field="wait")
        if not isinstance(services, dict) or len(services) > limits.REGION_SERVICES_MAX:
            raise HttpError(
                400, f"services: not an object of at most {limits.REGION_SERVICES_MAX} indexes", field="services"
            )
        # 7.0 is an integer in JSON.
        whole = {name: int(x) if isinstance(x, float) and x.is_integer() else x for name, x in services.items()}
        for name, index in whole.items():
            is_whole = isinstance(index, int) and not isinstance(index, bool)
            if not is_name(name) or not is_whole or not 0 <= index < 2**63:
                raise HttpError(400, f"services: {shown(name)} has the index {shown(index)}", field="services")
        run = document.get("run", "")
        if not is_text(run, 0, limits.RUN_CHARS_MAX):
            raise HttpError(400, f"run: {shown(run)} is no run of an agent", field="run")
        return cls(region, directory, whole, float(wait), run)

    def told_by(self, run: str) -> FollowRequest:
        """The same to an agent of that run: indexes that another one gave are 0 to it."""
        return self if run == self.run else attrs.evolve(self, services=dict.fromkeys(self.services, 0), run=run)


@frozen
class _Followed:
    """One request and what it is answered from."""

    asked: FollowRequest
    node: NodeApi
    exports: Exports
    rows: RowCache
    patterns: tuple[str, ...]

    def has_news(self) -> bool:
        """Whether anything differs from what the request knows."""
        if next(self._changed(), None) is not None:
            return True
        return self.exports.directory(self.patterns).digest != self.asked.directory

    def _changed(self) -> Iterator[str]:
        return (name for name, index in self.asked.services.items() if self._index(name) != index)

    def _index(self, name: str) -> int:
        """The index of a service; that of one which is not exported tells nothing of it."""
        return self.node.index(name) if self._is_exported(name) else 1

    def _is_exported(self, name: str) -> bool:
        return name != NODE_SERVICE and includes(self.patterns, name)

    async def body(self, waited: Callable[[], float]) -> bytes:
        """What differs, in JSON, up to a length; what is left off is named."""
        told: list[bytes] = []
        left_off: list[str] = []
        size, slicer = 0, TimeSlicer()
        for name in self._changed():
            if told and size >= limits.REGION_ANSWER_BYTES_SOFT:
                left_off.append(name)
                continue
            part = b"%b:%b" % (encode(name), await self._service(name, slicer))
            size += len(part)
            told.append(part)
        directory = self.exports.directory(self.patterns)
        listed = b"null"
        if directory.digest != self.asked.directory:
            whole = encode(directory.is_whole)
            listed = b'{"digest":%b,"whole":%b,"services":%b}' % (encode(directory.digest), whole, directory.body)
        head = {
            "region": self.node.region,
            "node": self.node.name,
            "run": self.exports.run,
            "age": round(self.node.info().silence, 3) if self.node.isolated else 0.0,
            "waited": math.floor(waited() * 1000) / 1000,  # rounded down: followers take it for a lower bound
            "left_off": left_off,
        }
        return b'%b,"directory":%b,"services":{%b}}' % (encode(head)[:-1], listed, b",".join(told))

    async def _service(self, name: str, slicer: TimeSlicer) -> bytes:
        await decoded(self.node, name)
        index = self._index(name)
        there = self.node.lookup(name, healthy=False) if self._is_exported(name) else ()
        if len(there) > limits.REGION_SERVICE_INSTANCES_MAX:
            return _beyond(index, f"{limits.REGION_SERVICE_INSTANCES_MAX} instances")
        healthy = self.node.lookup(name) if there else ()
        able = {(each.owner, each.id) for each in healthy}
        others = [each for each in there if (each.owner, each.id) not in able]
        known = self.exports.members()
        owners = sorted({each.owner for each in there} & known.keys())
        told = b'{"index":%d,"healthy":%b,"others":%b,"members":%b}' % (
            index,
            await slicer.joined(map(self.rows.of, healthy)),
            await slicer.joined(map(self.rows.of, others)),
            encode({name: member(known[name]) for name in owners}),
        )
        if len(told) > limits.REGION_SERVICE_BYTES_MAX:
            return _beyond(index, f"{limits.REGION_SERVICE_BYTES_MAX} bytes")
        if told.count(b"[") + told.count(b"{") > limits.REGION_ANSWER_BRACKETS_MAX // 2:
            return _beyond(index, f"{limits.REGION_ANSWER_BRACKETS_MAX // 2} brackets")
        return told


def _beyond(index: int, what: str) -> bytes:
    """A service of which only that is told: with it, no follower could read the answer about the others."""
    return b'{"index":%d,"beyond":%b}' % (index, encode(what))


async def follow(context: NativeContext) -> Response | DeferredResponse:
    """What has changed of the services that an agent of another region follows."""
    asked = FollowRequest.read(context.request.body).told_by(context.exports.run)
    if not context.exports.joined:
        raise HttpError(503, "not joined: this agent does not know yet what its cluster offers", code="not_joined")
    patterns = context.server.access.exported(context.request.token)
    followed = _Followed(asked, context.node, context.exports, context.lookups.rows, patterns)
    began = trio.current_time()

    async def later(most: float = math.inf) -> Response:
        return Response(200, await _once_there_is_news(followed, began, min(asked.wait, most)))

    if not asked.wait or followed.has_news():
        return Response(200, await followed.body(lambda: 0.0))
    return DeferredResponse(later)


async def _once_there_is_news(followed: _Followed, began: float, seconds: float) -> bytes:
    with trio.move_on_at(began + seconds):
        while not followed.has_news():
            await followed.node.wait_changed(None, followed.node.index())
            if not followed.has_news():
                await trio.sleep(_GATHER_SECONDS)
    read_at = trio.current_time()
    return await followed.body(lambda: read_at - began)
