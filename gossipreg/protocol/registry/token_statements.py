"""Token statements: which tokens of the HTTP API every agent of the cluster accepts.

Theory of operation (docs/decisions/0065). A statement is about one name and spreads as a policy does; of two about one
name the later counts. It holds the SHA-256 of the token, and never the token. A token that is revoked is a removal of
its statement, kept as those of policies are.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Final

import msgpack

from gossipreg import limits
from gossipreg.errors import InvalidToken
from gossipreg.protocol.registry.payload import BadPayload, contained
from gossipreg.tokens import ClusterToken
from gossipreg.values import frozen

#: What the keys of all statements begin with, in the table that holds policies.
_PREFIX: Final = "token:"

#: Most entries of a packed statement; a later release may add some.
_FIELDS_MAX: Final = 16

_DIGEST_BYTES: Final = 32

#: The first time that no statement names (seconds since the epoch): the year 10889, as in a packet.
_TIME_END: Final = 2.0**48 / 1000


@frozen
class TokenStatement:
    """A token that is accepted until ``expires`` (seconds since the epoch; None: until it is revoked)."""

    kind: ClassVar[str] = "token"
    name: str
    digest: bytes  # its SHA-256
    scopes: tuple[str, ...]
    expires: float | None = None

    @classmethod
    def of(cls, token: ClusterToken) -> TokenStatement:
        """The statement that creates ``token``. Raises `InvalidToken`."""
        token.check()
        statement = cls(token.name, bytes.fromhex(token.digest), tuple(token.scopes), token.expires)
        if len(pack_token(statement)) > limits.POLICY_BYTES_MAX:
            raise InvalidToken("scopes", "they take more bytes than fit into a packet: list fewer, or shorter ones")
        return statement

    @property
    def about(self) -> str:
        """The key of this statement in the table."""
        return token_key(self.name)

    def token(self, writer: str, ms: int) -> ClusterToken:
        """The token that is stated by ``writer`` at ``ms`` (ms since the epoch)."""
        return ClusterToken(self.name, self.digest.hex(), self.scopes, self.expires, writer, ms / 1000)


def token_key(name: str) -> str:
    """The key of the statement about the token of that name, in the table that holds policies."""
    return _PREFIX + name


def is_about_tokens(table_key: str) -> bool:
    """Whether ``table_key`` is one of a statement about a token."""
    return table_key.startswith(_PREFIX)


def pack_token(statement: TokenStatement) -> bytes:
    """A statement as it travels."""
    fields = {"kind": statement.kind, "name": statement.name, "digest": statement.digest}
    packed: bytes = msgpack.packb(fields | {"scopes": statement.scopes, "expires": statement.expires})
    return packed


@contained
def unpack_token(payload: bytes, table_key: str) -> TokenStatement:
    """The statement that was packed for ``table_key``. Raises `BadPayload` for anything else, whatever the bytes."""
    try:
        stated = msgpack.unpackb(payload, raw=False, strict_map_key=True, max_map_len=_FIELDS_MAX)
    except (ValueError, msgpack.UnpackException) as error:
        raise BadPayload(f"not msgpack: {error}") from None
    if not isinstance(stated, dict) or stated.get("kind") != TokenStatement.kind:
        raise BadPayload("not a statement about a token")
    statement = _statement(stated)
    if statement.about != table_key:
        raise BadPayload("a statement about another token")
    return statement


def _statement(stated: Mapping[str, Any]) -> TokenStatement:
    name, digest, scopes, expires = (stated.get(each) for each in ("name", "digest", "scopes", "expires"))
    if not isinstance(digest, bytes) or len(digest) != _DIGEST_BYTES:
        raise BadPayload("not the SHA-256 of a token")
    if expires is not None and not (isinstance(expires, float) and 0 <= expires < _TIME_END):
        raise BadPayload("not the time at which a token expires")
    try:
        ClusterToken(name, digest.hex(), scopes, expires).check()  # type: ignore[arg-type] # it checks the types
    except InvalidToken as error:
        raise BadPayload(str(error)) from None
    assert isinstance(name, str), "it was checked"
    return TokenStatement(name, digest, tuple(scopes or ()), expires)
