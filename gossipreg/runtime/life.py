"""Knows one life of a node in this process: what it offers and keeps on disk, and how it ends."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import attrs
import trio

from gossipreg.check import Check
from gossipreg.errors import GossipregError, InvalidInstance, NodeClosed, StorageError, UnknownInstance
from gossipreg.model import Address, Instance
from gossipreg.protocol.engine import Engine
from gossipreg.protocol.registry.checks import Finding
from gossipreg.runtime.changes import Changes
from gossipreg.runtime.checks.monitor import Monitor
from gossipreg.runtime.checks.probing import probe
from gossipreg.runtime.driver import Driver
from gossipreg.runtime.offers import Offer

if TYPE_CHECKING:
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
    command_checks: str = "off"  # see `Config`
    failure: GossipregError | None = None
    offers: dict[str, Offer] = attrs.field(init=False, factory=dict)  # what was registered here, by id
    monitor: Monitor = attrs.field(init=False)
    _leaving: trio.Lock = attrs.field(factory=trio.Lock)
    _closed: trio.Event = attrs.field(factory=trio.Event)

    def __attrs_post_init__(self) -> None:
        self.monitor = Monitor(self.driver.nursery, self._probe, self._checked, self._flapped, self._expired)

    async def _probe(self, check: Check) -> Finding | None:
        return await probe(check, commands=self.command_checks != "off")

    @property
    def name(self) -> str:
        """The member's name."""
        return self.engine.identity.name

    # What it offers

    async def register(self, offer: Offer) -> Instance:
        """Offer an instance; with a data directory it is on disk when this returns. The instance as it stands."""
        self.check_open()
        offer.check_room()
        id_ = offer.instance.id
        self.monitor.make_room(id_, offer.checks)
        before = self.offers.get(id_)
        self._offer(offer)
        if self.keeper is not None:
            with self._undoing(id_, before):
                await self.keeper.put(id_, offer.packed())
        return self.engine.own(id_) or offer.instance

    async def deregister(self, id: str) -> None:
        """Withdraw an instance; with a data directory it is off the disk when this returns."""
        self.check_open()
        before = self.offers.get(id)
        self.driver.say(self.engine.deregister(id, trio.current_time()))
        if self.keeper is not None:
            with self._undoing(id, before):
                await self.keeper.drop(id)
        if self.engine.own(id) is None:  # else it was registered again meanwhile
            self.offers.pop(id, None)
            self.monitor.drop(id)

    def offer_of(self, id: str) -> Offer:
        """What was registered here under that id. Raises ``UnknownInstance``."""
        self.check_open()
        offer = self.offers.get(id)
        if offer is None or self.engine.own(id) is None:
            raise UnknownInstance(f"this node owns no instance {id!r}: ask the node that registered it")
        return offer

    def _offer(self, offer: Offer) -> None:
        """Say it, and check it from now on. Nothing is changed if the engine will not have it."""
        self.driver.say(self.engine.register(self._standing(offer), trio.current_time()))
        self.offers[offer.instance.id] = offer
        self.monitor.put(offer.instance.id, offer.checks)

    def _standing(self, offer: Offer) -> Instance:
        """The instance with the health that its checks give it."""
        health, reason = self.monitor.standing(offer.instance.id, offer.checks, offer.maintenance)
        return attrs.evolve(offer.instance, health=health, reason=reason)

    def _checked(self, id: str) -> None:
        """A check of one of our instances has changed: tell everybody, if that changes the instance."""
        said = self.engine.own(id)
        if said is not None and not self.engine.identity.left:
            stands = self._standing(self.offers[id])
            if stands != said:
                self.driver.say(self.engine.register(stands, trio.current_time()))

    def _flapped(self, id: str, check: str) -> None:
        self.changes.write([("check", f"{id} {check}")])

    def _expired(self, id: str, check: str) -> None:
        log.warning("instance %s is deregistered: its check %s was critical for too long", id, check)
        self.driver.nursery.start_soon(self._withdraw, id)

    async def _withdraw(self, id: str) -> None:
        try:
            await self.deregister(id)
        except StorageError as error:
            log.warning("instance %s stays for now: %s", id, error)
        except (UnknownInstance, NodeClosed):
            pass  # somebody else was quicker

    @contextmanager
    def _undoing(self, id: str, before: Offer | None) -> Iterator[None]:
        """What could not be stored did not happen."""
        try:
            yield
        except GossipregError:
            if not self.is_closed:
                now = trio.current_time()
                if before is not None:
                    self._offer(before)
                elif self.engine.own(id) is not None:
                    self.driver.say(self.engine.deregister(id, now))
                    self.offers.pop(id, None)
                    self.monitor.drop(id)
            raise

    # What it keeps

    def restore(self, saved: Saved) -> None:
        """Offer again what was registered before the restart."""
        for warning in saved.warnings:
            log.warning("%s", warning)
        for instance_id, payload in saved.instances.items():
            try:
                self._offer(Offer.unpack(payload, id=instance_id, owner=self.name))
            except InvalidInstance as error:
                log.warning("instance %s is not offered again: %s", instance_id, error)

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
            self.monitor.close()
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
