"""Execution of faults on the hosts, and their healing."""

from __future__ import annotations

import base64
import contextlib
import os
from collections.abc import Callable
from typing import Any, Final

import attrs

from tests.chaos.faults import Fault
from tests.chaos.history import Ended, FaultChanged, Leaving, Record, Started, UnexpectedExit, Wiped
from tests.chaos.hosts import Host, HostNetwork
from tests.chaos.http import NoAnswer, NotSent, ask
from tests.chaos.progress import Progress

#: Nemeses that cut some hosts off from the others.
_PARTING: Final = ("unplugged", "halves", "few")

#: Nemeses that set clocks wrong.
_CLOCKS: Final = ("clock", "days")

#: Time limit for an agent to change the keys; it may wait for members that do not hold one (seconds).
_KEYS_SECONDS: Final = 10.0

#: Time limit for a namesake to start, to detect the other, and to exit (seconds of progress).
_NAMESAKE_SECONDS: Final = 60.0


@attrs.define(eq=False)
class Nemeses:
    """Begins and ends faults. Starts and exits of agents are recorded."""

    network: HostNetwork
    progress: Progress
    record: Callable[[Record], None]
    _at_work: dict[int, Fault] = attrs.field(factory=dict)
    _numbers: int = 0
    _added: dict[str, Any] = attrs.field(factory=dict)  # the id of the key that was added last

    async def begin(self, fault: Fault) -> int:
        """Begin a fault; return the number that ends it."""
        self._numbers += 1
        number = self._numbers
        self._at_work[number] = fault
        if fault.rules:
            self.network.add_rules(number, fault.rules)
        for host in self._affected(fault):
            await self._begin_at(host, fault)
        self._troubled(fault, on=True)
        return number

    async def end(self, number: int) -> None:
        """Heal the fault with that number, if it is active."""
        fault = self._at_work.pop(number, None)
        if fault is None:
            return
        if fault.rules:
            self.network.drop_rules(number)
        for host in self._affected(fault):
            await self._end_at(host, fault)
        self._troubled(fault, on=False)

    async def heal(self) -> None:
        """Heal all active faults."""
        for number in list(self._at_work):
            await self.end(number)

    def _affected(self, fault: Fault) -> list[Host]:
        return [self.network.hosts[number] for number in fault.hosts]

    def _troubled(self, fault: Fault, *, on: bool) -> None:
        names = tuple(host.name for host in self._affected(fault))
        cut_off = names if fault.nemesis in _PARTING and len(names) == 1 else ()
        skewed, full = fault.nemesis in _CLOCKS, fault.nemesis == "disk"
        self.record(FaultChanged(self.progress.now, fault.description(), on, names, cut_off, skewed, full))

    async def _begin_at(self, host: Host, fault: Fault) -> None:
        match fault.nemesis:
            case "kill" | "wipe":
                await self._down(host)
                if fault.nemesis == "wipe":
                    host.wipe()
                    self.record(Wiped(self.progress.now, host.name))
            case "restart":
                await self._leave(host)
            case "pause":
                host.pause()
            case "clock" | "days":
                host.set_clock(fault.amount)
            case "disk":
                host.fill()
            case "descriptors":
                host.limit_descriptors(round(fault.amount))
            case "renumber" | "moved":
                self.network.renumber(host)
            case "namesake":
                self.network.spare.name = host.name
                self.network.start(self.network.spare)
            case "reject":
                host.reject()
            case "rotate":
                key = os.urandom(32)
                self._added = await self._ask(host, "/api/v1/keys", {"key": base64.b64encode(key).decode()})

    async def _end_at(self, host: Host, fault: Fault) -> None:
        match fault.nemesis:
            case "kill" | "wipe" | "restart":
                self.up(host)
            case "pause":
                host.resume()
            case "clock" | "days":
                host.set_clock(0.0)
            case "disk":
                host.clear()
            case "descriptors":
                host.unlimit_descriptors()
            case "renumber":
                await self._leave(host)
                self.up(host)
            case "namesake":
                await self._namesake_ends()
            case "reject":
                host.accept()
            case "rotate":
                await self._ask(host, "/api/v1/primary_key", {**self._added, "force": True})

    async def _ask(self, host: Host, target: str, document: dict[str, Any]) -> dict[str, Any]:
        """Ask a host's agent to change the keys, or another if that one does not answer or refuses; return the answer.

        Raises ``NotSent`` if none has done it.
        """
        others = [each for each in self.network.hosts if each is not host]
        said = ""
        for each in (host, *others):
            with contextlib.suppress(NotSent, NoAnswer):
                answer = await ask(each.socket, "PUT", target, document, patience=_KEYS_SECONDS)
                if answer.status == 200:
                    return dict(answer.document)
                said = f"{said} {each.name}: {answer.document}"
        raise NotSent(f"no agent changes the keys:{said}")

    async def _leave(self, host: Host) -> None:
        host.wanted = False
        self.record(Leaving(self.progress.now, host.name))
        if (status := await host.stop()) != 0:
            self.record(UnexpectedExit(self.progress.now, host.name, f"was asked to leave, and ended with {status}"))
        self.record(Ended(self.progress.now, host.name))

    async def _down(self, host: Host) -> None:
        host.wanted = False
        await host.kill()
        self.record(Ended(self.progress.now, host.name))

    def up(self, host: Host) -> None:
        """Start a host's agent."""
        self.network.start(host)
        host.wanted = True
        self.record(Started(self.progress.now, host.name))

    async def _namesake_ends(self) -> None:
        """The later one should have exited by itself, with status 1."""
        spare = self.network.spare
        until = self.progress.now + _NAMESAKE_SECONDS
        while spare.runs and self.progress.now < until:
            await self.progress.sleep(0.2)
        status = None if spare.process is None else spare.process.poll()
        if status != 1:
            how = "did not stop" if status is None else f"ended with {status}"
            self.record(UnexpectedExit(self.progress.now, spare.name, f"has a later namesake, which {how}"))
        await spare.kill()
        spare.wipe()
