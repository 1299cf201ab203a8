"""What the doctor gathers: from an agent that answers or not, from files, and from the kernel's tables."""

from __future__ import annotations

import datetime as dt
import json
import os
import socket
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from gossipreg.cli.client import AgentClient
from gossipreg.cli.doctor import processes
from gossipreg.cli.doctor.facts import HostFacts
from gossipreg.cli.doctor.gather import certificate_end, data_directory, gather
from gossipreg.model import Address
from tests.cli.conftest import Ran
from tests.cli.doctor.doctor_page import PAGE, with_table
from tests.cli.fake_agent import INSTANCE, MEMBER, FakeAgent
from tests.hidden import hidden

#: What a fake agent has to stream for the doctor to see what it holds.
SNAPSHOT = [("snapshot", {"members": [MEMBER], "instances": [INSTANCE]})]


def doctor(run: Callable[..., Ran], *arguments: str, status: int) -> dict[str, dict[str, object]]:
    """The findings of one run, by rule."""
    ran = run("doctor", "--watch", "0s", "--json", *arguments)
    assert ran.status == status, ran
    return {each["rule"]: each for each in json.loads(ran.out)["findings"]}


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text() == with_table(PAGE.read_text()), "run: python -m tests.cli.doctor.doctor_page"


def test_a_healthy_agent_is_one_quiet_line(run: Callable[..., Ran], fake: FakeAgent) -> None:
    fake.streams.append(SNAPSHOT)
    ran = run("doctor", "--watch", "0s", "--http", fake.address)
    assert ran == Ran(0, f"nothing wrong found: web-1 at {fake.address}\n", "")


def test_what_the_agent_does_not_tell_is_a_note(
    run: Callable[..., Ran], fake: FakeAgent, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer, refusals = fake.answer, {"keys": (403, "forbidden"), "regions": (404, "not_found")}

    def refuse(method: str, path: Sequence[str], query: dict[str, str], body: object) -> tuple[int, object]:
        if path[0] in refusals:
            status, code = refusals[path[0]]
            return status, {"error": "it needs the scope operator", "code": code}
        return answer(method, path, query, body)

    monkeypatch.setattr(fake, "answer", refuse)
    fake.streams.append(SNAPSHOT)
    found = doctor(run, "--http", fake.address, status=0)
    assert found.keys() == {"not-told"}
    assert found["not-told"]["why"] == ["it needs the scope operator", "the agent's release does not tell its regions"]


def test_what_the_agent_tells_reaches_the_rules(run: Callable[..., Ran], fake: FakeAgent) -> None:
    fake.streams.append([("snapshot", {"members": [MEMBER | {"status": "failed"}], "instances": []})])
    fake.keys.append({"id": "0" * 8, "primary": True, "not_held_by": ["web-9"], "until": None})
    fake.policies["weight:x:y"] = {"key": "weight:x:y", "service": "x", "instance": "y"}
    found = doctor(run, "--http", fake.address, status=1)
    assert {"failed-members", "keys-lacking", "policies-without-target"} <= found.keys()


def test_commands_ask_the_agent_that_was_asked(
    run: Callable[..., Ran], fake: FakeAgent, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed = [("snapshot", {"members": [MEMBER | {"status": "failed"}], "instances": []})]
    fake.streams += [failed, failed, failed]
    token = tmp_path / "a token"
    hidden(token, "a-token")

    def command(*options: str) -> str:
        return str(doctor(run, *options, status=1)["failed-members"]["run"])

    assert command("--http", fake.address) == f"gossipreg forget web-1 --http {fake.address}"
    monkeypatch.setenv("GOSSIPREG_HTTP", f"http://{fake.address}")
    assert command() == "gossipreg forget web-1"
    assert command("--token-file", str(token)) == f"gossipreg forget web-1 --token-file '{token}'"


def test_an_agent_that_is_not_there_is_a_finding(run: Callable[..., Ran]) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = "{}:{}".format(*free.getsockname())
        assert doctor(run, "--http", address, status=1).keys() == {"unreachable"}


@pytest.mark.parametrize("body", [b"<html>", b"[]", b'{"name": "x"}', b"null", b"3"])
def test_another_program_at_the_port_is_a_finding(body: bytes, run: Callable[..., Ran], fake: FakeAgent) -> None:
    fake.instead = (200, "application/json", body)
    [found] = doctor(run, "--http", fake.address, status=1).values()
    assert found["rule"] == "unreachable"
    assert f"process {os.getpid()} " in str(found["why"]) or not Path("/proc").exists()


def test_a_token_that_is_refused_is_a_finding(run: Callable[..., Ran], fake: FakeAgent) -> None:
    fake.instead = (401, "application/json", b'{"error": "a token is needed", "code": "unauthorized"}')
    assert doctor(run, "--http", fake.address, status=1).keys() == {"token-refused"}


@pytest.mark.parametrize("kind", ["missing", "file", "left behind"])
def test_a_socket_file_that_leads_nowhere_says_why(kind: str, run: Callable[..., Ran], tmp_path: Path) -> None:
    path = tmp_path / "http.sock"
    if kind == "file":
        path.write_text("")
    elif kind == "left behind":
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(path))
    [found] = doctor(run, "--http", f"unix:{path}", status=1).values()
    expected = {"missing": "is not there", "file": "is no socket file", "left behind": "no process listens any more"}
    assert expected[kind] in str(found["why"])


def test_the_files_of_the_configuration_are_looked_at(run: Callable[..., Ran], fake: FakeAgent, tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text("bWFkZSBieSBgZ29zc2lwcmVnIGtleWdlbmAgb25lISE=\n")
    key.chmod(0o644)
    config = tmp_path / "agent.toml"
    config.write_text(
        f'key_file = "{key}"\ntokens_file = "{tmp_path}/tokens.toml"\ndata_dir = "{tmp_path}/data"\n'
        'http = "127.0.0.1:1"\n'
    )
    fake.streams += [SNAPSHOT, SNAPSHOT]
    found = doctor(run, "--http", fake.address, "--config", str(config), status=1)
    assert found["files-exposed"]["do"] == f"chmod 600 {key}"
    assert f"tokens_file: {tmp_path}/tokens.toml: No such file" in str(found["files-missing"]["why"])
    assert "does not exist" in str(found["data-directory"]["why"])
    key.chmod(0o600)
    (tmp_path / "data").mkdir()
    hidden(tmp_path / "tokens.toml", b"")
    assert (
        not {"files-exposed", "files-missing"}
        & doctor(run, "--http", fake.address, "--config", str(config), status=0).keys()
    )
    fake.keys.append({"id": "0" * 8, "primary": True, "not_held_by": [], "until": None})
    fake.streams.append(SNAPSHOT)
    why = doctor(run, "--http", fake.address, "--config", str(config), status=1)["key-file-outdated"]["why"]
    assert "key 2764f684 of the file was given up" in str(why)


def test_a_configuration_that_cannot_be_used_and_one_for_another_address(
    run: Callable[..., Ran], fake: FakeAgent, tmp_path: Path
) -> None:
    config = tmp_path / "agent.toml"
    config.write_text("bind = 3\n")
    fake.streams.append(SNAPSHOT)
    found = doctor(run, "--http", fake.address, "--config", str(config), status=1)
    assert "bind" in str(found["configuration"]["why"])
    config.write_text(f'http = "{fake.address}"\n')
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = "{}:{}".format(*free.getsockname())
        found = doctor(run, "--http", address, "--config", str(config), status=1)
    assert found["unreachable"]["run"] == f"gossipreg doctor --http {fake.address}"


def test_a_data_directory_of_another_user_or_that_is_a_file(tmp_path: Path) -> None:
    mine, other = os.getuid(), os.getuid() + 1
    assert data_directory(tmp_path, mine).problem == ""
    assert (data_directory(tmp_path, mine).free or 0) > 0
    assert f"the agent runs as {other}" in data_directory(tmp_path, other).problem
    (tmp_path / "file").write_text("")
    assert data_directory(tmp_path / "file", mine).problem == "is no directory"


def test_the_end_of_a_certificate(tmp_path: Path) -> None:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([])
    end = dt.datetime(2030, 1, 2, tzinfo=dt.UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), 1, dt.datetime(2020, 1, 1, tzinfo=dt.UTC), end)
        .sign(key, hashes.SHA256())
        .public_bytes(serialization.Encoding.PEM)
    )
    (tmp_path / "cert.pem").write_bytes(made)
    assert certificate_end(tmp_path / "cert.pem") == end.timestamp()
    (tmp_path / "cert.pem").write_text("none")
    assert certificate_end(tmp_path / "cert.pem") is None


@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="needs Linux")
@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "0.0.0.0", "::"])
def test_the_program_at_a_port_is_found(host: str) -> None:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as listener:
        try:
            listener.bind((host, 0))
        except OSError:
            pytest.skip("this host has no IPv6")
        listener.listen()
        asked = Address("::1" if ":" in host else "127.0.0.1", listener.getsockname()[1])
        found = processes.program_at(asked)
        assert found is not None
        assert (found.pid, found.uid) == (os.getpid(), os.getuid())
        assert found.open
        assert found.descriptors
    assert processes.program_at(asked) is None


@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="needs Linux")
def test_ports_that_receive_packets_are_not_taken_for_those_of_an_api(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "_pids", lambda _: [os.getpid()])
    monkeypatch.setattr(processes, "_command", lambda *_: "gossipreg agent")
    with socket.socket() as api, socket.socket() as gossip, socket.socket(type=socket.SOCK_DGRAM) as packets:
        for listener in (api, gossip):
            listener.bind(("127.0.0.1", 0))
            listener.listen()
        assert {Address(*each.getsockname()) for each in (api, gossip)} <= set(processes.agents())
        packets.bind(gossip.getsockname())
        found = set(processes.agents())
        assert Address(*api.getsockname()) in found
        assert Address(*gossip.getsockname()) not in found


def test_the_tables_of_the_kernel_are_read(tmp_path: Path) -> None:
    (tmp_path / "net").mkdir()
    (tmp_path / "net/udp").write_text(
        "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  inode ref ptr drops\n"
        "  12: 0500000A:1F04 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 77 2 0 42\n"
    )
    assert processes.dropped(Address("10.0.0.5", 7940), tmp_path) == 42
    assert processes.dropped(Address("10.0.0.6", 7940), tmp_path) is None
    assert processes.receive_buffer_max(tmp_path) is None
    assert processes.program_at(Address("10.0.0.5", 7940), tmp_path) is None


def test_a_counter_that_rises_while_the_doctor_watches_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    counters = iter([{"packets_forged": 3, "lags": 1}, {"packets_forged": 5, "lags": 1}])
    told = {"name": "x", "cluster": "y", "generation": 1}
    monkeypatch.setattr(
        AgentClient,
        "get",
        lambda _, *path: told | {"counters": next(counters)} if path == ("node",) else {path[0]: []},
    )
    monkeypatch.setattr(AgentClient, "events", lambda _, *, all_healths: iter(SNAPSHOT if all_healths else ()))
    facts = gather(AgentClient(Address("192.0.2.1", 8500)), None, 0.0)
    assert facts.rose == {"packets_forged": 2}
    assert facts.count("packets_forged") == 5


def test_an_agent_of_another_host_leaves_this_one_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(AgentClient, "get", lambda *_: {"name": "x", "cluster": "y", "generation": 1, "counters": {}})
    monkeypatch.setattr(AgentClient, "events", lambda _, *, all_healths: iter(SNAPSHOT if all_healths else ()))
    facts = gather(AgentClient(Address("192.0.2.1", 8500)), None, 0.0)
    assert facts.instances == [INSTANCE]
    assert facts.host == HostFacts()
