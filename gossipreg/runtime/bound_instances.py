"""Bound instances: registrations that live as long as a stream of the process that offers them, and are never on disk.

For the attach frontend only: a verb of the node would have to be one of embedded nodes, too.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

import attrs

from gossipreg.errors import InvalidInstance
from gossipreg.model import Instance
from gossipreg.protocol.registry.service_view import ServiceView
from gossipreg.runtime.node import Node
from gossipreg.runtime.registrar import Registrar
from gossipreg.runtime.registrations import LocalRegistration
from gossipreg.spec import InstanceSpec


@attrs.define(eq=False, repr=False)
class BoundInstances:
    """What attached processes register on one node. A restart of the node forgets it: the processes register again."""

    _node: Node
    _registrar: Registrar = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._registrar = self._node._lifecycle.registrar  # noqa: SLF001 - see above

    async def register_many(self, specs: Collection[InstanceSpec]) -> tuple[Instance, ...]:
        """Register all of these or none, in place of any of their ids, as `Node.register_many` does. Raises likewise.

        Also raises ``InvalidInstance`` for the id of an instance that is not bound: a file defines it, or a client of
        the agent has registered it.
        """
        return await self._registrar.register_many([self._bound(each) for each in specs], check=self._check_id)

    def _bound(self, spec: InstanceSpec) -> LocalRegistration:
        node = self._node
        zone = self._registrar.zone
        registration = LocalRegistration.of(spec, member=node.name, host=node.address.host, zone=zone)
        return attrs.evolve(registration, is_bound=True)

    def _check_id(self, id: str) -> None:
        """Raise ``InvalidInstance`` if an instance of that id is there that is not bound."""
        before = self._registrar.registrations.get(id)
        if (before is not None and not before.is_bound) or id in self._registrar.not_defined_yet:
            raise InvalidInstance(
                "id", f"{id!r} is registered at the agent itself, not by an attached process: take another id"
            )

    def set_silence(self, ids: Collection[str], reason: str | None) -> bool:
        """Have these be critical for ``reason``, since their process does not answer, or as their checks say again.

        Returns whether that is news of any of them.
        """
        return self._registrar.health.set_silence(ids, reason)

    def is_bound(self, id: str) -> bool:
        """Whether the instance ``id`` is there as a process has registered it: no user has withdrawn or replaced it."""
        registration = self._registrar.registrations.get(id)
        return registration is not None and registration.is_bound

    def view(self, service: str) -> ServiceView:
        """A service as lookups answer it now."""
        return self._registrar.view(service)

    def shown(self, instance: Instance) -> Instance:
        """An instance of these as lookups show it now."""
        return self._registrar.shown(instance)

    async def withdraw(self, ids: Collection[str], is_taken: Callable[[str], bool]) -> None:
        """Withdraw those of ``ids`` that are there, in one step, without those that are taken by then.

        Raises ``NodeClosed``.
        """
        registrations = self._registrar.registrations
        async with self._registrar.exclusively(*ids):
            bound = (each for each in ids if each in registrations and registrations[each].is_bound)
            gone = [each for each in bound if not is_taken(each) and self._node.own(each) is not None]
            if gone:
                await self._registrar.withdraw(*gone)
