"""The agent's event stream: read over HTTP, back into the classes that the agent itself works with."""

from __future__ import annotations

import ssl
from collections.abc import Iterator, Mapping
from typing import Any, Final, Self
from urllib.parse import quote

import attrs
import h11
import trio

from gossipreg.errors import AgentUnreachable, GossipregError
from gossipreg.events import Event, InstanceEvent, MemberEvent, Snapshot
from gossipreg.failures import reason_of
from gossipreg.frontends.proxy.limits import AGENT_PATIENCE_SECONDS, EVENT_BYTES_MAX
from gossipreg.json_documents import read_json
from gossipreg.model import FENCED, Address, Health, Instance, Member, SocketFile, Status, is_name
from gossipreg.text import blanked, shortened, shown

_READ_BYTES: Final = 65_536


@attrs.define(eq=False, repr=False)
class AgentEvents:
    """One stream of events of an agent. Every failure is an ``AgentUnreachable``."""

    address: Address | SocketFile
    _stream: trio.abc.Stream
    _http: h11.Connection
    _text: bytes = b""
    heard_at: float = attrs.field(factory=trio.current_time)  # when the agent sent anything, a keep-alive too

    @classmethod
    async def open(
        cls,
        address: Address | SocketFile,
        service: str,
        token: str | None = None,
        query: Mapping[str, str] | None = None,
        *,
        tls: ssl.SSLContext | None = None,
    ) -> Self:
        """Ask the agent at ``address`` for the events of one service, with ``token`` and over ``tls`` if there are.

        ``query`` is what more is asked of `GET /api/v1/events`.
        """
        with trio.move_on_after(AGENT_PATIENCE_SECONDS):
            try:
                stream = await _connect(address, tls)
            except OSError:
                raise AgentUnreachable(
                    f'no agent answers at {address}: start one with "gossipreg agent", name another with '
                    "--http HOST:PORT, or be a member with --join HOST:PORT"
                ) from None
            events = cls(address, stream, h11.Connection(h11.CLIENT))
            try:
                await events._ask(service, token, query or {})
            except BaseException:
                await trio.aclose_forcefully(stream)
                raise
            return events
        raise AgentUnreachable(f"the agent at {address} does not answer within {AGENT_PATIENCE_SECONDS:g} s")

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await trio.aclose_forcefully(self._stream)

    async def next(self) -> list[Event]:
        """What is told next, at least one event. May be cancelled and called again: nothing is lost."""
        while True:
            events = list(self._whole_events())
            if events:
                return events
            match await self._next():
                case h11.Data(data=data):
                    self._text += data
                case _:
                    raise self._broken("it has ended")
            if len(self._text) > EVENT_BYTES_MAX:
                raise self._broken("one event is too large")

    async def _ask(self, service: str, token: str | None, query: Mapping[str, str]) -> None:
        host = str(self.address) if isinstance(self.address, Address) else "localhost"
        headers = [("Host", host), ("Accept", "text/event-stream")]
        headers += [] if token is None else [("Authorization", f"Bearer {token}")]
        more = "".join(f"&{name}={quote(value, safe=',')}" for name, value in query.items())
        target = f"/api/v1/events?service={quote(service, safe='')}{more}"
        request = h11.Request(method="GET", target=target, headers=headers)
        asked = self._http.send(request) + self._http.send(h11.EndOfMessage())
        try:
            await self._stream.send_all(asked)
        except trio.BrokenResourceError as error:
            raise self._broken(reason_of(error)) from None
        answer = await self._next()
        if not isinstance(answer, h11.Response):
            raise self._broken("it sends an interim answer")
        kind = dict(answer.headers).get(b"content-type", b"")
        if answer.status_code in (401, 403):
            raise AgentUnreachable(
                f"the agent at {self.address} wants a token that is for read: put it in GOSSIPREG_TOKEN, or in a file: "
                "--token-file FILE"
            )
        if answer.status_code == 404 and query.get("failover"):
            raise AgentUnreachable(
                f"the agent at {self.address} does not know a region of failover {query['failover']!r}: "
                'name those that "gossipreg info" shows, or follow more ([[federate]])'
            )
        if answer.status_code == 503:
            raise self._broken("it is closed or has no room for another stream")
        if answer.status_code != 200 or not kind.startswith(b"text/event-stream"):
            raise AgentUnreachable(f"what answers at {self.address} is not an agent: name one with --http HOST:PORT")

    async def _next(self) -> h11.Event:
        try:
            while (event := self._http.next_event()) is h11.NEED_DATA:
                self._http.receive_data(bytes(await self._stream.receive_some(_READ_BYTES)))
                self.heard_at = trio.current_time()
        except (trio.BrokenResourceError, h11.RemoteProtocolError) as error:
            raise self._broken(reason_of(error)) from None
        if not isinstance(event, h11.Event) or isinstance(event, h11.ConnectionClosed):
            raise self._broken("it was closed")
        return event

    def _whole_events(self) -> Iterator[Event]:
        *whole, self._text = self._text.split(b"\n\n")
        for block in whole:
            try:
                fields = dict(line.split(b": ", 1) for line in block.split(b"\n") if not line.startswith(b":"))
                event = _event(fields.get(b"event", b"").decode(), fields.get(b"data", b"null"))
            except (ValueError, KeyError, TypeError, RecursionError, GossipregError) as error:
                raise self._broken(f"it sent what cannot be read: {shortened(blanked(repr(error)))}") from None
            if event is not None:
                yield event

    def _broken(self, why: str) -> AgentUnreachable:
        return AgentUnreachable(f"the stream of events of the agent at {self.address} broke off: {why}")


async def _connect(address: Address | SocketFile, tls: ssl.SSLContext | None) -> trio.abc.Stream:
    if not isinstance(address, Address):
        return await trio.open_unix_socket(str(address.path))
    stream = await trio.open_tcp_stream(*address)
    if tls is None:
        return stream
    return trio.SSLStream(stream, tls, server_hostname=address.host, https_compatible=True)


def _event(name: str, data: bytes) -> Event | None:
    """The event of that name; None for one that a later agent may tell."""
    subject, _, kind = name.partition("-")
    if name == "snapshot":
        whole = read_json(data)
        return Snapshot(tuple(map(_member, whole["members"])), tuple(map(_instance, whole["instances"])))
    if subject == "instance" and kind in ("added", "changed", "removed"):
        return InstanceEvent(kind, _instance(read_json(data)))  # type: ignore[arg-type]  # one of the kinds
    if subject == "member" and kind in ("joined", "suspect", "alive", "failed", "left"):
        return MemberEvent(kind, _member(read_json(data)))  # type: ignore[arg-type]  # one of the kinds
    return None


def _instance(data: dict[str, Any]) -> Instance:
    told = _known(Instance, data) | {"health": Health(data["health"])}
    told.pop("sealed", None)  # whether there are credentials, which are not sent and not needed here
    instance = Instance(**told)
    if not is_name(instance.owner) or not isinstance(instance.stale, bool):
        raise ValueError(f"the owner {shown(instance.owner)}, stale: {shown(instance.stale)}")
    # No instance states the role "fenced", which is what the agent shows of a superseded primary.
    (attrs.evolve(instance, role=None) if instance.role == FENCED else instance).check()
    return instance


def _member(data: dict[str, Any]) -> Member:
    told = _known(Member, data)
    texts = [told["address"], told["status"], told["name"], told.get("zone", "")]
    numbers = [told["generation"], told["incarnation"]]
    if any(not isinstance(each, str) for each in texts) or any(type(each) is not int for each in numbers):
        raise TypeError("a member's field is of another type")
    if not is_name(told["name"]) or not isinstance(told.get("draining", False), bool):
        raise ValueError(f"the member {shown(told['name'])}")
    address, status = Address.parse(told["address"], any_host=True), Status[told["status"].upper()]
    return Member(**{**told, "address": address, "status": status})


def _known(noun: type[Instance | Member], data: dict[str, Any]) -> dict[str, Any]:
    """The fields that we know of; a later agent may tell more."""
    if not isinstance(data, dict):
        raise TypeError(f"{shown(data)} is not an object")
    return {each.name: data[each.name] for each in attrs.fields(noun) if each.name in data}
