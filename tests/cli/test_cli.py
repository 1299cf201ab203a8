"""The command as a whole: its help, its version, its exit statuses, and one line for every failure."""

from __future__ import annotations

import importlib
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import click
import pytest

from gossipreg.cli import _fail, cli, main
from gossipreg.protocol.membership.probe import Prober
from tests.cli.conftest import Ran
from tests.cli.fake_agent import FakeAgent
from tests.protocol.making import engine


def test_alone_it_shows_its_help(run: Callable[..., Ran]) -> None:
    assert run() == run("--help")
    assert run().out.startswith("Usage: gossipreg ")


def test_the_help_lists_every_command_once_with_a_sentence_that_fits(run: Callable[..., Ran]) -> None:
    described = [line.split(maxsplit=1) for line in run("--help").out.split("Run:")[1].splitlines() if line[:2] == "  "]
    assert sorted(name for name, _ in described) == sorted(cli.commands)
    assert all(sentence.endswith(".") and not sentence.endswith("...") for _, sentence in described)


@pytest.mark.parametrize("name", sorted(cli.commands))
def test_every_page_of_help_has_examples_kept_as_written(run: Callable[..., Ran], name: str) -> None:
    ran = run(name, "--help")
    assert ran.status == 0
    assert f"\n  Examples:\n    gossipreg {name}" in ran.out


@pytest.mark.parametrize("name", sorted(cli.commands))
def test_every_option_says_what_it_is_for(name: str) -> None:
    options = [each for each in cli.commands[name].params if isinstance(each, click.Option)]
    assert all(option.help and option.help[0].isupper() for option in options)


def test_the_version_is_the_packages(run: Callable[..., Ran]) -> None:
    assert run("--version").out == f"gossipreg {version('gossipreg')}\n"


@pytest.mark.parametrize(
    ("arguments", "start", "page"),
    [
        (("--nope",), "no such option", "gossipreg --help"),
        (("memebrs",), "no such command 'memebrs'", "gossipreg --help"),
        (("agent", "--bnid", "x"), "no such option", "gossipreg agent --help"),
        (("lookup",), "missing argument 'NAME'", "gossipreg lookup --help"),
        (
            ("demo", "--nodes", "2"),
            "invalid value for '--nodes': 2 is not in the range 3<=x<=16",
            "gossipreg demo --help",
        ),
    ],
)
def test_wrong_usage_is_one_line_and_status_2(
    run: Callable[..., Ran], arguments: tuple[str, ...], start: str, page: str
) -> None:
    ran = run(*arguments)
    assert ran.status == 2
    assert ran.err.startswith(f"gossipreg: {start}")
    assert ran.err.endswith(f" (see {page})\n")
    assert ran.err.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("agent", "--bind", "here:there"), "--bind: cannot read the port of 'here:there'"),
        (("agent", "--log-format", "xml"), "--log-format: 'xml' is neither text nor json"),
        (("agent", "--log-level", "loud"), "--log-level: 'loud' is neither debug, info, warning nor error"),
        (("agent", "--config", "missing.toml"), "cannot read missing.toml: No such file or directory"),
        (("members", "--http", "nowhere"), "--http: cannot read the port of 'nowhere'"),
        (("members", "--http", "127.0.0.1:0"), "--http: '127.0.0.1:0' cannot be called: name a port from 1 to 65535"),
    ],
)
def test_a_wrong_setting_is_one_line_and_status_2(
    run: Callable[..., Ran], arguments: tuple[str, ...], sentence: str
) -> None:
    ran = run(*arguments)
    assert ran.status == 2
    assert ran.err.startswith(f"gossipreg: {sentence}")
    assert ran.err.count("\n") == 1


@pytest.mark.parametrize("command", [("members",), ("lookup", "orders"), ("register", "a", "--port", "1"), ("leave",)])
def test_without_an_agent_every_command_says_so_in_one_line(run: Callable[..., Ran], command: tuple[str, ...]) -> None:
    with FakeAgent() as fake:
        pass
    assert run(*command, "--http", fake.address) == Ran(
        1,
        "",
        f'gossipreg: no agent answers at {fake.address}: start one with "gossipreg agent", '
        "or name another with --http HOST:PORT\n",
    )


def test_the_agent_to_ask_can_be_named_by_the_environment(
    run: Callable[..., Ran], fake: FakeAgent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GOSSIPREG_HTTP", f"http://{fake.address}")
    assert run("members").status == 0


def test_a_reader_that_has_gone_is_no_reason_to_complain(fake: FakeAgent) -> None:
    command = [sys.executable, "-m", "gossipreg", "members", "--http", fake.address]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait() == 1


#: What a command that asks an agent must not pay for: each takes milliseconds of CPU.
ASKING_NEEDS_NO = {
    *("trio", "rich", "cryptography", "msgpack", "gossipreg.check", "gossipreg.config", "gossipreg.fields"),
    *("gossipreg.policy", "gossipreg.settings", "gossipreg.cli.agent", "gossipreg.cli.checks", "gossipreg.cli.sim"),
}


@pytest.mark.parametrize(
    ("arguments", "unwanted"),
    [
        (["--help"], {"trio", "rich", "http.client", "cryptography", "msgpack"}),
        (["agent", "--config", "missing.toml"], {"trio", "rich", "http.client"}),
        (["lookup", "orders", "--json", "--http", "127.0.0.1:1"], ASKING_NEEDS_NO),
        (["members", "--http", "127.0.0.1:1"], ASKING_NEEDS_NO),
        (["services", "--http", "127.0.0.1:1"], ASKING_NEEDS_NO),
        (["register", "orders", "--port", "80", "--http", "127.0.0.1:1"], ASKING_NEEDS_NO),
    ],
)
def test_what_a_command_does_not_need_is_not_imported(arguments: list[str], unwanted: set[str]) -> None:
    program = (
        "import sys; from gossipreg.cli import main\ntry: main(sys.argv[1:])\nfinally: print(*sys.modules, sep='\\n')"
    )
    ran = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=False)
    assert unwanted.isdisjoint(ran.stdout.splitlines())


@pytest.mark.parametrize("arguments", [("-h",), ("lookup", "-h"), ("policy", "set", "-h"), ("sim", "run", "-h")])
def test_h_is_short_for_help(run: Callable[..., Ran], arguments: tuple[str, ...]) -> None:
    assert run(*arguments) == run(*arguments[:-1], "--help")
    assert run(*arguments).status == 0


def test_what_another_host_sent_does_not_reach_the_terminal_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        _fail("the region eu: \x1b]0;owned\x07\x1b[2J\nfake", 1, "region_unavailable", None, as_json=False)
    assert capsys.readouterr().err == "gossipreg: the region eu: \\x1b]0;owned\\x07\\x1b[2J fake\n"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="it needs /dev/full, as Linux has it")
def test_output_for_which_there_is_no_room_is_a_failure_in_one_line() -> None:
    with Path("/dev/full").open("w") as full:
        ran = subprocess.run(
            [sys.executable, "-m", "gossipreg", "keygen"], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    said = "gossipreg: cannot write to standard output: no space left on device\n"
    assert (ran.returncode, ran.stderr) == (1, said)


def test_an_agent_that_a_bug_has_ended_says_so_in_its_last_line_and_by_its_exit_status(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    importlib.import_module("gossipreg.runtime.supervision")  # as an agent does
    node = engine()

    def fail(*_: object) -> None:
        raise KeyError("unforeseen")

    def end(*_: object) -> None:
        try:
            monkeypatch.setattr(Prober, "handle_timeout", fail)
            node.handle_timeout(99.0)
        except KeyError as bug:
            raise ExceptionGroup("tasks", [bug]) from None

    monkeypatch.setattr("gossipreg.cli._run", end)
    with pytest.raises(SystemExit) as ended:
        main([])
    assert ended.value.code == 70
    *_, last = capsys.readouterr().err.strip().splitlines()
    assert last.startswith("gossipreg: the node has ended, by a bug in gossipreg: KeyError came up")


def test_a_bug_elsewhere_is_raised_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    def end(*_: object) -> None:
        raise ExceptionGroup("tasks", [KeyError("elsewhere")])

    monkeypatch.setattr("gossipreg.cli._run", end)
    with pytest.raises(ExceptionGroup):
        main([])
