"""Knows oracle 20: of those that claim to be a service's primary one is seen as it."""

from __future__ import annotations

from typing import Any, ClassVar

import attrs

from gossipreg.model import FENCED, PRIMARY, Instance
from gossipreg.protocol.outputs import InstancesChanged, Output
from sim.oracles.oracle import Oracle
from sim.process import Process

_Primary = tuple[str, str, str, int]  # service, owner, id, term


@attrs.define
class Primaries(Oracle):
    """No view shows two primaries of a service, nor one whose term is not the highest that is claimed there.

    When all agree, all show the same. That what is shown never falls back to a lower term is not the law: who had the
    highest may be deregistered, become a replica, or be forgotten.
    """

    law: ClassVar[str] = "at most one instance is seen as a service's primary, the same everywhere"
    wants: ClassVar[tuple[type[Any], ...]] = (InstancesChanged,)

    def see(self, process: Process, output: Output) -> None:
        """Look at each service that looks different, if anybody ever claimed it."""
        assert isinstance(output, InstancesChanged), "nothing else is wanted"
        for service in output.services:
            view = process.engine.view.service(service)
            if view.term:
                self._judge(process, service, view.instances)

    def _judge(self, process: Process, service: str, instances: tuple[Instance, ...]) -> None:
        claims = [each for each in instances if each.role in (PRIMARY, FENCED)]
        if not claims:
            return
        primaries = [each for each in claims if each.role == PRIMARY]
        shown = " and ".join(f"{each.id} in term {each.term}" for each in primaries) or "nobody"
        self.check(process, len(primaries) == 1, f"shows {shown} as the primary of {service}")
        highest = max(each.term for each in claims)
        highest_is_shown = all(each.term == highest for each in primaries)
        self.check(process, highest_is_shown, f"shows {shown} as the primary of {service}, not term {highest}")

    def finish(self) -> None:
        """Compare whom all show at the end; what is believed of those kept apart, and so of their claims, is free."""
        if not self.checks:
            self.not_applicable("nobody claimed to be a primary")
        if self.stage.healed_in is None or self.stage.outside:
            return
        core = [process for process in self.cluster.alive if not process.engine.identity.left]
        for process in core[1:]:
            there, here = _primaries(core[0]), _primaries(process)
            self.check(process, here == there, f"shows {here} as primaries, and {core[0].name} {there}")


def _primaries(process: Process) -> list[_Primary]:
    instances = (each for view in process.engine.view.services.values() if view.term for each in view.instances)
    return sorted((each.service, each.owner, each.id, each.term) for each in instances if each.role == PRIMARY)
