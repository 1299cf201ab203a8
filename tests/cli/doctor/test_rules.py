"""Each rule finds the wrong value and is silent at the right one next to it."""

from __future__ import annotations

import re
import shlex
from typing import Any

import attrs
import pytest

from gossipreg.cli.doctor import text
from gossipreg.cli.doctor.cluster_rules import JOIN_REMEDIES
from gossipreg.cli.doctor.facts import (
    DataDirectory,
    Facts,
    HostFacts,
    ListeningProgram,
    Unreachable,
    UnusableFile,
)
from gossipreg.cli.doctor.findings import Severity
from gossipreg.cli.doctor.host_rules import CERTIFICATE_SECONDS, DATA_BYTES_MIN
from gossipreg.cli.doctor.rules import RULES, examine
from gossipreg.model import NODE_SERVICE, Address
from gossipreg.protocol.membership.peer_clocks import CLOCK_SKEW_MAX
from gossipreg.runtime import exposure_warnings
from gossipreg.runtime.joining import JoinFailureReason
from tests.cli.test_docs import parse

NOW = 1_800_000_000.0

#: The agent of these tests has run for an hour.
NODE: dict[str, Any] = {
    "name": "web-1",
    "version": "0.1.0",
    "cluster": "default",
    "address": "10.0.0.5:7940",
    "generation": int((NOW - 3600) * 1000),
    "local_health": 0,
    "isolated": False,
    "silence": 0.2,
    "joined": True,
    "join_failures": {},
    "draining": False,
    "leaving": False,
    "serving_last_known": False,
    "counters": {"packets_sent": 10_000, "packets_forged": 9, "lags": 2},
    "paths": {},
    "clock_skew": 0.2,
    "name_conflict": None,
    "problems": [],
    "warnings": [],
}

#: What an agent says whose certificate was revoked.
EXPELLED = "the certificate in node.cert was revoked: the others have expelled this node"

MEMBER = {"name": "web-1", "status": "alive"}

INSTANCE = {
    "id": "orders-1",
    "service": "orders",
    "host": "10.0.0.5",
    "port": 8080,
    "role": None,
    "health": "passing",
    "owner": "web-1",
}

CHECK = {
    "instance": "orders-1",
    "name": "http",
    "target": "127.0.0.1:8080",
    "health": "passing",
    "reason": "",
    "output": "",
}

KEY = {"id": "0a1b2c3d", "primary": True, "held_by": 2, "used_by": 2, "not_held_by": [], "until": None}

TOKEN = {"name": "ci", "expires": NOW + 86_399, "writer": "web-1", "scopes": ["write:orders"]}

REGION = {"name": "eu", "own": False, "problem": "no answer"}

POLICY = {"key": "weight:orders:orders-1", "service": "orders", "instance": "orders-1"}

HEALTHY = Facts(
    "127.0.0.1:8500",
    now=NOW,
    version="0.1.0",
    watched=1.0,
    node=NODE,
    members=[MEMBER, MEMBER | {"name": "web-2"}],
    instances=[INSTANCE, INSTANCE | {"id": "orders-2", "host": "10.0.0.6", "owner": "web-2", "health": "critical"}],
    checks=[CHECK],
    policies=[POLICY],
    keys=[KEY],
    host=HostFacts(
        program=ListeningProgram(0, 4711, "gossipreg agent", 65_536, 30),
        receive_buffer_max=212_992,
        packets_dropped=0,
        config="agent.toml",
        data_directory=DataDirectory("/var/lib/gossipreg", free=DATA_BYTES_MIN, free_files=1),
        key_file="key",
        keys=("0a1b2c3d",),
        certificate="cert.pem",
        certificate_end=NOW + CERTIFICATE_SECONDS + 1,
    ),
)


def node(**changed: Any) -> Facts:
    return attrs.evolve(HEALTHY, node=NODE | changed)


def counted(**counters: int) -> Facts:
    return node(counters=NODE["counters"] | counters)


def rising(name: str) -> Facts:
    return attrs.evolve(counted(**{name: 1}), rose={name: 1})


def seen(**changed: Any) -> Facts:
    return attrs.evolve(HEALTHY, **changed)


def instances(*changed: dict[str, Any]) -> Facts:
    return seen(instances=[INSTANCE | each for each in changed], policies=[])


def on_host(**changed: Any) -> Facts:
    return seen(host=attrs.evolve(HEALTHY.host, **changed))


def unreachable(**why: Any) -> Facts:
    return Facts("127.0.0.1:8500", now=NOW, unreachable=Unreachable("it does not answer", **why))


def unjoined(reason: str, *, after: float = 60.0) -> Facts:
    failures = {"10.0.0.6:7940": {"reason": reason, "detail": f"the detail of {reason}"}}
    return node(joined=False, join_failures=failures, generation=int((NOW - after) * 1000))


OPEN = Address("10.0.0.5", 7940)

#: For each rule: facts that it finds something in, its severity, and what has to be in the finding.
WRONG: list[tuple[str, Facts, str, str]] = [
    ("unreachable", unreachable(), "error", "start the agent: gossipreg agent"),
    ("unreachable", unreachable(program=ListeningProgram(33, 12, "nginx")), "error", "process 12 of user 33: nginx"),
    ("unreachable", unreachable(program=ListeningProgram(33)), "error", "stop that program"),
    ("unreachable", unreachable(program=ListeningProgram(0, 1, "gossipreg agent")), "error", "look into its log"),
    ("unreachable", unreachable(socket_file="belongs to user 33"), "error", "run this as the agent's user"),
    ("unreachable", unreachable(elsewhere=("127.0.0.1:8501",)), "error", "run: gossipreg doctor --http 127.0.0.1:8501"),
    ("unreachable", unreachable(configured="127.0.0.1:9"), "error", "run: gossipreg doctor --http 127.0.0.1:9"),
    ("token-refused", unreachable(refused="unauthorized"), "error", "GOSSIPREG_TOKEN"),
    ("not-told", seen(not_told={"keys": "it needs the scope operator"}), "note", "it needs the scope operator"),
    ("gossip-in-clear", node(warnings=[exposure_warnings.gossip_warning(OPEN)]), "error", "gossipreg keygen"),
    ("http-exposed", node(warnings=[exposure_warnings.http_warning(OPEN, asks_tokens=False)]), "error", "no token"),
    ("http-exposed", node(warnings=[exposure_warnings.http_warning(OPEN, asks_tokens=True)]), "warning", "in clear"),
    ("other-warnings", node(warnings=[exposure_warnings.dns_warning(OPEN)]), "note", "DNS at 10.0.0.5"),
    ("configuration", on_host(config_problem="agent.toml: bind: no address"), "error", "--check-config"),
    ("files-exposed", on_host(files=(UnusableFile("key_file", "k", "k is open: run chmod 600 k", is_exposed=True),)),
     "error", "chmod 600 k"),
    ("files-missing", on_host(files=(UnusableFile("key_file", "k", "No such file", is_exposed=False),)),
     "error", "put k there"),
    ("data-directory", on_host(data_directory=DataDirectory("/d", "does not exist")), "error", "install -d"),
    ("data-directory", on_host(data_directory=DataDirectory("/d", free=DATA_BYTES_MIN - 1)), "error", "df -h /d"),
    ("data-directory", on_host(data_directory=DataDirectory("/d", free=2**40, free_files=0)), "error", "df -i /d"),
    ("audit-lost", counted(audit_lines_lost=1), "error", "audit_lines_lost is 1"),
    ("descriptors", on_host(program=ListeningProgram(0, 1, "a", 512, 3)), "warning", "LimitNOFILE"),
    ("descriptors", on_host(program=ListeningProgram(0, 1, "a", 2000, 1601)), "warning", "1601 descriptors open"),
    ("descriptors", counted(http_not_accepted=1), "warning", "http_not_accepted is 1"),
    ("receive-buffer", on_host(packets_dropped=5), "warning", "sysctl -w net.core.rmem_max=4194304"),
    ("certificate", on_host(certificate_end=NOW + CERTIFICATE_SECONDS), "warning", "ends soon"),
    ("certificate", on_host(certificate_end=NOW), "error", "has ended"),
    ("starved", counted(lags=6), "warning", "lags is 6"),
    ("starved", node(local_health=1), "warning", "local_health is 1"),
    ("tasks-failed", counted(tasks_failed=1), "warning", "tasks_failed is 1"),
    ("tokens-expired", seen(tokens=[TOKEN]), "note", "run: gossipreg tokens create ci --ttl 720h --scope write:orders"),
    ("tokens-expired", seen(tokens=[TOKEN | {"writer": None}]), "note", "replace it in the file of tokens"),
    *(("not-joined", unjoined(each), "error", f"the detail of {each}") for each in JoinFailureReason),
    ("not-joined", unjoined("refused", after=5.0), "warning", "start the agent at the seed"),
    ("not-joined", node(joined=False), "error", "no seed has answered yet"),
    ("isolated", node(isolated=True, silence=12.0), "error", "for 12 s"),
    ("packets-blocked", node(paths={"b": "streams_only"}), "warning", "let UDP through"),
    ("streams-blocked", node(paths={"b": "packets_only"}), "warning", "let TCP through"),
    ("links-lost", node(paths={"b": "incoming_lost"}), "warning", "reach each other"),
    ("small-packets", node(paths={"b": "small_packets"}, problems=["packets over 512 bytes do not pass: b"]),
     "warning", "packets over 512 bytes"),
    ("clock", node(clock_skew=-CLOCK_SKEW_MAX - 1), "error", "s behind"),
    ("clock", node(clock_skew=CLOCK_SKEW_MAX + 1), "error", "s ahead of"),
    ("wrong-key", rising("packets_unknown_key"), "warning", "key file"),
    ("wrong-key", counted(streams_in_clear=60), "warning", "streams_in_clear is 60"),
    ("wrong-key", rising("streams_sealed"), "warning", "streams_sealed is 1"),
    ("forged", rising("packets_forged"), "warning", "replace it"),
    ("expelled", node(problems=[EXPELLED]), "error", "expelled this agent"),
    ("expelled-host", rising("statements_ended"), "note", "ca members"),
    ("two-clusters", rising("packets_wrong_cluster_or_corrupt"), "warning", "--cluster"),
    ("two-clusters", unjoined("other_cluster"), "error", "10.0.0.6:7940"),
    ("duplicate-name", node(name_conflict="10.0.0.9:7940"), "error", "10.0.0.9:7940"),
    ("duplicate-name", rising("name_conflicts"), "error", "rose by 1"),
    ("versions", rising("streams_wrong_version"), "warning", "upgrade"),
    ("versions", node(version="0.0.9"), "warning", "the agent runs 0.0.9"),
    ("failed-members", seen(members=[MEMBER, {"name": "web-2", "status": "failed"}]), "warning", "forget web-2"),
    ("keys-lacking", seen(keys=[KEY | {"not_held_by": ["web-2"]}]), "error", "web-2"),
    ("keys-lacking", seen(keys=[KEY, KEY | {"id": "1" * 8, "primary": False, "not_held_by": ["web-2"]}]),
     "warning", "key 11111111 is not held by web-2"),
    ("key-file-outdated", on_host(keys=("0a1b2c3d", "deadbeef")), "warning", "deadbeef of the file was given up"),
    ("key-file-outdated", on_host(keys=("deadbeef",)), "warning", "primary key 0a1b2c3d is not in the file"),
    ("reported-problems", node(problems=["the address 10.0.0.5 is gone"]), "error", "10.0.0.5 is gone"),
    ("regions", seen(regions=[REGION]), "warning", "eu: no answer"),
    ("regions", seen(regions=[REGION | {"agents": ["https://10.1.0.5:8500"]}]), "warning",
     "run: gossipreg doctor --http https://10.1.0.5:8500"),
    ("services-down", instances({"health": "critical"}), "warning", "gossipreg lookup orders --all"),
    ("checks-refused", seen(checks=[CHECK | {"health": "critical", "reason": "Connection refused"}]),
     "warning", "orders-1 http (127.0.0.1:8080): Connection refused"),
    ("checks-refused", seen(checks=[CHECK | {"health": "critical", "reason": "see check_targets"}]),
     "warning", "check_targets"),
    ("contested-primaries", instances({"role": "primary"}, {"id": "orders-2", "role": "fenced", "port": 2}),
     "error", "orders-2 of web-1 (fenced)"),
    ("registered-twice", instances({}, {"owner": "web-2", "id": "x"}), "warning", "at 10.0.0.5:8080"),
    ("registered-twice", instances({}, {"owner": "web-2", "port": 2}), "note", "id orders-1 of web-1, web-2"),
    ("policies-unreadable", seen(unreadable=[{"key": "canary:x", "writer": "beta"}]), "warning", "remove canary:x"),
    ("policies-refused", rising("policies_from_the_future"), "warning", "timedatectl"),
    ("policies-without-target", seen(policies=[POLICY | {"instance": "orders-3"}]), "note", "weight:orders:orders-1"),
    ("policies-without-target", seen(policies=[POLICY | {"owner": "web-2"}]), "note", "weight:orders:orders-1"),
    ("drained", node(draining=True), "warning", "gossipreg drain --end"),
]  # fmt: skip

#: Facts right beside those, in which nothing is wrong.
RIGHT: list[Facts] = [
    HEALTHY,
    on_host(program=ListeningProgram(0, 1, "a", 2000, 1600)),
    on_host(program=None, data_directory=None, keys=(), certificate_end=None),
    on_host(packets_dropped=5, receive_buffer_max=4_194_304),
    on_host(data_directory=DataDirectory("/d", free=DATA_BYTES_MIN, free_files=None)),
    counted(packets_unknown_key=59, lags=5),
    node(counters={}),
    node(clock_skew=None),
    node(clock_skew=CLOCK_SKEW_MAX),
    node(draining=True, leaving=True),
    seen(tokens=[{"name": "ci", "expires": NOW + 86_400}, {"name": "cd", "expires": None}]),
    seen(members=[MEMBER, {"name": "web-2", "status": "left"}, {"name": "web-3", "status": "suspect"}]),
    seen(keys=[KEY, KEY | {"id": "1" * 8, "primary": False, "not_held_by": ["web-2"], "until": NOW}]),
    seen(regions=[{"name": "eu", "own": False, "problem": ""}, {"name": "us", "own": True, "problem": "x"}]),
    seen(checks=[CHECK | {"reason": "Connection refused"}, CHECK | {"health": "critical", "reason": "timeout"}]),
    instances({"health": "warning"}),
    instances({"role": "primary"}, {"id": "orders-2", "role": "fenced", "port": 2, "health": "critical"}),
    instances({"role": "primary"}, {"id": "orders-2", "role": "replica", "port": 2}),
    instances({}, {"service": NODE_SERVICE, "health": "critical"}),
    instances({"port": 0}, {"id": "x", "port": 0, "owner": "web-2"}),
]


@pytest.mark.parametrize(("name", "facts", "severity", "part"), WRONG, ids=[f"{each[0]}-{each[3]}" for each in WRONG])
def test_a_rule_finds_what_is_wrong(name: str, facts: Facts, severity: str, part: str) -> None:
    rule = next(each for each in RULES if each.name == name)
    found = rule.find(facts)
    assert found is not None
    assert (found.rule, found.severity) == (name, severity)
    assert part in " | ".join((found.what, *found.why, found.do, f"run: {found.command(())}"))
    assert found.what
    assert found.why
    assert found.do


@pytest.mark.parametrize("facts", RIGHT)
def test_all_rules_are_silent_where_nothing_is_wrong(facts: Facts) -> None:
    assert examine(facts) == ()


def test_every_rule_is_tried() -> None:
    assert {name for name, *_ in WRONG} == {rule.name for rule in RULES}
    assert len({rule.name for rule in RULES}) == len(RULES)


def test_every_reason_of_a_join_has_its_remedy() -> None:
    assert set(JOIN_REMEDIES) == set(JoinFailureReason)


def test_no_other_rule_finds_anything_in_facts_that_have_one_thing_wrong() -> None:
    several = {"two-clusters": {"not-joined"}, "not-joined": {"two-clusters"}}
    for name, facts, *_ in WRONG:
        assert {each.rule for each in examine(facts)} - {name} <= several.get(name, set()), name


def test_the_gravest_come_first() -> None:
    facts = attrs.evolve(node(draining=True, isolated=True), not_told={"keys": "no"})
    assert [each.severity for each in examine(facts)] == [Severity.ERROR, Severity.WARNING, Severity.NOTE]


def test_the_text_fits_80_columns_and_shows_no_control_character() -> None:
    found = [finding for _, facts, *_ in WRONG for finding in examine(facts)]
    found += examine(node(problems=["a \x1b[31m problem " + "of many words " * 20]))
    lines = list(text("web-1 at 127.0.0.1:8500", found))
    assert max(len(line) for line in lines if not line.startswith("  run: ")) <= 80
    assert "\x1b" not in "".join(lines)
    assert list(text("web-1 at x", ())) == ["nothing wrong found: web-1 at x"]


def test_every_command_of_the_tool_is_one_that_can_be_run_and_asks_the_agent_that_was_asked() -> None:
    options = ("--http", "https://10.0.0.9:8500", "--token-file", "a token")
    commands = {each.command(options) for _, facts, *_ in WRONG for each in examine(facts)} - {""}
    ours = [shlex.split(each) for each in commands if each.startswith("gossipreg ")]
    assert len(ours) > 12
    for words in ours:
        parse(words[1:])
        assert words[1] in ("agent", "doctor", "keygen") or words[-4:] == list(options), words
    for _, facts, *_ in WRONG:
        for each in examine(facts):
            assert not re.search(r"gossipreg (lookup|checks|policy|forget|drain|keys|tokens)", each.do), each.do


def test_a_command_is_on_a_line_of_its_own_and_quoted_for_a_shell() -> None:
    [found] = examine(seen(members=[MEMBER, {"name": "web 2; rm x", "status": "failed"}]))
    *_, last = text("web-1", (found,), ("--http", "10.0.0.9:8500"))
    assert last == "  run: gossipreg forget 'web 2; rm x' --http 10.0.0.9:8500"


def test_one_cause_is_one_finding() -> None:
    lost = "what is sent to them is lost, theirs arrives, and they answer through others only: b"
    silent = "nothing arrives from them, and they answer through others only: c"
    stale = "the region eu was last confirmed 41 s ago, and is shown as stale: no answer"
    never = "nothing is known of the region us: no answer"
    told = node(problems=[lost, silent, stale, never], paths={"b": "outgoing_lost", "c": "incoming_lost"})
    regions = [{"name": name, "own": False, "problem": "no answer"} for name in ("eu", "us")]
    assert [each.what for each in examine(attrs.evolve(told, regions=regions))] == [
        "members answer through others only",
        "regions that are followed do not answer: what is known of them grows old",
    ]


def test_one_expulsion_is_one_finding_at_the_agent_that_is_expelled_and_no_forgery_at_the_others() -> None:
    failed = [{"name": name, "status": "failed"} for name in ("a", "b")]
    alone = {"problems": [EXPELLED], "isolated": True, "joined": False}
    here = attrs.evolve(node(**alone), members=failed)
    assert [each.name for each in RULES if each.find(here) is not None] == ["expelled"]
    there = rising("statements_ended")
    assert [each.name for each in RULES if each.find(there) is not None] == ["expelled-host"]
