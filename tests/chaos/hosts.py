"""Simulated hosts: each is a process that holds its own network and mount namespaces, connected by the switch.

No resource needs cleanup by name. The namespaces, devices and small disks belong to processes that exit when their
standard input closes, and the kernel kills the agents when this process exits: even SIGKILL leaves nothing behind.
"""

from __future__ import annotations

import base64
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import attrs
import trio

from tests.chaos.packets import Rule
from tests.chaos.switch import DEVICE

#: The environment variable that names the run's directory in every process that is started for it.
MARK: Final = "GOSSIPREG_CHAOS"

#: The source tree of the agents: the one of this file, whatever is installed.
_TREE: Final = Path(__file__).parents[2]

#: Size of a host's disk: an agent of a chaos run stores some hundred KiB.
_DISK: Final = "4m"

#: Mount point of each host's disk: a directory of every Linux, hidden only in this namespace.
_MOUNT: Final = "/mnt"

_GOSSIP_PORT: Final = 7940

#: Time limit for the exit of a killed process, or of a short helper (seconds).
_PATIENCE: Final = 120.0

_FAKETIME: Final = tuple(
    f"/usr/lib/{machine}-linux-gnu/faketime/libfaketimeMT.so.1" for machine in ("x86_64", "aarch64")
)


def missing_requirement() -> str:
    """Why no network can be made here; empty where it can."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    missing = [name for name in ("ip", "unshare", "nsenter", "setpriv") if shutil.which(name) is None]
    if missing:
        return f"{', '.join(missing)} is not installed (Debian: iproute2, util-linux)"
    if not Path("/dev/net/tun").exists():
        return "the kernel has no /dev/net/tun"
    made = subprocess.run(["unshare", "--net", "--mount", "true"], check=False, capture_output=True, text=True)
    return f"cannot create namespaces: {made.stderr.strip()}" if made.returncode else ""


def missing_for_nemesis(name: str) -> str:
    """Why this nemesis cannot be had here; empty where it can."""
    if name in ("clock", "days") and faketime() is None:
        return "libfaketime is not installed (Debian: libfaketime)"
    if name == "reject" and shutil.which("iptables") is None:
        return "iptables is not installed (Debian: iptables)"
    return ""


def faketime() -> str | None:
    """Return the library that fakes the clock, if it is installed."""
    return next((each for each in _FAKETIME if Path(each).exists()), None)


@attrs.define(eq=False)
class Host:
    """A simulated host, and its agent if one is running."""

    number: int
    name: str  # of its agent
    directory: Path  # log, socket and clock
    holder: subprocess.Popen[bytes]
    address: str
    process: subprocess.Popen[bytes] | None = None
    paused: bool = False
    wanted: bool = False  # its agent should be running; otherwise it exited by itself

    @property
    def socket(self) -> str:
        """The socket file on which its agent serves HTTP."""
        return str(self.directory / "http")

    @property
    def log(self) -> Path:
        """The log of all runs of its agent."""
        return self.directory / "log"

    @property
    def disk(self) -> Path:
        """Its disk, as accessible to this process."""
        return Path(f"/proc/{self.holder.pid}/root{_MOUNT}")

    @property
    def runs(self) -> bool:
        """Whether its agent is running."""
        return self.process is not None and self.process.poll() is None

    def within(self, *command: str) -> list[str]:
        """Return a command line that runs ``command`` on the host."""
        return ["nsenter", "--target", str(self.holder.pid), "--net", "--mount", "--", *command]

    def do(self, *command: str) -> None:
        """Run a command on the host, and wait for it."""
        subprocess.run(self.within(*command), check=True, capture_output=True, timeout=_PATIENCE)

    # The agent

    def start(self, seeds: Iterable[str], key: Path, settings: Mapping[str, float], *, fake_clock: bool) -> None:
        """Start its agent; it answers a little later."""
        assert not self.runs
        joins = [f"--join={seed}" for seed in seeds if seed != self.address]
        arguments = (
            *("--name", self.name, "--bind", f"0.0.0.0:{_GOSSIP_PORT}", "--http", f"unix:{self.socket}"),
            *("--dns", "off", "--key-file", str(key), "--data-dir", f"{_MOUNT}/data", "--log-format", "json"),
        )
        clean = {name: value for name, value in os.environ.items() if not name.startswith("GOSSIPREG_")}
        clean |= {MARK: str(self.directory.parent), "PYTHONPATH": str(_TREE)}
        clean |= {f"GOSSIPREG_PROTOCOL_{name.upper()}": str(value) for name, value in settings.items()}
        if fake_clock and (library := faketime()) is not None:
            clean |= {
                "LD_PRELOAD": library,
                "FAKETIME_TIMESTAMP_FILE": str(self._clock),
                "FAKETIME_CACHE_DURATION": "1",
                "FAKETIME_DONT_FAKE_MONOTONIC": "1",
                "FAKETIME_FORCE_MONOTONIC_FIX": "0",  # the fix makes threads wait for most of a second
            }
        agent = self.within(sys.executable, "-m", "gossipreg", "agent", *arguments, *joins)
        with self.log.open("ab") as log:
            # Started by the main thread: the kernel kills the child when the thread that started it exits.
            self.process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", *agent],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=clean,
                start_new_session=True,  # Ctrl-C goes to the run only, which then ends its agents
            )

    async def kill(self) -> None:
        """Kill its agent, even if it is stopped."""
        if self.process is not None:
            self.process.kill()
            await self.ended()

    async def stop(self) -> int | None:
        """Make its agent leave; return its exit status, or None if it had to be killed."""
        assert self.process is not None
        self.process.terminate()
        with trio.move_on_after(_PATIENCE):
            return await self.ended()
        await self.kill()
        return None

    async def ended(self) -> int:
        """Wait for its agent to exit; return the exit status."""
        assert self.process is not None
        while (status := self.process.poll()) is None:  # noqa: ASYNC110 -- another process's
            await trio.sleep(0.02)
        self.paused = False
        return status

    def pause(self) -> None:
        """Stop its agent with SIGSTOP."""
        if self.runs and self.process is not None:
            self.process.send_signal(signal.SIGSTOP)
            self.paused = True

    def resume(self) -> None:
        """Undo `pause`."""
        if self.runs and self.process is not None:
            self.process.send_signal(signal.SIGCONT)
        self.paused = False

    # The host

    def wipe(self) -> None:
        """Empty its disk."""
        shutil.rmtree(self.disk / "data", ignore_errors=True)

    def fill(self) -> None:
        """Fill its disk."""
        with (self.disk / "filler").open("wb", buffering=0) as filler:
            for size in (65_536, 4096, 1):
                try:
                    while filler.write(bytes(size)) == size:
                        pass
                except OSError:
                    continue

    def clear(self) -> None:
        """Undo `fill`."""
        (self.disk / "filler").unlink(missing_ok=True)

    def limit_descriptors(self, free: int) -> None:
        """Limit its agent to ``free`` more descriptors than it has open now."""
        if self.process is not None and self.runs:
            taken = len(list(Path(f"/proc/{self.process.pid}/fd").iterdir()))
            _, hard = resource.prlimit(self.process.pid, resource.RLIMIT_NOFILE)
            resource.prlimit(self.process.pid, resource.RLIMIT_NOFILE, (min(taken + free, hard), hard))

    def unlimit_descriptors(self) -> None:
        """Undo `limit_descriptors`."""
        if self.process is not None and self.runs:
            _, hard = resource.prlimit(self.process.pid, resource.RLIMIT_NOFILE)
            resource.prlimit(self.process.pid, resource.RLIMIT_NOFILE, (hard, hard))

    def renumber(self, address: str) -> None:
        """Replace its address."""
        self.do("ip", "addr", "flush", "dev", DEVICE)
        self.do("ip", "addr", "add", f"{address}/24", "dev", DEVICE)
        self.do("ip", "route", "replace", "default", "dev", DEVICE)  # the agent finds its own address by this route
        self.address = address

    def reject(self) -> None:
        """Make its own firewall reject its output."""
        self.do("iptables", "-A", "OUTPUT", "-o", DEVICE, "-j", "REJECT")

    def accept(self) -> None:
        """Undo `reject`."""
        self.do("iptables", "-F", "OUTPUT")

    def set_clock(self, ahead: float) -> None:
        """Set its wall clock ``ahead`` seconds ahead of this host's; negative: behind."""
        fresh = self._clock.with_suffix(".new")
        fresh.write_text(f"{ahead:+g}\n")
        fresh.replace(self._clock)

    @property
    def _clock(self) -> Path:
        return self.directory / "clock"


@attrs.define(eq=False)
class HostNetwork:
    """All hosts of a run, and the switch that connects them."""

    directory: Path
    hosts: list[Host]  # the hosts of the member agents, in order
    spare: Host  # for a namesake
    settings: Mapping[str, float]
    fake_clocks: bool
    _switch: subprocess.Popen[bytes]
    _rules: dict[int, tuple[Rule, ...]] = attrs.field(factory=dict)
    _addresses_used: int = 0  # addresses assigned so far

    @property
    def key(self) -> Path:
        """The file with the key that seals the gossip."""
        return self.directory / "key"

    def start(self, host: Host) -> None:
        """Start a host's agent."""
        seeds = [each.address for each in self.hosts]
        host.start(seeds, self.key, self.settings, fake_clock=self.fake_clocks)

    def add_rules(self, number: int, rules: tuple[Rule, ...]) -> None:
        """Activate rules, under a number."""
        self._rules[number] = rules
        self._tell_rules()

    def drop_rules(self, number: int) -> None:
        """Undo `add_rules`."""
        self._rules.pop(number, None)
        self._tell_rules()

    def renumber(self, host: Host) -> None:
        """Assign the host an address that was never used before."""
        host.renumber(self._fresh_address())
        self._tell_addresses()

    def carried(self) -> dict[str, int]:
        """The number of packets that the switch has carried, and lost."""
        return self._tell({})

    def _fresh_address(self) -> str:
        self._addresses_used += 1
        return f"10.77.0.{self._addresses_used}"

    def _tell_rules(self) -> None:
        self._tell({"rules": [rule.as_document() for rules in self._rules.values() for rule in rules]})

    def _tell_addresses(self) -> None:
        self._tell({"addresses": {host.address: host.number for host in [*self.hosts, self.spare]}})

    def _tell(self, command: dict[str, Any]) -> dict[str, int]:
        assert self._switch.stdin is not None
        assert self._switch.stdout is not None
        self._switch.stdin.write(json.dumps(command).encode() + b"\n")
        self._switch.stdin.flush()
        answer = self._switch.stdout.readline()
        if not answer:
            raise RuntimeError(f"the switch has exited: see {self.directory / 'switch.log'}")
        summary: dict[str, int] = json.loads(answer)
        return summary

    def _set_up(self) -> None:
        for host in [*self.hosts, self.spare]:
            self._tell({"open": host.number, "pid": host.holder.pid})
            host.address = self._fresh_address()
            host.do("ip", "link", "set", DEVICE, "up")
            host.renumber(host.address)
            host.set_clock(0.0)
        self._tell_addresses()


def _holder(directory: Path) -> subprocess.Popen[bytes]:
    """Start a process with its own namespaces, which last as long as its standard input is open."""
    script = f"mount -t tmpfs -o size={_DISK},mode=700 chaos {_MOUNT} && ip link set lo up && echo ready && exec cat"
    holder = subprocess.Popen(
        ["setpriv", "--pdeathsig", "KILL", "unshare", "--net", "--mount", "--", "sh", "-c", script],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, MARK: str(directory)},
        start_new_session=True,
    )
    assert holder.stdout is not None
    if holder.stdout.readline() != b"ready\n":
        raise RuntimeError("a host could not be created")
    return holder


def _close(process: subprocess.Popen[bytes]) -> None:
    """Close the input of a holder or the switch, so that it exits."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.close()
    try:
        process.wait(_PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    process.stdout.close()


@asynccontextmanager
async def open_network(
    directory: Path, agents: int, *, seed: int, settings: Mapping[str, float], fake_clocks: bool
) -> AsyncIterator[HostNetwork]:
    """Hosts and a switch, without agents as yet. In the end nothing is left but what is in ``directory``."""
    (directory / "key").write_text(base64.b64encode(os.urandom(32)).decode())
    (directory / "key").chmod(0o600)
    started: list[subprocess.Popen[bytes]] = []
    hosts: list[Host] = []
    try:
        for number in range(agents + 1):
            name = f"n{number + 1}" if number < agents else "spare"
            (directory / name).mkdir()
            started.append(_holder(directory))
            hosts.append(Host(number, name, directory / name, started[-1], ""))
        with (directory / "switch.log").open("wb") as log:
            switch = subprocess.Popen(  # noqa: ASYNC220 -- the kernel ends what a thread started with the thread
                [sys.executable, "-m", "tests.chaos.switch", str(seed)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env={**os.environ, MARK: str(directory)},
                start_new_session=True,
            )
        started.insert(0, switch)
        network = HostNetwork(directory, hosts[:-1], hosts[-1], settings, fake_clocks, switch)
        network._set_up()
        yield network
    finally:
        with trio.CancelScope(shield=True):
            for host in hosts:
                await host.kill()
        for process in started:
            _close(process)
