"""Leases: how Eureka's clients register, renew, change and cancel instances at this node.

A lease is held by the node that its client posted to. Another node answers 404, upon which the client
registers there. So clients move when their node dies; by then the dead node's instances are no longer called.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping

import attrs

from gossipreg.errors import InvalidInstance, StorageError, UnknownInstance
from gossipreg.frontends.eureka.instance_document import KEPT, app_of, id_of, kept_of
from gossipreg.frontends.eureka.overrides import Overrides
from gossipreg.frontends.eureka.posted_instance import LEASE, STATUS, PostedInstance
from gossipreg.frontends.eureka.trees import MalformedDocument
from gossipreg.frontends.serving import joint_registration
from gossipreg.frontends.serving.joint_registration import joint_instances, registered_by, seen_by
from gossipreg.frontends.serving.node_api import NodeApi
from gossipreg.model import Health, Instance
from gossipreg.values import frozen

log = logging.getLogger(__name__)


@frozen
class Leases:
    """What this node holds for clients of Eureka's."""

    node: NodeApi
    overrides: Overrides

    def held(self, app: str, id: str) -> Instance:
        """This node's own instance of that application and id in Eureka. Raises ``UnknownInstance``."""
        found = self._find(app, id)
        if found is None:
            raise UnknownInstance(f"this node owns no instance {id!r:.80} of {app:.80}: register it here")
        return found

    async def register(self, posted: PostedInstance) -> None:
        """Register an instance, in place of the one that this node has of that application and id.

        Raises ``MalformedDocument``, ``InvalidInstance``.
        """
        there = self._find(posted.app, posted.id)
        id_ = self._free(posted) if there is None else registered_by(there, KEPT).id
        earlier = None if there is None else PostedInstance.of(there)
        # As in Eureka, what the client changed last holds, and not what arrived last.
        posted = earlier if earlier is not None and earlier.dirty > posted.dirty else posted.since(earlier)
        spec = posted.spec(id_)
        twin = joint_registration.twin(self.node, KEPT, spec, posted.info.host_name)
        if there is None and twin is None:
            await self.overrides.begin(spec.service, id_)
        instance = await joint_registration.register(self.node, KEPT, spec, (there, twin))
        await self._beat(instance.id, posted)
        if posted.override is not None:
            await self.overrides.add(instance, posted.override)

    async def renew(self, app: str, id: str, dirty: int | None) -> None:
        """The client is there. Raises ``UnknownInstance`` if it has to register (again).

        ``dirty`` is when it changed its instance last (ms since 1970), if it says so: what it posted may be older.
        """
        instance = self.held(app, id)
        posted = PostedInstance.of(instance)
        if posted is None:
            raise UnknownInstance(f"instance {id!r:.80} of {app:.80} has no lease: register it here")
        if dirty is not None and dirty > posted.dirty:
            raise UnknownInstance(f"instance {id!r:.80} of {app:.80} has changed since it was registered: do it again")
        try:
            await self._beat(instance.id, posted)
        except InvalidInstance:
            raise UnknownInstance(f"instance {id!r:.80} of {app:.80} has lost its lease: register it here") from None

    async def change(self, app: str, id: str, metadata: Mapping[str, str]) -> None:
        """Add to an instance's metadata. Raises ``UnknownInstance``, ``InvalidInstance``."""
        instance = self.held(app, id)
        posted = PostedInstance.of(instance)
        if posted is None:
            raise UnknownInstance(f"instance {id!r:.80} of {app:.80} was not registered by a client of Eureka's")
        posted = attrs.evolve(posted, info=attrs.evolve(posted.info, metadata={**posted.info.metadata, **metadata}))
        spec = posted.spec(registered_by(instance, KEPT).id)
        await joint_registration.register(self.node, KEPT, spec, (instance,))

    async def cancel(self, app: str, id: str) -> None:
        """Remove an instance of this node's. Raises ``UnknownInstance``."""
        instance = self.held(app, id)
        await joint_registration.deregister(self.node, KEPT, instance)
        try:
            await self.overrides.lift(instance.service, instance.id)
        except StorageError as error:  # it is gone all the same; the override is lifted when it is registered anew
            log.warning("the override of %s stays for now: %s", instance.id, error)

    async def _beat(self, id: str, posted: PostedInstance) -> None:
        await self.node.heartbeat(id, check=LEASE)
        if posted.status != "UP":
            await self.node.heartbeat(id, check=STATUS, health=Health.CRITICAL, note=posted.status)

    def _find(self, app: str, id: str) -> Instance | None:
        for candidate in _ids(app, id):
            instance = self.node.own(candidate)
            if instance is not None and _is_known_as(instance, app, id):
                return instance
        return next((each for each in joint_instances(self.node, app) if _is_known_as(each, app, id)), None)

    def _free(self, posted: PostedInstance) -> str:
        """The id to register it under: its own, unless another service's instance has that."""
        for candidate in _ids(posted.app, posted.id):
            if self.node.own(candidate) is None:
                return candidate
        raise MalformedDocument(f"instanceId: {posted.id!r:.80} is taken by another service's instance: choose another")


def _is_known_as(instance: Instance, app: str, id: str) -> bool:
    """Whether Eureka's clients know an own instance by that application and id."""
    seen = seen_by(instance, KEPT)
    return app_of(seen.service) == app and id_of(seen, kept_of(seen)) == id


def _ids(app: str, id: str) -> Iterable[str]:
    """The ids that an instance may have here: two applications of a host may both call theirs by its name."""
    return id, f"{app.lower()}:{id}"
