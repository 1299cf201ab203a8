"""httpx transports that call services by name: ``http://orders/path`` goes to one of its instances, chosen per call.

Which hosts are services: those without a dot and a port, except ``localhost``; or exactly those that are given. All
other requests pass through untouched.

What is sent: the path, query, headers and body as they are, so ``Host`` stays the service's name: instances cannot
tell which of their addresses was used, and sign, route and log by the name that the caller meant. An instance whose
``meta`` says ``scheme: https`` is called over TLS; certificates are checked against the service's name. Each service
that is called over TLS has connections of its own: httpx would reuse one to the same address for another service,
whose name its certificate was never checked for.

What is tried again, on another instance that was not tried yet: whatever could not connect; and, for idempotent
methods (or with an ``Idempotency-Key`` header) whose body can be sent again, timeouts, broken connections and the
answers 502, 503 and 504. When there is no other instance, or all attempts are used up, the caller gets the last
answer or error as it is. Each attempt has the client's whole timeout, but no more than is left of ``total``.

A call has succeeded when its answer's body has ended, and failed when the connection broke in the middle of it.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from functools import partial
from typing import Final, Generic, TypeVar

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


_T = TypeVar("_T", httpx.BaseTransport, httpx.AsyncBaseTransport)


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
    deadline: float  # for all attempts, on the chooser's clock
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
        left = max(0.001, self.deadline - self.chooser.clock())
        if left < math.inf:
            limits = {"connect": None, "read": None, "write": None, "pool": None} | dict(extensions.get("timeout", {}))
            extensions["timeout"] = {each: left if most is None else min(left, most) for each, most in limits.items()}
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
            return False  # whether it has succeeded is known when its body has ended
        self.chooser.report_failure(instance)
        if not self._can_repeat() or not self._has_another():
            return False
        self.chooser.end(instance)
        return True

    def end(self) -> None:
        """Record that the call has ended."""
        self.chooser.end(self._tried[-1])

    def body_ended(self, response: httpx.Response, error: BaseException | None) -> None:
        """Record that the body of the answer has ended, or been closed, or broke with ``error``; the call is over."""
        if isinstance(error, _BROKEN):
            self.chooser.report_failure(self._tried[-1])
        elif error is None and response.status_code not in _UNAVAILABLE:
            self.chooser.report_success(self._tried[-1])
        self.end()

    def _can_repeat(self) -> bool:
        idempotent = self.request.method in _IDEMPOTENT or "idempotency-key" in self.request.headers
        return idempotent and _can_be_sent_again(self.request.stream)

    def _has_another(self) -> bool:
        if self.attempts == 0 or self.chooser.clock() >= self.deadline:
            return False
        try:
            self._choose_next()
        except NoInstance:
            return False
        return True

    def _choose_next(self) -> None:
        self._tried.append(self.chooser.choose(self.service, key=self.key, excluding=self._tried))
        self.attempts -= 1


def _can_be_sent_again(stream: object) -> bool:
    """Whether a body can be read twice: bytes, or a form whose files can be."""
    if isinstance(stream, httpx.ByteStream):
        return True
    fields = getattr(stream, "fields", None)  # of httpx's stream of a form
    if not isinstance(fields, list):
        return False
    files = [getattr(field, "file", b"") for field in fields]
    return all(isinstance(file, bytes | str) or (hasattr(file, "seekable") and file.seekable()) for file in files)


class _Planner:
    """What both transports share: everything but the waiting."""

    def __init__(
        self,
        registry: LookupSource | Chooser,
        services: Iterable[str] | None,
        attempts: int,
        key: KeyOf,
        total: float | None,
    ) -> None:
        self.chooser = registry if isinstance(registry, Chooser) else Chooser(registry)
        self._names = _Names.of(services)
        self._attempts = attempts
        self._key = key
        self._total = math.inf if total is None else total

    def call(self, request: httpx.Request) -> _Call | None:
        """The call for ``request``; None if it is not for a service."""
        service = self._names.service(request.url)
        if service is None:
            return None
        deadline = self.chooser.clock() + self._total
        return _Call(self.chooser, service, request, self._attempts, self._key(request), deadline)


class _Connections(Generic[_T]):
    """The transports that make the calls: one for each service under TLS, and one for all else."""

    def __init__(self, given: _T | Callable[[], _T] | None, default: Callable[[], _T]) -> None:
        self._make: Callable[[], _T] | None = default if given is None else given if callable(given) else None
        self._plain: _T = given if given is not None and not callable(given) else (self._make or default)()
        self._of_service: dict[str, _T] = {}

    @property
    def plain(self) -> _T:
        """That for requests in clear, and for those that are not for a service."""
        return self._plain

    def of(self, outgoing: httpx.Request, service: str) -> _T:
        """That for a request to an instance. Raises ``httpx.UnsupportedProtocol`` if a service cannot have its own."""
        if outgoing.url.scheme != "https":
            return self._plain
        if service not in self._of_service:
            if self._make is None:
                raise httpx.UnsupportedProtocol(
                    f"{service!r} is called over TLS, and so needs connections of its own: pass a function that makes "
                    "transports, such as transport=lambda: httpx.HTTPTransport(verify=context)",
                    request=outgoing,
                )
            # Two threads may make one each: the first that is kept is used by both.
            self._of_service.setdefault(service, self._make())
        return self._of_service[service]

    def all(self) -> list[_T]:
        """All of them."""
        found = list(self._of_service.values())
        found.append(self._plain)
        return found


class Transport(httpx.BaseTransport):
    """``httpx.Client(transport=Transport(node))``: calls services by name.

    ``registry`` is a node of any kind, or a `Chooser` that says how to choose. ``services`` are the hosts that are
    services, if the rule above does not fit; ``attempts`` is how many instances are tried at most, the first included;
    ``key`` finds a request's key; ``total`` is how long all attempts may take together (seconds). ``transport`` makes
    transports that do the actual calls; or is one, where no service is called over TLS.
    """

    def __init__(
        self,
        registry: LookupSource | Chooser,
        *,
        services: Iterable[str] | None = None,
        attempts: int = 3,
        key: KeyOf = no_key,
        total: float | None = None,
        transport: httpx.BaseTransport | Callable[[], httpx.BaseTransport] | None = None,
    ) -> None:
        self._planner = _Planner(registry, services, attempts, key, total)
        self._connections = _Connections[httpx.BaseTransport](transport, httpx.HTTPTransport)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send ``request`` to an instance of the service that its URL names. Raises `NoInstanceToCall`."""
        call = self._planner.call(request)
        if call is None:
            return self._connections.plain.handle_request(request)
        call.choose_first()
        while True:
            try:
                outgoing = call.outgoing()
                response = self._connections.of(outgoing, call.service).handle_request(outgoing)
            except BaseException as error:
                if call.retries_after(error):
                    continue
                raise
            if not call.retries_instead_of(response):
                assert isinstance(response.stream, httpx.SyncByteStream), "a sync transport answers with a sync stream"
                if response.is_closed:  # it has its whole body already
                    call.body_ended(response, None)
                else:
                    response.stream = _Stream(response.stream, partial(call.body_ended, response))
                return response
            response.close()

    def close(self) -> None:
        """Close the connections."""
        for transport in self._connections.all():
            transport.close()


class AsyncTransport(httpx.AsyncBaseTransport):
    """``httpx.AsyncClient(transport=AsyncTransport(node))``: `Transport` for asyncio and trio."""

    def __init__(
        self,
        registry: LookupSource | Chooser,
        *,
        services: Iterable[str] | None = None,
        attempts: int = 3,
        key: KeyOf = no_key,
        total: float | None = None,
        transport: httpx.AsyncBaseTransport | Callable[[], httpx.AsyncBaseTransport] | None = None,
    ) -> None:
        self._planner = _Planner(registry, services, attempts, key, total)
        self._connections = _Connections[httpx.AsyncBaseTransport](transport, httpx.AsyncHTTPTransport)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send ``request`` to an instance of the service that its URL names. Raises `NoInstanceToCall`."""
        call = self._planner.call(request)
        if call is None:
            return await self._connections.plain.handle_async_request(request)
        call.choose_first()
        while True:
            try:
                outgoing = call.outgoing()
                response = await self._connections.of(outgoing, call.service).handle_async_request(outgoing)
            except BaseException as error:
                if call.retries_after(error):
                    continue
                raise
            if not call.retries_instead_of(response):
                assert isinstance(response.stream, httpx.AsyncByteStream), "an async transport's stream is async"
                if response.is_closed:
                    call.body_ended(response, None)
                else:
                    response.stream = _AsyncStream(response.stream, partial(call.body_ended, response))
                return response
            await response.aclose()

    async def aclose(self) -> None:
        """Close the connections."""
        for transport in self._connections.all():
            await transport.aclose()


#: Takes how a body ended: by itself or by its reader, or with an error.
_Ended = Callable[[BaseException | None], None]


class _Stream(httpx.SyncByteStream):
    """A response body; the call has ended when it is closed."""

    def __init__(self, stream: httpx.SyncByteStream, ended: _Ended) -> None:
        self._stream = stream
        self._ended = ended
        self._error: BaseException | None = None

    def __iter__(self) -> Iterator[bytes]:
        try:
            yield from self._stream
        except Exception as error:
            self._error = error
            raise

    def close(self) -> None:
        try:
            self._stream.close()
        finally:
            self._ended(self._error)


class _AsyncStream(httpx.AsyncByteStream):
    """A response body; the call has ended when it is closed."""

    def __init__(self, stream: httpx.AsyncByteStream, ended: _Ended) -> None:
        self._stream = stream
        self._ended = ended
        self._error: BaseException | None = None

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for chunk in self._stream:
                yield chunk
        except Exception as error:
            self._error = error
            raise

    async def aclose(self) -> None:
        try:
            await self._stream.aclose()
        finally:
            self._ended(self._error)
