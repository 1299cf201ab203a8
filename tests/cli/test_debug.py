"""The bundle of `gossipreg debug` holds what explains a problem, and no secret."""

from __future__ import annotations

import io
import json
import stat
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import Ran
from tests.cli.fake_agent import FakeAgent

CONFIG = """
data_dir = "/var/lib/gossipreg"
key_file = "/etc/gossipreg/key"
tls_key = "/etc/gossipreg/tls.key"
zone = "eu-1"
[[federate]]
region = "eu"
agents = ["10.0.0.1:8500"]
token = "hunter2-is-secret"
[[checks]]
headers = { Authorization = "hunter3-is-secret" }
http = "http://app:hunter4-is-secret@10.0.0.2/health"
"""


def opened(file: Path) -> dict[str, str]:
    with tarfile.open(file) as tar:
        found = {}
        for member in tar.getmembers():
            content = tar.extractfile(member)
            assert content is not None
            assert member.mode == 0o600
            found[member.name.partition("/")[2]] = content.read().decode()
        return found


def test_it_holds_what_the_agent_tells_what_the_doctor_finds_and_the_end_of_the_log(
    fake: FakeAgent, run: Callable[..., Ran], tmp_path: Path
) -> None:
    config, log, file = tmp_path / "agent.toml", tmp_path / "agent.log", tmp_path / "b.tar.gz"
    config.write_text(CONFIG)
    log.write_bytes(b"x" * 2_000_000 + b"\nthe last line \xff\n")
    done = run("debug", "--http", fake.address, "--watch", "0s", "--output", file, "--config", config, "--log", log)
    assert done.status == 0, done
    assert str(file) in done.out
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    files = opened(file)
    assert json.loads(files["node.json"])["name"] == "web-1"
    assert {"members.json", "services.json", "policies.json", "checks.json", "node-later.json"} <= files.keys()
    assert files["log.txt"].endswith("the last line \\xff\n")
    assert len(files["log.txt"]) <= 1_048_600
    assert "the agent at" in files["doctor.txt"]
    assert "Python" in files["host.txt"]
    assert "observations.json: " in files["README.txt"], "what the agent does not tell"
    assert "observations.json: " in done.err
    settings = json.loads(files["config.json"])
    assert settings["federate"] == [{"region": "eu", "agents": ["10.0.0.1:8500"], "token": "(left out)"}]
    assert (settings["key_file"], settings["tls_key"]) == ("/etc/gossipreg/key", "/etc/gossipreg/tls.key")


def test_no_secret_is_in_it(
    fake: FakeAgent, run: Callable[..., Ran], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, token, file = tmp_path / "agent.toml", tmp_path / "token", tmp_path / "b.tar.gz"
    config.write_text(CONFIG)
    token.write_text("my-own-token-of-a-good-length\n")
    token.chmod(0o600)
    shown = ("--token-file", token, "--config", config, "--output", file)
    assert run("debug", "--http", fake.address, "--watch", "0s", *shown).status == 0
    assert fake.authorizations, "the token was shown to the agent"
    text = "".join(opened(file).values())
    for secret in ("hunter2", "hunter3", "hunter4", "my-own-token"):
        assert secret not in text
    assert not any("credentials" in path for _, path, _ in fake.requests)


def test_an_agent_that_does_not_answer_is_a_bundle_too(run: Callable[..., Ran], tmp_path: Path) -> None:
    with FakeAgent() as fake:
        address = fake.address
    file = tmp_path / "b.tar.gz"
    done = run("debug", "--http", address, "--watch", "0s", "--output", file, "--json")
    assert done.status == 0, done
    told = json.loads(done.out)
    assert told["file"] == str(file)
    assert "node.json" in told["failures"]
    assert "no agent answers" in opened(file)["doctor.txt"]


def test_nothing_is_overwritten_and_the_name_says_whose_it_is_and_when(
    fake: FakeAgent, run: Callable[..., Ran], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run("debug", "--http", fake.address, "--watch", "0s").status == 0
    [file] = tmp_path.iterdir()
    assert file.name.startswith("gossipreg-debug-web-1-2")
    done = run("debug", "--http", fake.address, "--watch", "0s", "--output", file)
    assert (done.status, "not overwritten" in done.err) == (1, True)


def test_a_log_can_come_from_standard_input(
    fake: FakeAgent, run: Callable[..., Ran], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"from the journal\n")))
    file = tmp_path / "b.tar.gz"
    assert run("debug", "--http", fake.address, "--watch", "0s", "--output", file, "--log", "-").status == 0
    assert opened(file)["log.txt"] == "from the journal\n"
