"""`gossipreg migrate` says in a line what is wrong with its sides, and prints what it does."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from gossipreg.cli.run_migrate import Events, run
from tests.cli.conftest import Ran
from tests.migrate.fake_registry import FakeRegistry, original

Run = Callable[..., Ran]


def test_both_ways_goes_with_following(run: Run) -> None:
    ran = run("migrate", "consul", "--from", "http://h:1", "--both-ways")
    assert (ran.status, ran.err.partition(":")[0]) == (2, "gossipreg")
    assert "--both-ways goes with --follow" in ran.err


@pytest.mark.parametrize("interval", ["0", "0s"])
def test_an_interval_is_above_zero(run: Run, interval: str) -> None:
    ran = run("migrate", "consul", "--from", "http://h:1", "--follow", "--interval", interval)
    assert ran.status == 2
    assert "--interval is a time above 0" in ran.err


def test_the_agent_is_no_registry_to_copy(run: Run) -> None:
    ran = run("migrate", "eureka", "--from", "http://127.0.0.1:8500/eureka", "--to", "127.0.0.1:8500")
    assert ran.status == 2
    assert "is the agent itself" in ran.err


def test_an_agent_at_a_socket_file_cannot_be_the_target(run: Run) -> None:
    ran = run("migrate", "consul", "--from", "http://h:1", "--to", "unix:/run/agent")
    assert ran.status == 2
    assert "write HOST:PORT" in ran.err


def test_an_agent_that_is_not_there_is_named(run: Run) -> None:
    ran = run("migrate", "consul", "--from", "http://127.0.0.1:2", "--to", "127.0.0.1:1")
    assert ran.status == 1
    assert "no agent answers at 127.0.0.1:1" in ran.err


def test_each_event_is_a_line_of_columns(capsys: pytest.CaptureFixture[str]) -> None:
    old, new = FakeRegistry("consul:dc1"), FakeRegistry("gossipreg:main")
    old.hold(original("a", host="10.0.0.1"))
    run_once(old, new, as_json=False)
    out, err = capsys.readouterr()
    assert out == "copied\torders\ta\t10.0.0.1:8080\tgossipreg:main\tpassing\n"
    assert "1 copies from consul:dc1 stay at gossipreg:main; nothing renews them" in err


def test_each_event_is_a_document_with_json(capsys: pytest.CaptureFixture[str]) -> None:
    old, new = FakeRegistry("consul:dc1"), FakeRegistry("gossipreg:main")
    old.hold(original("a"))
    run_once(old, new, as_json=True)
    copied, ended = map(json.loads, capsys.readouterr().out.splitlines())
    assert {key: copied[key] for key in ("event", "service", "id", "to", "detail")} == {
        "event": "copied",
        "service": "orders",
        "id": "a",
        "to": "gossipreg:main",
        "detail": "passing",
    }
    assert ended["event"] == "ended"


def run_once(old: FakeRegistry, new: FakeRegistry, *, as_json: bool) -> None:
    run(old, new, Events(as_json=as_json), interval=None, both_ways=False, dry=False)
