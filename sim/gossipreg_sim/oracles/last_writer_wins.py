"""Oracle 19: the latest version of a policy wins everywhere, and is not lost."""

from __future__ import annotations

from typing import Any, ClassVar, Final

import attrs

from gossipreg.protocol.outputs import Output, PoliciesChanged
from gossipreg.protocol.registry.policy_version import PolicyVersion
from gossipreg_sim.oracles.oracle import Oracle
from gossipreg_sim.process import Process

#: A generation and a stamp are in whole milliseconds.
_ROUNDING: Final = 2.0

#: When it was said, and by whom; of two words by one name at one time the digest decides.
_Rank = tuple[int, int, str, int]


@attrs.define
class LastWriterWins(Oracle):
    """What a node holds of a key was said by its writer, and gives way only to what was said later.

    What is said by one who has heard of another word, be it about another key, is later than that; and no earlier than
    the wall clock shows there, so that what was said on both sides of a split is in its order. When all agree, they
    hold the same words and weigh everybody by them alike, and no word is lost that somebody said who lived on or came
    back with its disk. Whoever came back without has taken no word along; if nobody else had it, it is gone.
    """

    law: ClassVar[str] = "the last write of a policy wins on all nodes, and is not lost"
    wants: ClassVar[tuple[type[Any], ...]] = (PoliciesChanged,)

    _said: dict[str, dict[int, PolicyVersion]] = attrs.field(factory=dict)  # writer -> by digest, all that it ever said
    _kept: dict[str, list[PolicyVersion]] = attrs.field(
        factory=dict
    )  # writer -> what the life that lives now must remember
    _lives: dict[str, Process] = attrs.field(factory=dict)
    _held: dict[tuple[Process, str], PolicyVersion] = attrs.field(factory=dict)

    def after(self, process: Process) -> None:
        """See who begins a new life, and whether with its disk."""
        if self._lives.get(process.name) is not process:
            self._lives[process.name] = process
            if not process.has_disk:
                self._kept[process.name] = []

    def see(self, process: Process, output: Output) -> None:
        """Compare the new word with the one before, and with what its writer said."""
        assert isinstance(output, PoliciesChanged), "nothing else is wanted"
        self.after(process)
        for key in output.keys:
            version = process.engine.state.policies.get(key)
            before = self._held.get((process, key))
            if version is None:
                self.check(process, before is None, f"forgot {_named(before)}")
                continue
            self._held[process, key] = version
            later = before is None or version == before or _rank(version) > _rank(before)
            self.check(process, later, f"took {_named(version)} for {_named(before)}")
            if version.digest not in self._said.get(version.writer, {}):
                self._hear_new(process, version)

    def _hear_new(self, process: Process, version: PolicyVersion) -> None:
        if version.writer != process.name:
            self.wrong(process.name, f"holds {_named(version)}, which {version.writer} never said")
            return
        self._said.setdefault(process.name, {})[version.digest] = version
        self._kept[process.name].append(version)
        wall = 1000 * process.clock.wall_at(process.now)
        self.check(process, version.ms >= wall - _ROUNDING, f"says {_named(version)} at {wall:.0f}")
        for other in process.engine.state.policies:
            earlier = other is version or (other.ms, other.counter) < (version.ms, version.counter)
            self.check(process, earlier, f"says {_named(version)} after it heard {_named(other)}")

    def finish(self) -> None:
        """Compare what everybody holds at the end, and look for each word that must not be lost."""
        if self.context.healed_in is None:
            return
        core = [
            process
            for process in self.cluster.alive
            if process.name not in self.context.outside and not process.engine.identity.left
        ]
        for process in core:
            self.after(process)
        if not any(self._said.values()):
            self.not_applicable("no policy was set")
            return
        first = core[0]
        versions = {version.key: version for version in first.engine.state.policies}
        for process in core[1:]:
            self.check(process, versions == _versions_of(process), f"knows other policies than {first.name}")
            alike = bool(self.context.outside) or _weights(first) == _weights(process)
            self.check(process, alike, f"shows other weights than {first.name}")
        for process in core:
            for said in self._kept[process.name]:
                last = versions.get(said.key)
                holds = last is not None and _rank(last) >= _rank(said)
                self.check(process, holds, f"said {_named(said)}, but {first.name} holds {_named(last)}")


def _versions_of(process: Process) -> dict[str, PolicyVersion]:
    return {version.key: version for version in process.engine.state.policies}


def _rank(version: PolicyVersion) -> _Rank:
    return version.ms, version.counter, version.writer, version.digest


def _named(version: PolicyVersion | None) -> str:
    if version is None:
        return "no word"
    what = "the removal" if version.payload is None else "the word"
    return f"{what} of {version.writer} about {version.key} at {version.ms}.{version.counter}"


def _weights(process: Process) -> list[tuple[str, str, str, int]]:
    """Who can serve, and what the policies make each weigh."""
    views = process.engine.view.services.values()
    return sorted((each.service, each.owner, each.id, each.weight) for view in views for each in view.healthy)
