"""httpx transports that call services by name: ``http://orders/path`` goes to one of its instances, chosen per call.

Which hosts are services: those without a dot and a port, except ``localhost``; or exactly those that are given. All
other requests pass through untouched.

What is sent: the path, query, headers and body as they are, so ``Host`` stays the service's name: instances cannot
tell which of their addresses was used, and sign, route and log by the name that the caller meant. An instance whose
``meta`` says ``scheme: https`` is called over TLS; certificates are checked against the service's name.

What is tried again, on another instance that was not tried yet: whatever could not connect; and, for idempotent
methods (or with an ``Idempotency-Key`` header) whose body can be sent again, timeouts, broken connections and the
answers 502, 503 and 504. When there is no other instance, or all attempts are used up, the caller gets the last
answer or error as it is. Each attempt has the client's whole timeout.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from typing import Final

import attrs
import httpx

from gossipreg.embed.chooser import Chooser, LookupSource
from gossipreg.errors import NoInstance
from gossipreg.model import Instance

__all__ = ["AsyncTransport", "NoInstanceToCall", "Transport"]

#: Methods that may be sent twice (RFC 9110 §9.2.2).
_IDEMPOTENT: Final = frozenset({"GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"})

#: Answers after which another instance might serve the request.
_UNAVAILABLE: Final = frozenset({502, 503, 504})

#: Nothing was sent yet.
_NOT_CONNECTED: Final = (httpx.ConnectError, httpx.ConnectTimeout)

#: Something may have been done.
_BROKEN: Final = (httpx.ReadTimeout, httpx.WriteTimeout, httpx.NetworkError, httpx.RemoteProtocolError)

#: What the key of a request is, for calls that should go to the same instance as long as it is there; None: any.
KeyOf = Callable[[httpx.Request], str | None]


class NoInstanceToCall(httpx.ConnectError, NoInstance):
    """No instance of the service can be called now: both a connect error to httpx, and a ``NoInstance``."""


def no_key(request: httpx.Request) -> str | None:  # noqa: ARG001 - one way to find a key is to have none
    """Requests have no keys."""
    return None


@attrs.define(eq=False, repr=False)
class _Names:
    """Which hosts are services, and of what name: URLs are in lower case, services need not be."""

    _services: dict[str, str] | None

    @classmethod
    def of(cls, services: Iterable[str] | None) -> _Names:
        return cls(None if services is None else {name.lower(): name for name in services})

    def service(self, url: httpx.URL) -> str | None:
        if url.port is not None:
            return None
        if self._services is not None:
            return self._services.get(url.host)
        return None if "." in url.host or ":" in url.host or url.host in ("", "localhost") else url.host


@attrs.define(eq=False, repr=False)
class _Call:
    """One request, tried at one instance after another."""

    chooser: Chooser
    service: str
    request: httpx.Request
    attempts: int  # that are left
    key: str | None
    _tried: list[Instance] = attrs.field(factory=list)

    def choose_first(self) -> None:
        """Choose the first instance. Raises `NoInstanceToCall`."""
        try:
            self._choose_next()
        except NoInstance as error:
            raise NoInstanceToCall(str(error), request=self.request) from None

    def outgoing(self) -> httpx.Request:
        """The request as it is sent to the instance; the call is in progress from now on."""
        instance, request = self._tried[-1], self.request
        self.chooser.begin(instance)
        scheme = "https" if instance.meta.get("scheme") == "https" else request.url.scheme
        extensions = dict(request.extensions)
        if scheme == "https":
            extensions.setdefault("sni_hostname", self.service)
        return httpx.Request(
            request.method,
            request.url.copy_with(scheme=scheme, host=instance.host, port=instance.port),
            headers=request.headers,
            stream=request.stream,
            extensions=extensions,
        )

    def retries_after(self, error: BaseException) -> bool:
        """Record that the call raised ``error``. Returns whether to try another instance, which is then chosen."""
        self.end()
        not_connected = isinstance(error, _NOT_CONNECTED)
        if not_connected or isinstance(error, _BROKEN):
            self.chooser.report_failure(self._tried[-1])
            return (not_connected or self._can_repeat()) and self._has_another()
        return False

    def retries_instead_of(self, response: httpx.Response) -> bool:
        """Record the response. Returns whether to try another instance instead, which is then chosen."""
        instance = self._tried[-1]
        response.extensions["gossipreg_instance"] = instance
        if response.status_code not in _UNAVAILABLE:
            self.chooser.report_success(instance)
            return False
        self.chooser.report_failure(instance)
        if not self._can_repeat() or not self._has_another():
            return False
        self.chooser.end(instance)
        return True

    def end(self) -> None:
        """Record that the call has ended."""
        self.chooser.end(self._tried[-1])

    def _can_repeat(self) -> bool:
        idempotent = self.request.method in _IDEMPOTENT or "idempotency-key" in self.request.headers
        return idempotent and isinstance(self.request.stream, httpx.ByteStream)

    def _has_another(self) -> bool:
        if self.attempts == 0:
            return False
        try:
            self._choose_next()
        except NoInstance:
            return False
        return True

    def _choose_next(self) -> None:
        self._tried.append(self.chooser.choose(self.service, key=self.key, excluding=self._tried))
        self.attempts -= 1


class _Planner:
    """What both transports share: everything but the waiting."""

    def __init__(
        self, registry: LookupSource | Chooser, services: Iterable[str] | None, attempts: int, key: KeyOf
    ) -> None:
        self.chooser = registry if isinstance(registry, Chooser) else Chooser(registry)
        self._names = _Names.of(services)
        self._attempts = attempts
        self._key = key

    def call(self, request: httpx.Request) -> _Call | None:
        """The call for ``request``; None if it is not for a service."""
        service = self._names.service(request.url)
        return None if service is None else _Call(self.chooser, service, request, self._attempts, self._key(request))


class Transport(httpx.BaseTransport):
    """``httpx.Client(transport=Transport(node))``: calls services by name.

    ``registry`` is a node of any kind, or a `Chooser` that says how to choose. ``services`` are the hosts that are
    services, if the rule above does not fit; ``attempts`` is how many instances are tried at most, the first included;
    ``key`` finds a request's key; ``transport`` does the actual calls.
    """

    def __init__(
        self,
        registry: LookupSource | Chooser,
        *,
        services: Iterable[str] | None = None,
        attempts: int = 3,
        key: KeyOf = no_key,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._planner = _Planner(registry, services, attempts, key)
        self._transport = transport or httpx.HTTPTransport()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send ``request`` to an instance of the service that its URL names. Raises `NoInstanceToCall`."""
        call = self._planner.call(request)
        if call is None:
            return self._transport.handle_request(request)
        call.choose_first()
        while True:
            try:
                response = self._transport.handle_request(call.outgoing())
            except BaseException as error:
                if call.retries_after(error):
                    continue
                raise
            if not call.retries_instead_of(response):
                assert isinstance(response.stream, httpx.SyncByteStream), "a sync transport answers with a sync stream"
                if response.is_closed:  # it has its whole body already
                    call.end()
                else:
                    response.stream = _Stream(response.stream, call.end)
                return response
            response.close()

    def close(self) -> None:
        """Close the connections."""
        self._transport.close()


class AsyncTransport(httpx.AsyncBaseTransport):
    """``httpx.AsyncClient(transport=AsyncTransport(node))``: `Transport` for asyncio and trio."""

    def __init__(
        self,
        registry: LookupSource | Chooser,
        *,
        services: Iterable[str] | None = None,
        attempts: int = 3,
        key: KeyOf = no_key,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._planner = _Planner(registry, services, attempts, key)
        self._transport = transport or httpx.AsyncHTTPTransport()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send ``request`` to an instance of the service that its URL names. Raises `NoInstanceToCall`."""
        call = self._planner.call(request)
        if call is None:
            return await self._transport.handle_async_request(request)
        call.choose_first()
        while True:
            try:
                response = await self._transport.handle_async_request(call.outgoing())
            except BaseException as error:
                if call.retries_after(error):
                    continue
                raise
            if not call.retries_instead_of(response):
                assert isinstance(response.stream, httpx.AsyncByteStream), "an async transport's stream is async"
                if response.is_closed:
                    call.end()
                else:
                    response.stream = _AsyncStream(response.stream, call.end)
                return response
            await response.aclose()

    async def aclose(self) -> None:
        """Close the connections."""
        await self._transport.aclose()


class _Stream(httpx.SyncByteStream):
    """A response body; the call has ended when it is closed."""

    def __init__(self, stream: httpx.SyncByteStream, end: Callable[[], None]) -> None:
        self._stream = stream
        self._end = end

    def __iter__(self) -> Iterator[bytes]:
        yield from self._stream

    def close(self) -> None:
        try:
            self._stream.close()
        finally:
            self._end()


class _AsyncStream(httpx.AsyncByteStream):
    """A response body; the call has ended when it is closed."""

    def __init__(self, stream: httpx.AsyncByteStream, end: Callable[[], None]) -> None:
        self._stream = stream
        self._end = end

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for chunk in self._stream:
            yield chunk

    async def aclose(self) -> None:
        try:
            await self._stream.aclose()
        finally:
            self._end()
