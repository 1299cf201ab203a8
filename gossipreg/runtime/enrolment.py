"""Enrolment: how a node without a certificate gets its first one at its start, by a join token."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Final

import trio

from gossipreg import limits
from gossipreg.authority import CERTIFICATE, NODE_KEY, decode_key, encode, new_node_key
from gossipreg.certificate import Certificate
from gossipreg.config import Config
from gossipreg.errors import CertificateRefused, ConfigError
from gossipreg.join_tokens import JoinToken, request_by_token
from gossipreg.runtime.files import MAKE
from gossipreg.runtime.identity_files import document_in, documents_in, read_authorities
from gossipreg.runtime.issuer_client import IssuerUnavailable, Post, ask, check_given
from gossipreg.signatures import SigningKey

log = logging.getLogger(__name__)

#: How long a node waits before it asks again where no issuer has answered (seconds): doubled each time.
_RETRY_SECONDS: Final = 1.0
_RETRY_SECONDS_MAX: Final = 30.0


def read_tokens(config: Config) -> tuple[JoinToken, ...]:
    """The join tokens in the file. Raises ``ConfigError``, naming it."""
    assert config.join_token_file is not None, "it is asked for"
    where = f"join_token_file {config.join_token_file}"
    lines = documents_in("join_token_file", config.join_token_file, secret=True)
    if not 1 <= len(lines) <= limits.JOIN_TOKENS_MAX:
        raise ConfigError(f"{where}: {len(lines)} join tokens are not 1 to {limits.JOIN_TOKENS_MAX}, one a line")
    tokens = tuple(JoinToken.decoded(line, where=where) for line in lines)
    for token in tokens:
        if token.cluster != config.cluster:
            raise ConfigError(f"{where}: it is for cluster {token.cluster}, not for {config.cluster}")
    return tokens


async def enrol(
    config: Config, name: str, rng: Random, *, post: Post | None = None, wall: Callable[[], float] = time.time
) -> None:
    """Make this node's key, unless it has one, and get a certificate for it; both are files then.

    Waits for issuers that do not answer until the tokens expire, also where others refuse. Raises ``ConfigError`` for
    files that cannot be used, and ``CertificateRefused`` when no token is left that may be asked with.
    """
    assert config.identity_cert is not None, "the settings go together"
    assert config.identity_key is not None, "the settings go together"
    assert config.authority_file is not None, "the settings go together"
    tokens = read_tokens(config)
    authorities, _ = read_authorities("authority_file", config.authority_file, config.cluster)
    key = await trio.to_thread.run_sync(_own_key, config.identity_key)

    def check(given: Certificate) -> None:
        check_given(given, key.public, name, authorities, wall())

    wait = _RETRY_SECONDS
    why = ""
    while True:
        left = []
        for token in tokens:
            if wall() >= token.expires:
                why = "the join token has expired: make another with `gossipreg ca token`"
                continue
            try:
                certificate = await ask(config.issuers, request_by_token(token, key, name, wall()), check, post)
            except CertificateRefused as error:
                why = str(error)
            except IssuerUnavailable as error:
                log.warning("no issuer has given this node a certificate yet: %s", error)
                left.append(token)
            else:
                await write_certificate(config.identity_cert, certificate)
                log.info(
                    "certificate %s for %s was given, and is in %s", certificate.serial_text, name, config.identity_cert
                )
                return
        if not left:
            raise CertificateRefused(f"join_token_file {config.join_token_file}: {why}")
        tokens = tuple(left)
        await trio.sleep(wait * rng.uniform(0.75, 1.25))
        wait = min(2 * wait, _RETRY_SECONDS_MAX)


async def write_certificate(path: Path, certificate: Certificate) -> None:
    """Replace the file of this node's certificate, wholly or not at all. Raises ``ConfigError``."""
    await trio.to_thread.run_sync(_write, path, encode(CERTIFICATE, certificate.data), 0o644)


def _own_key(path: Path) -> SigningKey:
    """The node's key in its file; a new one if there is none."""
    if not path.exists():
        _write(path, encode(NODE_KEY, new_node_key().secret), 0o600)
    line = document_in("identity_key", path, secret=True)
    return SigningKey(decode_key(NODE_KEY, line, where=f"identity_key {path}"))


def _write(path: Path, line: str, mode: int) -> None:
    new = path.with_name(f"{path.name}.new")
    try:
        new.unlink(missing_ok=True)
        with os.fdopen(os.open(new, MAKE, mode), "w") as file:
            file.write(line + "\n")
            file.flush()
            os.fsync(file.fileno())
        new.rename(path)
    except OSError as error:
        raise ConfigError(f"cannot write {path}: {error.strerror}: its directory has to be this user's") from None
