"""Renewal: a running node has an issuer renew its certificate before that ends, and goes on in its present run."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from random import Random
from typing import Final

import attrs
import trio

from gossipreg.certificate import ISSUED_BACK_SECONDS, Certificate
from gossipreg.config import Config
from gossipreg.counters import Count
from gossipreg.errors import CertificateRefused, ConfigError
from gossipreg.join_tokens import request_renewal
from gossipreg.protocol.identity.authenticator import IdentityMode, Signer
from gossipreg.runtime.enrolment import write_certificate
from gossipreg.runtime.issuer_client import IssuerUnavailable, Post, ask, check_given
from gossipreg.runtime.node_context import NodeContext
from gossipreg.runtime.node_identity import NodeIdentity

log = logging.getLogger(__name__)

#: The part of its life after which a certificate is renewed: drawn between the two, so that nodes which started
#: together do not ask together. A third of the life is left for issuers to come back.
_FROM: Final = 0.60
_TO: Final = 0.67

#: The wait after a renewal that failed: at first this part of the certificate's life, then doubled up to the other.
_FIRST_PART: Final = 1 / 1000
_LAST_PART: Final = 1 / 50

#: The shortest and the longest of these waits (seconds).
_WAIT_SECONDS_MIN: Final = 1.0
_WAIT_SECONDS_MAX: Final = 3600.0

#: How long the node sleeps at most before it looks again (seconds): files and the wall clock may have changed.
_LOOK_SECONDS: Final = 60.0


def life_of(certificate: Certificate) -> float:
    """For how long a certificate was given (seconds)."""
    return float(max(1, certificate.not_after - certificate.not_before - ISSUED_BACK_SECONDS))


def renewal_due(certificate: Certificate, part: float) -> float:
    """When to renew it (seconds since the epoch); ``part``: of its life, from 0 to 1."""
    return certificate.not_after - (1 - part) * life_of(certificate)


def wait_after(certificate: Certificate, failures: int) -> float:
    """How long to wait after as many ``failures`` in a row (seconds)."""
    life = life_of(certificate)
    most = min(max(_WAIT_SECONDS_MIN, life * _LAST_PART), _WAIT_SECONDS_MAX)
    return min(max(_WAIT_SECONDS_MIN, life * _FIRST_PART) * 2.0 ** min(failures - 1, 30), most)


@attrs.define(eq=False, repr=False)
class CertificateRenewal:
    """Renews the certificate of one running node."""

    _config: Config
    _context: NodeContext
    _identity: NodeIdentity
    _rng: Random
    _wall: Callable[[], float] = time.time
    _post: Post | None = None  # how issuers are asked; None: over HTTP
    _part: float = attrs.field(init=False, default=_FROM)
    _failures: int = attrs.field(init=False, default=0)
    _asked: int = attrs.field(init=False, default=0)  # how often: each time another of the issuers is the first

    async def run(self) -> None:
        """Until cancelled: renew the certificate each time that it is due."""
        if not self._config.issuers or self._identity.files.mode is IdentityMode.OFF:
            await trio.sleep_forever()
        self._part = self._rng.uniform(_FROM, _TO)
        while True:
            signer = self._identity.files.signer
            assert signer is not None, "issuers are given with a certificate"
            left = renewal_due(signer.certificate, self._part) - self._wall()
            if left > 0:
                await trio.sleep(min(left, _LOOK_SECONDS))
                continue
            try:
                await self._renew(signer)
            except (CertificateRefused, IssuerUnavailable, ConfigError) as error:
                self._failures += 1
                self._context.counters[Count.CERTIFICATE_RENEWALS_FAILED] += 1
                self._identity.renewal_problem = str(error)
                log.warning("the certificate in %s could not be renewed: %s", self._config.identity_cert, error)
                await trio.sleep(wait_after(signer.certificate, self._failures) * self._rng.uniform(0.75, 1.25))
            else:
                self._failures = 0
                self._identity.renewal_problem = ""
                self._part = self._rng.uniform(_FROM, _TO)
                self._context.counters[Count.CERTIFICATES_RENEWED] += 1

    async def _renew(self, signer: Signer) -> None:
        held = signer.certificate
        line = request_renewal(held, signer.key, self._wall())

        def check(given: Certificate) -> None:
            check_given(given, held.public, self._context.name, self._identity.files.authorities, self._wall())
            if given.not_after <= held.not_after:
                raise IssuerUnavailable("the issuer gives a certificate that lasts no longer: its delegation ends soon")

        issuers = self._config.issuers
        first = self._asked % len(issuers)
        self._asked += 1
        given = await ask((*issuers[first:], *issuers[:first]), line, check, self._post)
        assert self._config.identity_cert is not None, "a signer was read from it"
        await write_certificate(self._config.identity_cert, given)
        await self._identity.reread()
        log.info("the certificate in %s was renewed, in time", self._config.identity_cert)
