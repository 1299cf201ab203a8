"""ASGI: offers an ASGI application for as long as its server runs its lifespan: uvicorn, hypercorn, any other."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from gossipreg.embed.offering import Offer, in_thread
from gossipreg.errors import GossipregError

__all__ = ["OfferedApp"]

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

_STARTED = "lifespan.startup.complete"
_STOPPING = "lifespan.shutdown"


class OfferedApp:
    """The ASGI application ``app``, offered by ``offer`` from the end of its start-up to the beginning of its shutdown.

    Under asyncio and trio. An application without a lifespan, such as Django's, gets one. Handlers find the node as
    ``offer.node``. If the node cannot start, the start-up of the application fails with that error.
    """

    def __init__(self, app: Callable[..., Awaitable[None]], offer: Offer) -> None:
        self._app = app
        self._offer = offer

    async def __call__(self, scope: Message, receive: Receive, send: Send, *more: Any) -> None:
        """Pass a connection on to the application; offer it for as long as its lifespan lasts."""
        if scope["type"] != "lifespan":
            await self._app(scope, receive, send, *more)
            return
        lifespan = _Lifespan(self._offer, receive, send)
        try:
            await lifespan.run(lambda: self._app(scope, lifespan.receive, lifespan.send, *more))
        finally:
            await lifespan.stop()


class _Lifespan:
    """The lifespan protocol between server and application, with the offer in between."""

    def __init__(self, offer: Offer, receive: Receive, send: Send) -> None:
        self._offer = offer
        self._receive = receive
        self._send = send
        self._is_asked = False  # to start
        self._has_lifespan = False  # of its own: the application has answered
        self._is_offered = False

    async def run(self, app: Callable[[], Awaitable[None]]) -> None:
        """Run the application's lifespan; answer for it where it has none, which its return or an exception says."""
        try:
            await app()
        except Exception:
            if self._has_lifespan:
                raise
        if not self._has_lifespan:
            if not self._is_asked:
                await self.receive()
            await self.send({"type": _STARTED})
            await self.receive()
            await self.send({"type": f"{_STOPPING}.complete"})

    async def receive(self) -> Message:
        """What the server asks of the application; the node leaves before that is to stop."""
        message = await self._receive()
        self._is_asked = True
        if message["type"] == _STOPPING:
            await self.stop()
        return message

    async def send(self, message: Message) -> None:
        """What the application answers; when it has started it is offered."""
        self._has_lifespan = True
        if message["type"] == _STARTED:
            try:
                self._is_offered = True
                await self._offer.__aenter__()
            except GossipregError as error:
                await self._send({"type": "lifespan.startup.failed", "message": str(error)})
                raise
        await self._send(message)

    async def stop(self) -> None:
        """Have the node leave. Does not wait when it has: a server may cancel a lifespan that has answered."""
        if self._is_offered:
            self._is_offered = False
            await in_thread(self._offer.stop)
