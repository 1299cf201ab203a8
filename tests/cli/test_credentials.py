"""Values of credentials are printed when that is asked for in so many words, and else not in any form."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from tests.cli.conftest import Ran
from tests.cli.fake_agent import FakeAgent

ASKED = ("credentials", "pg-1", "--service", "pg")


def test_without_the_flag_only_the_names_are_printed(fake: FakeAgent, ask: Callable[..., Ran]) -> None:
    assert ask(*ASKED) == Ran(0, "user\t********\npassword\t********\n", "")
    assert fake.requests[-1][1] == "/api/v1/credentials/pg-1?service=pg"
    assert json.loads(ask(*ASKED, "--json").out)["credentials"] == {"user": None, "password": None}


def test_with_the_flag_they_are_all_there(ask: Callable[..., Ran]) -> None:
    assert ask(*ASKED, "--show").out == "user\tapp\npassword\thunter2\n"
    assert json.loads(ask(*ASKED, "--show", "--json").out)["credentials"] == {"user": "app", "password": "hunter2"}


def test_an_owner_is_passed_on(fake: FakeAgent, ask: Callable[..., Ran]) -> None:
    ask(*ASKED, "--owner", "web-1")
    assert fake.requests[-1][1] == "/api/v1/credentials/pg-1?service=pg&owner=web-1"


@pytest.mark.parametrize("id_", ["missing", "pg-2"])
def test_the_agents_own_sentence_says_why_not(ask: Callable[..., Ran], id_: str) -> None:
    assert ask("credentials", id_, "--service", "pg") == Ran(1, "", f"gossipreg: 'pg' has no instance '{id_}'\n")
