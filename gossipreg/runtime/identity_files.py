"""Identity files: the authorities that a node trusts, its certificate, and revocations, as its files hold them now."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from gossipreg import limits
from gossipreg.authority import (
    CERTIFICATE,
    DELEGATION,
    NODE_KEY,
    REVOCATION,
    Authority,
    decode,
    decode_authority,
    decode_key,
    is_public,
    lines_of,
)
from gossipreg.certificate import Certificate
from gossipreg.config import Config
from gossipreg.delegation import Delegation
from gossipreg.errors import ConfigError, InvalidCertificate, UnsafeFile
from gossipreg.protocol.identity.authenticator import Authenticator, IdentityMode, Signer
from gossipreg.protocol.identity.certificate_verifier import CertificateVerifier
from gossipreg.revocation import Revocation
from gossipreg.runtime.files import read_file
from gossipreg.signatures import SigningKey
from gossipreg.values import frozen

if TYPE_CHECKING:
    from gossipreg.join_tokens import Issuer


@frozen
class IdentityFiles:
    """What a node's files say of its identity."""

    mode: IdentityMode
    authorities: tuple[Authority, ...] = ()
    revocations: tuple[Revocation, ...] = ()
    signer: Signer | None = None
    issuer: Issuer | None = None

    @classmethod
    def of(cls, config: Config) -> IdentityFiles:
        """Read the files that ``config`` names. Raises ``ConfigError``, naming the file."""
        if config.authority_file is None or config.identity == "off":
            return cls(IdentityMode.OFF)
        mode = IdentityMode.REQUIRE if config.identity == "require" else IdentityMode.PREFER
        authorities, revocations = read_authorities("authority_file", config.authority_file, config.cluster)
        signer = _read_signer(config, authorities)
        if signer is None and mode is IdentityMode.REQUIRE:
            raise ConfigError(
                "identity: require is given without identity_cert: the others would not believe this node"
            )
        return cls(mode, authorities, revocations, signer, _read_issuer(config, authorities))

    def authenticator(self, cluster: str) -> Authenticator:
        """What signs and verifies by these files."""
        return Authenticator(CertificateVerifier(cluster, self.authorities), self.mode, self.signer)

    def check_name(self, config: Config, name: str) -> None:
        """Raise ``ConfigError`` if the certificate is not for a node of that name, or not for its zone.

        Also if the issuer's key is that of another agent.
        """
        if self.issuer is not None and self.issuer.delegation.agent != name:
            raise ConfigError(
                f"issuer_key_file {config.issuer_key_file}: its delegation is for the agent "
                f"{self.issuer.delegation.agent}, not for {name}"
            )
        if self.signer is None:
            return
        certificate, where = self.signer.certificate, f"identity_cert {config.identity_cert}"
        if not certificate.allows("names", name):
            raise ConfigError(f"{where}: it is for {', '.join(certificate.names)}, not for {name}")
        if config.zone and not certificate.allows("zones", config.zone):
            raise ConfigError(f"{where}: it does not allow zone {config.zone}")


def read_authorities(
    setting: str, path: Path, cluster: str | None
) -> tuple[tuple[Authority, ...], tuple[Revocation, ...]]:
    """The authorities in a file, the issuers that they have delegated to, and their revocations.

    ``setting``: what names the file. ``cluster``: which cluster they must be of; None: any one. Raises ``ConfigError``.
    """
    where = f"{setting} {path}"
    authorities, revocations, delegations = [], [], []
    for line in documents_in(setting, path):
        kind = line.partition(" ")[0]
        if kind == REVOCATION:
            revocations.append(Revocation.read(decode(REVOCATION, line, where=where)))
        elif kind == DELEGATION:
            delegations.append(Delegation.read(decode(DELEGATION, line, where=where)))
        else:
            authorities.append(decode_authority(line, where=where))
    if not authorities or len(authorities) + len(delegations) > limits.AUTHORITIES_MAX:
        raise ConfigError(f"{where}: {len(authorities)} authorities are not 1 to {limits.AUTHORITIES_MAX}")
    for each in authorities:
        if each.cluster != (authorities[0].cluster if cluster is None else cluster):
            raise ConfigError(f"{where}: authority {each.id} is that of cluster {each.cluster}, not of {cluster}")
    documents: list[Revocation | Delegation] = [*revocations, *delegations]
    for document in documents:
        if not any(document.is_signed_by(each.public) for each in authorities):
            noun = "delegation" if isinstance(document, Delegation) else "revocation of"
            raise ConfigError(f"{where}: the {noun} {document.serial_text} is of none of its authorities")
    issuers = [Authority(each.cluster, each.public, each) for each in delegations]
    _check_ids((*authorities, *issuers), where)
    return (*authorities, *issuers), tuple(revocations)


def _check_ids(authorities: Iterable[Authority], where: str) -> None:
    """Raise ``ConfigError`` for an id that is that of two keys, or of an authority and an issuer.

    A certificate names its signer by this id, and a revocation of the issuer would be one of the authority. An id is
    short: a key that has an authority's can be searched for, and a delegation asked for it.
    """
    by_id: dict[str, Authority] = {}
    for each in authorities:
        other = by_id.setdefault(each.id, each)
        if other.public != each.public or (other.delegation is None) != (each.delegation is None):
            raise ConfigError(f"{where}: the id {each.id} is that of two: make another key for the issuer")


def _read_signer(config: Config, authorities: tuple[Authority, ...]) -> Signer | None:
    if config.identity_cert is None or config.identity_key is None:
        return None
    where = f"identity_cert {config.identity_cert}"
    try:
        certificate = Certificate.read(
            decode(CERTIFICATE, document_in("identity_cert", config.identity_cert), where=where)
        )
    except InvalidCertificate as error:
        raise error if str(error).startswith(where) else InvalidCertificate(f"{where}: {error}") from None
    line = document_in("identity_key", config.identity_key, secret=True)
    key = SigningKey(decode_key(NODE_KEY, line, where=f"identity_key {config.identity_key}"))
    if key.public != certificate.public:
        raise ConfigError(f"{where}: it is for another key than that in identity_key {config.identity_key}")
    by = next((each for each in authorities if certificate.is_signed_by(each.public)), None)
    if certificate.cluster != config.cluster or by is None:
        raise ConfigError(f"{where}: none of the authorities in {config.authority_file} has signed it for this cluster")
    excess = None if by.delegation is None else by.delegation.excess_of(certificate)
    if excess is not None:
        raise ConfigError(f"{where}: its issuer may not sign {excess}")
    return Signer(key, certificate)


def _read_issuer(config: Config, authorities: tuple[Authority, ...]) -> Issuer | None:
    path = config.issuer_key_file
    if path is None:
        return None
    from gossipreg.join_tokens import Issuer  # few agents are issuers

    where = f"issuer_key_file {path}"
    key = SigningKey(decode_key(NODE_KEY, document_in("issuer_key_file", path, secret=True), where=where))
    for each in authorities:
        if each.delegation is not None and each.public == key.public:
            return Issuer(key, each.delegation)
    raise ConfigError(f"{where}: {config.authority_file} has no delegation for its key: add the line of `ca delegate`")


def document_in(setting: str, path: Path, *, secret: bool = False) -> str:
    """The one document in a file. Raises ``ConfigError``, naming the ``setting``."""
    lines = documents_in(setting, path, secret=secret)
    if len(lines) != 1:
        raise ConfigError(f"{setting} {path}: it holds {len(lines)} documents, not one")
    return lines[0]


def documents_in(setting: str, path: Path, *, secret: bool = False) -> list[str]:
    """The documents in a file. One that says what to trust may be changed by this user and root only."""
    try:
        read = read_file(path)
        is_secret = secret and not is_public(read.content)  # else it is another file than is meant
        read.check_secret() if is_secret else read.check_trusted()
        return lines_of(read.content.decode("ascii"))
    except UnsafeFile as unsafe:
        raise UnsafeFile(f"{setting}: {unsafe}") from None
    except OSError as error:
        raise ConfigError(f"{setting}: cannot read {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{setting}: {path} is no file that gossipreg ca has written") from None
