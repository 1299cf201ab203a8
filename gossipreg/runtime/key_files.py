"""Key files: the keys of a node, as its configuration gives them and as its key files hold them now."""

from __future__ import annotations

from pathlib import Path

import attrs

from gossipreg import limits
from gossipreg.authority import is_public
from gossipreg.config import Config
from gossipreg.errors import ConfigError, UnsafeFile
from gossipreg.key_format import parse_key
from gossipreg.protocol.registry.credentials import CredentialKeyring
from gossipreg.runtime.files import read_file
from gossipreg.runtime.identity_files import IdentityFiles
from gossipreg.values import frozen


@frozen
class NodeKeys:
    """The keys of a node: those of its gossip, the primary one first, those of credentials, and its identity."""

    gossip: tuple[bytes, ...] = attrs.field(repr=False)  # none: the node speaks in clear
    credentials: CredentialKeyring
    identity: IdentityFiles

    @classmethod
    def of(cls, config: Config) -> NodeKeys:
        """Read the keys that ``config`` gives, from its files if it names some. Raises ``ConfigError``."""
        gossip = _keys_of("key", config.key, config.key_file, limits.GOSSIP_KEYS_MAX)
        credentials = _keys_of(
            "credential_key", config.credential_key, config.credential_key_file, limits.CREDENTIAL_KEYS_MAX
        )
        if set(gossip) & set(credentials):
            file = config.credential_key_file
            where = "credential_key" if file is None else f"credential_key_file {file}"
            raise ConfigError(
                f"{where}: it holds the key of the gossip, which all members have: "
                "make another with `gossipreg keygen --out FILE`"
            )
        return cls(gossip, CredentialKeyring(config.cluster, credentials), IdentityFiles.of(config))


def read_key_file(setting: str, path: Path, most: int, *, of_agent: bool = False) -> tuple[bytes, ...]:
    """The keys in a file: one a line, in base64. Empty lines, and lines that begin with ``#``, are skipped.

    ``setting`` is the name of the setting that names the file, ``most`` the largest number of keys; ``of_agent``: an
    agent of this host reads the file, too, so root may let that one's group read it. Raises ``ConfigError`` that quotes
    no key, and ``UnsafeFile`` if other users can read or replace the file.
    """
    where = f"{setting} {path}"
    text = _text_of(setting, path, of_agent=of_agent)
    lines = [line for line in map(str.strip, text.splitlines()) if line and not line.startswith("#")]
    if not 1 <= len(lines) <= most:
        raise ConfigError(f"{where}: {len(lines)} keys are not 1 to {most}, one a line")
    keys = tuple(parse_key(line, where=where) for line in lines)
    if len(set(keys)) < len(keys):
        raise ConfigError(f"{where}: a key is there twice: remove one of the lines")
    return keys


def _keys_of(setting: str, text: str | None, file: Path | None, most: int) -> tuple[bytes, ...]:
    if text is not None:
        return (parse_key(text, where=setting),)
    return () if file is None else read_key_file(f"{setting}_file", file, most)


def _text_of(setting: str, path: Path, *, of_agent: bool) -> str:
    try:
        read = read_file(path)
        if not is_public(read.content):  # else it is another file than is meant, and holds no key
            read.check_secret(of_agent=of_agent)
        return read.content.decode("ascii")
    except UnsafeFile as unsafe:
        raise UnsafeFile(f"{setting}: {unsafe}") from None
    except OSError as error:
        raise ConfigError(f"{setting}: cannot read {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{setting}: {path} holds no key: make one with `gossipreg keygen --out FILE`") from None
