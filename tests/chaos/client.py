"""Client: performs operations at agents and reads their answers, over their socket files."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final
from urllib.parse import quote

import attrs

from tests.chaos.checker import port_of, weight_of
from tests.chaos.history import Begun, Done, Listing, Outcome, Record, Row, SelfReport, View
from tests.chaos.hosts import Host
from tests.chaos.http import Answer, NoAnswer, NotSent, ask
from tests.chaos.plan import SERVICES, SHORT_TTL, Operation

#: Time after which the outcome of an operation counts as unknown (seconds).
_OPERATION_SECONDS: Final = 3.0

#: Time limit of a read (seconds).
_READ_SECONDS: Final = 3.0

#: Time limit of an answer that the agent must give (seconds of the wall clock); it is exceeded only if the agent hangs.
_CHECK_READ_SECONDS: Final = 120.0


def request(operation: Operation) -> tuple[str, str, Any]:
    """Return method, target and document of the request for the operation."""
    id_, key = quote(operation.id, safe=""), quote(operation.key, safe="")
    switched = "PUT" if operation.on else "DELETE"
    match operation.kind:
        case "register":
            return "PUT", "/api/v1/instances", _registration(operation)
        case "deregister":
            return "DELETE", f"/api/v1/instances/{id_}", None
        case "beat":
            return "PUT", f"/api/v1/heartbeats/{id_}?health={operation.health}", None
        case "maintain":
            return switched, f"/api/v1/maintenance/{id_}", None
        case "set":
            return "PUT", "/api/v1/policies", _policy(operation)
        case "remove":
            return "DELETE", f"/api/v1/policies/{key}", None
        case _:
            return switched, "/api/v1/drain", None


def _registration(operation: Operation) -> dict[str, Any]:
    number = operation.number
    document: dict[str, Any] = {
        "id": operation.id,
        "service": operation.service,
        "port": port_of(number),
        "weight": operation.weight,
        "tags": [f"v{1 + number % 2}"],
        "meta": {"op": str(number)},
    }
    if operation.ttl:
        initial = {"initial": "passing"} if operation.ttl == SHORT_TTL else {}
        document["checks"] = [{"ttl": operation.ttl, **initial}]
    if operation.role:
        document |= {"role": operation.role, "term": "next"}
    return document


def _policy(operation: Operation) -> dict[str, Any]:
    kind, service, *instance = operation.key.split(":")
    if kind == "split":
        return {"service": service, "split": {"v1": weight_of(operation.number), "v2": 1}}
    document: dict[str, Any] = {"service": service, "instance": instance[0]}
    weight, why = {"weight": weight_of(operation.number)}, {"maintenance": str(operation.number)}
    return document | (weight if kind == "weight" else why)


@attrs.define(eq=False)
class Client:
    """Performs operations and records their results. ``now`` returns the time of the run."""

    now: Callable[[], float]
    record: Callable[[Record], None]

    async def perform(self, host: Host, operation: Operation) -> None:
        """Perform one operation."""
        begin = self.now()
        self.record(Begun(begin, operation))
        method, target, document = request(operation)
        try:
            answer = await ask(host.socket, method, target, document, patience=_OPERATION_SECONDS)
        except NotSent as error:
            self.record(Done(self.now(), begin, operation, "refused", 0, str(error)))
        except NoAnswer as error:
            self.record(Done(self.now(), begin, operation, "unknown", 0, str(error)))
        except BaseException:
            self.record(Done(self.now(), begin, operation, "unknown", 0, "the run was interrupted"))
            raise
        else:
            self.record(self._done(begin, operation, answer))

    def _done(self, begin: float, operation: Operation, answer: Answer) -> Done:
        document = answer.document if isinstance(answer.document, dict) else {}
        term = int(document.get("term", 0)) if operation.kind == "register" else 0
        stamp = float(document.get("at", 0.0)) if operation.kind == "set" else 0.0
        said = str(document.get("error", ""))
        return Done(self.now(), begin, operation, outcome_of(answer.status), answer.status, said, term, stamp)

    async def look(self, host: Host, service: str) -> None:
        """Read a host's instances of one service, and its own state; skip an agent that does not answer."""
        begin = self.now()
        try:
            rows, index = await self._rows(host, service, patience=_READ_SECONDS)
            self.record(Listing(self.now(), begin, host.name, service, rows, index))
            begin = self.now()
            node = (await self._read(host, "/api/v1/node", patience=_READ_SECONDS)).document
            members = (await self._read(host, "/api/v1/members", patience=_READ_SECONDS)).document["members"]
            statuses = {each["name"]: each["status"] for each in members}
            self.record(SelfReport(self.now(), begin, host.name, bool(node["isolated"]), statuses))
        except (NotSent, NoAnswer):
            pass

    async def answers(self, host: Host) -> bool:
        """Whether its agent answers."""
        try:
            await self._read(host, "/api/v1/node", patience=_READ_SECONDS)
        except (NotSent, NoAnswer):
            return False
        return True

    async def view(self, host: Host) -> View:
        """Read the whole view of a host."""
        patience = _CHECK_READ_SECONDS
        rows: list[Row] = []
        offered: set[tuple[str, str]] = set()
        for service in SERVICES:
            rows += (await self._rows(host, service, patience=patience))[0]
            plain = (await self._read(host, f"/api/v1/services/{service}", patience=patience)).document
            offered |= {(each["owner"], each["id"]) for each in plain["instances"]}
        members = (await self._read(host, "/api/v1/members", patience=patience)).document["members"]
        policies = (await self._read(host, "/api/v1/policies", patience=patience)).document["policies"]
        node = (await self._read(host, "/api/v1/node", patience=patience)).document
        return View(
            host=host.name,
            members={each["name"]: each["status"] for each in members},
            fingerprint=node["fingerprint"],
            rows=tuple(sorted(rows, key=lambda row: (row.owner, row.id))),
            offered=frozenset(offered),
            policies={each["key"]: op_of_policy(each) for each in policies},
        )

    async def _rows(self, host: Host, service: str, *, patience: float) -> tuple[tuple[Row, ...], int]:
        answer = await self._read(host, f"/api/v1/services/{service}?all", patience=patience)
        return tuple(row_of(each) for each in answer.document["instances"]), answer.document["index"]

    async def _read(self, host: Host, target: str, *, patience: float) -> Answer:
        answer = await ask(host.socket, "GET", target, patience=patience)
        if answer.status != 200:
            raise NoAnswer(f"{target}: {answer.status} {answer.document}")
        return answer


def outcome_of(status: int) -> Outcome:
    """Return the outcome for a status: a refused operation, or one that could not be stored, has not happened."""
    return "ok" if status < 400 else "refused"


def row_of(document: dict[str, Any]) -> Row:
    """Return an instance of a lookup."""
    op = document["meta"].get("op", "")
    return Row(
        owner=document["owner"],
        id=document["id"],
        service=document["service"],
        op=int(op) if op.isdecimal() else -1,
        port=document["port"],
        weight=document["weight"],
        health=document["health"],
        role=document["role"] or "",
        term=document["term"],
    )


def op_of_policy(document: dict[str, Any]) -> int:
    """Return the number of the operation that set a policy, which its values encode."""
    if document["kind"] == "split":
        return int(document["shares"]["v1"]) - weight_of(0)
    if document["kind"] == "weight":
        return int(document["weight"]) - weight_of(0)
    return int(document["maintenance"] if "maintenance" in document else document["reason"])
