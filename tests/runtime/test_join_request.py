"""Requested joins: clusters merge while they run, and each seed that is not joined has its reason."""

from __future__ import annotations

from functools import partial

import pytest
import trio
import trio.testing

from gossipreg import limits
from gossipreg.errors import ConfigError, JoinFailed, NameConflict, NodeClosed
from gossipreg.node_info import JoinResult
from gossipreg.runtime.node import Node
from gossipreg.runtime.opening import open_node
from tests.runtime.nodes import PATIENCE, config
from tests.runtime.test_joining import FakeNames

#: A name that does not resolve.
NOWHERE = "nowhere.test"

OR_CELLS = ", or only one of the two has a cell"

KEYS = ("A" * 43 + "=", "B" * 42 + "A=")


async def sees(node: Node, *names: str) -> None:
    with trio.fail_after(PATIENCE):
        while {each.name for each in node.members() if each.status.is_present} != set(names):
            await node.wait_changed(None, node.index())


async def test_two_clusters_become_one() -> None:
    async with (
        open_node(config("a")) as a,
        open_node(config("b", a)) as b,
        open_node(config("c")) as c,
        open_node(config("d", c)) as d,
    ):
        await sees(b, "a", "b")
        await sees(d, "c", "d")
        await a.register("orders", port=1)
        await d.register("orders", port=2)
        assert await b.join([str(c.address)]) == JoinResult((str(c.address),), ())
        for node in (a, b, c, d):
            await sees(node, "a", "b", "c", "d")
            assert len(await node.wait_for("orders", at_least=2)) == 2
        assert (await b.join(str(c.address))).joined == (str(c.address),), "a member already: joined again"


async def free_port() -> str:
    with trio.socket.socket() as free:
        await free.bind(("127.0.0.1", 0))
        return "{}:{}".format(*free.getsockname())


async def test_a_seed_that_does_not_answer_is_named_beside_those_that_do() -> None:
    refused = await free_port()
    async with open_node(config("a")) as a, open_node(config("b")) as b:
        trio.socket.set_custom_hostname_resolver(FakeNames())
        result = await a.join([str(b.address), refused, NOWHERE])
        assert result.joined == (str(b.address),)
        assert {each.seed: each.reason for each in result.failures} == {refused: "refused", NOWHERE: "unresolved"}
        sentence = f"^not joined: {refused}: nothing listens there: the connection is refused; "
        with pytest.raises(
            JoinFailed, match=sentence + f"{NOWHERE}: its name does not resolve: Name or service not known$"
        ):
            await a.join([refused, NOWHERE])
        with pytest.raises(JoinFailed, match="it has no IPv4 address, and this node has no other"):
            await a.join("[::1]:7")


@pytest.mark.parametrize(
    ("there", "here", "why"),
    [
        ({"key": KEYS[0]}, {"key": KEYS[1]}, "it holds another key"),
        ({"key": KEYS[0]}, {}, "its gossip is sealed, and this node holds no key"),
        ({}, {"key": KEYS[0]}, "it gossips in clear, and this node holds a key"),
        ({}, {"cluster": "other"}, "its cluster has another name than 'other'"),
        (
            {"key": KEYS[0]},
            {"key": KEYS[0], "cluster": "other"},
            f"its cluster has another name than 'other'{OR_CELLS}",
        ),
        ({"key": KEYS[0], "cell": "a"}, {"key": KEYS[0]}, f"its cluster has another name than 'default'{OR_CELLS}"),
        ({"key": KEYS[0]}, {"key": KEYS[0], "cell": "a"}, f"its cluster has another name than 'default'{OR_CELLS}"),
        ({"cell": "a"}, {}, f"it closes the connection at once: it may have too many{OR_CELLS}"),
    ],
)
async def test_clusters_of_different_keys_or_names_stay_apart_and_the_reason_is_told(
    there: dict[str, str], here: dict[str, str], why: str
) -> None:
    async with open_node(config("a", **there)) as a, open_node(config("b", **here)) as b:
        with pytest.raises(JoinFailed, match=f"^not joined: {a.address}: {why}$"):
            await b.join([str(a.address)])
        assert [each.name for each in (*a.members(), *b.members())] == ["a", "b"]


async def test_itself_counts_as_joined_under_whatever_name() -> None:
    async with open_node(config("a", advertise="127.0.0.2")) as a:
        for host in ("127.0.0.1", "127.0.0.2"):
            assert (await a.join(f"{host}:{a.address.port}")).failures == ()


async def test_a_node_whose_seeds_are_wrong_is_brought_in() -> None:
    wrong = await free_port()
    async with open_node(config("a")) as a, open_node(config("b", join=[wrong])) as b:
        assert not b.info().joined
        assert (await b.join([str(a.address)])).failures == ()
        assert b.info().joined
        await sees(a, "a", "b")


async def test_one_whose_name_is_in_use_there_stops_with_that_error() -> None:
    wrong = await free_port()
    async with open_node(config("a")) as a:

        async def run_namesake() -> None:
            async with open_node(config("a", join=[wrong])) as namesake:
                await namesake.join([str(a.address)])
                await trio.sleep(PATIENCE)

        with pytest.raises(NameConflict):
            await run_namesake()


@pytest.mark.parametrize(
    ("seeds", "why"),
    [
        ([], "^seeds: 0 are named, not 1 to 16$"),
        (["10.0.0.1"] * (limits.JOIN_SEEDS_MAX + 1), "^seeds: 17 are named, not 1 to 16$"),
        (["10.0.0.1", "a/b"], "^seeds: cannot read 'a/b' as an address"),
        ("10.0.0.1:0", "^seeds: '10.0.0.1:0' cannot be called"),
        ([7], "is not a list of strings"),
    ],
)
async def test_what_is_no_address_is_refused_before_anything_is_tried(seeds: list[str], why: str) -> None:
    async with open_node(config("a")) as a:
        with pytest.raises(ConfigError, match=why):
            await a.join(seeds)


async def silent(nursery: trio.Nursery) -> str:
    """The address of a listener that accepts, and then says nothing."""

    async def wait(_: trio.SocketStream) -> None:
        await trio.sleep_forever()

    [listener] = await nursery.start(partial(trio.serve_tcp, wait, 0, host="127.0.0.1"))
    return "{}:{}".format(*listener.socket.getsockname())


async def test_a_join_ends_with_the_node_and_a_leaving_one_takes_none(nursery: trio.Nursery) -> None:
    there = await silent(nursery)
    async with open_node(config("a")) as a:

        async def ask() -> None:
            with pytest.raises(NodeClosed):
                await a.join([there])

        async with trio.open_nursery() as asking:
            asking.start_soon(ask)
            await trio.testing.wait_all_tasks_blocked()
            await a.leave()
        with pytest.raises(NodeClosed):
            await a.join([there])
    nursery.cancel_scope.cancel()


async def test_a_comparison_that_goes_on_is_told_as_such_in_the_end(
    nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "JOIN_REQUEST_SECONDS", 0.05)
    there = await silent(nursery)
    async with open_node(config("a")) as a:
        with pytest.raises(JoinFailed, match="it has not sent all of its state yet; the comparison goes on"):
            await a.join([there])
    nursery.cancel_scope.cancel()


async def test_no_more_addresses_are_tried_at_once_than_may_be(
    nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "JOIN_SEEDS_MAX", 2)
    monkeypatch.setattr(limits, "JOIN_REQUEST_SECONDS", 0.05)
    there = [await silent(nursery) for _ in range(3)]
    async with open_node(config("a")) as a:

        async def ask(*names: str) -> None:
            with pytest.raises(JoinFailed):
                await a.join(names)

        async with trio.open_nursery() as asking:
            asking.start_soon(ask, *there[:2])
            asking.start_soon(ask, there[2])
            await trio.testing.wait_all_tasks_blocked()
            opened = a.counters["streams_opened"]
        assert opened == 2, "the third waits for one of them"
    nursery.cancel_scope.cancel()
