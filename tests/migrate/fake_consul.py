"""A small Consul agent, made from its documented answers: what `gossipreg migrate consul` asks of one.

https://developer.hashicorp.com/consul/api-docs: agent/self, catalog/services, health/service, agent/service/register,
deregister and maintenance, and agent/check/update. Rows have the fields that the documentation's examples have.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import attrs

_NODE = {
    "ID": "40e4a748-2192-161a-0510-9bf59fe950b5",
    "Node": "foobar",
    "Address": "10.1.10.12",
    "Datacenter": "dc1",
    "TaggedAddresses": {"lan": "10.1.10.12", "wan": "10.1.10.12"},
    "Meta": {"instance_type": "t2.medium"},
}
_SERF = {
    "Node": "foobar",
    "CheckID": "serfHealth",
    "Name": "Serf Health Status",
    "Status": "passing",
    "Notes": "",
    "Output": "Agent alive and reachable",
    "ServiceID": "",
    "ServiceName": "",
    "ServiceTags": [],
}


@attrs.define(eq=False)
class FakeConsul:
    """The services of one node, by id, with their checks by check id."""

    services: dict[str, dict[str, Any]] = attrs.field(factory=dict)
    checks: dict[str, dict[str, dict[str, Any]]] = attrs.field(factory=dict)
    is_away: bool = False
    tokens: list[str | None] = attrs.field(factory=list)

    def register(self, body: dict[str, Any]) -> None:
        """As PUT /v1/agent/service/register does."""
        id_ = body.get("ID") or body["Name"]
        self.services[id_] = {
            "ID": id_,
            "Service": body["Name"],
            "Tags": body.get("Tags") or [],
            "Address": body.get("Address", ""),
            "Port": body.get("Port", 0),
            "Meta": body.get("Meta") or {},
            "Weights": body.get("Weights") or {"Passing": 1, "Warning": 1},
            "TaggedAddresses": body.get("TaggedAddresses") or {},
            "EnableTagOverride": body.get("EnableTagOverride", False),
            "Kind": body.get("Kind", ""),
            "CreateIndex": 10,
            "ModifyIndex": 10,
        }
        found = [*(body.get("Checks") or []), *([body["Check"]] if "Check" in body else [])]
        self.checks[id_] = {}
        for number, check in enumerate(found):
            check_id = check.get("CheckID") or f"service:{id_}{f':{number}' if number else ''}"
            self.checks[id_][check_id] = self._check(id_, check_id, check.get("Status", "critical"))

    def _check(self, id_: str, check_id: str, status: str, output: str = "") -> dict[str, Any]:
        service = self.services[id_]
        said = {"CheckID": check_id, "Name": check_id, "Status": status, "Output": output, "ServiceID": id_}
        return _SERF | said | {"ServiceName": service["Service"], "ServiceTags": service["Tags"]}

    def answer(self, method: str, target: str, body: bytes) -> tuple[int, Any]:  # noqa: C901 -- a route each
        """The status and the document for a request."""
        url = urlsplit(target)
        path, query = unquote(url.path).removeprefix("/v1/"), parse_qs(url.query)
        head, _, name = path.rpartition("/")
        if self.is_away:
            return 500, "No cluster leader"
        if (method, path) == ("GET", "agent/self"):
            return 200, {"Config": {"Datacenter": "dc1", "NodeName": "foobar"}, "Member": {"Name": "foobar"}}
        if (method, path) == ("GET", "catalog/services"):
            names: dict[str, set[str]] = {"consul": set()}
            for each in self.services.values():
                names.setdefault(each["Service"], set()).update(each["Tags"])
            return 200, {each: sorted(tags) for each, tags in names.items()}
        if method == "GET" and path.startswith("health/service/"):
            name = path.removeprefix("health/service/")
            found = [each for each in self.services.values() if each["Service"] == name]
            return 200, [
                {"Node": _NODE, "Service": each, "Checks": [_SERF, *self.checks[each["ID"]].values()]} for each in found
            ]
        if (method, path) == ("PUT", "agent/service/register"):
            self.register(json.loads(body))
            return 200, None
        if (method, head) == ("PUT", "agent/service/deregister"):
            self.checks.pop(name, None)
            return (200, None) if self.services.pop(name, None) else (404, f'Unknown service ID "{name}"')
        if (method, head) == ("PUT", "agent/service/maintenance"):
            if name not in self.services:
                return 404, f'Unknown service ID "{name}"'
            check_id = f"_service_maintenance:{name}"
            self.checks[name].pop(check_id, None)
            if query["enable"] == ["true"]:
                made = self._check(name, check_id, "critical")
                self.checks[name][check_id] = made | {"Notes": query.get("reason", [""])[0]}
            return 200, None
        if (method, head) == ("PUT", "agent/check/update"):
            for checks in self.checks.values():
                if name in checks:
                    checks[name] |= json.loads(body)
                    return 200, None
            return 404, f'Unknown check ID "{name}"'
        return 404, "Invalid URL path: not a recognized HTTP API endpoint"


@contextmanager
def serving(consul: FakeConsul) -> Iterator[str]:
    """The fake on loopback for as long as the block; its URL."""

    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            consul.tokens.append(self.headers["Authorization"])
            body = self.rfile.read(int(self.headers["Content-Length"] or 0))
            status, document = consul.answer(self.command, self.path, body)
            text = document if isinstance(document, str) else "" if document is None else json.dumps(document)
            self.send_response(status)
            self.send_header("X-Consul-Index", "10")
            self.send_header("Content-Type", "text/plain" if isinstance(document, str) else "application/json")
            self.send_header("Content-Length", str(len(text.encode())))
            self.end_headers()
            self.wfile.write(text.encode())

        do_GET = do_PUT = _answer  # noqa: N815 -- the names that http.server calls

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=lambda: server.serve_forever(poll_interval=0.02), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
