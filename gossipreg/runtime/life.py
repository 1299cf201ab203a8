"""Knows one life of a node in this process: what it offers and keeps on disk, and how it ends."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import attrs
import trio

from gossipreg.errors import GossipregError, NodeClosed, StorageError
from gossipreg.model import Address, Instance
from gossipreg.protocol.engine import Engine
from gossipreg.protocol.registry.payload import pack_instance, unpack_instance
from gossipreg.runtime.changes import Changes
from gossipreg.runtime.driver import Driver
from gossipreg.runtime.persistence import Keeper, Saved

log = logging.getLogger(__name__)

#: Peers that are remembered over a restart; any one of them leads to all.
_PEERS_KEPT = 64

#: Time between looks at whether the remembered peers are still right (seconds).
_PEERS_INTERVAL = 5.0


@attrs.define(eq=False)
class Life:
    """An engine with its driver, from opening to closing."""

    cluster: str
    engine: Engine
    driver: Driver
    changes: Changes
    counters: Counter[str]
    keeper: Keeper | None
    failure: GossipregError | None = None
    _leaving: trio.Lock = attrs.field(factory=trio.Lock)
    _closed: trio.Event = attrs.field(factory=trio.Event)

    @property
    def name(self) -> str:
        """The member's name."""
        return self.engine.identity.name

    # What it offers

    async def register(self, instance: Instance) -> None:
        """Offer ``instance``; with a data directory it is on disk when this returns."""
        self.check_open()
        before = self.engine.own(instance.id)
        self.driver.say(self.engine.register(instance, trio.current_time()))
        if self.keeper is not None:
            with self._undoing(instance.id, before):
                await self.keeper.put(instance.id, pack_instance(instance))

    async def deregister(self, id: str) -> None:  # noqa: A002
        """Withdraw an instance; with a data directory it is off the disk when this returns."""
        self.check_open()
        before = self.engine.own(id)
        self.driver.say(self.engine.deregister(id, trio.current_time()))
        if self.keeper is not None:
            with self._undoing(id, before):
                await self.keeper.drop(id)

    @contextmanager
    def _undoing(self, id: str, before: Instance | None) -> Iterator[None]:  # noqa: A002
        """What could not be stored did not happen."""
        try:
            yield
        except GossipregError:
            if not self.is_closed:
                now = trio.current_time()
                if before is not None:
                    self.driver.say(self.engine.register(before, now))
                elif self.engine.own(id) is not None:
                    self.driver.say(self.engine.deregister(id, now))
            raise

    # What it keeps

    def restore(self, saved: Saved) -> None:
        """Offer again what was registered before the restart."""
        for warning in saved.warnings:
            log.warning("%s", warning)
        for instance_id, payload in saved.instances.items():
            instance = unpack_instance(payload, id=instance_id, owner=self.name)
            self.driver.say(self.engine.register(instance, trio.current_time()))

    async def keep_peers(self, keeper: Keeper) -> None:
        """Note on disk who is there, so that a restart finds back without its seeds."""
        noted: list[Address] = []
        failing = False
        while True:
            await trio.sleep(_PEERS_INTERVAL)
            peers = sorted(self.engine.members.present_addresses())[:_PEERS_KEPT]
            if not peers or peers == noted:
                continue
            try:
                await keeper.set_peers(peers)
            except StorageError as error:  # a full disk must not stop a node that serves
                if not failing:
                    log.warning("the peers are not noted on disk: %s", error)
                failing = True
            else:
                noted, failing = peers, False

    # How it ends

    @property
    def is_closed(self) -> bool:
        """Whether it is over."""
        return self._closed.is_set()

    def check_open(self) -> None:
        """Raise ``NodeClosed``, or what closed the node, once it is over."""
        if self.failure is not None:
            raise self.failure
        if self.is_closed:
            raise NodeClosed(f"node {self.name!r} is closed: open a new one")

    async def leave(self) -> None:
        """Ask for no new work, say goodbye, wait until that has spread, close. If cancelled, call it again."""
        async with self._leaving:
            if self.is_closed:
                return
            settings, identity = self.engine.settings, self.engine.identity
            has_peers = bool(self.engine.members.present)
            if has_peers and self.engine.own_count() and not identity.draining and not identity.left:
                self.driver.say(self.engine.drain(trio.current_time()))
                await trio.sleep(settings.drain_time)
            if not identity.left:
                self.driver.say(self.engine.leave(trio.current_time()))
            if has_peers:
                await trio.sleep(settings.leave_linger)
            self.close()

    def close(self, failure: GossipregError | None = None) -> None:
        """Stop at once, without a word to anybody."""
        if not self.is_closed:
            self.failure = failure
            self._closed.set()
            self.changes.close()
            self.driver.nursery.cancel_scope.cancel()

    async def wait_closed(self) -> None:
        """Return when it is over; raises what closed it, if that was an error."""
        await self._closed.wait()
        if self.failure is not None:
            raise self.failure
