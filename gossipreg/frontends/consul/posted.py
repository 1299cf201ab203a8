"""Posted bodies: reads and checks what Consul's clients send.

Keys may be written in any way that Consul knows: ``ServiceID``, ``service_id``, ``serviceid``. What Consul would check
and we cannot is refused: an instance that passes because its check is never run is worse than a refused one.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any, Final, Self

import attrs

from gossipreg import hosts, limits
from gossipreg.check import Check
from gossipreg.errors import InvalidInstance
from gossipreg.frontends.consul.durations import seconds
from gossipreg.frontends.consul.kept import KEPT, KeptCheck, KeptService, type_of
from gossipreg.frontends.serving.response import HttpError
from gossipreg.json_documents import read_json
from gossipreg.model import FENCED, NODE_SERVICE, is_name
from gossipreg.text import shown
from gossipreg.values import frozen

#: How the id of a check begins that was given none; then comes the instance's.
DEFAULT_ID: Final = "service:"

_DEFAULT_NAME: Final = "service"
_NUMBERED: Final = re.compile(r"service\.(\d{1,3})")
_NUMBER: Final = re.compile(r"\d{1,16}")

#: Ways to check that Consul has and we have not, and what to use instead.
_FOREIGN: Final = {
    "udp": "UDP checks are not run here: use HTTP, TCP, GRPC, TTL or Args",
    "h2ping": "H2PING checks are not run here: use GRPC, HTTP or TCP",
    "dockercontainerid": "Docker checks are not run here: use HTTP, TCP, GRPC, TTL or Args",
    "script": "Script is no longer known to Consul either: use Args, a list of a program and its arguments",
    "aliasnode": "alias checks are not run here: register a check of its own",
    "aliasservice": "alias checks are not run here: register a check of its own",
    "osservice": "checks of Windows services are not run here: use HTTP, TCP, GRPC, TTL or Args",
    "body": "a request with a Body is not sent here: give a URL that needs none",
    "tcpusetls": "TLS is not spoken in TCP checks here: use HTTP with an https URL, or leave TCPUseTLS out",
}

_SCRIPT_SECONDS: Final = 30.0
_TIMEOUT_SECONDS: Final = 10.0


@frozen
class JsonObject:
    """An object as a client wrote it, whose keys are looked up without regard to case and underscores."""

    where: str  # how its fields are called in a sentence: "Check." before each
    _values: Mapping[str, Any]
    _keys: Mapping[str, Any] = attrs.field(factory=dict, repr=False)

    @classmethod
    def of(cls, value: object, where: str = "") -> Self:
        """An object. Raises a 400 ``HttpError`` for anything else."""
        if not isinstance(value, Mapping):
            raise HttpError(400, f"Request decode error: {where.rstrip('.') or 'the body'} is not an object")
        return cls(where, {_folded(key): each for key, each in value.items() if each is not None})

    @classmethod
    def parse(cls, body: bytes) -> Self:
        """The object that is a request's body, whatever its content type. Raises a 400 ``HttpError``."""
        try:
            value = read_json(body)
        except ValueError as error:
            raise HttpError(400, f"Request decode error: the body is not JSON: {error}") from None
        return cls.of(value)

    def __contains__(self, name: str) -> bool:
        return _folded(name) in self._values

    def get(self, name: str) -> Any:
        """The value of that name as it came; None if there is none."""
        return self._values.get(_folded(name))

    def text(self, name: str) -> str:
        """A text; empty if there is none."""
        value = self.get(name)
        if value is None:
            return ""
        if not isinstance(value, str):
            raise self.wrong(name, "a string")
        try:
            value.encode()
        except UnicodeEncodeError:
            raise self.wrong(name, "text: it holds half a surrogate pair") from None
        return value

    def whole(self, name: str) -> int | None:
        """A whole number."""
        value = self.get(name)
        if value is not None and (not isinstance(value, int) or isinstance(value, bool)):
            raise self.wrong(name, "a whole number")
        return value

    def truth(self, name: str) -> bool:
        """A boolean; false if there is none."""
        value = self.get(name)
        if value is not None and not isinstance(value, bool):
            raise self.wrong(name, "true or false")
        return bool(value)

    def texts(self, name: str) -> tuple[str, ...]:
        """A list of texts."""
        value = self.get(name)
        if value is None:
            return ()
        if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
            raise self.wrong(name, "a list of strings")
        return tuple(value)

    def table(self, name: str, *, keep_case: bool = False) -> JsonObject:
        """An object; an empty one if there is none. ``keep_case``: its keys are the user's own."""
        value = self.get(name)
        found = JsonObject.of({} if value is None else value, f"{name}.")
        return attrs.evolve(found, keys=dict(value)) if keep_case and value else found

    def tables(self, name: str) -> list[JsonObject]:
        """A list of objects."""
        several = self.get(name)
        if several is not None and not isinstance(several, list):
            raise self.wrong(name, "a list of objects")
        return [JsonObject.of(value, f"{name}[{place}].") for place, value in enumerate(several or ())]

    @property
    def names(self) -> tuple[str, ...]:
        """The keys of an object whose keys are the user's own."""
        return tuple(self._keys)

    def map(self, name: str) -> dict[str, str]:
        """Texts by the user's own keys."""
        value = self.get(name)
        if value is None:
            return {}
        if not isinstance(value, dict) or not all(isinstance(each, str) for each in value.values()):
            raise self.wrong(name, "an object of strings")
        return value

    def seconds(self, name: str) -> float | None:
        """A duration in seconds; None if there is none, or if it is none at all."""
        value = self.get(name)
        if value is None or value == "":
            return None
        found = seconds(value)
        if found is None:
            said = f"{self.where}{name}: {_quoted(value)} is an invalid duration"
            raise HttpError(400, f'Request decode error: {said}: write "10s", "1m30s" or nanoseconds')
        return found or None

    def wrong(self, name: str, wanted: str) -> HttpError:
        """The refusal of a field that is not what is ``wanted``."""
        return HttpError(400, f"Request decode error: {self.where}{name}: {_quoted(self.get(name))} is not {wanted}")


@frozen
class PostedCheck:
    """A check, with what its client calls it: we keep names that are shorter and plainer."""

    id: str
    title: str
    notes: str
    check: Check

    @property
    def kept(self) -> KeptCheck:
        """What its client calls it."""
        return KeptCheck(self.id, self.title, self.notes, type_of(self.check))


@frozen
class PostedService:
    """An instance as a client of Consul's registers it. Limits are for the node to check."""

    id: str
    service: str
    port: int
    host: str | None
    tags: tuple[str, ...]
    meta: dict[str, str]
    weight: int
    role: str | None
    term: int
    zone: str | None
    checks: tuple[PostedCheck, ...]
    kept: KeptService  # without its checks

    @classmethod
    def parse(cls, body: bytes) -> Self:
        """Read a request's body. Raises a 400 ``HttpError``, or ``InvalidInstance`` for a check."""
        table = JsonObject.parse(body)
        name = table.text("Name")
        if not name:
            raise HttpError(400, "Missing service name")
        if NODE_SERVICE in (name, table.text("ID")):
            raise HttpError(400, f"{NODE_SERVICE} is taken by what the node states of itself: choose another name")
        if table.text("Kind"):
            raise HttpError(
                400, f"Kind: {shown(table.text('Kind'))}: there is no mesh and no gateway here: leave Kind out"
            )
        if table.text("SocketPath") and table.whole("Port"):
            raise HttpError(400, "SocketPath: a service has this or a Port: leave one out")
        id_ = table.text("ID") or name
        host = host_of(table)
        meta = table.map("Meta")
        if KEPT in meta:
            raise HttpError(400, f"Meta: the key {KEPT} is taken: choose another")
        return cls(
            id=id_,
            service=name,
            port=table.whole("Port") or 0,
            host=host,
            tags=table.texts("Tags"),
            meta=meta,
            weight=weight_of(table, meta),
            role=meta["role"] if is_name(meta.get("role", "")) and meta["role"] != FENCED else None,
            term=min(int(meta["term"]), limits.TERM_MAX) if _NUMBER.fullmatch(meta.get("term", "")) else 0,
            zone=table.table("Locality").text("Zone") or None,
            checks=tuple(_checks(table, id_)),
            kept=_kept(table),
        )


def _kept(table: JsonObject) -> KeptService:
    return KeptService(
        has_address=bool(table.text("Address")),
        tagged=tagged_of(table),
        override=table.truth("EnableTagOverride"),
        extra={"SocketPath": table.text("SocketPath")} if table.text("SocketPath") else {},
        region=table.table("Locality").text("Region"),
        warning_weight=table.table("Weights").whole("Warning"),
    )


def host_of(table: JsonObject) -> str | None:
    """The address of a node or a service, if there is one. Raises a 400 ``HttpError`` if it cannot be called."""
    host = table.text("Address") or None
    if host is not None and (flaw := hosts.flaw(host)) is not None:
        raise HttpError(400, f"{table.where}Address: {shown(host)} is {flaw}")
    return host


def tagged_of(table: JsonObject) -> dict[str, dict[str, Any]]:
    """The tagged addresses of a service."""
    tagged = table.table("TaggedAddresses", keep_case=True)
    found = {name: tagged.table(name) for name in tagged.names}
    return {name: {"Address": each.text("Address"), "Port": each.whole("Port") or 0} for name, each in found.items()}


def weight_of(table: JsonObject, meta: Mapping[str, str]) -> int:
    """The weight of an instance: that of ``Weights``, else of its meta."""
    weights = table.table("Weights")
    weights.whole("Warning")
    passing = weights.whole("Passing")
    if passing is not None:
        return passing
    said = meta.get("weight", "")
    return min(int(said), limits.WEIGHT_MAX) if _NUMBER.fullmatch(said) else 1


def _checks(table: JsonObject, instance: str) -> list[PostedCheck]:
    tables = [] if table.get("Check") in (None, {}) else [table.table("Check")]
    tables += table.tables("Checks")
    found: dict[str, PostedCheck] = {}
    for number, each in enumerate(tables, start=1):
        default = f"{DEFAULT_ID}{instance}" if len(tables) == 1 else f"{DEFAULT_ID}{instance}:{number}"
        posted = read_check(each, each.text("CheckID") or each.text("ID") or default, instance)
        if posted.check.name in found:
            raise HttpError(400, f"{each.where}CheckID: {shown(posted.id)} is there twice")
        found[posted.check.name] = posted
    return list(found.values())


def read_check(table: JsonObject, id_: str, instance: str) -> PostedCheck:
    """One check of an instance. Raises a 400 ``HttpError``, or ``InvalidInstance``."""
    for key, sentence in _FOREIGN.items():
        if table.get(key):
            raise HttpError(400, f"{table.where}{sentence}")
    if table.text("TLSServerName") and not table.truth("TLSSkipVerify"):
        raise HttpError(
            400, f"{table.where}TLSServerName: a certificate is checked for the host of the URL: leave it out"
        )
    try:
        check = Check(name=check_name(id_, instance), **_what(table), **_how(table))
    except InvalidInstance as error:
        raise error.within(table.where.rstrip(".") or "Check") from None
    return PostedCheck(id_, table.text("Name"), table.text("Notes"), check)


def _what(table: JsonObject) -> dict[str, Any]:
    """What is done, and how often: the first kind that is given counts, as it does in Consul."""
    args = table.texts("Args") or table.texts("ScriptArgs")
    timeout = table.seconds("Timeout")
    ttl = table.seconds("TTL")
    if ttl is not None:
        return {"ttl": ttl}
    interval = table.seconds("Interval")
    if interval is None:
        raise HttpError(400, f"{table.where}Interval: is missing: say how often to look, or give a TTL")
    interval = max(interval, limits.CHECK_SECONDS_MIN)  # as with Consul, which takes its own shortest for a shorter one
    common = {"interval": interval, "timeout": timeout or (_SCRIPT_SECONDS if args else _TIMEOUT_SECONDS)}
    if args:
        return {"command": args, **common}
    verify = {} if not table.truth("TLSSkipVerify") else {"verify": False}
    if table.text("HTTP"):
        method = {"method": table.text("Method")} if table.text("Method") else {}
        return {"http": table.text("HTTP"), "headers": _headers(table), **method, **verify, **common}
    if table.text("GRPC"):
        return {"grpc": table.text("GRPC"), "tls": table.truth("GRPCUseTLS"), **verify, **common}
    if table.text("TCP"):
        return {"tcp": table.text("TCP"), **common}
    raise HttpError(400, f"{table.where.rstrip('.') or 'Check'}: give one of HTTP, TCP, GRPC, TTL or Args")


def _how(table: JsonObject) -> dict[str, Any]:
    """What holds for every kind. A row of 0 is one of 1."""
    status = table.text("Status")
    if status not in ("", "passing", "warning", "critical"):
        raise table.wrong("Status", "passing, warning or critical")
    table.whole("FailuresBeforeWarning")
    return {
        "initial": status or "critical",
        "successes": max(1, table.whole("SuccessBeforePassing") or 1),
        "failures": max(1, table.whole("FailuresBeforeCritical") or 1),
        "deregister_after": table.seconds("DeregisterCriticalServiceAfter"),
    }


def _headers(table: JsonObject) -> dict[str, str]:
    value = table.get("Header") or {}
    if not isinstance(value, dict):
        raise table.wrong("Header", "an object of lists of strings")
    headers = {}
    for name, each in value.items():
        texts = [each] if isinstance(each, str) else each
        if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
            raise table.wrong("Header", "an object of lists of strings")
        headers[name] = ", ".join(texts)
    return headers


# What checks are called


def check_name(id_: str, instance: str) -> str:
    """The name of the check that a client knows by ``id_``: our names are unique within an instance only."""
    default = f"{DEFAULT_ID}{instance}"
    if id_ == default:
        return _DEFAULT_NAME
    rest = id_.removeprefix(f"{default}:")
    if rest != id_:
        return f"{_DEFAULT_NAME}.{rest}" if rest.isascii() and rest.isdigit() and len(rest) <= 3 else _plain(rest)
    return _plain(id_)


def _plain(text: str) -> str:
    """``text`` if it can be a name; else a name made of it, always the same."""
    if is_name(text):
        return text
    digest = hashlib.blake2b(text.encode(), digest_size=4).hexdigest()
    return f"{re.sub('[^A-Za-z0-9_]+', '-', text)[:40].strip('-_') or 'check'}.{digest}"


def check_id(name: str, instance: str) -> str:
    """The id of a check that was given none: `check_name` leads back to ``name``."""
    if name == _DEFAULT_NAME:
        return f"{DEFAULT_ID}{instance}"
    numbered = _NUMBERED.fullmatch(name)
    return f"{DEFAULT_ID}{instance}:{numbered[1] if numbered else name}"


def _folded(key: object) -> str:
    return str(key).replace("_", "").lower()


def _quoted(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
