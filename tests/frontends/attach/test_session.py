"""Sessions: what an agent answers to attached processes, also to those that say nonsense or do not read."""

from __future__ import annotations

import functools
import json
from contextlib import suppress
from pathlib import Path

import attrs
import pytest
import trio
import trio.testing

from gossipreg import limits
from gossipreg.attach import frames
from gossipreg.counters import Count
from gossipreg.events import Snapshot
from gossipreg.frontends.serving import limits as serving_limits
from gossipreg.frontends.serving.access import Access, Token, _digest_of
from gossipreg.frontends.serving.scopes import Grant, Scope
from gossipreg.model import Health, Instance
from gossipreg.observations import ObserverReport
from gossipreg.regional import CellInfo, RegionalService
from tests.frontends.attach.processes import FakeAgent, agent
from tests.frontends.fake_node import FakeNode, member


def instance(number: int, **fields: object) -> Instance:
    known = {"id": f"o-{number:04}", "service": "orders", "host": "10.0.0.1", "port": 1000 + number, "owner": "beta"}
    return Instance(**{**known, **fields})  # type: ignore[arg-type]


async def refusal(where: FakeAgent, **hello: object) -> tuple[str, int]:
    process = await where.attach(**hello)  # type: ignore[arg-type]
    frame = await process.hear_of(frames.REFUSED)
    assert await process.hear() is None, "and the stream ends"
    return frame[2], where.counters[Count.ATTACH_REFUSED]


async def test_it_is_greeted_and_told_of_the_node(fake: FakeNode) -> None:
    async with agent(fake) as where:
        process = await where.attach()
        kind, hello = await process.hear() or []
        assert (kind, hello["version"], len(hello["boot"])) == (frames.HELLO, 1, 8)
        kind, node = await process.hear() or []
        assert kind == frames.NODE
        assert (node["name"], node["cluster"], node["zone"], node["reachable"]) == ("alpha", "default", "north", 1.0)
        fake.reachable = 0.5
        fake.hold(instance(1))  # anything that changes
        assert await process.hear_of(frames.NODE) == [frames.NODE, {"reachable": 0.5}]


async def test_a_service_is_told_whole_then_what_changes(fake: FakeNode) -> None:
    fake.hold(instance(1))
    async with agent(fake) as where:
        process = await where.attach()
        await process.say(frames.FOLLOW, 7, "orders", 0)
        view = await process.hear_of(frames.VIEW)
        assert view == [frames.VIEW, 7, fake.index("orders"), True, True, (), (instance(1),)]
        sick = instance(2, health=Health.CRITICAL)
        fake.hold(sick)
        assert (await process.hear_of(frames.VIEW))[3:] == [False, True, (), ((sick, None),)]
        fake.drop(instance(1))
        assert (await process.hear_of(frames.VIEW))[3:] == [False, True, (("o-0001", "beta"),), ()]


async def test_a_copy_that_is_current_is_not_told_again(fake: FakeNode) -> None:
    fake.hold(instance(1))
    async with agent(fake) as where:
        process = await where.attach()
        await process.say(frames.FOLLOW, 7, "orders", fake.index("orders"))
        assert (await process.hear_of(frames.VIEW))[3:] == [False, True, (), ()]
        fake.hold(instance(2))
        assert (await process.hear_of(frames.VIEW))[3:] == [False, True, (), (instance(2),)]


async def test_a_large_service_comes_in_pieces(fake: FakeNode) -> None:
    many = [instance(number) for number in range(limits.ATTACH_INSTANCES_PER_FRAME + 1)]
    for each in many:
        fake.hold(each)
    async with agent(fake) as where:
        process = await where.attach()
        await process.say(frames.FOLLOW, 1, "orders", 0)
        first, second = await process.hear_of(frames.VIEW), await process.hear_of(frames.VIEW)
        assert (first[4], len(first[6])) == (False, limits.ATTACH_INSTANCES_PER_FRAME)
        assert (second[4], len(second[6])) == (True, 1)
        await process.say(frames.EVENTS, 2, None, 0.0, True)
        first, second = await process.hear_of(frames.BATCH), await process.hear_of(frames.BATCH)
        assert isinstance(first[2][0], Snapshot)
        assert [first[3], second[3]] == [False, True]
        assert first[2][0].instances + second[2][0].instances == tuple(many)


async def test_events_of_all_cells_are_told_to_a_process_that_asks_for_them(fake: FakeNode) -> None:
    fake.see("joined", attrs.evolve(member("gamma", 7942), cell="b"))
    async with agent(fake) as where:
        process = await where.attach()
        for number, more in ((1, ()), (2, (True,))):
            await process.say(frames.EVENTS, number, None, 0.0, True, *more)
        told = [(await process.hear_of(frames.BATCH))[1:3] for _ in range(2)]
        assert [(number, [each.name for each in batch[0].members]) for number, batch in sorted(told)] == [
            (1, ["alpha"]),
            (2, ["alpha", "gamma"]),
        ]


async def test_what_is_not_followed_any_more_is_not_told(fake: FakeNode) -> None:
    async with agent(fake) as where:
        process = await where.attach()
        for number in (1, 2):
            await process.say(frames.FOLLOW, number, "orders", 0)
            await process.hear_of(frames.VIEW)
        await process.say(frames.UNFOLLOW, 1)
        await process.ask(9, "services")
        fake.hold(instance(1))
        assert (await process.hear_of(frames.VIEW))[1] == 2
        await process.say(frames.UNFOLLOW, 2)
        await process.ask(10, "services")
        assert not where.server._followers


async def test_the_effect_of_a_request_is_told_before_its_answer(fake: FakeNode) -> None:
    async with agent(fake) as where:
        process = await where.attach()
        await process.say(frames.FOLLOW, 1, "orders", 0)
        await process.hear_of(frames.VIEW)
        await process.say(frames.ASK, 2, "register_many", {"specs": [{"service": "orders", "port": 80}]})
        assert (await process.hear_of(frames.VIEW))[6][0].port == 80
        assert (await process.hear_of(frames.DONE))[2][0][0].port == 80


def far(*instances: Instance) -> RegionalService:
    return RegionalService(
        service="orders", region="eu", index=5, instances=instances, healthy=instances, age=1.5, stale=False
    )


async def test_other_regions_are_asked_for(fake: FakeNode) -> None:
    there = far(instance(1, region="eu", tags=("v2",)))
    fake.elsewhere["eu"] = {"orders": there}
    async with agent(fake) as where:
        process = await where.attach()

        async def answer(verb: str, **values: object) -> object:
            kind, _, value, *_ = await process.ask(1, verb, **values)
            assert kind == frames.DONE, value
            return value

        assert await answer("regional_service", service="orders", region="eu") == there
        assert await answer("fetch", service="orders", region="eu", patience=7) == there
        assert fake.patience == 7
        directory = await answer("fetch_directory", region="eu", patience=0.0)
        assert directory == await answer("regional_directory", region="eu") == fake.regional_directory("eu")
        assert fake.patience == 0
        fake.of_cells = (CellInfo(name="a", own=True), CellInfo(name="b", relays=("x",), age=1.5))
        assert await answer("cells") == fake.of_cells
        assert await answer("regions") == fake.regions()
        assert await answer("index", service="orders", region="eu") == 5
        assert await answer("wait_changed", service="orders", region="eu", index=4) == 5
        assert (
            await answer("with_failover", service="orders", failover=["eu"], threshold=0.5, tag=None, role=None)
            == there.instances
        )
        selected = {"healthy": True, "tag": None, "zone": None, "role": None, "panic": 0.0}
        assert await answer("lookup", service="orders", **selected, region="eu") == there.instances
        assert await answer("lookup", service="orders", **selected) == ()
        _, _, code, sentence, _ = await process.ask(2, "regional_service", service="orders", region="mars")
        assert (code, "mars" in sentence) == ("unknown_region", True)


async def test_events_of_other_regions_are_told(fake: FakeNode) -> None:
    there = far(instance(1, region="eu"))
    fake.elsewhere["eu"] = {"orders": there}
    async with agent(fake) as where:
        process = await where.attach()
        for number, (region, failover) in enumerate((("eu", []), (None, ["eu"]))):
            await process.say(frames.REGIONAL, number, "orders", region, failover, 0.0, None, None)
            told = await process.hear_of(frames.BATCH)
            assert told == [frames.BATCH, number, (Snapshot((), there.instances),), True]
        await process.say(frames.REGIONAL, 7, "orders", "mars", [], 0.5, "a", "b")
        assert (await process.hear_of(frames.FAILED))[1:3] == [7, "unknown_region"]
        assert (await process.ask(8, "services"))[0] == frames.DONE, "the stream goes on"


async def test_instances_go_with_the_stream(fake: FakeNode) -> None:
    async with agent(fake) as where:
        process = await where.attach()
        await process.ask(1, "register_many", specs=[{"service": "orders", "port": 80}])
        assert fake.lookup("orders")
        await process.stream.aclose()
        await trio.testing.wait_all_tasks_blocked()
        assert not fake.lookup("orders")


async def test_a_process_changes_only_what_it_has_registered(fake: FakeNode) -> None:
    await fake.register("orders", port=80, id="others")
    async with agent(fake) as where:
        process = await where.attach()
        verbs: list[tuple[str, dict[str, object]]] = [
            ("deregister", {}),
            ("set_maintenance", {"reason": "x"}),
            ("heartbeat", {"check": None, "health": "passing", "note": ""}),
            ("checks", {}),
        ]
        for number, (verb, more) in enumerate(verbs):
            answer = await process.ask(number, verb, id="others", **more)
            assert answer[:3] == [frames.FAILED, number, "unknown_instance"], verb
        assert fake.own("others") is not None


async def test_errors_keep_their_code_and_field(fake: FakeNode) -> None:
    async with agent(fake) as where:
        process = await where.attach()
        answer = await process.ask(1, "register_many", specs=[{"service": "orders", "port": "80"}])
        assert answer == [frames.FAILED, 1, "invalid_instance", '"80" is not a whole number', "port"]
        answer = await process.ask(2, "remove_policy", key="x")
        assert answer[2] == "unknown_policy"


async def test_commands_are_taken_if_the_agent_takes_them_from_clients(fake: FakeNode) -> None:
    spec = {"service": "orders", "port": 80, "checks": [{"command": ["true"]}]}
    access = access_of(Scope.READ, Scope.WRITE, Scope.CHECKS)
    async with agent(fake, access) as where:
        process = await where.attach(token="t" * 16)
        fake.command_checks = "own"
        assert "--command-checks api" in (await process.ask(1, "register_many", specs=[spec]))[3]
        fake.command_checks = "api"
        assert (await process.ask(2, "register_many", specs=[spec]))[0] == frames.DONE


# Access


def access_of(*scopes: Scope) -> Access:
    return Access((Token("app", _digest_of("t" * 16), frozenset(scopes)),))


async def test_a_process_needs_a_token_where_there_are_tokens(fake: FakeNode) -> None:
    async with agent(fake, access_of(Scope.READ)) as where:
        assert "token" in (await refusal(where))[0]
        assert "not one of" in (await refusal(where, token="wrong"))[0]
        assert (await (await where.attach(token="t" * 16)).hear() or [])[0] == frames.HELLO


async def test_a_token_may_be_for_some_services_only(fake: FakeNode) -> None:
    grants = [Grant(Scope.READ, "orders"), Grant(Scope.WRITE, "orders"), Grant(Scope.POLICY, "orders")]
    fake.hold(instance(1))
    async with agent(fake, Access((Token.of("app", _digest_of("t" * 16), grants),))) as where:
        process = await where.attach(token="t" * 16)
        for number, service in enumerate(("orders", "others")):
            await process.say(frames.FOLLOW, number, service, 0)
        assert (await process.hear_of(frames.FAILED))[1] == 1
        for number, (service, kind) in enumerate((("orders", frames.DONE), ("others", frames.FAILED)), start=10):
            specs = [{"service": service, "port": 80}]
            assert (await process.ask(number, "register_many", specs=specs))[0] == kind
            rule = {"service": service, "instance": "o-0001", "weight": 3}
            assert (await process.ask(20 + number, "set_policy", kind="weight", fields=rule))[0] == kind
            await process.say(frames.EVENTS, 40 + number, service, 0.0, True)
            assert (await process.hear_of(frames.BATCH if kind == frames.DONE else frames.FAILED))[1] == 40 + number
        assert (await process.ask(60, "members"))[0] == frames.FAILED
        assert not fake.lookup("others")


async def test_changes_go_into_the_audit_log(fake: FakeNode, tmp_path: Path) -> None:
    access = access_of(Scope.READ, Scope.WRITE)
    async with agent(fake, access) as where:
        where.server.audit.path = tmp_path / "audit"
        where.server.audit.open()
        process = await where.attach(token="t" * 16)
        await process.ask(1, "register_many", specs=[{"service": "orders", "port": 80}])
        await process.ask(2, "forget", name="beta")
        lines = [json.loads(line) for line in (tmp_path / "audit").read_text().splitlines()]
        assert [(each["action"], each["outcome"], each["token"]) for each in lines] == [
            ("register_many", "done", "app"),
            ("forget", "refused", "app"),
        ]
        where.server.audit.close()


async def test_each_verb_takes_its_scope(fake: FakeNode) -> None:
    async with agent(fake, access_of(Scope.READ)) as where:
        process = await where.attach(token="t" * 16)
        fake.hold(instance(1))
        assert (await process.ask(1, "services"))[0] == frames.DONE
        verbs: list[tuple[str, dict[str, object]]] = [
            ("register_many", {"specs": []}),
            ("deregister", {"id": "x"}),
            ("heartbeat", {"id": "x"}),
            ("set_maintenance", {"id": "x"}),
            ("set_policy", {"kind": "weight", "fields": {}}),
            ("remove_policy", {"key": "x"}),
            ("forget", {"name": "x"}),
            ("reset_term", {"service": "x"}),
            ("gossip_keys", {}),
            ("add_gossip_key", {"key": "x"}),
            ("use_gossip_key", {"id": "x"}),
            ("remove_gossip_key", {"id": "x"}),
            ("credentials", {"service": "orders", "id": "o-0001", "owner": "beta"}),
        ]
        for number, (verb, values) in enumerate(verbs, start=2):
            answer = await process.ask(number, verb, **values)
            assert (answer[0], answer[2]) == (frames.FAILED, "agent_refused"), verb
            assert "is for read" in answer[3], verb


# Nonsense, and limits


@pytest.mark.parametrize(
    "data",
    [
        b"\0\0\0\1\xc1",
        b"GET / HTTP/1.1\r\n\r\n",
        frames.pack([]),
        frames.pack([1]),
        frames.pack([frames.HELLO]),
        frames.pack([frames.ASK, 1, "info", {}]),
        frames.pack([frames.HELLO, {"version": 1}]),
        frames.pack([frames.HELLO, {"version": 1, "session": b"short", "grace": 0}]),
        frames.pack([frames.HELLO, {"version": 1, "session": b"s" * 16, "grace": float("nan")}]),
        frames.pack([frames.HELLO, {"version": 1, "session": b"s" * 16, "grace": limits.ATTACH_GRACE_SECONDS_MAX + 1}]),
        frames.pack([frames.HELLO, {"version": 1, "session": b"s" * 16, "grace": 0, "token": 1}]),
        (limits.ATTACH_FRAME_BYTES_MAX + 1).to_bytes(4, "big"),
        b"\0\0\0\4\xc7\1\1a",  # an extension
    ],
)
async def test_a_stream_that_begins_with_nonsense_is_closed(fake: FakeNode, data: bytes) -> None:
    async with agent(fake) as where:
        process = where.begin()
        await process.stream.send_all(data)
        assert await process.hear() is None
        assert where.counters[Count.ATTACH_JUNK] == 1
        assert not where.server._sessions


_INNERMOST: object = 1


def _wrapped(inner: object, _: int) -> object:
    return [inner]


@pytest.mark.parametrize(
    "frame",
    [
        ["nothing"],
        [frames.ASK, 1, "run", {}],
        [frames.ASK, 1, "info", []],
        [frames.ASK, 1, "round_trip", {"name": 1}],
        [frames.ASK, 1, "wait_changed", {"index": True}],
        [frames.ASK, 1, "register_many", {"specs": [1]}],
        [frames.ASK, 1, "set_policy", {"kind": "x", "fields": {}}],
        [frames.ASK, "1", "info", {}],
        [frames.FOLLOW, 1, "orders", None],
        [frames.EVENTS, 1, 2, 0.0, True],
        [frames.REGIONAL, 1, None, "eu", []],
        [frames.REGIONAL, 1, "orders", "eu", [2]],
        [frames.ASK, 1, "fetch_directory", {"region": "eu", "patience": -1.0}],
        [frames.ASK, 1, "fetch_directory", {"region": "eu", "patience": float("nan")}],
        [frames.ASK, 1, "info", {"deep": functools.reduce(_wrapped, range(100), _INNERMOST)}],
        [frames.UNFOLLOW],
        [frames.HELLO, {}],
    ],
)
async def test_nonsense_ends_the_stream_and_what_was_bound_to_it(fake: FakeNode, frame: list[object]) -> None:
    async with agent(fake) as where:
        process = await where.attach(grace=0)
        await process.ask(100, "register_many", specs=[{"service": "orders", "port": 80}])
        await process.say(*frame)
        while await process.hear() is not None:
            pass
        assert where.counters[Count.ATTACH_JUNK] == 1
        await trio.testing.wait_all_tasks_blocked()
        assert not fake.lookup("orders")


async def test_a_frame_of_the_largest_size_is_taken(fake: FakeNode) -> None:
    async with agent(fake) as where:
        process = await where.attach()
        room = limits.ATTACH_FRAME_BYTES_MAX - len(frames.pack([frames.ASK, 1, "round_trip", {"name": ""}])) - 4
        assert (await process.ask(1, "round_trip", name="x" * room))[0] == frames.DONE


async def test_another_version_is_refused_with_the_remedy(fake: FakeNode) -> None:
    async with agent(fake) as where:
        assert await refusal(where, version=2) == (
            "the agent speaks version 1 of the attach protocol, and this process another: upgrade the older of the two",
            1,
        )


async def test_a_number_is_used_once_at_a_time(fake: FakeNode) -> None:
    async with agent(fake) as where:
        process = await where.attach()
        await process.say(frames.FOLLOW, 1, "orders", 0)
        await process.say(frames.ASK, 1, "info", {})
        while await process.hear() is not None:
            pass
        assert where.counters[Count.ATTACH_JUNK] == 1


async def test_no_more_processes_than_allowed(fake: FakeNode, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "ATTACHED_MAX", 1)
    async with agent(fake) as where:
        await (await where.attach()).hear()
        assert await refusal(where) == ("1 processes are attached, which is the limit: end one or try later", 1)


async def test_silent_streams_do_not_keep_others_out(
    fake: FakeNode, autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "ATTACHED_UNPROVEN_MAX", 1)
    async with agent(fake) as where:
        silent = where.begin()
        await trio.testing.wait_all_tasks_blocked()
        await refusal(where)
        begun = trio.current_time()
        assert await silent.hear() is None
        assert trio.current_time() - begun == pytest.approx(limits.ATTACH_FRAME_SECONDS_MAX)
        assert (await (await where.attach()).hear() or [])[0] == frames.HELLO


async def test_a_frame_that_stops_in_the_middle_ends_the_stream(
    fake: FakeNode, autojump_clock: trio.testing.MockClock
) -> None:
    async with agent(fake) as where:
        process = await where.attach()
        await process.hear_of(frames.NODE)
        await trio.sleep(1000)  # it may be silent between frames
        await process.stream.send_all(b"\0\0")
        begun = trio.current_time()
        assert await process.hear() is None
        assert trio.current_time() - begun == pytest.approx(limits.ATTACH_FRAME_SECONDS_MAX)
        assert where.counters[Count.ATTACH_SLOW] == 1


async def test_no_more_is_followed_than_allowed(fake: FakeNode, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "ATTACH_FOLLOWS_MAX", 2)
    async with agent(fake) as where:
        process = await where.attach()
        await process.say(frames.FOLLOW, 1, "a", 0)
        await process.say(frames.EVENTS, 2, None, 0.0, True)
        await process.say(frames.FOLLOW, 3, "c", 0)
        assert (await process.hear_of(frames.FAILED))[1:3] == [3, "agent_refused"]


def lockstep(where: FakeAgent) -> object:
    """A stream whose agent's end waits until the process reads."""
    ours, theirs = trio.testing.lockstep_stream_pair()
    where.nursery.start_soon(where.server.serve, theirs, lambda: None)
    return ours


async def test_a_process_that_does_not_read_is_cut(fake: FakeNode, autojump_clock: trio.testing.MockClock) -> None:
    async with agent(fake) as where:
        stream = lockstep(where)
        hello = {"version": 1, "session": b"s" * 16, "grace": 0, "token": None}
        await stream.send_all(frames.pack([frames.HELLO, hello]))  # type: ignore[attr-defined]
        begun = trio.current_time()
        await trio.sleep(limits.ATTACH_FRAME_SECONDS_MAX + 1)
        assert where.counters[Count.ATTACH_SLOW] == 1
        assert not where.server._sessions
        assert trio.current_time() - begun < limits.ATTACH_FRAME_SECONDS_MAX + 2


async def test_requests_wait_for_room_for_their_answers(fake: FakeNode, autojump_clock: trio.testing.MockClock) -> None:
    async with agent(fake) as where:
        process = await where.attach()
        for number in range(limits.ATTACH_ASKS_MAX):
            await process.say(frames.ASK, number, "wait_changed", {"index": fake.index()})
        await process.say(frames.ASK, 1000, "services", {})
        with trio.move_on_after(5):
            await process.hear_of(frames.DONE)
            raise AssertionError("answered beyond the limit")
        await process.say(frames.CANCEL, 0)  # waits in the stream behind the request that there is no room for
        fake.hold(instance(1))
        done = {(await process.hear_of(frames.DONE))[1] for _ in range(limits.ATTACH_ASKS_MAX + 1)}
        assert 1000 in done


async def test_a_long_answer_is_packed_while_others_have_their_turn(
    fake: FakeNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving_limits, "SLICE_SECONDS", 0.0)
    fake.reports = tuple(ObserverReport(f"m{number}", "", version="1") for number in range(300))
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            await trio.lowlevel.checkpoint()
            turns += 1

    async with agent(fake) as where, trio.open_nursery() as nursery:
        process = await where.attach()
        nursery.start_soon(count)
        _, _, answer = await process.ask(1, "observer_reports")
        nursery.cancel_scope.cancel()
    assert tuple(answer) == fake.reports
    assert turns >= 300


async def test_a_cancelled_request_is_not_answered(fake: FakeNode) -> None:
    async with agent(fake) as where:
        process = await where.attach()
        await process.say(frames.ASK, 1, "wait_changed", {"index": fake.index()})
        await process.say(frames.CANCEL, 1)
        await process.ask(2, "services")
        fake.hold(instance(1))
        await process.say(frames.ASK, 3, "services", {})
        assert (await process.hear_of(frames.DONE))[1] == 3


async def test_answers_beyond_the_buffer_end_the_stream(
    fake: FakeNode, autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "ATTACH_OUTGOING_BYTES_MAX", 1000)
    async with agent(fake) as where:
        stream = lockstep(where)
        hello = {"version": 1, "session": b"s" * 16, "grace": 0, "token": None}
        await stream.send_all(frames.pack([frames.HELLO, hello]))  # type: ignore[attr-defined]
        for number in range(10):
            with trio.move_on_after(1), suppress(trio.BrokenResourceError):
                await stream.send_all(frames.pack([frames.ASK, number, "info", {}]))  # type: ignore[attr-defined]
        assert where.counters[Count.ATTACH_SLOW] == 1
