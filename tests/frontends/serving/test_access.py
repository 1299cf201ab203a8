from __future__ import annotations

import hashlib
import re
from functools import partial
from pathlib import Path

import httpx
import pytest
import trio

from gossipreg.errors import ConfigError, InsecureError
from gossipreg.frontends.http import serve_http
from gossipreg.frontends.http.context import Route
from gossipreg.frontends.http.routes import ROUTES
from gossipreg.frontends.serving import limits
from gossipreg.frontends.serving.access import Access
from gossipreg.frontends.serving.response import HttpError
from gossipreg.frontends.serving.scopes import Scope
from gossipreg.model import Address, Instance
from tests.frontends.fake_node import FakeNode

READER, WRITER, OPERATOR = "the-readers-token", "the-writers-token", "the-operators-token"

TOKENS = f"""
[[tokens]]
name = "dashboard"
token = "{READER}"
scopes = ["read"]

[[tokens]]
name = "ci"
token_sha256 = "{hashlib.sha256(WRITER.encode()).hexdigest().upper()}"
scopes = ["read", "write"]

[[tokens]]
name = "oncall"
token = "{OPERATOR}"
scopes = ["operator"]
"""


def written(file: Path, text: str, mode: int = 0o600) -> Path:
    file.write_text(text)
    file.chmod(mode)
    return file


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return written(tmp_path / "tokens.toml", TOKENS)


def refused(access: Access, token: str | None, scope: Scope) -> tuple[int, str]:
    with pytest.raises(HttpError) as caught:
        access.check(token, scope)
    return caught.value.answer.status, str(caught.value)


# What a token is for


def test_without_tokens_all_may_do_everything_but_read_credentials() -> None:
    access = Access()
    assert access.is_open
    for scope in (Scope.READ, Scope.WRITE, Scope.OPERATOR):
        access.check(None, scope)
        access.check("whatever", scope)
    assert refused(access, "whatever", Scope.CREDENTIALS) == (
        403,
        "credentials are shown for a token only: start the agent with --tokens-file FILE",
    )


def test_a_token_is_for_the_scopes_that_it_lists_and_no_other(file: Path) -> None:
    access = Access.from_file(file)
    access.check(READER, Scope.READ)
    access.check(WRITER, Scope.WRITE)
    access.check(OPERATOR, Scope.OPERATOR)
    assert refused(access, WRITER, Scope.CREDENTIALS) == (
        403,
        "the token 'ci' is for read, write: this needs one that is for credentials",
    )
    assert refused(access, OPERATOR, Scope.READ)[0] == 403


@pytest.mark.parametrize("token", ["", "x", READER[:-1], READER + "x", READER.upper(), "\xfc" * 20, "\udcff"])
def test_an_unknown_token_is_let_do_nothing(file: Path, token: str) -> None:
    status, sentence = refused(Access.from_file(file), token, Scope.READ)
    assert status == 401
    assert sentence == "this token is not one of this agent's: ask who runs it for one"


def test_no_token_is_asked_for_one(file: Path) -> None:
    with pytest.raises(HttpError) as caught:
        Access.from_file(file).check(None, Scope.READ)
    assert caught.value.answer.status == 401
    assert dict(caught.value.answer.headers) == {b"www-authenticate": b'Bearer realm="gossipreg"'}


def test_a_token_is_known_by_its_name_and_never_shown(file: Path) -> None:
    access = Access.from_file(file)
    assert (access.holder(WRITER), access.holder("unknown-token"), access.holder(None)) == ("ci", None, None)
    for secret in (READER, WRITER, OPERATOR):
        assert secret not in repr(access)
        assert hashlib.sha256(secret.encode()).hexdigest()[:8] not in repr(access).lower()


# The file


def test_the_file_is_read_again_when_it_is_told(file: Path) -> None:
    access = Access.from_file(file)
    written(file, TOKENS.replace(READER, "another-token-for-it"))
    access.check(READER, Scope.READ)
    access.reload()
    assert refused(access, READER, Scope.READ)[0] == 401
    access.check("another-token-for-it", Scope.READ)


def test_a_file_that_has_become_wrong_changes_nothing(file: Path) -> None:
    access = Access.from_file(file)
    for spoilt in ("", "[[tokens]", TOKENS.replace('"read"', '"reed"')):
        written(file, spoilt)
        with pytest.raises(ConfigError):
            access.reload()
        access.check(READER, Scope.READ)
    file.unlink()
    with pytest.raises(ConfigError, match=r"cannot read .*tokens\.toml"):
        access.reload()
    access.check(READER, Scope.READ)


def test_a_listener_without_a_file_has_nothing_to_read_again() -> None:
    Access().reload()


def test_a_file_that_every_user_can_read_is_refused_unless_it_holds_digests_only(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"open.toml is secret, and every user .* run chmod 600 "):
        Access.from_file(written(tmp_path / "open.toml", TOKENS, 0o644))
    with pytest.raises(ConfigError, match=r"its group can open it"):
        Access.from_file(written(tmp_path / "group.toml", TOKENS, 0o640))
    digest = hashlib.sha256(READER.encode()).hexdigest()
    table = f'[[tokens]]\nname = "a"\ntoken_sha256 = "{digest}"\nscopes = ["read"]\n'
    Access.from_file(written(tmp_path / "digests.toml", table, 0o644)).check(READER, Scope.READ)
    with pytest.raises(ConfigError, match=r"digests.toml can be changed by its group .* run chmod go-w "):
        Access.from_file(written(tmp_path / "digests.toml", table, 0o664))


def entry(**fields: str) -> str:
    good = {"name": '"ci"', "token": f'"{READER}"', "scopes": '["read"]'}
    lines = "\n".join(f"{key} = {value}" for key, value in (good | fields).items() if value)
    return f"[[tokens]]\n{lines}\n"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "holds no token: write a [[tokens]] with name, token and scopes for each"),
        ("tokens = []", "holds no token"),
        ("tokens = 3", "holds no token"),
        ("[[token]]", "unknown key 'token': write a [[tokens]] for each token"),
        (entry(name='""'), "tokens[0].name: '' is not a name"),
        (entry(name=""), "tokens[0].name: None is not a name"),
        (
            entry(colour='"red"'),
            "tokens[0]: unknown key 'colour': a token has name, token, token_sha256, ",
        ),
        (entry(token=""), "tokens[0]: give one of token, token_sha256 and certificate"),
        (entry(token_sha256='"00"'), "tokens[0]: give one of token, token_sha256 and certificate"),
        (entry(token="", certificate='"two words"'), "tokens[0].certificate: is no name in a certificate"),
        (entry(token="", certificate="3"), "tokens[0].certificate: is no name in a certificate"),
        (entry(token="", token_sha256='"00"'), "tokens[0].token_sha256: is not a SHA-256 in 64 hexadecimal digits"),
        (entry(token='"short"'), "tokens[0].token: is not 16 to 512 printable ASCII characters without a space"),
        (entry(token='"with a space in the middle"'), "tokens[0].token: is not 16 to 512 printable ASCII"),
        (entry(token="1234567890123456"), "tokens[0].token: is not"),
        (
            entry(scopes="[]"),
            "tokens[0].scopes: list at least one of read, write, policy, checks, credentials, operator, federate",
        ),
        (entry(scopes='"read"'), "tokens[0].scopes: list at least one of"),
        (entry(scopes='["admin"]'), "tokens[0].scopes: 'admin' is none of read, write, policy, checks, "),
        (entry(scopes='["operator:orders"]'), "tokens[0].scopes: 'operator:orders' cannot be for some services only"),
        (entry(scopes='["read:"]'), "tokens[0].scopes: 'read:' is not followed by a service's name"),
        (entry(scopes='["read:a b"]'), "tokens[0].scopes: 'read:a b' is not followed by a service's name"),
        (entry(scopes=str(["read"] * 17).replace("'", '"')), "tokens[0].scopes: 17 are too many: 16 is the limit"),
        (entry() + entry(token='"another-token-for-it"'), "two tokens are called 'ci': give each a name of its own"),
        (entry() + entry(name='"cd"'), "the token 'cd' is there under another name, too: make one for each"),
    ],
)
def test_what_is_wrong_with_a_file_is_named_and_no_token_quoted(tmp_path: Path, text: str, sentence: str) -> None:
    file = written(tmp_path / "tokens.toml", text)
    with pytest.raises(ConfigError, match=f"^{re.escape(f'{file}: {sentence}')}") as caught:
        Access.from_file(file)
    assert READER not in str(caught.value)


def test_more_tokens_than_are_compared_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "TOKENS_MAX", 2)
    with pytest.raises(ConfigError, match="3 tokens are too many: 2 is the limit"):
        Access.from_file(written(tmp_path / "tokens.toml", TOKENS))


# The listener


async def listener(file: Path, fake: FakeNode, nursery: trio.Nursery) -> httpx.AsyncClient:
    serve = partial(serve_http, fake, Address("127.0.0.1", 0), leave=lambda: None, access=Access.from_file(file))
    return httpx.AsyncClient(base_url=f"http://{await nursery.start(serve)}", trust_env=False)


async def test_a_token_is_shown_in_either_header(file: Path, fake: FakeNode, nursery: trio.Nursery) -> None:
    async with await listener(file, fake, nursery) as client:

        async def status(**headers: str) -> int:
            sent = {name.replace("_", "-"): value for name, value in headers.items()}
            return (await client.get("/api/v1/members", headers=sent)).status_code

        assert await status() == 401
        assert await status(Authorization=f"Bearer {READER}") == 200
        assert await status(Authorization=f"bearer   {READER}") == 200
        assert await status(X_Gossipreg_Token=READER) == 200
        assert await status(Authorization=f"Bearer {OPERATOR}", X_Gossipreg_Token=READER) == 200
        assert await status(X_Gossipreg_Token=READER, Authorization="Basic eDp5") == 200
        assert await status(Authorization=f"Basic {READER}") == 401
        assert await status(Authorization=f"Bearer {OPERATOR}") == 403
        assert await status(X_Gossipreg_Token="") == 401


async def test_a_poll_is_asked_for_its_token_each_time(file: Path, fake: FakeNode, nursery: trio.Nursery) -> None:
    access = Access.from_file(file)
    bound = await nursery.start(partial(serve_http, fake, Address("127.0.0.1", 0), leave=lambda: None, access=access))
    async with httpx.AsyncClient(base_url=f"http://{bound}", trust_env=False) as client:
        headers = {"Authorization": f"Bearer {READER}"}
        for _ in range(3):
            assert (await client.get("/api/v1/services/orders", headers=headers)).status_code == 200
        written(file, TOKENS.replace(READER, "another-token-for-it"))
        access.reload()
        assert (await client.get("/api/v1/services/orders", headers=headers)).status_code == 401


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.path}")
async def test_every_route_but_those_of_supervisors_asks_for_a_token(
    file: Path, fake: FakeNode, nursery: trio.Nursery, route: Route
) -> None:
    async with await listener(file, fake, nursery) as client:
        answer = await client.request(route.method, route.path)
    if route.path in ("/healthz", "/readyz", "/api/v1/token"):
        assert (answer.status_code, route.action.scope) == (200, None)
    elif route.path == "/api/v1/certificates":  # the request bears a join token of its own
        assert (answer.status_code, route.action.scope) == (400, None)
    else:
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"] == 'Bearer realm="gossipreg"'
        sentence = "this agent asks for a token: send it as Authorization: Bearer TOKEN"
        assert answer.json() == {"error": sentence, "code": "unauthorized"}


async def test_a_client_is_told_what_its_token_is_for(file: Path, fake: FakeNode, nursery: trio.Nursery) -> None:
    async with await listener(file, fake, nursery) as client:
        for headers in ({}, {"Authorization": "Bearer a-token-of-no-caller"}):
            answer = await client.get("/api/v1/token", headers=headers)
            assert answer.json() == {"required": True, "name": None, "scopes": []}
            assert "x-gossipreg-isolated" not in answer.headers
        answer = await client.get("/api/v1/token", headers={"Authorization": f"Bearer {READER}"})
    assert answer.json() == {"required": True, "name": "dashboard", "scopes": ["read"]}
    assert answer.headers["cache-control"] == "no-store"


def test_where_no_tokens_are_set_all_is_for_all_but_what_is_withheld() -> None:
    assert set(Access().grants(None)) == set(Scope) - {Scope.CREDENTIALS}
    assert set(Access(is_exposed=True).grants(None)) == set(Scope) - {Scope.CREDENTIALS, Scope.CHECKS}


async def test_a_reader_changes_nothing(file: Path, fake: FakeNode, nursery: trio.Nursery) -> None:
    fake.hold(Instance(id="a", service="orders", host="10.0.0.1", port=80, owner=fake.name))
    async with await listener(file, fake, nursery) as client:
        headers = {"Authorization": f"Bearer {READER}"}
        assert (await client.delete("/api/v1/instances/a", headers=headers)).status_code == 403
        assert fake.own("a") is not None
        headers = {"Authorization": f"Bearer {WRITER}"}
        assert (await client.delete("/api/v1/instances/a", headers=headers)).status_code == 204


async def test_beyond_this_machine_a_listener_without_tokens_does_not_open(fake: FakeNode) -> None:
    with pytest.raises(InsecureError) as caught:
        await serve_http(fake, Address("0.0.0.0", 0), leave=lambda: None)
    assert str(caught.value) == (
        "cannot answer HTTP at 0.0.0.0:0 to every caller: pass --tokens-file FILE with the tokens of those who may, "
        "or --insecure on a trusted network"
    )


async def test_with_tokens_or_told_that_it_may_it_does(file: Path, fake: FakeNode, nursery: trio.Nursery) -> None:
    anywhere = Address("0.0.0.0", 0)
    await nursery.start(partial(serve_http, fake, anywhere, leave=lambda: None, access=Access.from_file(file)))
    await nursery.start(partial(serve_http, fake, anywhere, leave=lambda: None, insecure=True))


@pytest.mark.parametrize(("host", "is_exposed"), [("127.0.0.1", False), ("0.0.0.0", True)])
async def test_a_listener_knows_whether_others_reach_it(
    fake: FakeNode, nursery: trio.Nursery, host: str, is_exposed: bool
) -> None:
    access = Access()
    await nursery.start(partial(serve_http, fake, Address(host, 0), leave=lambda: None, access=access, insecure=True))
    assert access.is_exposed is is_exposed
