"""One run of a check of each kind: its request, its finding, and what it leaves behind."""

from __future__ import annotations

import errno
import os
import socket
import ssl
import sys
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio
import trio.lowlevel
import trio.testing
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gossipreg import limits
from gossipreg.check import Check
from gossipreg.errors import InvalidInstance
from gossipreg.model import Address, Health
from gossipreg.protocol.registry.checks import Finding
from gossipreg.runtime.checks import dialing, http
from gossipreg.runtime.checks.dialing import AllowedTargets
from gossipreg.runtime.checks.probing import probe
from gossipreg.targets import DEFAULT_TARGETS, CheckRules, literal
from tests.runtime.checks.targets import Target, serving


async def run(check: Check, *, commands: bool = False, allowed: AllowedTargets = AllowedTargets()) -> Finding:  # noqa: B008 -- frozen
    finding = await probe(check, commands=commands, allowed=allowed)
    assert finding is not None
    return finding


def unused_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


# HTTP


@pytest.mark.parametrize(
    ("status", "expected", "health"),
    [
        (200, (), Health.PASSING),
        (204, (), Health.PASSING),
        (301, (), Health.CRITICAL),
        (429, (), Health.WARNING),
        (500, (), Health.CRITICAL),
        (301, (301,), Health.PASSING),
        (429, (429,), Health.PASSING),
        (200, (204, 301), Health.CRITICAL),
    ],
)
async def test_the_status_of_the_answer_decides(status: int, expected: tuple[int, ...], health: Health) -> None:
    async with serving() as target:
        target.status = status
        target.body = b"" if status == 204 else target.body
        finding = await run(Check(http=target.url, status=expected))
        assert finding.health is health
        assert finding.text.partition("\n")[0] == f"{status} {HTTPStatus(status).phrase}"


async def test_the_request_is_what_was_asked_for_and_is_closed_behind() -> None:
    async with serving() as target:
        check = Check(http=f"{target.url}?deep=1", method="HEAD", headers={"host": "orders.example", "X-Key": "a b"})
        allowed = AllowedTargets(CheckRules.of(DEFAULT_TARGETS, ["Host"]))
        assert (await run(check, allowed=allowed)).health is Health.PASSING
        [head] = target.asked
        lines = head.decode().splitlines()
        assert lines[0] == "HEAD /health?deep=1 HTTP/1.1"
        assert {line.lower() for line in lines[1:] if line} == {
            "host: orders.example", "x-key: a b", "user-agent: gossipreg", "accept: */*", "connection: close",
        }  # fmt: skip


async def test_an_interface_in_a_url_is_dialled_and_not_told(monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving() as target:
        dialled: list[tuple[str, int]] = []
        port = int(target.url.rpartition(":")[2].partition("/")[0])

        async def dial(host: str, port: int, _: AllowedTargets) -> trio.SocketStream:
            dialled.append((host, port))
            return await trio.open_tcp_stream("127.0.0.1", port)

        monkeypatch.setattr(http, "dial", dial)
        allowed = AllowedTargets(CheckRules.of(["fe80::/10"], ()))
        check = Check(http=f"http://[fe80::1%25eth0]:{port}/health")
        assert (await run(check, allowed=allowed)).health is Health.PASSING
        assert dialled == [("fe80::1%eth0", port)]
        [head] = target.asked
        assert f"host: [fe80::1]:{port}" in head.decode().lower().splitlines()


hostile = st.text(st.characters(codec="latin-1"), max_size=20) | st.sampled_from(
    ["app..svc", "a" * 64, ".", "%25", "[", "]", "fe80::1%25x", "[::1]", "::", "0.0.0.0", "Host", "host", "\r\n", "a:b"]
)


@given(
    host=hostile | st.sampled_from(["a", "[::1]", "[fe80::1%25eth0]", "127.0.0.1", "x_y.z."]),
    port=st.sampled_from(["", ":80", ":0", ":99999", ":x"]),
    path=hostile.map(lambda text: f"/{text}"),
    headers=st.dictionaries(hostile, hostile, max_size=3),
    method=st.sampled_from(["GET", "HEAD", "POST", "PUT", "OPTIONS"]),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_a_check_that_is_taken_can_be_run(
    monkeypatch: pytest.MonkeyPatch, host: str, port: str, path: str, headers: dict[str, str], method: str
) -> None:
    try:
        check = Check(http=f"http://{host}{port}{path}", headers=headers, method=method)
    except InvalidInstance:
        return

    async def dial(host: str, port: int, _: AllowedTargets) -> trio.abc.Stream:
        resolve_without_asking(host, port)
        ours, theirs = trio.testing.memory_stream_pair()
        await theirs.send_eof()
        return ours

    monkeypatch.setattr(http, "dial", dial)
    finding = trio.run(run, check)
    refused = check.flaw(CheckRules(), ())
    assert finding.text == ("it hung up without an answer" if refused is None else refused[1])


@given(target=st.tuples(hostile, st.sampled_from(["", ":80", ":0", ":-1"]), st.sampled_from(["", "/x"])).map("".join))
@settings(deadline=None)
def test_a_target_that_is_taken_can_be_looked_up(target: str) -> None:
    for fields in ({"tcp": target}, {"grpc": target}):
        try:
            check = Check(**fields)  # type: ignore[arg-type]
        except InvalidInstance:
            continue
        resolve_without_asking(*Address.parse(check.target.partition("/")[0]))


def resolve_without_asking(host: str, port: int) -> None:
    """Hand a host to the resolver, which raises ``UnicodeError`` for what cannot be one, but ask no name server."""
    with suppress(socket.gaierror):
        socket.getaddrinfo(host, port, flags=socket.AI_NUMERICHOST)


async def test_a_redirect_is_not_followed() -> None:
    async with serving() as target, serving() as elsewhere:
        target.status, target.headers = 302, b"location: %s\r\n" % elsewhere.url.encode()
        assert (await run(Check(http=target.url))).text.startswith("302")
        assert elsewhere.asked == []


async def test_no_proxy_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving() as target, serving() as proxy:
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{proxy.port}")
        await run(Check(http=target.url))
        assert (len(target.asked), len(proxy.asked)) == (1, 0)


async def test_a_body_without_end_is_not_read_to_its_end() -> None:
    async with serving() as target:
        target.body = b"x" * 50_000_000
        finding = await run(Check(http=target.url))
        assert finding.health is Health.PASSING
        assert len(finding.text) < limits.CHECK_OUTPUT_BYTES_MAX + 100


@pytest.mark.parametrize(
    ("raw", "sentence"),
    [
        (b"SSH-2.0-OpenSSH\r\n\r\n", "what answers does not speak HTTP/1.1\n"),
        (b"", "it hung up without an answer"),
        (b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 10_000 + b"\r\n", "what answers does not speak HTTP/1.1\n"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nab", "what answers does not speak HTTP/1.1\n"),
    ],
    ids=["another protocol", "nothing", "a head without end", "cut short"],
)
async def test_what_is_no_answer_is_critical(raw: bytes, sentence: str) -> None:
    async with serving() as target:
        target.raw = raw
        finding = await run(Check(http=target.url))
        assert finding.health is Health.CRITICAL
        assert finding.text.startswith(sentence)


async def test_a_refused_connection_is_reported_in_words() -> None:
    for check in (Check(http=f"http://127.0.0.1:{unused_port()}/"), Check(tcp=f"127.0.0.1:{unused_port()}")):
        assert await run(check) == Finding(Health.CRITICAL, "connection refused")


async def test_a_name_that_does_not_exist_is_said_in_words() -> None:
    finding = await run(Check(tcp="no-such-host.invalid:1", timeout=60))
    assert finding.health is Health.CRITICAL
    assert "\n" not in finding.text


async def test_a_target_that_hangs_is_given_up_and_hung_up_on(mock_clock: trio.testing.MockClock) -> None:
    async with serving() as target:
        target.hangs = True

        async def pass_time() -> None:
            await target.was_asked.wait()
            mock_clock.jump(2)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(pass_time)
            assert await run(Check(http=target.url, timeout=2)) == Finding(Health.CRITICAL, "no answer within 2 s")
        while target.open:
            await trio.lowlevel.checkpoint()


async def test_a_run_that_ended_much_too_late_says_nothing_because_this_node_was_stopped(
    mock_clock: trio.testing.MockClock,
) -> None:
    async with serving() as target:
        target.hangs = True

        async def stop() -> None:
            await target.was_asked.wait()
            mock_clock.jump(0.4)  # as after SIGSTOP: nothing ran

        async with trio.open_nursery() as nursery:
            nursery.start_soon(stop)
            assert await probe(Check(http=target.url, timeout=0.05), commands=False, allowed=AllowedTargets()) is None


# TLS


def certificate(directory: Path) -> ssl.SSLContext:
    """A server's context with a self-signed certificate for 127.0.0.1."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "orders")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    file = directory / "server.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file.write_bytes(private + made.public_bytes(serialization.Encoding.PEM))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(file)
    return context


async def test_a_self_signed_certificate_is_refused_unless_verification_is_off(tmp_path: Path) -> None:
    async def secure(target: Target, **fields: Any) -> Finding:
        return await run(Check(http=target.url.replace("http:", "https:"), **fields))

    async with serving(certificate(tmp_path)) as target:
        refused = await secure(target)
        assert refused.health is Health.CRITICAL
        assert refused.text.startswith("its certificate is not to be trusted: self-signed certificate")
        assert (await secure(target, verify=False)).health is Health.PASSING


# TCP


async def test_to_accept_a_connection_is_enough() -> None:
    async with serving() as target:
        finding = await run(Check(tcp=f"localhost:{target.port}"))
        assert finding == Finding(Health.PASSING, f"localhost:{target.port} accepts connections")


# Commands


def python(code: str, **fields: Any) -> Check:
    return Check(command=[sys.executable, "-S", "-c", code], **({"timeout": 20} | fields))


@pytest.mark.parametrize(("status", "health"), [(0, Health.PASSING), (1, Health.WARNING), (2, Health.CRITICAL)])
async def test_the_exit_status_of_a_command_decides(status: int, health: Health) -> None:
    finding = await run(python(f"print('so so'); raise SystemExit({status})"), commands=True)
    assert finding == Finding(health, f"exit status {status}\nso so")


async def test_a_command_is_not_run_where_that_is_off(tmp_path: Path) -> None:
    finding = await run(Check(command=["touch", str(tmp_path / "made")]))
    assert finding == Finding(Health.CRITICAL, "command checks are off on this node: see command_checks")
    assert not (tmp_path / "made").exists()


async def test_a_program_that_is_not_there_is_critical() -> None:
    finding = await run(Check(command=["/no/such/program"]), commands=True)
    assert finding == Finding(Health.CRITICAL, "cannot run /no/such/program: No such file or directory")


async def test_no_shell_reads_the_command() -> None:
    finding = await run(Check(command=["/bin/echo", "$HOME; ls"]), commands=True)
    assert finding.text == "exit status 0\n$HOME; ls"


async def test_output_is_bounded_and_its_writer_does_not_wait() -> None:
    finding = await run(python("print('x' * 5_000_000)"), commands=True)
    assert finding.health is Health.PASSING
    assert len(finding.text) <= limits.CHECK_OUTPUT_BYTES_MAX + 20


async def test_a_command_that_hangs_is_killed_with_what_it_started(
    tmp_path: Path, mock_clock: trio.testing.MockClock
) -> None:
    pids, found = tmp_path / "pids", []
    script = 'sleep 600 & echo $$ $! > "$0.new"; mv "$0.new" "$0"; wait'

    async def check() -> None:
        found.append(await run(Check(command=["/bin/sh", "-c", script, str(pids)], timeout=2), commands=True))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(check)
        while not pids.exists():
            await trio.lowlevel.checkpoint()
        mock_clock.jump(2)  # only now: the shell may take its time on a busy machine
    assert found == [Finding(Health.CRITICAL, "no answer within 2 s")]
    for pid in map(int, pids.read_text().split()):
        while is_running(pid):
            await trio.lowlevel.checkpoint()


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    stat = Path(f"/proc/{pid}/stat")
    return not stat.exists() or stat.read_text().split()[2] != "Z"


# What may be contacted


@attrs.define
class Names:
    """A resolver whose answers a test decides; each name's answers are given one after the other, the last for good."""

    answers: dict[str, list[str]] = attrs.field(factory=dict)  # by the first label
    asked: list[str] = attrs.field(factory=list)

    async def addresses(self, host: str, port: int) -> list[Any]:
        found = [host]
        if literal(host) is None:
            self.asked.append(host)
            answers = self.answers.get(host.partition(".")[0])
            if answers is None:
                raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
            found = (answers.pop(0) if len(answers) > 1 else answers[0]).split()
        return [each for one in found for each in socket.getaddrinfo(one, port, type=socket.SOCK_STREAM)]


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Names:
    made = Names()
    monkeypatch.setattr(dialing, "_addresses", made.addresses)
    return made


@pytest.fixture
def connected(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The addresses that were connected to; of those beyond loopback none takes it."""
    made: list[str] = []
    connect = dialing._connected

    async def connect_nearby(found: Any) -> trio.SocketStream:
        address = str(found[4][0])
        made.append(address)
        if not address.startswith("127."):
            raise ConnectionRefusedError(errno.ECONNREFUSED, "refused")
        return await connect(found)

    monkeypatch.setattr(dialing, "_connected", connect_nearby)
    return made


def checks_of(host: str, port: int = 1) -> list[Check]:
    return [
        Check(http=f"http://{host}:{port}/"),
        Check(http=f"https://{host}:{port}/"),
        Check(tcp=f"{host}:{port}"),
        Check(grpc=f"{host}:{port}"),
        Check(grpc=f"{host}:{port}", tls=True),
    ]


@pytest.mark.parametrize("host", ["169.254.169.254", "[::ffff:169.254.169.254]", "[fd00:ec2::254]", "8.8.8.8"])
async def test_an_address_that_may_not_be_contacted_is_not(host: str, connected: list[str]) -> None:
    for check in checks_of(host):
        finding = await run(check)
        assert finding.health is Health.CRITICAL
        bare = host.strip("[]")
        assert finding.text == f"{bare} may not be contacted by checks of this node: see check_targets"
    assert connected == []


@pytest.mark.parametrize("kind", range(5))
async def test_a_name_is_checked_by_its_resolved_addresses(kind: int, names: Names, connected: list[str]) -> None:
    names.answers["metadata"] = ["169.254.169.254 ::ffff:100.100.100.200 8.8.8.8"]
    check = checks_of("metadata.example")[kind]
    finding = await run(check)
    assert finding.health is Health.CRITICAL
    first, second = finding.text.split("\n")
    assert (
        first == "metadata.example leads to no address that may be contacted by checks of this node: see check_targets"
    )
    assert second == "its addresses are 169.254.169.254, ::ffff:100.100.100.200, 8.8.8.8"
    assert connected == []


async def test_a_name_that_leads_elsewhere_later_gains_nothing(names: Names, connected: list[str]) -> None:
    async with serving() as target:
        names.answers["rebound"] = ["127.0.0.1", "169.254.169.254"]
        check = Check(http=f"http://rebound.example:{target.port}/")
        assert (await run(check)).health is Health.PASSING
        assert connected == ["127.0.0.1"]
        assert names.asked == ["rebound.example"], "the checked address is the contacted one: the name is resolved once"
        assert (await run(check)).text.startswith("rebound.example leads to no address that may be contacted")
        assert connected == ["127.0.0.1"]


async def test_of_several_addresses_those_that_may_be_contacted_are(names: Names, connected: list[str]) -> None:
    async with serving() as target:
        names.answers["both"] = ["169.254.169.254 127.0.0.1"]
        assert (await run(Check(tcp=f"both.example:{target.port}"))).health is Health.PASSING
        assert connected == ["127.0.0.1"]


async def test_an_instances_own_host_may_be_contacted_by_any_of_its_names(names: Names, connected: list[str]) -> None:
    names.answers |= {"web": ["203.0.113.5"], "alias": ["203.0.113.5"], "other": ["203.0.113.6"]}
    allowed = AllowedTargets(CheckRules(), ("web.example", "10.0.0.1", "gone.example"))
    for host in ("web.example", "alias.example", "203.0.113.5"):
        assert (await run(Check(tcp=f"{host}:1"), allowed=allowed)).text == "connection refused"
    assert (await run(Check(tcp="other.example:1"), allowed=allowed)).text.startswith(
        "other.example leads to no address"
    )
    assert connected == ["203.0.113.5"] * 3


@pytest.mark.parametrize("location", ["http://169.254.169.254/latest/", "http://127.0.0.1:1/"])
async def test_a_redirect_leads_nowhere(location: str, connected: list[str]) -> None:
    async with serving() as target:
        for status in (301, 302, 303, 307, 308):
            target.status, target.headers = status, b"location: %s\r\n" % location.encode()
            assert (await run(Check(http=target.url))).text.startswith(f"{status} ")
    assert connected == ["127.0.0.1"] * 5
    assert len(target.asked) == 5


async def test_a_forged_header_is_not_sent() -> None:
    async with serving() as target:
        finding = await run(Check(http=target.url, headers={"Metadata-Flavor": "Google"}))
        assert finding.health is Health.CRITICAL
        assert finding.text == "Metadata-Flavor may not be sent by checks of this node: see check_headers"
        assert target.asked == []


@pytest.mark.parametrize(
    "raw", [b"-ERR secret\r\n\r\n", b"HTTP/1.1 403 secret\r\n\r\n", b"HTTP/1.1 200 secret\r\n\r\nsecret"]
)
async def test_what_all_nodes_are_told_is_nothing_that_the_target_says(raw: bytes) -> None:
    async with serving() as target:
        target.raw = raw
        finding = await run(Check(http=target.url))
        assert "secret" not in finding.text.partition("\n")[0]
