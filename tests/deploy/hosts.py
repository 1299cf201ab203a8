"""Hosts of a test: each has a network, a name, and an `/etc`, `/opt`, `/var/lib`, `/srv` and `/root` of its own.

All of it belongs to processes, and ends with them: nothing has to be removed by name.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

import attrs
import pytest

#: Time limit for one block of commands (seconds).
PATIENCE: Final = 300.0

#: Where every host finds the Python of the tests: a service's user may not be able to open its own place.
_PYTHON: Final = "/mnt/python"

_TOOLS: Final = ("ip", "unshare", "nsenter", "setpriv", "nft", "groupadd")

needs_hosts = pytest.mark.skipif(
    os.geteuid() != 0 or any(shutil.which(tool) is None for tool in _TOOLS),
    reason=f"hosts of a test need root and {', '.join(_TOOLS)} (Debian: iproute2, util-linux, nftables, passwd)",
)

_FURNISH: Final = r"""
set -e
mount -t tmpfs -o mode=755 tmpfs /mnt
mkdir /mnt/etc /mnt/tools /mnt/python
cp -a /etc/. /mnt/etc/ 2> /dev/null || true
mount --bind /mnt/etc /etc
mount --bind "$1" /mnt/python
rm -rf /etc/systemd/system /etc/gossipreg && mkdir -p /etc/systemd/system
mkdir /mnt/opt && mount --bind /opt /mnt/opt && mount -t tmpfs -o mode=755 tmpfs /opt
for each in $(ls /mnt/opt); do ln -s /mnt/opt/$each /opt/$each; done # a library of Python may be there
rm -f /opt/gossipreg
for each in /var/lib /srv /usr/local/bin; do mount -t tmpfs -o mode=755 tmpfs $each; done
mount -t tmpfs -o mode=711 tmpfs /root
[ -e "$1" ] || { mkdir -p "$1" && mount --bind /mnt/python "$1"; } # where its libraries are looked for
hostname "$2"
ip link set lo up
echo ready
exec cat
"""


@attrs.frozen
class Host:
    """A host, by the process whose namespaces it is."""

    name: str
    address: str
    holder: int  # its process id

    @property
    def root(self) -> Path:
        """Its files."""
        return Path(f"/proc/{self.holder}/root")

    def within(self, *command: str) -> list[str]:
        """A command line that runs ``command`` on the host."""
        return ["nsenter", f"--target={self.holder}", "--net", "--mount", "--uts", "--pid", "--", *command]


def _hold(stack: ExitStack, script: str, *arguments: str, spaces: tuple[str, ...]) -> subprocess.Popen[str]:
    """A process with namespaces of its own, whose other processes end with it."""
    command = ["setpriv", "--pdeathsig", "KILL", "unshare", *spaces, "sh", "-c", script, "sh", *arguments]
    outer = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True)
    stack.callback(_end, outer)
    assert outer.stdout is not None
    if outer.stdout.readline() != "ready\n":
        pytest.skip("namespaces cannot be made here")
    return outer


def _end(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.close()
    process.wait(60)
    process.stdout.close()


@contextmanager
def open_hosts(addresses: Mapping[str, str]) -> Iterator[dict[str, Host]]:
    """Hosts with these names and addresses, that reach each other."""
    spaces = ("--net", "--mount", "--uts", "--pid", "--fork", "--kill-child", "--mount-proc")
    with ExitStack() as stack:
        bridge = "ip link add bridge type bridge && ip link set bridge up && echo ready && exec cat"
        switch = _hold(stack, bridge, spaces=("--net",))
        on_switch = ("nsenter", f"--target={switch.pid}", "--net", "ip", "link")
        hosts = {}
        for number, (name, address) in enumerate(addresses.items()):
            outer = _hold(stack, _FURNISH, sys.base_prefix, name, spaces=spaces)
            child = int(Path(f"/proc/{outer.pid}/task/{outer.pid}/children").read_text().split()[0])
            host = hosts[name] = Host(name, address, child)
            port = f"port{number}"
            _run(*on_switch, "add", port, "type", "veth", "peer", "name", "eth0", "netns", str(child))
            _run(*on_switch, "set", port, "master", "bridge", "up")
            _run(*host.within("ip", "addr", "add", f"{address}/24", "dev", "eth0"))
            _run(*host.within("ip", "link", "set", "eth0", "up"))
        yield hosts


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, timeout=PATIENCE)
