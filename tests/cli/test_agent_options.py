"""Which agent is asked and with what token, whatever the command."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from gossipreg.cli import cli
from tests.cli.conftest import Ran
from tests.cli.fake_agent import FakeAgent
from tests.hidden import hidden

TOKEN = "a-token-that-is-secret"


def test_a_token_is_taken_from_the_environment(
    ask: Callable[..., Ran], fake: FakeAgent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GOSSIPREG_TOKEN", TOKEN)
    assert ask("members").status == 0
    assert fake.authorizations == [f"Bearer {TOKEN}"]


def test_a_token_is_taken_from_a_file_before_the_environment(
    ask: Callable[..., Ran], fake: FakeAgent, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("GOSSIPREG_TOKEN", "another")
    file = tmp_path / "token"
    hidden(file, f"{TOKEN}\n")
    assert ask("members", "--token-file", str(file)).status == 0
    assert fake.authorizations == [f"Bearer {TOKEN}"]


def test_without_a_token_none_is_shown(ask: Callable[..., Ran], fake: FakeAgent) -> None:
    assert ask("members").status == 0
    assert fake.authorizations == []


@pytest.mark.parametrize("text", ["", "\n", "two words", "two\nlines", "\x00", "schlüssel"])
def test_a_file_without_a_token_is_refused_and_not_quoted(ask: Callable[..., Ran], tmp_path: Path, text: str) -> None:
    file = tmp_path / "token"
    hidden(file, text)
    assert ask("members", "--token-file", str(file)) == Ran(
        2,
        "",
        f"gossipreg: --token-file {file}: holds no token: one is printable ASCII characters without a space\n",
    )


def test_a_file_that_cannot_be_read_is_named(ask: Callable[..., Ran], tmp_path: Path) -> None:
    ran = ask("members", "--token-file", str(tmp_path / "none"))
    assert (ran.status, ran.err) == (2, f"gossipreg: cannot read {tmp_path}/none: No such file or directory\n")


def test_no_command_takes_a_token_on_its_command_line() -> None:
    for command in cli.commands.values():
        assert all("--token" not in each.opts for each in command.params)


def test_the_agent_may_be_named_in_either_variable(
    run: Callable[..., Ran], fake: FakeAgent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GOSSIPREG_HTTP", "127.0.0.1:1")
    monkeypatch.setenv("GOSSIPREG_AGENT", fake.address)
    assert run("members").status == 0
    assert run("members", "--agent", fake.address).status == 0
