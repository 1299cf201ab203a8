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
    said = run(textwrap.dedent(PROGRAM.format(handler="hear")) + "os.kill(os.getpid(), signal.SIGTERM)\ngot.wait(60)\n")
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


LOOP_PROGRAM = """
    import asyncio, os, signal, sys
    from gossipreg.embed.threads import leave_first, start_node
    from tests.embed.seeing import config

    async def main():
        loop, ended, other, heard = asyncio.get_running_loop(), asyncio.Event(), asyncio.Event(), []

        def hear():
            heard.append(node.is_closed)
            ended.set()

        loop.add_signal_handler(signal.SIGTERM, hear)
        loop.add_signal_handler(signal.SIGUSR1, other.set)
        node = start_node(config("bob"))
        leave_first(node)
        node.register("orders", port=80)
        os.kill(os.getpid(), signal.SIGUSR1)
        await other.wait()
        print("another signal is heard at once:", not node.is_closed)
        os.kill(os.getpid(), signal.SIGTERM)
        await ended.wait()
        await asyncio.sleep(0.2)
        print("the program hears of it; the node had left:", heard)

    {run}
"""


@pytest.mark.parametrize(
    "run_line", ["asyncio.run(main())", "import uvloop; uvloop.run(main())"], ids=["asyncio", "uvloop"]
)
def test_handlers_of_an_event_loop_hear_of_the_signal_once_and_when_the_node_has_left(run_line: str) -> None:
    if "uvloop" in run_line:
        pytest.importorskip("uvloop")
    said = run(textwrap.dedent(LOOP_PROGRAM.format(run=run_line)))
    assert said == "another signal is heard at once: True\nthe program hears of it; the node had left: [True]\n"


def test_a_second_signal_reaches_an_event_loop_at_once() -> None:
    program = """
        import asyncio, os, signal
        from gossipreg import Settings
        from gossipreg.embed.threads import leave_first, open_node, start_node
        from tests.embed.seeing import config

        async def main():
            heard, loop = asyncio.Event(), asyncio.get_running_loop()
            loop.add_signal_handler(signal.SIGTERM, heard.set)
            with open_node(config("ann")) as other:
                other.register("stock", port=80)
                slow = config("bob", join=[str(other.address)], protocol=Settings(drain_time=60.0))
                node = start_node(slow)
                leave_first(node)
                node.register("orders", port=80)
                node.wait_for("stock")
                os.kill(os.getpid(), signal.SIGTERM)
                await asyncio.sleep(0.1)
                print("the first one waits:", not heard.is_set())
                os.kill(os.getpid(), signal.SIGTERM)
                await heard.wait()
                print("the second one does not:", not node.is_closed, flush=True)
                os._exit(0)

        asyncio.run(main())
    """
    assert run(textwrap.dedent(program)) == "the first one waits: True\nthe second one does not: True\n"


def test_a_signal_to_a_fork_ends_the_fork_and_is_not_told_to_the_parents_loop() -> None:
    program = """
        import asyncio, os, signal, time, warnings
        from gossipreg.embed.threads import leave_first, start_node
        from tests.embed.seeing import config
        warnings.simplefilter("ignore", DeprecationWarning)  # of forks where there are threads: that is the matter here

        async def main():
            heard = []
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, lambda: heard.append("SIGTERM"))
            node = start_node(config("bob"))
            leave_first(node)
            ready, tell = os.pipe()
            child = os.fork()
            if not child:
                os.write(tell, b"x")
                time.sleep(60)
                os._exit(3)
            os.read(ready, 1)  # a signal that comes while Python sets up the child is lost
            os.kill(child, signal.SIGTERM)
            _, status = os.waitpid(child, 0)
            await asyncio.sleep(0.2)
            print(os.waitstatus_to_exitcode(status) == -signal.SIGTERM, heard, node.is_closed)
            node.leave()

        asyncio.run(main())
    """
    assert run(textwrap.dedent(program)) == "True [] False\n"


def test_each_of_several_signals_is_passed_on_once_and_in_order() -> None:
    said = run(
        """
        import os, signal, threading
        from gossipreg.embed.threads import leave_first, start_node
        from tests.embed.seeing import config
        heard, done = [], threading.Event()
        def hear(number, frame):
            heard.append((signal.Signals(number).name, node.is_closed))
            if len(heard) == 3:
                done.set()
            if number == signal.SIGINT:
                raise ValueError("a handler that fails")
        for each in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
            signal.signal(each, hear)
        node = start_node(config("bob"))
        leave_first(node)
        os.kill(os.getpid(), signal.SIGINT)
        try:
            os.kill(os.getpid(), signal.SIGTERM)
        except ValueError:
            pass  # of the first, though the second was heard as well
        print(*[name for name, _ in heard])
        node.wait_closed()
        os.kill(os.getpid(), signal.SIGQUIT)
        done.wait(60)
        print(heard[2])
        """
    )
    assert said == "SIGINT SIGTERM\n('SIGQUIT', True)\n"


def test_a_signal_that_the_program_ignores_stays_ignored() -> None:
    said = run(
        """
        import os, signal, time
        from gossipreg.embed.threads import leave_first, open_node
        from tests.embed.seeing import config
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        with open_node(config("bob")) as node:
            leave_first(node)
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.5)
            print(node.leaving, signal.getsignal(signal.SIGINT) is signal.SIG_IGN)
        """
    )
    assert said == "False True\n"


def test_handlers_of_nodes_that_are_closed_are_not_piled_up() -> None:
    said = run(
        """
        import signal
        from gossipreg.embed.threads import leave_first, open_node
        from tests.embed.seeing import config
        def hear(number, frame):
            print("heard")
        signal.signal(signal.SIGTERM, hear)
        for _ in range(3):
            with open_node(config("bob")) as node:
                leave_first(node, signal.SIGTERM)
        print(signal.getsignal(signal.SIGTERM).__self__.before[signal.SIGTERM] is hear)
        signal.raise_signal(signal.SIGTERM)
        """
    )
    assert said == "True\nheard\n"


HANGING = """
    import asyncio, os, signal, threading, time
    from gossipreg import Node
    from gossipreg.embed import host_thread
    from gossipreg.embed.threads import leave_first, open_node, start_node
    from tests.embed.seeing import config
    assert host_thread._LEAVE_PATIENCE == 2.0
    host_thread._LEAVE_PATIENCE = 0.2
    released = threading.Event()
    async def leave(self):  # as with a disk that hangs: the thread itself is stuck
        released.wait()
    Node.leave = leave
"""


@pytest.mark.parametrize(
    "ending",
    [
        "with open_node(config('bob')): pass",
        "start_node(config('bob')).leave()",
        "start_node(config('bob'))",
        """
    from gossipreg.embed import asyncio as embedded
    async def main():
        async with embedded.open_node(config("bob")):
            pass
    asyncio.run(main())
        """,
        """
    heard = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: heard.set())
    leave_first(start_node(config("bob")))
    os.kill(os.getpid(), signal.SIGTERM)
    heard.wait()
        """,
    ],
    ids=["block", "leave", "exit", "asyncio", "signal"],
)
def test_a_node_that_cannot_leave_delays_the_end_of_its_program_for_a_bounded_time(ending: str) -> None:
    assert run(textwrap.dedent(HANGING + "    " + ending.strip() + "\n    print('ended')\n")) == "ended\n"
