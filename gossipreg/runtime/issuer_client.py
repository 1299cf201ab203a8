"""Issuer client: asks issuers for a certificate over HTTP, and looks at what they give.

What is sent opens nothing, and what is accepted is signed by an authority that this node trusts. So the connection
needs no protection of its own: the certificate of an issuer's HTTPS is not verified (docs/decisions/0088).
"""

from __future__ import annotations

import json
import ssl
from collections.abc import Awaitable, Callable
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Any, Final

import trio

from gossipreg import limits
from gossipreg.authority import CERTIFICATE, Authority, decode
from gossipreg.certificate import Certificate
from gossipreg.errors import CertificateRefused, GossipregError, InvalidCertificate
from gossipreg.federation import AgentPlace
from gossipreg.json_documents import read_json

#: How long an issuer may take for one step of the exchange (seconds).
_PATIENCE: Final = 10.0

#: Largest answer that is read (bytes).
_ANSWER_BYTES_MAX: Final = 8 * limits.CERTIFICATE_REQUEST_CHARACTERS_MAX

_REFUSED: Final = CertificateRefused.code

#: Sends a request to an issuer, and returns the status and the body of its answer. Raises ``OSError``.
Post = Callable[[AgentPlace, bytes], Awaitable[tuple[int, bytes]]]


class IssuerUnavailable(GossipregError):
    """No issuer has answered a request with a certificate, or with a refusal that is final."""


async def ask(issuers: tuple[str, ...], line: str, post: Post | None = None) -> Certificate:
    """The certificate that the first issuer gives which can; that it may be used is for `check_given`.

    Raises ``CertificateRefused``, and ``IssuerUnavailable`` where asking again may help.
    """
    failures = []
    for issuer in issuers:
        place = AgentPlace.parse(issuer)
        try:
            return await _ask_one(place, line, post or _post)
        except IssuerUnavailable as error:
            failures.append(f"{place}: {error}")
    raise IssuerUnavailable("; ".join(failures))


async def _ask_one(place: AgentPlace, line: str, post: Post) -> Certificate:
    body = json.dumps({"request": line}).encode()
    try:
        status, answer = await post(place, body)
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
    if code == _REFUSED:
        raise CertificateRefused(sentence)
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
    return await trio.to_thread.run_sync(_exchange, place, body, abandon_on_cancel=True)


def _exchange(place: AgentPlace, body: bytes) -> tuple[int, bytes]:
    host, port = place.address
    if place.is_tls:
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        connection: HTTPConnection = HTTPSConnection(host, port, timeout=_PATIENCE, context=context)
    else:
        connection = HTTPConnection(host, port, timeout=_PATIENCE)
    try:
        connection.request("POST", "/api/v1/certificates", body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        return answer.status, answer.read(_ANSWER_BYTES_MAX)
    finally:
        connection.close()
