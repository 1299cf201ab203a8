"""The commands that delegate to an issuer and make join tokens."""

from __future__ import annotations

import json
import stat
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from gossipreg.authority import DELEGATION, REVOCATION, decode
from gossipreg.delegation import Delegation
from gossipreg.join_tokens import JoinToken
from gossipreg.revocation import Revocation
from tests.cli.conftest import Ran

Run = Callable[..., Ran]


@pytest.fixture
def place(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with an authority, an issuer's key, its delegation, and both in a file for agents."""
    monkeypatch.chdir(tmp_path)
    assert run("ca", "init", "--cluster", "prod", "--out", "ca.key").status == 0
    assert run("ca", "request", "--out", "issuer.key").status == 0
    assert delegate(run).status == 0
    (tmp_path / "authorities").write_text((tmp_path / "ca.key.pub").read_text() + (tmp_path / "i").read_text())
    (tmp_path / "authorities").chmod(0o644)
    return tmp_path


def delegate(run: Run, *options: str, out: str = "i") -> Ran:
    given = ("--authority", "ca.key", "--agent", "ops-1", "--name", "web-*", "--service", "orders", "--out", out)
    return run("ca", "delegate", "issuer.key.pub", *given, *options)


def token(run: Run, *options: str, name: str = "web-*") -> Ran:
    given = ("--issuer", "issuer.key", "--authorities", "authorities", "--name", name, "--out", "web.token")
    return run("ca", "token", *given, *options)


def test_a_delegation_is_made_shown_and_revoked(run: Run, place: Path) -> None:
    made = Delegation.read(decode(DELEGATION, (place / "i").read_text(), where="test"))
    assert (made.agent, made.names, made.services, made.grants, made.lifetime) == (
        "ops-1",
        ("web-*",),
        ("orders",),
        (),
        86_400,
    )
    shown = json.loads(run("ca", "show", "i", "--json").out)
    assert (shown["kind"], shown["agent"], shown["lifetime"]) == ("delegation", "ops-1", 86_400)
    assert run("ca", "revoke", "i", "--authority", "ca.key", "--out", "gone").status == 0
    gone = Revocation.read(decode(REVOCATION, (place / "gone").read_text(), where="test"))
    assert gone.serial_text == shown["serial"]


def test_a_token_is_secret_and_has_what_its_issuer_may_give(run: Run, place: Path) -> None:
    said = json.loads(token(run, "--uses", "5", "--ttl", "24h", "--json").out)
    assert stat.S_IMODE((place / "web.token").stat().st_mode) == 0o600
    made = JoinToken.decoded((place / "web.token").read_text(), where="test")
    assert (made.names, made.services, made.uses, made.lifetime) == (("web-*",), ("orders",), 5, 86_400)
    assert 0 <= time.time() + 86_400 - made.expires < 120
    assert said["serial"] == made.serial_text
    refused = run("ca", "show", "web.token")
    assert refused.status == 2
    assert (place / "web.token").read_text().split()[1] not in refused.err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--service", "pay"), "services: pay: the delegation"),
        (("--allow", "keys"), "grants: keys: the delegation"),
        (("--ttl", "721h"), "--ttl: a time of 1s to 720h is expected"),
        (("--ttl", "soon"), "--ttl: a time of"),
        (("--lifetime", "25h"), "lifetime: 90000 s, the issuer may give 1 to 86400"),
        (("--uses", "1001"), "uses: 1001 is not 1 to 1000"),
    ],
)
def test_what_an_issuer_may_not_give_is_named_and_no_token_made(
    run: Run, place: Path, options: tuple[str, ...], said: str
) -> None:
    refused = token(run, *options)
    assert refused.status == 2
    assert said in refused.err
    assert not (place / "web.token").exists()


def test_an_issuer_without_a_delegation_in_the_file_is_named(run: Run, place: Path) -> None:
    (place / "authorities").write_text((place / "ca.key.pub").read_text())
    refused = token(run)
    assert refused.status == 2
    assert "it has no delegation for issuer.key: add the line of `ca delegate`" in refused.err


@pytest.mark.parametrize(
    "command",
    [
        "ca sign node.key.pub --authority {} --name web-1 --out made",
        "ca renew web-1.cert --authority {} --out made",
        "ca revoke web-1.cert --authority {} --out made",
        "ca delegate issuer.key.pub --authority {} --agent ops-1 --name web-* --out made",
        "ca token --issuer {} --authorities authorities --name web-* --out made",
        "agent --cluster prod --check-config --authority-file authorities --identity-cert web-1.cert --identity-key {}",
        "agent --check-config --key-file {}",
    ],
)
@pytest.mark.parametrize("file", ["ca.key.pub", "issuer.key.pub", "web-1.cert", "i"])
def test_a_public_file_in_the_place_of_a_secret_one_is_named_as_what_it_is(
    run: Run, place: Path, command: str, file: str
) -> None:
    assert run("ca", "request", "--out", "node.key").status == 0
    signed = run("ca", "sign", "node.key.pub", "--authority", "ca.key", "--name", "web-1", "--out", "web-1.cert")
    assert signed.status == 0
    (place / file).chmod(0o644)
    said = run(*command.format(file).split())
    assert said.status == 2
    assert "chmod" not in said.err
    assert file in said.err
    nouns = {"ca.key.pub": "public key", "issuer.key.pub": "public key", "web-1.cert": "certificate", "i": "delegation"}
    assert nouns[file] in said.err or "--key-file" in command
    assert not (place / "made").exists()


def test_a_file_that_holds_a_secret_beside_public_documents_is_still_for_its_user_alone(run: Run, place: Path) -> None:
    (place / "both").write_text((place / "ca.key").read_text() + (place / "ca.key.pub").read_text())
    (place / "both").chmod(0o644)
    said = run("ca", "sign", "issuer.key.pub", "--authority", "both", "--name", "web-1", "--out", "made")
    assert "chmod 600 both" in said.err
