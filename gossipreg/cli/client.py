"""Agent client: the HTTP API of one agent as the commands use it, with errors for people."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final, Self

import attrs

from gossipreg.errors import AgentRefused, AgentUnreachable, ConfigError, GossipregError
from gossipreg.model import Address, SocketFile, place

if TYPE_CHECKING:
    from http.client import HTTPConnection, HTTPMessage, HTTPResponse

#: How long an agent may take to answer, or to be silent in the middle of an answer (seconds).
PATIENCE: Final = 5.0

#: How long a stream of events may be silent (seconds). An agent sends something every 15 s, if only a comment: twice
#: as long means that the connection is dead.
SILENCE: Final = 30.0


@attrs.frozen
class AgentClient:
    """The HTTP API of one agent. Each call is one request on a connection of its own.

    Raises ``AgentUnreachable`` when there is no answer, and ``AgentRefused`` with the agent's own sentence and code
    when it refuses.
    """

    address: Address | SocketFile
    token: str | None = attrs.field(default=None, repr=False)
    patience: float | None = None  # how long an answer may take (seconds), if not the usual time
    is_tls: bool = False  # whether it speaks HTTPS; see `client_tls` for what the client trusts and shows

    @classmethod
    def at(cls, text: str, option: str = "--http") -> Self:
        """The agent at ``HOST:PORT``, ``http://``, ``https://HOST:PORT`` or ``unix:/path``, as ``option`` says.

        Raises ``ConfigError`` that names the option.
        """
        is_tls = text.startswith("https://")
        try:
            where = place(text.removeprefix("https://" if is_tls else "http://").removesuffix("/"))
            if isinstance(where, Address):
                where.check_called()
        except ConfigError as error:
            more = "http://HOST:PORT, https://HOST:PORT and unix:/path are taken, too"
            raise ConfigError(f"{option}: {error}; {more}") from None
        return cls(where, is_tls=is_tls and isinstance(where, Address))

    def get(self, *path: str, **query: str | None) -> Any:
        """The JSON document at ``/api/v1/path...``; a query of None is not asked."""
        return self._ask("GET", self._target(path, query))[0]

    def lookup(self, *path: str, **query: str | None) -> Any:
        """What `get` returns, with ``isolated`` and ``reachable`` if the agent sends them as headers."""
        document, headers = self._ask("GET", self._target(path, query))
        isolated, reachable = headers["X-Gossipreg-Isolated"], headers["X-Gossipreg-Reachable"]
        if isolated is not None and reachable is not None:
            document |= {"isolated": isolated == "true", "reachable": float(reachable)}
        return document

    def put(self, *path: str, body: Any = None, **query: str | None) -> Any:
        """Store ``body``, if there is one; returns the agent's document."""
        return self._ask("PUT", self._target(path, query), b"" if body is None else json.dumps(body).encode())[0]

    def post(self, *path: str) -> Any:
        """Request an action."""
        return self._ask("POST", self._target(path), b"")[0]

    def delete(self, *path: str) -> Any:
        """Remove what is at the path."""
        return self._ask("DELETE", self._target(path))[0]

    def events(self, service: str | None = None) -> Iterator[tuple[str, Any]]:
        """Names and data of events as they happen, a snapshot first; ends when the connection does."""
        from http.client import HTTPException

        connection = self._connection(SILENCE)
        try:
            answer = self._answer(connection, "GET", self._target(("events",), {"service": service}))
            if not str(answer.headers["Content-Type"]).startswith("text/event-stream"):
                raise self._not_an_agent()
            yield from _events_in(answer)
        except (OSError, HTTPException):
            return
        finally:
            connection.close()

    @staticmethod
    def _target(path: tuple[str, ...], query: dict[str, str | None] | None = None) -> str:
        from urllib.parse import quote, urlencode

        asked = urlencode({key: value for key, value in (query or {}).items() if value is not None})
        return "/api/v1/" + "/".join(quote(part, safe="") for part in path) + (f"?{asked}" if asked else "")

    def _connection(self, patience: float) -> HTTPConnection:
        from http.client import HTTPConnection  # 30 ms that the agent itself does not need

        if isinstance(self.address, Address) and self.is_tls:
            from http.client import HTTPSConnection

            from gossipreg.cli.client_tls import client_context

            return HTTPSConnection(*self.address, timeout=patience, context=client_context())
        if isinstance(self.address, Address):
            return HTTPConnection(self.address.host, self.address.port, timeout=patience)
        import socket

        connection = HTTPConnection("localhost", timeout=patience)
        connection.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.sock.settimeout(patience)
        return connection

    def _ask(self, method: str, target: str, body: bytes | None = None) -> tuple[Any, HTTPMessage]:
        """The document and the headers of an answer."""
        from http.client import HTTPException

        connection = self._connection(PATIENCE if self.patience is None else self.patience)
        try:
            answer = self._answer(connection, method, target, body)
            text = answer.read()
        except (OSError, HTTPException) as error:
            raise AgentUnreachable(
                f"the agent at {self.address} closed the connection before its answer was complete: {error}"
            ) from None
        finally:
            connection.close()
        return self._document(text) if text else None, answer.headers

    def _answer(self, connection: HTTPConnection, method: str, target: str, body: bytes | None = None) -> HTTPResponse:
        """The head of a good answer; its body is still to be read."""
        from http.client import HTTPException

        headers = {"Content-Type": "application/json"} if body else {}
        if self.token is not None:
            headers["Authorization"] = f"Bearer {self.token}"
        try:
            if isinstance(self.address, SocketFile):
                connection.sock.connect(str(self.address.path))
            connection.request(method, target, body, headers)
            answer = connection.getresponse()
        except TimeoutError:
            patience = f"{connection.timeout:g} s"
            raise AgentUnreachable(f"the agent at {self.address} does not answer within {patience}") from None
        except PermissionError:
            raise AgentUnreachable(
                f"{self.address} may not be opened by this user: run this as the agent's own user"
            ) from None
        except OSError as error:
            raise self._unreachable(error) from None
        except HTTPException:
            raise self._not_an_agent() from None
        if answer.status >= 400:
            raise self._refusal(answer.status, answer.read(), f"{method} {target}")
        return answer

    def _unreachable(self, error: OSError) -> AgentUnreachable:
        """What an error of the connection means."""
        from http.client import RemoteDisconnected

        untrusted = getattr(error, "verify_message", None)  # of ``ssl.SSLCertVerificationError``
        if untrusted:
            return AgentUnreachable(
                f"the certificate of the agent at {self.address} is not trusted: {untrusted}: name a file with its "
                "authority in GOSSIPREG_CA_FILE"
            )
        if isinstance(error, RemoteDisconnected) and not self.is_tls:
            return AgentUnreachable(
                f"what answers at {self.address} closes the connection at once: it speaks HTTPS, then write "
                f"https://{self.address}, or it is not an agent"
            )
        if self.is_tls and getattr(error, "reason", None):  # of ``ssl.SSLError``
            reason = str(error.reason).replace("_", " ").lower()  # type: ignore[attr-defined]
            return AgentUnreachable(f"no TLS with the agent at {self.address}: {reason}: does it speak HTTPS?")
        return AgentUnreachable(
            f'no agent answers at {self.address}: start one with "gossipreg agent", or name another with '
            "--http HOST:PORT"
        )

    def _refusal(self, status: int, text: bytes, request: str) -> GossipregError:
        remedy = " (set GOSSIPREG_TOKEN or pass --token-file FILE)" if status == 401 else ""
        try:
            said = json.loads(text)
            field = said.get("field")
            return AgentRefused(f"{said['error']}{remedy}", str(said["code"]), None if field is None else str(field))
        except (ValueError, KeyError, TypeError, AttributeError):
            return GossipregError(f"{self.address} answered {request} with {status}: is it a gossipreg agent?")

    def _document(self, text: bytes) -> Any:
        try:
            return json.loads(text)
        except ValueError:
            raise self._not_an_agent() from None

    def _not_an_agent(self) -> AgentUnreachable:
        return AgentUnreachable(f"what answers at {self.address} is not an agent: name one with --http HOST:PORT")


def _events_in(answer: HTTPResponse) -> Iterator[tuple[str, Any]]:
    """The events of a ``text/event-stream``: fields a line, an empty line after each event, comments between."""
    name, data = "", ""
    while line := answer.readline().decode():
        field, _, value = line.rstrip("\r\n").partition(":")
        value = value.removeprefix(" ")
        if field == "event":
            name = value
        elif field == "data":
            data += value
        elif not line.strip() and name:
            yield name, json.loads(data)
            name, data = "", ""
