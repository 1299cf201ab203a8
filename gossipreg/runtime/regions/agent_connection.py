"""Agent connection: requests to one agent of another region over HTTP, each answered before the next."""

from __future__ import annotations

import json
import ssl
from collections.abc import Callable
from typing import Final, Protocol

import attrs
import h11
import trio

from gossipreg import limits
from gossipreg.errors import ConfigError
from gossipreg.failures import reason_of
from gossipreg.federation import AgentPlace, Federation
from gossipreg.json_documents import read_json
from gossipreg.runtime.files import read_secret
from gossipreg.runtime.regions.remote_region import RemoteRequest
from gossipreg.text import blanked, shortened
from gossipreg.values import frozen

#: How long an agent may take to accept a connection (seconds), with name resolution and TLS.
CONNECT_SECONDS: Final = 10.0

#: The path of the requests.
PATH: Final = "/api/v1/follow"

_HEAD_BYTES_MAX: Final = 16_384
_READ_BYTES: Final = 65_536

#: Pieces in which an answer may come, and interim answers before it: each costs work, however short it is.
_PIECES_MAX: Final = 65_536
_INTERIM_MAX: Final = 8

#: What is read of the answer to a request that was refused (bytes).
_REFUSAL_BYTES_MAX: Final = 4096


class AgentFailed(Exception):
    """An agent of another region cannot be reached, refuses, or is silent; the message says what of it."""


#: Is told how many more bytes of an answer have come.
Progress = Callable[[int], None]


class AgentLink(Protocol):
    """One connection to an agent."""

    async def ask(self, request: RemoteRequest, progress: Progress) -> bytes:
        """The body of the agent's answer; ``progress`` is told of its parts. Raises `AgentFailed`."""
        ...

    async def aclose(self) -> None:
        """Close it at once."""
        ...


class Connector(Protocol):
    """Makes connections to agents."""

    async def __call__(self, federation: Federation, place: AgentPlace, region: str) -> AgentLink:
        """A connection to the agent at ``place``, for a node in ``region``. Raises `AgentFailed`."""
        ...


@frozen
class _Secrets:
    token: str | None
    tls: ssl.SSLContext | None

    @classmethod
    def of(cls, federation: Federation, place: AgentPlace) -> _Secrets:
        """Read what the files hold now. It blocks on the disk. Raises `AgentFailed`."""
        try:
            token = federation.token
            if federation.token_file is not None:
                token = read_secret(federation.token_file).decode().strip()
                if not token or not all("!" <= each <= "~" for each in token):
                    raise AgentFailed(f"token_file {federation.token_file} holds no token")
            return cls(token, _context(federation) if place.is_tls else None)
        except (OSError, UnicodeDecodeError, ConfigError) as error:
            raise AgentFailed(f"a file cannot be used: {reason_of(error)}") from None


def _context(federation: Federation) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=federation.ca_file)
    except OSError as error:  # it does not name the file
        raise AgentFailed(f"ca_file {federation.ca_file} cannot be used: {reason_of(error)}") from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if federation.cert_file is not None:
        read_secret(federation.cert_file)
        try:
            context.load_cert_chain(federation.cert_file, password=lambda: "")
        except OSError as error:
            raise AgentFailed(f"cert_file {federation.cert_file} cannot be used: {reason_of(error)}") from None
    return context


@attrs.define(eq=False, repr=False)
class _Answer:
    """One answer as far as it has come. Methods raise `AgentFailed` beyond a limit."""

    status: int = 0
    body: bytearray = attrs.field(factory=bytearray)
    _bytes: int = 0  # with heads and frames of chunks
    _pieces: int = 0
    _interim: int = 0

    def count(self, received: int) -> None:
        """So many bytes more have been received."""
        self._bytes += received
        if self._bytes > 2 * limits.REGION_ANSWER_BYTES_MAX + _HEAD_BYTES_MAX:
            raise AgentFailed("its answer is mostly frames of chunks")

    def take(self, event: object) -> bool:
        """Take up what h11 has read; returns whether that is the end."""
        match event:
            case h11.Response(status_code=status):
                self.status = status
            case h11.Data(data=data):
                self.body += data
                self._pieces += 1
                most = limits.REGION_ANSWER_BYTES_MAX if self.status == 200 else _REFUSAL_BYTES_MAX
                if len(self.body) > most:
                    raise AgentFailed(f"its answer has more than {most} bytes")
                if self._pieces > _PIECES_MAX:
                    raise AgentFailed(f"its answer comes in more than {_PIECES_MAX} pieces")
            case h11.InformationalResponse():
                self._interim += 1
                if self._interim > _INTERIM_MAX:
                    raise AgentFailed(f"it sends more than {_INTERIM_MAX} interim answers")
            case h11.EndOfMessage():
                return True
            case _:
                raise AgentFailed("it closed the connection")
        return False


@attrs.define(eq=False, repr=False)
class AgentConnection:
    """A connection over TCP, with TLS if the agent speaks that."""

    _stream: trio.abc.Stream
    _host: str
    _token: str | None
    _region: str
    _http: h11.Connection = attrs.field(
        factory=lambda: h11.Connection(h11.CLIENT, max_incomplete_event_size=_HEAD_BYTES_MAX)
    )

    @classmethod
    async def open(cls, federation: Federation, place: AgentPlace, region: str) -> AgentConnection:
        """See `Connector`."""
        try:
            with trio.fail_after(CONNECT_SECONDS):
                secrets = await trio.to_thread.run_sync(_Secrets.of, federation, place)
                stream: trio.abc.Stream = await trio.open_tcp_stream(*place.address)
                if secrets.tls is not None:
                    try:
                        stream = trio.SSLStream(
                            stream, secrets.tls, server_hostname=place.address.host, https_compatible=True
                        )
                        await stream.do_handshake()
                    except BaseException:
                        await trio.aclose_forcefully(stream)
                        raise
        except trio.TooSlowError:
            raise AgentFailed(f"it does not accept a connection within {CONNECT_SECONDS:g} s") from None
        except (OSError, trio.BrokenResourceError, ssl.SSLError) as error:
            raise AgentFailed(_reason(error)) from None
        return cls(stream, str(place.address), secrets.token, region)

    async def aclose(self) -> None:
        """See `AgentLink`."""
        await trio.aclose_forcefully(self._stream)

    async def ask(self, request: RemoteRequest, progress: Progress) -> bytes:
        """See `AgentLink`."""
        document = {
            "region": self._region,
            "run": request.run,
            "directory": request.directory,
            "services": request.services,
            "wait": request.wait,
        }
        body = json.dumps(document, separators=(",", ":")).encode()
        headers = [
            ("Host", self._host),
            ("Content-Type", "application/json"),
            ("Content-Length", str(len(body))),
            *([] if self._token is None else [("Authorization", f"Bearer {self._token}")]),
        ]
        try:
            head = self._http.send(h11.Request(method="POST", target=PATH, headers=headers))
            sent = self._http.send(h11.Data(data=body))
            end = self._http.send(h11.EndOfMessage())
            await self._stream.send_all(b"".join(each for each in (head, sent, end) if each))
            return await self._answer(progress)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise AgentFailed(f"the connection broke: {reason_of(error)}") from None
        except h11.ProtocolError as error:
            raise AgentFailed(f"it does not speak HTTP/1.1: {shortened(blanked(str(error)))}") from None

    async def _answer(self, progress: Progress) -> bytes:
        answer = _Answer()
        while True:
            event = self._http.next_event()
            if event is h11.NEED_DATA:
                received = bytes(await self._stream.receive_some(_READ_BYTES))
                if not received and self._http.their_state is not h11.SEND_BODY:
                    raise AgentFailed("it closed the connection")
                answer.count(len(received))
                progress(len(received))
                self._http.receive_data(received)
            elif answer.take(event):
                break
        status, body = answer.status, bytes(answer.body)
        if status != 200:
            raise AgentFailed(_refusal(status, body))
        if self._http.trailing_data[0]:  # it would be taken as the answer to the next request
            raise AgentFailed("it sends more than one answer to a request")
        if h11.MUST_CLOSE not in (self._http.our_state, self._http.their_state):
            self._http.start_next_cycle()
        return body


def _refusal(status: int, body: bytes) -> str:
    """A sentence for an answer that is none."""
    try:
        said = read_json(body)["error"]
    except (ValueError, KeyError, TypeError):
        said = ""
    if status in (401, 403):
        return f"it asks for a token with the scope federate ({status}): see token_file"
    if status == 404:
        return "it is no agent, or one of a release that cannot be followed (404)"
    told = f": {shortened(blanked(said))}" if isinstance(said, str) and said else ""
    return f"it answers {status}{told}"


def _reason(error: BaseException) -> str:
    """Why a connection could not be made, in a few words."""
    cause: BaseException = error
    while cause.__cause__ is not None and not getattr(cause, "verify_message", None):
        cause = cause.__cause__
    untrusted = getattr(cause, "verify_message", None)
    if untrusted:
        return f"its certificate is not trusted: {untrusted}: see ca_file"
    return shortened(reason_of(cause), 160)
