"""The `debug` command: collects what helps to explain a problem into one file, without secrets."""

from __future__ import annotations

import io
import json
import os
import platform
import re
import sys
import tarfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Final

import click

from gossipreg import __version__
from gossipreg.cli import show
from gossipreg.cli.agent_options import agent_options, duration
from gossipreg.cli.client import AgentClient
from gossipreg.cli.help_page import command
from gossipreg.errors import GossipregError
from gossipreg.runtime.files import MAKE

#: What the agent is asked for: the name of the file, the path and the query.
_QUESTIONS: Final[tuple[tuple[str, str, Mapping[str, str]], ...]] = (
    ("members", "members", {"versions": "true", "all_cells": "true"}),
    ("observations", "observations", {}),
    ("services", "services", {}),
    ("changes", "changes", {}),
    ("rates", "rates", {}),
    ("checks", "checks", {}),
    ("policies", "policies", {}),
    ("roles", "roles", {}),
    ("cells", "cells", {}),
    ("regions", "regions", {}),
    ("keys", "keys", {}),
    ("tokens", "tokens", {}),
    ("identity", "identity", {}),
)

#: How much of the end of a log is kept (bytes).
_LOG_BYTES: Final = 1_048_576

#: What the name of a setting that is a secret itself contains; one that ends in ``_file`` names a file.
_SECRET: Final = ("token", "password", "secret", "key")

#: Tables of settings whose values may be secret, whatever their names.
_SECRET_TABLES: Final = ("headers", "credentials")

#: A name and a password in a URL.
_LOGIN: Final = re.compile(r"://[^/\s@\"']{1,256}:[^/\s@\"']{1,256}@")

#: Files of the kernel that say how the host is, and of the agent's process.
_OF_HOST: Final = ("/proc/loadavg", "/proc/meminfo", "/proc/pressure/cpu", "/proc/pressure/memory", "/proc/pressure/io")
_OF_PROCESS: Final = ("limits", "status", "io")


@command()
@click.option(
    "--output",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Where to write; by default a name here with the agent's name and the time.",
)
@click.option(
    "--config",
    "config",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="The agent's configuration file, to take in without its secrets.",
)
@click.option(
    "--log",
    "log",
    metavar="FILE",
    type=click.Path(path_type=Path, allow_dash=True),
    help="The agent's log, of which the last 1 MiB is taken; - reads it from standard input.",
)
@click.option(
    "--watch",
    "watch",
    metavar="TIME",
    type=duration,
    default="5s",
    show_default=True,
    help="How long to wait between two looks at the counters.",
)
@agent_options
def debug(
    agent: AgentClient, output: Path | None, config: Path | None, log: Path | None, watch: float, *, as_json: bool
) -> None:
    """Collect what helps to explain a problem into one file.

    A tar file, readable for its owner alone: what the agent tells of itself, its members, services, checks, policies
    and the last hour; its counters twice, some seconds apart; what the doctor finds; this host, if the agent runs here;
    and with --config and --log the settings and the end of the log. What the agent does not answer is noted in it.

    It holds no key, token, password or credential: keys and tokens by id and name only, and settings with a secret are
    left out. Names, addresses, meta, what checks have said and what was logged are in it: look at it before you pass it
    on.

    Examples:
      gossipreg debug
      gossipreg debug --config /etc/gossipreg/agent.toml --output /tmp/web-1.tar.gz
      journalctl -n 5000 -u gossipreg | gossipreg debug --log -
    """
    bundle = _Bundle()
    began = time.time()
    node = bundle.ask("node", lambda: agent.get("node"))
    for name, path, query in _QUESTIONS:
        bundle.ask(name, partial(agent.get, path, **query))
    bundle.take("doctor.txt", lambda: _doctor(agent, config, watch))
    bundle.ask("node-later", lambda: agent.get("node"))
    if config is not None:
        bundle.take("config.json", lambda: _settings(config))
    if log is not None:
        bundle.take("log.txt", lambda: _end_of(log))
    bundle.take("host.txt", lambda: "\n".join(_host(agent)))
    name = str(node.get("name", "agent")) if isinstance(node, dict) else "agent"
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(began))
    where = output or Path(f"gossipreg-debug-{name}-{stamp}.tar.gz")
    bundle.write(where, _readme(agent, began, bundle.failures))
    document = {"file": str(where), "files": sorted(bundle.files), "failures": bundle.failures}
    show.say(f"{where}: look at it before you pass it on", document, as_json=as_json)
    for what, why in sorted(bundle.failures.items()):
        show.note(f"{what}: {why}")


class _Bundle:
    """The files that were collected, by name, and why others could not be."""

    def __init__(self) -> None:
        self.files: dict[str, str] = {}
        self.failures: dict[str, str] = {}

    def ask(self, name: str, question: Callable[[], Any]) -> Any:
        """Take in an answer of the agent, which is returned; None if there is none."""
        answers: list[Any] = []

        def text() -> str:
            answers.append(question())
            return json.dumps(answers[0], indent=1, ensure_ascii=False)

        self.take(f"{name}.json", text)
        return answers[0] if answers else None

    def take(self, name: str, text: Callable[[], str]) -> None:
        """Take in a text, or note why there is none."""
        try:
            self.files[name] = _LOGIN.sub("://(left out)@", text())
        except (GossipregError, OSError, ValueError) as error:
            self.failures[name] = str(error)

    def write(self, where: Path, readme: str) -> None:
        """Write a tar file that only its owner can read. Raises `GossipregError` if it exists or cannot be written."""
        try:
            descriptor = os.open(where, MAKE, 0o600)
        except FileExistsError:
            raise GossipregError(f"{where} exists and is not overwritten: name another file with --output") from None
        except OSError as error:
            raise GossipregError(f"cannot write {where}: {error.strerror}") from None
        folder = where.name.partition(".")[0]
        try:
            with os.fdopen(descriptor, "wb") as file, tarfile.open(fileobj=file, mode="w:gz") as tar:
                for name, text in sorted({"README.txt": readme, **self.files}.items()):
                    data = text.encode("utf-8", "backslashreplace")
                    entry = tarfile.TarInfo(f"{folder}/{name}")
                    entry.size, entry.mode, entry.mtime = len(data), 0o600, int(time.time())
                    tar.addfile(entry, io.BytesIO(data))
        except OSError as error:
            with suppress(OSError):
                where.unlink()
            raise GossipregError(f"cannot write {where}: {error.strerror}") from None


def _readme(agent: AgentClient, began: float, failures: Mapping[str, str]) -> str:
    at = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(began))
    lines = [
        f"What the agent at {agent.address} told, and its host, from {at} on.",
        f"Collected by gossipreg {__version__}. It holds no keys, tokens or credentials, but names, addresses, meta,",
        "what checks have said, and what was logged.",
    ]
    missing = [f"- {name}: {why}" for name, why in sorted(failures.items())]
    return "\n".join([*lines, *(["", "Not to be had:", *missing] if missing else []), ""])


def _doctor(agent: AgentClient, config: Path | None, watch: float) -> str:
    from gossipreg.cli.doctor import text
    from gossipreg.cli.doctor.gather import gather
    from gossipreg.cli.doctor.rules import examine

    return "\n".join(text(f"the agent at {agent.address}", examine(gather(agent, config, watch))))


def _settings(file: Path) -> str:
    """A configuration file as JSON, with the names of what is secret and not what that is."""
    import tomllib

    return json.dumps(_without_secrets(tomllib.loads(file.read_text())), indent=1, default=str)


def _without_secrets(value: Any, name: str = "") -> Any:
    if name.lower() in _SECRET_TABLES:
        return "(left out)"
    if isinstance(value, dict):
        return {key: _without_secrets(each, key) for key, each in value.items()}
    if isinstance(value, list):
        return [_without_secrets(each, name) for each in value]
    parts = name.lower().split("_")
    is_secret = parts[-1] not in ("file", "path", "dir") and any(word in parts for word in _SECRET)
    is_path = isinstance(value, str) and value.startswith(("/", "./", "../"))
    return "(left out)" if is_secret and not is_path and not isinstance(value, bool) else value


def _end_of(log: Path) -> str:
    if str(log) == "-":
        data = sys.stdin.buffer.read()[-_LOG_BYTES:]
    else:
        with log.open("rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - _LOG_BYTES))
            data = file.read(_LOG_BYTES)
    return data.decode("utf-8", "backslashreplace")


def _host(agent: AgentClient) -> Iterator[str]:
    from gossipreg.cli.doctor import processes

    yield f"{platform.platform()}, Python {platform.python_version()}, gossipreg {__version__}"
    program = processes.program_at(agent.address)
    if program is None:
        yield f"no process of this host that this user can see listens at {agent.address}"
    files = [Path(each) for each in _OF_HOST]
    files += [] if program is None else [Path(f"/proc/{program.pid}") / each for each in _OF_PROCESS]
    for file in files:
        with suppress(OSError):
            yield f"\n{file}\n{file.read_text().rstrip()}"
