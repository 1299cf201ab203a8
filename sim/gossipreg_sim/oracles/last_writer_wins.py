"""Oracle 19: the latest version of a policy wins on all nodes, and is not lost."""

from __future__ import annotations

from typing import Any, ClassVar, Final

import attrs

from gossipreg.protocol.outputs import Output, PoliciesChanged
from gossipreg.protocol.registry.policy_version import PolicyVersion, is_about_revocation
from gossipreg_sim.oracles.oracle import Oracle
from gossipreg_sim.process import Process

#: Generations and stamps are rounded to milliseconds.
_ROUNDING: Final = 2.0

#: Order of versions: time, counter and writer; the digest breaks ties between two with one stamp.
_Rank = tuple[int, int, str, int]


@attrs.define
class LastWriterWins(Oracle):
    """Each policy version that a node holds was issued by its writer, and is replaced only by a later one.

    A node issues a version later than all versions that it has seen, of any key, and no earlier than its wall clock; so
    versions from both sides of a split are ordered by time. When all agree, they hold the same versions and compute the
    same weights. No version is lost that was issued by a node which kept running or restarted with its disk. A node
    that restarts without its disk has lost its versions; those that no other node held are gone.
    """

    law: ClassVar[str] = "the last write of a policy wins on all nodes, and is not lost"
    wants: ClassVar[tuple[type[Any], ...]] = (PoliciesChanged,)

    _issued: dict[str, dict[int, PolicyVersion]] = attrs.field(factory=dict)  # writer -> digest -> version
    _required: dict[str, list[PolicyVersion]] = attrs.field(factory=dict)  # writer -> versions its run must hold
    _runs: dict[str, Process] = attrs.field(factory=dict)
    _held: dict[tuple[Process, str], PolicyVersion] = attrs.field(factory=dict)

    def after(self, process: Process) -> None:
        """Note new runs of nodes, and whether each has its disk."""
        if self._runs.get(process.name) is not process:
            self._runs[process.name] = process
            if not process.has_disk:
                self._required[process.name] = []

    def see(self, process: Process, output: Output) -> None:
        """Compare a new version with the one before it and with those that its writer issued."""
        assert isinstance(output, PoliciesChanged), "the oracle receives only what it wants"
        self.after(process)
        for key in output.keys:
            version = process.engine.state.policies.get(key)
            before = self._held.get((process, key))
            if before is not None and self.cluster.has_revoked(before.proof):
                before = None  # it went with its writer; what it had replaced may come back
            if version is None:
                self.check(process, before is None, f"forgot {_named(before)}")
                self._held.pop((process, key), None)
                continue
            self._held[process, key] = version
            later = before is None or version == before or _rank(version) > _rank(before)
            self.check(process, later, f"replaced {_named(before)} with {_named(version)}")
            if version.digest not in self._issued.get(version.writer, {}):
                self._check_new(process, version)

    def _check_new(self, process: Process, version: PolicyVersion) -> None:
        if is_about_revocation(version.key):
            return  # the authority issues them; `Authority` checks that
        if version.writer != process.name:
            self.wrong(process.name, f"holds {_named(version)}, which {version.writer} never issued")
            return
        self._issued.setdefault(process.name, {})[version.digest] = version
        self._required[process.name].append(version)
        wall = 1000 * process.clock.wall_at(process.now)
        self.check(process, version.ms >= wall - _ROUNDING, f"issued {_named(version)} at {wall:.0f}")
        for other in process.engine.state.policies:
            earlier = other is version or (other.ms, other.counter) < (version.ms, version.counter)
            self.check(process, earlier, f"issued {_named(version)} after it received {_named(other)}")

    def finish(self) -> None:
        """Compare the versions of all nodes at the end, and look for each version that must not be lost."""
        if self.context.healed_in is None:
            return
        core = [
            process
            for process in self.cluster.alive
            if process.name not in self.context.outside and not process.engine.identity.left
        ]
        for process in core:
            self.after(process)
        if not any(self._issued.values()):
            self.not_applicable("no policy was set")
            return
        first = core[0]
        versions = {version.key: version for version in first.engine.state.policies}
        for process in core[1:]:
            self.check(process, versions == _versions_of(process), f"holds other policies than {first.name}")
            alike = bool(self.context.outside) or _weights(first) == _weights(process)
            self.check(process, alike, f"computes other weights than {first.name}")
        for process in core:
            for said in self._required[process.name]:
                last = versions.get(said.key)
                holds = (last is not None and _rank(last) >= _rank(said)) or self._went_with_its_writer(said)
                self.check(process, holds, f"issued {_named(said)}, but {first.name} holds {_named(last)}")

    def _went_with_its_writer(self, said: PolicyVersion) -> bool:
        """Whether a version, or a later one in its place, was dropped because the writer's certificate was revoked."""
        return any(
            later.key == said.key and _rank(later) >= _rank(said) and self.cluster.has_revoked(later.proof)
            for versions in self._issued.values()
            for later in versions.values()
        )


def _versions_of(process: Process) -> dict[str, PolicyVersion]:
    return {version.key: version for version in process.engine.state.policies}


def _rank(version: PolicyVersion) -> _Rank:
    return version.ms, version.counter, version.writer, version.digest


def _named(version: PolicyVersion | None) -> str:
    if version is None:
        return "no version"
    what = "the removal" if version.payload is None else "the version"
    return f"{what} of {version.writer} about {version.key} at {version.ms}.{version.counter}"


def _weights(process: Process) -> list[tuple[str, str, str, int]]:
    """Return each callable instance with the weight that the policies give it."""
    views = process.engine.view.services.values()
    return sorted((each.service, each.owner, each.id, each.weight) for view in views for each in view.healthy)
