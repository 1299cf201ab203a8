"""Oracle 20: at most one instance is shown as a service's primary, and the primary's term never falls."""

from __future__ import annotations

from typing import Any, ClassVar

import attrs

from gossipreg.model import FENCED, PRIMARY, Instance
from gossipreg.protocol.outputs import InstancesChanged, Output
from gossipreg_sim.oracles.oracle import Oracle
from gossipreg_sim.process import Process

_Primary = tuple[str, str, str, int]  # service, owner, id, term


@attrs.define
class Primaries(Oracle):
    """No view shows two primaries of a service, nor one with less than the highest term claimed there.

    The term of the primary that a node shows never falls, whatever becomes of the instance: withdrawn, demoted, gone
    with an owner that left, failed or restarted, with its disk or without. A node that restarts with its disk remembers
    the term; one without its disk starts anew. So a view may show no primary although one is claimed, but only if a
    higher term was seen. When all agree, all show the same primary, with no lower term than any of them ever showed.
    """

    law: ClassVar[str] = "a service shows at most one primary, the same on all nodes, and its term never falls"
    wants: ClassVar[tuple[type[Any], ...]] = (InstancesChanged,)

    _runs: dict[str, Process] = attrs.field(factory=dict)
    _shown: dict[tuple[str, str], int] = attrs.field(factory=dict)  # (node, service) -> the highest term that it showed

    def see(self, process: Process, output: Output) -> None:
        """Check each changed service."""
        assert isinstance(output, InstancesChanged), "the oracle receives only what it wants"
        self._note_run(process)
        for service in output.services:
            self._evaluate(process, service, process.engine.view.service(service).instances)

    def _note_run(self, process: Process) -> None:
        if self._runs.get(process.name) is not process:
            self._runs[process.name] = process
            if not process.has_disk:
                self._shown = {key: term for key, term in self._shown.items() if key[0] != process.name}

    def _evaluate(self, process: Process, service: str, instances: tuple[Instance, ...]) -> None:
        claims = [each for each in instances if each.role in (PRIMARY, FENCED)]
        before = self._shown.get((process.name, service), 0)
        if not any(each.term for each in claims) and not before:
            return  # the service has no terms here
        primaries = [each for each in claims if each.role == PRIMARY]
        shown = " and ".join(f"{each.id} in term {each.term}" for each in primaries) or "none"
        self.check(process, len(primaries) <= 1, f"shows {shown} as the primary of {service}")
        highest = max((each.term for each in claims), default=0)
        may_be_none = not claims or highest < process.engine.state.terms.claimed(service)
        highest_is_shown = all(each.term == highest for each in primaries) and (may_be_none or bool(primaries))
        self.check(process, highest_is_shown, f"shows {shown} as the primary of {service}, not term {highest}")
        lowest = min((each.term for each in primaries), default=before)
        self.check(process, lowest >= before, f"shows {shown} as the primary of {service} after term {before}")
        self._shown[process.name, service] = max(before, lowest)

    def finish(self) -> None:
        """Compare the primaries that all show at the end; claims of separated nodes are not checked."""
        if not self.checks:
            self.not_applicable("no instance claimed to be a primary")
        if self.context.healed_in is None or self.context.outside:
            return
        core = [process for process in self.cluster.alive if not process.engine.identity.left]
        for process in core:
            self._note_run(process)
        names = {process.name for process in core}
        highest: dict[str, int] = {}
        for (name, service), term in self._shown.items():
            if name in names:
                highest[service] = max(term, highest.get(service, 0))
        for process in core if highest else ():
            here = _primaries(process)
            fallen = [each for each in here if each[3] < highest.get(each[0], 0)]
            self.check(process, not fallen, f"shows {fallen} as primaries, but higher terms were shown before")
        for process in core[1:]:
            there, here = _primaries(core[0]), _primaries(process)
            self.check(process, here == there, f"shows {here} as primaries, and {core[0].name} {there}")


def _primaries(process: Process) -> list[_Primary]:
    terms = process.engine.state.terms
    views = process.engine.view.services.items()
    instances = (each for service, view in views if terms.seen(service) for each in view.instances)
    return sorted((each.service, each.owner, each.id, each.term) for each in instances if each.role == PRIMARY)
