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
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from contextvars import ContextVar
from pathlib import Path
from typing import Any, Final, Self

import attrs

from gossipreg.errors import ConfigError
from gossipreg.frontends.serving import limits
from gossipreg.frontends.serving.response import HttpError
from gossipreg.frontends.serving.scopes import Action, Grant, Scope
from gossipreg.limits import CLUSTER_TOKENS_MAX, TOKEN_SCOPES_MAX
from gossipreg.model import is_name
from gossipreg.runtime.files import read_toml
from gossipreg.tokens import ClusterToken
from gossipreg.values import frozen

_TOKEN: Final = re.compile(r"[!-~]+")
_DIGEST: Final = re.compile(r"[0-9a-fA-F]{64}")
_FIELDS: Final = ("name", "token", "token_sha256", "certificate", "scopes")
#: What tokens of the cluster are accepted for by default. Every member could do the same by gossip, but not read
#: credentials or have an agent contact other hosts.
CLUSTER_SCOPES: Final = frozenset({Scope.READ, Scope.WRITE, Scope.POLICY, Scope.OPERATOR})

#: Actions of which `ScopedNode` looks at each change, so that a token may be for some services only.
_WATCHED: Final = frozenset(
    {Action.REGISTER, Action.REPORT_HEALTH, Action.SET_MAINTENANCE, Action.SET_POLICY, Action.READ_CREDENTIALS}
    | {Action.FOLLOW}  # whose handler shows no other services
)

_CHALLENGE: Final = ((b"www-authenticate", b'Bearer realm="gossipreg"'),)


@frozen
class Token:
    """One token: whose it is, its SHA-256, and what it is for."""

    name: str
    digest: bytes = attrs.field(repr=False)
    scopes: frozenset[Scope]  # for every service
    bound: tuple[Grant, ...] = ()  # what it is for of some services only
    expires: float | None = None  # seconds since the epoch; None: it does not

    @classmethod
    def of(cls, name: str, digest: bytes, grants: Iterable[Grant], expires: float | None = None) -> Self:
        """A token with these grants."""
        grants = tuple(grants)
        scopes = frozenset(each.scope for each in grants if each.services == "*")
        return cls(name, digest, scopes, tuple(each for each in grants if each.scope not in scopes), expires)

    @property
    def grants(self) -> tuple[Grant, ...]:
        """What it is for, sorted."""
        return tuple(sorted((*map(Grant, self.scopes), *self.bound), key=str))

    def has(self, scope: Scope, service: str | None = None) -> bool:
        """Whether it is for ``scope`` of ``service``; without one, of every service."""
        if scope in self.scopes:
            return True
        return service is not None and any(each.scope is scope and each.is_for(service) for each in self.bound)

    def has_part_of(self, scope: Scope) -> bool:
        """Whether it is for ``scope`` of some services only."""
        return any(each.scope is scope for each in self.bound)

    def covers(self, grant: Grant) -> bool:
        """Whether it is for all that ``grant`` is for."""
        return any(each.covers(grant) for each in self.grants)


#: The token of the request that this task answers, if it is for some services only and `ScopedNode` watches over it.
bound_token: Final[ContextVar[Token | None]] = ContextVar("bound_token", default=None)


@attrs.define(eq=False, repr=False)
class Access:
    """The tokens of a listener. Where there are none, every client may do everything but what `_withhold` says.

    Besides those of its file it accepts the cluster's, for the scopes in ``cluster_scopes``: every member can state
    such tokens, so they give nothing that a member has not anyway.
    """

    tokens: tuple[Token, ...] = ()
    _file: Path | None = None
    is_exposed: bool = False  # whether clients of other machines can reach the listener
    cluster_scopes: frozenset[Scope] = CLUSTER_SCOPES
    _cluster: Callable[[bytes], Iterable[ClusterToken]] = attrs.field(init=False, default=lambda _: ())
    _known: dict[ClusterToken, Token] = attrs.field(init=False, factory=dict)

    @classmethod
    def from_file(cls, file: Path, cluster_scopes: Iterable[Scope] = CLUSTER_SCOPES) -> Access:
        """The tokens in a TOML file. Raises ``ConfigError``, naming the file and what is wrong with it."""
        return cls(tuple(_read(file)), file, cluster_scopes=frozenset(cluster_scopes))

    def follow(self, find: Callable[[bytes], Iterable[ClusterToken]]) -> None:
        """Accept the cluster's tokens, too, where tokens are asked for. ``find`` gives those with a SHA-256."""
        self._cluster = find

    def reload(self) -> None:
        """Read the file again, if there is one. Raises ``ConfigError``; the tokens are then those there were."""
        if self._file is not None:
            self.tokens = tuple(_read(self._file))

    @property
    def is_open(self) -> bool:
        """Whether no token is asked for."""
        return self._file is None and not self.tokens

    def permit(self, token: str | None, action: Action, service: str | None = None) -> None:
        """Raise an ``HttpError`` unless ``token`` may be used for ``action``.

        ``service`` is the one service that is shown by the action; None: there may be others. What changes something
        passes for a token that is for some services only: `ScopedNode` then looks at each change.
        """
        if action.scope is None:
            return
        if action.also is not None and not self.is_open:
            found = None if token is None else self.find(token)
            if found is not None and found.has(action.also):
                return
        self.check(token, action.scope, service, is_watched=service is None and action in _WATCHED)

    def allows(self, token: str | None, action: Action) -> bool:
        """Whether ``token`` may be used for ``action``."""
        try:
            self.permit(token, action)
        except HttpError:
            return False
        return True

    def check(self, token: str | None, scope: Scope, service: str | None = None, *, is_watched: bool = False) -> None:
        """Raise an ``HttpError`` unless ``token`` has ``scope``: 401 without a known token, else 403."""
        if self._file is None and not self.tokens:  # `is_open`, on the way of every request
            self._withhold(scope)
            return
        if token is None:
            raise HttpError(401, "this agent asks for a token: send it as Authorization: Bearer TOKEN", _CHALLENGE)
        found = self.find(token)
        if found is None:
            raise HttpError(401, "this token is not one of this agent's: ask who runs it for one", _CHALLENGE)
        if found.has(scope, service) or (is_watched and found.has_part_of(scope) and bound_token.get() == found):
            return
        raise forbidden(found, scope, service)

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

    def grants(self, token: str | None) -> tuple[str, ...]:
        """What ``token`` is for, sorted; where no token is asked for, what is for every client."""
        if self.is_open:
            withheld = {Scope.CREDENTIALS, Scope.CHECKS} if self.is_exposed else {Scope.CREDENTIALS}
            return tuple(sorted(frozenset(Scope) - withheld))
        found = None if token is None else self.find(token)
        return () if found is None else tuple(map(str, found.grants))

    def exported(self, token: str | None) -> tuple[str, ...]:
        """The patterns of the services that ``token`` shows to agents of another region."""
        found = None if token is None else self.find(token)
        if found is None or Scope.FEDERATE in found.scopes:
            return ("*",) if self.is_open or found is not None else ()
        return tuple(each.services for each in found.bound if each.scope is Scope.FEDERATE)

    def holder(self, token: str | None) -> str | None:
        """The name of a token, for the log; None if it is unknown."""
        found = None if token is None else self.find(token)
        return None if found is None else found.name

    def find(self, token: str) -> Token | None:
        """The token that is accepted here, if it is one: of the file, or of the cluster and not expired."""
        digest = _digest_of(token)
        found = None
        for each in self.tokens:
            if hmac.compare_digest(each.digest, digest):
                found = each
        if found is not None or self._file is None or token.startswith(_CERTIFICATE):
            return found
        return next(filter(None, map(self._of_cluster, self._cluster(digest))), None)

    def _of_cluster(self, stated: ClusterToken) -> Token | None:
        """What a token of the cluster is accepted for here; None if for nothing."""
        if stated.expires is not None and stated.expires <= time.time():
            return None
        if any(each.name == stated.name for each in self.tokens):  # the log could not tell them apart
            return None
        token = self._known.get(stated)
        if token is None:
            grants = []
            for text in stated.scopes:
                with suppress(ValueError):  # a scope of a later release
                    grants.append(Grant.read(text))
            accepted = [each for each in grants if each.scope in self.cluster_scopes]
            if len(self._known) >= CLUSTER_TOKENS_MAX:
                self._known.clear()
            token = self._known[stated] = Token.of(stated.name, bytes.fromhex(stated.digest), accepted, stated.expires)
        return token if token.grants else None


def forbidden(token: Token, scope: Scope, service: str | None) -> HttpError:
    """The refusal of what a token is not for."""
    has = ", ".join(map(str, token.grants))
    what = str(scope) if service is None else f"{scope} of the service {service}"
    more = ""
    if service is None and token.has_part_of(scope):
        what, more = f"{scope} of all services", "; ask for one service by its name"
    return HttpError(403, f"the token {token.name!r} is for {has}: this needs one that is for {what}{more}")


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
    return Token.of(name, _digest(table, where), _grants(table.get("scopes"), where))


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


def _grants(value: Any, where: str) -> Iterator[Grant]:
    if not isinstance(value, list) or not value:
        raise ConfigError(f"{where}.scopes: list at least one of {', '.join(Scope)}")
    if len(value) > TOKEN_SCOPES_MAX:
        raise ConfigError(f"{where}.scopes: {len(value)} are too many: {TOKEN_SCOPES_MAX} is the limit")
    for each in value:
        try:
            yield Grant.read(each)
        except ValueError as error:
            raise ConfigError(f"{where}.scopes: {each!r:.80} {error}") from None
