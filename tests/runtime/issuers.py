"""An authority, an issuer and the files of nodes, for tests of issued certificates."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import attrs

from gossipreg.authority import (
    DELEGATION,
    NODE_KEY,
    REVOCATION,
    AuthorityKey,
    encode,
    encode_authority,
    new_node_key,
)
from gossipreg.certificate import Certificate
from gossipreg.config import Config
from gossipreg.delegation import Delegation
from gossipreg.join_tokens import JoinToken
from gossipreg.runtime.node import Node
from gossipreg.signatures import SigningKey
from tests.hidden import hidden
from tests.runtime.nodes import config

#: Where no agent is: tests answer what is sent there.
NOWHERE = "127.0.0.1:1"


@attrs.define
class IssuingPlace:
    """A directory with an authority that has delegated to the agent ``ops``."""

    path: Path
    now: int
    authority: AuthorityKey = attrs.field(factory=lambda: AuthorityKey.new("default"))
    issuer: SigningKey = attrs.field(factory=new_node_key)
    delegation: Delegation = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.delegation = self.delegate()
        self.trust()
        hidden(self.path / "issuer.key", encode(NODE_KEY, self.issuer.secret))

    def delegate(self, **fields: Any) -> Delegation:
        wanted: dict[str, Any] = {
            "agent": "ops",
            "names": ("web-*",),
            "zones": ("*",),
            "services": ("orders",),
            "roles": ("*",),
            "grants": (),
            "not_before": self.now - 60,
            "not_after": self.now + 864_000,
            "lifetime": 86_400,
        }
        return self.authority.delegate(self.issuer.public, **{**wanted, **fields})

    def trust(self, *revoked: Certificate | Delegation) -> None:
        """Write the file of authorities, with revocations of these."""
        delegations = (self.delegation,)
        gone = [self.authority.revoke(each, at=self.now, delegations=delegations) for each in revoked]
        lines = [encode_authority(self.authority.authority), encode(DELEGATION, self.delegation.data)]
        lines += [encode(REVOCATION, each.data) for each in gone]
        hidden(self.path / "authorities", "".join(f"{line}\n" for line in lines))

    def token(self, **fields: Any) -> JoinToken:
        wanted: dict[str, Any] = {
            "names": ("web-*",),
            "zones": ("*",),
            "services": ("orders",),
            "roles": ("*",),
            "grants": (),
            "lifetime": 3600,
            "uses": 1,
            "expires": self.now + 3600,
        }
        return JoinToken.make(self.issuer, self.delegation, **{**wanted, **fields})

    def ops(self, **options: Any) -> Config:
        """The configuration of the issuer, whose own certificate is the authority's."""
        key = new_node_key()
        made = self.authority.sign(key.public, names=("ops",), not_before=self.now - 60, not_after=self.now + 86_400)
        hidden(self.path / "ops.key", encode(NODE_KEY, key.secret))
        hidden(self.path / "ops.cert", encode("gossipreg-certificate-1", made.data))
        own = {"issuer_key_file": self.path / "issuer.key", "data_dir": self.path / "ops"}
        return self.config("ops", **{**own, **options})

    def joining(self, name: str, *tokens: JoinToken, seeds: tuple[Node, ...] = (), **options: Any) -> Config:
        """The configuration of a node that has join tokens and no certificate."""
        hidden(self.path / f"{name}.token", "".join(f"{each.encoded()}\n" for each in tokens))
        own = {"join_token_file": self.path / f"{name}.token", "issuers": (NOWHERE,)}
        return self.config(name, *seeds, **{**own, **options})

    def config(self, name: str, *seeds: Node, **options: Any) -> Config:
        own = {"identity_cert": self.path / f"{name}.cert", "identity_key": self.path / f"{name}.key"}
        trusted = self.path / "authorities"
        return config(name, *seeds, authority_file=trusted, **{"identity": "require", **own, **options})
