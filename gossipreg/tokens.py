"""Tokens of the HTTP API that a whole cluster knows: a name, the token's SHA-256, its scopes, and when it expires.

The token itself is known to its holder alone: it is made where it will be used, and only its SHA-256 travels.
"""

from __future__ import annotations

import re
from typing import Final

from gossipreg import limits
from gossipreg.errors import InvalidToken
from gossipreg.model import is_name
from gossipreg.text import shown
from gossipreg.values import frozen

_DIGEST: Final = re.compile(r"[0-9a-f]{64}")

#: A scope as a token lists it: a word, and for some a pattern of the services that it is for.
_SCOPE: Final = re.compile(r"[a-z]{1,32}(?::[A-Za-z0-9._*-]{1,63})?")


@frozen
class ClusterToken:
    """A token that every agent of the cluster accepts, for as long as it is in force."""

    name: str
    digest: str  # the SHA-256 of the token, 64 hexadecimal digits in lower case
    scopes: tuple[str, ...]  # such as "read" or "write:orders"
    expires: float | None = None  # seconds since the epoch; None: it does not
    writer: str = ""  # the member that created it
    at: float = 0.0  # when, by the clock of that member (seconds since the epoch)

    def check(self) -> None:
        """Raise ``InvalidToken``, naming the field, unless members can accept it. Scopes are checked by their form."""
        check_token_name(self.name)
        if not isinstance(self.digest, str) or not _DIGEST.fullmatch(self.digest):
            raise InvalidToken("token_sha256", "it is not a SHA-256 in 64 hexadecimal digits")
        if not isinstance(self.scopes, tuple | list) or not 1 <= len(self.scopes) <= limits.TOKEN_SCOPES_MAX:
            raise InvalidToken("scopes", f"list 1 to {limits.TOKEN_SCOPES_MAX}")
        for each in self.scopes:
            if not isinstance(each, str) or not _SCOPE.fullmatch(each):
                raise InvalidToken("scopes", f"{shown(each)} is no scope, such as read or write:orders")


def check_token_name(name: object) -> None:
    """Raise ``InvalidToken`` unless a token can have that name."""
    if not isinstance(name, str) or not is_name(name):
        raise InvalidToken.unusable("name", name, "a token's name")
