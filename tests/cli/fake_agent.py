"""An agent's HTTP API with nothing behind it: it answers from what a test gave it, and remembers what it was asked."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable, Sequence
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import parse_qs, unquote, urlsplit

MEMBER = {
    "name": "web-1",
    "address": "127.0.0.1:7940",
    "status": "alive",
    "generation": 1_700_000_000_123,
    "incarnation": 2,
    "zone": "eu-1",
    "draining": False,
    "version": "0.1.0",
    "protocol": 1,
}

INSTANCE = {
    "id": "orders-1",
    "service": "orders",
    "host": "127.0.0.1",
    "port": 8080,
    "tags": ["v2", "canary"],
    "meta": {"team": "a"},
    "weight": 3,
    "role": "primary",
    "zone": "eu-1",
    "health": "passing",
    "owner": "web-1",
}

CHECK = {
    "instance": "orders-1",
    "service": "orders",
    "name": "http",
    "kind": "http",
    "target": "http://127.0.0.1:8080/health",
    "health": "critical",
    "reason": "500 Internal Server Error",
    "health_age": 12.345,
    "flapping": True,
    "needed": 4,
    "runs": 120,
    "run_age": 0.3,
    "took": 0.002,
    "output": "500 Internal Server Error\nno database",
    "settings": {"http": "http://127.0.0.1:8080/health"},
}

CREDENTIALS: dict[str, Any] = {
    "id": "pg-1",
    "service": "pg",
    "owner": "web-1",
    "credentials": {"user": "app", "password": "hunter2"},
}

NODE = {
    "name": "web-1",
    "cluster": "default",
    "address": "127.0.0.1:7940",
    "generation": 1_700_000_000_123,
    "incarnation": 2,
    "zone": "",
    "local_health": 0,
    "isolated": False,
    "silence": 12.4,
    "reachable": 1.0,
    "draining": False,
    "fingerprint": "00000000deadbeef",
    "members": {"alive": 2, "failed": 1},
    "services": 1,
    "instances": 1,
    "counters": {"packets_sent": 7, "failures_declared": 0},
}


def no(status: int, sentence: str) -> dict[str, str]:
    """A refusal as an agent says it."""
    codes = {400: "bad_request", 404: "not_found", 409: "conflict"}
    return {"error": sentence, "code": codes[status]}


def policy_of(body: Any) -> dict[str, Any]:
    """A policy as it is shown, of one as it is asked for."""
    about = {"service": body["service"], "writer": "web-1", "at": 1_700_000_000.123}
    if "split" in body:
        key = f"split:{body['service']}"
        return {"key": key, "kind": "split", **about, "by": body["by"], "shares": body["split"]}
    kind, said = ("weight", "weight") if "weight" in body else ("maintenance", "reason")
    owner = body.get("owner")
    key = f"{kind}:{body['service']}{f'@{owner}' if owner else ''}:{body['instance']}"
    named = {"instance": body["instance"], "owner": owner}
    return {"key": key, "kind": kind, **about, **named, said: body[kind], "hits": 1 if owner else 2}


#: The cells of the region.
CELLS: Final = [
    {"name": "a", "own": True, "members": 3, "failed": 1, "instances": 7, "relays": [], "peers": [], "age": 0.0}
    | {"stale": False, "problem": ""},
    {"name": "b", "own": False, "members": 2, "failed": 0, "instances": 4, "relays": ["web-1", "web-2"]}
    | {"peers": ["10.0.0.7:7940", "10.0.0.8:7940"], "age": 31.04, "stale": True, "problem": "nothing was heard"},
    {"name": "c", "own": False, "members": 0, "failed": 0, "instances": 0, "relays": ["web-1"]}
    | {"peers": ["10.0.0.9:7940"], "age": None, "stale": False, "problem": ""},
]


class FakeAgent:
    """Serves on a free port of loopback, in threads of its own, for the length of a ``with`` block."""

    def __init__(
        self,
        instances: Sequence[Any] = (INSTANCE,),
        members: Sequence[Any] = (MEMBER,),
        *,
        name: str = "web-1",
        at: tuple[str, int] = ("127.0.0.1", 0),
    ) -> None:
        self.name = name
        self.instances = {instance["id"]: instance for instance in instances}
        self.members = list(members)
        self.policies: dict[str, Any] = {}
        self.roles: list[dict[str, Any]] = []
        self.keys: list[dict[str, Any]] = []
        self.identity_mode: dict[str, Any] | None = None
        self.identity: dict[str, Any] = {"mode": "off", "until": None, "members": [], "revoked": [], "refused": {}}
        self.tokens: list[dict[str, Any]] = []
        #: What the answer to a registration says stands in its way, by id.
        self.notes: dict[str, str] = {}
        #: One list of (event, data) for each stream that is opened; the last is followed by silence, the others end.
        #: ("pause", seconds) is no event but silence.
        self.streams: list[Iterable[tuple[str, Any]]] = []
        self.requests: list[tuple[str, str, Any]] = []
        #: The `Authorization` of each request that had one.
        self.authorizations: list[str] = []
        #: What to answer instead of an answer: status, content type and body.
        self.instead: tuple[int, str, bytes] | None = None
        self.closing = threading.Event()
        #: What the headers say of how far its answers can be relied on.
        self.reliance: dict[str, str] = {}
        self._server = ThreadingHTTPServer(at, _handler_for(self))
        self._server.daemon_threads = False
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})

    @property
    def address(self) -> str:
        return "{}:{}".format(*self._server.server_address[:2])

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def answer(  # noqa: C901 - one case a route
        self, method: str, path: Sequence[str], query: dict[str, str], body: Any
    ) -> tuple[int, Any]:
        match (method, *path):
            case ("GET", "node"):
                return 200, NODE | {"name": self.name}
            case ("GET", "members"):
                of_all = query.get("all_cells")  # those that name their cell are of another one
                return 200, {"members": [each for each in self.members if of_all or "cell" not in each]}
            case ("GET", "services"):
                names = sorted({instance["service"] for instance in self.instances.values()})
                return 200, {"services": {name: {"instances": 3, "healthy": 2} for name in names}}
            case ("GET", "services", name):
                found = [instance for instance in self.instances.values() if instance["service"] == name]
                if "tag" in query:
                    found = [instance for instance in found if query["tag"] in instance["tags"]]
                if "all" not in query:
                    found = [instance for instance in found if instance["health"] in ("passing", "warning")]
                return 200, {"index": 4, "instances": found}
            case ("PUT", "instances"):
                if body["service"] == "no good":
                    return 400, no(400, "service: 'no good' is not a name")
                instance = INSTANCE | {"id": "made-up"} | body
                self.instances[instance["id"]] = instance
                return 201, instance | {"note": self.notes.get(instance["id"], "")}
            case ("DELETE", "instances", key) if key in self.instances and self.instances[key]["owner"] == self.name:
                del self.instances[key]
                return 204, None
            case ("DELETE", "instances", key):
                return 404, no(404, f"this node owns no instance {key!r}") | {"code": "unknown_instance"}
            case ("GET", "checks", *key):
                return 200, {"checks": [CHECK] if key in ([], [CHECK["instance"]]) else []}
            case ("GET", "credentials", "pg-1"):
                return 200, CREDENTIALS | {"credentials": dict(CREDENTIALS["credentials"])}
            case ("GET", "credentials", key):
                return 404, no(404, f"'pg' has no instance {key!r}")
            case ("PUT", "heartbeats", _):
                return 204, None
            case ("PUT", "maintenance", key) if key in self.instances:
                return 200, self.instances[key] | {"health": "maintenance", "reason": query.get("reason", "")}
            case ("DELETE", "maintenance", key) if key in self.instances:
                return 200, self.instances[key]
            case ("GET", "policies"):
                return 200, {"policies": [self.policies[key] for key in sorted(self.policies)]}
            case ("PUT", "policies"):
                policy = policy_of(body)
                self.policies[policy["key"]] = policy
                return 200, policy
            case ("DELETE", "policies", key) if key in self.policies:
                del self.policies[key]
                return 204, None
            case ("DELETE", "policies", key):
                return 404, no(404, f"no policy {key!r} is in force: see `gossipreg policy list`")
            case ("GET", "tokens"):
                return 200, {"tokens": list(self.tokens)}
            case ("PUT", "tokens"):
                return 201, {"name": body["name"], "scopes": body["scopes"], "from": "cluster", "accepted": True}
            case ("DELETE", "tokens", name):
                if name not in [token["name"] for token in self.tokens]:
                    return 404, no(404, f"the cluster knows no token {name!r}")
                return 204, None
            case ("GET", "identity") | ("PUT", "revocations"):
                return 200, self.identity
            case ("GET", "keys"):
                more = {} if self.identity_mode is None else {"identity": self.identity_mode}
                return 200, {"keys": list(self.keys), **more}
            case ("PUT", "keys"):
                return 200, {"id": "0a1b2c3d"}
            case ("PUT", "primary_key"):
                return 200, {"keys": list(self.keys)}
            case ("DELETE", "keys", id_):
                if id_ not in [key["id"] for key in self.keys]:
                    return 404, {"error": f"no member holds a key {id_!r}", "code": "unknown_key"}
                return 204, None
            case ("GET", "cells"):
                return 200, {"cells": CELLS}
            case ("GET", "regions"):
                return 200, {"regions": []}
            case ("GET", "roles"):
                return 200, {"roles": list(self.roles)}
            case ("DELETE", "roles", name):
                found = [role for role in self.roles if role["service"] == name]
                return (200, found[0]) if found else (404, no(404, f"no term of a service {name!r} is known"))
            case ("PUT" | "DELETE", "drain"):
                return 200, {"draining": method == "PUT"}
            case ("DELETE", "members", "web-1"):
                return 409, no(409, "'web-1' is alive: only a member that failed can be forgotten")
            case ("DELETE", "members", _):
                return 204, None
            case ("POST", "join"):
                refused = {"reason": "refused", "detail": "nothing listens there"}
                failures = {seed: refused for seed in body["seeds"] if seed.endswith(":1")}
                joined = [seed for seed in body["seeds"] if seed not in failures]
                if not joined:
                    return 502, {"error": "not joined: " + ", ".join(failures), "code": "join_failed"}
                return 200, {"joined": joined, "failures": failures}
            case ("POST", "leave"):
                return 202, {"status": "leaving"}
        return 404, no(404, "there is nothing here")


def _handler_for(agent: FakeAgent) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            url = urlsplit(self.path)
            path = [unquote(part) for part in url.path.removeprefix("/api/v1/").split("/")]
            query = {key: values[0] for key, values in parse_qs(url.query).items()}
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length)) if length else None
            agent.requests.append((self.command, self.path, body))
            if "Authorization" in self.headers:
                agent.authorizations.append(self.headers["Authorization"])
            if agent.instead is not None:
                self._send(*agent.instead)
            elif path == ["events"]:
                self._stream()
            else:
                status, document = agent.answer(self.command, path, query, body)
                self._send(status, "application/json", b"" if document is None else json.dumps(document).encode())

        do_PUT = do_DELETE = do_POST = do_GET  # noqa: N815 -- the names that http.server calls

        def _send(self, status: int, kind: str, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            for name, value in agent.reliance.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def _stream(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.end_headers()
            self.wfile.write(b": hello\n\n")
            with suppress(ConnectionError):  # the client may hang up at any time
                for event, data in agent.streams.pop(0):
                    if event == "pause":
                        agent.closing.wait(data)
                        continue
                    self.wfile.write(f"event: {event}\ndata: {json.dumps(data)}\n\n".encode())
            if not agent.streams:
                agent.closing.wait()

        def log_message(self, *_: object) -> None:
            """The test reads ``requests``."""

    return Handler
