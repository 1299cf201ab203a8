"""The commands about services find, register and remove instances."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from tests.cli.conftest import Ran
from tests.cli.fake_agent import INSTANCE, MEMBER, FakeAgent
from tests.hidden import hidden

NO_SUCH_SERVICE = "gossipreg: no service missing is registered: see `gossipreg services`\n"


def test_services_are_counted(ask: Callable[..., Ran]) -> None:
    assert ask("services").out == "orders\t2\t3\n"
    assert json.loads(ask("services", "--json").out) == {"services": {"orders": {"instances": 3, "healthy": 2}}}


def test_that_there_are_none_is_a_note(fake: FakeAgent, ask: Callable[..., Ran]) -> None:
    fake.instances.clear()
    assert ask("services") == Ran(0, "", "gossipreg: no service is registered\n")


def test_a_lookup_begins_with_the_address_to_call(ask: Callable[..., Ran]) -> None:
    assert ask("lookup", "orders").out == (
        "127.0.0.1:8080\torders-1\tpassing\t3\tprimary\teu-1\tweb-1\tv2,canary\tteam=a\n"
    )
    assert json.loads(ask("lookup", "orders", "--json").out) == {"index": 4, "instances": [INSTANCE]}


def test_an_agent_that_hears_no_other_has_its_answers_noted_as_stale(fake: FakeAgent, ask: Callable[..., Ran]) -> None:
    fake.reliance = {"X-Gossipreg-Isolated": "true", "X-Gossipreg-Reachable": "0.33"}
    note = f"gossipreg: {fake.address} hears no other member since 12 s: the answer may be stale\n"
    for words in (["lookup", "orders"], ["services"], ["members"], ["policy", "list"]):
        assert ask(*words).err.startswith(note)
        assert json.loads(ask(*words, "--json").out).items() >= {"isolated": True, "reachable": 0.33}.items()
    fake.reliance["X-Gossipreg-Isolated"] = "false"
    assert ask("lookup", "orders").err == ""


def test_a_lookup_passes_its_filters_on(fake: FakeAgent, ask: Callable[..., Ran]) -> None:
    ask("lookup", "orders", "--all", "--tag", "v2", "--zone", "eu-1", "--role", "primary")
    assert fake.requests[-1][1] == "/api/v1/services/orders?all=true&tag=v2&zone=eu-1&role=primary"


def test_a_lookup_in_a_panic_says_how_many_are_stale(fake: FakeAgent, ask: Callable[..., Ran]) -> None:
    fake.instances["x"] = INSTANCE | {"id": "x", "stale": True}
    assert ask("lookup", "orders", "--panic", "0.5").err == (
        "gossipreg: 1 of them stale: known from earlier, and not reachable now\n"
    )
    assert fake.requests[-1][1] == "/api/v1/services/orders?panic=0.5"
    assert ask("lookup", "orders", "--panic", "50").status == 2


def test_answers_about_a_region_that_is_stale_say_so(fake: FakeAgent, ask: Callable[..., Ran]) -> None:
    def answer(method: str, path: Sequence[str], query: dict[str, str], body: object) -> tuple[int, object]:
        held = {"services": {"shop": {"instances": None, "healthy": None}}, "instances": [INSTANCE | {"stale": True}]}
        return 200, held | {"index": 4, "region": query.get("region"), "stale": "region" in query}

    fake.reliance = {"X-Gossipreg-Age": "41.3"}
    fake.answer = answer  # type: ignore[method-assign]  # what a test replaces
    stale = "gossipreg: stale: known from 41 s ago, in eu, and not reachable now\n"
    for words in (["services"], ["lookup", "shop"], ["lookup", "shop", "--all"]):
        assert ask(*words, "--region", "eu").err == stale
    fake.reliance = {}
    assert ask("services").err == ""


def test_a_hint_at_the_services_of_a_region_names_it(fake: FakeAgent, ask: Callable[..., Ran]) -> None:
    assert ask("lookup", "missing", "--region", "eu").err == (
        "gossipreg: no service missing is registered in eu: see `gossipreg services --region eu`\n"
    )


def test_a_lookup_that_finds_none_is_empty_with_a_note_and_no_failure(ask: Callable[..., Ran]) -> None:
    assert ask("lookup", "missing") == Ran(0, "", NO_SUCH_SERVICE)
    assert ask("lookup", "missing", "--tag", "a", "--role", "b").err == (NO_SUCH_SERVICE)
    assert ask("lookup", "missing", "--all").err == NO_SUCH_SERVICE


def test_a_lookup_that_finds_none_points_at_those_that_cannot_serve(fake: FakeAgent, ask: Callable[..., Ran]) -> None:
    fake.instances["x"] = INSTANCE | {"id": "x", "service": "ill", "health": "critical"}
    said = ask("lookup", "ill").err
    assert said == "gossipreg: no healthy instance of ill: --all shows 1 that cannot serve, and why\n"


def test_a_lookup_of_a_name_that_was_mistyped_names_the_service_that_was_meant(ask: Callable[..., Ran]) -> None:
    assert ask("lookup", "ordres").err == "gossipreg: no service ordres is registered: did you mean orders?\n"


def test_a_lookup_of_a_service_that_is_there_but_has_no_such_instance_says_so(ask: Callable[..., Ran]) -> None:
    assert ask("lookup", "orders", "--tag", "x").err == "gossipreg: no healthy instance of orders with tag x\n"


def test_what_others_wrote_breaks_neither_lines_nor_columns_nor_terminals(
    fake: FakeAgent, ask: Callable[..., Ran]
) -> None:
    fake.instances["x"] = INSTANCE | {"id": "x", "tags": ["a\tb\nc\x1b[31m"], "meta": {}, "host": "::1", "role": None}
    assert ask("lookup", "orders").out.splitlines()[1].split("\t") == [
        "[::1]:8080", "x", "passing", "3", "-", "eu-1", "web-1", r"a\tb\nc\x1b[31m", "-",
    ]  # fmt: skip


def test_register_sends_what_was_given_and_no_more(fake: FakeAgent, ask: Callable[..., Ran]) -> None:
    assert ask("register", "orders", "--port", "8080").status == 0
    assert fake.requests[-1] == (
        "PUT",
        "/api/v1/instances",
        {"service": "orders", "port": 8080, "tags": [], "meta": {}},
    )
    options = "--port 9 --host db --tag a --tag b --meta k=v=w --meta e= --weight 0 --role primary --zone z --id db-1"
    assert json.loads(ask("register", "db", *options.split(), "--json").out)["id"] == "db-1"
    assert fake.requests[-1][2] == {
        "service": "db",
        "port": 9,
        "host": "db",
        "tags": ["a", "b"],
        "meta": {"k": "v=w", "e": ""},
        "weight": 0,
        "role": "primary",
        "zone": "z",
        "id": "db-1",
    }


def test_register_answers_in_the_columns_of_lookup(ask: Callable[..., Ran]) -> None:
    assert ask("register", "orders", "--port", "8080").out.startswith("127.0.0.1:8080\tmade-up\tpassing\t")


def test_the_agents_own_sentence_says_what_it_refused_and_a_wrong_value_is_wrong_usage(ask: Callable[..., Ran]) -> None:
    assert ask("register", "no good", "--port", "1") == Ran(2, "", "gossipreg: service: 'no good' is not a name\n")
    assert ask("deregister", "nix") == Ran(1, "", "gossipreg: this node owns no instance 'nix'\n")


def test_deregister_says_what_has_gone(fake: FakeAgent, ask: Callable[..., Ran]) -> None:
    assert ask("deregister", "orders-1") == Ran(0, "deregistered orders-1\n", "")
    assert not fake.instances


@pytest.fixture
def other(fake: FakeAgent) -> Iterator[FakeAgent]:
    """The agent of web-2, on another host, at the port of the first one; the first knows of it and what it owns."""
    port = int(fake.address.partition(":")[2])
    owned = INSTANCE | {"id": "orders-2", "owner": "web-2"}
    fake.members.append(MEMBER | {"name": "web-2", "address": "127.0.0.2:7940"})
    fake.instances["orders-2"] = owned
    with FakeAgent([owned], name="web-2", at=("127.0.0.2", port)) as agent:
        yield agent


def test_a_refusal_to_deregister_what_another_owns_names_the_option_that_does(
    other: FakeAgent, ask: Callable[..., Ran]
) -> None:
    assert ask("deregister", "orders-2") == Ran(
        1, "", "gossipreg: this node owns no instance 'orders-2' (or pass --owner web-2)\n"
    )


def test_the_agent_of_the_owner_is_asked_to_deregister(
    fake: FakeAgent, other: FakeAgent, ask: Callable[..., Ran]
) -> None:
    assert ask("deregister", "orders-2", "--owner", "web-2") == Ran(0, "deregistered orders-2\n", "")
    assert not other.instances
    assert "orders-1" in fake.instances
    assert ask("deregister", "orders-1", "--owner", "web-1") == Ran(0, "deregistered orders-1\n", "")
    assert "orders-1" not in fake.instances


def test_the_owner_may_be_of_another_cell(fake: FakeAgent, other: FakeAgent, ask: Callable[..., Ran]) -> None:
    fake.members = [each | ({"cell": "b"} if each["name"] == "web-2" else {}) for each in fake.members]
    assert ask("deregister", "orders-2", "--owner", "web-2") == Ran(0, "deregistered orders-2\n", "")
    assert not other.instances


def test_an_owner_that_is_no_member_is_said_to_be_none(other: FakeAgent, ask: Callable[..., Ran]) -> None:
    assert ask("deregister", "orders-2", "--owner", "wbe-2").err == (
        "gossipreg: no member is called wbe-2: did you mean web-2?\n"
    )
    assert ask("deregister", "orders-2", "--owner", "missing").err.endswith("see `gossipreg members`\n")


def test_an_owner_whose_agent_is_not_found_leaves_its_command_to_be_run_there(
    fake: FakeAgent, other: FakeAgent, ask: Callable[..., Ran]
) -> None:
    port = fake.address.partition(":")[2]
    fake.members += [MEMBER | {"name": f"web-{n}", "address": f"127.0.0.{n - 1}:7940"} for n in (3, 4)]
    assert ask("deregister", "a b", "--owner", "web-3").err == (
        f"gossipreg: the agent of web-2 answers at 127.0.0.2:{port}, where that of web-3 may be: "
        "run `gossipreg deregister 'a b'` on its host, or pass its --http\n"
    )
    assert ask("deregister", "orders-9", "--owner", "web-4").err.startswith(
        f"gossipreg: no agent answers at 127.0.0.3:{port}, where that of web-4 may be: run"
    )
    assert "orders-2" in other.instances


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--port", "70000"), "invalid value for '--port': 70000 is not in the range 0<=x<=65535"),
        (("--port", "80", "--meta", "novalue"), "invalid value for --meta: 'novalue' is not KEY=VALUE"),
        (("--port", "80", "--weight", "-1"), "invalid value for '--weight': -1 is not in the range 0<=x<=65535"),
        ((), "missing option '--port'"),
    ],
)
def test_a_wrong_option_is_one_line_with_the_page_to_read(
    run: Callable[..., Ran], options: tuple[str, ...], sentence: str
) -> None:
    assert run("register", "orders", *options) == Ran(2, "", f"gossipreg: {sentence} (see gossipreg register --help)\n")


# Credentials and terms

SECRET = "hunter2"


@pytest.mark.parametrize(
    ("name", "text"),
    [("pg.toml", 'user = "app"\npassword = "hunter2"\n'), ("pg.json", '{"user": "app", "password": "hunter2"}')],
)
def test_credentials_are_read_from_a_file_and_not_written(
    fake: FakeAgent, ask: Callable[..., Ran], tmp_path: Path, name: str, text: str
) -> None:
    hidden(tmp_path / name, text)
    ran = ask("register", "pg", "--port", "5432", "--credentials-file", str(tmp_path / name))
    assert fake.requests[-1][2]["credentials"] == {"user": "app", "password": SECRET}
    assert (ran.status, SECRET in ran.out + ran.err) == (0, False)


@pytest.mark.parametrize(
    "text",
    [
        "hunter2",
        "[hunter2",
        'password = ["hunter2"]',
        '{"password": "hunter2"',
        '{"hunter2": 1}',
        "",
        "{}",
        '"\\hunter2"',
    ],
)
def test_a_file_that_holds_no_credentials_is_named_and_not_quoted(
    ask: Callable[..., Ran], tmp_path: Path, text: str
) -> None:
    file = tmp_path / "pg"
    hidden(file, text)
    ran = ask("register", "pg", "--port", "5432", "--credentials-file", str(file))
    assert (ran.status, ran.out, ran.err.count("\n")) == (2, "", 1)
    assert str(file) in ran.err
    assert 'write user = "...", one a line' in ran.err
    assert SECRET not in ran.err


def test_a_file_of_credentials_that_is_not_there_is_named(ask: Callable[..., Ran], tmp_path: Path) -> None:
    ran = ask("register", "pg", "--port", "5432", "--credentials-file", str(tmp_path / "none"))
    assert (ran.status, "No such file or directory" in ran.err) == (2, True)


@pytest.mark.parametrize(("given", "sent"), [("7", 7), ("next", "next")])
def test_a_term_is_a_number_or_the_next(fake: FakeAgent, ask: Callable[..., Ran], given: str, sent: int | str) -> None:
    ask("register", "pg", "--port", "5432", "--role", "primary", "--term", given)
    assert fake.requests[-1][2]["term"] == sent


@pytest.mark.parametrize("wrong", ["-1", "newest", "1.5", "9007199254740992"])
def test_any_other_term_is_refused(ask: Callable[..., Ran], wrong: str) -> None:
    ran = ask("register", "pg", "--port", "5432", f"--term={wrong}")
    assert ran.status == 2
    assert f"'{wrong}' is neither next nor a whole number up to 9007199254740991" in ran.err
