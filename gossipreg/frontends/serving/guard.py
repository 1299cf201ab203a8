"""The guard against browsers: refuses requests that a web page of another site has sent.

A page can attack a registry on its visitor's machine in two ways. It may point its own host name at 127.0.0.1 and read
the answers as if they were its own (DNS rebinding): so on loopback only loopback's names are answered. And it may send
requests without being allowed to read the answers: so of all pages only the agent's own may change anything, and a page
of another origin may not even ask, since some answers cost much. Browsers leave ``Origin`` out of a plain GET, as for
an image, but say with ``Sec-Fetch-Site`` where it comes from (W3C Fetch Metadata). A person who follows a link is let
in.

The agent's own page is known by its origin, which no page can forge. Since a name may be rebound, it must besides have
been loaded from an address or from a name of this listener; or its request shows a token, where one is asked for, which
a foreign page does not have.
"""

from __future__ import annotations

import functools
from ipaddress import ip_address

import attrs

from gossipreg.errors import ConfigError
from gossipreg.frontends.serving.access import Access
from gossipreg.frontends.serving.request import Request
from gossipreg.frontends.serving.response import HttpError
from gossipreg.model import Address, SocketFile
from gossipreg.text import shown
from gossipreg.values import frozen

_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})

#: Values of ``Sec-Fetch-Site`` that a page of another origin brings about: "same-site" is another port of this machine.
_FOREIGN_SITES = frozenset({"cross-site", "same-site"})


@frozen
class Guard:
    """Checks requests for a listener that was asked to listen on ``asked`` and listens on ``bound``."""

    asked: Address | SocketFile
    bound: Address | SocketFile
    access: Access = attrs.field(factory=Access)
    on_loopback: bool = attrs.field(init=False)
    _ours: tuple[str, ...] = attrs.field(init=False)

    @_ours.default
    def _(self) -> tuple[str, ...]:
        return tuple(each.host.lower() for each in (self.asked, self.bound) if isinstance(each, Address))

    @on_loopback.default
    def _(self) -> bool:
        return isinstance(self.bound, Address) and ip_address(self.bound.host.partition("%")[0]).is_loopback

    def check(self, request: Request) -> None:
        """Raise a 403 ``HttpError`` if the request names another host, or a page of another site has sent it."""
        authority, origin = request.authority, request.origin
        if origin is not None and request.method not in _SAFE_METHODS:
            if self._is_own_page(request, origin):
                return
            raise HttpError(403, f"a page of {shown(origin)} may not change anything here: leave the Origin header out")
        if origin is not None and not _is_from_same_origin(request, origin):
            raise HttpError(403, f"a page of {shown(origin)} may not ask here: leave the Origin header out")
        if request.fetch_site in _FOREIGN_SITES and request.fetch_dest != "document":
            raise HttpError(403, f"a page of another site may not ask here (Sec-Fetch-Site: {request.fetch_site})")
        if self.on_loopback and authority is not None and not self._is_ours(authority):
            assert isinstance(self.bound, Address)
            raise HttpError(
                403, f"{shown(authority)} is not this machine: ask for {self.bound}, or localhost:{self.bound.port}"
            )

    def _is_own_page(self, request: Request, origin: str) -> bool:
        """Whether the agent's own page has sent the request. A proxy may have changed the host that it names."""
        authority = request.authority
        if authority is None or (self.on_loopback and not self._is_ours(authority)):
            return False
        shows_token = request.token is not None and not self.access.is_open
        is_safe_host = shows_token or self._is_ours(authority) or _is_address(authority)
        return is_safe_host and _is_from_same_origin(request, origin)

    def _is_ours(self, authority: str) -> bool:
        return _names_loopback(authority) or _host(authority) in self._ours


def _is_from_same_origin(request: Request, origin: str) -> bool:
    """Whether a page of the asked origin has sent the request: as the browser says, or by the host that is asked.

    A proxy may have changed the host, so the browser's word counts where it gives it.
    """
    if request.fetch_site is not None:
        return request.fetch_site == "same-origin"
    return _is_same_origin(origin, request.authority)


def _is_address(authority: str) -> bool:
    """Whether the host is an IP address: no name that could be rebound."""
    try:
        ip_address(_host(authority))
    except ValueError:
        return False
    return True


def _is_same_origin(origin: str, authority: str | None) -> bool:
    """Whether ``origin`` is where the request was sent to: an agent's own page may ask."""
    scheme, separator, host = origin.partition("://")
    return separator != "" and scheme in ("http", "https") and authority is not None and host == authority


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
        return Address.parse(authority, default_port=80, any_host=True).host.lower()
    except ConfigError:
        return ""
