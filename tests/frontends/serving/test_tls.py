"""HTTPS: the listener's certificate, its renewal, and clients that show certificates in place of tokens."""

from __future__ import annotations

import ssl
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from urllib.parse import unquote

import httpx
import pytest
import trio

from gossipreg.agent_config import COMPATIBILITY_APIS
from gossipreg.errors import ConfigError, UnsafeFile
from gossipreg.frontends.http import serve_http
from gossipreg.frontends.serving import limits
from gossipreg.frontends.serving.access import Access
from gossipreg.frontends.serving.compatibility_api import load
from gossipreg.frontends.serving.tls import ServerTls, name_in
from gossipreg.model import Address
from tests.certificates import certificate
from tests.frontends.fake_node import FakeNode
from tests.hidden import hidden

PATIENCE = 60.0

TOKENS = """
[[tokens]]
name = "page"
token = "the-token-of-the-page"
scopes = ["read"]

[[tokens]]
name = "oncall"
certificate = "ops.example"
scopes = ["read", "operator"]
"""


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    """The certificate of the listener, and its key."""
    return certificate("127.0.0.1", tmp_path)


@asynccontextmanager
async def serving(
    tls: ServerTls, *, access: Access | None = None, counters: Counter[str] | None = None
) -> AsyncIterator[Address]:
    async with trio.open_nursery() as nursery:
        serve = partial(
            serve_http,
            FakeNode(),
            Address("127.0.0.1", 0),
            leave=lambda: None,
            tls=tls,
            access=access,
            counters=counters,
        )
        yield await nursery.start(serve)
        nursery.cancel_scope.cancel()


def trusting(authority: Path, own: tuple[Path, Path] | None = None) -> ssl.SSLContext:
    """What a client needs that trusts ``authority``, and shows its own certificate."""
    context = ssl.create_default_context(cafile=str(authority))
    if own is not None:
        context.load_cert_chain(*own)
    return context


def client(address: Address, verify: ssl.SSLContext) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=f"https://{address}", verify=verify, trust_env=False, timeout=PATIENCE)


async def until(holds: Callable[[], object]) -> None:
    with trio.fail_after(PATIENCE):
        while not holds():  # noqa: ASYNC110 - nothing tells of a counter
            await trio.sleep(0.005)


async def test_requests_and_events_are_answered_under_tls(files: tuple[Path, Path]) -> None:
    async with serving(ServerTls(*files)) as address, client(address, trusting(files[0])) as http:
        for _ in range(3):
            assert (await http.get("/api/v1/node")).json()["name"] == "alpha"
        made = await http.put("/api/v1/instances", json={"service": "orders", "port": 80, "meta": {"k": "v" * 60_000}})
        assert made.status_code == 201
        assert len((await http.get("/api/v1/services/orders")).content) > 60_000


async def test_events_come_under_tls_as_they_happen(files: tuple[Path, Path]) -> None:
    async with serving(ServerTls(*files)) as address, await trio.open_tcp_stream(*address) as stream:
        secure = trio.SSLStream(stream, trusting(files[0]), server_hostname="127.0.0.1")
        await secure.send_all(b"GET /api/v1/events HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        said = b""
        with trio.fail_after(PATIENCE):
            while b"event: snapshot" not in said:
                said += await secure.receive_some()
            async with client(address, trusting(files[0])) as http:
                await http.put("/api/v1/instances", json={"service": "orders", "port": 80})
            while b"event: instance-added" not in said:
                said += await secure.receive_some()


async def test_a_client_that_is_told_that_no_more_comes_sees_a_clean_end(files: tuple[Path, Path]) -> None:
    counters = Counter[str]()
    async with serving(ServerTls(*files), counters=counters) as address:
        stream = await trio.open_tcp_stream(*address)
        secure = trio.SSLStream(stream, trusting(files[0]), server_hostname="127.0.0.1")
        await secure.send_all(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
        said = b""
        with trio.fail_after(PATIENCE):
            while data := await secure.receive_some():
                said += data
            await secure.aclose()
        assert said.startswith(b"HTTP/1.1 200 OK")
        async with client(address, trusting(files[0])) as http:
            await http.get("/healthz")  # and then it closes a connection that is kept
        async with client(address, trusting(files[0])) as http:
            large = await http.put("/api/v1/instances", content=b"x" * 1_000_000)
            assert large.status_code == 413, "which it sees although it was still sending"
    assert counters == {}


async def test_what_is_no_tls_ends_and_is_counted(files: tuple[Path, Path]) -> None:
    counters = Counter[str]()
    async with serving(ServerTls(*files), counters=counters) as address:
        async with await trio.open_tcp_stream(*address) as stream:
            await stream.send_all(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            with trio.fail_after(PATIENCE):
                while await stream.receive_some():
                    pass
        await until(lambda: counters["http_tls_failed"])
        async with client(address, ssl.create_default_context()) as distrustful:
            with pytest.raises(httpx.ConnectError):
                await distrustful.get("/healthz")
        await until(lambda: counters["http_tls_failed"] == 2)


async def test_a_check_that_opens_the_port_and_closes_it_is_no_failed_handshake(files: tuple[Path, Path]) -> None:
    counters = Counter[str]()
    async with serving(ServerTls(*files), counters=counters) as address:
        async with await trio.open_tcp_stream(*address) as stream:
            await stream.send_eof()
            with trio.fail_after(PATIENCE):
                assert await stream.receive_some() == b""
        assert counters["http_tls_failed"] == 0


async def test_a_client_that_never_shakes_hands_is_let_go(
    files: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "REQUEST_SECONDS", 0.05)
    async with serving(ServerTls(*files)) as address, await trio.open_tcp_stream(*address) as stream:
        with trio.fail_after(PATIENCE):
            assert await stream.receive_some() == b""


async def test_tls_below_1_2_is_not_spoken(files: tuple[Path, Path]) -> None:
    old = trusting(files[0])
    with pytest.warns(DeprecationWarning, match="TLSv1 is deprecated"):
        old.minimum_version = ssl.TLSVersion.TLSv1
    with pytest.warns(DeprecationWarning, match="TLSv1_1 is deprecated"):
        old.maximum_version = ssl.TLSVersion.TLSv1_1
    async with serving(ServerTls(*files)) as address, client(address, old) as http:
        with pytest.raises(httpx.ConnectError):
            await http.get("/healthz")


# A new certificate


async def test_a_renewed_certificate_is_for_new_connections_and_ends_none(tmp_path: Path) -> None:
    files = certificate("127.0.0.1", tmp_path)
    tls = ServerTls(*files)
    before = trusting(files[0])
    async with serving(tls) as address, client(address, before) as old:
        assert (await old.get("/healthz")).status_code == 200
        certificate("127.0.0.1", tmp_path)
        tls.reload()
        assert (await old.get("/healthz")).status_code == 200, "its connection goes on"
        async with client(address, trusting(files[0])) as new:
            assert (await new.get("/healthz")).status_code == 200
        async with client(address, before) as late:
            with pytest.raises(httpx.ConnectError):
                await late.get("/healthz")


async def test_files_that_cannot_be_used_leave_the_certificate_that_there_was(tmp_path: Path) -> None:
    files = certificate("127.0.0.1", tmp_path)
    tls = ServerTls(*files)
    trusted = trusting(files[0])
    files[0].write_text("junk")
    with pytest.raises(ConfigError, match="they are not a certificate and its key in PEM"):
        tls.reload()
    async with serving(tls) as address, client(address, trusted) as http:
        assert (await http.get("/healthz")).status_code == 200


def test_files_that_cannot_be_used_are_named(tmp_path: Path, files: tuple[Path, Path]) -> None:
    pem, key = files
    with pytest.raises(ConfigError, match=f"tls_cert: cannot read {tmp_path / 'none'}: No such file"):
        ServerTls(tmp_path / "none", key)
    (tmp_path / "other").mkdir()
    _, other_key = certificate("127.0.0.1", tmp_path / "other")
    with pytest.raises(ConfigError, match=f"tls_cert {pem}, tls_key {other_key}: they are not a certificate and its"):
        ServerTls(pem, other_key)
    hidden(tmp_path / "junk", "junk")
    with pytest.raises(ConfigError, match=f"tls_client_ca {tmp_path / 'junk'}: it holds no certificate in PEM"):
        ServerTls(pem, key, tmp_path / "junk")
    key.chmod(0o644)
    with pytest.raises(UnsafeFile, match=r"tls_key: .*chmod"):
        ServerTls(pem, key)


def test_a_key_with_a_passphrase_is_refused_and_none_is_asked_for(tmp_path: Path, files: tuple[Path, Path]) -> None:
    from cryptography.hazmat.primitives import serialization

    key = serialization.load_pem_private_key(files[1].read_bytes(), None)
    locked = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"secret")
    )
    hidden(tmp_path / "locked", locked.decode())
    with pytest.raises(ConfigError, match="without a passphrase"):
        ServerTls(files[0], tmp_path / "locked")


# Clients with certificates


async def test_a_clients_certificate_stands_for_the_token_of_its_name(tmp_path: Path, files: tuple[Path, Path]) -> None:
    authority, own = {}, {}
    for name in ("ops.example", "dev.example"):
        (tmp_path / name).mkdir()
        authority[name], own[name] = certificate(name, tmp_path / name)
    both = tmp_path / "clients.pem"
    both.write_bytes(b"".join(each.read_bytes() for each in authority.values()))
    tokens = tmp_path / "tokens.toml"
    hidden(tokens, TOKENS)
    tls = ServerTls(*files, both)

    async with serving(tls, access=Access.from_file(tokens)) as address:

        async def asked(
            method: str, path: str, shown: tuple[Path, Path] | None = None, token: str | None = None
        ) -> int:
            headers = {} if token is None else {"Authorization": f"Bearer {token}"}
            async with client(address, trusting(files[0], shown)) as http:
                return (await http.request(method, path, headers=headers)).status_code

        ops = authority["ops.example"], own["ops.example"]
        dev = authority["dev.example"], own["dev.example"]
        assert await asked("PUT", "/api/v1/drain", ops) == 200
        assert await asked("PUT", "/api/v1/drain") == 401
        assert await asked("PUT", "/api/v1/drain", dev) == 401, "no token is for that name"
        assert await asked("PUT", "/api/v1/drain", ops, token="the-token-of-the-page") == 403, "a token comes first"
        assert await asked("GET", "/api/v1/node", dev, token="the-token-of-the-page") == 200
        assert await asked("PUT", "/api/v1/drain", token="certificate:ops.example") == 401, "a name is no secret"


async def test_a_certificate_of_another_authority_is_refused(tmp_path: Path, files: tuple[Path, Path]) -> None:
    for name in ("known", "stranger"):
        (tmp_path / name).mkdir()
    known, _ = certificate("ops.example", tmp_path / "known")
    stranger = certificate("ops.example", tmp_path / "stranger")
    tls = ServerTls(*files, known)
    async with serving(tls) as address, client(address, trusting(files[0], stranger)) as http:
        with pytest.raises(httpx.TransportError):
            await http.get("/api/v1/node")


@pytest.mark.parametrize("target", ["?token=%00certificate%3Aops.example", "?token=certificate:ops.example"])
async def test_no_client_can_write_what_a_certificate_stands_for(tmp_path: Path, target: str) -> None:
    tokens = tmp_path / "tokens.toml"
    hidden(tokens, TOKENS)
    access = Access.from_file(tokens)
    async with trio.open_nursery() as nursery:
        serve = partial(serve_http, FakeNode(), Address("127.0.0.1", 0), leave=lambda: None, access=access)
        address = await nursery.start(partial(serve, compatibility_apis=load(COMPATIBILITY_APIS)))
        async with httpx.AsyncClient(base_url=f"http://{address}", trust_env=False) as http:
            assert (await http.get(f"/v1/catalog/services{target}")).status_code == 403
            token = unquote(target.partition("=")[2])
            body = {"node": {"metadata": {"gossipreg": {"token": token}}}, "resource_names": ["orders"]}
            assert (await http.post("/v3/discovery:endpoints", json=body)).status_code == 401
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("certificate", "name"),
    [
        ({}, None),
        ({"subject": ((("commonName", "ops"),),)}, "ops"),
        ({"subject": ((("commonName", "ops"),),), "subjectAltName": (("DNS", "ops.example"),)}, "ops.example"),
        ({"subjectAltName": (("DNS", "ops.example"), ("URI", "spiffe://shop/ops"))}, "spiffe://shop/ops"),
        ({"subjectAltName": (("IP Address", "10.0.0.1"),)}, None),
    ],
)
def test_a_client_is_known_by_the_first_name_in_its_certificate(
    certificate: dict[str, object], name: str | None
) -> None:
    assert name_in(certificate) == name
