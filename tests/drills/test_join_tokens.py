"""Real agents that require identity: one joins by a token, is renewed, and is expelled with its stolen issuer."""

from __future__ import annotations

import json
import re
import stat
import time
from pathlib import Path
from typing import Any

from gossipreg.authority import (
    CERTIFICATE,
    DELEGATION,
    NODE_KEY,
    REVOCATION,
    AuthorityKey,
    decode,
    encode,
    encode_authority,
    new_node_key,
)
from gossipreg.certificate import Certificate
from gossipreg.counters import Count
from gossipreg.join_tokens import JoinToken
from tests.drills.agents import Agents
from tests.drills.waiting import eventually
from tests.hidden import hidden


async def test_a_node_joins_by_a_token_is_renewed_and_goes_with_its_issuer(agents: Agents, tmp_path: Path) -> None:
    authority, issuer, now = AuthorityKey.new("default"), new_node_key(), int(time.time())
    fields: dict[str, Any] = {
        "names": ("web-*",),
        "zones": ("*",),
        "services": ("orders",),
        "roles": ("*",),
        "grants": (),
    }
    times: dict[str, Any] = {"not_before": now, "not_after": now + 86_400}
    delegation = authority.delegate(issuer.public, agent="ops", lifetime=3600, **fields, **times)
    lines = encode_authority(authority.authority), encode(DELEGATION, delegation.data)
    trusted = hidden(tmp_path / "authorities", "".join(f"{line}\n" for line in lines))

    def flags(name: str) -> tuple[str, ...]:
        own = (f"--identity-cert={tmp_path / name}.cert", f"--identity-key={tmp_path / name}.key")
        return (f"--authority-file={trusted}", *own, "--identity=require")

    for name in ("ops", "db"):
        key = new_node_key()
        certificate = authority.sign(key.public, names=(name,), **times)
        hidden(tmp_path / f"{name}.key", encode(NODE_KEY, key.secret))
        hidden(tmp_path / f"{name}.cert", encode(CERTIFICATE, certificate.data))
    audit = tmp_path / "audit"
    more = (f"--issuer-key-file={hidden(tmp_path / 'issuer', encode(NODE_KEY, issuer.secret))}",)
    ops = await agents.start("ops", *flags("ops"), *more, f"--data-dir={tmp_path / 'ops'}", f"--audit-log={audit}")
    db = await agents.start("db", *flags("db"), join=[ops])

    # With 30 s of life the first renewal is due after 18 s; members take the certificate for a minute after its end.
    token = JoinToken.make(issuer, delegation, **fields, lifetime=30, uses=1, expires=now + 3600)
    by_token = (f"--join-token-file={hidden(tmp_path / 'token', token.encoded())}", f"--issuers={ops.http}")
    web = await agents.start("web-1", *flags("web-1"), *by_token, join=[ops])
    await web.register("orders", 80, id="orders-1")
    await agents.agree([ops, db, web], offers={"orders": {"orders-1"}})
    assert stat.S_IMODE((tmp_path / "web-1.key").stat().st_mode) == 0o600
    first = Certificate.read(decode(CERTIFICATE, (tmp_path / "web-1.cert").read_text(), where="test"))

    ended = await agents.fails("web-2", *flags("web-2"), *by_token, join=[ops])
    assert ended.status == 1
    assert re.search(r"token: the join token has been used by 1, which is all", ended.err)
    assert len(ended.err.strip().splitlines()) == 1
    written = [json.loads(line) for line in audit.read_text().splitlines()]
    assert [
        (each["action"], each["outcome"], each.get("member"))
        for each in written
        if each["action"] == "issue_certificate"
    ] == [
        ("issue_certificate", "done", "web-1"),
        ("issue_certificate", "certificate_refused", "web-2"),
    ]

    generation = (await web.node())["generation"]

    async def is_renewed() -> None:
        assert (await web.counters())[Count.CERTIFICATES_RENEWED] >= 1
        [held] = [each for each in (await db.get("identity"))["members"] if each["name"] == "web-1"]
        assert held["until"] > first.not_after
        assert held["certificate"] == first.serial_text

    await eventually(is_renewed, within=180)
    await agents.agree([ops, db, web], offers={"orders": {"orders-1"}})
    assert (await web.node())["generation"] == generation

    gone = encode(REVOCATION, authority.revoke(delegation, at=int(time.time())).data)
    hidden(trusted, "".join(f"{line}\n" for line in (*lines, gone)))
    db.process.send_signal(1)
    await agents.agree([ops, db], alive={"ops", "db"}, offers={"orders": set()})
