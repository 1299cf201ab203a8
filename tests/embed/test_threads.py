"""The node for programs made of threads: verbs that block, watches that can be left waiting, ends in good order."""

from __future__ import annotations

import gc
import logging
import queue
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
import trio

from gossipreg import (
    BindError,
    Config,
    ConfigError,
    InvalidInstance,
    NameConflict,
    NodeClosed,
    NoInstance,
    ServiceChange,
    Snapshot,
    Status,
    UnknownInstance,
)
from gossipreg.embed.chooser import Chooser
from gossipreg.embed.httpx import Transport
from gossipreg.embed.threads import BlockingNode, open_node, start_node
from gossipreg.protocol.local_registry import LocalRegistry
from tests.embed.programs import run
from tests.embed.seeing import assert_no_thread_is_left, config
from tests.runtime.nodes import PATIENCE


@pytest.fixture
def node() -> Iterator[BlockingNode]:
    """A node alone in its cluster."""
    with open_node(config("ann", zone="north", cluster="shop")) as node:
        yield node


# Verbs


def test_what_is_registered_is_found_and_what_is_deregistered_is_not(node: BlockingNode) -> None:
    made = node.register("orders", port=80, tags=["v2"], meta={"a": "b"}, weight=2, timeout=PATIENCE)
    assert (made.owner, made.zone, made.tags) == ("ann", "north", ("v2",))
    assert node.lookup("orders") == (made,)
    assert node.pick("orders", tag="v2") == made == node.own(made.id)
    assert node.wait_for("orders", timeout=PATIENCE) == (made,)
    assert (node.name, node.cluster, node.info().name) == ("ann", "shop", "ann")
    assert list(node.services()) == ["orders"]
    assert [member.name for member in node.members()] == ["ann"]
    before = node.index("orders")
    node.deregister(made.id, timeout=PATIENCE)
    assert node.lookup("orders") == ()
    assert node.index("orders") > before


def test_a_check_is_told_how_its_instance_is_and_maintenance_takes_it_out(node: BlockingNode) -> None:
    made = node.register("orders", port=80, checks=[{"name": "self", "ttl": 60}])
    node.heartbeat(made.id, check="self", timeout=PATIENCE)
    assert [each.id for each in node.wait_for("orders", timeout=PATIENCE)] == [made.id]
    assert (
        [report.check.name for report in node.checks()]
        == [report.check.name for report in node.checks(made.id)]
        == ["self"]
    )
    assert node.set_maintenance(made.id, "new disk", timeout=PATIENCE).reason == "new disk"
    assert node.lookup("orders") == ()
    assert node.command_checks in {"off", "own", "api"}


def test_refusals_are_raised_in_the_caller(node: BlockingNode) -> None:
    with pytest.raises(InvalidInstance, match=r"^port: "):
        node.register("orders", port=-1)
    with pytest.raises(UnknownInstance):
        node.deregister("none")
    with pytest.raises(NoInstance):
        node.pick("orders")


def test_a_node_that_cannot_start_says_why_in_the_caller(node: BlockingNode, tmp_path: Path) -> None:
    with pytest.raises(BindError, match=str(node.address.port)), open_node(Config(bind=str(node.address))):
        pytest.fail("it cannot be open")
    with pytest.raises(ConfigError, match=r"^key_file: cannot read"):
        start_node(Config(bind="127.0.0.1:0", key_file=tmp_path / "none"))


def test_waiting_has_an_end(node: BlockingNode) -> None:
    with pytest.raises(TimeoutError):
        node.wait_for("orders", timeout=0.01)


def test_two_nodes_find_each_other_and_the_one_that_leaves_is_gone(node: BlockingNode) -> None:
    with open_node(config("bob", node, cluster="shop")) as other:
        made = other.register("orders", port=80)
        assert node.wait_for("orders", timeout=PATIENCE) == (made,)
    assert other.is_closed
    assert {member.name: member.status for member in node.members()}["bob"] is Status.LEFT
    assert node.lookup("orders") == ()


def test_many_threads_may_use_one_node(node: BlockingNode) -> None:
    def work(number: int) -> str:
        made = node.register("orders", port=number)
        assert made in node.lookup("orders")
        return made.id

    with ThreadPoolExecutor(8) as pool:
        ids = set(pool.map(work, range(1, 101)))
    assert {each.id for each in node.lookup("orders")} == ids
    assert len(ids) == 100


# Watches


def test_a_watch_gives_a_snapshot_and_then_what_changes(node: BlockingNode) -> None:
    with node.watch("orders") as watch:
        assert next(watch).snapshot
        made = node.register("orders", port=80)
        assert watch.get(PATIENCE).added == (made,)
        node.deregister(made.id)
        assert next(watch).removed == (made,)


def test_a_change_for_which_no_wait_was_long_enough_is_the_next_one(node: BlockingNode) -> None:
    watch = node.watch("orders")
    watch.get()
    for _ in range(3):
        with pytest.raises(TimeoutError):
            watch.get(0.001)
    made = node.register("orders", port=80)
    assert watch.get(PATIENCE).added == (made,)


def test_events_tell_of_everything(node: BlockingNode) -> None:
    events = node.events()
    [snapshot] = next(events)
    assert isinstance(snapshot, Snapshot)
    made = node.register("orders", port=80)
    [event] = events.get(PATIENCE)
    assert event.instance == made  # type: ignore[union-attr]


def test_a_watch_can_call_back_and_what_the_callback_raises_ends_nothing(
    node: BlockingNode, caplog: pytest.LogCaptureFixture
) -> None:
    told: queue.Queue[ServiceChange] = queue.Queue()

    def tell(change: ServiceChange) -> None:
        told.put(change)
        if change.snapshot:
            raise ValueError("no such luck")

    with caplog.at_level(logging.ERROR), node.watch("orders").each(tell):
        assert told.get(timeout=PATIENCE).snapshot
        made = node.register("orders", port=80)
        assert told.get(timeout=PATIENCE).added == (made,)
    assert "a watch called back, and that failed" in caplog.text


def test_a_callback_may_use_the_node(node: BlockingNode) -> None:
    told: queue.Queue[str] = queue.Queue()

    def register(change: ServiceChange) -> None:
        if change.snapshot:
            told.put(node.register("stock", port=1, timeout=PATIENCE).id)

    with node.watch("orders").each(register):
        assert told.get(timeout=PATIENCE) == "stock-ann-1"


def test_closing_a_watch_ends_every_wait_for_it(node: BlockingNode) -> None:
    watch = node.watch("orders")
    next(watch)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(list, watch)
        watch.close()
        assert waiting.result(PATIENCE) == []
    with pytest.raises(NodeClosed, match=r"^nothing more will change"):
        watch.get()


def test_a_watch_that_is_dropped_leaves_nothing_behind(node: BlockingNode) -> None:
    watch = node.watch("orders")
    watch.get()
    with pytest.raises(TimeoutError):
        watch.get(0.001)
    assert len(node._thread._unsettled) == 1
    del watch
    gc.collect()
    assert not node._thread._unsettled


def test_watches_and_waits_end_with_the_node() -> None:
    with ThreadPoolExecutor(2) as pool:
        with open_node(config("ann")) as node:
            watch = node.watch("orders")
            next(watch)
            watching = pool.submit(list, watch)
            waiting = pool.submit(node.wait_for, "orders")
        assert watching.result(PATIENCE) == list(watch) == []
        with pytest.raises(NodeClosed):
            waiting.result(PATIENCE)


# Ends


def test_a_closed_node_answers_with_what_it_last_knew_where_that_is_asked_for() -> None:
    with open_node(config("ann")) as node:
        node.register("stock", port=80, tags=["v2"], zone="east")
        with open_node(config("bob", node)) as closed:
            closed.wait_for("stock", timeout=PATIENCE)
            chooser = Chooser(closed, last_known=True)
            [found] = closed.lookup("stock", last_known=True)
            assert not found.stale, "it is open"
            assert not closed.pick("stock", last_known=True).stale
            assert not chooser.choose("stock").stale
        [found] = closed.lookup("stock", last_known=True)
        assert (found.port, found.stale) == (80, True)
        assert closed.lookup("stock", tag="v1", last_known=True) == ()
        assert closed.pick("stock", zone="east", last_known=True).stale
        assert closed.pick("stock", last_known=True).stale
        assert chooser.choose("stock").stale
        with pytest.raises(NoInstance):
            closed.pick("orders", last_known=True)
        with pytest.raises(NodeClosed):
            closed.pick("stock")
        with pytest.raises(NodeClosed):
            Chooser(closed).choose("stock")


def test_a_closed_node_answers_nothing_as_if_it_were_current() -> None:
    with open_node(config("ann")) as node:
        node.register("orders", port=80)
    assert node.is_closed
    node.wait_closed()
    node.leave()
    assert node.name == "ann"
    attempts: list[Callable[[], object]] = [
        *(lambda: node.register("orders", port=81), lambda: node.watch("orders"), node.info),
        *(lambda: node.lookup("orders"), lambda: node.pick("orders"), lambda: node.next_term("orders")),
        *(node.services, node.members, node.policies, node.unreadable_policies, node.terms),
        lambda: Chooser(node).choose("orders"),
        lambda: httpx.Client(transport=Transport(node)).get("http://orders/"),
    ]
    for attempt in attempts:
        with pytest.raises(NodeClosed, match=r"^node 'ann' is closed: open a new one$"):
            attempt()


def test_leaving_from_many_threads_is_leaving_once(node: BlockingNode) -> None:
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda _: node.leave(timeout=PATIENCE), range(4))) == [None] * 4


def test_an_error_in_the_block_is_the_users_and_the_node_is_gone_all_the_same() -> None:
    with pytest.raises(ZeroDivisionError), open_node(config("ann")) as node:
        raise ZeroDivisionError
    assert node.is_closed
    assert_no_thread_is_left()


def test_a_node_that_has_to_yield_its_name_says_so_at_every_verb_and_at_the_end(node: BlockingNode) -> None:
    def second() -> None:
        with open_node(config("ann", node, cluster="shop")) as other:
            with pytest.raises(NameConflict):
                other.wait_closed(timeout=PATIENCE)
            with pytest.raises(NameConflict):
                other.register("orders", port=80)

    with pytest.raises(NameConflict, match=r"^the name 'ann' is held by the member at "):
        second()
    assert not node.is_closed


def test_when_the_loop_breaks_no_call_waits_for_ever_and_the_mistake_is_shown(node: BlockingNode) -> None:
    def use() -> None:
        with open_node(config("bob")) as broken, ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(broken.wait_for, "orders")
            watch = broken.watch("orders")
            watch.get(PATIENCE)
            broken._thread._token.run_sync_soon(lambda: 1 / 0)  # type: ignore[attr-defined]
            with pytest.raises(NodeClosed, match=r"^node 'bob' is closed"):
                waiting.result(PATIENCE)
            ends.append(list(watch))

    ends: list[object] = []
    with pytest.raises(trio.TrioInternalError):
        use()
    assert ends == [[]]


# Processes


def test_a_node_that_was_not_closed_leaves_when_the_interpreter_ends(node: BlockingNode) -> None:
    run(
        f"""
        from gossipreg.embed.threads import start_node
        from tests.embed.seeing import config
        node = start_node(config("bob", join=["{node.address}"], cluster="shop"))
        node.register("orders", port=80)
        node.watch("orders").each(lambda change: None)
        events = node.events()
        while len(node.members()) < 2:
            next(events)
        """
    )
    assert {member.name: member.status for member in node.members()}["bob"] is Status.LEFT


def test_ctrl_c_ends_a_wait_and_the_node_still_says_goodbye(node: BlockingNode) -> None:
    said = run(
        f"""
        import os, signal, threading
        from gossipreg.embed.threads import open_node
        from tests.embed.seeing import config
        try:
            with open_node(config("bob", join=["{node.address}"], cluster="shop")) as node:
                watch = node.events()
                while len(node.members()) < 2:
                    next(watch)
                threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGINT)).start()
                node.wait_for("never offered")
        except KeyboardInterrupt:
            print("interrupted", node.is_closed)
        """
    )
    assert said == "interrupted True\n"
    assert {member.name: member.status for member in node.members()}["bob"] is Status.LEFT


def test_a_fork_is_told_that_the_node_is_not_in_it_and_can_open_its_own() -> None:
    said = run(
        """
        import os, warnings
        warnings.simplefilter("ignore", DeprecationWarning)  # of forks where there are threads: that is the matter here
        from gossipreg import NodeClosed
        from gossipreg.embed.threads import open_node
        from tests.embed.seeing import config
        with open_node(config("ann")) as node:
            watch = node.watch("orders")
            next(watch)
            try:
                watch.get(0.001)
            except TimeoutError:
                pass  # from now on something is awaited
            child = os.fork()
            if child:
                os.waitpid(child, 0)
                node.register("orders", port=80)
                print("parent:", len(node.lookup("orders")), watch.get().added[0].id)
            else:
                for use in (lambda: node.lookup("a"), lambda: node.pick("a"), lambda: node.register("a", port=1),
                            lambda: node.watch("a"), watch.get, node.members, node.wait_closed, lambda: node.name):
                    try:
                        use()
                    except NodeClosed as error:
                        assert "open one in each worker, after the fork" in str(error), error
                    else:
                        raise AssertionError("the fork can use the node")
                assert node.is_closed
                node.leave()
                watch.close()
                del watch
                with open_node(config("child")) as own:
                    print("child:", own.register("orders", port=81).owner, flush=True)
        """
    )
    assert said == "child: child\nparent: 1 orders-ann-80\n"


def test_an_invariant_of_the_engine_that_a_verb_finds_broken_ends_the_node(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise AssertionError("an invariant")

    node = start_node(config("ann"))
    with monkeypatch.context() as patch:
        patch.setattr(LocalRegistry, "_publish", broken)
        with pytest.raises(AssertionError, match="an invariant"):
            node.register("orders", port=80, timeout=PATIENCE)
    with pytest.RaisesGroup(pytest.RaisesExc(AssertionError, match="an invariant"), flatten_subgroups=True):
        node.wait_closed(timeout=PATIENCE)
