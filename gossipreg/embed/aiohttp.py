"""A client middleware for aiohttp that calls services by name, each time at an instance that is chosen then.

``aiohttp.ClientSession(middlewares=(ServiceMiddleware(node),))``: hosts without a dot and a port, except ``localhost``,
are services, or exactly those that are given; all other requests pass through untouched. WebSockets are called so, too.

``Host`` is the service's name at every attempt, and so is the answer's ``url``. An instance whose ``meta`` says
``scheme: https`` is called over TLS; its certificate is checked against the service's name, for which aiohttp keeps
connections of its own.

What is tried again, and when a call has succeeded or failed, is as with httpx (`gossipreg.embed.httpx`). All attempts
and the answer's body share the session's own ``ClientTimeout``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Final

import aiohttp

from gossipreg.embed.chooser import Chooser, LookupSource
from gossipreg.embed.service_calls import IDEMPOTENT, Attempt, ServiceCall, ServiceCalls
from gossipreg.errors import NoInstance

__all__ = ["NoInstanceToConnect", "ServiceMiddleware"]

#: What the key of a request is, for calls that should go to the same instance as long as it is there; None: any.
KeyOf = Callable[[aiohttp.ClientRequest], str | None]

#: Nothing was sent yet.
_NOT_CONNECTED: Final = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)

#: Something may have been done.
_BROKEN: Final = (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError, TimeoutError)


class NoInstanceToConnect(aiohttp.ClientConnectionError, NoInstance):
    """No instance of the service can be called now: both a connection error to aiohttp, and a ``NoInstance``."""


def no_key(request: aiohttp.ClientRequest) -> str | None:  # noqa: ARG001 - one way to find a key is to have none
    """Requests have no keys."""
    return None


class ServiceMiddleware:
    """``aiohttp.ClientSession(middlewares=(ServiceMiddleware(node),))``: calls services by name.

    ``registry`` is a node of any kind, or a `Chooser` that says how to choose. ``services`` are the hosts that are
    services, if the rule above does not fit; ``attempts`` is how many instances are tried at most, the first included;
    ``key`` finds a request's key. ``per_try`` is how long an attempt may take until its answer begins, the wait for a
    free connection of the session included (seconds). Raises ``ConfigError``.
    """

    def __init__(
        self,
        registry: LookupSource | Chooser,
        *,
        services: Iterable[str] | None = None,
        attempts: int = 3,
        key: KeyOf = no_key,
        per_try: float | None = None,
    ) -> None:
        self._calls = ServiceCalls.of(registry, services, attempts=attempts, per_try=per_try)
        self._key = key

    async def __call__(
        self, request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        """Have ``handler`` send ``request`` to an instance of the service of its URL. Raises `NoInstanceToConnect`."""
        call = self._call(request)
        if call is None:
            return await handler(request)
        try:
            attempt: Attempt | None = call.first()
        except NoInstance as error:
            raise NoInstanceToConnect(str(error)) from None
        service_url, server_hostname = request.url, request.server_hostname
        while attempt is not None:
            instance = attempt.instance
            if instance.meta.get("scheme") == "https":
                secure = {"http": "https", "ws": "wss"}.get(service_url.scheme, service_url.scheme)
            else:
                secure = service_url.scheme
            # In this order: a URL without its scheme's own port keeps the new port.
            request.url = service_url.with_scheme(secure).with_host(instance.host).with_port(instance.port)
            request.server_hostname = server_hostname or (call.service if request.is_ssl() else None)
            try:
                async with asyncio.timeout(attempt.limit(None)):
                    response = await handler(request)
            except Exception as raised:  # noqa: BLE001 - raised again below
                last, attempt = raised, _after_error(attempt, raised, request)
            except BaseException:
                attempt.end()
                raise
            else:
                attempt.answered(response.status)
                call.can_repeat = call.can_repeat and _can_be_sent_again(request)
                following = attempt.next_after_answer()
                if following is None:
                    return _given(attempt, response)
                response.close()
                attempt.end()
                attempt = following
            if attempt is not None:
                await request.close()  # what still sends the body must have ended before it is sent again
        raise last

    def _call(self, request: aiohttp.ClientRequest) -> ServiceCall | None:
        """The call for ``request``; None if it is not for a service."""
        service = self._calls.hosts.service(request.url.host, request.url.explicit_port)
        if service is None:
            return None
        may_repeat = request.method in IDEMPOTENT or "Idempotency-Key" in request.headers
        return self._calls.call(service, key=self._key(request), can_repeat=may_repeat)


def _can_be_sent_again(request: aiohttp.ClientRequest) -> bool:
    """Whether the body, of which some may have been sent, can be read from its beginning again."""
    return not request.body or not request.body.consumed


def _after_error(attempt: Attempt, error: Exception, request: aiohttp.ClientRequest) -> Attempt | None:
    """Record that the attempt has ended with ``error``. Returns the next one, if it is to be made."""
    if isinstance(error, _BROKEN):
        attempt.call.can_repeat = attempt.call.can_repeat and _can_be_sent_again(request)
        return attempt.next_after_error(was_sent=not isinstance(error, _NOT_CONNECTED))
    attempt.end()
    return None


def _given(attempt: Attempt, response: aiohttp.ClientResponse) -> aiohttp.ClientResponse:
    """The answer; the attempt is over when its connection is free or closed."""

    def ended() -> None:
        if isinstance(response.content.exception(), _BROKEN):
            attempt.fail()
        attempt.end(succeeded=True)

    if response.connection is None:  # it has its whole body already
        ended()
    else:
        response.connection.add_callback(ended)
    return response
