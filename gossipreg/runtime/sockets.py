"""Gossip sockets: one UDP and one TCP socket on the same port, and the address that is advertised."""

from __future__ import annotations

import errno
import ipaddress
import socket

from gossipreg.config import Config
from gossipreg.config_rules import DEFAULT_PORT
from gossipreg.errors import BindError, ConfigError, InsecureError
from gossipreg.model import Address
from gossipreg.targets import literal
from gossipreg.values import frozen

#: Bytes of arriving datagrams that the kernel keeps while the node is busy: about 3,000 packets. A stall of a second in
#: a cluster of a thousand is survived without loss. Asked for; the kernel may give less.
_RECEIVE_BUFFER = 4 * 1024 * 1024

#: Tries to find a port that is free for both UDP and TCP.
_PORT_TRIES = 20

_BACKLOG = 128


@frozen
class GossipSockets:
    """A bound pair, non-blocking, and the advertised address."""

    udp: socket.socket
    tcp: socket.socket
    address: Address

    def close(self) -> None:
        """Close both sockets."""
        self.udp.close()
        self.tcp.close()


def check_safety(bind: Address, config: Config, *, sealed: bool) -> None:
    """Raise ``InsecureError`` for gossip in clear beyond loopback, unless it was asked for."""
    if sealed or config.insecure or ipaddress.ip_address(bind.host).is_loopback:
        return
    raise InsecureError(
        f"cannot bind {bind} without a key: run `gossipreg keygen --out key` and pass --key-file key, "
        "or --insecure on a trusted network"
    )


def resolve_bind(text: str) -> Address:
    """The address to bind: an IP address, or a host name of this machine. Raises ``ConfigError``."""
    wanted = Address.parse(text, default_port=DEFAULT_PORT, any_host=True)
    try:
        return Address(_first_ip(wanted.host), wanted.port)
    except OSError as error:
        raise ConfigError(f"bind: {wanted.host!r} is no address of this machine: {error.strerror}") from None


def _first_ip(host: str) -> str:
    """The first IP address of ``host``. Raises ``OSError``, for what can be no host name, too."""
    if isinstance(literal(host), ipaddress.IPv4Address):
        return host  # to look it up would load the tables of international names, 2 ms of each start
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_DGRAM)
    except UnicodeError:  # an empty label, or one of more than 63 characters
        raise OSError(errno.EINVAL, "not a host name") from None
    return str(found[0][4][0])


def open_sockets(bind: Address, advertise: str | None) -> GossipSockets:
    """Bind both sockets. Raises ``BindError`` or ``ConfigError``."""
    for last in (*[False] * (_PORT_TRIES - 1), True):
        udp = _bound(bind, socket.SOCK_DGRAM)
        port = int(udp.getsockname()[1])
        try:
            tcp = _bound(Address(bind.host, port), socket.SOCK_STREAM)
        except BindError:
            udp.close()
            if bind.port == 0 and not last:
                continue  # the free UDP port is taken for TCP: try another
            raise
        break
    tcp.listen(_BACKLOG)
    try:
        return GossipSockets(udp, tcp, _advertised(Address(bind.host, port), advertise))
    except BaseException:
        udp.close()
        tcp.close()
        raise


def _bound(address: Address, kind: socket.SocketKind) -> socket.socket:
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    made = socket.socket(family, kind)
    try:
        if kind is socket.SOCK_STREAM:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a restart must not wait for TIME_WAIT
        else:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
        made.setblocking(False)
        made.bind(tuple(address))
    except OSError as error:
        made.close()
        protocol = "TCP" if kind is socket.SOCK_STREAM else "UDP"
        remedy = {
            errno.EADDRINUSE: "stop the other program, or pass another --bind HOST:PORT",
            errno.EADDRNOTAVAIL: "pass --bind with an address of this machine",
            errno.EACCES: "pass --bind with a port above 1023",
        }.get(error.errno or 0, "pass another --bind HOST:PORT")
        raise BindError(f"cannot bind {address} for {protocol}: {error.strerror}: {remedy}") from None
    return made


def _advertised(bound: Address, advertise: str | None) -> Address:
    """The advertised address: the configured one, else the bound one, else (bound to all) the outgoing one."""
    if advertise is not None:
        wanted = Address.parse(advertise, default_port=bound.port, any_host=True)
        try:
            return Address(_first_ip(wanted.host), wanted.port or bound.port)
        except OSError as error:
            raise ConfigError(f"advertise: cannot resolve {wanted.host!r}: {error.strerror}") from None
    if not ipaddress.ip_address(bound.host).is_unspecified:
        return bound
    host = outgoing_host(bound.host)
    if host is None:
        raise ConfigError(f"advertise: bound to {bound.host}, and no route leads out: pass --advertise HOST[:PORT]")
    return Address(host, bound.port)


def outgoing_host(unspecified: str) -> str | None:
    """The source address of packets to other hosts. It asks the routing table; nothing is sent."""
    family, elsewhere = (socket.AF_INET6, "2001:db8::1") if ":" in unspecified else (socket.AF_INET, "192.0.2.1")
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((elsewhere, 9))
            return str(probe.getsockname()[0])
    except OSError:  # no route, or no free descriptor
        return None
