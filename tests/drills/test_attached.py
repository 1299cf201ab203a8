"""Drills of attached processes: killed ones, and an agent that is killed, upgraded and back."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from gossipreg import Config, Health
from gossipreg.embed.attached import link
from gossipreg.embed.threads import BlockingNode, open_node
from tests.drills.agents import fixed_address

_PATIENCE = 60.0

#: An attached program that offers an instance.
_PROGRAM = """\
import sys
from gossipreg import Attach, Config
from gossipreg.embed.threads import open_node
with open_node(Config(attach=Attach(sys.argv[1], grace=float(sys.argv[3])))) as node:
    node.register("orders", port=80, id=sys.argv[2])
    print("ready", flush=True)
    sys.stdin.read()
"""


@contextmanager
def ready(*command: str) -> Iterator[subprocess.Popen[str]]:
    """A process that has said that it is ready; it is killed in the end."""
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, *command], stdin=pipe, stdout=pipe, text=True) as process:
        try:
            assert process.stdout is not None
            assert "ready" in process.stdout.readline()
            yield process
        finally:
            process.kill()


def agent(bind: str, attach: str, *more: str) -> tuple[str, ...]:
    quick = ("--name", "host", "--http", "off", "--dns", "off", "--profile", "local")
    return ("-m", "gossipreg", "agent", "--bind", bind, "--attach", attach, *quick, *more)


def wait_until(holds: Callable[[], object]) -> None:
    until = time.monotonic() + _PATIENCE
    while not holds():
        assert time.monotonic() < until
        time.sleep(0.002)


def ids(node: BlockingNode) -> list[str]:
    return [each.id for each in node.lookup("orders")]


def test_what_a_killed_process_offered_is_gone_and_what_lives_is_back_after_the_agents_death(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The agent has a data directory: nothing of a process that is gone returns with it."""
    monkeypatch.setattr(link, "_SETTLE_SECONDS", 1.0)
    bind, attach = fixed_address(), f"unix:{tmp_path}/attach.sock"
    command = agent(bind, attach, "--data-dir", str(tmp_path / "data"))
    with (
        ready(*command) as first,
        open_node(Config(name="far", bind="127.0.0.1:0", join=[bind])) as far,
        open_node(Config(attach=attach)) as node,
        ready("-c", _PROGRAM, attach, "stays", "0"),
        ready("-c", _PROGRAM, attach, "killed", "0") as killed,
        ready("-c", _PROGRAM, attach, "with-agent", "60") as other,
    ):
        wait_until(lambda: ids(far) == ids(node) == ["killed", "stays", "with-agent"])
        killed.kill()
        wait_until(lambda: ids(far) == ids(node) == ["stays", "with-agent"])
        first.kill()
        other.kill()
        wait_until(lambda: [each.stale for each in node.lookup("orders")] == [True, True])
        wait_until(lambda: ids(far) == [])
        with ready(*command):
            answers = []

            def is_back() -> bool:
                answers.append(ids(node))
                return ids(far) == ids(node) == ["stays"] and not node.lookup("orders")[0].stale

            wait_until(is_back)
            assert all("stays" in each for each in answers), "no answer was empty"
            node.register("shop", port=81)
            wait_until(lambda: far.lookup("shop"))


#: One whose event loop is blocked for a while when it is told so.
_BLOCKED = """\
import asyncio, sys, time
from gossipreg import Attach, Config
from gossipreg.embed.asyncio import open_node
async def main():
    async with open_node(Config(attach=Attach(sys.argv[1], patience=1))) as node:
        await node.register("orders", port=80, id="blocked")
        print("ready", flush=True)
        loop = asyncio.get_running_loop()
        while line := await loop.run_in_executor(None, sys.stdin.readline):
            time.sleep(float(line))
asyncio.run(main())
"""


def test_a_process_that_hangs_is_critical_on_every_node_until_it_goes_on(tmp_path: Path) -> None:
    bind, attach = fixed_address(), f"unix:{tmp_path}/attach.sock"
    with (
        ready(*agent(bind, attach)),
        open_node(Config(name="far", bind="127.0.0.1:0", join=[bind])) as far,
        ready("-c", _PROGRAM, attach, "stopped", "0") as stopped,
        ready("-c", _BLOCKED, attach) as blocked,
    ):
        wait_until(lambda: ids(far) == ["blocked", "stopped"])
        stopped.send_signal(signal.SIGSTOP)
        wait_until(lambda: ids(far) == ["blocked"])
        [found] = [each for each in far.lookup("orders", healthy=False) if each.id == "stopped"]
        assert (found.health, found.reason) == (Health.CRITICAL, "its process has not answered its agent for 5 s")
        stopped.send_signal(signal.SIGCONT)
        wait_until(lambda: ids(far) == ["blocked", "stopped"])
        assert blocked.stdin is not None
        blocked.stdin.write("4\n")
        blocked.stdin.flush()
        wait_until(lambda: ids(far) == ["stopped"])
        wait_until(lambda: ids(far) == ["blocked", "stopped"])


def test_a_process_is_killed_and_started_anew_within_its_grace(tmp_path: Path) -> None:
    bind, attach = fixed_address(), f"unix:{tmp_path}/attach.sock"
    with (
        ready(*agent(bind, attach)),
        open_node(Config(name="far", bind="127.0.0.1:0", join=[bind])) as far,
    ):
        with ready("-c", _PROGRAM, attach, "app", "60") as before:
            wait_until(lambda: ids(far) == ["app"])
            before.kill()
            with ready("-c", _PROGRAM, attach, "app", "0"):
                assert ids(far) == ["app"]
        wait_until(lambda: ids(far) == [])  # the second has no grace, and the first does not own it any more
