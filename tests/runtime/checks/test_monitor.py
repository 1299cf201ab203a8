"""Each check has its own schedule: none waits for another, none piles up, and a stopped node fails none.

The clock is a virtual one that jumps to the next deadline whenever everything waits.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from itertools import pairwise

import attrs
import pytest
import trio
from trio.testing import MockClock

from gossipreg import limits
from gossipreg.check import Check
from gossipreg.errors import InvalidInstance
from gossipreg.model import Health
from gossipreg.protocol.registry.checks import Finding
from gossipreg.runtime.checks.monitor import Monitor

P, C = Finding(Health.PASSING, "fine"), Finding(Health.CRITICAL, "not so fine\nat all")


@attrs.define(eq=False)
class Watcher:
    """A monitor with a probe that a test decides, and a diary of what it did."""

    nursery: trio.Nursery
    says: Callable[[str], Finding | None] = lambda _: P
    lasts: dict[str, float] = attrs.field(factory=dict)  # how long the runs of a check take, by its name (seconds)
    ran: list[tuple[str, float]] = attrs.field(factory=list)  # which check began to run, and when
    running: Counter[str] = attrs.field(factory=Counter)
    most: int = 0  # runs at once
    changed: list[str] = attrs.field(factory=list)
    flapped: list[str] = attrs.field(factory=list)
    expired: list[tuple[str, float]] = attrs.field(factory=list)
    counters: Counter[str] = attrs.field(factory=Counter)
    monitor: Monitor = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.monitor = Monitor(
            self.nursery,
            self.probe,
            self.changed.append,
            lambda id_, _: self.flapped.append(id_),
            lambda id_, _: self.expired.append((id_, trio.current_time())),
            self.counters,
            random.Random(1),
        )

    async def probe(self, _: str, check: Check) -> Finding | None:
        self.ran.append((check.name, trio.current_time()))
        self.running[check.name] += 1
        self.most = max(self.most, self.running.total())
        assert self.running[check.name] == 1, "no check runs twice at a time"
        await trio.sleep(min(self.lasts.get(check.name, 0.001), check.timeout))
        self.running[check.name] -= 1
        return self.says(check.name)

    def times(self, name: str = "tcp") -> list[float]:
        return [at for which, at in self.ran if which == name]

    def health(self, id_: str, *checks: Check) -> Health:
        return self.monitor.standing(id_, checks, None)[0]


@pytest.fixture
def watcher(nursery: trio.Nursery) -> Watcher:
    return Watcher(nursery)


def tcp(name: str = "tcp", **fields: float) -> Check:
    known = {"interval": 1.0} | {key: fields[key] for key in ("interval", "timeout", "jitter") if key in fields}
    return Check(tcp="127.0.0.1:1", name=name, deregister_after=fields.get("deregister_after"), **known)  # type: ignore[arg-type]


async def test_a_check_is_run_at_once_and_then_at_every_interval(watcher: Watcher, autojump_clock: MockClock) -> None:
    begun = trio.current_time()
    watcher.monitor.put("o", [tcp(jitter=0)])
    await trio.sleep(20.5)
    first, second, *rest = (at - begun for at in watcher.times())
    assert first == 0
    assert second < 1
    assert rest == pytest.approx([second + step for step in range(1, len(rest) + 1)], abs=0.01)
    assert watcher.changed == ["o"]


async def test_intervals_are_shorter_by_up_to_the_jitter_and_never_longer(
    watcher: Watcher, autojump_clock: MockClock
) -> None:
    watcher.monitor.put("o", [tcp(jitter=0.2)])
    await trio.sleep(50)
    times = watcher.times()[1:]
    gaps = [after - before for before, after in pairwise(times)]
    assert min(gaps) >= 0.8
    assert max(gaps) <= 1.01
    assert max(gaps) - min(gaps) > 0.15


async def test_a_thousand_checks_that_begin_together_do_not_run_together(
    watcher: Watcher, autojump_clock: MockClock
) -> None:
    begun = trio.current_time()
    for number in range(1000):
        watcher.monitor.put(f"o{number}", [tcp(f"c{number}", interval=10.0)])
    await trio.sleep(60)
    assert watcher.most <= 5
    in_each = Counter(int(at - begun) for _, at in watcher.ran)
    assert all(70 < in_each[second] < 140 for second in range(12, 58)), "spread over the interval"


async def test_a_thousand_checks_that_are_due_at_once_after_a_stop_are_no_stampede(
    watcher: Watcher, autojump_clock: MockClock
) -> None:
    for number in range(1000):
        watcher.monitor.put(f"o{number}", [tcp(f"c{number}", interval=10.0)])
    await trio.sleep(30)
    autojump_clock.jump(3600)  # nothing runs for an hour
    resumed, before = trio.current_time(), len(watcher.ran)
    await trio.sleep(5)
    soon = [at for _, at in watcher.ran[before:]]
    assert watcher.most <= 5
    assert 1000 <= len(soon) < 1600, "each once, and nothing is caught up on"
    assert max(Counter(int((at - resumed) * 10) for at in soon).values()) <= limits.CHECK_STARTS_PER_SECOND / 10 + 1


async def test_a_run_that_outlasts_its_interval_skips_what_it_missed(
    watcher: Watcher, autojump_clock: MockClock
) -> None:
    watcher.lasts["tcp"] = 2.5
    watcher.monitor.put("o", [tcp(timeout=5.0, jitter=0)])
    await trio.sleep(31)
    times = watcher.times()[1:]
    gaps = [after - before for before, after in pairwise(times)]
    assert gaps == pytest.approx([3.0] * len(gaps), abs=0.01)


async def test_targets_that_hang_delay_no_other_check(watcher: Watcher, autojump_clock: MockClock) -> None:
    for number in range(300):
        watcher.lasts[f"slow{number}"] = 60.0
        watcher.monitor.put(f"s{number}", [tcp(f"slow{number}", timeout=2.0)])
    await trio.sleep(30)  # by now it is known that they are slow
    watcher.ran.clear()
    watcher.monitor.put("o", [tcp("quick", jitter=0)])
    await trio.sleep(20.5)
    times = watcher.times("quick")[1:]
    gaps = [after - before for before, after in pairwise(times)]
    assert gaps == pytest.approx([1.0] * len(gaps), abs=0.05)
    slow = sum(count for name, count in watcher.running.items() if name.startswith("slow"))
    assert slow <= limits.SLOW_CHECK_RUNS_MAX


async def test_a_run_that_says_nothing_is_run_again_and_not_counted(
    watcher: Watcher, autojump_clock: MockClock
) -> None:
    findings: list[Finding | None] = [None, P]
    watcher.says = lambda _: findings.pop(0) if findings else P
    watcher.monitor.put("o", [tcp()])
    await trio.sleep(0.5)
    [report] = watcher.monitor.reports("o", "orders")
    assert report.health is Health.PASSING
    assert report.runs == len(watcher.ran) - 1


async def test_a_check_that_stays_the_same_goes_on_and_one_that_changes_begins_anew(
    watcher: Watcher, autojump_clock: MockClock
) -> None:
    same, before, after = tcp("same"), tcp("other"), tcp("other", interval=2.0)
    watcher.monitor.put("o", [same, before])
    await trio.sleep(5)
    assert watcher.health("o", same, before) is Health.PASSING
    assert watcher.health("o", same, after) is Health.CRITICAL, "as it will be"
    watcher.monitor.put("o", [same, after])
    runs = {report.check.name: report.runs for report in watcher.monitor.reports("o", "orders")}
    assert runs["same"] > 3
    assert runs["other"] == 0
    await trio.sleep(0.1)
    assert watcher.health("o", same, after) is Health.PASSING


async def test_what_is_dropped_is_run_no_more(watcher: Watcher, autojump_clock: MockClock) -> None:
    watcher.monitor.put("o", [tcp(), Check(ttl=1, deregister_after=2)])
    await trio.sleep(1)
    watcher.monitor.drop("o")
    watcher.ran.clear()
    await trio.sleep(100)
    assert (watcher.ran, watcher.expired, list(watcher.monitor.reports("o", "orders"))) == ([], [], [])


async def test_there_is_an_end_to_how_many_checks_a_node_runs(
    watcher: Watcher, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "CHECKS_PER_NODE_MAX", 2)
    watcher.monitor.put("a", [tcp("x"), tcp("y")])
    watcher.monitor.make_room({"a": [tcp("z")]})
    with pytest.raises(InvalidInstance, match="checks: this node would run 3, 2 are allowed: deregister some"):
        watcher.monitor.make_room({"b": [tcp("z")]})
    watcher.monitor.drop("a")
    watcher.monitor.make_room({"b": [tcp("z")]})


# What is told


async def test_a_report_says_what_the_last_run_found_and_a_reason_what_changed(
    watcher: Watcher, autojump_clock: MockClock
) -> None:
    findings = [P, C, Finding(Health.CRITICAL, "still\nnot"), Finding(Health.CRITICAL, "x" * 5000)]
    watcher.says = lambda _: findings.pop(0) if len(findings) > 1 else findings[0]
    watcher.monitor.put("o", [tcp()])
    await trio.sleep(10)
    [report] = watcher.monitor.reports("o", "orders")
    assert (report.health, report.reason) == (Health.CRITICAL, "not so fine")
    assert report.output == "x" * limits.CHECK_OUTPUT_BYTES_MAX
    assert report.took == pytest.approx(0.001, abs=0.01)
    assert watcher.changed == ["o", "o"], "what it says is no change"


async def test_flapping_is_told_once_when_it_begins_and_once_when_it_ends(
    watcher: Watcher, autojump_clock: MockClock
) -> None:
    up = [P, C] * 5
    watcher.says = lambda _: up.pop(0) if up else P
    watcher.monitor.put("o", [tcp()])
    await trio.sleep(8)
    assert watcher.flapped == ["o"]
    [report] = watcher.monitor.reports("o", "orders")
    assert report.flapping
    await trio.sleep(100)
    assert watcher.flapped == ["o", "o"]
    [report] = watcher.monitor.reports("o", "orders")
    assert (report.flapping, report.health) == (False, Health.PASSING)


# Heartbeats


async def test_a_heartbeat_in_time_keeps_a_ttl_passing_and_none_fails_it(
    watcher: Watcher, autojump_clock: MockClock
) -> None:
    check = Check(ttl=2)
    watcher.monitor.put("o", [check])
    for _ in range(5):
        watcher.monitor.beat("o", None, P)
        await trio.sleep(1.9)
        assert watcher.health("o", check) is Health.PASSING
    await trio.sleep(0.2)
    assert watcher.monitor.standing("o", [check], None) == (Health.CRITICAL, "ttl: no heartbeat for 2 s")
    watcher.monitor.beat("o", "ttl", P)
    assert watcher.health("o", check) is Health.PASSING


async def test_a_service_may_say_itself_that_it_is_not_well(watcher: Watcher, autojump_clock: MockClock) -> None:
    check = Check(ttl=2)
    watcher.monitor.put("o", [check])
    watcher.monitor.beat("o", None, Finding(Health.WARNING, "disk is nearly full"))
    assert watcher.monitor.standing("o", [check], None) == (Health.WARNING, "ttl: disk is nearly full")


async def test_a_heartbeat_without_a_ttl_check_is_refused(watcher: Watcher, autojump_clock: MockClock) -> None:
    watcher.monitor.put("o", [tcp()])
    for name, sentence in (
        (None, "check: 'o' awaits no heartbeat, since no check of it is a ttl"),
        ("tcp", "check: 'o' awaits no heartbeat, since 'tcp' is run by the node"),
        ("nix", "check: 'o' has no check 'nix'; it has tcp"),
    ):
        with pytest.raises(InvalidInstance, match=sentence):
            watcher.monitor.beat("o", name, P)


async def test_a_heartbeat_is_not_missed_while_this_node_is_stopped(
    watcher: Watcher, autojump_clock: MockClock
) -> None:
    check = Check(ttl=2)
    watcher.monitor.put("o", [check])
    watcher.monitor.beat("o", None, P)
    await trio.sleep(1)
    autojump_clock.jump(60)
    await trio.sleep(1.9)
    assert watcher.health("o", check) is Health.PASSING
    await trio.sleep(0.2)
    assert watcher.health("o", check) is Health.CRITICAL


# The end


@pytest.mark.parametrize("seconds", [1, 10, 70])
async def test_an_instance_expires_when_it_was_critical_for_as_long_as_was_said(
    seconds: int, watcher: Watcher, autojump_clock: MockClock
) -> None:
    healthy = [P] * 5
    watcher.says = lambda _: healthy.pop() if healthy else C
    watcher.monitor.put("o", [tcp(deregister_after=seconds, interval=0.5)])
    await trio.sleep(seconds + 10)
    fell = watcher.times()[5]
    id_, at = watcher.expired[0]
    assert id_ == "o"
    assert at - fell == pytest.approx(seconds, abs=0.01)


async def test_one_that_recovers_in_time_does_not_expire(watcher: Watcher, autojump_clock: MockClock) -> None:
    findings = ([C] * 20 + [P] * 20) * 3
    watcher.says = lambda _: findings.pop() if findings else P
    watcher.monitor.put("o", [tcp(deregister_after=30)])
    await trio.sleep(200)
    assert watcher.expired == []


async def test_no_instance_expires_because_this_node_was_stopped(watcher: Watcher, autojump_clock: MockClock) -> None:
    watcher.says = lambda _: P if trio.current_time() > stopped + 60 else C
    stopped = trio.current_time() + 5
    watcher.monitor.put("o", [tcp(deregister_after=30)])
    await trio.sleep(5)
    autojump_clock.jump(100)
    await trio.sleep(20)
    assert watcher.expired == []


async def test_a_check_that_cannot_even_be_run_is_critical_and_ends_nothing(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(name: str) -> Finding | None:
        if name == "broken":
            raise UnicodeError("label empty or too long")
        return P

    async with trio.open_nursery() as nursery:
        watcher = Watcher(nursery, broken)
        checks = [Check(name="broken", tcp="127.0.0.1:1"), Check(name="whole", tcp="127.0.0.1:1")]
        watcher.monitor.put("o", checks)
        await trio.sleep(60)
        [bad, good] = watcher.monitor.reports("o", "orders")
        assert (bad.health, bad.reason) == (Health.CRITICAL, "it cannot be run: label empty or too long")
        assert good.health is Health.PASSING
        assert min(bad.runs, good.runs) > 10
        nursery.cancel_scope.cancel()
    assert caplog.text.count("Traceback") == 1


async def test_a_mistake_in_a_run_fails_that_check_and_no_other_and_is_logged_once(
    watcher: Watcher, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    broken, well = tcp("broken"), tcp("well")

    def says(name: str) -> Finding:
        if name == "broken":
            raise ZeroDivisionError("unforeseen")
        return P

    watcher.says = says
    watcher.monitor.put("a", [broken])
    watcher.monitor.put("b", [well])
    await trio.sleep(10)
    assert watcher.health("a", broken) is Health.CRITICAL
    assert watcher.health("b", well) is Health.PASSING
    assert [report.reason for report in watcher.monitor.reports("a", "web")] == ["it cannot be run: unforeseen"]
    assert len(watcher.times("broken")) > 5
    assert watcher.counters == {"tasks_failed": 1}
    assert caplog.text.count("ZeroDivisionError: unforeseen") == 1
    watcher.says = lambda _: P
    await trio.sleep(2)
    assert watcher.health("a", broken) is Health.PASSING


async def test_a_check_whose_news_cannot_be_told_is_begun_anew(
    watcher: Watcher, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_: str) -> None:
        raise ZeroDivisionError("unforeseen")

    watcher.monitor.changed = fail
    watcher.monitor.put("a", [tcp()])
    await trio.sleep(1)
    assert watcher.counters == {"tasks_failed": 1}
    watcher.monitor.changed = watcher.changed.append
    await trio.sleep(10)
    assert len(watcher.times()) > 3
    assert "check tcp of a failed, by a bug in gossipreg" in caplog.text
