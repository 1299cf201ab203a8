"""Issuer client: asks issuers for a certificate over HTTP, and looks at what they give.

What is sent opens nothing, and what is accepted is signed by an authority that this node trusts. So the connection
needs no protection of its own: the certificate of an issuer's HTTPS is not verified (docs/decisions/0088).
"""

from __future__ import annotations

import json
import socket
import ssl
from collections.abc import Awaitable, Callable
from contextlib import suppress
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Any, Final

import attrs
import trio

from gossipreg import limits
from gossipreg.authority import CERTIFICATE, Authority, decode
from gossipreg.certificate import Certificate
from gossipreg.errors import CertificateRefused, GossipregError, InvalidCertificate, NotAnIssuer
from gossipreg.federation import AgentPlace
from gossipreg.json_documents import read_json

#: How long an issuer may take for one step of the exchange (seconds).
_PATIENCE: Final = 10.0

#: How long the exchange with one issuer may take as a whole (seconds): one that answers byte by byte takes no step for
#: long, and would keep the node from the issuers that come after it.
_EXCHANGE_SECONDS: Final = 30.0

#: Largest answer that is read (bytes).
_ANSWER_BYTES_MAX: Final = 8 * limits.CERTIFICATE_REQUEST_CHARACTERS_MAX

#: Sends a request to an issuer, and returns the status and the body of its answer. Raises ``OSError``.
Post = Callable[[AgentPlace, bytes], Awaitable[tuple[int, bytes]]]


#: Raises `IssuerUnavailable` for a certificate that is of no use to the node.
Check = Callable[[Certificate], None]


class IssuerUnavailable(GossipregError):
    """No issuer has answered a request with a certificate, or with a refusal that is final."""


async def ask(issuers: tuple[str, ...], line: str, check: Check, post: Post | None = None) -> Certificate:
    """The certificate of the first issuer that gives one which passes ``check``.

    Raises ``CertificateRefused`` if no issuer can give one, and ``IssuerUnavailable`` where asking again may help. What
    refuses is not authenticated, so a refusal counts only when each of the other issuers has refused, too, or has
    answered that it is not the one to ask.
    """
    refusals, others, failures = [], [], []
    for issuer in issuers:
        place = AgentPlace.parse(issuer)
        try:
            given = await _ask_one(place, line, post or _post)
            check(given)
        except CertificateRefused as error:
            refusals.append(str(error))
        except NotAnIssuer as error:
            others.append(f"{place}: {error}")
        except IssuerUnavailable as error:
            failures.append(f"{place}: {error}")
        else:
            return given
    if refusals and not failures:
        raise CertificateRefused("; ".join(dict.fromkeys(refusals)))
    raise IssuerUnavailable("; ".join([*refusals, *others, *failures]))


async def _ask_one(place: AgentPlace, line: str, post: Post) -> Certificate:
    body = json.dumps({"request": line}).encode()
    try:
        with trio.fail_after(_EXCHANGE_SECONDS):
            status, answer = await post(place, body)
    except trio.TooSlowError:
        raise IssuerUnavailable(f"no whole answer in {_EXCHANGE_SECONDS:.0f} s") from None
    except (OSError, HTTPException) as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise IssuerUnavailable(f"no answer: {reason}") from None
    try:
        said: Any = read_json(answer)
        if status == 201:
            return Certificate.read(decode(CERTIFICATE, said["certificate"], where="the answer"))
        sentence, code = str(said["error"])[:300], said["code"]
    except (ValueError, TypeError, KeyError, InvalidCertificate):
        raise IssuerUnavailable(f"an answer of status {status} that is none of an issuer") from None
    for final in (CertificateRefused, NotAnIssuer):
        if code == final.code:
            raise final(sentence)
    raise IssuerUnavailable(sentence)


def check_given(
    certificate: Certificate, public: bytes, name: str, authorities: tuple[Authority, ...], now: float
) -> None:
    """Raise ``IssuerUnavailable`` unless it is one for this key and name that others believe ``now``."""
    by = next((each for each in authorities if certificate.is_signed_by(each.public)), None)
    if by is None:
        raise IssuerUnavailable("a certificate came that no authority of the authority_file has signed")
    excess = None if by.delegation is None else by.delegation.excess_of(certificate)
    if excess is not None:
        raise IssuerUnavailable(f"a certificate came whose issuer may not sign {excess}")
    if certificate.public != public or not certificate.allows("names", name) or not certificate.is_in_force(now):
        raise IssuerUnavailable("a certificate came for another key, name or time: is the clock right?")


async def _post(place: AgentPlace, body: bytes) -> tuple[int, bytes]:
    exchange = _Exchange(place, body)
    try:
        return await trio.to_thread.run_sync(exchange.run, abandon_on_cancel=True)
    finally:
        exchange.end()


@attrs.define(eq=False, repr=False)
class _Exchange:
    """One request and its answer, in a thread."""

    _place: AgentPlace
    _body: bytes
    _socket: socket.socket | None = attrs.field(init=False, default=None)
    _is_over: bool = attrs.field(init=False, default=False)

    def run(self) -> tuple[int, bytes]:
        """The status and the body of the answer. Raises ``OSError`` and ``HTTPException``."""
        host, port = self._place.address
        if self._place.is_tls:
            context = ssl.create_default_context()
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
            connection: HTTPConnection = HTTPSConnection(host, port, timeout=_PATIENCE, context=context)
        else:
            connection = HTTPConnection(host, port, timeout=_PATIENCE)
        try:
            connection.connect()
            self._socket = connection.sock  # the connection forgets it while it reads an answer that ends with it
            if self._is_over:
                raise TimeoutError("it took too long to connect")
            headers = {"Content-Type": "application/json"}
            connection.request("POST", "/api/v1/certificates", self._body, headers)
            with connection.getresponse() as answer:
                return answer.status, answer.read(_ANSWER_BYTES_MAX)
        finally:
            connection.close()

    def end(self) -> None:
        """Have a thread that still waits for the issuer end: threads are few, and the node needs them."""
        self._is_over = True
        if self._socket is not None:
            with suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)
