"""Health check definitions: what is checked about an instance, and how often, as a user states it.

A check belongs to the instance's owner, which runs it and keeps its output. Only the resulting health is sent to
other nodes. Everything that can be wrong with a definition is refused here, when it is made.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any, Final
from urllib.parse import urlsplit

import attrs

from gossipreg import hosts, limits
from gossipreg.durations import parse_duration
from gossipreg.errors import ConfigError, InvalidInstance
from gossipreg.model import Address, Health, is_name
from gossipreg.targets import CheckRules
from gossipreg.text import shortened
from gossipreg.values import frozen

_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VISIBLE: Final = re.compile(r"[\x20-\x7e]*")
_ARGUMENT: Final = re.compile(r"[^\0\ud800-\udfff]*")
_TARGET: Final = re.compile(rf"[!-~]{{1,{limits.CHECK_TARGET_CHARS_MAX}}}")
_METHODS: Final = ("GET", "HEAD", "POST", "PUT", "OPTIONS")

#: Headers about the message's framing and the connection (RFC 9110 §7.6.1), which the node writes itself.
_FRAMING: Final = frozenset(
    {
        *("content-length", "transfer-encoding", "connection", "upgrade", "te", "trailer", "expect"),
        *("keep-alive", "proxy-connection", "proxy-authenticate", "proxy-authorization"),
    }
)


class CheckKind(enum.StrEnum):
    """How a check finds out whether an instance can serve."""

    HTTP = "http"
    TCP = "tcp"
    GRPC = "grpc"
    TTL = "ttl"
    COMMAND = "command"


def _unusable(field: str, value: object, expected: str) -> InvalidInstance:
    return InvalidInstance.unusable(field, str(value) if isinstance(value, enum.Enum) else value, expected)


def _seconds(field: str, value: object) -> float:
    """Read a duration, given as a number of seconds or as a text such as ``500ms``."""
    number = parse_duration(value) if isinstance(value, str) else value
    low, high = limits.CHECK_SECONDS_MIN, limits.CHECK_SECONDS_MAX
    if not isinstance(number, int | float) or isinstance(number, bool) or not low <= number <= high:
        raise _unusable(
            field, value, f"a number of seconds from {low:g} to {high:g}, or one with a unit such as '500ms'"
        )
    return float(number)


def _interval(value: float | str) -> float:
    return _seconds("interval", value)


def _timeout(value: float | str) -> float:
    return _seconds("timeout", value)


def _ttl(value: float | str | None) -> float | None:
    return None if value is None else _seconds("ttl", value)


def _deregister_after(value: float | str | None) -> float | None:
    return None if value is None else _seconds("deregister_after", value)


def _share(_: Any, field: Any, value: object) -> None:
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value <= 0.5:
        raise _unusable(field.name, value, "a number from 0 to 0.5")


def _streak(_: Any, field: Any, value: object) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= limits.CHECK_STREAK_MAX:
        raise _unusable(field.name, value, f"a whole number from 1 to {limits.CHECK_STREAK_MAX}")


def _truth(_: Any, field: Any, value: object) -> None:
    if not isinstance(value, bool):
        raise _unusable(field.name, value, "true or false")


def _initial(value: object) -> Health:
    if value not in ("passing", "warning", "critical"):
        raise _unusable("initial", value, "passing, warning or critical")
    return Health(value)


def _statuses(value: object) -> tuple[int, ...]:
    values = tuple(value) if isinstance(value, list | tuple) else (value,)
    for each in values:
        if not isinstance(each, int) or isinstance(each, bool) or not 100 <= each <= 599:
            raise _unusable("status", value, "a status code from 100 to 599, or a list of such")
    return values


def _words(value: object) -> tuple[str, ...] | None:
    if value is None:
        return None
    words = tuple(value) if isinstance(value, list | tuple) else ()
    size = sum(len(word) for word in words if isinstance(word, str))
    if (
        not words
        or not all(isinstance(word, str) and _ARGUMENT.fullmatch(word) for word in words)
        or not words[0]
        or size > limits.CHECK_COMMAND_CHARS_MAX
    ):
        raise _unusable("command", value, "a list of a program and its arguments, all strings")
    return words


def _headers(value: object) -> Mapping[str, str]:
    if not isinstance(value, Mapping) or not all(isinstance(text, str) for pair in value.items() for text in pair):
        raise InvalidInstance("headers", "an object of strings is expected, header names with their values")
    if sum(len(name) + len(text) for name, text in value.items()) > limits.CHECK_HEADERS_CHARS_MAX:
        raise InvalidInstance("headers", f"at most {limits.CHECK_HEADERS_CHARS_MAX} characters are allowed together")
    taken: set[str] = set()
    for name, text in value.items():
        if not _TOKEN.fullmatch(name):
            raise _unusable("headers", name, "the name of a header")
        if name.lower() in taken:
            raise InvalidInstance("headers", f"{name} is given twice, in different spellings: give it once")
        taken.add(name.lower())
        if name.lower() in _FRAMING:
            raise InvalidInstance("headers", f"{name} is for the node to write: leave it out")
        if not _VISIBLE.fullmatch(text) or text != text.strip():
            raise InvalidInstance("headers", f"the value of {name} is not visible ASCII without spaces around it")
    return dict(value)


@frozen(kw_only=True)
class Check:
    """One way in which the owner finds out whether an instance can serve.

    Exactly one of ``http`` (a URL), ``tcp`` (``HOST:PORT``), ``grpc`` (``HOST:PORT`` or ``HOST:PORT/SERVICE``),
    ``ttl`` (the service sends a heartbeat at least this often) and ``command`` (a program and its arguments) is given.
    Durations are in seconds, or texts such as ``500ms``. Raises ``InvalidInstance``, naming the field.
    """

    http: str | None = None
    tcp: str | None = None
    grpc: str | None = None
    ttl: float | None = attrs.field(default=None, converter=_ttl)
    command: tuple[str, ...] | None = attrs.field(default=None, converter=_words)
    name: str = attrs.field()  # unique within the instance; its kind unless given
    interval: float = attrs.field(default=5.0, converter=_interval)  # from one start to the next
    timeout: float = attrs.field(default=2.0, converter=_timeout)
    jitter: float = attrs.field(default=0.1, validator=_share)  # share of the interval by which one may be shorter
    successes: int = attrs.field(default=1, validator=_streak)  # in a row, before its health improves
    failures: int = attrs.field(default=1, validator=_streak)  # in a row, before its health worsens
    initial: Health = attrs.field(default=Health.CRITICAL, converter=_initial)  # until there is a result
    deregister_after: float | None = attrs.field(default=None, converter=_deregister_after)  # of being critical
    method: str = "GET"
    headers: Mapping[str, str] = attrs.field(factory=dict, converter=_headers, hash=False, repr=False)
    status: tuple[int, ...] = attrs.field(default=(), converter=_statuses)  # expected; none: any from 200 to 299
    verify: bool = attrs.field(default=True, validator=_truth)  # the certificate of an https or tls target
    tls: bool = attrs.field(default=False, validator=_truth)  # for grpc

    @name.default
    def _name_of_kind(self) -> str:
        return str(self.kind)

    def __attrs_post_init__(self) -> None:
        if not isinstance(self.name, str) or not is_name(self.name):
            raise _unusable(
                "name", self.name, f"a name of 1 to {limits.NAME_CHARS_MAX} letters, digits and inner . _ -"
            )
        for field, kinds in _ONLY_FOR.items():
            if self.kind not in kinds and field in self.stated():
                raise InvalidInstance(field, f"a check of kind {self.kind} has none; it is for {' and '.join(kinds)}")
        match self.kind:
            case CheckKind.HTTP:
                _check_url(self.http)
            case CheckKind.TCP:
                _check_target("tcp", self.tcp, "HOST:PORT")
            case CheckKind.GRPC:
                _check_target("grpc", self.grpc, "HOST:PORT or HOST:PORT/SERVICE")
        if self.method not in _METHODS:
            raise _unusable("method", self.method, f"one of {', '.join(_METHODS)}")

    @property
    def kind(self) -> CheckKind:
        """How it checks. Raises ``InvalidInstance`` unless exactly one kind is given."""
        kinds = [kind for kind in CheckKind if getattr(self, kind) is not None]
        if len(kinds) != 1:
            said = f"{' and '.join(kinds)} are given" if kinds else "none is given"
            raise InvalidInstance("kind", f"exactly one of {', '.join(CheckKind)} says what is checked, and {said}")
        return kinds[0]

    @property
    def target(self) -> str:
        """What is checked, as users see it: the URL, the address, the program; empty for a heartbeat."""
        return self.http or self.tcp or self.grpc or " ".join(self.command or ())

    @property
    def host(self) -> str | None:
        """The host that a run of it contacts; None for a heartbeat and a command."""
        if self.http is not None:
            return url_host(urlsplit(self.http).hostname or "")
        target = self.tcp or (self.grpc or "").partition("/")[0]
        return Address.parse(target).host if target else None

    def flaw(self, rules: CheckRules, own: Collection[str]) -> tuple[str, str] | None:
        """Why a node with these ``rules`` does not run it for an instance at the hosts ``own``; None if it does.

        Returns a field and what is wrong with it. A name is resolved, and its address checked, at each run only.
        """
        host = self.host
        if host is None:
            return None
        wrong = rules.host_flaw(host, own)
        if wrong is not None:
            return str(self.kind), wrong
        netloc = urlsplit(self.http).netloc.lower() if self.http is not None else ""
        wrong = rules.header_flaw(self.headers, (netloc, host.lower()))
        return None if wrong is None else ("headers", wrong)

    def stated(self) -> dict[str, Any]:
        """Its fields that are not at their defaults; ``read_check`` makes an equal check of them."""
        return {
            field.name: str(value) if isinstance(value, Health) else value
            for field in attrs.fields(Check)
            if (value := getattr(self, field.name)) != (_DEFAULTS[field.name] if field.name != "name" else self.kind)
        }


_DEFAULTS: Final[Mapping[str, Any]] = {
    field.name: {} if field.name == "headers" else field.default for field in attrs.fields(Check)
}
_FIELDS: Final = tuple(field.name for field in attrs.fields(Check))

_ONLY_FOR: Final[Mapping[str, tuple[CheckKind, ...]]] = {
    "method": (CheckKind.HTTP,),
    "headers": (CheckKind.HTTP,),
    "status": (CheckKind.HTTP,),
    "verify": (CheckKind.HTTP, CheckKind.GRPC),
    "tls": (CheckKind.GRPC,),
    "interval": (CheckKind.HTTP, CheckKind.TCP, CheckKind.GRPC, CheckKind.COMMAND),
    "timeout": (CheckKind.HTTP, CheckKind.TCP, CheckKind.GRPC, CheckKind.COMMAND),
    "jitter": (CheckKind.HTTP, CheckKind.TCP, CheckKind.GRPC, CheckKind.COMMAND),
}


def _check_url(url: object) -> None:
    if not isinstance(url, str) or not _TARGET.fullmatch(url):
        raise _unusable("http", url, "a URL such as http://127.0.0.1:8080/health")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise _unusable("http", url, "a URL such as http://127.0.0.1:8080/health") from None
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
        raise _unusable("http", url, "a URL such as http://127.0.0.1:8080/health")
    if parts.username is not None:
        raise InvalidInstance(
            "http", "the URL holds a user: give an Authorization header, which is not shown to others"
        )
    _check_host("http", url_host(parts.hostname))


def url_host(hostname: str) -> str:
    """The host of a URL's ``hostname``, in which the '%' before an interface is written %25 (RFC 6874)."""
    return hostname.replace("%25", "%", 1) if ":" in hostname else hostname


def _check_target(field: str, target: object, form: str) -> None:
    if not isinstance(target, str) or not _TARGET.fullmatch(target):
        raise _unusable(field, target, form)
    try:
        address = Address.parse(target.partition("/")[0] if field == "grpc" else target, any_host=True)
    except ConfigError:
        raise _unusable(field, target, form) from None
    if address.port == 0:
        raise _unusable(field, target, form)
    _check_host(field, address.host)


def _check_host(field: str, host: str) -> None:
    flaw = hosts.flaw(host)
    if flaw is not None:
        raise InvalidInstance(field, f"the host {host!r:.80} is {flaw}")


def read_check(value: object) -> Check:
    """Read a check from a table of its fields, as in JSON and TOML. Raises ``InvalidInstance``, naming the field."""
    if isinstance(value, Check):
        return value
    if not isinstance(value, Mapping):
        raise InvalidInstance(
            None, f"{value!r:.80} is not an object such as {{'http': 'http://127.0.0.1:8080/health'}}"
        )
    for key in value:
        if key not in _FIELDS:
            raise InvalidInstance(
                shortened(str(key)), f"a check has no such field; it has {', '.join(sorted(_FIELDS))}"
            )
    return Check(**value)


def read_checks(values: Iterable[object]) -> tuple[Check, ...]:
    """Read the checks of an instance. Raises ``InvalidInstance`` with the field's path: ``checks[0].interval: ...``."""
    if not isinstance(values, Iterable) or isinstance(values, str | bytes | Mapping):
        raise InvalidInstance("checks", f"{values!r:.80} is not a list of checks")
    values = tuple(values)
    if len(values) > limits.CHECKS_PER_INSTANCE_MAX:
        raise InvalidInstance("checks", f"{len(values)} are given, {limits.CHECKS_PER_INSTANCE_MAX} are allowed")
    return tuple(_read_in_place(values))


def _read_in_place(values: Iterable[object]) -> Iterator[Check]:
    taken: set[str] = set()
    for place, value in enumerate(values):
        try:
            check = read_check(value)
        except InvalidInstance as error:
            raise error.within(f"checks[{place}]") from None
        if check.name in taken:
            raise InvalidInstance(
                f"checks[{place}].name", f"{check.name!r} is taken: give each check a name of its own"
            )
        taken.add(check.name)
        yield check


@frozen(kw_only=True)
class CheckReport:
    """The state of one of this node's own checks, which is not sent to other nodes. Ages are in seconds."""

    instance: str  # its id
    service: str
    check: Check
    health: Health
    reason: str  # why it is not passing, as of the last change of its health
    health_age: float  # since its health last changed
    flapping: bool
    needed: int  # successes in a row that it needs to recover
    runs: int  # results so far; for a ttl check, heartbeats and lapses
    run_age: float | None  # since the last result
    took: float | None  # how long the last run took (seconds)
    output: str  # of the last run, cut at `limits.CHECK_OUTPUT_BYTES_MAX`
