"""Simulated users: they register instances, withdraw them, set policies and promote primaries.

Each kind of action draws from a random stream of its own, so that one kind can be switched off without changing the
others. Two users may act at the same moment at two nodes: policies and roles must resolve such conflicts.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from functools import partial

import attrs

from gossipreg.errors import NotJoined
from gossipreg.model import PRIMARY, Instance
from gossipreg.policy import Maintenance, Rule, Split, WeightOverride
from gossipreg_sim.cluster import Cluster
from gossipreg_sim.process import Process
from gossipreg_sim.rng import Rng
from gossipreg_sim.scenario import Scenario
from gossipreg_sim.world import ns

#: The service that has a primary.
STORE = "store"

#: The share of policies and claims that two users make at the same moment.
_AT_ONCE = 0.3

#: The share of registrations in the churn, and of removals among policy changes.
_NEW, _REMOVED = 0.6, 0.3

#: The shares of demotions to replica, and of withdrawals, among actions on primaries; the rest are claims.
_REPLICAS, _WITHDRAWN = 0.2, 0.2


@attrs.define
class Users:
    """The users of one run."""

    scenario: Scenario
    cluster: Cluster

    def arrive(self, name: str) -> None:
        """Register the initial instances of ``name``, which has just started."""
        for number in range(self.scenario.workload.instances):
            self.cluster.register(name, self._instance(name, number))

    def plan(self, start: int, heal: int) -> None:
        """Schedule all actions between ``start`` and ``heal`` (ns)."""
        self._plan_churn(start, heal)
        rng = self.cluster.world.rng("users", "policies")
        for at in _times(self.scenario.workload.policies, rng, start, heal):
            self._plan_policy(at, rng)
        rng = self.cluster.world.rng("users", "primaries")
        for at in _times(self.scenario.workload.primaries, rng, start, heal):
            share = rng.random()
            act = (
                self._withdraw
                if share < _WITHDRAWN
                else self._promote
                if share > _WITHDRAWN + _REPLICAS
                else self._demote
            )
            for name in self._one_or_two(rng):
                self.cluster.world.at(at, partial(act, name))

    def _one_or_two(self, rng: Rng) -> list[str]:
        return rng.sample(self.scenario.node_names, 2 if rng.chance(_AT_ONCE) else 1)

    def _available(self, name: str) -> Process | None:
        """Return the process of ``name`` if it accepts user calls now."""
        process = self.cluster.running(name)
        if process is None or process.frozen or process.engine.identity.left:
            return None
        return process

    # Instances that come and go

    def _plan_churn(self, start: int, heal: int) -> None:
        rng = self.cluster.world.rng("users")
        number = self.scenario.workload.instances
        for at in _times(self.scenario.workload.churn, rng, start, heal):
            number += 1
            name = self.scenario.node_names[rng.below(self.scenario.nodes)]
            self.cluster.world.at(at, partial(self._change, name, number, new=rng.chance(_NEW)))

    def _change(self, name: str, number: int, *, new: bool) -> None:
        if self._available(name) is None:
            return
        own = self.cluster.offered().get(name, {})
        if new or not own:
            self.cluster.register(name, self._instance(name, number))
        else:
            self.cluster.deregister(name, next(iter(own)))

    def _instance(self, name: str, number: int) -> Instance:
        return Instance(
            id=f"service-{number % 3}-{name}-{number}",
            service=f"service-{number % 3}",
            host=str(self.cluster.processes[name].address.host),
            port=1024 + number,
            zone=self.scenario.zone_of(name),
        )

    # Policies

    def _plan_policy(self, at: int, rng: Rng) -> None:
        """Set or remove one of few policies, so that writers conflict."""
        which = rng.below(4)
        for name in self._one_or_two(rng):
            rule = self._rules(1 + rng.below(9), 1 + rng.below(9))[which]
            self.cluster.world.at(at, partial(self._change_policy, name, rule, remove=rng.chance(_REMOVED)))

    def _rules(self, one: int, other: int) -> tuple[Rule, ...]:
        shares = {"zone-0": one, "zone-1": other}
        last = self.scenario.node_names[-1]
        return (
            Split("service-0", shares, by="zone"),
            Split("service-1", shares, by="zone"),
            WeightOverride("service-0", "service-0-n0-0", one),
            Maintenance("service-0", f"service-0-{last}-0", f"disk {one}"),
        )

    def _change_policy(self, name: str, rule: Rule, *, remove: bool) -> None:
        process = self._available(name)
        if process is None:
            return
        if remove and process.engine.state.policies.rule(rule.key) is not None:
            self.cluster.remove_policy(name, rule.key)
        elif not remove:
            self.cluster.set_policy(name, rule)

    # Primaries

    def _promote(self, name: str) -> None:
        """Register the store of ``name`` again, as the primary with the next term, if the node can issue one."""
        process = self._available(name)
        if process is not None:
            with suppress(NotJoined):
                self._offer_store(process, PRIMARY, process.engine.local_policies.next_term(STORE))

    def _demote(self, name: str) -> None:
        """Register the store of ``name`` again, as a replica."""
        process = self._available(name)
        if process is not None:
            self._offer_store(process, "replica", 0)

    def _offer_store(self, process: Process, role: str, term: int) -> None:
        host = str(process.address.host)
        store = Instance(id=_store_of(process.name), service=STORE, host=host, port=1023, role=role, term=term)
        self.cluster.register(process.name, store)

    def _withdraw(self, name: str) -> None:
        """Deregister the store of ``name``, if it is offered."""
        process = self._available(name)
        if process is not None and process.engine.local_registry.own(_store_of(name)) is not None:
            self.cluster.deregister(name, _store_of(name))


def _store_of(name: str) -> str:
    return f"{STORE}-{name}"


def _times(rate: float, rng: Rng, start: int, heal: int) -> Iterator[int]:
    """Yield the times of events that occur ``rate`` times a second (ns)."""
    at = start
    while rate > 0 and (at := at + ns(rng.exponential(1 / rate))) < heal:
        yield at
