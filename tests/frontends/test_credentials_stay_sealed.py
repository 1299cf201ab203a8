"""A caller without the token sees no credential in any frontend: a secret is registered, and everything is read.

Two members gossip in clear. ``ann`` holds the credential key and keeps a data directory; ``bob`` does not. Whatever
either of them sends, answers, tells, logs or writes is recorded by `Recorder`, and the secret must not occur in it.
"""

from __future__ import annotations

import base64
import json
import logging
import os
import subprocess
import sys
from collections import defaultdict
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final

import attrs
import dns.asyncquery
import dns.message
import httpx
import pytest
import trio

from gossipreg import Address, Node, open_node
from gossipreg.agent_config import COMPATIBILITY_APIS
from gossipreg.frontends.dns import serve_dns
from gossipreg.frontends.http import serve_http
from gossipreg.frontends.http.routes import ROUTES
from gossipreg.frontends.serving import settling
from gossipreg.frontends.serving.access import Access
from gossipreg.frontends.serving.compatibility_api import load
from gossipreg.frontends.serving.scopes import Scope
from gossipreg.protocol.wire.packets import ChecksummedPackets
from gossipreg.protocol.wire.streams import StreamCodec
from tests.drills.waiting import eventually
from tests.hidden import hidden
from tests.runtime.nodes import config

#: Letters and digits, so that no frontend's escaping changes it.
SECRET: Final = "Xq7wRt5pLm9zKd3v"

FORMS: Final = (SECRET.encode(), SECRET.encode().hex().encode(), base64.b64encode(SECRET.encode())[:20])

READER, KEEPER = "all-but-credentials", "the-token-for-credentials"

LOGIN: Final = {"user": "app", "password": SECRET}

#: What is asked of the compatibility APIs, beside nothing at all.
API_CALLS: Final = (
    ("GET", "/v1/catalog/services", None),
    ("GET", "/v1/catalog/service/pg", None),
    ("GET", "/v1/catalog/node/ann", None),
    ("GET", "/v1/catalog/nodes", None),
    ("GET", "/v1/health/service/pg", None),
    ("GET", "/v1/health/node/ann", None),
    ("GET", "/v1/health/state/any", None),
    ("GET", "/v1/agent/services", None),
    ("GET", "/v1/agent/service/pg-1", None),
    ("GET", "/v1/agent/checks", None),
    ("GET", "/v1/agent/members", None),
    ("GET", "/v1/agent/self", None),
    ("GET", "/v1/agent/metrics", None),
    ("GET", "/eureka/apps", None),
    ("GET", "/eureka/apps/delta", None),
    ("GET", "/eureka/apps/PG", None),
    ("GET", "/eureka/apps/PG/pg-1", None),
    ("GET", "/traefik/v1/config", None),
    ("POST", "/v3/discovery:endpoints", {"node": {"id": "e"}, "resource_names": ["pg"]}),
)

COMMANDS: Final = (
    "lookup pg --all",
    "lookup pg --all --json",
    "services --json",
    "members --json",
    "checks --json",
    "info --json",
    "credentials pg-1 --service pg",
    "credentials pg-1 --service pg --json",
)


@attrs.define
class Recorder:
    """Everything that was recorded, by where."""

    recorded: dict[str, list[bytes]] = attrs.field(factory=lambda: defaultdict(list))

    def record(self, where: str, what: bytes | str) -> None:
        self.recorded[where].append(what if isinstance(what, bytes) else what.encode("utf-8", "backslashreplace"))

    def said(self, where: str) -> bytes:
        return b"".join(self.recorded[where])

    def check(self) -> None:
        """Fail if the secret was recorded anywhere, in any form."""
        assert [where for where in self.recorded for form in FORMS if form.lower() in self.said(where).lower()] == []


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture(autouse=True)
def _taps(recorder: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    """Record every packet and every frame, as it goes over the wire."""
    encode, frame = ChecksummedPackets.encode, StreamCodec.frame

    def recorded_encode(self: ChecksummedPackets, payload: bytes, wall: float) -> bytes:
        packet = encode(self, payload, wall)
        recorder.record("packets", packet)
        return packet

    def recorded_frame(self: StreamCodec, body: bytes) -> bytes:
        made = frame(self, body)
        recorder.record("streams", made)
        return made

    monkeypatch.setattr(
        settling, "SETTLE_SECONDS", 0.0
    )  # or compatibility APIs would keep silent about what may change
    monkeypatch.setattr(ChecksummedPackets, "encode", recorded_encode)
    monkeypatch.setattr(StreamCodec, "frame", recorded_frame)


@pytest.fixture
def access(tmp_path: Path) -> Access:
    file = tmp_path / "tokens.toml"
    most = json.dumps([scope for scope in Scope if scope is not Scope.CREDENTIALS])
    file.write_text(
        f'[[tokens]]\nname = "reader"\ntoken = "{READER}"\nscopes = {most}\n'
        f'[[tokens]]\nname = "keeper"\ntoken = "{KEEPER}"\nscopes = ["credentials"]\n'
    )
    file.chmod(0o600)
    return Access.from_file(file)


@attrs.define
class Frontends:
    """One node with its frontends, asked by a client that may do everything but read credentials."""

    node: Node
    recorder: Recorder
    client: httpx.AsyncClient
    dns: Address

    @property
    def http(self) -> str:
        return str(self.client.base_url).rstrip("/")

    async def ask(self, method: str, path: str, body: Any = None, token: str = READER) -> int:
        """Ask, and hear what is answered: the headers, too."""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        answer = await self.client.request(method, path, headers=headers, **({} if body is None else {"json": body}))
        self.recorder.record(f"{self.node.name} {method} {path}", f"{answer.headers}\n{answer.text}")
        return answer.status_code

    async def follow(self, task_status: trio.TaskStatus[None]) -> None:
        """Hear the events, in the process and over HTTP."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._follow_events)
            host, port = self.http.removeprefix("http://").split(":")
            async with await trio.open_tcp_stream(host, int(port)) as stream:
                head = f"GET /api/v1/events HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {READER}\r\n\r\n"
                await stream.send_all(head.encode())
                task_status.started()
                async for part in stream:
                    self.recorder.record(f"{self.node.name} event stream", bytes(part))

    async def _follow_events(self) -> None:
        async for batch in self.node.events():
            self.recorder.record(f"{self.node.name} events", repr(batch))

    async def read_everything(self) -> None:
        for token in (READER, ""):
            for route in ROUTES:
                for name in ("pg-1", "pg"):
                    path = route.path.rpartition("/")[0] + f"/{name}" if route.takes_argument else route.path
                    if route.method == "GET" and route.path != "/api/v1/events":
                        query = {"service": "?service=pg", "all": "?all"}
                        await self.ask(
                            "GET", path + next((query[n] for n in route.query if n in query), ""), token=token
                        )
        for method, path, body in API_CALLS:
            await self.ask(method, path, body)
        for name in (
            "pg.service.gossipreg",
            "primary.pg.service.consul",
            "ann.node.gossipreg",
            "_pg._tcp.service.consul",
        ):
            for type_ in ("A", "SRV", "TXT", "ANY"):
                asked = dns.message.make_query(name, type_)
                answer = await dns.asyncquery.udp(asked, self.dns.host, timeout=60, port=self.dns.port)
                self.recorder.record(f"{self.node.name} dns", answer.to_text() + repr(answer.to_wire()))
        node = self.node
        seen = (node, node.info(), node.lookup("pg", healthy=False), node.members(), node.checks(), node.policies())
        self.recorder.record(
            f"{node.name} repr", repr(seen) + repr(node.own("pg-1")) + str(await anext(node.watch("pg")))
        )


async def opened(node: Node, recorder: Recorder, access: Access, nursery: trio.Nursery) -> Frontends:
    serve = partial(serve_http, node, Address("127.0.0.1", 0), leave=lambda: None, access=access)
    http = await nursery.start(partial(serve, compatibility_apis=load(COMPATIBILITY_APIS)))
    at = await nursery.start(partial(serve_dns, node, Address("127.0.0.1", 0), domains=["gossipreg", "consul"]))
    frontends = Frontends(node, recorder, httpx.AsyncClient(base_url=f"http://{http}", trust_env=False), at)
    await nursery.start(frontends.follow)
    return frontends


async def command(frontends: Frontends, line: str, token: str = READER) -> None:
    """Run a command line and hear what it writes."""
    ran = await trio.run_process(
        [sys.executable, "-m", "gossipreg", *line.split()],
        env=os.environ | {"GOSSIPREG_HTTP": frontends.http, "GOSSIPREG_TOKEN": token},
        stdin=subprocess.DEVNULL,
        capture_stdout=True,
        capture_stderr=True,
        check=False,
    )
    frontends.recorder.record(f"gossipreg {line}", ran.stdout + ran.stderr)


@pytest.mark.slow
async def test_without_the_token_no_frontend_shows_a_credential(
    recorder: Recorder, access: Access, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, logger="gossipreg")
    kept = tmp_path / "kept"
    key = base64.b64encode(b"k" * 32).decode()
    with trio.fail_after(60):
        async with (
            open_node(config("ann", credential_key=key, data_dir=kept)) as ann,
            open_node(config("bob", ann)) as bob,
            trio.open_nursery() as nursery,
        ):
            frontends = [await opened(node, recorder, access, nursery) for node in (ann, bob)]
            await registered(frontends, tmp_path)

            async def check_both_know() -> None:
                for each in frontends:
                    assert {found.id for found in each.node.lookup("pg")} == {"pg-1", "pg-2", "pg-3"}
                    assert SECRET not in recorder.said(f"{each.node.name} event stream").decode()
                    assert "pg-2" in recorder.said(f"{each.node.name} event stream").decode()

            await eventually(check_both_know)
            for each in frontends:
                await each.read_everything()
            for line in COMMANDS:
                await command(frontends[0], line)
            await command(frontends[0], "credentials pg-1 --service pg --json", token=KEEPER)  # without --show
            [there] = [each for each in ann.lookup("pg") if each.id == "pg-1"]
            assert ann.credentials(there) == LOGIN  # it was there to be seen
            nursery.cancel_scope.cancel()
        for each in frontends:
            await each.client.aclose()
    recorder.record("log", caplog.text)
    for file in kept.iterdir():
        recorder.record("disk", file.read_bytes())
    recorder.check()
    assert_something_was_recorded(recorder)


async def registered(frontends: list[Frontends], directory: Path) -> None:
    """Give the secret to ann in every way there is, and to bob, which has no key and says so."""
    ann, bob = frontends
    body: Mapping[str, Any] = {"service": "pg", "port": 5432, "id": "pg-1", "role": "primary", "credentials": LOGIN}
    assert await ann.ask("PUT", "/api/v1/instances", body) == 201
    assert await ann.ask("PUT", "/api/v1/instances", {**body, "credentials": {"password": [SECRET]}}) == 400
    assert await ann.ask("PUT", "/api/v1/instances", {**body, "credentials": SECRET}) == 400
    assert await ann.ask("PUT", "/api/v1/instances", {**body, "credentials": {SECRET * 20: ""}}) == 400
    assert await bob.ask("PUT", "/api/v1/instances", body) == 409
    large = {"blob": "x" * 5000}  # so that its record goes over a stream
    await ann.node.register("pg", port=5433, id="pg-2", meta=large, credentials=LOGIN, checks=[{"ttl": 60}])
    await ann.node.heartbeat("pg-2")
    assert await ann.ask("PUT", "/api/v1/maintenance/pg-1?reason=disk") == 200
    assert await ann.ask("DELETE", "/api/v1/maintenance/pg-1") == 200
    file = directory / "login.toml"
    hidden(file, f'user = "app"\npassword = "{SECRET}"\n')
    await command(ann, f"register pg --port 5434 --id pg-3 --credentials-file {file} --json")
    hidden(file, SECRET)
    await command(ann, f"register pg --port 5435 --id pg-4 --credentials-file {file}")


def assert_something_was_recorded(recorder: Recorder) -> None:
    """A test that hears nothing finds nothing."""
    for where in ("packets", "disk", "ann events", "bob events", "bob GET /api/v1/services/pg?all"):
        assert b"pg-1" in recorder.said(where), where
    assert b"pg-2" in recorder.said("streams")
    assert b"5432" in recorder.said("bob dns")
    assert b"credentials" in recorder.said("bob PUT /api/v1/instances")
    assert b'"password": null' in recorder.said("gossipreg credentials pg-1 --service pg --json")
    assert b"register" in recorder.said("ann GET /api/v1/openapi.json")
    assert b"were read with the token keeper" in recorder.said("log")
    for call in (
        "GET /v1/health/service/pg",
        "GET /eureka/apps/PG",
        "GET /traefik/v1/config",
        "POST /v3/discovery:endpoints",
    ):
        assert b"5432" in recorder.said(f"bob {call}"), call
