"""A transport adapter for requests that calls services by name, each time at an instance that is chosen then.

``session.mount("http://", ServiceAdapter(node))``: hosts without a dot and a port, except ``localhost``, are services,
or exactly those that are given; all other requests are sent as ever. ``session.mount("http+gossipreg://",
ServiceAdapter(node))``: every host of such a URL is a service, also one with a dot or capitals.

``Host`` is the service's name at every attempt. An instance whose ``meta`` says ``scheme: https`` is called over TLS on
connections of the service's own; its certificate is checked against the service's name. A proxy of the environment is
not used between a caller and an instance.

What is tried again, and when a call has succeeded or failed, is as with httpx (`gossipreg.embed.httpx`).
"""

from __future__ import annotations

import ssl
import urllib.parse
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

import requests
from requests.adapters import HTTPAdapter
from requests.utils import rewind_body
from urllib3.exceptions import NewConnectionError, ProtocolError, ReadTimeoutError, SSLError
from urllib3.util import Timeout

from gossipreg.embed.chooser import Chooser, LookupSource
from gossipreg.embed.service_calls import IDEMPOTENT, Attempt, ServiceCall, ServiceCalls
from gossipreg.errors import NoInstance

__all__ = ["NoInstanceToRequest", "ServiceAdapter"]

#: The scheme of URLs whose host is always a service. It begins with "http", so requests encodes such URLs as others.
SCHEME: Final = "http+gossipreg"

# Relative redirects are resolved only under schemes that the standard library knows to have paths.
for _known in (urllib.parse.uses_relative, urllib.parse.uses_netloc):
    if SCHEME not in _known:
        _known.append(SCHEME)

#: Pools of connections that are kept, one for each instance; requests' own default, 10, is meant for fewer hosts.
POOLS: Final = 256

#: What the key of a request is, for calls that should go to the same instance as long as it is there; None: any.
KeyOf = Callable[[requests.PreparedRequest], str | None]

#: Errors after which something may have been done.
_BROKEN: Final = (requests.ConnectionError, requests.ReadTimeout, requests.exceptions.ChunkedEncodingError)

#: What reading a body raises where the connection broke.
_BODY_BROKEN: Final = (ProtocolError, ReadTimeoutError, SSLError, OSError)


class NoInstanceToRequest(requests.ConnectionError, NoInstance):
    """No instance of the service can be called now: both a connection error to requests, and a ``NoInstance``."""


def no_key(request: requests.PreparedRequest) -> str | None:  # noqa: ARG001 - one way to find a key is to have none
    """Requests have no keys."""
    return None


class _Outgoing(requests.PreparedRequest):
    """A request as it is sent to an instance."""

    service: str


class ServiceAdapter(HTTPAdapter):
    """``session.mount("http://", ServiceAdapter(node))``: calls services by name.

    ``registry`` is a node of any kind, or a `Chooser` that says how to choose. ``services`` are the hosts that are
    services, if the rule above does not fit; ``attempts`` is how many instances are tried at most, the first included;
    ``key`` finds a request's key. ``per_try`` is how long an attempt may take until its answer begins, ``total`` how
    long all attempts may take together, the body included (seconds). ``options`` are those of ``HTTPAdapter``. Raises
    ``ConfigError``.
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
        **options: Any,
    ) -> None:
        self._calls = ServiceCalls.of(registry, services, attempts=attempts, per_try=per_try, total=total)
        self._key = key
        super().__init__(**{"pool_connections": POOLS} | options)

    def send(  # noqa: PLR0917 - as requests has it
        self,
        request: requests.PreparedRequest,
        stream: bool = False,
        timeout: Any = None,
        verify: Any = True,
        cert: Any = None,
        proxies: dict[str, str] | None = None,
    ) -> requests.Response:
        """Send ``request`` to an instance of the service that its URL names. Raises `NoInstanceToRequest`."""
        call = self._call(request)
        if call is None:
            return super().send(request, stream, timeout, verify, cert, proxies)
        try:
            attempt: Attempt | None = call.first()
        except NoInstance as error:
            raise NoInstanceToRequest(str(error), request=request) from None
        while attempt is not None:
            try:
                limits = _limits(timeout, attempt)
                response = super().send(_outgoing(request, attempt), stream, limits, verify, cert)
            except Exception as raised:  # noqa: BLE001 - raised again below
                last, attempt = raised, _after_error(attempt, raised)
            except BaseException:
                attempt.end()
                raise
            else:
                attempt.answered(response.status_code)
                following = attempt.next_after_answer()
                if following is None:
                    return _given(request, attempt, response)
                response.close()
                attempt.end()
                attempt = following
            if attempt is not None and isinstance(request._body_position, int):  # noqa: SLF001 - requests' own
                rewind_body(request)
        raise last

    def build_connection_pool_key_attributes(
        self, request: requests.PreparedRequest, verify: Any, cert: Any = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Which connections may be used: under TLS those of the service, whose name the certificate is checked for."""
        host, pool = super().build_connection_pool_key_attributes(request, verify, cert)
        if isinstance(request, _Outgoing) and host["scheme"] == "https":
            pool |= {"server_hostname": request.service, "assert_hostname": request.service}
        return host, pool

    def _call(self, request: requests.PreparedRequest) -> ServiceCall | None:
        """The call for ``request``; None if it is not for a service."""
        url = urllib.parse.urlsplit(request.url or "")
        if url.scheme == SCHEME:
            service = url.netloc.rpartition("@")[2]  # as written: `hostname` is in lower case
        else:
            found = self._calls.hosts.service(url.hostname, url.port)
            if found is None:
                return None
            service = found
        may_repeat = request.method in IDEMPOTENT or "idempotency-key" in request.headers
        return self._calls.call(service, key=self._key(request), can_repeat=may_repeat and _can_be_sent_again(request))


def _can_be_sent_again(request: requests.PreparedRequest) -> bool:
    """Whether the body can be read twice."""
    return request.body is None or isinstance(request.body, bytes | str) or isinstance(request._body_position, int)  # noqa: SLF001 -- requests tells only there whether it can rewind


def _outgoing(request: requests.PreparedRequest, attempt: Attempt) -> _Outgoing:
    """The request as it is sent to the instance."""
    outgoing = _Outgoing()
    outgoing.__dict__ |= request.copy().__dict__
    outgoing.service = attempt.call.service
    url = urllib.parse.urlsplit(request.url or "")
    plain = "http" if url.scheme == SCHEME else url.scheme
    scheme = "https" if attempt.instance.meta.get("scheme") == "https" else plain
    outgoing.url = url._replace(scheme=scheme, netloc=str(attempt.instance.address)).geturl()
    outgoing.headers.setdefault("Host", attempt.call.service)
    return outgoing


def _limits(timeout: Any, attempt: Attempt) -> Any:
    """The timeouts of the session or the call, and no longer than what is left to the attempt."""
    left = attempt.limit(None)
    if left is None:
        return timeout
    if isinstance(timeout, Timeout):
        connect, read = timeout.connect_timeout, timeout.read_timeout
    else:
        connect, read = timeout if isinstance(timeout, tuple) else (timeout, timeout)
    return Timeout(
        total=left,
        connect=attempt.limit(connect if isinstance(connect, int | float) else None),
        read=attempt.limit(read if isinstance(read, int | float) else None),
    )


def _after_error(attempt: Attempt, error: Exception) -> Attempt | None:
    """Record that the attempt has ended with ``error``. Returns the next one, if it is to be made."""
    if isinstance(error, _BROKEN):
        return attempt.next_after_error(was_sent=not _is_before_sending(error))
    attempt.end()
    return None


def _is_before_sending(error: Exception) -> bool:
    """Whether nothing was sent: there was no connection in time, or its certificate was refused."""
    if isinstance(error, requests.ConnectTimeout):
        return True
    cause: object = getattr(error.args[0], "reason", None) if error.args else None  # of urllib3's MaxRetryError
    while isinstance(cause, SSLError) and cause.args:
        cause = cause.args[0]
    return isinstance(cause, NewConnectionError | ssl.SSLCertVerificationError)


def _given(request: requests.PreparedRequest, attempt: Attempt, response: requests.Response) -> requests.Response:
    response.url = request.url or ""
    response.request = request
    response.raw = _Body(response.raw, attempt)
    return response


class _Body:
    """urllib3's answer; the attempt is over when its body has ended, or is closed."""

    def __init__(self, raw: Any, attempt: Attempt) -> None:
        self._raw = raw
        self._attempt = attempt

    def __getattr__(self, name: str) -> Any:
        return getattr(self._raw, name)

    def stream(self, *arguments: Any, **options: Any) -> Iterator[bytes]:
        try:
            for part in self._raw.stream(*arguments, **options):
                self._check_time()
                yield part
        except _BODY_BROKEN:  # requests does not close such an answer
            self._attempt.fail()
            self._attempt.end()
            raise
        self._attempt.end(succeeded=True)

    def read(self, *arguments: Any, **options: Any) -> bytes:
        try:
            self._check_time()
            return bytes(self._raw.read(*arguments, **options))
        except _BODY_BROKEN:
            self._attempt.fail()
            self._attempt.end()
            raise

    def close(self) -> None:
        self._raw.close()
        self._attempt.end(succeeded=True)

    def release_conn(self) -> None:
        self._raw.release_conn()
        self._attempt.end(succeeded=True)

    def _check_time(self) -> None:
        if self._attempt.is_late():
            service = self._attempt.call.service
            raise ReadTimeoutError(self._raw._pool, None, f"the answer of {service!r} is not complete in time")  # noqa: SLF001 -- urllib3 raises its own with it
