"""Lossy switch in user space: one TUN device in each host's network namespace, and rules between them.

Many kernels lack ``tc``'s netem, which the switch replaces. It is a process (``python -m tests.chaos.switch``) that
reads one JSON command a line from standard input, and answers each with a line. It exits at the end of its input, and
the devices vanish with it, even if the program that started it was killed.
"""

from __future__ import annotations

import ctypes
import fcntl
import heapq
import json
import os
import random
import selectors
import struct
import sys
import time
from typing import Any, Final

import attrs

from tests.chaos.packets import Packet, Rule, damaged, fates

DEVICE: Final = "gossip0"

#: Maximum number of delayed packets; more are dropped, as by a real queue.
_QUEUE_MAX: Final = 10_000

#: Packets read from one device in a row.
_BURST: Final = 64

_TUNSETIFF: Final = 0x400454CA
_IFF_TUN: Final = 0x0001
_IFF_NO_PI: Final = 0x1000


def open_device(pid: int) -> int:
    """Open a TUN device in the network namespace of ``pid``; return a descriptor that reads and writes packets."""
    libc = ctypes.CDLL(None, use_errno=True)

    def enter(namespace: int) -> None:
        if libc.setns(namespace, 0) != 0:
            raise OSError(ctypes.get_errno(), "setns")

    home = os.open("/proc/self/ns/net", os.O_RDONLY)
    there = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY)
    try:
        enter(there)
        device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
        fcntl.ioctl(device, _TUNSETIFF, struct.pack("16sH22x", DEVICE.encode(), _IFF_TUN | _IFF_NO_PI))
    finally:
        enter(home)
        os.close(there)
        os.close(home)
    return device


@attrs.define(eq=False)
class Switch:
    """The devices, the address of each host, and the active rules."""

    rng: random.Random
    devices: dict[int, int] = attrs.field(factory=dict)  # host -> descriptor
    addresses: dict[str, int] = attrs.field(factory=dict)  # address -> host
    rules: list[Rule] = attrs.field(factory=list)
    carried: int = 0
    lost: int = 0
    _late: list[tuple[float, int, int, bytes]] = attrs.field(factory=list)  # due, order, host, packet

    def handle(self, command: dict[str, Any]) -> dict[str, Any]:
        """Execute one command."""
        if "open" in command:
            self.devices[command["open"]] = open_device(command["pid"])
        if "addresses" in command:
            self.addresses = command["addresses"]
        if "rules" in command:
            self.rules = [Rule.from_document(each) for each in command["rules"]]
        return {"carried": self.carried, "lost": self.lost}

    def take(self, host: int) -> None:
        """Forward the packets that the host sends now."""
        for _ in range(_BURST):
            try:
                raw = os.read(self.devices[host], 65_536)
            except BlockingIOError:
                return
            packet = Packet.parse(raw)
            target = None if packet is None else self.addresses.get(packet.target)
            if packet is None or target is None:
                continue
            arriving = fates(self.rules, host, target, packet, self.rng)
            self.lost += not arriving
            for delay, corrupt in arriving:
                copy = damaged(raw, self.rng) if corrupt else raw
                if delay and len(self._late) < _QUEUE_MAX:
                    heapq.heappush(self._late, (time.monotonic() + delay, self.carried, target, copy))
                elif not delay:
                    self._deliver(target, copy)
                self.carried += 1

    def deliver_late(self) -> float | None:
        """Deliver due packets; return the time until the next one (seconds), or None."""
        now = time.monotonic()
        while self._late and self._late[0][0] <= now:
            _, _, target, raw = heapq.heappop(self._late)
            self._deliver(target, raw)
        return max(0.0, self._late[0][0] - now) if self._late else None

    def _deliver(self, host: int, raw: bytes) -> None:
        try:
            os.write(self.devices[host], raw)
        except OSError:  # its queue is full, or its interface is down
            self.lost += 1


def main() -> None:
    """Serve until standard input ends."""
    switch = Switch(random.Random(sys.argv[1]))
    selector = selectors.DefaultSelector()
    selector.register(0, selectors.EVENT_READ, None)
    pending = b""
    while True:
        for key, _ in selector.select(switch.deliver_late()):
            if key.data is not None:
                switch.take(key.data)
                continue
            read = os.read(0, 65_536)
            if not read:
                return
            *lines, pending = (pending + read).split(b"\n")
            for line in lines:
                command = json.loads(line)
                answer = switch.handle(command)
                if "open" in command:
                    selector.register(switch.devices[command["open"]], selectors.EVENT_READ, command["open"])
                sys.stdout.write(json.dumps(answer) + "\n")
                sys.stdout.flush()


if __name__ == "__main__":
    main()
