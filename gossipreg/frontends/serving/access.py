"""Access: the tokens of an HTTP listener, and the scopes of each.

A token is compared by its SHA-256 with every one that there is, each time in constant time: how long a refusal takes
reveals neither how much of a guess was right nor which token it was like. Nothing but the digests is kept, and those
are not shown either.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import attrs

from gossipreg.errors import ConfigError
from gossipreg.frontends.serving import limits
from gossipreg.frontends.serving.response import HttpError
from gossipreg.frontends.serving.scopes import Action, Scope
from gossipreg.model import is_name
from gossipreg.runtime.files import read_toml

_TOKEN: Final = re.compile(r"[!-~]+")
_DIGEST: Final = re.compile(r"[0-9a-fA-F]{64}")
_FIELDS: Final = ("name", "token", "token_sha256", "certificate", "scopes")
_CHALLENGE: Final = ((b"www-authenticate", b'Bearer realm="gossipreg"'),)


@attrs.frozen
class Token:
    """One token: whose it is, its SHA-256, and what it is for."""

    name: str
    digest: bytes = attrs.field(repr=False)
    scopes: frozenset[Scope]


@attrs.define(eq=False, repr=False)
class Access:
    """The tokens of a listener. Where there are none, every client may do everything but what `_withhold` says."""

    tokens: tuple[Token, ...] = ()
    _file: Path | None = None
    is_exposed: bool = False  # whether clients of other machines can reach the listener

    @classmethod
    def from_file(cls, file: Path) -> Access:
        """The tokens in a TOML file. Raises ``ConfigError``, naming the file and what is wrong with it."""
        return cls(tuple(_read(file)), file)

    def reload(self) -> None:
        """Read the file again, if there is one. Raises ``ConfigError``; the tokens are then those there were."""
        if self._file is not None:
            self.tokens = tuple(_read(self._file))

    @property
    def is_open(self) -> bool:
        """Whether no token is asked for."""
        return self._file is None and not self.tokens

    def permit(self, token: str | None, action: Action) -> None:
        """Raise an ``HttpError`` unless ``token`` may be used for ``action``."""
        if action.scope is not None:
            self.check(token, action.scope)

    def allows(self, token: str | None, action: Action) -> bool:
        """Whether ``token`` may be used for ``action``."""
        try:
            self.permit(token, action)
        except HttpError:
            return False
        return True

    def check(self, token: str | None, scope: Scope) -> None:
        """Raise an ``HttpError`` unless ``token`` has ``scope``: 401 without a known token, else 403."""
        if self._file is None and not self.tokens:  # `is_open`, on the way of every request
            self._withhold(scope)
            return
        if token is None:
            raise HttpError(401, "this agent asks for a token: send it as Authorization: Bearer TOKEN", _CHALLENGE)
        found = self._find(token)
        if found is None:
            raise HttpError(401, "this token is not one of this agent's: ask who runs it for one", _CHALLENGE)
        if scope not in found.scopes:
            has = ", ".join(sorted(found.scopes))
            raise HttpError(403, f"the token {found.name!r} is for {has}: this needs one that is for {scope}")

    def _withhold(self, scope: Scope) -> None:
        """Raise a ``HttpError`` for what is for no client that shows nothing."""
        if scope is Scope.CREDENTIALS:
            raise HttpError(403, "credentials are shown for a token only: start the agent with --tokens-file FILE")
        if scope is Scope.CHECKS and self.is_exposed:
            raise HttpError(
                403,
                "beyond this machine, checks of other hosts, and what checks find, are for a token only: "
                "start the agent with --tokens-file FILE",
            )

    def scopes(self, token: str | None) -> frozenset[Scope]:
        """What ``token`` is for; where no token is asked for, what is for every client."""
        if self.is_open:
            withheld = {Scope.CREDENTIALS, Scope.CHECKS} if self.is_exposed else {Scope.CREDENTIALS}
            return frozenset(Scope) - withheld
        found = None if token is None else self._find(token)
        return frozenset() if found is None else found.scopes

    def holder(self, token: str | None) -> str | None:
        """The name of a token, for the log; None if it is unknown."""
        found = None if token is None else self._find(token)
        return None if found is None else found.name

    def _find(self, token: str) -> Token | None:
        digest = _digest_of(token)
        found = None
        for each in self.tokens:
            if hmac.compare_digest(each.digest, digest):
                found = each
        return found


#: Before the names of certificates, so that none is like a token that a client could write in a header, a query or a
#: body: only this process knows it.
_CERTIFICATE: Final = secrets.token_urlsafe(32)


def token_of_certificate(name: str) -> str:
    """The token that a client shows by a certificate with that name. No client can write it."""
    return f"{_CERTIFICATE}:{name}"


def _digest_of(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()


def _read(file: Path) -> Iterator[Token]:
    document = read_toml(file, is_secret=_has_tokens_in_clear, trusted=True)
    for key in document:
        if key != "tokens":
            raise ConfigError(f"{file}: unknown key {key!r}: write a [[tokens]] for each token")
    tables = document.get("tokens")
    if not isinstance(tables, list) or not tables or not all(isinstance(each, dict) for each in tables):
        raise ConfigError(f"{file}: holds no token: write a [[tokens]] with name, token and scopes for each")
    if len(tables) > limits.TOKENS_MAX:
        raise ConfigError(f"{file}: {len(tables)} tokens are too many: {limits.TOKENS_MAX} is the limit")
    names: set[str] = set()
    digests: set[bytes] = set()
    for number, table in enumerate(tables):
        token = _token(table, f"{file}: tokens[{number}]")
        if token.name in names:
            raise ConfigError(f"{file}: two tokens are called {token.name!r}: give each a name of its own")
        if token.digest in digests:
            raise ConfigError(f"{file}: the token {token.name!r} is there under another name, too: make one for each")
        names.add(token.name)
        digests.add(token.digest)
        yield token


def _has_tokens_in_clear(document: Mapping[str, Any]) -> bool:
    """Whether the file must be hidden. Digests may be read: they open nothing."""
    tables = document.get("tokens")
    return isinstance(tables, list) and any("token" in table for table in tables if isinstance(table, dict))


def _token(table: Mapping[str, Any], where: str) -> Token:
    for key in table:
        if key not in _FIELDS:
            raise ConfigError(f"{where}: unknown key {key!r}: a token has {', '.join(_FIELDS)}")
    name = table.get("name")
    if not isinstance(name, str) or not is_name(name):
        raise ConfigError(
            f"{where}.name: {name!r:.80} is not a name: use 1 to 63 letters, digits and inner '.', '_', '-'"
        )
    return Token(name, _digest(table, where), frozenset(_scopes(table.get("scopes"), where)))


def _digest(table: Mapping[str, Any], where: str) -> bytes:
    """What the token is compared by. No sentence here quotes what was written: it may be a secret."""
    token, digest, certificate = table.get("token"), table.get("token_sha256"), table.get("certificate")
    if sum(each is not None for each in (token, digest, certificate)) != 1:
        raise ConfigError(f"{where}: give one of token, token_sha256 and certificate")
    if certificate is not None:
        if not isinstance(certificate, str) or not _TOKEN.fullmatch(certificate):
            raise ConfigError(
                f"{where}.certificate: is no name in a certificate: write its URI, DNS name or common name"
            )
        return _digest_of(token_of_certificate(certificate))
    if digest is not None:
        if not isinstance(digest, str) or not _DIGEST.fullmatch(digest):
            raise ConfigError(f"{where}.token_sha256: is not a SHA-256 in 64 hexadecimal digits")
        return bytes.fromhex(digest)
    low, high = limits.TOKEN_CHARS_MIN, limits.TOKEN_CHARS_MAX
    if not isinstance(token, str) or not _TOKEN.fullmatch(token) or not low <= len(token) <= high:
        raise ConfigError(
            f"{where}.token: is not {low} to {high} printable ASCII characters without a space: "
            "`gossipreg keygen` prints a good one"
        )
    return _digest_of(token)


def _scopes(value: Any, where: str) -> Iterator[Scope]:
    if not isinstance(value, list) or not value:
        raise ConfigError(f"{where}.scopes: list at least one of {', '.join(Scope)}")
    for each in value:
        try:
            yield Scope(each)
        except ValueError:
            raise ConfigError(f"{where}.scopes: {each!r} is none of {', '.join(Scope)}") from None
