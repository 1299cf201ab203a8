"""Real agents: they say when they are ready, obey signals, and fail in one line."""

from __future__ import annotations

import base64
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest

from gossipreg.cli.client import AgentClient
from tests.certificates import certificate
from tests.cli.conftest import Ran
from tests.cli.terminals import terminal
from tests.forked_commands import ForkedCommand, fork_command
from tests.hidden import hidden

#: How long anything here may take before the test has failed (seconds).
PATIENCE = 60.0


@attrs.frozen
class Started:
    process: ForkedCommand
    ready: dict[str, Any]

    @property
    def agent(self) -> AgentClient:
        return AgentClient.at(self.ready["http"])

    def members(self) -> dict[str, str]:
        return {member["name"]: member["status"] for member in self.agent.get("members")["members"]}

    def ended(self) -> tuple[int, list[str]]:
        """The exit status and the lines on standard error."""
        _, err = self.process.communicate(timeout=PATIENCE)
        return self.process.wait(), err.splitlines()


Starter = Callable[..., Started]


def agent(*arguments: str) -> list[str]:
    """The command line of an agent whose ports come from the kernel."""
    return ["agent", "--bind", "127.0.0.1:0", "--http", "127.0.0.1:0", "--dns", "127.0.0.1:0", *arguments]


def command(*arguments: str) -> list[str]:
    """The same, for a process that is started as users start it."""
    return [sys.executable, "-m", "gossipreg", *agent(*arguments)]


def fails(*arguments: str) -> Ran:
    """How an agent ends that cannot start."""
    forked = fork_command(*agent(*arguments))
    try:
        out, err = forked.communicate(PATIENCE)
    finally:
        forked.kill()
    return Ran(forked.returncode, out, err)


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)


@pytest.fixture
def start() -> Iterator[Starter]:
    """Start an agent and wait until it is ready; in the end all are gone."""
    processes: list[ForkedCommand] = []

    def start_one(*arguments: str) -> Started:
        process = fork_command(*agent("--log-format", "json", *arguments))
        processes.append(process)
        line = process.stdout.readline()
        assert line, process.communicate()[1]
        return Started(process, json.loads(line))

    yield start_one
    for process in processes:
        process.kill()
        process.communicate()


def test_the_ready_line_is_a_sentence_with_the_addresses_it_got() -> None:
    with subprocess.Popen(
        command("--name", "web-1", "--cluster", "shop"), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        process.kill()
    assert re.fullmatch(
        r"gossipreg agent web-1 ready: "
        r"gossip 127\.0\.0\.1:[1-9]\d+, http 127\.0\.0\.1:[1-9]\d+, dns 127\.0\.0\.1:[1-9]\d+, cluster shop\n",
        line,
    )


def test_the_ready_line_is_an_object_where_the_log_is_json(start: Starter) -> None:
    ready = start("--name", "web-1").ready
    assert (ready.pop("ready"), ready.pop("name"), ready.pop("cluster")) == (True, "web-1", "default")
    assert set(ready) == {"gossip", "http", "dns"}


@pytest.mark.parametrize("listener", ["http", "dns"])
def test_a_listener_can_be_off(start: Starter, listener: str) -> None:
    assert start(f"--{listener}", "off").ready[listener] is None


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_makes_it_leave_and_exit_with_0(start: Starter, number: signal.Signals) -> None:
    stays = start("--name", "stays")
    goes = start("--name", "goes", "--join", stays.ready["gossip"])
    goes.agent.put("instances", body={"service": "orders", "port": 80})
    wait_for(lambda: stays.members() == {"goes": "alive", "stays": "alive"})
    goes.process.send_signal(number)
    assert goes.ended()[0] == 0
    assert stays.members() == {"goes": "left", "stays": "alive"}
    assert stays.agent.get("services", "orders")["instances"] == []


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_it_leaves_when_its_terminal_is_closed(unbuffered: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONUNBUFFERED", unbuffered)
    with terminal(*command()[3:], "--name", "web-1") as window:
        window.until("gossipreg agent web-1 ready: [^\n]*\n")
        window.process.send_signal(signal.SIGHUP)
        window.until("files are read again")
        window.hang_up()
        assert window.process.wait(PATIENCE) == 0


def test_a_second_signal_stops_it_at_once_with_1(start: Starter) -> None:
    peer = start("--name", "peer")
    started = start("--name", "web-1", "--join", peer.ready["gossip"])
    wait_for(lambda: len(started.members()) == 2)
    started.process.terminate()
    wait_for(lambda: bool(started.agent.get("node")["draining"]))
    started.process.terminate()
    status, lines = started.ended()
    assert status == 1
    assert "while leaving: stopping at once" in lines[-1]


def test_it_leaves_when_asked_over_http(start: Starter, run: Callable[..., Ran]) -> None:
    started = start("--name", "web-1")
    assert run("leave", "--http", started.ready["http"]).out == "web-1 is leaving\n"
    assert started.ended()[0] == 0


def test_the_commands_speak_to_a_real_agent(start: Starter, run: Callable[..., Ran]) -> None:
    started = start("--name", "web-1", "--zone", "eu-1")

    def ask(*arguments: str) -> str:
        ran = run(*arguments, "--http", started.ready["http"])
        assert ran.status == 0, ran.err
        return ran.out

    row = ask("register", "orders", "--port", "8080", "--id", "orders-1", "--tag", "v2", "--meta", "a=b")
    assert row == "127.0.0.1:8080\torders-1\tpassing\t1\t-\teu-1\tweb-1\tv2\ta=b\n"
    assert ask("lookup", "orders", "--tag", "v2", "--zone", "eu-1") == row
    assert ask("lookup", "orders", "--tag", "v3") == ""
    assert ask("services") == "orders\t1\t1\n"
    assert ask("members").startswith(f"web-1\t{started.ready['gossip']}\talive\teu-1\t")
    assert "services\t1\n" in ask("info")
    assert ask("deregister", "orders-1") == "deregistered orders-1\n"
    assert ask("lookup", "orders") == ""


def test_a_restart_comes_back_with_its_name_and_its_registrations(start: Starter, tmp_path: Path) -> None:
    first = start("--name", "web-1", "--data-dir", str(tmp_path))
    first.agent.put("instances", body={"service": "orders", "port": 80})
    first.process.kill()
    first.ended()
    again = start("--data-dir", str(tmp_path))
    assert again.ready["name"] == "web-1"
    assert [each["port"] for each in again.agent.get("services", "orders")["instances"]] == [80]


def test_files_define_services_and_are_read_again_on_sighup(start: Starter, tmp_path: Path) -> None:
    def define(name: str, port: int) -> None:
        (tmp_path / f"{name}.toml").write_text(f'[[services]]\nservice = "{name}"\nport = {port}\n')

    def ports(name: str) -> list[int]:
        return [each["port"] for each in started.agent.get("services", name)["instances"]]

    define("orders", 80)
    started = start("--services-dir", str(tmp_path))
    assert ports("orders") == [80]  # from the first moment
    define("orders", 81)
    define("billing", 90)
    started.process.send_signal(signal.SIGHUP)
    wait_for(lambda: ports("orders") == [81] and ports("billing") == [90])
    (tmp_path / "orders.toml").unlink()
    (tmp_path / "billing.toml").write_text("[[services")
    started.process.send_signal(signal.SIGHUP)
    wait_for(lambda: ports("orders") == [])
    assert ports("billing") == [90]
    started.process.terminate()
    status, lines = started.ended()
    assert status == 0
    errors = [json.loads(line)["message"] for line in lines if '"level": "error"' in line]
    assert len(errors) == 1
    assert errors[0].startswith(f"{tmp_path / 'billing.toml'} is not TOML: ")
    assert errors[0].endswith("(what was defined there before stays)")


def test_services_with_credentials_want_a_key_that_seals_them(tmp_path: Path) -> None:
    file = tmp_path / "a.toml"
    hidden(file, '[[services]]\nservice = "pg"\nport = 80\ncredentials = { password = "hunter2" }\n')
    sentence = f"gossipreg: {file}: service 1: credentials: there is no key to seal them: set credential_key_file\n"
    assert fails("--services-dir", str(tmp_path)) == Ran(2, "", sentence)
    assert fails("--services-dir", str(tmp_path), "--check-config") == Ran(2, "", sentence)
    hidden(tmp_path / "key", base64.b64encode(b"k" * 32))
    keyed = ("--services-dir", str(tmp_path), "--credential-key-file", str(tmp_path / "key"))
    assert fails(*keyed, "--check-config") == Ran(0, "ok, with 1 service defined\n", "")
    file.write_text('[[services]]\nservice = "pg"\nport = 80\ncredentials = { password = ["hunter2"] }\n')
    sentence = f"gossipreg: {file}: service 1: credentials: it is not an object of strings\n"
    assert fails(*keyed) == Ran(2, "", sentence)


def test_services_that_are_wrong_are_one_line_and_status_2(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text('[[services]]\nservice = "orders"\nport = 70000\n')
    sentence = f"gossipreg: {tmp_path / 'a.toml'}: service 1: port: 70000 is not a whole number from 0 to 65535\n"
    assert fails("--services-dir", str(tmp_path)) == Ran(2, "", sentence)
    assert fails("--services-dir", str(tmp_path), "--check-config") == Ran(2, "", sentence)
    (tmp_path / "a.toml").write_text('[[services]]\nservice = "orders"\nport = 80\n')
    assert fails("--services-dir", str(tmp_path), "--check-config") == Ran(0, "ok, with 1 service defined\n", "")


def test_checks_that_the_agent_would_refuse_are_refused_without_a_start(tmp_path: Path) -> None:
    file = tmp_path / "a.toml"
    checks = 'checks = [{{ tcp = "127.0.0.1:80" }}, {{ http = "http://{}/" }}]\n'
    table = '[[services]]\nservice = "orders"\nport = 80\n' + checks
    file.write_text(table.format("169.254.169.254"))
    refused = (
        f"gossipreg: {file}: service 1: checks[1].http: "
        "169.254.169.254 may not be contacted by checks of this node: see check_targets\n"
    )
    assert fails("--services-dir", str(tmp_path)) == Ran(2, "", refused)
    assert fails("--services-dir", str(tmp_path), "--check-config") == Ran(2, "", refused)
    file.write_text(table.format("127.0.0.2"))
    assert fails("--services-dir", str(tmp_path), "--check-config").status == 0
    open_bind = ("--bind", "0.0.0.0:0", "--insecure")
    for address in (
        ("--bind", "localhost:0"),
        open_bind,
        (*open_bind, "--advertise", "127.0.0.1"),
        ("--bind", "[::1]:0"),
    ):
        assert fails("--services-dir", str(tmp_path), "--check-config", *address).status == 0, address


@pytest.mark.parametrize(
    "arguments", [("--key-file", "missing"), ("--tokens-file", "missing"), ("--bind", "0.0.0.0"), ("--dns-ttl", "-1")]
)
def test_a_configuration_is_checked_without_a_start(arguments: tuple[str, ...]) -> None:
    ran = fails(*arguments, "--check-config")
    assert (ran.status, ran.out, ran.err.count("\n")) == (2, "", 1)


@pytest.mark.slow
def test_what_one_agent_is_told_is_obeyed_by_another(start: Starter, run: Callable[..., Ran]) -> None:
    one = start("--name", "one")
    other = start("--name", "other", "--join", one.ready["gossip"])

    def ask(*arguments: str) -> list[list[str]]:
        ran = run(*arguments, "--http", one.ready["http"])
        assert ran.status == 0, ran.err
        return [line.split("\t") for line in ran.out.splitlines()]

    def weights() -> dict[str, int]:
        found = other.agent.get("services", "orders", all="true")["instances"]
        return {each["id"]: each["weight"] for each in found if each["health"] == "passing"}

    ask("register", "orders", "--port", "80", "--id", "orders-1", "--weight", "2")
    other.agent.put("instances", body={"service": "orders", "port": 81, "id": "orders-2"})
    wait_for(lambda: weights() == {"orders-1": 2, "orders-2": 1})
    ask("weight", "orders-2", "7", "--service", "orders")
    wait_for(lambda: weights() == {"orders-1": 2, "orders-2": 7})
    ask("maintenance", "orders-2", "--service", "orders", "--reason", "new disk")
    wait_for(lambda: weights() == {"orders-1": 2})
    assert [row[0] for row in ask("policy", "list")] == ["maintenance:orders:orders-2", "weight:orders:orders-2"]
    ask("maintenance", "orders-2", "--service", "orders", "--end")
    ask("weight", "orders-2", "--service", "orders", "--clear")
    ask("drain")
    wait_for(lambda: weights() == {"orders-1": 0, "orders-2": 1})
    ask("drain", "--end")
    wait_for(lambda: weights() == {"orders-1": 2, "orders-2": 1})


@pytest.mark.slow
def test_the_younger_of_two_agents_of_one_name_stops_with_a_sentence(start: Starter) -> None:
    elder = start("--name", "web-1")
    younger = fails("--name", "web-1", "--join", elder.ready["gossip"])  # it may be ready before it hears of the elder
    assert younger.status == 1
    said = younger.err.splitlines()[-1]
    assert said.startswith("gossipreg: ")
    assert "web-1" in said
    assert elder.members() == {"web-1": "alive"}


@pytest.mark.parametrize("listener", ["http", "dns"])
def test_a_listener_that_is_taken_is_one_line_and_leaves_no_failed_member_behind(start: Starter, listener: str) -> None:
    elder = start("--name", "elder")
    ran = fails("--name", "late", "--join", elder.ready["gossip"], f"--{listener}", elder.ready[listener])
    assert (ran.status, ran.out) == (1, "")
    said = ran.err.splitlines()[-1]
    assert said.startswith(
        f"gossipreg: cannot listen on {elder.ready[listener]} (--{listener}): in use by another program"
    )
    assert f"pass for example --{listener} 127.0.0.1:" in said
    assert said.endswith(f"; --{listener} off does without")
    assert elder.members().get("late", "left") == "left"


def test_a_gossip_address_that_is_taken_is_one_line(start: Starter) -> None:
    elder = start("--name", "elder")
    ran = fails("--bind", elder.ready["gossip"])
    assert (ran.status, ran.out, ran.err.count("\n")) == (1, "", 1)
    assert elder.ready["gossip"] in ran.err


def test_all_addresses_that_are_taken_are_named_in_one_line(start: Starter) -> None:
    elder = start("--name", "elder").ready
    ran = fails("--bind", elder["gossip"], "--http", elder["http"], "--dns", elder["dns"])
    assert (ran.status, ran.out, ran.err.count("\n")) == (1, "", 1)
    assert f"{elder['gossip']} (--bind), {elder['http']} (--http), {elder['dns']} (--dns): in use" in ran.err
    example = re.search(r"for example (.*);", ran.err)
    assert example is not None
    assert start("--name", "younger", *example[1].split()).ready["name"] == "younger"


def test_seeds_may_be_given_with_commas_or_one_by_one(start: Starter) -> None:
    elder = start("--name", "elder")
    other = start("--name", "other", "--join", f"127.0.0.1:9,{elder.ready['gossip']}", "--join", "127.0.0.1:10")
    wait_for(lambda: other.members().get("elder") == "alive")


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("--bind", "0.0.0.0:0"), "--insecure"),
        (("--key-file", "missing.key"), "missing.key"),
        (("--key-file", os.devnull), os.devnull),
        (("--join", "a:b"), "--join"),
        (("--http", "here"), "--http"),
        (("--dns", "here"), "--dns"),
        (("--dns-domain", "no domain"), "--dns-domain"),
        (("--dns-ttl", "-1"), "--dns-ttl"),
    ],
)
def test_a_setting_that_cannot_be_used_is_one_line_and_status_2(arguments: tuple[str, ...], named: str) -> None:
    ran = fails(*arguments)
    assert (ran.status, ran.out, ran.err.count("\n")) == (2, "", 1)
    assert ran.err.startswith("gossipreg: ")
    assert named in ran.err


def test_a_key_or_a_data_directory_that_others_can_touch_is_one_line_and_status_2(tmp_path: Path) -> None:
    key = hidden(tmp_path / "key", base64.b64encode(b"k" * 32))
    key.chmod(0o644)
    sentence = f"gossipreg: key_file: {key} is secret, and every user of this machine can open it (mode 0644): "
    assert fails("--key-file", str(key)) == Ran(2, "", f"{sentence}run chmod 600 {key}\n")
    data = tmp_path / "data"
    data.mkdir()
    data.chmod(0o775)
    sentence = f"gossipreg: {data} can be changed by its group (mode 0775): run chmod go-w {data}\n"
    assert fails("--data-dir", str(data)) == Ran(2, "", sentence)


# HTTPS


def test_every_kind_of_client_reaches_an_agent_over_https(
    start: Starter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Callable[..., Ran]
) -> None:
    pem, key = certificate("127.0.0.1", tmp_path)
    agent = start("--name", "ann", "--tls-cert", str(pem), "--tls-key", str(key))
    assert agent.ready["tls"] is True
    url = f"https://{agent.ready['http']}"

    def ask_at(where: str, *arguments: str) -> Ran:
        return run(*arguments, "--http", where)

    clear = ask_at(agent.ready["http"], "members")
    assert clear.status == 1
    assert f"it speaks HTTPS, then write {url}" in clear.err
    distrusted = ask_at(url, "members")
    assert distrusted.status == 1
    assert f"the certificate of the agent at {agent.ready['http']} is not trusted: self-signed" in distrusted.err
    monkeypatch.setenv("GOSSIPREG_CA_FILE", str(pem))
    assert ask_at(url, "members").out.startswith("ann\t")
    assert ask_at(url, "register", "orders", "--port", "80").status == 0

    template = tmp_path / "orders.txt.template"
    template.write_text("{% for each in instances('orders') %}{{ each.port }}{% endfor %}")
    assert ask_at(url, "render", str(template), "--once").out == "80"

    balancer = subprocess.Popen(
        [sys.executable, "-m", "gossipreg", "proxy", "--listen", "127.0.0.1:0", "--service", "orders", "--http", url],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with balancer:
        assert balancer.stdout is not None
        assert "ready" in balancer.stdout.readline()
        balancer.kill()

    monkeypatch.setenv("GOSSIPREG_CA_FILE", str(key))
    assert ask_at(url, "members") == Ran(
        2, "", f"gossipreg: GOSSIPREG_CA_FILE {key}: it holds no certificate in PEM: no certificate or crl found\n"
    )
    monkeypatch.setenv("GOSSIPREG_CA_FILE", str(pem))
    monkeypatch.setenv("GOSSIPREG_CLIENT_CERT", str(pem))
    assert "GOSSIPREG_CLIENT_CERT" in ask_at(url, "members").err


def test_one_setting_of_tls_without_the_other_is_refused(tmp_path: Path) -> None:
    pem, key = certificate("127.0.0.1", tmp_path)
    for given, sentence in (
        (("--tls-cert", str(pem)), "tls_cert is given without tls_key: give both"),
        (("--tls-key", str(key)), "tls_key is given without tls_cert: give both"),
        (("--tls-client-ca", str(pem)), "it is given without tls_cert: give that, too"),
    ):
        ran = fails(*given)
        assert (ran.status, sentence in ran.err) == (2, True), ran
