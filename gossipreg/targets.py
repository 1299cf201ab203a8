"""Check targets: which addresses health checks may contact, and which headers they may send.

An agent opens connections on behalf of every client that may register an instance, from its own address (server-side
request forgery, CWE-918). So an address must be one that the setting ``check_targets`` allows. It is checked when a
connection is about to be made, after its name was resolved: a name may resolve to another address by then (DNS
rebinding).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

import attrs

from gossipreg import hosts
from gossipreg.errors import ConfigError
from gossipreg.values import frozen

IPAddress = IPv4Address | IPv6Address
IPNetwork = IPv4Network | IPv6Network


def _networks(*texts: str) -> tuple[IPNetwork, ...]:
    return tuple(map(ip_network, texts))


_LOOPBACK: Final = _networks("127.0.0.0/8", "::1/128")

#: RFC 1918, RFC 6598 (the shared space of carriers and clouds, used for pods in Kubernetes) and RFC 4193.
_PRIVATE: Final = _networks("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7")

#: Keywords for networks in the setting.
_NETWORKS_OF: Final[Mapping[str, tuple[IPNetwork, ...]]] = {
    "loopback": _LOOPBACK,
    "private": _PRIVATE,
    "any": _networks("0.0.0.0/0", "::/0"),
}

#: Keyword: the instance's own host, and its owner's.
_SELF: Final = "self"

#: Keyword, alone: no check may contact anything.
_OFF: Final = "off"

#: What checks may contact by default.
DEFAULT_TARGETS: Final = ("loopback", _SELF, "private")

#: Contacted only if an entry lies within one of these networks: they are no host, many hosts, or the metadata services
#: of clouds, which give secrets to every caller (link-local; others of AWS, Google, Azure, Alibaba, Oracle, Scaleway).
_BANNED: Final = _networks(
    *("0.0.0.0/8", "169.254.0.0/16", "224.0.0.0/4", "240.0.0.0/4", "::/128", "fe80::/10", "ff00::/8"),
    *("100.100.100.200/32", "168.63.129.16/32", "192.0.0.192/32"),
    *("fd00:ec2::/32", "fd20:ce::254/128", "fd00:c1::a9fe:a9fe/128", "fd00:42::42/128"),
)

_NAT64: Final = IPv6Network("64:ff9b::/96")
_LOCAL_NAT64: Final = IPv6Network("64:ff9b:1::/48")

#: Where the bytes of an IPv4 address stand in an IPv6 address under a NAT64 prefix of 48, 56, 64 and 96 bits
#: (RFC 6052 §2.2).
_EMBEDDED_AT: Final = ((6, 7, 9, 10), (7, 9, 10, 11), (9, 10, 11, 12), (12, 13, 14, 15))

#: Headers that a check may send only if ``check_headers`` names them. They claim that the request was sent to another
#: host, or prove to a cloud's metadata service that the request is not forged.
_GUARDED: Final = re.compile(
    r"host|metadata|metadata-.+|x-metadata-.+|x-google-metadata-.+|x-aws-ec2-metadata-.+|x-aliyun-ecs-metadata-.+"
)


class TargetRefused(Exception):
    """A check may not contact its target. The first line says why; further lines are for the operator."""


def forms_of(address: IPAddress) -> tuple[IPAddress, ...]:
    """The address that a connection to ``address`` reaches, and the IPv4 addresses to which gateways may translate it.

    Covers IPv4-mapped and IPv4-compatible addresses (RFC 4291), 6to4 (RFC 3056), Teredo (RFC 4380), NAT64 (RFC 6052,
    RFC 8215) and ISATAP (RFC 5214). A NAT64 prefix of a network's own cannot be recognized.
    """
    if isinstance(address, IPv4Address):
        return (address,)
    address = IPv6Address(int(address))  # without the name of an interface
    if address.ipv4_mapped is not None:
        return (address.ipv4_mapped,)
    return (address, *dict.fromkeys(_embedded(address)))


def _embedded(address: IPv6Address) -> Iterator[IPv4Address]:
    number = int(address)
    low = IPv4Address(number & 0xFFFF_FFFF)
    if number >> 32 == 0 and number > 1:
        yield low
    if address.sixtofour is not None:
        yield address.sixtofour
    if address.teredo is not None:
        yield from address.teredo
    if address in _NAT64:
        yield low
    if address in _LOCAL_NAT64:
        for places in _EMBEDDED_AT:
            yield IPv4Address(bytes(address.packed[place] for place in places))
    if (number >> 32) & 0xFCFF_FFFF == 0x5EFE:
        yield low


def literal(host: str) -> IPAddress | None:
    """The IP address in ``host``, without the name of an interface; None if it is a name."""
    try:
        return ip_address(host.partition("%")[0])
    except ValueError:
        return None


def is_loopback(host: str) -> bool:
    """Whether ``host`` is a loopback address, ``localhost``, or a name below that (RFC 6761)."""
    address = literal(host)
    if address is not None:
        return any(form in network for form in forms_of(address)[:1] for network in _LOOPBACK)
    return _folded(host).rpartition(".")[2] == "localhost"


def is_local(host: str, own: Collection[str]) -> bool:
    """Whether ``host`` is loopback or one of the hosts ``own``, as far as can be known without resolving it."""
    return is_loopback(host) or _folded(host) in map(_folded, own) or literal(host) in _literals(own)


def _literals(own: Iterable[str]) -> list[IPAddress]:
    return [address for host in own if (address := literal(host)) is not None]


def _folded(host: str) -> str:
    return host.lower().removesuffix(".")


@frozen
class CheckTargets:
    """The addresses and names that checks may contact, from the setting ``check_targets``.

    An address is allowed if an entry allows it and none denies it. An allowed name may resolve to any address that is
    neither denied nor banned. Only an entry within a network of ``_BANNED`` lifts that ban; ``any`` does not.
    """

    own_host: bool  # whether an instance's own host is allowed
    networks: tuple[IPNetwork, ...]
    names: tuple[str, ...]  # as `_matches` reads them
    denied_networks: tuple[IPNetwork, ...] = ()
    denied_names: tuple[str, ...] = ()

    @classmethod
    def parse(cls, entries: Iterable[str]) -> CheckTargets:
        """Read the setting: keywords, addresses, networks and names; ``!`` before an entry denies it.

        Raises ``ConfigError`` for an entry that is none of these.
        """
        entries = tuple(entries)
        if len(entries) == 1 and entries[0].lower() == _OFF:
            entries = ()
        networks: dict[bool, list[IPNetwork]] = {True: [], False: []}
        names: dict[bool, list[str]] = {True: [], False: []}
        own_host = False
        for text in entries:
            body = text.removeprefix("!")
            if body.lower() in (*_NETWORKS_OF, _SELF, _OFF):
                text, body = text.lower(), body.lower()  # noqa: PLW2901 -- keywords ignore case, and are no names
            if text == _SELF:
                own_host = True
            elif body in _NETWORKS_OF:
                networks[text == body] += _NETWORKS_OF[body]
            elif (network := _network(body)) is not None:
                networks[text == body].append(network)
            elif _is_name(body):
                names[text == body].append(_folded(body))
            else:
                raise ConfigError(
                    f"{text!r:.80} is neither a word ({', '.join(_NETWORKS_OF)}, {_SELF}; {_OFF} alone), a network "
                    "such as 10.0.0.0/8, nor a name such as db.example or *.example; with ! before it, it is denied"
                )
        return cls(own_host, tuple(networks[True]), tuple(names[True]), tuple(networks[False]), tuple(names[False]))

    def allows(self, host: str, address: IPAddress, own: Collection[IPAddress]) -> bool:
        """Whether a check of ``host`` may connect to ``address``; ``own``: the addresses of the instance's own host."""
        forms = forms_of(address)
        if self._denies(host, forms):
            return False
        meant = forms[0]
        return (
            any(meant in network for network in self.networks)
            or (self.own_host and any(meant in forms_of(each) for each in own))
            or any(_matches(host, name) for name in self.names)
        )

    def may_allow(self, host: str, own: Collection[str]) -> bool:
        """Whether checks of an instance at one of the hosts ``own`` may ever contact the unresolved ``host``."""
        address = literal(host)
        if address is None:
            return not self._denies(host, ())
        known = _literals(own)
        has_names = self.own_host and len(known) < len(own)  # one of them may resolve to that address
        return self.allows(host, address, [*known, address] if has_names else known)

    def _denies(self, host: str, forms: Iterable[IPAddress]) -> bool:
        if any(_matches(host, name) for name in self.denied_names):
            return True
        return any(form in network for form in forms for network in self.denied_networks) or any(
            self._bans(form) for form in forms
        )

    def _bans(self, address: IPAddress) -> bool:
        for banned in _BANNED:
            if address in banned:
                return not any(address in each and _within(each, banned) for each in self.networks)
        return False


def _within(inner: IPNetwork, outer: IPNetwork) -> bool:
    return inner.version == outer.version and inner.subnet_of(outer)  # type: ignore[arg-type]  # both are of one version then


def _network(text: str) -> IPNetwork | None:
    """Read a network, an IPv4-mapped one as IPv4; else None. Raises ``ConfigError`` for bits beyond its mask."""
    if "%" in text:
        return None
    try:
        network = ip_network(text)
    except ValueError as error:
        if "has host bits set" in str(error):
            raise ConfigError(
                f"{text!r:.80} has bits beyond its mask: write {ip_network(text, strict=False)}"
            ) from None
        return None
    mapped = network.network_address.ipv4_mapped if isinstance(network, IPv6Network) else None
    return network if mapped is None or network.prefixlen < 96 else IPv4Network((mapped, network.prefixlen - 96))


def _is_name(text: str) -> bool:
    return _folded(text) not in (_OFF, _SELF) and hosts.flaw(text.removeprefix("*.")) is None and literal(text) is None


def _matches(host: str, name: str) -> bool:
    """Whether ``host`` is ``name``, or below it if ``name`` begins with ``*.``."""
    host = _folded(host)
    return host.endswith(name[1:]) if name.startswith("*.") else host == name


@frozen
class CheckRules:
    """What a node allows its checks: targets, and the guarded headers (in lower case) that they may send."""

    targets: CheckTargets = attrs.field(factory=lambda: CheckTargets.parse(DEFAULT_TARGETS))
    headers: frozenset[str] = frozenset()

    @classmethod
    def of(cls, targets: Iterable[str], headers: Iterable[str]) -> CheckRules:
        """Read the settings ``check_targets`` and ``check_headers``. Raises ``ConfigError``."""
        return cls(CheckTargets.parse(targets), frozenset(name.lower() for name in headers))

    def host_flaw(self, host: str, own: Collection[str]) -> str | None:
        """Why checks of an instance at the hosts ``own`` may not contact ``host``; None if they may once resolved."""
        if self.targets.may_allow(host, own):
            return None
        return f"{host:.80} may not be contacted by checks of this node: see check_targets"

    def header_flaw(self, headers: Mapping[str, str], hosts: Collection[str]) -> str | None:
        """Why a check of a target with the names ``hosts`` may not send ``headers``; None if it may."""
        for name, value in headers.items():
            folded = name.lower()
            if folded == "host" and value.lower() in hosts:
                continue
            if _GUARDED.fullmatch(folded) and folded not in self.headers:
                return f"{name:.80} may not be sent by checks of this node: see check_headers"
        return None
