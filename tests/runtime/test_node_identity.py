"""Running nodes with certificates: bad files are named, and the runbooks of docs/keys.md do what they say."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio
import trio.lowlevel

from gossipreg import ConfigError, InvalidInstance, Node, Status, limits, open_node
from gossipreg.agent_config import AgentConfig
from gossipreg.authority import (
    CERTIFICATE,
    NODE_KEY,
    REVOCATION,
    AuthorityKey,
    encode,
    encode_authority,
    encode_authority_key,
    new_node_key,
)
from gossipreg.certificate import Certificate
from gossipreg.cli.run_agent import _follow_identity
from gossipreg.config import Config
from gossipreg.counters import Count
from gossipreg.errors import InvalidCertificate
from gossipreg.identities import ExposedCredentials
from gossipreg.key_format import encode_key
from gossipreg.policy import Split
from gossipreg.protocol.identity import certificate_verifier
from gossipreg.protocol.registry.payload import pack_instance
from gossipreg.runtime import node_identity
from gossipreg.runtime.node_identity import _may_hold_credentials
from gossipreg.signatures import SigningKey
from tests.hidden import hidden
from tests.protocol.making import instance
from tests.runtime.nodes import PATIENCE, config

NOW = int(time.time())


@attrs.define
class Place:
    """A directory with an authority, and with the files of nodes."""

    path: Path
    authority: AuthorityKey = attrs.field(factory=lambda: AuthorityKey.new("default"))
    keys: dict[str, SigningKey] = attrs.field(factory=dict)

    def __attrs_post_init__(self) -> None:
        self.trust(encode_authority(self.authority.authority))

    @property
    def trusted(self) -> Path:
        return self.path / "authorities"

    def trust(self, *lines: str) -> None:
        hidden(self.trusted, "".join(f"{line}\n" for line in lines))

    def sign(self, name: str, **fields: Any) -> Certificate:
        key = self.keys.setdefault(name, new_node_key())
        given: dict[str, Any] = {"names": (name,), "not_before": NOW - 60, "not_after": NOW + 3600}
        made = self.authority.sign(key.public, **{**given, **fields})
        hidden(self.path / f"{name}.key", encode(NODE_KEY, key.secret))
        hidden(self.path / f"{name}.cert", encode(CERTIFICATE, made.data))
        return made

    def config(self, name: str, *seeds: Node, identity: str = "require", **options: Any) -> Config:
        own = {"identity_cert": self.path / f"{name}.cert", "identity_key": self.path / f"{name}.key"}
        return config(name, *seeds, authority_file=self.trusted, identity=identity, **{**own, **options})


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


async def until(holds: Callable[[], object]) -> None:
    with trio.fail_after(PATIENCE):
        while not holds():  # noqa: ASYNC110 - it asks several nodes
            await trio.sleep(0.01)


def alive(node: Node) -> set[str]:
    return {each.name for each in node.members() if each.status is Status.ALIVE}


async def test_a_key_alone_makes_no_member_where_identity_is_required(place: Place) -> None:
    place.sign("a")
    place.sign("b", services=("orders",))
    async with (
        open_node(place.config("a")) as one,
        open_node(place.config("b", one)) as two,
        open_node(config("c", one)) as stranger,
    ):
        await until(lambda: alive(one) == alive(two) == {"a", "b"})
        await two.register("orders", port=80)
        await stranger.register("orders", port=81)
        await until(lambda: one.lookup("orders"))
        await until(lambda: one.info().counters[Count.STATEMENTS_UNSIGNED])
        assert [each.owner for each in one.lookup("orders")] == ["b"]
        with pytest.raises(InvalidInstance, match="certificate does not allow service 'pay'"):
            await two.register("pay", port=82)


async def test_a_compromised_node_is_expelled_by_a_line_in_one_agents_file(place: Place) -> None:
    for name in ("a", "b"):
        place.sign(name)
    revoked = place.sign("evil")
    async with (
        open_node(place.config("a")) as one,
        open_node(place.config("b", one)) as two,
        open_node(place.config("evil", one)) as evil,
    ):
        await evil.register("orders", port=80)
        await until(lambda: two.lookup("orders") and one.lookup("orders"))
        gone = place.authority.revoke(revoked, at=NOW)
        place.trust(encode_authority(place.authority.authority), encode(REVOCATION, gone.data))
        await one.reread_keys()
        await until(lambda: alive(one) == alive(two) == {"a", "b"})
        assert not one.lookup("orders")
        await until(lambda: not two.lookup("orders"))
        await until(lambda: any("was revoked" in each for each in evil.info().problems))
        place.sign("evil")  # a certificate of its own again, and it is a member again
        await evil.reread_keys()
        await until(lambda: "evil" in alive(one) & alive(two))


async def test_a_certificate_is_renewed_and_its_key_replaced_while_the_node_runs(place: Place) -> None:
    place.sign("a")
    place.sign("b", not_after=NOW + 3600 * 24)
    async with open_node(place.config("a")) as one, open_node(place.config("b", one)) as two:
        await two.register("orders", port=80)
        await until(lambda: one.lookup("orders"))
        assert any("ends in 24 hours" in each or "ends in 23 hours" in each for each in two.info().problems)
        del place.keys["b"]
        place.sign("b", not_after=NOW + 3600 * 24 * 90)
        await two.reread_keys()
        held = two.info().generation
        await until(lambda: next(each.generation for each in one.members() if each.name == "b") == held)
        await until(lambda: one.lookup("orders"))
        assert two.info().problems == ()


async def test_an_authority_that_was_compromised_is_replaced_step_by_step(place: Place) -> None:
    place.sign("a")
    place.sign("b")
    old = place.authority
    async with open_node(place.config("a")) as one, open_node(place.config("b", one)) as two:
        await two.register("orders", port=80)
        await until(lambda: one.lookup("orders"))
        place.authority = AuthorityKey.new("default")
        both = encode_authority(old.authority), encode_authority(place.authority.authority)
        place.trust(*both)
        for node in (one, two):
            await node.reread_keys()
        for name, node in (("a", one), ("b", two)):
            place.sign(name)
            await node.reread_keys()
        generations = {each.name: each.generation for each in (one.info(), two.info())}
        await until(lambda: all({e.name: e.generation for e in n.members()} == generations for n in (one, two)))
        place.trust(both[1])
        for node in (one, two):
            await node.reread_keys()
        await until(lambda: alive(one) == alive(two) == {"a", "b"} and one.lookup("orders"))
        before = place.authority
        place.authority = old
        place.sign("c")
        place.authority = before
        with pytest.raises(ConfigError, match="none of the authorities"):
            async with open_node(place.config("c", one)):
                pass


async def test_members_that_do_not_sign_yet_are_named(place: Place) -> None:
    place.sign("a")
    async with open_node(place.config("a", identity="auto")) as one, open_node(config("old", one)) as old:
        await until(lambda: alive(one) == alive(old) == {"a", "old"})
        await until(lambda: "not every member signs what it states: old" in one.info().problems)


async def test_files_that_cannot_be_used_are_named(place: Place) -> None:
    place.sign("a")
    place.sign("b")
    other = AuthorityKey.new("default")
    wrong: dict[str, tuple[dict[str, Any], Callable[[], object]]] = {
        "identity_cert .*a.cert: it is for a, not for z": ({"name": "z"}, lambda: None),
        "it is for another key": ({"identity_key": place.path / "b.key"}, lambda: None),
        "is that of cluster default, not of prod": ({"cluster": "prod"}, lambda: None),
        "require is given without identity_cert": ({"identity_cert": None, "identity_key": None}, lambda: None),
        "not an authority's public key": ({}, lambda: place.trust(encode_authority_key(other))),
        "none of the authorities": ({}, lambda: place.trust(encode_authority(other.authority))),
        "0 authorities are not 1 to 8": ({}, partial(place.trust)),
        "9 authorities are not 1 to 8": (
            {},
            partial(place.trust, *[encode_authority(place.authority.authority)] * (limits.AUTHORITIES_MAX + 1)),
        ),
        "chmod go-w": ({}, lambda: place.trusted.chmod(0o666)),
    }
    for said, (options, prepare) in wrong.items():
        prepare()
        with pytest.raises(ConfigError, match=said):
            async with open_node(attrs.evolve(place.config("a"), **options)):
                pass
    with pytest.raises(ConfigError, match="without authority_file"):
        Config(identity="require")


async def test_a_revocation_is_given_to_one_running_agent_which_says_what_could_be_read(place: Place) -> None:
    for name in ("a", "b"):
        place.sign(name)
    revoked = place.sign("evil")
    key = encode_key(bytes(range(32)))
    async with (
        open_node(place.config("a", credential_key=key)) as one,
        open_node(place.config("b", one)) as two,
        open_node(place.config("evil", one)) as evil,
    ):
        await one.register("db", id="db-1", port=1, credentials={"user": "u", "password": "old"})
        await one.register("db", id="db-2", port=2)
        await until(lambda: len(two.lookup("db")) == 2 and alive(two) == alive(one) == {"a", "b", "evil"})
        gone = encode(REVOCATION, place.authority.revoke(revoked, at=NOW).data)
        assert await two.revoke_certificate(gone) == revoked.serial_text
        await until(lambda: alive(one) == alive(two) == {"a", "b"})
        await until(lambda: any("was revoked" in each for each in evil.info().problems))
        for node in (one, two):
            [known] = node.identity().revoked
            assert (known.certificate, known.names) == (revoked.serial_text, ("evil",))
            assert known.exposed == (ExposedCredentials("a", "db", "db-1"),)
        await one.register("db", id="db-1", port=1, credentials={"user": "u", "password": "new"})
        await until(lambda: not two.identity().revoked[0].exposed)
        assert not one.identity().revoked[0].exposed


async def test_what_is_no_revocation_of_its_authorities_is_refused(place: Place) -> None:
    place.sign("a")
    other = AuthorityKey.new("default")
    foreign = other.sign(new_node_key().public, names=("x",), not_before=NOW, not_after=NOW + 9)
    lines = {
        "not a revocation": "gossipreg-revocation-1",
        "not base64": "gossipreg-revocation-1 ?",
        "it is of another authority": encode(REVOCATION, other.revoke(foreign, at=NOW).data),
    }
    async with open_node(place.config("a")) as one, open_node(config("old")) as old:
        for said, line in lines.items():
            with pytest.raises(InvalidCertificate, match=said):
                await one.revoke_certificate(line)
        assert one.identity().revoked == ()
        with pytest.raises(InvalidCertificate, match="has no identity: start it with authority_file"):
            await old.revoke_certificate(lines["it is of another authority"])
        assert (old.identity().mode, old.identity().until) == ("off", None)


async def test_each_members_certificate_is_shown_and_who_is_not_ready(place: Place) -> None:
    made = place.sign("a")
    async with open_node(place.config("a", identity="prefer")) as one, open_node(config("old", one)) as old:
        await until(lambda: alive(one) == alive(old) == {"a", "old"})
        report = one.identity()
        assert (report.mode, report.until) == ("prefer", made.not_after)
        signed, unsigned = report.members
        assert (signed.name, signed.certificate, signed.ready) == ("a", made.serial_text, True)
        assert (signed.authority, signed.until) == (place.authority.authority.id, made.not_after)
        assert (unsigned.name, unsigned.certificate, unsigned.until, unsigned.ready) == ("old", None, None, False)


async def test_the_hosts_that_are_refused_are_counted(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.sign("a")
    async with open_node(place.config("a")) as one, open_node(config("c", one)) as stranger:
        await until(lambda: one.identity().refused.get("127.0.0.1"))
        monkeypatch.setattr(limits, "REFUSED_SOURCES_MAX", 0)
        one._lifecycle.context.driver.refused_sources.clear()
        await stranger.register("orders", port=80)
        await until(lambda: one.identity().refused.get("other"))


async def test_files_that_change_are_read_again_without_a_signal(
    place: Place, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(node_identity, "_LOOK_SECONDS", 0.02)
    place.sign("a", not_after=NOW + 3600)
    async with open_node(place.config("a")) as one:
        await until(lambda: "ends in 1 hours: renew it" in caplog.text)
        hidden(place.path / "a.cert", "junk")
        await until(lambda: "the files of identity have changed and are not used" in caplog.text)
        (place.path / "a.cert").unlink()
        await until(lambda: caplog.text.count("are not used") == 2)
        renewed = place.sign("a", not_after=NOW + 3600 * 24 * 90)
        await until(lambda: one.identity().members[0].certificate == renewed.serial_text)
        assert one.info().problems == ()


@pytest.mark.slow
@pytest.mark.parametrize("ended", [("b",), ("a", "b")], ids=" and ".join)
async def test_members_whose_certificates_end_are_dropped_and_come_back_with_new_ones(
    place: Place, monkeypatch: pytest.MonkeyPatch, ended: tuple[str, ...]
) -> None:
    monkeypatch.setattr(certificate_verifier, "LEEWAY", 0.0)
    monkeypatch.setattr(node_identity, "_LOOK_SECONDS", 0.1)
    for name in ("a", "b", "c"):
        place.sign(name, not_after=int(time.time()) + (6 if name in ended else 3600))
    async with (
        open_node(place.config("a")) as one,
        open_node(place.config("b", one)) as two,
        open_node(place.config("c", one)) as three,
    ):
        await two.register("orders", port=80)
        await until(lambda: three.lookup("orders"))
        left = {"a", "b", "c"} - set(ended)
        await until(lambda: alive(three) == left)
        assert not three.lookup("orders")
        assert any("has ended: renew it" in each for each in two.info().problems)
        for name in ended:
            place.sign(name)
        await until(lambda: alive(one) == alive(two) == alive(three) == {"a", "b", "c"})
        await until(lambda: three.lookup("orders") and one.lookup("orders"))


async def test_while_a_certificate_is_renewed_no_lookup_misses_an_instance(place: Place) -> None:
    place.sign("a")
    place.sign("b", not_after=NOW + 3600 * 24)
    async with open_node(place.config("a")) as one, open_node(place.config("b", one)) as two:
        await two.register("orders", port=80)
        await until(lambda: one.lookup("orders"))
        begun, missed = two.info().generation, 0
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def count_missed() -> None:
                nonlocal missed
                while True:
                    missed += not one.lookup("orders")
                    await trio.lowlevel.checkpoint()

            renewed = place.sign("b", not_after=NOW + 3600 * 24 * 90)
            await two.reread_keys()
            await until(lambda: renewed.serial_text in [each.certificate for each in one.identity().members])
            await until(lambda: one.lookup("orders"))
            nursery.cancel_scope.cancel()
        assert missed == 0
        assert two.info().generation == begun
        assert next(each.generation for each in one.members() if each.name == "b") == begun


def test_a_record_with_credentials_is_told_by_its_bytes() -> None:
    plain = instance("a", meta={"note": "nothing"})
    assert _may_hold_credentials(pack_instance(attrs.evolve(plain, sealed=b"x")))
    assert not _may_hold_credentials(pack_instance(plain))
    assert not _may_hold_credentials(None)


async def test_identity_is_required_while_the_node_runs_once_all_members_and_policies_are_signed(place: Place) -> None:
    place.sign("a", grants=("policies",))
    place.sign("b")
    unsigned = attrs.evolve(place.config("c"), identity_cert=None, identity_key=None)
    async with open_node(place.config("a", identity="prefer")) as one:
        second = place.config("b", one, identity="prefer")
        bare_config = attrs.evolve(unsigned, join=second.join, identity="off")
        async with open_node(second) as two:
            async with open_node(bare_config) as bare:
                await until(lambda: alive(one) == alive(two) == alive(bare) == {"a", "b", "c"})
                await bare.set_policy(Split("orders", {"v1": 100}))
                await until(one.policies)
                with pytest.raises(ConfigError, match="`prefer`, as members sign nothing that counts: c; policies"):
                    await one.require_identity()
                assert one.identity().mode == "prefer"
                assert any(each.endswith("what it states: c") for each in one.info().problems)
            await until(lambda: alive(one) == alive(two) == {"a", "b"})
            with pytest.raises(ConfigError, match="policies are not signed, set them again: split:orders"):
                await two.require_identity()
            await one.set_policy(Split("orders", {"v1": 100}))
            await until(lambda: two.policies() and two.policies()[0].writer == "a")
            for node in (one, two):
                await node.require_identity()
                await node.require_identity()
                await node.reread_keys()
                assert node.identity().mode == "require"
            assert {each.name for each in one.members()} == {"a", "b"}, "what is gone and has not signed is forgotten"
            await until(lambda: one.info().fingerprint == two.info().fingerprint)
            async with open_node(bare_config):
                await until(lambda: one.info().counters[Count.STATEMENTS_UNSIGNED])
                assert alive(one) == {"a", "b"}


async def test_identity_is_not_required_of_others_by_a_node_that_has_none(place: Place) -> None:
    place.sign("a")
    signed = place.config("a", identity="prefer")
    for wrong, why in (
        (attrs.evolve(signed, identity="off"), "this node has none: give it authority_file"),
        (attrs.evolve(signed, identity_cert=None, identity_key=None), "without identity_cert"),
    ):
        async with open_node(wrong) as node:
            with pytest.raises(ConfigError, match=why):
                await node.require_identity()


async def test_an_agent_takes_up_an_identity_and_requires_one_on_sighup_if_its_settings_do_now(place: Place) -> None:
    place.sign("a")
    files = {
        "authority_file": place.trusted,
        "identity_cert": place.path / "a.cert",
        "identity_key": place.path / "a.key",
    }
    async with open_node(config("a")) as node:
        for settings, mode in (
            ({}, "off"),
            ({**files, "identity": "off"}, "off"),
            (files, "prefer"),
            ({**files, "identity": "prefer"}, "prefer"),
            ({**files, "identity": "require"}, "require"),
            ({**files, "identity": "prefer"}, "require"),
            ({}, "require"),
        ):
            await _follow_identity(node, partial(AgentConfig, **settings))
            assert node.identity().mode == mode


async def test_running_nodes_take_up_identities_one_by_one_until_all_require_them(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(node_identity, "_VERIFIED_AT_ONCE", 1)
    monkeypatch.setattr(node_identity, "_LOOK_SECONDS", 0.02)
    for name in ("a", "b", "c"):
        place.sign(name, grants=("policies",))
    async with (
        open_node(config("a")) as one,
        open_node(config("b", one)) as two,
        open_node(config("c", one)) as three,
    ):
        nodes = (one, two, three)
        for node in nodes:
            await node.register("orders", id=f"orders-{node.name}", port=80)
        await two.set_policy(Split("orders", {"v1": 100}))
        await until(lambda: all(len(node.lookup("orders")) == 3 and node.policies() for node in nodes))
        for node in nodes:
            own = place.path / f"{node.name}.cert", place.path / f"{node.name}.key"
            await node.use_identity(place.trusted, *own)
            await node.use_identity(place.trusted, *own)
            assert node.identity().mode == "prefer"
            await until(lambda: all(alive(each) == {"a", "b", "c"} for each in nodes))
            await until(lambda: all(len(each.lookup("orders")) == 3 for each in nodes))
            assert one.identity().unsigned_policies == ("split:orders",)
            assert any("set these again: split:orders" in each for each in one.info().problems)
        await two.set_policy(Split("orders", {"v1": 100}))
        await until(lambda: not any(node.identity().unsigned_policies for node in nodes))
        for node in nodes:
            await until(lambda: all(each.ready for each in node.identity().members))  # noqa: B023 - awaited at once
            await node.require_identity()
        await until(lambda: len({node.info().fingerprint for node in nodes}) == 1)
        assert all(len(node.lookup("orders")) == 3 and alive(node) == {"a", "b", "c"} for node in nodes)
        renewed = place.sign("a", not_after=NOW + 3600 * 24 * 90)
        await until(lambda: two.identity().members[0].certificate == renewed.serial_text)


async def test_files_of_identity_that_cannot_be_used_leave_a_node_as_it_is(place: Place) -> None:
    place.sign("a")
    place.sign("b")
    own = place.path / "a.cert", place.path / "a.key"
    async with open_node(config("a")) as node:
        for trusted, files, why in (
            (place.trusted, (place.path / "b.cert", place.path / "b.key"), "it is for b, not for a"),
            (place.path / "none", own, "cannot read"),
            (place.trusted, (own[0], None), "identity_key"),
        ):
            with pytest.raises(ConfigError, match=why):
                await node.use_identity(trusted, *files)
            assert node.identity().mode == "off"
        begun = node.info().generation
        await node.use_identity(place.trusted)
        assert (node.identity().mode, node.info().generation) == ("prefer", begun), "it verifies, and signs nothing"
        await node.use_identity(place.trusted, *own)
        assert node.identity().members[0].ready
        with pytest.raises(ConfigError, match="to sign no more takes a restart"):
            await node.use_identity(place.trusted)
