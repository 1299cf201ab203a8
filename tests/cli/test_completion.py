"""A shell is offered what the agent knows, in time, and nothing where there is no agent."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.shell_completion import ShellComplete

from gossipreg.cli import cli, completion
from tests.cli.fake_agent import INSTANCE, MEMBER, FakeAgent


@pytest.fixture(autouse=True)
def _ask_the_fake(fake: FakeAgent, monkeypatch: pytest.MonkeyPatch) -> None:
    fake.instances["stock-1"] = INSTANCE | {"id": "stock-1", "service": "stock", "health": "critical"}
    fake.instances["orders-9"] = INSTANCE | {"id": "orders-9", "owner": "web-2"}
    fake.members += [MEMBER | {"name": "web-2", "status": "failed"}]
    fake.policies["split:orders"] = {"key": "split:orders", "kind": "split"}
    fake.roles.append({"service": "pg", "claimed": 3})
    monkeypatch.setenv("GOSSIPREG_AGENT", fake.address)
    monkeypatch.setattr(completion, "PATIENCE", 30.0)  # however slow this machine is; another test says otherwise


def offered(*words: str) -> list[str]:
    """What is offered for the last of the words."""
    *before, incomplete = words
    return [item.value for item in ShellComplete(cli, {}, "gossipreg", "_X").get_completions(before, incomplete)]


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("lookup -", None),
        ("lookup ", ["orders", "stock"]),
        ("lookup or", ["orders"]),
        ("watch st", ["stock"]),
        ("deregister ", ["orders-1", "stock-1"]),
        ("deregister --owner web-2 ", ["orders-9"]),
        ("deregister orders-9 --owner ", ["web-1", "web-2"]),
        ("heartbeat o", ["orders-1"]),
        ("checks ", ["orders-1", "stock-1"]),
        ("maintenance o", ["orders-1"]),
        ("maintenance --service orders ", ["orders-1", "orders-9"]),
        ("maintenance orders-1 --service o", ["orders"]),
        ("weight --service orders ", ["orders-1", "orders-9"]),
        ("weight orders-1 2 --service s", ["stock"]),
        ("credentials pg-1 --service ", ["orders", "stock"]),
        ("credentials --service stock ", ["stock-1"]),
        ("forget ", ["web-2"]),
        ("policy set s", ["stock"]),
        ("policy set orders --instance o", ["orders-1", "orders-9"]),
        ("policy set orders --owner ", ["web-1", "web-2"]),
        ("policy remove ", ["split:orders"]),
        ("role list ", ["pg"]),
        ("role reset p", ["pg"]),
        ("proxy --listen 127.0.0.1:1 --service s", ["stock"]),
    ],
)
def test_names_are_offered_where_they_belong(words: str, found: list[str] | None) -> None:
    assert found is None or offered(*words.split(" ")) == found


def test_every_argument_that_names_something_there_is_completed() -> None:
    """A path, a number and a stranger's address have nothing to offer; click offers the words of a choice itself."""
    new = {("render", "template"), ("weight", "weight"), ("add", "file"), ("create", "name"), ("join", "seeds")}
    new |= {
        ("sign", "public"),
        ("delegate", "public"),
        ("renew", "certificate"),
        ("revoke", "certificate"),
        ("publish", "file"),
        ("show", "file"),
    }

    def arguments(group: click.Group, path: tuple[str, ...] = ()) -> set[tuple[str, str]]:
        found = set[tuple[str, str]]()
        for name, command in group.commands.items():
            if isinstance(command, click.Group):
                found |= arguments(command, (*path, name)) if name != "sim" else set()
            else:
                bare = [each for each in command.params if isinstance(each, click.Argument)]
                unaided = [each for each in bare if each._custom_shell_complete is None]
                found |= {(name, str(each.name)) for each in unaided if not isinstance(each.type, click.Choice)}
        return found

    assert arguments(cli) == new


def test_the_agent_and_the_token_of_the_command_line_count(
    fake: FakeAgent, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GOSSIPREG_AGENT", "127.0.0.1:1")
    assert offered("lookup", "") == []
    (tmp_path / "token").write_text("secret")
    (tmp_path / "token").chmod(0o600)
    assert offered("lookup", "--http", fake.address, "--token-file", str(tmp_path / "token"), "o") == ["orders"]
    assert fake.authorizations == ["Bearer secret"]


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"services": 3}', b"<html>"])
def test_what_is_no_agent_offers_nothing(fake: FakeAgent, body: bytes) -> None:
    for status in (200, 401, 500):
        fake.instead = (status, "application/json", body)
        assert offered("lookup", "") == []


def test_an_agent_that_does_not_answer_in_time_offers_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(completion, "PATIENCE", 0.0)
    assert offered("lookup", "") == []


def test_a_name_that_a_shell_would_read_as_something_else_is_not_offered(fake: FakeAgent) -> None:
    for wild in ("a;b", "$(x)", "a'b", "a,b", "*"):
        fake.instances[wild] = INSTANCE | {"id": wild}
    assert offered("deregister", "") == ["orders-1", "stock-1"]


#: What cli.md says for each shell, and a word to complete.
SHELLS = {
    "bash": 'eval "$(_GOSSIPREG_COMPLETE=bash_source gossipreg)"; COMP_WORDS=(gossipreg lookup or); COMP_CWORD=2; '
    '_gossipreg_completion gossipreg; echo "${COMPREPLY[@]}"',
    "fish": '_GOSSIPREG_COMPLETE=fish_source gossipreg | source; complete -C "gossipreg lookup or"',
    "zsh": 'autoload -U compinit; compinit -u; eval "$(_GOSSIPREG_COMPLETE=zsh_source gossipreg)"; '
    "compdef() { }; _describe() { print -r -- ${(P)3-} ${(P)4-} ${(P)2-}; }; "
    "words=(gossipreg lookup or); CURRENT=3; _gossipreg_completion",
}


#: The command, with more time for an answer than a person at a shell has.
PATIENT = """#!{python}
from gossipreg.cli import completion, main
completion.PATIENCE = 30.0
main()
"""


@pytest.mark.slow
@pytest.mark.peer
@pytest.mark.parametrize("shell", SHELLS)
def test_each_shell_completes_by_its_script(fake: FakeAgent, tmp_path: Path, shell: str) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed (Debian: {shell})")
    (tmp_path / "gossipreg").write_text(PATIENT.format(python=sys.executable))
    (tmp_path / "gossipreg").chmod(0o755)
    env = {
        **os.environ,
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
        "GOSSIPREG_AGENT": fake.address,
        "HOME": str(tmp_path),
    }
    ran = subprocess.run([shell, "-c", SHELLS[shell]], env=env, capture_output=True, text=True, timeout=60, check=False)
    assert "orders" in re.split(r"[\s:]", ran.stdout), (ran.stdout, ran.stderr)
