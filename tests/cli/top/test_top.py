"""The live screen in a terminal of its own: it follows, resizes, and gives the terminal back as it was."""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Callable

import pytest

from tests.cli.conftest import Ran
from tests.cli.fake_agent import INSTANCE, MEMBER, NODE, FakeAgent
from tests.cli.terminals import PATIENCE, terminal

SNAPSHOT = ("snapshot", {"members": [MEMBER], "instances": [INSTANCE]})
FAILED = ("member-failed", MEMBER | {"name": "web-2", "status": "failed"})


@pytest.fixture(autouse=True)
def _an_ordinary_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    for name in ("COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)


def test_it_shows_what_there_is_and_what_happens_until_q(fake: FakeAgent) -> None:
    fake.streams = [[SNAPSHOT, FAILED]]
    with terminal("top", "--http", fake.address) as shown:
        before = shown.modes()
        layout = shown.until("member-failed.*web-2")
        assert "\x1b[?1049h" in layout  # a screen of its own
        assert re.search("web-2 .*failed.*web-1 .*alive", layout, re.DOTALL)
        assert "orders" in layout
        assert shown.modes() != before  # no echo
        shown.type(b"q")
        shown.until(re.escape("\x1b[?1049l"))
        assert shown.process.wait(PATIENCE) == 0
        assert shown.modes() == before


@pytest.mark.parametrize(("typed", "status"), [(b"\x03", 0), (signal.SIGTERM, 143)])
def test_however_it_ends_the_terminal_is_as_it_was(fake: FakeAgent, typed: bytes | signal.Signals, status: int) -> None:
    fake.streams = [[SNAPSHOT]]
    with terminal("top", "--http", fake.address) as shown:
        before = shown.modes()
        shown.until("web-1.*events")
        shown.type(b"\x1a")  # Ctrl-Z does not stop it
        if isinstance(typed, bytes):
            shown.type(typed)
        else:
            shown.process.send_signal(typed)
        shown.until(re.escape("\x1b[?1049l"))
        assert shown.process.wait(PATIENCE) == status
        assert shown.modes() == before


def test_it_takes_the_size_that_the_terminal_gets(fake: FakeAgent) -> None:
    fake.streams = [[SNAPSHOT]]
    with terminal("top", "--http", fake.address) as shown:
        shown.until("members.*services.*events")
        shown.resize(120, 30)
        shown.until(r"web-1[^\r\n]*alive[^\r\n]*127\.0\.0\.1:7940")  # room for addresses
        shown.resize(46, 30)
        shown.until(r"\n(\x1b\[[0-9;]*m)*services")  # below the members, no more beside them


def test_it_comes_back_to_an_agent_that_went_away(fake: FakeAgent) -> None:
    fake.streams = [[SNAPSHOT], [SNAPSHOT, FAILED]]
    with terminal("top", "--http", fake.address) as shown:
        shown.until(f"lost {fake.address}: trying again")
        shown.until("member-failed.*web-2")
        shown.until("reachable 100%")


def test_an_agent_that_is_not_there_is_one_line_and_no_screen() -> None:
    with FakeAgent() as fake:
        pass
    with terminal("top", "--http", fake.address) as shown:
        written = shown.until(r"no agent answers at [^\n]*\n")
        assert "\x1b[?1049h" not in written
        assert shown.process.wait(PATIENCE) == 1


def test_in_a_pipe_it_is_what_there_is_now(ask: Callable[..., Ran]) -> None:
    assert ask("top") == Ran(
        0,
        "agent\tweb-1\talive\tdefault\t1\nmember\tweb-1\talive\t127.0.0.1:7940\teu-1\nservice\torders\t2\t3\t-\n",
        "",
    )


def test_in_json_it_is_the_agents_own_answers(ask: Callable[..., Ran]) -> None:
    assert json.loads(ask("top", "--json").out) == {
        "node": NODE,
        "members": [MEMBER],
        "services": {"orders": {"instances": 3, "healthy": 2}},
    }


def test_a_terminal_that_can_do_nothing_gets_a_table(fake: FakeAgent, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")
    with terminal("top", "--http", fake.address) as shown:
        shown.until("orders")
        assert shown.process.wait(PATIENCE) == 0
