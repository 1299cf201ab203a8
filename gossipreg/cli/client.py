"""Agent client: the HTTP API of one agent as the commands use it, with errors for people."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Self

from gossipreg.address import Address, SocketFile, place
from gossipreg.cli import plain_http
from gossipreg.errors import AgentRefused, AgentUnreachable, ConfigError, GossipregError
from gossipreg.failures import reason_of
from gossipreg.json_documents import read_json

if TYPE_CHECKING:
    from http.client import HTTPConnection, HTTPResponse
    from pathlib import Path

#: How long an agent may take to answer, or to be silent in the middle of an answer (seconds).
PATIENCE: Final = 5.0

#: How long a stream of events may be silent (seconds). An agent sends something every 15 s, if only a comment: twice
#: as long means that the connection is dead.
SILENCE: Final = 30.0

#: Takes away the unreserved characters of URLs that are neither letters nor digits.
_MARKS: Final = {ord(mark): None for mark in "-._~"}


class AgentClient(NamedTuple):
    """The HTTP API of one agent. Each call is one request on a connection of its own.

    Raises ``AgentUnreachable`` when there is no answer, and ``AgentRefused`` with the agent's own sentence and code
    when it refuses.
    """

    address: Address | SocketFile
    token: str | None = None
    patience: float | None = None  # how long an answer may take (seconds), if not the usual time
    token_file: Path | None = None  # where the token is from, if a file was named
    is_tls: bool = False  # whether it speaks HTTPS; see `client_tls` for what the client trusts and shows

    def __repr__(self) -> str:
        return f"AgentClient({str(self.address)!r})"  # without the token

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
        """What `get` returns, with ``isolated``, ``reachable`` and ``age`` if the agent sends them as headers."""
        document, headers = self._ask("GET", self._target(path, query))
        isolated, reachable = headers.get("x-gossipreg-isolated"), headers.get("x-gossipreg-reachable")
        if isolated is not None and reachable is not None:
            document |= {"isolated": isolated == "true", "reachable": float(reachable)}
        if (age := headers.get("x-gossipreg-age")) is not None:  # of an answer about another region
            document["age"] = float(age)
        return document

    def put(self, *path: str, body: Any = None, **query: str | None) -> Any:
        """Store ``body``, if there is one; returns the agent's document."""
        return self._ask("PUT", self._target(path, query), b"" if body is None else json.dumps(body).encode())[0]

    def post(self, *path: str, body: Any = None) -> Any:
        """Request an action, which ``body`` describes if there is one."""
        return self._ask("POST", self._target(path), b"" if body is None else json.dumps(body).encode())[0]

    def delete(self, *path: str) -> Any:
        """Remove what is at the path."""
        return self._ask("DELETE", self._target(path))[0]

    def events(self, service: str | None = None, *, all_healths: bool = False) -> Iterator[tuple[str, Any]]:
        """Names and data of events as they happen, a snapshot first; ends when the connection does.

        With ``all_healths`` also about instances that cannot serve.
        """
        from http.client import HTTPException

        connection = self._connection(SILENCE)
        asked = {"service": service, "all": "true" if all_healths else None}
        try:
            answer = self._follow(connection, self._target(("events",), asked))
            if not str(answer.headers["Content-Type"]).startswith("text/event-stream"):
                raise self._not_an_agent()
            yield from _events_in(answer)
        except (OSError, HTTPException):
            return
        finally:
            connection.close()

    @staticmethod
    def _target(path: tuple[str, ...], query: dict[str, str | None] | None = None) -> str:
        asked = {key: value for key, value in (query or {}).items() if value is not None}
        if all(map(_is_unreserved, (*path, *asked.values()))):  # almost always: what else there is takes 5 ms to import
            parts, pairs = path, "&".join(f"{key}={value}" for key, value in asked.items())
        else:
            from urllib.parse import quote, urlencode

            parts, pairs = tuple(quote(part, safe="") for part in path), urlencode(asked)
        return "/api/v1/" + "/".join(parts) + (f"?{pairs}" if pairs else "")

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

    def _ask(self, method: str, target: str, body: bytes | None = None) -> tuple[Any, Mapping[str, str]]:
        """The document and the headers of an answer, their names in small letters."""
        patience = PATIENCE if self.patience is None else self.patience
        try:
            status, headers, text = self._exchange(method, target, body, patience)
        except plain_http.CutOff as error:
            raise AgentUnreachable(
                f"the agent at {self.address} closed the connection before its answer was complete: {error}"
            ) from None
        except OSError as error:
            raise self._unanswered(error, patience) from None
        except Exception as error:
            from http.client import HTTPException

            if isinstance(error, HTTPException):
                raise self._not_an_agent() from None
            raise
        if status >= 400:
            raise self._refusal(status, text, f"{method} {target}")
        return self._document(text) if text else None, headers

    def _exchange(self, method: str, target: str, body: bytes | None, patience: float) -> plain_http.Answer:
        """One request and its answer, whatever its status."""
        if not self.is_tls:
            return plain_http.ask(
                self.address, method, target, headers=self._headers(body), body=body, patience=patience
            )
        from http.client import HTTPException

        connection = self._connection(patience)
        try:
            connection.request(method, target, body, self._headers(body))
            answer = connection.getresponse()
            try:
                text = answer.read()
            except (OSError, HTTPException) as error:
                raise plain_http.CutOff(reason_of(error)) from None
        finally:
            connection.close()
        return plain_http.Answer(answer.status, {name.lower(): value for name, value in answer.headers.items()}, text)

    def _headers(self, body: bytes | None) -> dict[str, str]:
        headers = {"Content-Type": "application/json"} if body else {}
        if self.token is not None:
            headers["Authorization"] = f"Bearer {self.token}"
        return headers

    def _follow(self, connection: HTTPConnection, target: str) -> HTTPResponse:
        """The head of a good answer; its body is still to be read."""
        from http.client import HTTPException

        try:
            if isinstance(self.address, SocketFile):
                connection.sock.connect(str(self.address.path))
            connection.request("GET", target, headers=self._headers(None))
            answer = connection.getresponse()
        except OSError as error:
            raise self._unanswered(error, SILENCE) from None
        except HTTPException:
            raise self._not_an_agent() from None
        if answer.status >= 400:
            raise self._refusal(answer.status, answer.read(), f"GET {target}")
        return answer

    def _unanswered(self, error: OSError, patience: float) -> AgentUnreachable:
        """What an error of the connection means, before there is an answer."""
        if isinstance(error, TimeoutError):
            return AgentUnreachable(f"the agent at {self.address} does not answer within {patience:g} s")
        if isinstance(error, PermissionError):
            return AgentUnreachable(f"{self.address} may not be opened by this user: run this as the agent's own user")
        return self._unreachable(error)

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
            reason = str(error.reason).replace("_", " ").lower()  # type: ignore[attr-defined]  # it has one, as `getattr` found
            return AgentUnreachable(f"no TLS with the agent at {self.address}: {reason}: does it speak HTTPS?")
        return AgentUnreachable(
            f'no agent answers at {self.address}: start one with "gossipreg agent", or name another with '
            "--http HOST:PORT"
        )

    def _refusal(self, status: int, text: bytes, request: str) -> GossipregError:
        remedy = " (set GOSSIPREG_TOKEN or pass --token-file FILE)" if status == 401 else ""
        try:
            said = read_json(text)
            field = said.get("field")
            sentence, code = f"{said['error']}{remedy}", str(said["code"])
            return AgentRefused(sentence, code, None if field is None else str(field), is_usage=status == 400)
        except (ValueError, KeyError, TypeError, AttributeError):
            return GossipregError(f"{self.address} answered {request} with {status}: is it a gossipreg agent?")

    def _document(self, text: bytes) -> Any:
        try:
            return read_json(text)
        except ValueError:
            raise self._not_an_agent() from None

    def _not_an_agent(self) -> AgentUnreachable:
        return AgentUnreachable(f"what answers at {self.address} is not an agent: name one with --http HOST:PORT")


def _is_unreserved(text: str) -> bool:
    """Whether ``text`` means itself in every part of a URL (RFC 3986 §2.3)."""
    return text != "" and text.isascii() and text.translate(_MARKS).isalnum()


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
            yield name, read_json(data)
            name, data = "", ""
