"""A node that starts without a certificate gets one by a join token, or says in one line why it does not."""

from __future__ import annotations

import logging
import random
import stat
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio
import trio.testing

from gossipreg import ConfigError, Node, open_node
from gossipreg.authority import CERTIFICATE, AuthorityKey, decode, encode, new_node_key
from gossipreg.certificate import Certificate
from gossipreg.errors import CertificateRefused, GossipregError
from gossipreg.federation import AgentPlace
from gossipreg.frontends.serving.response import http_error
from gossipreg.json_documents import read_json
from gossipreg.runtime import issuer_client
from gossipreg.runtime.enrolment import enrol
from gossipreg.runtime.issuer_client import Post
from gossipreg.runtime.opening import check_start
from tests.hidden import hidden
from tests.runtime.issuers import NOWHERE, IssuingPlace
from tests.runtime.nodes import PATIENCE

RNG = random.Random(7)


@pytest.fixture
def place(tmp_path: Path) -> IssuingPlace:
    return IssuingPlace(tmp_path, int(time.time()))


def answered_by(node: Node) -> Post:
    """Answers as the HTTP API of an agent does."""

    async def post(_: AgentPlace, body: bytes) -> tuple[int, bytes]:
        try:
            return 201, b'{"certificate": "%s"}' % (await node.issue_certificate(read_json(body)["request"])).encode()
        except GossipregError as error:
            refused = http_error(error)
            assert isinstance(refused.answer.body, bytes)
            return refused.status, refused.answer.body

    return post


def certificate(place: IssuingPlace, name: str) -> Certificate:
    line = (place.path / f"{name}.cert").read_text()
    return Certificate.read(decode(CERTIFICATE, line.strip(), where="test"))


async def test_a_node_joins_by_a_token_and_a_restart_needs_none(
    place: IssuingPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_node(place.ops()) as ops:
        monkeypatch.setattr(issuer_client, "_post", answered_by(ops))
        joining = place.joining("web-1", place.token(), seeds=(ops,))
        async with open_node(joining) as web:
            await web.register("orders", port=80)
            with trio.fail_after(PATIENCE):
                assert [each.owner for each in await ops.wait_for("orders")] == ["web-1"]
        assert certificate(place, "web-1").names == ("web-1",)
        assert stat.S_IMODE((place.path / "web-1.key").stat().st_mode) == 0o600
        assert stat.S_IMODE((place.path / "web-1.cert").stat().st_mode) == 0o644
        (place.path / "web-1.token").unlink()
        async with open_node(joining) as web:
            assert web.identity().until == certificate(place, "web-1").not_after


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"secret": bytes(32)}, "the join token is wrong"),
        ({"expires": 1}, "the join token has expired"),
    ],
)
async def test_a_token_that_does_not_count_ends_the_start_in_one_line(
    place: IssuingPlace, changes: dict[str, Any], said: str
) -> None:
    token = attrs.evolve(place.token(), **changes)
    token = token if "secret" in changes else place.token(**changes)
    async with open_node(place.ops()) as ops:
        joining = place.joining("web-1", token)
        with pytest.raises(CertificateRefused, match=f"^join_token_file .*web-1.token: {said}"):
            await enrol(joining, "web-1", RNG, post=answered_by(ops))
    assert not (place.path / "web-1.cert").exists()


async def test_the_next_token_is_tried_where_one_is_used_up(place: IssuingPlace) -> None:
    used, fresh = place.token(), place.token()
    async with open_node(place.ops()) as ops:
        await enrol(place.joining("web-1", used), "web-1", RNG, post=answered_by(ops))
        await enrol(place.joining("web-2", used, fresh), "web-2", RNG, post=answered_by(ops))
        with pytest.raises(CertificateRefused, match="has been used by 1"):
            await enrol(place.joining("web-3", used, fresh), "web-3", RNG, post=answered_by(ops))
    assert certificate(place, "web-2").names == ("web-2",)


async def test_an_issuer_that_is_not_there_yet_is_waited_for_until_the_token_expires(
    place: IssuingPlace, autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    del autojump_clock
    asked: list[float] = []

    async def nothing(_: AgentPlace, __: bytes) -> tuple[int, bytes]:
        asked.append(trio.current_time())
        raise ConnectionRefusedError(111, "Connection refused")

    begun = trio.current_time()
    with caplog.at_level(logging.WARNING), pytest.raises(CertificateRefused, match="has expired"):
        await enrol(
            place.joining("web-1", place.token(expires=place.now + 600)),
            "web-1",
            RNG,
            post=nothing,
            wall=lambda: place.now + trio.current_time() - begun,
        )
    gaps = [later - earlier for earlier, later in pairwise(asked)]
    assert gaps[0] < 1.5
    assert max(gaps) <= 30 * 1.25
    assert 20 < len(asked) < 40
    assert f"http://{NOWHERE}: no answer: Connection refused" in caplog.text


ANSWERS: dict[str, tuple[int, bytes]] = {
    "that is none of an issuer": (200, b"{}"),
    "status 500 that is none": (500, b"junk"),
    "status 201 that is none": (201, b'{"certificate": "junk"}'),
    "it has no issuer_key_file": (409, b'{"error": "it has no issuer_key_file", "code": "not_an_issuer"}'),
}


@pytest.mark.parametrize(("said", "answer"), ANSWERS.items(), ids=ANSWERS)
async def test_the_next_issuer_is_asked_where_one_gives_nothing(
    place: IssuingPlace, said: str, answer: tuple[int, bytes]
) -> None:
    async with open_node(place.ops()) as ops:
        right = answered_by(ops)

        async def post(where: AgentPlace, body: bytes) -> tuple[int, bytes]:
            return answer if where.address.port == 1 else await right(where, body)

        line = "gossipreg-certificate-request-1 AAAA"
        with pytest.raises(issuer_client.IssuerUnavailable, match=said):
            await issuer_client.ask((NOWHERE,), line, lambda _: None, post)
        joining = place.joining("web-1", place.token(), issuers=(NOWHERE, "https://127.0.0.1:2"))
        await enrol(joining, "web-1", RNG, post=post)


def test_a_certificate_that_others_would_not_believe_is_not_taken(place: IssuingPlace) -> None:
    node, now = new_node_key(), float(place.now)
    times: dict[str, Any] = {"not_before": place.now - 60, "not_after": place.now + 3600}
    authorities = (place.authority.authority,)
    own = place.authority.sign(node.public, names=("web-1",), **times)
    issuer_client.check_given(own, node.public, "web-1", authorities, now)
    stranger = AuthorityKey.new("default").sign(node.public, names=("web-1",), **times)
    for made, public, name in (
        (stranger, node.public, "web-1"),
        (own, new_node_key().public, "web-1"),
        (own, node.public, "web-2"),
    ):
        with pytest.raises(issuer_client.IssuerUnavailable):
            issuer_client.check_given(made, public, name, authorities, now)
    with pytest.raises(issuer_client.IssuerUnavailable, match="is the clock right"):
        issuer_client.check_given(own, node.public, "web-1", authorities, now + 3601)


async def test_settings_and_files_that_cannot_be_used_are_named(place: IssuingPlace) -> None:
    with pytest.raises(ConfigError, match="join_token_file: it is given without issuers: give that, too"):
        place.joining("web-1", place.token(), issuers=())
    with pytest.raises(ConfigError, match=r"issuers: .*port"):
        place.joining("web-1", place.token(), issuers=("10.0.0.1:0",))
    joining = place.joining("web-1", place.token())
    check_start(joining)
    tokens = place.path / "web-1.token"
    for content, said in {
        "": "0 join tokens are not 1 to 16, one a line",
        "\n".join(17 * [place.token().encoded()]): "17 join tokens are not 1 to 16",
        encode(CERTIFICATE, b"x"): "not a join token, as `gossipreg ca token` writes it: it is a certificate",
    }.items():
        hidden(tokens, content)
        with pytest.raises(ConfigError, match=said):
            check_start(joining)
    hidden(tokens, place.token().encoded())
    tokens.chmod(0o644)
    with pytest.raises(ConfigError, match="is secret, and every user"):
        check_start(joining)
    hidden(tokens, place.token().encoded())
    with pytest.raises(ConfigError, match="it is for cluster default, not for other"):
        check_start(attrs.evolve(joining, cluster="other"))


async def test_a_directory_that_cannot_be_written_is_named(place: IssuingPlace) -> None:
    joining = place.joining("web-1", place.token(), identity_key=place.path / "missing" / "node.key")
    with pytest.raises(ConfigError, match=r"cannot write .*node.key: No such file"):
        await enrol(joining, "web-1", RNG)
