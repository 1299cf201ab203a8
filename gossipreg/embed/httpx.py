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
answer or error as it is. Each step of an attempt has the client's timeout, but no more than is left of ``per_try`` and
``total``.

A call has succeeded when its answer's body has ended, and failed when the connection broke in the middle of it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from functools import partial
from typing import Any, Final, Generic, TypeVar

import httpx

from gossipreg.embed.chooser import Chooser, LookupSource
from gossipreg.embed.hedging import Hedging
from gossipreg.embed.races import Race, race
from gossipreg.embed.service_calls import IDEMPOTENT, Attempt, ServiceCall, ServiceCalls
from gossipreg.errors import NoInstance

__all__ = ["AsyncTransport", "Hedging", "NoInstanceToCall", "Transport"]

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


class _Timeouts(dict[str, float | None]):
    """A request's timeouts (seconds): the client's, and no longer than what is left when each step begins."""

    def __init__(self, given: dict[str, float | None], attempt: Attempt) -> None:
        super().__init__({"connect": None, "read": None, "write": None, "pool": None} | given)
        self._attempt = attempt
        self._is_sending = False

    def __getitem__(self, step: str) -> float | None:
        most = super().__getitem__(step)
        if step == "pool":  # a full pool of this process is not the instance's fault
            return self._attempt.limit_of_call(most)
        if not self._is_sending:
            self._is_sending = True
            self._attempt.restart_clock()
        return self._attempt.limit(most)

    def get(self, step: str, default: Any = None) -> Any:
        try:
            return self[step]
        except KeyError:
            return default


def _outgoing(attempt: Attempt, request: httpx.Request) -> httpx.Request:
    """The request as it is sent to the instance."""
    instance, service = attempt.instance, attempt.call.service
    scheme = "https" if instance.meta.get("scheme") == "https" else request.url.scheme
    extensions = dict(request.extensions)
    if scheme == "https":
        extensions.setdefault("sni_hostname", service)
    if attempt.limit(None) is not None:
        extensions["timeout"] = _Timeouts(extensions.get("timeout", {}), attempt)
    return httpx.Request(
        request.method,
        request.url.copy_with(scheme=scheme, host=instance.host, port=instance.port),
        headers=request.headers,
        stream=request.stream,
        extensions=extensions,
    )


def _first(call: ServiceCall, request: httpx.Request) -> Attempt:
    try:
        return call.first()
    except NoInstance as error:
        raise NoInstanceToCall(str(error), request=request) from None


def _after_error(attempt: Attempt, error: Exception) -> Attempt | None:
    """Record that the attempt has ended with ``error``. Returns the next one, if it is to be made."""
    if isinstance(error, _NOT_CONNECTED + _BROKEN):
        return attempt.next_after_error(was_sent=not isinstance(error, _NOT_CONNECTED))
    attempt.end()
    return None


def _record_loss(attempt: Attempt, outcome: object) -> None:
    """Record an attempt beside one that has won."""
    if isinstance(outcome, _NOT_CONNECTED + _BROKEN):
        attempt.fail()
    attempt.end()


def _body_ended(attempt: Attempt, error: BaseException | None) -> None:
    """Record that the answer's body has ended, or been closed, or broke with ``error``."""
    if isinstance(error, _BROKEN):
        attempt.fail()
    attempt.end(succeeded=error is None)


def _check_time(attempt: Attempt, request: httpx.Request) -> None:
    """Raise ``httpx.ReadTimeout`` if the whole call has taken as long as it may."""
    if attempt.is_late():
        raise httpx.ReadTimeout(f"the answer of {attempt.call.service!r} is not complete in time", request=request)


def _can_be_sent_again(stream: object) -> bool:
    """Whether a body can be read twice: bytes, or a form whose files can be."""
    if isinstance(stream, httpx.ByteStream):
        return True
    fields = getattr(stream, "fields", None)  # of httpx's stream of a form
    if not isinstance(fields, list):
        return False
    files = [getattr(field, "file", b"") for field in fields]
    return all(isinstance(file, bytes | str) or (hasattr(file, "seekable") and file.seekable()) for file in files)


def _call(calls: ServiceCalls, key: KeyOf, request: httpx.Request) -> ServiceCall | None:
    """The call for ``request``; None if it is not for a service."""
    service = calls.hosts.service(request.url.host, request.url.port)
    if service is None:
        return None
    may_repeat = request.method in IDEMPOTENT or "idempotency-key" in request.headers
    return calls.call(service, key=key(request), can_repeat=may_repeat and _can_be_sent_again(request.stream))


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
    ``key`` finds a request's key. ``per_try`` is how long an attempt may take until its answer begins, ``total`` how
    long all attempts may take together, the body included (seconds). ``hedging`` says when a second instance is asked
    beside a slow one; each such call then takes a thread. ``transport`` makes transports that do the actual calls; or
    is one, where no service is called over TLS. Raises ``ConfigError``.
    """

    def __init__(
        self,
        registry: LookupSource | Chooser,
        *,
        services: Iterable[str] | None = None,
        attempts: int = 3,
        key: KeyOf = no_key,
        per_try: float | None = None,
        total: float | None = None,
        hedging: Hedging | None = None,
        transport: httpx.BaseTransport | Callable[[], httpx.BaseTransport] | None = None,
    ) -> None:
        self._calls = ServiceCalls.of(
            registry, services, attempts=attempts, per_try=per_try, total=total, hedging=hedging
        )
        self._key = key
        self._connections = _Connections[httpx.BaseTransport](transport, httpx.HTTPTransport)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send ``request`` to an instance of the service that its URL names. Raises `NoInstanceToCall`."""
        call = _call(self._calls, self._key, request)
        if call is None:
            return self._connections.plain.handle_request(request)
        attempt: Attempt | None = _first(call, request)
        while attempt is not None:
            after = call.hedge_after()
            if after is None:
                outcome = self._attempt(request, attempt)
            else:
                attempt, outcome = Race(partial(self._attempt, request), self._discard).run(attempt, after)
            if isinstance(outcome, Exception):
                error, attempt = outcome, _after_error(attempt, outcome)
                continue
            following = attempt.next_after_answer()
            if following is None:
                return self._given(request, attempt, outcome)
            outcome.close()
            attempt.end()
            attempt = following
        raise error

    def _attempt(self, request: httpx.Request, attempt: Attempt) -> httpx.Response | Exception:
        """Send the request to one instance. Returns its error."""
        try:
            outgoing = _outgoing(attempt, request)
            response = self._connections.of(outgoing, attempt.call.service).handle_request(outgoing)
        except Exception as error:  # noqa: BLE001 - what becomes of it is the caller's to say
            return error
        except BaseException:
            attempt.end()
            raise
        attempt.answered(response.status_code)
        return response

    def _given(self, request: httpx.Request, attempt: Attempt, response: httpx.Response) -> httpx.Response:
        response.extensions["gossipreg_instance"] = attempt.instance
        if response.is_closed:  # it has its whole body already
            attempt.end(succeeded=True)
        else:
            assert isinstance(response.stream, httpx.SyncByteStream), "a sync transport answers with a sync stream"
            response.stream = _Stream(response.stream, attempt, request)
        return response

    def _discard(self, attempt: Attempt, outcome: httpx.Response | Exception) -> None:
        _record_loss(attempt, outcome)
        if isinstance(outcome, httpx.Response):
            outcome.close()

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
        per_try: float | None = None,
        total: float | None = None,
        hedging: Hedging | None = None,
        transport: httpx.AsyncBaseTransport | Callable[[], httpx.AsyncBaseTransport] | None = None,
    ) -> None:
        self._calls = ServiceCalls.of(
            registry, services, attempts=attempts, per_try=per_try, total=total, hedging=hedging
        )
        self._key = key
        self._connections = _Connections[httpx.AsyncBaseTransport](transport, httpx.AsyncHTTPTransport)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send ``request`` to an instance of the service that its URL names. Raises `NoInstanceToCall`."""
        call = _call(self._calls, self._key, request)
        if call is None:
            return await self._connections.plain.handle_async_request(request)
        attempt: Attempt | None = _first(call, request)
        while attempt is not None:
            after = call.hedge_after()
            if after is None:
                outcome = await self._attempt(request, attempt)
            else:
                attempt, outcome = await race(attempt, after, partial(self._attempt, request), self._discard)
            if isinstance(outcome, Exception):
                error, attempt = outcome, _after_error(attempt, outcome)
                continue
            following = attempt.next_after_answer()
            if following is None:
                return self._given(request, attempt, outcome)
            await outcome.aclose()
            attempt.end()
            attempt = following
        raise error

    async def _attempt(self, request: httpx.Request, attempt: Attempt) -> httpx.Response | Exception:
        """Send the request to one instance. Returns its error."""
        try:
            outgoing = _outgoing(attempt, request)
            response = await self._connections.of(outgoing, attempt.call.service).handle_async_request(outgoing)
        except Exception as error:  # noqa: BLE001 - what becomes of it is the caller's to say
            return error
        except BaseException:
            attempt.end()
            raise
        attempt.answered(response.status_code)
        return response

    def _given(self, request: httpx.Request, attempt: Attempt, response: httpx.Response) -> httpx.Response:
        response.extensions["gossipreg_instance"] = attempt.instance
        if response.is_closed:
            attempt.end(succeeded=True)
        else:
            assert isinstance(response.stream, httpx.AsyncByteStream), "an async transport's stream is async"
            response.stream = _AsyncStream(response.stream, attempt, request)
        return response

    async def _discard(self, attempt: Attempt, outcome: httpx.Response | Exception) -> None:
        _record_loss(attempt, outcome)
        if isinstance(outcome, httpx.Response):
            await outcome.aclose()

    async def aclose(self) -> None:
        """Close the connections."""
        for transport in self._connections.all():
            await transport.aclose()


class _Stream(httpx.SyncByteStream):
    """A response body; the attempt is over when it is closed."""

    def __init__(self, stream: httpx.SyncByteStream, attempt: Attempt, request: httpx.Request) -> None:
        self._stream = stream
        self._attempt = attempt
        self._request = request
        self._error: BaseException | None = None

    def __iter__(self) -> Iterator[bytes]:
        try:
            for chunk in self._stream:
                _check_time(self._attempt, self._request)
                yield chunk
        except Exception as error:
            self._error = error
            raise

    def close(self) -> None:
        try:
            self._stream.close()
        finally:
            _body_ended(self._attempt, self._error)


class _AsyncStream(httpx.AsyncByteStream):
    """A response body; the attempt is over when it is closed."""

    def __init__(self, stream: httpx.AsyncByteStream, attempt: Attempt, request: httpx.Request) -> None:
        self._stream = stream
        self._attempt = attempt
        self._request = request
        self._error: BaseException | None = None

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for chunk in self._stream:
                _check_time(self._attempt, self._request)
                yield chunk
        except Exception as error:
            self._error = error
            raise

    async def aclose(self) -> None:
        try:
            await self._stream.aclose()
        finally:
            _body_ended(self._attempt, self._error)
