"""Delegations: what an issuer may sign certificates for in the place of a cluster's authority."""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import ClassVar

from gossipreg.certificate import ISSUED_BACK_SECONDS, KEY_READERS, LIMIT_READERS, Certificate, Permit
from gossipreg.signed_document import read_name, read_time
from gossipreg.values import frozen


@frozen
class Delegation(Permit):
    """What one agent, the *issuer*, may sign certificates for with its key (docs/decisions/0088).

    A certificate that the issuer has signed counts as far as it is within the delegation: a part of its patterns, none
    but its grants, and no longer than ``lifetime`` or its own end.
    """

    noun: ClassVar = "delegation"
    readers: ClassVar = {**KEY_READERS, "agent": read_name, **LIMIT_READERS, "lifetime": read_time}

    agent: str  # the member that holds the key: the only one that counts how often a join token is used
    lifetime: int  # of a certificate (seconds)

    def excess_of(self, certificate: Certificate) -> str | None:
        """What of a ``certificate`` that the issuer has signed is beyond this delegation, in words; None: nothing."""
        if certificate.cluster != self.cluster:
            return f"cluster {certificate.cluster}"
        for what in ("names", "zones", "services", "roles"):
            beyond = beyond_patterns(getattr(certificate, what), getattr(self, what))
            if beyond is not None:
                return f"{what} {beyond}"
        for grant in certificate.grants:
            if grant not in self.grants:
                return f"grant {grant}"
        # A renewal reaches back a little, so that clocks may differ; that is no part of how long it lasts.
        lasts = certificate.not_after - certificate.not_before - ISSUED_BACK_SECONDS
        if lasts > self.lifetime:
            return f"{lasts} s of time, where {self.lifetime} are allowed"
        if certificate.not_before < self.not_before - ISSUED_BACK_SECONDS or certificate.not_after > self.not_after:
            return "a time outside of its own"
        return None


def beyond_patterns(inner: Iterable[str], outer: Iterable[str]) -> str | None:
    """The first pattern of ``inner`` that may match what no pattern of ``outer`` matches; None if there is none.

    A ``*`` of an inner pattern has to be within what a ``*`` of an outer one stands for.
    """
    allowed = tuple(outer)
    return next((each for each in inner if not any(fnmatchcase(each, pattern) for pattern in allowed)), None)
