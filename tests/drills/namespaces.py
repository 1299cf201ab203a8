"""Two network namespaces with a cable between them: made, cut, mended and removed.

::

    left  10.99.0.1 ------- cable ------- 10.99.0.2  right        the gossip
    left  198.18.N.2 ------ 198.18.N.1 (here)                     so that the drill can ask over HTTP
    right 198.18.N.6 ------ 198.18.N.5 (here)
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, Literal

import attrs
import pytest

#: A hardware address that no interface has.
_NOBODY: Final = "02:00:00:00:00:99"

needs_namespaces = pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("ip") is None, reason="network namespaces need root and iproute2"
)


needs_firewall = pytest.mark.skipif(
    shutil.which("iptables") is None or shutil.which("ss") is None, reason="a firewall needs iptables and iproute2"
)


@attrs.frozen
class Side:
    """One namespace."""

    namespace: str
    gossip_host: str
    http_host: str
    way_in: str  # our end of the cable to it


@attrs.frozen
class Cable:
    """Two namespaces and what joins them."""

    left: Side
    right: Side

    def cut(self, how: Literal["unplugged", "silent"]) -> None:
        """Let nothing through: ``unplugged`` is known to the kernels at both ends, ``silent`` to neither."""
        if how == "unplugged":
            _ip("-n", self.left.namespace, "link", "set", "cable", "down")
        else:
            self._neighbours(_NOBODY)

    def mend(self, how: Literal["unplugged", "silent"]) -> None:
        """Undo `cut`."""
        if how == "unplugged":
            _ip("-n", self.left.namespace, "link", "set", "cable", "up")
        else:
            for side, other in ((self.left, self.right), (self.right, self.left)):
                _ip("-n", side.namespace, "neigh", "del", other.gossip_host, "dev", "cable")

    def slow_down(self, *, delay: float, loss: float) -> bool:
        """Delay packets by so many seconds each way, and lose that share of them; False if this kernel cannot."""
        rule = ("root", "netem", "delay", f"{delay * 1000:g}ms", "loss", f"{loss:.2%}")
        try:
            for side in (self.left, self.right):
                _in(side, "tc", "qdisc", "add", "dev", "cable", *rule)
        except subprocess.CalledProcessError:
            return False
        return True

    def reject(self, port: int) -> None:
        """Have the left side's firewall refuse the right side streams to ``port``; those that it has are ended."""
        rule = ("-p", "tcp", "--source", self.right.gossip_host, "--dport", str(port))
        _in(self.left, "iptables", "-A", "INPUT", *rule, "-j", "REJECT", "--reject-with", "tcp-reset")
        _in(self.right, "ss", "-K", "dst", self.left.gossip_host, "dport", "=", str(port))

    def _neighbours(self, hardware: str) -> None:
        for side, other in ((self.left, self.right), (self.right, self.left)):
            entry = (other.gossip_host, "lladdr", hardware, "dev", "cable", "nud", "permanent")
            _ip("-n", side.namespace, "neigh", "replace", *entry)


@contextmanager
def cable() -> Iterator[Cable]:
    """Two namespaces that can reach each other, until the block ends; what runs in them must end before.

    Skips the test where none can be made.
    """
    number = os.getpid()
    net = f"198.18.{number % 256}"
    left = Side(f"gossipreg-{number}-left", "10.99.0.1", f"{net}.2", f"gr{number}l")
    right = Side(f"gossipreg-{number}-right", "10.99.0.2", f"{net}.6", f"gr{number}r")
    try:
        _ip("netns", "add", left.namespace)
    except subprocess.CalledProcessError as error:
        pytest.skip(f"network namespaces cannot be made here: {error.stderr.strip()}")
    try:
        _ip("netns", "add", right.namespace)
        peer = ("peer", "name", "cable", "netns", right.namespace)
        _ip("-n", left.namespace, "link", "add", "cable", "type", "veth", *peer)
        for side, here in ((left, f"{net}.1"), (right, f"{net}.5")):
            _furnish(side, here)
        yield Cable(left, right)
    finally:
        for side in (left, right):
            for removal in (("link", "del", side.way_in), ("netns", "del", side.namespace)):
                subprocess.run(["ip", *removal], check=False, capture_output=True)


def _furnish(side: Side, here: str) -> None:
    """Give a side its addresses, and this process a way to it."""
    _ip("-n", side.namespace, "link", "set", "lo", "up")
    _ip("-n", side.namespace, "addr", "add", f"{side.gossip_host}/24", "dev", "cable")
    _ip("-n", side.namespace, "link", "set", "cable", "up")
    _ip("link", "add", side.way_in, "type", "veth", "peer", "name", "way-out", "netns", side.namespace)
    _ip("-n", side.namespace, "addr", "add", f"{side.http_host}/30", "dev", "way-out")
    _ip("-n", side.namespace, "link", "set", "way-out", "up")
    _ip("addr", "add", f"{here}/30", "dev", side.way_in)
    _ip("link", "set", side.way_in, "up")


def _in(side: Side, *command: str) -> None:
    _ip("netns", "exec", side.namespace, *command)


def _ip(*arguments: str) -> None:
    _run("ip", *arguments)


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, text=True)
