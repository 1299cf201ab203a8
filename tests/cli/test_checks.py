"""The commands about health, and checks as a command line and a file write them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import Ran
from tests.cli.fake_agent import CHECK, INSTANCE, FakeAgent


def test_checks_are_listed_with_the_first_line_of_what_they_say(ask: Callable[..., Ran]) -> None:
    row = "orders-1\thttp\thttp\tcritical\tflapping\t12\t120\thttp://127.0.0.1:8080/health\t500 Internal Server Error\n"
    assert ask("checks").out == row
    assert ask("checks", "orders-1").out == row
    assert json.loads(ask("checks", "--json").out) == {"checks": [CHECK]}
    assert ask("checks", "orders-2") == Ran(0, "", "gossipreg: orders-2 has no checks\n")


def test_output_that_is_not_shown_is_explained(
    fake: FakeAgent, ask: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(CHECK, "output", None)
    ran = ask("checks")
    assert ran.out.endswith(f"{CHECK['target']}\t{CHECK['reason']}\n")
    assert ran.err == "gossipreg: the output of checks is shown for a token with the scope checks\n"


def test_a_heartbeat_says_that_all_is_well_unless_told(fake: FakeAgent, ask: Callable[..., Ran]) -> None:
    assert ask("heartbeat", "orders-1") == Ran(0, "orders-1 reports that it is passing\n", "")
    ask("heartbeat", "orders-1", "--check", "beat", "--health", "warning", "--note", "disk full")
    assert fake.requests == [
        ("PUT", "/api/v1/heartbeats/orders-1?health=passing", None),
        ("PUT", "/api/v1/heartbeats/orders-1?check=beat&health=warning&note=disk+full", None),
    ]


def test_maintenance_begins_with_a_reason_and_ends(fake: FakeAgent, ask: Callable[..., Ran]) -> None:
    out = ask("maintenance", "orders-1", "--reason", "new disk").out.split("\t")
    assert (out[2], out[-1]) == ("maintenance", "new disk\n")
    assert ask("maintenance", "orders-1", "--end").out.split("\t")[2] == "passing"
    assert fake.requests == [
        ("PUT", "/api/v1/maintenance/orders-1?reason=new+disk", None),
        ("DELETE", "/api/v1/maintenance/orders-1", None),
    ]
    assert ask("maintenance", "orders-1", "--end", "--reason", "x").status == 2


def test_a_lookup_of_all_says_why(fake: FakeAgent, ask: Callable[..., Ran]) -> None:
    fake.instances["orders-1"] = INSTANCE | {"health": "critical", "reason": "http: 500"}
    assert ask("lookup", "orders", "--all").out.endswith("team=a\thttp: 500\n")


def test_checks_on_the_command_line_are_sent_as_they_were_meant(fake: FakeAgent, ask: Callable[..., Ran]) -> None:
    ran = ask(
        *("register", "orders", "--port", "1"),
        *("--check", "http=http://127.0.0.1/health?a=b,c interval=500ms failures=2 status=200,204 verify=no"),
        *("--check", "ttl=5 name=beat deregister_after=60"),
        *("--check", "command='/bin/check --fast' timeout=3"),
    )
    assert ran.status == 0, ran.err
    assert fake.requests[-1][2]["checks"] == [
        {
            "http": "http://127.0.0.1/health?a=b,c",
            "interval": 0.5,
            "failures": 2,
            "status": [200, 204],
            "verify": False,
        },
        {"ttl": 5.0, "name": "beat", "deregister_after": 60.0},
        {"command": ["/bin/check", "--fast"], "timeout": 3.0},
    ]


def test_checks_may_be_in_a_file(tmp_path: Path, fake: FakeAgent, ask: Callable[..., Ran]) -> None:
    file = tmp_path / "checks.toml"
    file.write_text('[[checks]]\nhttp = "http://127.0.0.1/"\nheaders = { X-Key = "k" }\ninterval = 0.5\n')
    ask("register", "orders", "--port", "1", "--checks", str(file), "--check", "ttl=5")
    assert fake.requests[-1][2]["checks"] == [
        {"ttl": 5.0},
        {"http": "http://127.0.0.1/", "interval": 0.5, "headers": {"X-Key": "k"}},
    ]


@pytest.mark.parametrize(
    ("check", "sentence"),
    [
        ("tcp=a:1 interval=0", "--check: checks[0].interval: 0.0 is not a number of seconds from 0.05 to 86400"),
        ("tcp=a:1 failures=no", "--check: checks[0].failures: 'no' is not a whole number from 1 to 100"),
        ("tcp=a:1 every=5", "--check: checks[0].every: a check has no such field; it has"),
        ("tcp=a:1 jitter=nan", "--check: checks[0].jitter: nan is not a number from 0 to 0.5"),
        ("http=http://a/ status=ok", "--check: checks[0].status: ['ok'] is not a status code"),
        ("name=x", "--check: checks[0].kind: exactly one of http, tcp, grpc, ttl, command"),
        ("tcp", "--check: 'tcp' is not KIND=TARGET with further KEY=VALUE after spaces"),
        ("command='a", '--check: "command=\'a" cannot be read: No closing quotation'),
    ],
)
def test_a_check_that_cannot_be_is_one_line_and_no_agent_is_asked(
    check: str, sentence: str, fake: FakeAgent, ask: Callable[..., Ran]
) -> None:
    ran = ask("register", "orders", "--port", "1", "--check", check)
    assert (ran.status, ran.out, fake.requests) == (2, "", [])
    assert ran.err.startswith(f"gossipreg: invalid value for {sentence}")
    assert ran.err.count("\n") == 1


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[[checks]]\ntcp = 1\n", "checks[0].tcp: 1 is not HOST:PORT"),
        ("checks = 3\n", "tables [[checks]] are expected, and nothing else"),
        ("port = 1\n[[checks]]\nttl = 1\n", "tables [[checks]] are expected, and nothing else"),
        ("[[checks", "is not TOML: "),
    ],
)
def test_a_file_that_cannot_be_used_is_named(
    text: str, sentence: str, tmp_path: Path, fake: FakeAgent, ask: Callable[..., Ran]
) -> None:
    file = tmp_path / "checks.toml"
    file.write_text(text)
    ran = ask("register", "orders", "--port", "1", "--checks", str(file))
    assert (ran.status, fake.requests) == (2, [])
    assert str(file) in ran.err
    assert sentence in ran.err
    assert ask("register", "orders", "--port", "1", "--checks", str(tmp_path / "none")).status == 2


def test_a_check_that_flaps_is_a_line_of_a_watch(fake: FakeAgent, capsys: pytest.CaptureFixture[str]) -> None:
    from gossipreg.cli import show

    show.write_event(
        "check-flapping", {"instance": "orders-1", "service": "orders", "check": "http", "health": "critical"}
    )
    assert capsys.readouterr().out.split("\t")[1:] == [
        "check-flapping", "orders-1 http", "critical", "-", "orders", "-", "-\n",
    ]  # fmt: skip
