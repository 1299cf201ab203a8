"""Faults of identity: impostors, revoked certificates, restarts with another mode, and a change of the gossip's key."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Protocol

import attrs

from gossipreg.errors import NotJoined
from gossipreg.key_format import key_id
from gossipreg.protocol.identity.authenticator import IdentityMode
from gossipreg.protocol.registry.key_statements import KeyStatement, PrimaryKeyStatement
from gossipreg_sim.cluster import Cluster
from gossipreg_sim.fault import Fault
from gossipreg_sim.fault_timing import is_for_good
from gossipreg_sim.identities import Identities
from gossipreg_sim.impostor import Impostor
from gossipreg_sim.process import Process
from gossipreg_sim.rng import Rng
from gossipreg_sim.trace import Trace
from gossipreg_sim.world import EPOCH_MS, SECOND, ns


class Crash(Protocol):
    """Kills a node, and keeps it down ``until`` (ns)."""

    def __call__(self, name: str, until: float, *, host: bool) -> None:
        """Kill ``name``; with ``host``, its host."""
        ...


class Start(Protocol):
    """Starts a node unless another fault keeps it down."""

    def __call__(self, name: str, *, disk: bool) -> None:
        """Start ``name``, with its ``disk`` or without."""
        ...


@attrs.define
class IdentityFaults:
    """Plans these faults on a cluster."""

    cluster: Cluster
    trace: Trace
    crash: Crash
    start: Start

    @property
    def _identities(self) -> Identities:
        assert self.cluster.identities is not None, "`Scenario` has checked it"
        return self.cluster.identities

    def plan(self, fault: Fault, nodes: list[str], rng: Rng, begins: int, ends: int) -> None:
        """Schedule ``fault`` if it is one of identity. Times are in ns."""
        plans: dict[str, Callable[[], None]] = {
            "impostor": lambda: self._plan_impostor(fault, nodes, rng, begins, ends),
            "revoke": lambda: self._plan_revocation(fault, nodes, begins, ends),
            "upgrade": lambda: self._plan_upgrade(fault, nodes, begins),
            "rotate": lambda: self._plan_rotation(fault, nodes, rng, begins, ends),
        }
        if fault.kind in plans:
            plans[fault.kind]()

    def _plan_impostor(self, fault: Fault, nodes: list[str], rng: Rng, begins: int, ends: int) -> None:
        impostor = Impostor(self.cluster, self._identities, fault.certificate, nodes[0], rng.fork(), fault.seconds)
        for at in range(begins, ends, max(ns(fault.every), ns(0.001))):
            self.cluster.world.at(at, partial(self._strike, impostor, nodes, rng))

    def _strike(self, impostor: Impostor, nodes: list[str], rng: Rng) -> None:
        target = self.cluster.running(nodes[rng.below(len(nodes))])
        if target is not None:
            sent = impostor.strike(target)
            self.trace.note(self.cluster.world.now, "", "impostor", target.name, str(sent))

    def _plan_upgrade(self, fault: Fault, nodes: list[str], begins: int) -> None:
        for place, name in enumerate(nodes):
            when = begins + place * ns(fault.every)
            back = when + ns(fault.seconds)  # before the heal, as `Scenario` has checked
            self.cluster.world.at(when, partial(self._upgrade, name, back, IdentityMode(fault.identity)))
            self.cluster.world.at(back, partial(self.start, name, disk=fault.disk))

    def _upgrade(self, name: str, until: int, mode: IdentityMode) -> None:
        self._identities.modes[name] = mode
        self.crash(name, until, host=False)

    def _plan_revocation(self, fault: Fault, nodes: list[str], begins: int, ends: int) -> None:
        for name in nodes:
            self.cluster.world.at(begins, partial(self._revoke, name, nodes))
            if not is_for_good(fault):
                self.cluster.world.at(ends, partial(self._renew, name, disk=fault.disk))

    def _revoke(self, name: str, all_revoked: list[str]) -> None:
        """Publish the revocation of a node's certificate at the first other node that runs."""
        now = self.cluster.world.seconds
        signer = self._identities.signers.get(name)
        others = [each.name for each in self.cluster.alive if each.name not in all_revoked and _can_act(each)]
        if signer is not None and others:
            self.trace.note(self.cluster.world.now, name, "revoke")
            self.cluster.revoke(others[0], self._identities.revoke(signer.certificate, now))

    def _renew(self, name: str, *, disk: bool) -> None:
        """Start a node anew with another key and certificate; one that another fault keeps down has them then."""
        self._identities.renew(name)
        self.crash(name, self.cluster.world.now, host=False)
        self.start(name, disk=disk)

    def _plan_rotation(self, fault: Fault, nodes: list[str], rng: Rng, begins: int, ends: int) -> None:
        """Add a key and use it, and give up the one before, at the first of ``nodes`` that runs; then change all files.

        docs/keys.md has these steps.
        """
        world, old = self.cluster.world, self.cluster.key
        assert old is not None, "`Scenario` has checked it"
        new = b"".join(rng.bits().to_bytes(8) for _ in range(4))
        used, ended = begins + ns(fault.seconds / 3), min(begins + ns(fault.seconds), ends)
        given_up = KeyStatement(key_id(old), b"", EPOCH_MS / 1000 + ended / SECOND)
        world.at(begins, partial(self._state, nodes, "key added", KeyStatement(key_id(new), new)))
        world.at(used, partial(self.cluster.use_key_files, (old, new)))
        world.at(used, partial(self._state, nodes, "key used", PrimaryKeyStatement(key_id(new))))
        world.at(ended, partial(self._state, nodes, "key given up", given_up))
        world.at(ended, partial(self.cluster.use_key_files, (new,)))

    def _state(self, nodes: list[str], what: str, statement: KeyStatement | PrimaryKeyStatement) -> None:
        running = [name for name in nodes if (process := self.cluster.running(name)) and _can_act(process)]
        with suppress(NotJoined):
            for name in running[:1]:
                self.cluster.state_key(name, statement)
                self.trace.note(self.cluster.world.now, name, what)


def _can_act(process: Process) -> bool:
    """Whether an operator can have a running process do something: it is not stopped, and has not left."""
    return not (process.frozen or process.engine.identity.left)
