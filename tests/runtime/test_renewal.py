"""When a running node has its certificate renewed, on virtual time, and what it does where that does not succeed."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import attrs
import pytest
import trio
import trio.testing

from gossipreg import open_node
from gossipreg.authority import CERTIFICATE, NODE_KEY, Authority, AuthorityKey, encode, new_node_key
from gossipreg.certificate import ISSUED_BACK_SECONDS, Certificate
from gossipreg.counters import Count
from gossipreg.errors import CertificateRefused
from gossipreg.federation import AgentPlace
from gossipreg.join_tokens import CertificateRequest, Issuer
from gossipreg.json_documents import read_json
from gossipreg.protocol.identity.authenticator import IdentityMode, Signer
from gossipreg.runtime import issuer_client, renewal
from gossipreg.runtime.renewal import CertificateRenewal, renewal_due, wait_after
from tests.hidden import hidden
from tests.runtime.issuers import IssuingPlace
from tests.runtime.nodes import PATIENCE
from tests.runtime.test_enrolment import answered_by

NOW = int(time.time())
LIFE = 10_000


def held(place: IssuingPlace, key: Any, life: int = LIFE) -> Certificate:
    times: dict[str, Any] = {"not_before": NOW - ISSUED_BACK_SECONDS, "not_after": NOW + life}
    by = AuthorityKey("default", place.issuer)
    return by.sign(key.public, names=("web-1",), services=("orders",), **times)


@attrs.define
class Renewing:
    """A renewal with an identity that is none of a running node, and the times at which an issuer was asked."""

    place: IssuingPlace
    answer: Callable[[CertificateRequest, float], Certificate]
    key: Any = attrs.field(factory=new_node_key)
    issuers: tuple[str, ...] = ("127.0.0.1:1",)
    asked: list[float] = attrs.field(factory=list)
    ports: list[int] = attrs.field(factory=list)  # of the issuers that were asked
    written: Certificate | None = None
    counters: Counter[str] = attrs.field(factory=Counter)
    identity: Any = attrs.field(init=False)
    begun: float = attrs.field(init=False, factory=trio.current_time)

    def __attrs_post_init__(self) -> None:
        trusted = (self.place.authority.authority, _issuer_of(self.place))
        signer = Signer(self.key, held(self.place, self.key))
        files = SimpleNamespace(mode=IdentityMode.REQUIRE, signer=signer, authorities=trusted)
        self.identity = SimpleNamespace(files=files, renewal_problem="", reread=self.reread)

    def wall(self) -> float:
        return NOW + trio.current_time() - self.begun

    async def reread(self) -> None:
        assert self.written is not None
        self.identity.files.signer = Signer(self.key, self.written)

    async def write(self, _: Path, certificate: Certificate) -> None:
        """Take the place of a file, which is written in a thread: virtual time would not wait for that."""
        self.written = certificate

    async def post(self, where: AgentPlace, body: bytes) -> tuple[int, bytes]:
        now = self.wall()
        self.asked.append(now - NOW)
        self.ports.append(where.address.port)
        try:
            made = self.answer(CertificateRequest.read(read_json(body)["request"]), now)
        except CertificateRefused as error:
            return 403, b'{"error": "%s", "code": "certificate_refused"}' % str(error).encode()
        return 201, b'{"certificate": "%s"}' % encode(CERTIFICATE, made.data).encode()

    async def run(self, seconds: float, seed: int = 1) -> None:
        context: Any = SimpleNamespace(counters=self.counters, name="web-1")
        settings = self.place.config("web-1", issuers=self.issuers)
        rng = random.Random(seed)
        with trio.move_on_after(seconds), pytest.MonkeyPatch.context() as patch:
            patch.setattr(renewal, "write_certificate", self.write)
            await CertificateRenewal(settings, context, self.identity, rng, self.wall, self.post).run()


def _issuer_of(place: IssuingPlace) -> Any:
    return Authority("default", place.issuer.public, place.delegation)


@pytest.fixture
def place(tmp_path: Path) -> IssuingPlace:
    return IssuingPlace(tmp_path, NOW)


async def test_a_certificate_is_renewed_after_about_two_thirds_of_its_life_again_and_again(
    place: IssuingPlace, autojump_clock: trio.testing.MockClock
) -> None:
    del autojump_clock
    issuer = Issuer(place.issuer, place.delegation)
    renewing = Renewing(place, issuer.renewed)
    await renewing.run(5 * LIFE)
    gaps = [later - earlier for earlier, later in zip([0.0, *renewing.asked], renewing.asked, strict=False)]
    assert all(0.60 * LIFE <= gap <= 0.67 * LIFE + 1 for gap in gaps)
    assert len(set(gaps)) > 1, "each time another part of its life"
    assert renewing.counters[Count.CERTIFICATES_RENEWED] == len(gaps) >= 7
    assert renewing.identity.renewal_problem == ""
    others = []
    for seed in range(2, 6):
        other = Renewing(place, issuer.renewed)
        await other.run(LIFE, seed)
        others.append(other.asked[0])
    assert len({round(each) for each in others}) == 4, "nodes that started together do not ask together"


async def test_a_renewal_that_fails_is_repeated_with_longer_waits_until_it_succeeds(
    place: IssuingPlace, autojump_clock: trio.testing.MockClock
) -> None:
    del autojump_clock
    issuer = Issuer(place.issuer, place.delegation)
    problems: list[str] = []

    def answer(request: CertificateRequest, now: float) -> Certificate:
        problems.append(renewing.identity.renewal_problem)
        if len(problems) < 8:
            raise CertificateRefused("the certificate was revoked")
        return issuer.renewed(request, now)

    renewing = Renewing(place, answer)
    await renewing.run(LIFE)
    gaps = [later - earlier for earlier, later in zip(renewing.asked, renewing.asked[1:], strict=False)]
    assert gaps[0] <= 1.25 * LIFE / 1000
    assert max(gaps) <= 1.25 * LIFE / 50
    assert gaps[5] > 4 * gaps[0]
    assert problems == ["", *7 * ["the certificate was revoked"]]
    assert renewing.counters[Count.CERTIFICATE_RENEWALS_FAILED] == 7
    assert renewing.counters[Count.CERTIFICATES_RENEWED] == 1
    assert renewing.identity.renewal_problem == ""


async def test_an_issuer_whose_delegation_ends_is_a_problem_that_is_told(
    place: IssuingPlace, autojump_clock: trio.testing.MockClock
) -> None:
    del autojump_clock
    brief = Issuer(place.issuer, place.delegate(not_after=NOW + LIFE))
    renewing = Renewing(place, brief.renewed)
    await renewing.run(0.9 * LIFE)
    assert "its delegation ends soon" in renewing.identity.renewal_problem


async def test_each_renewal_asks_another_issuer_first(
    place: IssuingPlace, autojump_clock: trio.testing.MockClock
) -> None:
    del autojump_clock
    issuer = Issuer(place.issuer, place.delegation)
    renewing = Renewing(place, issuer.renewed, issuers=("127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3"))
    await renewing.run(4 * LIFE)
    assert renewing.ports[:5] == [1, 2, 3, 1, 2]


def test_the_waits_fit_lives_of_a_minute_and_of_a_year(place: IssuingPlace) -> None:
    brief, long = (held(place, new_node_key(), life) for life in (60, 365 * 86_400))
    assert [wait_after(brief, failures) for failures in (1, 2, 40)] == [1.0, 1.2, 1.2]
    assert [wait_after(long, failures) for failures in (1, 40)] == [3600.0, 3600.0]
    assert renewal_due(brief, 0.6) == NOW + 36


async def test_a_running_node_goes_on_in_its_run_with_its_instances(
    place: IssuingPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = new_node_key()
    first = held(place, key)
    hidden(place.path / "web-1.key", encode(NODE_KEY, key.secret))
    hidden(place.path / "web-1.cert", encode(CERTIFICATE, first.data))
    async with open_node(place.ops()) as ops:
        monkeypatch.setattr(issuer_client, "_post", answered_by(ops))
        monkeypatch.setattr(renewal, "_FROM", 1e-4)
        monkeypatch.setattr(renewal, "_TO", 1e-4)
        async with open_node(place.config("web-1", ops, issuers=("127.0.0.1:1",))) as web:
            generation = web.info().generation
            await web.register("orders", port=80)
            with trio.fail_after(PATIENCE):
                while _until(ops, "web-1") in (None, first.not_after):  # noqa: ASYNC110 - no event tells of it
                    await trio.sleep(0.01)
                await ops.wait_for("orders")
            assert web.info().generation == generation
            assert web.info().counters[Count.CERTIFICATES_RENEWED] >= 1
            assert web.info().problems == ()


def _until(node: Any, name: str) -> float | None:
    return next((each.until for each in node.identity().members if each.name == name), None)
