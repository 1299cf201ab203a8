"""The commands about primaries list terms and reset them; and a registration that is not called as stated says so."""

from __future__ import annotations

import json
from collections.abc import Callable

from gossipreg.cli.time_format import local
from tests.cli.conftest import Ran
from tests.cli.fake_agent import INSTANCE, FakeAgent

AT = 1_700_000_000.123
PG = {"service": "pg", "claimed": 3, "seen": 4, "primary": INSTANCE, "reset_by": None, "reset_at": None}
RESET = {"service": "a", "claimed": 0, "seen": 0, "primary": None, "reset_by": "web-1", "reset_at": AT}


def test_terms_are_listed_all_or_of_one_service(fake: FakeAgent, ask: Callable[..., Ran]) -> None:
    assert ask("role", "list") == Ran(0, "", "gossipreg: no term was ever stated\n")
    fake.roles = [RESET, PG]
    assert ask("role", "list").out == f"a\t0\t0\t-\t-\tweb-1\t{local(AT)}\npg\t3\t4\torders-1\tweb-1\t-\t-\n"
    assert json.loads(ask("role", "list", "pg", "--json").out) == {"roles": [PG]}
    assert ask("role", "list", "nix").err == "gossipreg: no term of nix was ever stated\n"


def test_a_reset_answers_with_the_term_and_says_what_states_one_still(fake: FakeAgent, ask: Callable[..., Ran]) -> None:
    fake.roles = [RESET, PG | {"note": "the term of pg is 4 still"}]
    assert ask("role", "reset", "a") == Ran(0, f"a\t0\t0\t-\t-\tweb-1\t{local(AT)}\n", "")
    assert fake.requests[-1][:2] == ("DELETE", "/api/v1/roles/a")
    assert ask("role", "reset", "pg").err == "gossipreg: the term of pg is 4 still\n"
    assert ask("role", "reset", "nix") == Ran(1, "", "gossipreg: no term of a service 'nix' is known\n")


def test_what_stands_in_the_way_of_a_registration_is_a_note(fake: FakeAgent, ask: Callable[..., Ran]) -> None:
    fake.notes["made-up"] = "its weight is 5, not 1, by policy weight:orders:made-up"
    ran = ask("register", "orders", "--port", "8080")
    assert ran.out.startswith("127.0.0.1:8080\tmade-up\t")
    assert ran.err == f"gossipreg: made-up: {fake.notes['made-up']}\n"
    assert json.loads(ask("register", "orders", "--port", "8080", "--json").out)["note"] == fake.notes["made-up"]
