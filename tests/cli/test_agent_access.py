"""Real agents and who may ask them: tokens, socket files, and what does not start."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from gossipreg.cli.client import AgentClient
from gossipreg.errors import AgentUnreachable, GossipregError
from gossipreg.frontends.serving.capacity import DESCRIPTORS
from gossipreg.model import Address
from tests.cli.conftest import Ran
from tests.cli.test_agent import PATIENCE, Starter, command, fails, start, wait_for

__all__ = ["start"]  # the fixture

TOKEN, ANOTHER = "a-token-that-is-secret", "another-that-is-secret"


def tokens(file: Path, token: str, *scopes: str) -> Path:
    named = ", ".join(f'"{scope}"' for scope in scopes)
    file.write_text(f'[[tokens]]\nname = "ci"\ntoken = "{token}"\nscopes = [{named}]\n')
    file.chmod(0o600)
    return file


def test_an_agent_with_tokens_asks_for_one_and_reads_them_again_on_sighup(start: Starter, tmp_path: Path) -> None:
    file = tokens(tmp_path / "tokens.toml", TOKEN, "read")
    agent = start("--tokens-file", str(file))
    with pytest.raises(GossipregError, match="this agent asks for a token"):
        agent.agent.get("members")
    reader = agent.agent._replace(token=TOKEN)
    assert reader.get("members")["members"]
    with pytest.raises(GossipregError, match="the token 'ci' is for read: this needs one that is for operator"):
        reader.post("leave")

    def let_in(token: str) -> bool:
        try:
            return bool(agent.agent._replace(token=token).get("members"))
        except GossipregError:
            return False

    tokens(file, ANOTHER, "read", "operator")
    os.kill(agent.process.pid, signal.SIGHUP)
    wait_for(lambda: let_in(ANOTHER))
    assert not let_in(TOKEN)
    file.write_text("[[tokens]]")
    os.kill(agent.process.pid, signal.SIGHUP)
    agent.agent._replace(token=ANOTHER).post("leave")
    status, said = agent.ended()
    assert status == 0
    assert TOKEN not in "".join(said)
    assert ANOTHER not in "".join(said)


def test_an_agent_answers_at_a_socket_file(start: Starter, tmp_path: Path) -> None:
    file = tmp_path / "s"
    agent = start("--http", f"unix:{file}")
    assert agent.ready["http"] == f"unix:{file}"
    client = AgentClient.at(f"unix:{file}")
    assert client.get("members")["members"]
    assert client.put("instances", body={"service": "orders", "port": 80})["id"]
    agent.process.send_signal(signal.SIGTERM)
    assert agent.ended()[0] == 0
    assert not file.exists()
    with pytest.raises(AgentUnreachable):
        client.get("members")


def test_an_agent_that_was_killed_leaves_a_socket_file_that_the_next_replaces(start: Starter, tmp_path: Path) -> None:
    file = tmp_path / "s"
    agent = start("--http", f"unix:{file}")
    agent.process.kill()
    agent.process.wait()
    assert file.exists()
    again = start("--http", f"unix:{file}")
    assert again.agent.get("members")["members"]
    ran = fails("--http", f"unix:{file}")
    assert ran.status == 1
    assert ran.err.splitlines()[-1].startswith(f"gossipreg: cannot listen on unix:{file} for HTTP: another program")


def test_an_agent_that_all_could_ask_from_everywhere_does_not_start(start: Starter, tmp_path: Path) -> None:
    for arguments in ((), ("--check-config",)):
        assert fails("--http", "0.0.0.0:0", *arguments) == Ran(
            2,
            "",
            "gossipreg: cannot answer HTTP at 0.0.0.0:0 to every caller: pass --tokens-file FILE with the tokens of "
            "those who may, or --insecure on a trusted network\n",
        )
    start("--http", "0.0.0.0:0", "--insecure")
    start("--http", "0.0.0.0:0", "--tokens-file", str(tokens(tmp_path / "tokens.toml", TOKEN, "read")))


def test_a_file_of_tokens_that_cannot_be_used_is_named_before_anything_is_done(tmp_path: Path) -> None:
    file = tokens(tmp_path / "tokens.toml", TOKEN)
    for arguments in (("--tokens-file", str(file)), ("--tokens-file", str(file), "--check-config")):
        ran = fails(*arguments)
        assert (ran.status, ran.out) == (2, "")
        assert ran.err.startswith(f"gossipreg: {file}: tokens[0].scopes: list at least one of ")


@pytest.mark.parametrize(("most", "said"), [(2048, True), (DESCRIPTORS, False)])
def test_an_agent_with_too_few_descriptors_says_what_it_has_room_for(most: int, said: bool) -> None:
    limit = f"import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (512, {most}));"
    begin = f"{limit} from gossipreg.cli import main; main()"
    with subprocess.Popen(
        [sys.executable, "-c", begin, *command()[3:]], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert "ready" in process.stdout.readline()
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=PATIENCE)
    sentences = [line for line in err.splitlines() if "descriptors" in line]
    if not said:
        assert not sentences
    else:
        [sentence] = sentences
        assert (
            f"2048 descriptors where {DESCRIPTORS} may be needed (see ulimit -Hn): room for 1325 connections, "
            in sentence
        )


def test_an_agent_that_others_reach_warns_of_it_once_in_the_log_and_in_info(start: Starter, tmp_path: Path) -> None:
    file = tokens(tmp_path / "tokens.toml", TOKEN, "read")
    agent = start("--http", "0.0.0.0:0", "--dns", "0.0.0.0:0", "--tokens-file", str(file))
    port = agent.agent.address.port  # type: ignore[union-attr]
    reader = agent.agent._replace(address=Address("127.0.0.1", port), token=TOKEN)
    http, dns = reader.get("node")["warnings"]
    assert http.startswith(f"HTTP at 0.0.0.0:{port} takes tokens in clear: ")
    assert dns.startswith("DNS at 0.0.0.0:")
    os.kill(agent.process.pid, signal.SIGTERM)
    _, said = agent.ended()
    logged = "".join(said)
    assert logged.count(http) == 1
    assert logged.count(dns) == 1
