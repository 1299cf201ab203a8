"""The client asks an agent over HTTP, and has one sentence for each way in which that can fail."""

from __future__ import annotations

import socket
import threading
from pathlib import Path

import pytest

from gossipreg.cli.client import AgentClient
from gossipreg.errors import AgentUnreachable, ConfigError, GossipregError
from tests.cli.fake_agent import INSTANCE, MEMBER, FakeAgent


@pytest.mark.parametrize("text", ["127.0.0.1:8500", "http://127.0.0.1:8500", "https://127.0.0.1:8500/"])
def test_an_agent_is_named_by_its_address_or_its_url(text: str) -> None:
    agent = AgentClient.at(text)
    assert str(agent.address) == "127.0.0.1:8500"
    assert agent.is_tls == text.startswith("https")


def test_an_agent_is_named_by_its_socket_file() -> None:
    assert str(AgentClient.at("unix:/run/gossipreg/http").address) == "unix:/run/gossipreg/http"


@pytest.mark.parametrize(
    "text",
    [
        "unix:",
        "unix:relative",
        "unix:/" + "x" * 103,
        "",
        "8500",
        "off",
        "https://localhost:8500/ui",
        "http://localhost:8500/ui",
        "a:b",
    ],
)
def test_what_is_no_address_is_refused_by_name(text: str) -> None:
    with pytest.raises(ConfigError, match=r"^--http: .*HOST:PORT"):
        AgentClient.at(text)


def test_text_in_paths_and_queries_arrives_as_it_was(fake: FakeAgent) -> None:
    AgentClient.at(fake.address).get("services", "a/b ?", tag="x&y", zone=None)
    assert fake.requests == [("GET", "/api/v1/services/a%2Fb%20%3F?tag=x%26y", None)]


def test_an_agent_that_refuses_is_quoted(fake: FakeAgent) -> None:
    with pytest.raises(GossipregError, match=r"^this node owns no instance 'nix'$"):
        AgentClient.at(fake.address).delete("instances", "nix")


def test_a_token_is_shown_to_the_agent_only(fake: FakeAgent) -> None:
    agent = AgentClient.at(fake.address)._replace(token="a-token-that-is-secret")
    agent.get("node")
    assert fake.authorizations == ["Bearer a-token-that-is-secret"]
    assert "secret" not in repr(agent)


def test_an_agent_that_asks_for_a_token_is_quoted_with_the_way_to_give_one(fake: FakeAgent) -> None:
    fake.instead = (
        401,
        "application/json",
        b'{"error": "this agent asks for a token: send it", "code": "unauthorized"}',
    )
    with pytest.raises(GossipregError) as refused:
        AgentClient.at(fake.address).get("node")
    assert str(refused.value) == (
        "this agent asks for a token: send it (set GOSSIPREG_TOKEN or pass --token-file FILE)"
    )


def test_a_socket_file_that_is_not_there_is_said_with_its_remedy(tmp_path: Path) -> None:
    with pytest.raises(AgentUnreachable, match=r'^no agent answers at unix:.*/s: start one with "gossipreg agent"'):
        AgentClient.at(f"unix:{tmp_path}/s").get("node")


def test_a_closed_port_is_said_with_its_remedy() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
    with pytest.raises(AgentUnreachable) as refused:
        AgentClient.at(address).get("node")
    assert str(refused.value) == (
        f'no agent answers at {address}: start one with "gossipreg agent", or name another with --http HOST:PORT'
    )


@pytest.mark.parametrize(
    "said", [b"", b"220 mail.example ESMTP\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"]
)
def test_a_listener_that_is_no_agent_is_called_so(said: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(said)

        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(AgentUnreachable, match=r"(agent answers|is not an agent|before its answer was complete)"):
            AgentClient.at(f"127.0.0.1:{server.getsockname()[1]}").get("node")
        thread.join()


@pytest.mark.parametrize("path", ["node", "events"])
def test_a_web_server_that_is_no_agent_is_called_so(fake: FakeAgent, path: str) -> None:
    agent = AgentClient.at(fake.address)
    fake.instead = (200, "text/html", b"<h1>It works!</h1>")
    with pytest.raises(AgentUnreachable, match="is not an agent"):
        list(agent.events()) if path == "events" else agent.get(path)
    fake.instead = (404, "text/html", b"<h1>Not found</h1>")
    with pytest.raises(GossipregError, match=f"answered GET /api/v1/{path} with 404: is it a gossipreg agent"):
        list(agent.events()) if path == "events" else agent.get(path)


def test_a_stream_may_be_silent_for_longer_than_an_answer_may_take(
    fake: FakeAgent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gossipreg.cli.client.PATIENCE", 0.02)
    fake.streams = [[("instance-added", INSTANCE), ("pause", 0.1), ("instance-removed", INSTANCE)], []]
    assert [event for event, _ in AgentClient.at(fake.address).events()] == ["instance-added", "instance-removed"]


def test_a_stream_that_is_silent_for_too_long_has_ended(fake: FakeAgent, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gossipreg.cli.client.SILENCE", 0.05)
    fake.streams = [[("instance-added", INSTANCE)]]
    assert [event for event, _ in AgentClient.at(fake.address).events()] == ["instance-added"]


def test_an_agent_that_takes_too_long_is_said_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gossipreg.cli.client.PATIENCE", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as server:
        agent = AgentClient.at(f"127.0.0.1:{server.getsockname()[1]}")
        with pytest.raises(AgentUnreachable, match=r"does not answer within 0\.05 s"):
            agent.get("node")


def test_events_come_in_order_until_the_stream_ends(fake: FakeAgent) -> None:
    snapshot = {"members": [MEMBER], "instances": []}
    fake.streams = [[("snapshot", snapshot), ("instance-added", INSTANCE)], [], []]  # the last is followed by silence
    assert list(AgentClient.at(fake.address).events("orders")) == [("snapshot", snapshot), ("instance-added", INSTANCE)]
    list(AgentClient.at(fake.address).events(all_healths=True))
    assert [path for _, path, _ in fake.requests] == ["/api/v1/events?service=orders", "/api/v1/events?all=true"]
