"""``gossipreg proxy``: what it says to people, and that every mistake is one line."""

from __future__ import annotations

import re
import socket
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from gossipreg.cli import main
from gossipreg.cli.proxy import proxy
from gossipreg.cli.run_proxy import within
from gossipreg.frontends.proxy.settings import OPTIONS, Forward

PAGE = (Path(__file__).parents[3] / "docs" / "proxy.md").read_text()

Failing = Callable[..., tuple[int, str]]


@pytest.fixture
def failing(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Failing:
    """Runs the command, which must fail; its exit status and its one line."""
    monkeypatch.delenv("GOSSIPREG_HTTP", raising=False)
    monkeypatch.setattr(sys.modules[main.__module__ + ".proxy"], "write_logs", lambda *_: None)

    def run(*arguments: str) -> tuple[int, str]:
        with pytest.raises(SystemExit) as ended:
            main(["proxy", *arguments])
        out, err = capsys.readouterr()
        assert out == ""
        assert err.startswith("gossipreg: ")
        assert err.count("\n") == 1
        assert isinstance(ended.value.code, int)
        return ended.value.code, err.removeprefix("gossipreg: ").rstrip()

    return run


ORDERS = ("--listen", "127.0.0.1:0", "--service", "orders")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ((), "--listen: give --listen HOST:PORT and --service NAME for each port, or --forwards FILE"),
        (("--listen", "a:1"), "1 --listen and 0 --service: give one --service for each --listen, in order"),
        (("--listen", "here", "--service", "a"), "--listen: cannot read the port of 'here'"),
        ((*ORDERS, "--metrics", "here"), "--metrics: cannot read the port of 'here'"),
        ((*ORDERS, "--tries", "0"), "--tries: 0 is not a whole number from 1 to 1000"),
        ((*ORDERS, "--proxy-protocol", "v3"), "--proxy-protocol: 'v3' is neither v1 nor v2"),
        ((*ORDERS, "--join", "127.0.0.1:1", "--http", "127.0.0.1:2"), "--http: the balancer is a member itself"),
        ((*ORDERS, "--forwards", "x.toml"), "--forwards: names the ports itself"),
        (("--forwards", "missing.toml"), "cannot read missing.toml: No such file"),
        ((*ORDERS, "--http", "nowhere"), "--http: cannot read the port of 'nowhere'"),
        ((*ORDERS, "--join", "127.0.0.1:1", "--bind", "10.1.1.1:1"), "cannot bind 10.1.1.1:1 without a key"),
    ],
)
def test_a_mistake_of_the_users_is_one_line_and_status_2(
    failing: Failing, arguments: tuple[str, ...], sentence: str
) -> None:
    status, said = failing(*arguments)
    assert said.startswith(sentence)
    assert status == 2


def test_an_agent_that_is_not_there_is_one_line_and_status_1(failing: Failing) -> None:
    status, said = failing(*ORDERS, "--http", "127.0.0.1:1")
    assert status == 1
    assert said == (
        'no agent answers at 127.0.0.1:1: start one with "gossipreg agent", name another with --http HOST:PORT, '
        "or be a member with --join HOST:PORT"
    )


def test_a_port_that_is_taken_is_one_line_and_status_1(failing: Failing, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gossipreg.frontends.proxy.limits.JOIN_SECONDS", 0.05)  # nothing answers at the seed
    with socket.create_server(("127.0.0.1", 0)) as taken, socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port, seed = taken.getsockname()[1], unused.getsockname()[1]
        arguments = ("--listen", f"127.0.0.1:{port}", "--service", "orders", "--join", f"127.0.0.1:{seed}")
        status, said = failing(*arguments)
    assert status == 1
    assert said.startswith(f"cannot listen on 127.0.0.1:{port} for orders: address already in use: stop the other")


def test_every_setting_of_a_port_has_a_flag_and_a_row() -> None:
    flags = {option.name for option in proxy.params}
    assert flags >= {field.name for field in OPTIONS}
    rows = set(re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE))
    assert rows >= {"listen", "service", *(field.name for field in OPTIONS)}


@pytest.mark.parametrize(("descriptors", "expected"), [(1_000_000, [4096, 10]), (1024, [224, 10]), (60, [1, 1])])
def test_no_more_callers_are_let_in_than_there_are_descriptors_for(descriptors: int, expected: list[int]) -> None:
    ports = [Forward(listen="127.0.0.1:0", service="a"), Forward(listen="127.0.0.1:0", service="b", connections_max=10)]
    assert [forward.connections_max for forward in within(ports, descriptors)] == expected
