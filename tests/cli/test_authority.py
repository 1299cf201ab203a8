"""The authority's commands make, renew, revoke and show documents, offline, and overwrite nothing."""

from __future__ import annotations

import json
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from gossipreg.authority import CERTIFICATE, REVOCATION, decode, decode_authority
from gossipreg.certificate import Certificate
from gossipreg.revocation import Revocation
from tests.cli.conftest import Ran
from tests.cli.fake_agent import FakeAgent


@pytest.fixture
def place(run: Callable[..., Ran], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with an authority and the key of a node."""
    monkeypatch.chdir(tmp_path)
    assert run("ca", "init", "--cluster", "prod", "--out", "ca.key").status == 0
    assert run("ca", "request", "--out", "node.key").status == 0
    return tmp_path


def sign(run: Callable[..., Ran], *options: str, out: str = "web-1.cert") -> Ran:
    return run("ca", "sign", "node.key.pub", "--authority", "ca.key", "--name", "web-1", "--out", out, *options)


def read(path: Path) -> Certificate:
    return Certificate.read(decode(CERTIFICATE, path.read_text(), where="test"))


def test_a_node_gets_a_certificate_of_its_authority(run: Callable[..., Ran], place: Path) -> None:
    made = json.loads(sign(run, "--service", "orders", "--allow", "policies", "--json").out)
    certificate = read(place / "web-1.cert")
    authority = decode_authority((place / "ca.key.pub").read_text(), where="test")
    assert made["serial"] == certificate.serial_text
    assert certificate.is_signed_by(authority.public)
    assert (certificate.names, certificate.services, certificate.zones) == (("web-1",), ("orders",), ("*",))
    assert certificate.grants == ("policies",)
    assert certificate.not_after - certificate.not_before == 90 * 86_400 + 300
    for secret in ("ca.key", "node.key"):
        assert stat.S_IMODE((place / secret).stat().st_mode) == 0o600


def test_a_certificate_is_renewed_and_revoked_by_its_authority_only(run: Callable[..., Ran], place: Path) -> None:
    sign(run)
    assert run("ca", "renew", "web-1.cert", "--authority", "ca.key", "--days", "7", "--out", "new.cert").status == 0
    held, new = read(place / "web-1.cert"), read(place / "new.cert")
    assert (new.public, new.names) == (held.public, held.names)
    assert new.serial != held.serial
    assert run("ca", "revoke", "web-1.cert", "--authority", "ca.key", "--out", "gone") == Ran(
        0, f"revocation of certificate {held.serial_text} (web-1) written to gone\n", ""
    )
    assert Revocation.read(decode(REVOCATION, (place / "gone").read_text(), where="test")).serial == held.serial
    run("ca", "init", "--cluster", "prod", "--out", "other.key")
    refused = run("ca", "revoke", "web-1.cert", "--authority", "other.key", "--out", "gone2")
    assert refused.status == 2
    assert "only the authority that signed it revokes it" in refused.err


def test_what_documents_say_is_shown_and_no_secret(run: Callable[..., Ran], place: Path) -> None:
    sign(run, "--role", "primary")
    run("ca", "revoke", "web-1.cert", "--authority", "ca.key", "--out", "gone")
    shown = json.loads(run("ca", "show", "web-1.cert", "--json").out)
    assert (shown["kind"], shown["names"], shown["roles"]) == ("certificate", ["web-1"], ["primary"])
    assert "roles\tprimary\n" in run("ca", "show", "web-1.cert").out
    assert json.loads(run("ca", "show", "gone", "--json").out)["serial"] == shown["serial"]
    assert json.loads(run("ca", "show", "ca.key.pub", "--json").out)["authority"] == shown["authority"]
    for secret in ("ca.key", "node.key"):
        refused = run("ca", "show", secret)
        assert refused.status == 2
        assert (place / secret).read_text().split()[1] not in refused.err


def test_mistakes_are_named_and_nothing_is_overwritten(run: Callable[..., Ran], place: Path) -> None:
    sign(run)
    before = (place / "web-1.cert").read_bytes()
    assert sign(run).err == (
        "gossipreg: web-1.cert exists and is not overwritten: name another file, or remove this one first\n"
    )
    assert (place / "web-1.cert").read_bytes() == before
    assert run("ca", "init", "--cluster", "pr od", "--out", "x").status == 2
    assert sign(run, "--service", "a b", out="x").status == 2
    assert run("ca", "show", "none") == Ran(2, "", "gossipreg: cannot read none: No such file or directory\n")
    (place / "two").write_text((place / "ca.key.pub").read_text() * 2)
    assert run("ca", "show", "two") == Ran(2, "", "gossipreg: two holds 2 documents, not one\n")
    (place / "ca.key").chmod(0o644)
    assert "chmod" in sign(run, out="y").err
    assert not (place / "y").exists()


def test_a_revocation_is_given_to_a_running_cluster_and_what_its_holder_could_read_is_listed(
    run: Callable[..., Ran], place: Path, fake: FakeAgent, ask: Callable[..., Ran]
) -> None:
    sign(run)
    serial = read(place / "web-1.cert").serial_text
    run("ca", "revoke", "web-1.cert", "--authority", "ca.key", "--out", "gone")
    other = {"certificate": "00" * 8, "names": ["x"], "at": 1.0, "exposed": []}
    gone = {
        "certificate": serial,
        "names": ["web-1"],
        "at": 2.0,
        "exposed": [{"owner": "a", "service": "db", "id": "1"}],
    }
    fake.identity["revoked"] = [other, gone]
    said = ask("ca", "publish", "gone")
    assert (said.status, said.out) == (0, "a\tdb\t1\n")
    assert "is revoked at every member; it could read these credentials if it had their key" in said.err
    method, path, body = fake.requests[-1][:3]
    assert (method, path, body) == ("PUT", "/api/v1/revocations", {"revocation": (place / "gone").read_text().strip()})
    assert json.loads(ask("ca", "publish", "gone", "--json").out) == gone
    fake.identity["revoked"] = [{**gone, "exposed": []}]
    assert "no credentials are registered" in ask("ca", "publish", "gone").err
    assert ask("ca", "publish", "web-1.cert").status == 2


def test_members_are_listed_with_their_certificates_and_whether_they_are_ready(
    fake: FakeAgent, ask: Callable[..., Ran]
) -> None:
    signed = {"name": "a", "present": True, "certificate": "0f", "authority": "ab", "until": 0.0, "ready": True}
    unsigned = {"name": "b", "present": True, "certificate": None, "authority": None, "until": None, "ready": False}
    fake.identity["members"] = [signed, unsigned, {**unsigned, "name": "gone", "present": False}]
    assert ask("ca", "members").out == "a\tyes\t0f\t1970-01-01T00:00:00Z\tab\nb\tno\t-\t-\t-\n"
