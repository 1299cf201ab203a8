"""Every limit is used by the code and proved by a test; what users give up to it is taken, and one more is not."""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import attrs
import pytest

import gossipreg
from gossipreg import limits
from gossipreg.agent_config import AgentConfig
from gossipreg.check import Check, read_checks
from gossipreg.errors import GossipregError
from gossipreg.frontends.dns import limits as dns_limits
from gossipreg.frontends.http.event_encoder import EventEncoder
from gossipreg.frontends.http.lookups import LookupCache, RowCache
from gossipreg.frontends.proxy import limits as proxy_limits
from gossipreg.frontends.serving import limits as http_limits
from gossipreg.frontends.serving.access import _token
from gossipreg.frontends.serving.capacity import Capacity
from gossipreg.model import Instance
from gossipreg.policy import Split, WeightOverride
from gossipreg.protocol.registry.credentials import packed
from gossipreg.protocol.stream_sessions import frames
from gossipreg.protocol.wire.messages import SENDER_BYTES
from gossipreg.runtime.checks.monitor import Monitor
from gossipreg.settings import Settings
from tests.frontends.fake_node import FakeNode

PACKAGE: Final = Path(gossipreg.__file__).parent
TESTS: Final = Path(__file__).parent
HOMES: Final = (PACKAGE / "limits.py", *sorted((PACKAGE / "frontends").rglob("limits.py")))

_CONNECTION: Final = "frontends/serving/test_connection.py"

#: Limits that tests prove by what they lead to, without their names.
BY_EFFECT: Final = {
    "REGION_TAGS_MAX": "runtime/regions/test_answers.py::test_what_is_beyond_a_limit_makes_the_answer_unusable",
    "JOIN_TOKENS_MAX": "runtime/test_enrolment.py::test_settings_and_files_that_cannot_be_used_are_named",
    "JOIN_TOKEN_SECONDS_MAX": "cli/test_issuers.py::test_what_an_issuer_may_not_give_is_named_and_no_token_made",
    "CREDENTIAL_KEYS_MAX": "runtime/test_credentials.py::test_a_file_of_keys_that_cannot_be_used_is_named",
    "GOSSIP_KEY_KEPT_SECONDS_MAX": "runtime/test_node_keyring.py::test_the_others_cannot_be_kept_for_what_is_no_time",
    "GOSSIP_KEYS_MAX": "runtime/test_key_files.py::test_a_file_that_cannot_be_used_is_named",
    "SNAPSHOT_BYTES_MAX": "runtime/test_snapshot_file.py::test_a_file_holds_no_more_than_may_be_read",
    "JOIN_SECONDS": "frontends/http/test_roles.py::test_one_that_reaches_no_node_gives_none",
    "CHECK_READ_BYTES_MAX": "runtime/checks/test_probing.py::test_a_body_without_end_is_not_read_to_its_end",
    "WAIT_SECONDS": "frontends/http/test_blocking.py::test_when_its_time_is_over_it_is_told_what_there_is",
    "WAIT_JITTER": "frontends/http/test_blocking.py::test_when_its_time_is_over_it_is_told_what_there_is",
    "TARGET_BYTES_MAX": f"{_CONNECTION}::test_a_request_that_cannot_be_read_is_answered_with_what_is_wrong",
    "BODY_BYTES_MAX": f"{_CONNECTION}::test_a_request_that_cannot_be_read_is_answered_with_what_is_wrong",
    "RECEIVE_BYTES": f"{_CONNECTION}::test_how_requests_are_cut_into_packets_makes_no_difference",
    "KEEP_ALIVE_SECONDS": "frontends/http/test_events.py::test_a_silent_stream_shows_signs_of_life",
    "TCP_BYTES_MAX": "frontends/dns/test_answers.py::test_more_than_tcp_can_carry_is_cut_and_said",
    "PIECE_BYTES": "frontends/proxy/test_relayed_connections.py::test_a_reader_that_stops_slows_the_writer_down",
    "EXHAUSTED_SECONDS": "frontends/proxy/test_connecting.py::test_a_lack_of_descriptors_is_not_the_instances_fault",
    "AGENT_PATIENCE_SECONDS": "frontends/proxy/test_follow.py::test_what_is_no_agent_is_said_to_be_none",
    "AGENT_WAIT_SECONDS": "frontends/proxy/test_follow.py::test_while_the_agent_is_away_what_it_told_last_stands",
    "AGENT_WAIT_SECONDS_MAX": "frontends/proxy/test_follow.py::test_while_the_agent_is_away_what_it_told_last_stands",
    "EVENT_BYTES_MAX": "frontends/proxy/test_follow.py::test_an_event_that_cannot_be_read_ends_the_stream",
}


def names_in(home: Path) -> list[str]:
    """The limits that a file defines."""
    return [
        node.target.id
        for node in ast.parse(home.read_text()).body
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
    ]


#: What the name of a limit, or of what one is made of, looks like.
_CAPITALS: Final = re.compile(r"\b[A-Z][A-Z_]+\b")


def read_by(file: Path) -> set[str]:
    """Every name of capitals that a file's code reads, also as an attribute; not what its prose speaks of."""
    text = file.read_text()
    if not _CAPITALS.search(text):
        return set()
    nodes = list(ast.walk(ast.parse(text)))
    names = {node.id for node in nodes if isinstance(node, ast.Name)}
    return names | {node.attr for node in nodes if isinstance(node, ast.Attribute)}


@functools.cache
def used() -> set[str]:
    """What the package's code reads, but for the limits' own files."""
    return set().union(*(read_by(file) for file in PACKAGE.rglob("*.py") if file not in HOMES))


@functools.cache
def proved() -> set[str]:
    """What the tests name, also as text for `monkeypatch.setattr`."""
    here = Path(__file__)
    others = (file.read_text() for file in TESTS.rglob("*.py") if file != here)
    return read_by(here).union(*(re.findall(r"\b[A-Z][A-Z_]+\b", text) for text in others))


@pytest.mark.parametrize("home", HOMES, ids=lambda home: str(home.relative_to(PACKAGE)))
def test_every_limit_is_used(home: Path) -> None:
    base = re.findall(r"= .*\b([A-Z_]+_(?:MAX|BYTES|SOFT))\b", home.read_text())  # what others are made of
    assert [name for name in names_in(home) if name not in used() and name not in base] == []


@pytest.mark.parametrize("home", HOMES, ids=lambda home: str(home.relative_to(PACKAGE)))
def test_every_limit_is_proved(home: Path) -> None:
    assert [name for name in names_in(home) if name not in proved() and name not in BY_EFFECT] == []


def test_what_is_said_to_prove_a_limit_is_a_test() -> None:
    for test in BY_EFFECT.values():
        file, name = test.split("::")
        assert f"def {name}(" in (TESTS / file).read_text(), test


def instance(**fields: Any) -> None:
    attrs.evolve(Instance(id="a", service="s", host="h", port=1), **fields).check()


def web_check(**fields: Any) -> Check:
    return Check(**{"http": "http://h/"} | fields)


def token(chars: int) -> None:
    _token({"name": "a", "token": "x" * chars, "scopes": ["read"]}, "tokens.toml")


def host(chars: int) -> str:
    """A name of so many characters whose labels are not too long."""
    return "".join("." if place % 41 == 40 else "x" for place in range(chars))


#: What takes a number, the least that is right, and the most.
RANGES: Final[dict[str, tuple[Callable[[int], object], int, int]]] = {
    "id": (lambda n: instance(id="x" * n), 1, limits.ID_CHARS_MAX),
    "host": (lambda n: instance(host=host(n)), 1, limits.HOST_CHARS_MAX),
    "name": (lambda n: instance(zone="x" * n), 0, limits.NAME_CHARS_MAX),
    "tag": (lambda n: instance(tags=("x" * n,)), 1, limits.TAG_CHARS_MAX),
    "tags": (lambda n: instance(tags=("x",) * n), 0, limits.TAGS_MAX),
    "meta": (lambda n: instance(meta={str(i): "" for i in range(n)}), 0, limits.META_ENTRIES_MAX),
    "meta key": (lambda n: instance(meta={"x" * n: ""}), 1, limits.META_KEY_CHARS_MAX),
    "weight": (lambda n: instance(weight=n), 0, limits.WEIGHT_MAX),
    "term": (lambda n: instance(term=n), 0, limits.TERM_MAX),
    "reason": (lambda n: instance(reason="x" * n), 0, limits.REASON_CHARS_MAX),
    "sealed": (lambda n: instance(sealed=bytes(n)), 0, limits.SEALED_BYTES_MAX),
    "credentials": (lambda n: packed({str(i): "" for i in range(n)}), 0, limits.CREDENTIALS_MAX),
    "shares": (lambda n: Split("s", {str(i): 1 for i in range(n)}).check(), 1, limits.SPLIT_SHARES_MAX),
    "override": (lambda n: WeightOverride("s", "i", n).check(), 0, limits.WEIGHT_MAX),
    "checks": (
        lambda n: read_checks([{"name": f"c{i}", "ttl": 5} for i in range(n)]),
        0,
        limits.CHECKS_PER_INSTANCE_MAX,
    ),
    "streak": (lambda n: web_check(failures=n), 1, limits.CHECK_STREAK_MAX),
    "url": (lambda n: web_check(http="http://h/".ljust(n, "x")), 9, limits.CHECK_TARGET_CHARS_MAX),
    "headers": (lambda n: web_check(headers={"a": "x" * (n - 1)}), 1, limits.CHECK_HEADERS_CHARS_MAX),
    "command": (lambda n: Check(command=("x" * n,)), 1, limits.CHECK_COMMAND_CHARS_MAX),
    "socket file": (
        lambda n: AgentConfig(http="unix:/".ljust(n + len("unix:"), "x")),
        1,
        limits.SOCKET_PATH_BYTES_MAX,
    ),
    "lifelines": (lambda n: Settings(lifelines=n), 0, limits.LIFELINES_MAX),
    "token": (token, http_limits.TOKEN_CHARS_MIN, http_limits.TOKEN_CHARS_MAX),
}


@pytest.mark.parametrize("what", RANGES)
def test_as_much_as_is_allowed_is_taken_and_one_more_is_refused(what: str) -> None:
    make, least, most = RANGES[what]
    make(least)
    make(most)
    with pytest.raises(GossipregError):
        make(most + 1)


def test_frames_are_cut_where_a_largest_record_still_fits() -> None:
    cut = frames(bytes(SENDER_BYTES), [bytes(1000)] * 1000)
    assert len(cut) > 1
    assert all(limits.FRAME_BYTES_SOFT - 1000 <= len(frame) <= limits.FRAME_BYTES_SOFT for frame in cut[:-1])
    assert limits.FRAME_BYTES_SOFT + limits.RECORD_BYTES_MAX <= limits.FRAME_BYTES_MAX


def test_what_holds_a_share_of_memory_or_descriptors_holds_as_much_as_is_said() -> None:
    unused: Any = None
    assert Monitor(unused, unused, unused, unused, unused)._quick.total_tokens == limits.CHECK_RUNS_MAX
    assert LookupCache(FakeNode())._bytes_max == http_limits.LOOKUP_CACHE_BYTES
    assert RowCache()._bytes_max == http_limits.ROW_CACHE_BYTES
    assert EventEncoder()._bytes_max == http_limits.FRAME_CACHE_BYTES
    assert Capacity.now().outgoing.most == http_limits.UNSENT_BYTES_MAX


def test_the_frontends_limits_fit_each_other() -> None:
    assert http_limits.EVENT_STREAMS_MAX + http_limits.WAITING_MAX <= http_limits.CONNECTIONS_MAX
    assert dns_limits.UDP_BYTES_PLAIN <= dns_limits.UDP_BYTES_MAX <= dns_limits.TCP_BYTES_MAX
    assert proxy_limits.AGENT_WAIT_SECONDS <= proxy_limits.AGENT_WAIT_SECONDS_MAX
