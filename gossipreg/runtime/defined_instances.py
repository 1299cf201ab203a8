"""Defined instances: the registrations that files define, kept as the files say, over edits and restarts.

An instance that a file defines is marked on disk. After a restart it is not registered until a file defines it again;
until then its row, its maintenance and the state of its ttl checks wait in `Registrar.not_defined_yet`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import attrs

from gossipreg.errors import GossipregError, StorageError
from gossipreg.runtime.node_context import NodeContext
from gossipreg.runtime.registrar import Registrar
from gossipreg.runtime.registrations import LocalRegistration


@attrs.define(eq=False, repr=False)
class DefinedInstances:
    """What files define of one node's registrations."""

    _context: NodeContext
    _registrar: Registrar

    async def define(self, registrations: Iterable[LocalRegistration]) -> dict[str, GossipregError]:
        """Register exactly these of all that files define, and leave alone what was registered otherwise.

        What is already as it is wanted is not touched. Returns what went wrong, by id: there, all stays as it was.
        """
        wanted = {each.instance.id: each for each in registrations}
        failed = await self._register(wanted)
        failed |= await self._withdraw([id_ for id_ in self._registrar.registrations if id_ not in wanted])
        failed |= await self._drop([id_ for id_ in self._registrar.not_defined_yet if id_ not in wanted])
        return failed

    async def _register(self, wanted: Mapping[str, LocalRegistration]) -> dict[str, GossipregError]:
        registrar = self._registrar
        async with registrar.exclusively(*wanted):
            return await self._registrar.commit_each(
                {
                    id_: attrs.evolve(registrar.in_maintenance_as_before(each), defined=True)
                    for id_, each in wanted.items()
                }
            )

    async def _withdraw(self, ids: Iterable[str]) -> dict[str, GossipregError]:
        """Withdraw those of these instances that files defined, and that were not registered otherwise meanwhile."""
        registrations = self._registrar.registrations
        defined = [id_ for id_ in ids if registrations[id_].defined]
        async with self._registrar.exclusively(*defined):
            return await self._registrar.commit_each(
                {id_: None for id_ in defined if id_ in registrations and registrations[id_].defined}
            )

    async def _drop(self, ids: Iterable[str]) -> dict[str, GossipregError]:
        """Take off the disk what files defined before the restart and do not now, unless it was registered since."""
        ids = list(ids)
        async with self._registrar.exclusively(*ids):
            dropped = [id_ for id_ in ids if id_ in self._registrar.not_defined_yet]
            assert self._context.store is not None or not dropped, "what is from before a restart was on disk"
            try:
                if dropped and self._context.store is not None:
                    await self._context.store.put_instances(dict.fromkeys(dropped))
            except StorageError as error:
                return dict.fromkeys(dropped, error)
            for id_ in dropped:
                del self._registrar.not_defined_yet[id_]
                self._registrar.monitor.forget_recalled(id_)
        return {}
