"""Gathering: the facts of one agent from its HTTP API, and those of its host from the files and the kernel."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import attrs

from gossipreg import __version__
from gossipreg.agent_config import AgentConfig
from gossipreg.cli.client import AgentClient
from gossipreg.cli.doctor import processes
from gossipreg.cli.doctor.facts import DataDirectory, Facts, HostFacts, Unreachable, UnusableFile
from gossipreg.errors import AgentRefused, AgentUnreachable, ConfigError, GossipregError, UnsafeFile
from gossipreg.model import Address, SocketFile, place
from gossipreg.targets import is_loopback

#: How long another address of this host may take to answer whether it is an agent's (seconds), and how many are asked.
_ELSEWHERE_SECONDS: Final = 1.0
_ELSEWHERE_MAX: Final = 16

#: Fields of an agent's description of itself. What answers without them is another program.
_DESCRIPTION: Final = frozenset({"name", "cluster", "generation", "counters"})

#: The settings that name a file with a secret, and those that name one that only the agent's user may change.
_SECRETS: Final = ("key_file", "credential_key_file", "tls_key", "identity_key")
_TRUSTED: Final = ("tokens_file", "authority_file", "identity_cert", "tls_cert", "tls_client_ca")


def gather(agent: AgentClient, config: Path | None, watch: float) -> Facts:
    """Everything about ``agent``. No answer and no file makes it raise.

    ``config``: the agent's configuration file, if it is known. ``watch``: how long to watch its counters (seconds).
    """
    settings, problem = _load(config)
    shown = f"https://{agent.address}" if agent.is_tls else str(agent.address)
    blank = Facts(shown, now=time.time(), version=__version__)
    try:
        facts = _of_agent(agent, blank, watch)
    except GossipregError as error:
        facts = attrs.evolve(blank, unreachable=_unreachable(agent, error, settings))
    if not _is_here(agent.address):
        return facts
    return attrs.evolve(facts, host=_of_host(agent, facts, config, settings, problem))


def _load(config: Path | None) -> tuple[AgentConfig | None, str]:
    if config is None:
        return None, ""
    from gossipreg.cli.settings import load

    try:
        return load({}, {}, config), ""
    except ConfigError as error:
        return None, str(error)


def _is_here(address: Address | SocketFile) -> bool:
    """Whether an address leads to this host."""
    from gossipreg.runtime.advertised_address import is_assigned

    return isinstance(address, SocketFile) or is_loopback(address.host) or is_assigned(address.host)


# The agent


def _of_agent(agent: AgentClient, blank: Facts, watch: float) -> Facts:
    """What the agent tells. Raises what `AgentClient` raises if it tells nothing about itself."""
    before, began = agent.get("node"), time.monotonic()
    if not isinstance(before, dict) or not before.keys() >= _DESCRIPTION:
        raise AgentUnreachable(f"what answers at {agent.address} is not an agent: name one with --http HOST:PORT")
    not_told: dict[str, str] = {}

    def ask(what: str, key: str) -> Any:
        return _told(lambda: agent.get(what)[key], what, not_told) or ()

    def snapshot() -> Any:
        name, data = next(agent.events(all_healths=True), ("", {}))
        return data if name == "snapshot" else {}

    seen = _told(snapshot, "instances", not_told) or {}
    policies = _told(lambda: agent.get("policies"), "policies", not_told) or {}
    asked = {what: ask(what, what) for what in ("checks", "keys", "tokens", "regions")}
    time.sleep(max(0.0, watch - (time.monotonic() - began)))
    node, watched = agent.get("node"), time.monotonic() - began
    counters = before.get("counters", {})
    rose = {name: value - counters.get(name, 0) for name, value in node.get("counters", {}).items()}
    return attrs.evolve(
        blank,
        node=node,
        rose={name: by for name, by in rose.items() if by > 0},
        watched=watched,
        members=seen.get("members", ()),
        instances=seen.get("instances", ()),
        policies=policies.get("policies", ()),
        unreadable=policies.get("unreadable", ()),
        not_told=not_told,
        **asked,
    )


def _told(ask: Callable[[], Any], what: str, not_told: dict[str, str]) -> Any:
    """An answer; None if the agent refuses it, or its release does not know the question."""
    try:
        return ask()
    except GossipregError as error:
        is_unknown = isinstance(error, AgentRefused) and error.code == "not_found"
        not_told[what] = f"the agent's release does not tell its {what}" if is_unknown else str(error)
    except KeyError:
        not_told[what] = f"the agent's release does not tell its {what}"
    return None


def _unreachable(agent: AgentClient, error: GossipregError, settings: AgentConfig | None) -> Unreachable:
    if isinstance(error, AgentRefused):
        return Unreachable(str(error), refused=error.code)
    sentence = str(error)
    if not _is_here(agent.address):
        return Unreachable(sentence)
    configured = "" if settings is None or settings.http in ("off", str(agent.address)) else settings.http
    program = processes.program_at(agent.address)
    return Unreachable(
        sentence,
        program=program,
        socket_file=_socket_file(agent.address) if isinstance(agent.address, SocketFile) else "",
        elsewhere=_elsewhere(agent.address, None if program is None else program.pid),
        configured=configured,
    )


def _socket_file(file: SocketFile) -> str:
    """What is wrong with a socket file, as the rest of a sentence that begins with its path."""
    try:
        status = file.path.stat()
    except PermissionError:
        return "is in a directory that this user may not open"
    except OSError as error:
        return f"is not there: {error.strerror}"
    if not stat.S_ISSOCK(status.st_mode):
        return "is no socket file"
    if not os.access(file.path, os.W_OK):
        return f"belongs to user {status.st_uid} (mode {stat.S_IMODE(status.st_mode):04o}): this user may not open it"
    return "is a socket file at which no process listens any more"


def _elsewhere(asked: Address | SocketFile, program: int | None) -> tuple[str, ...]:
    """The other addresses of this host at which agents answer, those of the process ``program`` first."""
    found = []
    for address in [each for each in processes.agents(program) if each != asked][:_ELSEWHERE_MAX]:
        with suppress(GossipregError):
            if "scopes" in AgentClient(address, patience=_ELSEWHERE_SECONDS).get("token"):
                found.append(str(address))
    return tuple(found)


# The host


def _of_host(
    agent: AgentClient, facts: Facts, file: Path | None, settings: AgentConfig | None, problem: str
) -> HostFacts:
    program = processes.program_at(agent.address) if facts.node else None
    gossip = facts.node.get("address")
    where = None if gossip is None else place(gossip)
    user = os.geteuid() if program is None or program.uid is None else program.uid
    host = HostFacts(
        program=program,
        receive_buffer_max=processes.receive_buffer_max(),
        packets_dropped=processes.dropped(where) if isinstance(where, Address) else None,
        config="" if file is None else str(file),
        config_problem=problem,
    )
    return host if settings is None else attrs.evolve(host, **_of_settings(settings, user))


def _of_settings(settings: AgentConfig, user: int) -> dict[str, Any]:
    """The facts about the files that the settings name, for an agent that runs as ``user``."""
    files = [
        found
        for names, secret in ((_SECRETS, True), (_TRUSTED, False))
        for name in names
        if (path := getattr(settings, name)) is not None
        and (found := _unusable(name, Path(path), user, secret=secret)) is not None
    ]
    data, key_file, certificate = settings.data_dir, settings.key_file, settings.tls_cert
    return {
        "files": tuple(files),
        "data_directory": None if data is None else data_directory(Path(data), user),
        "key_file": "" if key_file is None else str(key_file),
        "keys": () if key_file is None else _key_ids(Path(key_file)),
        "certificate": "" if certificate is None else str(certificate),
        "certificate_end": None if certificate is None else certificate_end(Path(certificate)),
    }


def _unusable(setting: str, path: Path, user: int, *, secret: bool) -> UnusableFile | None:
    from gossipreg.runtime.files import check_parent, check_regular, flaw

    try:
        status = path.stat()
        check_regular(status)
        problem = flaw(path, status, user, secret=secret)
        if problem is None:
            check_parent(path)
    except UnsafeFile as unsafe:
        problem = str(unsafe)
    except OSError as error:
        return UnusableFile(setting, str(path), error.strerror or str(error), is_exposed=False)
    return None if problem is None else UnusableFile(setting, str(path), problem, is_exposed=True)


def data_directory(path: Path, user: int) -> DataDirectory:
    """The directory at ``path``, for an agent that runs as ``user``."""
    shown = str(path)
    try:
        status = path.stat()
        room = os.statvfs(path)
    except FileNotFoundError:
        return DataDirectory(shown, "does not exist")
    except OSError as error:
        return DataDirectory(shown, f"cannot be looked at: {error.strerror}")
    if not stat.S_ISDIR(status.st_mode):
        return DataDirectory(shown, "is no directory")
    if room.f_flag & os.ST_RDONLY:
        return DataDirectory(shown, "is on a file system that is mounted read-only")
    if user != 0 and (status.st_uid != user or not status.st_mode & stat.S_IWUSR):
        return DataDirectory(
            shown,
            f"belongs to user {status.st_uid} (mode {stat.S_IMODE(status.st_mode):04o}), the agent runs as {user}",
        )
    files = room.f_favail if room.f_files else None
    return DataDirectory(shown, free=room.f_bavail * room.f_frsize, free_files=files)


def _key_ids(file: Path) -> tuple[str, ...]:
    """The ids of the keys in a file that this user may read; none if it may not, or it holds none."""
    from gossipreg import limits
    from gossipreg.key_format import key_id, parse_key

    try:
        lines = [line.strip() for line in file.read_text("ascii").splitlines()]
        found = [parse_key(line, where="key_file") for line in lines if line and not line.startswith("#")]
    except (OSError, ValueError, ConfigError):
        return ()
    return tuple(key_id(key) for key in found[: limits.GOSSIP_KEYS_MAX])


def certificate_end(file: Path) -> float | None:
    """When the first certificate in a PEM file ends (seconds since the epoch); None if it cannot be read."""
    from cryptography.x509 import load_pem_x509_certificate

    try:
        return load_pem_x509_certificate(file.read_bytes()).not_valid_after_utc.timestamp()
    except (OSError, ValueError):
        return None
