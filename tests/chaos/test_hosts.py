"""Hosts communicate through the switch, and no resource remains, however a run ends."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import attrs
import pytest
import trio

from tests.chaos.client import Client
from tests.chaos.faults import NEMESES, Fault
from tests.chaos.history import Record
from tests.chaos.hosts import MARK, Host, HostNetwork, missing_for_nemesis, missing_requirement, open_network
from tests.chaos.nemeses import Nemeses
from tests.chaos.packets import Rule
from tests.chaos.progress import Progress

pytestmark = [
    pytest.mark.netns,
    pytest.mark.skipif(bool(missing_requirement()), reason=missing_requirement() or "it can be made"),
]

ROOT = Path(__file__).parent.parent.parent

#: Time limit of short operations (seconds).
PATIENCE = 120.0

#: Sends datagrams until one is answered, for at most so many seconds; prints whether one was.
_ASK = """
import socket, sys, time
s = socket.socket(type=socket.SOCK_DGRAM)
s.settimeout(0.1)
until = time.monotonic() + float(sys.argv[2])
while time.monotonic() < until:
    s.sendto(b"x" * 100, (sys.argv[1], 7940))
    try:
        s.recv(200)
        print("heard")
        break
    except OSError:
        pass
"""

_ANSWER = """
import socket
s = socket.socket(type=socket.SOCK_DGRAM)
s.bind(("0.0.0.0", 7940))
print("ready", flush=True)
while True:
    data, source = s.recvfrom(200)
    s.sendto(data, source)
"""


def reaches(host: Host, other: Host, *, within: float) -> bool:
    """Whether one host reaches the other, which runs `_ANSWER`."""
    command = host.within(sys.executable, "-c", _ASK, other.address, str(within))
    return b"heard" in subprocess.run(command, check=True, capture_output=True, timeout=PATIENCE).stdout


@contextmanager
def answering(host: Host) -> Iterator[None]:
    """Make a host answer every datagram."""
    command = host.within(sys.executable, "-c", _ANSWER)
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"
            yield
        finally:
            process.kill()


def left_of(directory: str) -> set[int]:
    """Return the processes of the run with that directory."""
    found = set()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            environment = (process / "environ").read_bytes().split(b"\0")
            state = (process / "stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            continue
        if f"{MARK}={directory}".encode() in environment and state != "Z":
            found.add(int(process.name))
    return found


def mounts() -> list[str]:
    return [line for line in Path("/proc/self/mounts").read_text().splitlines() if "chaos" in line]


async def gone(directory: str) -> None:
    """Wait until all processes of the run have exited."""
    with trio.fail_after(PATIENCE):
        while left_of(directory):  # noqa: ASYNC110 -- other processes'
            await trio.sleep(0.05)


async def test_rules_control_the_links_between_hosts_also_at_a_new_address(tmp_path: Path) -> None:
    async with open_network(tmp_path, 3, seed=1, settings={}, fake_clocks=False) as network:
        one, two, _ = network.hosts
        with answering(two):
            assert reaches(one, two, within=PATIENCE)
            network.add_rules(1, (Rule(frozenset({0}), frozenset({1}), drop=1.0),))
            assert not reaches(one, two, within=0.3)
            network.drop_rules(1)
            assert reaches(one, two, within=PATIENCE)
            network.renumber(two)
            assert reaches(one, two, within=PATIENCE)
            assert network.carried()["lost"] >= 1
    assert left_of(str(tmp_path)) == set()


async def test_an_exception_leaves_no_process_and_no_mount(tmp_path: Path) -> None:
    before = mounts()

    async def fail() -> None:
        async with open_network(tmp_path, 3, seed=1, settings={}, fake_clocks=False) as network:
            assert left_of(str(tmp_path))
            network.hosts[0].fill()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    assert left_of(str(tmp_path)) == set()
    assert mounts() == before


@pytest.mark.chaos
@pytest.mark.parametrize("by", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_or_killed_run_leaves_no_process_and_no_mount(by: signal.Signals, tmp_path: Path) -> None:
    before = mounts()
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    command = [sys.executable, "-m", "tests.chaos", "--phases", "50", "--agents", "3", "--nemeses", "halves,disk"]
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE) as run:
        try:
            assert run.stdout is not None
            while b"phase 1" not in (line := run.stdout.readline()):
                assert line
            [directory] = tmp_path.glob("gossipreg-chaos-*")
            assert left_of(str(directory))
            run.send_signal(by)
            rest = run.stdout.read()
            run.wait(PATIENCE)
        finally:
            run.kill()
    trio.run(gone, str(directory))
    assert mounts() == before
    if by is signal.SIGINT:
        assert run.returncode == 130
        assert b"all resources are released" in rest
        assert not directory.exists()


@pytest.mark.chaos
async def test_every_nemesis_has_an_effect_and_undoes_it(tmp_path: Path) -> None:
    """One test for all nemeses, because agents take a while to start."""
    records: list[Record] = []
    progress = Progress()
    async with (
        open_network(tmp_path, 3, seed=1, settings={}, fake_clocks=True) as network,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(progress.run)
        nemeses = Nemeses(network, progress, records.append)
        for host in network.hosts:
            nemeses.up(host)
            await answers(host)
        host = network.hosts[1]
        for name in [name for name in NEMESES if name != "rotate" and not missing_for_nemesis(name)]:
            drawn = NEMESES[name].draw(random.Random(1), 3, 1.0)[0]
            fault = attrs.evolve(drawn, hosts=(1,), amount=90.0)
            before = state(network, host)
            number = await nemeses.begin(fault)
            if name != "restart":  # its effect is over at its end
                await becomes(before.__ne__, network, host, f"{name} has no effect")
            await nemeses.end(number)
            await answers(host, name)
            await becomes(partial(undone, before), network, host, f"{name} is not undone")
            assert (host.address != before["address"]) == (name in ("renumber", "moved"))
        await rotates(nemeses, network)  # which is not undone: a key is replaced for good
        nursery.cancel_scope.cancel()
    assert left_of(str(tmp_path)) == set()


async def rotates(nemeses: Nemeses, network: HostNetwork) -> None:
    """Replace the key of the gossip, and wait until every agent seals with the new one."""
    await nemeses.end(await nemeses.begin(Fault("rotate", 0.0, 1.0, (1,))))
    sealed = f"the gossip is sealed with key {nemeses._added['id']};"
    with trio.move_on_after(PATIENCE):
        while not all(sealed in host.log.read_text() for host in network.hosts):  # noqa: ASYNC110 -- other processes'
            await trio.sleep(0.05)
        return
    pytest.fail("rotate has no effect")


async def becomes(holds: Callable[[dict[str, object]], bool], network: HostNetwork, host: Host, otherwise: str) -> None:
    """Wait until a host's state satisfies ``holds``."""
    with trio.move_on_after(PATIENCE):
        while not holds(state(network, host)):  # noqa: ASYNC110 -- other processes'
            await trio.sleep(0.05)
        return
    pytest.fail(otherwise)


async def answers(host: Host, after: str = "its first start") -> None:
    """Wait until its agent answers."""
    client = Client(lambda: 0.0, lambda _: None)
    with trio.move_on_after(PATIENCE):
        while not await client.answers(host):  # noqa: ASYNC110 -- another process's
            await trio.sleep(0.05)
        return
    pytest.fail(f"{host.name} does not answer after {after}: {host.log.read_text()[-3000:]}")


def undone(before: dict[str, object], after: dict[str, object]) -> bool:
    """Whether the state is as before, except for the address, which stays new."""
    return {**after, "address": ""} == {**before, "address": ""}


def _output(host: Host, *command: str) -> str:
    return subprocess.run(host.within(*command), check=True, capture_output=True, text=True).stdout


def state(network: HostNetwork, host: Host) -> dict[str, object]:
    """Return the state of a host and the network that nemeses change."""
    assert host.process is not None
    running = Path(f"/proc/{host.process.pid}/stat")
    return {
        "rules": dict(network._rules),
        "runs": host.runs,
        "stopped": host.runs and " T " in running.read_text(),
        "files": (host.disk / "filler").exists(),
        "descriptors": Path(f"/proc/{host.process.pid}/limits").read_text() if host.runs else "",
        "clock": (host.directory / "clock").read_text(),
        "address": host.address,
        "firewall": _output(host, "iptables", "-S", "OUTPUT") if not missing_for_nemesis("reject") else "",
        "namesake": network.spare.runs,
    }
