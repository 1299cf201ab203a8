"""Endpoint: requests to a registry's HTTP API at a URL, with a sentence for each way in which they fail."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Any, Final, Self
from urllib.parse import unquote, urlsplit

import attrs

from gossipreg import hosts
from gossipreg.errors import ConfigError
from gossipreg.failures import reason_of
from gossipreg.json_documents import read_json
from gossipreg.migrate.registry import RegistryRefused, RegistryUnreachable
from gossipreg.values import frozen

#: How long a registry may take to answer (seconds).
PATIENCE: Final = 10.0

#: Longest part of a refusal that is quoted (characters).
_QUOTED: Final = 200


@frozen
class Endpoint:
    """A registry's HTTP API. ``place`` is its address as people write it, without any secret."""

    host: str
    port: int
    tls: bool
    path: str  # without a slash at its end
    headers: Mapping[str, str] = attrs.field(factory=dict, repr=False)

    @classmethod
    def at(cls, url: str, *, default_port: int, token: str | None = None) -> Self:
        """The API at ``http://HOST[:PORT][/PATH]``. A user and a password in it, or a token, are sent with requests.

        Raises ``ConfigError``.
        """
        try:
            parts = urlsplit(url if "://" in url else f"http://{url}")
            port = parts.port
        except ValueError as error:
            raise ConfigError(f"--from: {_without_secret(url)} is not a URL: {error}") from None
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment or port == 0:
            raise ConfigError(f"--from: {_without_secret(url)} is no registry's URL: write http://HOST:PORT")
        if (flaw := hosts.flaw(parts.hostname)) is not None:
            raise ConfigError(f"--from: the host of {_without_secret(url)} is {flaw}")
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        if parts.username is not None:
            text = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            headers["Authorization"] = f"Basic {base64.b64encode(text.encode()).decode()}"
        tls = parts.scheme == "https"
        default = 443 if tls else default_port
        return cls(parts.hostname, default if port is None else port, tls, parts.path.rstrip("/"), headers)

    @property
    def place(self) -> str:
        """Where it is."""
        return f"{'https' if self.tls else 'http'}://{self.host}:{self.port}{self.path}"

    def get(self, path: str) -> Any:
        """The JSON document at ``path``."""
        status, text = self.ask("GET", path)
        if status != 200:
            raise RegistryUnreachable(f"{self.place} answered GET {path} with {status}: {_quoted(text)}")
        try:
            return read_json(text)
        except ValueError:
            raise RegistryUnreachable(f"what answers at {self.place} sends no JSON for {path}") from None

    def send(self, method: str, path: str, body: Any = None) -> int:
        """The status of a change: below 300, or 404. Raises `RegistryRefused` for any other below 500."""
        status, text = self.ask(method, path, None if body is None else json.dumps(body).encode())
        if status < 300 or status == 404:
            return status
        if status >= 500:
            raise RegistryUnreachable(f"{self.place} answered {method} {path} with {status}: {_quoted(text)}")
        raise RegistryRefused(f"{status}: {_quoted(text)}")

    def ask(self, method: str, path: str, body: bytes | None = None) -> tuple[int, str]:
        """The status and the text of an answer."""
        connection = (HTTPSConnection if self.tls else HTTPConnection)(self.host, self.port, timeout=PATIENCE)
        headers = {"Accept": "application/json", **self.headers}
        if body is not None:
            headers["Content-Type"] = "application/json"
        try:
            connection.request(method, f"{self.path}{path}", body, headers)
            answer = connection.getresponse()
            return answer.status, answer.read().decode("utf-8", "replace")
        except (OSError, HTTPException) as error:
            raise RegistryUnreachable(f"{self.place} does not answer: {reason_of(error)}") from None
        finally:
            connection.close()


@contextmanager
def reading(place: str, kind: str) -> Iterator[None]:
    """Raise `RegistryUnreachable` for an answer that is JSON of another form than a registry of that kind sends."""
    try:
        yield
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        what = f"{type(error).__name__}: {error}"
        raise RegistryUnreachable(f"what answers at {place} does not answer as a {kind} does ({what})") from None


def _quoted(text: str) -> str:
    return " ".join(text.split())[:_QUOTED]


def _without_secret(url: str) -> str:
    """What follows a user and a password, without a query, which may hold a token."""
    return repr(url.rpartition("@")[2].partition("?")[0])
