"""Identity files: the authorities that a node trusts, its certificate, and revocations, as its files hold them now."""

from __future__ import annotations

from pathlib import Path

from gossipreg import limits
from gossipreg.authority import (
    CERTIFICATE,
    NODE_KEY,
    REVOCATION,
    Authority,
    decode,
    decode_authority,
    decode_key,
    lines_of,
)
from gossipreg.certificate import Certificate, Revocation
from gossipreg.config import Config
from gossipreg.errors import ConfigError, InvalidCertificate, UnsafeFile
from gossipreg.protocol.identity.authenticator import Authenticator, IdentityMode, Signer
from gossipreg.runtime.files import read_file
from gossipreg.signatures import SigningKey
from gossipreg.values import frozen


@frozen
class IdentityFiles:
    """What a node's files say of its identity."""

    mode: IdentityMode
    authorities: tuple[Authority, ...] = ()
    revocations: tuple[Revocation, ...] = ()
    signer: Signer | None = None

    @classmethod
    def of(cls, config: Config) -> IdentityFiles:
        """Read the files that ``config`` names. Raises ``ConfigError``, naming the file."""
        if config.authority_file is None or config.identity == "off":
            return cls(IdentityMode.OFF)
        mode = IdentityMode.REQUIRE if config.identity == "require" else IdentityMode.PREFER
        authorities, revocations = _read_authorities(config.authority_file, config.cluster)
        signer = _read_signer(config, authorities)
        if signer is None and mode is IdentityMode.REQUIRE:
            raise ConfigError(
                "identity: require is given without identity_cert: the others would not believe this node"
            )
        return cls(mode, authorities, revocations, signer)

    def authenticator(self, cluster: str) -> Authenticator:
        """What signs and verifies by these files."""
        return Authenticator(cluster, self.mode, self.signer, self.authorities)

    def check_name(self, config: Config, name: str) -> None:
        """Raise ``ConfigError`` if the certificate is not for a node of that name, or not for its zone."""
        if self.signer is None:
            return
        certificate, where = self.signer.certificate, f"identity_cert {config.identity_cert}"
        if not certificate.allows("names", name):
            raise ConfigError(f"{where}: it is for {', '.join(certificate.names)}, not for {name}")
        if config.zone and not certificate.allows("zones", config.zone):
            raise ConfigError(f"{where}: it does not allow zone {config.zone}")


def _read_authorities(path: Path, cluster: str) -> tuple[tuple[Authority, ...], tuple[Revocation, ...]]:
    where = f"authority_file {path}"
    authorities, revocations = [], []
    for line in _lines("authority_file", path):
        if line.partition(" ")[0] == REVOCATION:
            revocations.append(Revocation.read(decode(REVOCATION, line, where=where)))
        else:
            authorities.append(decode_authority(line, where=where))
    if not 1 <= len(authorities) <= limits.AUTHORITIES_MAX:
        raise ConfigError(f"{where}: {len(authorities)} authorities are not 1 to {limits.AUTHORITIES_MAX}")
    for each in authorities:
        if each.cluster != cluster:
            raise ConfigError(f"{where}: authority {each.id} is that of cluster {each.cluster}, not of {cluster}")
    for revocation in revocations:
        if not any(revocation.is_signed_by(each.public) for each in authorities):
            raise ConfigError(f"{where}: the revocation of {revocation.serial_text} is of none of its authorities")
    return tuple(authorities), tuple(revocations)


def _read_signer(config: Config, authorities: tuple[Authority, ...]) -> Signer | None:
    if config.identity_cert is None or config.identity_key is None:
        return None
    where = f"identity_cert {config.identity_cert}"
    try:
        certificate = Certificate.read(decode(CERTIFICATE, _one("identity_cert", config.identity_cert), where=where))
    except InvalidCertificate as error:
        raise error if str(error).startswith(where) else InvalidCertificate(f"{where}: {error}") from None
    line = _one("identity_key", config.identity_key, secret=True)
    key = SigningKey(decode_key(NODE_KEY, line, where=f"identity_key {config.identity_key}"))
    if key.public != certificate.public:
        raise ConfigError(f"{where}: it is for another key than that in identity_key {config.identity_key}")
    if certificate.cluster != config.cluster or not any(certificate.is_signed_by(each.public) for each in authorities):
        raise ConfigError(f"{where}: none of the authorities in {config.authority_file} has signed it for this cluster")
    return Signer(key, certificate)


def _one(setting: str, path: Path, *, secret: bool = False) -> str:
    lines = _lines(setting, path, secret=secret)
    if len(lines) != 1:
        raise ConfigError(f"{setting} {path}: it holds {len(lines)} documents, not one")
    return lines[0]


def _lines(setting: str, path: Path, *, secret: bool = False) -> list[str]:
    """The documents in a file. One that says what to trust may be changed by this user and root only."""
    try:
        read = read_file(path)
        read.check_secret() if secret else read.check_trusted()
        return lines_of(read.content.decode("ascii"))
    except UnsafeFile as unsafe:
        raise UnsafeFile(f"{setting}: {unsafe}") from None
    except OSError as error:
        raise ConfigError(f"{setting}: cannot read {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{setting}: {path} is no file that gossipreg ca has written") from None
