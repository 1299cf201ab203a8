"""A node that leaves before its program hears that it shall end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor

import pytest

from gossipreg import ConfigError, Status
from gossipreg.embed.threads import leave_first, open_node
from tests.embed.programs import ROOT, run
from tests.embed.seeing import config
from tests.runtime.nodes import PATIENCE

PROGRAM = """
    import os, signal, sys, threading
    from gossipreg.embed.threads import leave_first, start_node
    from tests.embed.seeing import config
    got = threading.Event()
    def hear(number, frame):
        print("the program hears of it; the node has left:", node.is_closed)
        got.set()
    signal.signal(signal.SIGTERM, {handler})
    node = start_node(config("bob", join=sys.argv[1:]))
    leave_first(node)
    node.register("orders", port=80)
"""


def test_the_program_hears_of_the_signal_when_the_node_has_left() -> None:
    said = run(textwrap.dedent(PROGRAM.format(handler="hear")) + "os.kill(os.getpid(), signal.SIGTERM)\ngot.wait(10)\n")
    assert said == "the program hears of it; the node has left: True\n"


def test_a_second_signal_is_passed_on_at_once() -> None:
    with open_node(config("ann")) as node:
        node.register("stock", port=80)
        said = run(
            textwrap.dedent(
                f"""
                import os, signal
                from gossipreg import Settings
                from gossipreg.embed.threads import leave_first, start_node
                from tests.embed.seeing import config
                got = []
                signal.signal(signal.SIGTERM, lambda number, frame: got.append(node.is_closed))
                slow_to_go = Settings(drain_time=60.0)
                node = start_node(config("bob", join=["{node.address}"], protocol=slow_to_go))
                leave_first(node)
                node.register("orders", port=80)
                node.wait_for("stock")
                os.kill(os.getpid(), signal.SIGTERM)
                print(got)
                os.kill(os.getpid(), signal.SIGTERM)
                print(got, flush=True)
                os._exit(0)
                """
            )
        )
    assert said == "[]\n[False]\n"


@pytest.mark.slow
def test_a_program_without_a_handler_ends_as_it_would_but_with_a_goodbye() -> None:
    with open_node(config("ann")) as node:
        program = textwrap.dedent(PROGRAM.format(handler="signal.SIG_DFL")) + "threading.Event().wait()\n"
        with subprocess.Popen([sys.executable, "-c", program, str(node.address)], cwd=ROOT) as process:
            try:
                node.wait_for("orders", timeout=PATIENCE)
                os.kill(process.pid, signal.SIGTERM)
                assert process.wait(PATIENCE) == -signal.SIGTERM
            finally:
                process.kill()
        assert {member.name: member.status for member in node.members()}["bob"] is Status.LEFT


def test_elsewhere_than_in_the_main_thread_it_is_refused() -> None:
    with (
        open_node(config("ann")) as node,
        ThreadPoolExecutor(1) as pool,
        pytest.raises(ConfigError, match=r"^leave_first: signals are handled in the main thread"),
    ):
        pool.submit(leave_first, node).result(PATIENCE)
