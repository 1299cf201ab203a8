"""The commands about the cluster's tokens: list, create and revoke."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

from gossipreg.cli.time_format import local
from tests.cli.conftest import Ran
from tests.cli.fake_agent import FakeAgent

AT = 1_700_000_000.123
CI = {
    "name": "ci",
    "scopes": ["read", "write:orders"],
    "from": "cluster",
    "expires": AT,
    "accepted": False,
    "writer": "web-1",
    "at": AT,
}
ADMIN = {"name": "admin", "scopes": ["operator"], "from": "file", "expires": None, "accepted": True}


def test_tokens_are_listed(fake: FakeAgent, ask: Callable[..., Ran]) -> None:
    assert ask("tokens", "list") == Ran(0, "", "gossipreg: there are no tokens\n")
    fake.tokens = [CI, ADMIN]
    assert ask("tokens", "list") == Ran(
        0, f"ci\tread, write:orders\tcluster\t{local(AT)}\tno\tweb-1\nadmin\toperator\tfile\t-\tyes\t-\n", ""
    )
    assert json.loads(ask("tokens", "list", "--json").out) == {"tokens": [CI, ADMIN]}


def test_a_token_is_made_here_and_only_its_digest_is_sent(fake: FakeAgent, ask: Callable[..., Ran]) -> None:
    ran = ask("tokens", "create", "ci", "--scope", "read", "--scope", "write:orders", "--ttl", "720h")
    token = ran.out.strip()
    assert (ran.status, ran.err, len(token)) == (0, "", 43)
    digest = hashlib.sha256(token.encode()).hexdigest()
    body = {"name": "ci", "token_sha256": digest, "scopes": ["read", "write:orders"], "ttl": "720h"}
    assert fake.requests[-1][:3] == ("PUT", "/api/v1/tokens", body)
    assert ask("tokens", "create", "ci", "--scope", "read").out.strip() != token


def test_a_token_is_written_to_a_file_that_is_new(fake: FakeAgent, ask: Callable[..., Ran], tmp_path: Path) -> None:
    file = tmp_path / "ci.token"
    assert ask("tokens", "create", "ci", "--scope", "read", "--out", str(file)) == Ran(
        0, f"token ci written to {file}\n", ""
    )
    assert file.stat().st_mode & 0o777 == 0o600
    assert hashlib.sha256(file.read_text().strip().encode()).hexdigest() == fake.requests[-1][2]["token_sha256"]
    count = len(fake.requests)
    assert "exists and is not overwritten" in ask("tokens", "create", "ci", "--scope", "read", "--out", str(file)).err
    assert len(fake.requests) == count


def test_a_file_is_removed_if_the_agent_refuses_the_token(
    fake: FakeAgent, ask: Callable[..., Ran], tmp_path: Path
) -> None:
    fake.instead = (403, "application/json", b'{"error": "your token is not for read", "code": "forbidden"}')
    file = tmp_path / "ci.token"
    assert ask("tokens", "create", "ci", "--scope", "read", "--out", str(file)).status == 1
    assert not file.exists()


def test_the_digest_of_a_token_that_exists_is_sent_as_it_is(fake: FakeAgent, ask: Callable[..., Ran]) -> None:
    digest = "ab" * 32
    assert ask("tokens", "create", "ci", "--scope", "read", "--sha256", digest) == Ran(0, "token ci created\n", "")
    assert fake.requests[-1][2]["token_sha256"] == digest
    both = ask("tokens", "create", "ci", "--scope", "read", "--sha256", digest, "--out", "x")
    assert both.status == 2
    assert "--out is for a new token" in both.err


def test_a_token_is_revoked_by_its_name(fake: FakeAgent, ask: Callable[..., Ran]) -> None:
    fake.tokens = [CI]
    assert ask("tokens", "revoke", "ci") == Ran(0, "token ci revoked\n", "")
    assert fake.requests[-1][:2] == ("DELETE", "/api/v1/tokens/ci")
    assert ask("tokens", "revoke", "cd").status == 1
