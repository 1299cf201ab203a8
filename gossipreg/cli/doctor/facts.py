"""Facts: what the doctor has found out about an agent and its host, before any rule looks at it.

They are plain values, so that a rule can be tested on any of them. What could not be found out is empty or None.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import attrs

from gossipreg.model import NODE_SERVICE
from gossipreg.values import frozen

#: How the sentence ends by which an agent says that its certificate was revoked.
_EXPELLED: Final = "the others have expelled this node"


@frozen
class ListeningProgram:
    """The process that listens at an address of this host. What the user may not see of it is None."""

    uid: int | None = None
    pid: int | None = None
    command: str = ""  # its command line
    descriptors: int | None = None  # how many it may have open
    open: int | None = None  # how many it has open

    def __str__(self) -> str:
        user = "" if self.uid is None else f" of user {self.uid}"
        return f"a process{user}" if self.pid is None else f"process {self.pid}{user}: {self.command}"


@frozen
class Unreachable:
    """Why the agent's API gives no answer that can be used."""

    sentence: str
    program: ListeningProgram | None = None  # what listens at the address
    refused: str = ""  # the code with which an agent refused the request
    socket_file: str = ""  # what is wrong with the socket file, as the rest of a sentence that begins with its path
    elsewhere: tuple[str, ...] = ()  # addresses of this host at which agents answer
    configured: str = ""  # where the configuration file has the agent listen


@frozen
class UnusableFile:
    """A file of the configuration that the agent cannot use, or must not."""

    setting: str
    path: str
    problem: str  # a sentence, with a remedy where there is one
    is_exposed: bool  # whether it is about its owner or its mode


@frozen
class DataDirectory:
    """The directory in which the agent keeps its state."""

    path: str
    problem: str = ""  # why it cannot be used, as the rest of a sentence that begins with its path
    free: int | None = None  # bytes that the agent's user can still write
    free_files: int | None = None  # files that can still be made; None where the file system does not count them


@frozen
class HostFacts:
    """What the host says. Only of the host on which the doctor runs."""

    program: ListeningProgram | None = None  # the agent's process
    receive_buffer_max: int | None = None  # net.core.rmem_max (bytes)
    packets_dropped: int | None = None  # packets that the kernel dropped at the gossip socket
    config: str = ""  # the configuration file, if one was named
    config_problem: str = ""
    files: tuple[UnusableFile, ...] = ()
    data_directory: DataDirectory | None = None
    key_file: str = ""
    keys: tuple[str, ...] = ()  # ids of the keys in the key file, the primary one first
    certificate: str = ""  # the file of tls_cert
    certificate_end: float | None = None  # when it ends (seconds since the epoch)


@frozen
class Facts:
    """Everything that the rules look at. The documents are the answers of the HTTP API, as they came."""

    agent: str  # the address asked, as a user writes it
    agent_options: tuple[str, ...] = ()  # the options with which a command asks the same agent, if it needs any
    now: float = 0.0  # seconds since the epoch
    version: str = ""  # of the command
    unreachable: Unreachable | None = None
    node: Mapping[str, Any] = attrs.field(factory=dict)
    rose: Mapping[str, int] = attrs.field(factory=dict)  # counters that rose while the doctor watched, and by how much
    watched: float = 0.0  # how long it watched (seconds)
    members: Sequence[Mapping[str, Any]] = ()
    instances: Sequence[Mapping[str, Any]] = ()
    checks: Sequence[Mapping[str, Any]] = ()
    policies: Sequence[Mapping[str, Any]] = ()
    unreadable: Sequence[Mapping[str, Any]] = ()  # policies that this release cannot read
    keys: Sequence[Mapping[str, Any]] = ()
    tokens: Sequence[Mapping[str, Any]] = ()
    regions: Sequence[Mapping[str, Any]] = ()
    not_told: Mapping[str, str] = attrs.field(factory=dict)  # what the agent would not tell, and its sentence
    host: HostFacts = attrs.field(factory=HostFacts)

    @property
    def uptime(self) -> float:
        """How long the agent has run (seconds)."""
        return max(0.0, self.now - self.node["generation"] / 1000) if "generation" in self.node else 0.0

    @property
    def expulsion(self) -> tuple[str, ...]:
        """What the agent says of a revocation of its certificate. The others hear nothing of it, and it of them."""
        return tuple(each for each in self.node.get("problems", ()) if each.endswith(_EXPELLED))

    def count(self, name: str) -> int:
        """A counter of the agent; 0 for one that its release does not have."""
        return int(self.node.get("counters", {}).get(name, 0))

    def frequent(self, names: Iterable[str], *, least: int, seconds: float) -> tuple[str, ...]:
        """Which counters rose while the doctor watched, or do so once in ``seconds``, and at least ``least`` times.

        A sentence for each, for the evidence.
        """
        found = []
        for name in names:
            total, rose = self.count(name), self.rose.get(name, 0)
            if rose or (total >= least and total * seconds >= self.uptime):
                found.append(f"{name} is {total}, {rose} of them in the last {self.watched:.0f} s")
        return tuple(found)

    def services(self) -> Iterator[tuple[str, list[Mapping[str, Any]]]]:
        """Each service with its instances; without those by which nodes describe themselves."""
        found: dict[str, list[Mapping[str, Any]]] = {}
        for each in self.instances:
            if each["service"] != NODE_SERVICE:
                found.setdefault(each["service"], []).append(each)
        yield from sorted(found.items())
