"""Knows which requests a browser was tricked into sending.

Two doors stand open on a developer's machine. A page may point its own host name at 127.0.0.1 and read our answers as
if they were its own (DNS rebinding): so a door on loopback answers only to loopback's names. And a page may send a
request without being allowed to read the answer: so nothing that carries an ``Origin`` may change anything.
"""

from __future__ import annotations

import functools
from ipaddress import ip_address

import attrs

from gossipreg.doors.http.answers import Refusal, shown
from gossipreg.errors import ConfigError
from gossipreg.model import Address, SocketFile

_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


@attrs.frozen
class Guard:
    """Checks requests for a door that was asked to listen on ``asked`` and listens on ``bound``."""

    asked: Address | SocketFile
    bound: Address | SocketFile
    on_loopback: bool = attrs.field(init=False)
    _ours: tuple[str, ...] = attrs.field(init=False)

    @_ours.default
    def _(self) -> tuple[str, ...]:
        return tuple(each.host.lower() for each in (self.asked, self.bound) if isinstance(each, Address))

    @on_loopback.default
    def _(self) -> bool:
        return isinstance(self.bound, Address) and ip_address(self.bound.host.partition("%")[0]).is_loopback

    def check(self, method: str, authority: str | None, origin: str | None) -> None:
        """Raise a 403 ``Refusal`` unless the request may have come from a program of its own will.

        ``authority`` is what the request calls us, ``origin`` the page that sent it; ``None`` where it does not say.
        """
        if origin is not None and method not in _SAFE_METHODS:
            raise Refusal(403, f"a page of {shown(origin)} may not change anything here: leave the Origin header out")
        if self.on_loopback and authority is not None and not self._is_ours(authority):
            assert isinstance(self.bound, Address)
            raise Refusal(
                403, f"{shown(authority)} is not this machine: ask for {self.bound}, or localhost:{self.bound.port}"
            )

    def _is_ours(self, authority: str) -> bool:
        return _names_loopback(authority) or _host(authority) in self._ours


@functools.lru_cache(maxsize=64)
def _names_loopback(authority: str) -> bool:
    host = _host(authority)
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _host(authority: str) -> str:
    """The host of ``HOST[:PORT]``, in lower case; empty if there is none to be read."""
    try:
        return Address.parse(authority, default_port=80).host.lower()
    except ConfigError:
        return ""
