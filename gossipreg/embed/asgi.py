"""ASGI adapter: keeps an application registered from its start-up to its shutdown, under uvicorn or any ASGI server."""

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
    """The ASGI application ``app``, registered by ``offer`` from the end of its start-up to the start of its shutdown.

    Works under asyncio and trio. For an application without a lifespan, such as Django's, it answers the server's
    lifespan messages itself. Handlers find the node as ``offer.node``. If the node cannot start, the start-up of the
    application fails with that error.
    """

    def __init__(self, app: Callable[..., Awaitable[None]], offer: Offer) -> None:
        self._app = app
        self._offer = offer

    async def __call__(self, scope: Message, receive: Receive, send: Send, *more: Any) -> None:
        """Pass a connection on to the application. During the lifespan connection the application is registered."""
        if scope["type"] != "lifespan":
            await self._app(scope, receive, send, *more)
            return
        lifespan = _Lifespan(self._offer, receive, send)
        try:
            await lifespan.run(lambda: self._app(scope, lifespan.receive, lifespan.send, *more))
        finally:
            await lifespan.stop()


class _Lifespan:
    """One lifespan connection: passes its messages on, and starts and stops the offer at the right ones."""

    def __init__(self, offer: Offer, receive: Receive, send: Send) -> None:
        self._offer = offer
        self._receive = receive
        self._send = send
        self._is_asked = False  # whether the server's first message, lifespan.startup, was received
        self._has_lifespan = False  # whether the application has answered, so has a lifespan itself
        self._is_offered = False

    async def run(self, app: Callable[[], Awaitable[None]]) -> None:
        """Run the application's lifespan, or answer the server in its place if it has none.

        It has none if it returns or raises an exception before it has answered.
        """
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
        """Receive the server's next message. At shutdown the node leaves before the application gets the message."""
        message = await self._receive()
        self._is_asked = True
        if message["type"] == _STOPPING:
            await self.stop()
        return message

    async def send(self, message: Message) -> None:
        """Send the application's answer. Once it has started, it is registered before the server learns of that."""
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
        """Have the node leave. A second call returns at once.

        It must not wait then: a server may cancel a lifespan that has answered its last message.
        """
        if self._is_offered:
            self._is_offered = False
            await in_thread(self._offer.stop)
