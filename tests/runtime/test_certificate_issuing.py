"""An agent with an issuer's key: what it grants, how often, and what it remembers over a restart."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio

from gossipreg import ConfigError, Node, Status, open_node
from gossipreg.authority import CERTIFICATE, NODE_KEY, AuthorityKey, decode, encode, new_node_key
from gossipreg.certificate import Certificate
from gossipreg.counters import Count
from gossipreg.errors import CertificateRefused, InvalidCertificate, NotAnIssuer
from gossipreg.join_tokens import JoinToken, request_by_token, request_renewal
from gossipreg.runtime.certificate_issuing import describe_request
from gossipreg.signatures import SigningKey
from tests.hidden import hidden
from tests.runtime.issuers import IssuingPlace
from tests.runtime.nodes import PATIENCE, config


@pytest.fixture
def place(tmp_path: Path) -> IssuingPlace:
    return IssuingPlace(tmp_path, int(time.time()))


async def given(node: Node, token: JoinToken, key: SigningKey, name: str) -> Certificate:
    line = await node.issue_certificate(request_by_token(token, key, name, time.time()))
    return Certificate.read(decode(CERTIFICATE, line, where="test"))


async def test_a_token_is_for_as_many_nodes_as_it_says_also_after_a_restart(place: IssuingPlace) -> None:
    token = place.token(uses=2)
    one, two, three = new_node_key(), new_node_key(), new_node_key()
    async with open_node(place.ops()) as ops:
        first = await given(ops, token, one, "web-1")
        assert await given(ops, token, one, "web-1") == first, "an answer that was lost is given again"
    async with open_node(place.ops()) as ops:
        assert await given(ops, token, one, "web-1") == first
        await given(ops, token, two, "web-2")
        with pytest.raises(CertificateRefused, match="has been used by 2, which is all"):
            await given(ops, token, three, "web-3")
        assert ops.info().counters[Count.CERTIFICATES_ISSUED] == 2
        assert ops.info().counters[Count.CERTIFICATES_REFUSED] == 1


async def test_one_use_is_for_one_name(place: IssuingPlace) -> None:
    token, key = place.token(uses=2, expires=place.now + 7200), new_node_key()
    async with open_node(place.ops()) as ops:
        first = await given(ops, token, key, "web-1")
        with pytest.raises(CertificateRefused, match="has brought this key a certificate for web-1"):
            await given(ops, token, key, "web-2")
        assert await given(ops, token, key, "web-1") == first
        ops._lifecycle.issuing._wall = lambda: first.not_after + 1.0  # the certificate has ended, and the token has not
        with pytest.raises(CertificateRefused, match="has brought this key a certificate for web-1"):
            await given(ops, token, key, "web-2")
        assert (await given(ops, token, key, "web-1")).serial == first.serial


async def test_many_that_ask_at_once_get_no_more_than_the_token_is_for(place: IssuingPlace) -> None:
    token = place.token(uses=3)
    outcomes: list[Certificate | None] = []
    async with open_node(place.ops()) as ops:

        async def ask(number: int) -> None:
            try:
                outcomes.append(await given(ops, token, new_node_key(), f"web-{number}"))
            except CertificateRefused:
                outcomes.append(None)

        async with trio.open_nursery() as nursery:
            for number in range(12):
                nursery.start_soon(ask, number)
    assert sum(each is not None for each in outcomes) == 3


async def test_a_name_that_a_member_has_is_given_to_no_other_key(place: IssuingPlace) -> None:
    token = place.token(uses=5)
    key = new_node_key()
    async with open_node(place.ops()) as ops:
        made = await given(ops, token, key, "web-1")
        hidden(place.path / "web-1.key", encode(NODE_KEY, key.secret))
        hidden(place.path / "web-1.cert", encode(CERTIFICATE, made.data))
        async with open_node(place.config("web-1", ops)):
            with trio.fail_after(PATIENCE):
                async for batch in ops.events():
                    del batch
                    if any(each.name == "web-1" and each.status is Status.ALIVE for each in ops.members()):
                        break
            with pytest.raises(CertificateRefused, match="web-1 is that of a member with another key"):
                await given(ops, token, new_node_key(), "web-1")
            assert (await given(ops, token, key, "web-1")).serial == made.serial


async def test_a_renewal_is_for_certificates_that_count(place: IssuingPlace) -> None:
    key, now = new_node_key(), time.time()
    async with open_node(place.ops()) as ops:
        held = await given(ops, place.token(), key, "web-1")
        line = await ops.issue_certificate(request_renewal(held, key, now))
        renewed = Certificate.read(decode(CERTIFICATE, line, where="test"))
        assert (renewed.serial, renewed.public) == (held.serial, held.public)
        times: dict[str, Any] = {"not_before": place.now - 60, "not_after": place.now + 60}
        ended = place.authority.sign(key.public, names=("web-1",), not_before=1, not_after=place.now - 70)
        strange = AuthorityKey.new("default").sign(key.public, names=("web-1",), **times)
        with pytest.raises(CertificateRefused, match="is not in force"):
            await ops.issue_certificate(request_renewal(ended, key, now))
        with pytest.raises(CertificateRefused, match="of no authority or issuer"):
            await ops.issue_certificate(request_renewal(strange, key, now))
        place.trust(held)
        await ops.reread_keys()
        for each in (held, renewed):
            with pytest.raises(CertificateRefused, match="the certificate was revoked"):
                await ops.issue_certificate(request_renewal(each, key, now))


async def test_a_token_brings_no_certificate_to_a_key_whose_certificate_was_revoked(place: IssuingPlace) -> None:
    key, token = new_node_key(), place.token(uses=9)
    async with open_node(place.ops()) as ops:
        place.trust(await given(ops, token, key, "web-1"))
        await ops.reread_keys()
        with pytest.raises(CertificateRefused, match="of this key was revoked"):
            await given(ops, token, key, "web-1")


async def test_what_is_no_request_or_is_asked_of_no_issuer_is_refused(place: IssuingPlace) -> None:
    line = request_by_token(place.token(), new_node_key(), "web-1", time.time())
    async with open_node(place.ops(issuer_key_file=None)) as node:
        with pytest.raises(NotAnIssuer, match="it has no issuer_key_file"):
            await node.issue_certificate(line)
    async with open_node(place.ops()) as ops:
        with pytest.raises(InvalidCertificate):
            await ops.issue_certificate("junk")


def test_the_audit_log_keeps_whom_a_request_is_for(place: IssuingPlace) -> None:
    key, token = new_node_key(), place.token()
    by_token = describe_request(request_by_token(token, key, "web-1", time.time()))
    assert by_token == {"member": "web-1", "join_token": token.serial_text}
    held = place.authority.sign(key.public, names=("web-1",), not_before=place.now, not_after=place.now + 60)
    renewal = describe_request(request_renewal(held, key, time.time()))
    assert renewal == {"members": ["web-1"], "certificate": held.serial_text}
    assert describe_request("junk") == {}


async def test_an_issuers_settings_that_cannot_be_used_are_named(place: IssuingPlace) -> None:
    other = attrs.evolve(place.ops(identity="prefer"), name="web-1", identity_cert=None, identity_key=None)
    stranger = place.ops(issuer_key_file=place.path / "ops.key")
    for said, wrong in {
        "its delegation is for the agent ops, not for web-1": other,
        "has no delegation for its key": stranger,
    }.items():
        with pytest.raises(ConfigError, match=said):
            async with open_node(wrong):
                pass
    with pytest.raises(ConfigError, match="it is given without data_dir"):
        place.ops(data_dir=None)
    with pytest.raises(ConfigError, match="it is given without authority_file"):
        config("ops", issuer_key_file=place.path / "issuer.key", data_dir=place.path)


async def test_a_use_that_cannot_be_read_does_not_keep_the_issuer_from_starting(
    place: IssuingPlace, caplog: pytest.LogCaptureFixture
) -> None:
    token, key = place.token(), new_node_key()
    async with open_node(place.ops()) as ops:
        await given(ops, token, key, "web-1")
        store = ops._context.store
        assert store is not None
        await store.put_join_use(f"{'0' * 16}:{'0' * 64}", b"\xc1")
    async with open_node(place.ops()) as ops:
        with pytest.raises(CertificateRefused, match="has been used by 1"):
            await given(ops, token, new_node_key(), "web-2")
    assert "the use 0000" in caplog.text


async def test_uses_of_tokens_that_have_expired_are_forgotten_a_day_later(place: IssuingPlace) -> None:
    async with open_node(place.ops()) as ops:
        await given(ops, place.token(expires=place.now + 5), new_node_key(), "web-1")
        issuing = ops._lifecycle.issuing
        issuing._wall = lambda: place.now + 86_400.0
        await given(ops, place.token(expires=place.now + 2 * 86_400), new_node_key(), "web-2")
        assert len(issuing._uses) == 2
        issuing._wall = lambda: place.now + 86_410.0
        await given(ops, place.token(expires=place.now + 2 * 86_400), new_node_key(), "web-3")
        assert len(issuing._uses) == 2
    async with open_node(place.ops()) as ops:
        assert len(ops._lifecycle.issuing._uses) == 2


async def test_a_clock_that_was_ahead_for_a_moment_brings_no_used_token_back(place: IssuingPlace) -> None:
    used, other = place.token(expires=place.now + 1000), place.token(expires=place.now + 9000)
    async with open_node(place.ops()) as ops:
        issuing = ops._lifecycle.issuing
        await given(ops, used, new_node_key(), "web-1")
        issuing._wall = lambda: place.now + 2000.0
        await given(ops, other, new_node_key(), "web-2")
        issuing._wall = time.time
        with pytest.raises(CertificateRefused, match="has been used by 1"):
            await given(ops, used, new_node_key(), "web-3")
