"""Registrar: registers this node's own instances: first on disk, then in gossip, all of a request or nothing of it.

Theory of operation (docs/decisions/0057). What is registered is held in three places: the row on disk, the record in
the engine, which every member hears of, and `registrations`, which has what only its owner knows: checks and
maintenance. `Registrar.commit` is the one place that changes them, for one instance or many, and it changes them
together. The order is that of policies and terms: the disk first, since a write that fails then leaves nothing to take
back. Without a data directory the steps 3 and 4 are left out, and nothing waits.

| step                           | state if it fails                    | state if the task is cancelled there   |
|--------------------------------|--------------------------------------|----------------------------------------|
| 1. wait for the ids            | cannot fail                          | as before                              |
| 2. seal, check, pack           | as before; the error says why        | waits for nothing                      |
| 3. wait for the lock of terms, | cannot fail                          | as before; the number of the term is   |
|    if a term is stated         |                                      | free again                             |
| 4. write the rows, in one      | as before: ``StorageError``          | as if not cancelled: 4 and 5 are made, |
|    transaction                 |                                      | then the cancellation counts           |
| 5. publish, run the checks     | as before: the rows are written back | waits for nothing                      |

- Step 5 fails only if the node was closed, or a limit was reached, during 3 and 4. If the disk fails as well when the
  rows are written back, a restart registers what was refused: that is logged.
- A process that dies between 4 and 5 registers at its restart what it had written.
- Changes of one id are made one after the other (step 1): otherwise a change that was read before a wait would undo
  one that was acknowledged during it. Changes of different ids wait for the disk side by side, and share its commits.
- Whatever states a term, to register or to withdraw it, writes the term register of its service in the same
  transaction, under the lock of policies and terms: see `PolicyWriter`.
- A registration that changes nothing is neither written nor published.

Health is no part of a registration: `InstanceHealth` publishes it. What files define is registered, and withdrawn, by
`DefinedInstances`.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager

import attrs
import trio

from gossipreg.errors import GossipregError, InvalidInstance, StorageError, UnknownInstance, naming
from gossipreg.model import Address, Instance
from gossipreg.protocol.registry.credentials import NONCE_BYTES, CredentialKeyring
from gossipreg.protocol.registry.payload import BadPayload
from gossipreg.runtime.checks.monitor import Monitor
from gossipreg.runtime.checks.ttl_state import UnusableTtlState, unpack
from gossipreg.runtime.instance_health import InstanceHealth
from gossipreg.runtime.node_context import NodeContext
from gossipreg.runtime.policy_writer import PolicyWriter
from gossipreg.runtime.registrations import LocalRegistration
from gossipreg.runtime.saved_state import CHECKS, INSTANCE, Place, SavedState
from gossipreg.runtime.supervision import is_broken_invariant, log_bug
from gossipreg.targets import CheckRules

log = logging.getLogger(__name__)

#: What is to become of instances, by id; None: it is withdrawn.
Changes = Mapping[str, LocalRegistration | None]


@attrs.define(eq=False, repr=False)
class Registrar:
    """The registrations of one node. The theory of operation is the module's."""

    _context: NodeContext
    _policies: PolicyWriter
    command_checks: str  # see `Config`
    _check_rules: CheckRules
    keyring: CredentialKeyring
    registrations: dict[str, LocalRegistration] = attrs.field(init=False, factory=dict)  # by id
    not_defined_yet: dict[str, LocalRegistration] = attrs.field(
        init=False, factory=dict
    )  # files defined these before a restart, and have not since
    health: InstanceHealth = attrs.field(init=False)
    _locks: dict[str, trio.Lock] = attrs.field(init=False, factory=dict)  # of instances that are being changed, by id

    def __attrs_post_init__(self) -> None:
        self.health = InstanceHealth(
            self._context, self.registrations, self._check_rules, self.exclusively, self.withdraw, self.command_checks
        )

    @property
    def monitor(self) -> Monitor:
        """What runs the checks."""
        return self.health.monitor

    @property
    def member(self) -> str:
        """The node's name."""
        return self._context.name

    # Registering

    async def register(self, registration: LocalRegistration) -> Instance:
        """Register an instance; with a data directory it is on disk when this returns. The instance as lookups show it.

        If the one of its id is in maintenance, it stays so.
        """
        id_ = registration.instance.id
        async with self.exclusively(id_):
            await self.commit({id_: self.in_maintenance_as_before(registration)})
            return self.shown(registration.instance)

    async def register_many(self, registrations: Sequence[LocalRegistration]) -> tuple[Instance, ...]:
        """Register all of these or, if one cannot be, none; otherwise as `register`.

        An ``InvalidInstance`` has the place in ``registrations`` before the field, as in ``[3].port``.
        """
        places: dict[str, int] = {}
        for place, each in enumerate(registrations):
            first = places.setdefault(each.instance.id, place)
            if first != place:
                raise InvalidInstance(
                    f"[{place}].id", f"{each.instance.id!r} is that of [{first}] too: give each an id of its own"
                )
        async with self.exclusively(*places):
            changes = {each.instance.id: self.in_maintenance_as_before(each) for each in registrations}
            await self.commit(changes, place_of=_place)
            return tuple(self.shown(each.instance) for each in registrations)

    async def change(self, id: str, change: Callable[[LocalRegistration], LocalRegistration]) -> Instance:
        """Register anew what ``change`` makes of what is registered under that id. Raises ``UnknownInstance``."""
        async with self.exclusively(id):
            wanted = change(self.registration_of(id))
            await self.commit({id: wanted})
            return self.shown(wanted.instance)

    async def deregister(self, id: str) -> None:
        """Withdraw an instance; with a data directory it is off the disk when this returns."""
        async with self.exclusively(id):
            await self.withdraw(id)

    async def withdraw(self, *ids: str) -> None:
        """Withdraw instances that are held `exclusively`."""
        await self.commit(dict.fromkeys(ids))

    def registration_of(self, id: str) -> LocalRegistration:
        """What was registered here under that id. Raises ``UnknownInstance``."""
        self._context.check_open()
        registration = self.registrations.get(id)
        if registration is None or self._context.engine.own(id) is None:
            raise self._context.engine.unknown_instance(id)
        return registration

    def shown(self, instance: Instance) -> Instance:
        """This node's own ``instance`` as lookups answer it: fenced, with the weight that policies leave, and so on."""
        engine = self._context.engine
        found = engine.view.service(instance.service).find(instance.id, self._context.name)
        return found or engine.own(instance.id) or instance

    def in_maintenance_as_before(self, registration: LocalRegistration) -> LocalRegistration:
        """``registration`` in the maintenance in which the one of its id is, or was before a restart."""
        before = self._before(registration.instance.id)
        maintenance = None if before is None else before.maintenance
        if maintenance == registration.maintenance:
            return registration
        return attrs.evolve(registration, maintenance=maintenance)

    def _before(self, id: str) -> LocalRegistration | None:
        """What was last registered under that id, by this run of the node or the one before."""
        return self.registrations.get(id) or self.not_defined_yet.get(id)

    # The steps

    @asynccontextmanager
    async def exclusively(self, *ids: str) -> AsyncIterator[None]:
        """Step 1: hold these ids, so that what is registered under them is changed here only."""
        self._context.check_open()
        held: list[str] = []
        try:
            for id_ in sorted(ids):  # all in one order, or two tasks would wait for each other
                lock = self._locks.setdefault(id_, trio.Lock())
                try:
                    lock.acquire_nowait()  # nearly always: without a turn of the event loop
                except trio.WouldBlock:
                    await lock.acquire()
                held.append(id_)
            self._context.check_open()
            yield
        finally:
            for id_ in held:
                lock = self._locks[id_]
                lock.release()
                if not lock.locked():
                    del self._locks[id_]

    async def commit(self, changes: Changes, *, place_of: Callable[[int], str] | None = None) -> None:
        """Make changes of instances that are held `exclusively`, all or none: steps 2 to 5.

        ``place_of``: what the error that one of several cannot be registered has before the field, by its place.
        """
        prepared = self._prepared(changes, place_of)
        if not prepared:
            return
        store = self._context.store
        if store is None:
            self._publish(prepared)
            return
        wanted = [each.instance for each in prepared.values() if each is not None]
        before = [self.registrations[id_].instance for id_ in prepared if id_ in self.registrations]
        async with self._policies.stating(wanted, before) as registers:
            with trio.CancelScope(shield=True):
                await store.put_instances(_rows(prepared), registers)
                try:
                    self._context.check_open()
                    self._publish(prepared)
                except GossipregError:
                    await self._write_back(list(prepared), list(registers))
                    raise

    def _prepared(self, changes: Changes, place_of: Callable[[int], str] | None) -> Changes:
        """Step 2: those of ``changes`` that change anything, sealed and checked. Raises why one cannot be made."""
        engine = self._context.engine
        room = engine.registration_room()
        prepared: dict[str, LocalRegistration | None] = {}
        for place, (id_, wanted) in enumerate(changes.items()):
            if wanted is None:
                if engine.own(id_) is None:
                    raise engine.unknown_instance(id_)
                prepared[id_] = None
                continue
            with naming("" if place_of is None else place_of(place)):
                registration = self.sealed(wanted)
                before = self.registrations.get(id_)
                if registration == before and engine.own(id_) is not None:
                    continue
                registration.check_room()
                self.health.check_targets(registration, () if before is None else before.checks)
                room.add(registration.instance, len(registration.payload))
                prepared[id_] = registration
        self.monitor.make_room({id_: () if each is None else each.checks for id_, each in prepared.items()})
        return prepared

    def _publish(self, prepared: Changes) -> None:
        """Step 5. If the engine refuses any, nothing changes."""
        context, now = self._context, trio.current_time()
        withdrawn = [id_ for id_, each in prepared.items() if each is None]
        offers = [self.health.offer(each) for each in prepared.values() if each is not None]
        offers = [(instance, payload) for instance, payload in offers if instance != context.engine.own(instance.id)]
        if offers:
            context.driver.say(context.engine.register_many(offers, now))
        if withdrawn:
            context.driver.say(context.engine.deregister_many(withdrawn, now))
        for id_, each in prepared.items():
            self.not_defined_yet.pop(id_, None)
            if each is None:
                self.registrations.pop(id_, None)
                self.monitor.drop(id_)
            else:
                self.registrations[id_] = each
                self.monitor.put(id_, each.checks)
        self.health.follow_node(prepared)

    async def _write_back(self, ids: Collection[str], services: Collection[str]) -> None:
        """Have the disk say again of these ``ids``, and of the terms of these ``services``, what is so."""
        store = self._context.store
        assert store is not None, "what was written can be written back"
        try:
            await store.put_instances(
                _rows({id_: self._before(id_) for id_ in ids}), self._policies.registers_of(services)
            )
        except StorageError as error:
            log.warning("what was refused of %s may be registered at the next start: %s", ", ".join(ids), error)
        self.monitor.not_kept(id_ for id_ in ids if id_ in self.registrations)

    # Credentials

    def sealed(self, registration: LocalRegistration) -> LocalRegistration:
        """The registration with its credentials sealed into its instance: without the key they cannot be read there."""
        if not registration.credentials:
            return registration
        before = self._before(registration.instance.id)
        held = b"" if before is None else before.instance.sealed
        sealed = self.keyring.seal(registration.credentials, registration.instance, os.urandom(NONCE_BYTES), held)
        return attrs.evolve(registration, instance=attrs.evolve(registration.instance, sealed=sealed), credentials={})

    async def use_keyring(self, keyring: CredentialKeyring) -> None:
        """Seal and open credentials with these keys from now on, and seal anew what a key that is replaced sealed."""
        self.keyring = keyring
        await self.renew_credentials()

    async def renew_credentials(self) -> None:
        """Seal anew what an earlier run sealed with a key that is being replaced."""

        def opened(registration: LocalRegistration) -> LocalRegistration:
            return attrs.evolve(registration, credentials=self.keyring.open(registration.instance))

        for id_ in list(self.registrations):
            try:
                async with self.exclusively(id_):
                    registration = self.registration_of(id_)
                    if self.keyring.supersedes(registration.instance):
                        await self.commit({id_: opened(registration)})
            except UnknownInstance:
                pass  # it was withdrawn since this began
            except GossipregError as error:
                log.warning("the credentials of %s stay sealed as they were: %s", id_, error)
            except Exception as error:  # noqa: BLE001 - it is logged
                log_bug(self._context.counters, f"the renewal of the credentials of {id_}", error)

    # When the host is renumbered

    async def move(self, address: Address) -> None:
        """Move the node to ``address``, and with it the instances that were registered at its old one."""
        context = self._context
        old = context.engine.identity.address
        context.driver.say(context.engine.move(address, trio.current_time()))

        def moved(registration: LocalRegistration) -> LocalRegistration:
            if registration.instance.host != old.host:
                return registration
            instance = attrs.evolve(registration.instance, host=address.host)
            instance.check()
            credentials: Mapping[str, str] = {}
            if registration.instance.sealed:  # for its old address, so they are sealed anew for the new one
                credentials = self.keyring.open(registration.instance)
            return attrs.evolve(registration, instance=instance, credentials=credentials)

        for id_ in [id_ for id_, each in self.registrations.items() if each.instance.host == old.host]:
            try:
                await self.change(id_, moved)
            except UnknownInstance:
                pass  # it was withdrawn while the ones before it were written to disk
            except GossipregError as error:  # a full disk must not stop a node that serves
                log.warning("instance %s stays at %s: %s", id_, old.host, error)

    # After a restart

    def restore(self, saved: SavedState) -> list[Place]:
        """Register again what was saved; what files defined, only once they do so again.

        Returns the rows that cannot be used: today's checks refuse them, or no version could ever read them. A row that
        a bug keeps from being registered is none of these; it stays where it is.
        """
        unusable = [(CHECKS, id_) for id_ in saved.checks if id_ not in saved.instances]
        again: dict[str, LocalRegistration] = {}
        for id_, body in saved.instances.items():
            with self._setting_aside(id_, unusable):
                registration = LocalRegistration.unpack(body, id=id_, owner=self._context.name)
                if id_ in saved.checks and not self._recall_checks(registration, saved.checks[id_]):
                    unusable.append((CHECKS, id_))
                (self.not_defined_yet if registration.defined else again)[id_] = registration
        try:
            self._publish(again)
        except Exception as error:
            if is_broken_invariant(error):
                raise
            for id_, registration in again.items():
                with self._setting_aside(id_, unusable):
                    self._publish({id_: registration})
        return unusable

    @contextmanager
    def _setting_aside(self, id: str, unusable: list[Place]) -> Iterator[None]:
        """Have the instance of a row that cannot be used, or meets a bug, not registered, and go on."""
        try:
            yield
        except (GossipregError, BadPayload) as flaw:
            log.warning("instance %s is not registered again: %s", id, flaw)
            unusable.append((INSTANCE, id))
            self.monitor.forget_recalled(id)
        except Exception as error:  # noqa: BLE001 - it is logged, and raised if the engine cannot be relied on
            self.monitor.forget_recalled(id)
            log_bug(self._context.counters, f"registering instance {id} again", error)

    def _recall_checks(self, registration: LocalRegistration, body: bytes) -> bool:
        """Have ttl checks go on from their stored state; False if that cannot be read."""
        id_, now = registration.instance.id, trio.current_time()
        try:
            self.monitor.recall(id_, unpack(body, registration.checks, now, time.time() - now))
        except UnusableTtlState as flaw:
            log.warning("the ttl checks of instance %s begin anew: %s", id_, flaw)
            return False
        return True


def _rows(changes: Changes) -> dict[str, bytes | None]:
    """What the disk is to hold of them, by id."""
    return {id_: None if each is None else each.packed() for id_, each in changes.items()}


def _place(number: int) -> str:
    return f"[{number}]"
