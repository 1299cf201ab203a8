"""Resolvers of others that forward the domains to an agent: how each is configured and started."""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import attrs

from gossipreg import Address
from tests.drills.agents import fixed_address
from tests.peers.stage import running, version_of, written

#: What the test adds to what the page says: a port, no daemon, all files in one folder, and the reverse domain.
_UNBOUND: Final = """
server:
    interface: 127.0.0.1
    port: {port}
    do-daemonize: no
    use-syslog: no
    logfile: ""
    pidfile: ""
    username: ""
    chroot: ""
    directory: "{here}"
    num-threads: 1
    module-config: "iterator"
    qname-minimisation: yes
    qname-minimisation-strict: yes
    local-zone: "127.in-addr.arpa." nodefault
stub-zone:
    name: "127.in-addr.arpa"
    stub-addr: 127.0.0.1@{dns}
remote-control:
    control-enable: no
"""

_BIND: Final = """
options {{
    directory "{here}";
    listen-on port {port} {{ 127.0.0.1; }};
    listen-on-v6 {{ none; }};
    pid-file none;
    session-keyfile none;
    recursion yes;
    dnssec-validation no;
    empty-zones-enable no;
    qname-minimization strict;
    max-records-per-type 1024;
}};
controls {{ }};
zone "127.in-addr.arpa" {{ type forward; forward only; forwarders {{ 127.0.0.1 port {dns}; }}; }};
"""

_DNSMASQ: Final = """
keep-in-foreground
no-resolv
no-hosts
user=
pid-file=
port={port}
listen-address=127.0.0.1
bind-interfaces
log-facility=-
server=/127.in-addr.arpa/127.0.0.1#{dns}
"""

_RESOLVED: Final = """
[Resolve]
FallbackDNS=
DNSStubListener=no
DNSStubListenerExtra=127.0.0.1:{port}
LLMNR=no
MulticastDNS=no
DNSSEC=no
"""

_COREDNS: Final = """
127.in-addr.arpa {{
    bind 127.0.0.1
    forward . 127.0.0.1:{dns}
}}
"""

#: Where `.ci/run` unpacks programs that would change the machine if they were installed.
UNPACKED: Final = Path(__file__).parents[2] / ".peers"


@attrs.frozen
class Resolver:
    """A program, the file that configures it, and the command that runs it in the foreground."""

    name: str
    program: str
    package: str  # where it comes from
    config: str
    language: str  # of the block on the page that says how it forwards
    command: Callable[[str, Path, int], list[str]]  # of the program, its file, and the port
    version: tuple[str, ...]  # what makes it say its version
    env: Mapping[str, str] | None = None
    forwards_loopback: bool = True  # whether it asks for the names of loopback addresses

    @property
    def lacks(self) -> str | None:
        """Why it cannot be run here; None if it can."""
        if shutil.which(self.program) is None:
            return f"{self.name} is not installed ({self.package})"
        if self.command is _in_namespaces and os.geteuid():
            return f"{self.name} needs root, for a namespace of mounts"
        return None

    async def says_version(self) -> str:
        """The version that it says it is."""
        return await version_of(self.program, *self.version, env=self.env)

    @asynccontextmanager
    async def forwarding(self, here: Path, dns: Address) -> AsyncIterator[Address]:
        """Run it in the folder ``here``, with the agent's listener at ``dns`` behind it; where it listens."""
        address = Address.parse(fixed_address())
        file = here / "resolver.conf"
        forwards = written("dns.md", self.language).replace("8600", str(dns.port))
        forwards = forwards.replace("gossipreg {\n", "gossipreg {\n    bind 127.0.0.1\n")  # CoreDNS
        file.write_text(self.config.format(here=here, port=address.port, dns=dns.port) + forwards)
        async with running(here / "resolver.log", *self.command(self.program, file, address.port), env=self.env):
            yield address


#: The daemon reads and writes at fixed places and becomes a user of its own. In its namespace they are the test's.
_AS_RESOLVED: Final = """
set -e
mount --make-rprivate /
for file in passwd group; do cp /etc/$file "$1/$file"; done
echo systemd-resolve:x:65533:65533::/:/usr/sbin/nologin >> "$1/passwd"
echo systemd-resolve:x:65533: >> "$1/group"
mkdir -p "$1/run/systemd/resolved.conf.d"
cp "$2" "$1/run/systemd/resolved.conf.d/peer.conf"
chmod -R a+rX "$1/run"
for file in passwd group; do mount --bind "$1/$file" /etc/$file; done
mount --bind "$1/run" /run
exec "$3"
"""


def _in_namespaces(program: str, file: Path, _: int) -> list[str]:
    return ["unshare", "--mount", "sh", "-c", _AS_RESOLVED, "sh", str(file.parent), str(file), program]


_RESOLVED_ENV: Final = {
    **os.environ,
    "LD_LIBRARY_PATH": str(UNPACKED / "usr/lib/x86_64-linux-gnu/systemd"),
    "SYSTEMD_LOG_TARGET": "console",
}

RESOLVERS: Final = (
    Resolver(
        "unbound, strict",
        "unbound",
        "Debian: unbound",
        _UNBOUND,
        "unbound",
        lambda p, f, _: [p, "-d", "-c", str(f)],
        ("-V",),
    ),
    Resolver("BIND, strict", "named", "Debian: bind9", _BIND, "bind", lambda p, f, _: [p, "-g", "-c", str(f)], ("-v",)),
    Resolver(
        "dnsmasq",
        "dnsmasq",
        "Debian: dnsmasq-base",
        _DNSMASQ,
        "dnsmasq",
        lambda p, f, _: [p, "-C", str(f)],
        ("--version",),
    ),
    Resolver(
        "systemd-resolved",
        str(UNPACKED / "lib/systemd/systemd-resolved"),
        "Debian: systemd-resolved, which .ci/run unpacks",
        _RESOLVED,
        "systemd",
        _in_namespaces,
        ("--version",),
        _RESOLVED_ENV,
        forwards_loopback=False,
    ),
    Resolver(
        "CoreDNS",
        "coredns",
        "a Go module, built by the test",
        _COREDNS,
        "corefile",
        lambda p, f, port: [p, "-conf", str(f), "-dns.port", str(port)],
        ("-version",),
    ),
)
