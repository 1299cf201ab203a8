"""Identities as users see them: the certificate of each member, what was revoked, and which hosts were refused."""

from __future__ import annotations

from collections.abc import Mapping

from gossipreg.values import frozen


@frozen
class MemberIdentity:
    """What one member proves of itself, as this node knows it."""

    name: str
    present: bool  # whether it is alive or suspect
    certificate: str | None  # its serial number (16 hexadecimal digits); None: it signs nothing
    authority: str | None  # the id of the authority that has signed its certificate
    until: float | None  # when its certificate ends (seconds since the epoch)
    ready: bool  # whether a node that requires identity believes it


@frozen
class ExposedCredentials:
    """The credentials of one instance that a holder of the credential key could read."""

    owner: str
    service: str
    id: str


@frozen
class RevokedCertificate:
    """A certificate that the cluster knows to be revoked."""

    certificate: str  # its serial number (16 hexadecimal digits)
    names: tuple[str, ...]  # whom it named
    at: float  # when the authority has revoked it (seconds since the epoch)
    #: What was registered when this node learned of it, and has not been sealed anew since: to be replaced, if the
    #: holder had the credential key.
    exposed: tuple[ExposedCredentials, ...]


@frozen
class IdentityReport:
    """What a node knows of the identities in its cluster."""

    mode: str  # off, prefer or require
    until: float | None  # when this node's own certificate ends (seconds since the epoch); None: it has none
    members: tuple[MemberIdentity, ...]  # sorted by name
    revoked: tuple[RevokedCertificate, ...]  # the latest first
    refused: Mapping[str, int]  # statements and packets refused, by the host that they came from
    #: The keys of the policies and statements in force that a node which requires identity would not believe.
    unsigned_policies: tuple[str, ...] = ()
