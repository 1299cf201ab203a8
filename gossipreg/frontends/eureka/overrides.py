"""Overrides: a status that an operator sets for an instance, from any node and for all nodes.

An override is a policy, so it holds for every owner of the instance, also when its client has to move to another node;
and as in Eureka it ends with the instance, so that one that is started anew is not taken out for reasons long past.
"""

from __future__ import annotations

import time
from contextlib import nullcontext, suppress
from typing import Final

import attrs

from gossipreg.errors import UnknownPolicy
from gossipreg.frontends.eureka.instance_document import is_override, reason_of
from gossipreg.frontends.serving.node_api import NodeApi
from gossipreg.frontends.serving.scoped_node import status_of_own_instance
from gossipreg.model import Instance
from gossipreg.policy import Maintenance
from gossipreg.values import frozen

#: How old an override is before it is forgotten because its instance is not seen (seconds): a node that has just
#: started does not see all yet.
_OLD_SECONDS: Final = 3600.0


@frozen
class Overrides:
    """Maintenance that clients of Eureka's have asked for. What others have asked for is left alone."""

    node: NodeApi
    #: The node as no client's token limits it.
    housekeeper: NodeApi = attrs.field(default=attrs.Factory(lambda self: self.node, takes_self=True))

    def is_operators(self, instance: Instance) -> bool:
        """Whether an operator has set maintenance of ``instance``: its client has no say in that."""
        key = Maintenance(instance.service, instance.id).key
        found = (policy.rule for policy in self.node.policies() if policy.key == key)
        return any(isinstance(rule, Maintenance) and not is_override(rule.reason) for rule in found)

    async def set(self, instance: Instance, status: str, *, as_policy: bool = False) -> None:
        """Show ``instance`` with that status and take it out of lookups; with UP or UNKNOWN, leave it to its client.

        ``as_policy``: it is a policy that takes the right to set one, since it is about more than an own instance.
        """
        if status in ("UP", "UNKNOWN"):
            await self.lift(instance.service, instance.id, as_policy=as_policy)
        else:
            await self._sweep(time.time())
            with nullcontext() if as_policy else status_of_own_instance():
                await self.node.set_policy(Maintenance(instance.service, instance.id, reason_of(status)))

    async def add(self, instance: Instance, status: str) -> None:
        """Show ``instance`` with a status that was posted with it, unless it is overridden or another node has it too.

        A client of one instance may not speak for that of another node: that needs the right to set policies.
        """
        alone = all(each.owner == self.node.name for each in self._known(instance.service, instance.id))
        known = any((rule.service, rule.instance) == (instance.service, instance.id) for rule, _ in self._rules())
        if alone and not known and not self.is_operators(instance):
            await self.set(instance, status)

    async def lift(self, service: str, id: str, *, as_policy: bool = False) -> None:
        """Leave an instance's status to its client. ``as_policy`` as for `set`."""
        for rule, _ in self._rules():
            if (rule.service, rule.instance) == (service, id):
                with nullcontext() if as_policy else status_of_own_instance():
                    await _remove(self.node, rule)

    async def begin(self, service: str, id: str) -> None:
        """An instance is about to be registered: it begins without an override, unless it is there already."""
        if not self._is_there(service, id):
            await self.lift(service, id)

    async def _sweep(self, now: float) -> None:
        for rule, at in self._rules():
            if at + _OLD_SECONDS < now and not self._is_there(rule.service, rule.instance):
                await _remove(self.housekeeper, rule)

    def _is_there(self, service: str, id: str) -> bool:
        return bool(self._known(service, id))

    def _known(self, service: str, id: str) -> list[Instance]:
        return [each for each in self.node.lookup(service, healthy=False) if each.id == id]

    def _rules(self) -> list[tuple[Maintenance, float]]:
        """The overrides in force, each with the time it was set (seconds since 1970)."""
        policies = [(policy.rule, policy.at) for policy in self.node.policies()]
        return [(rule, at) for rule, at in policies if isinstance(rule, Maintenance) and is_override(rule.reason)]


async def _remove(node: NodeApi, rule: Maintenance) -> None:
    with suppress(UnknownPolicy):  # another node was quicker
        await node.remove_policy(rule.key)
