"""Registrar: registers this node's own instances: first on disk, then in gossip, all of a request or nothing of it.

Theory of operation (docs/decisions/0057). What is registered is held in three places, which `Registrar.commit` changes
together, for one instance or for many; nothing else changes them:

- on disk: a row for each registration;
- in the engine: the record that every member hears of;
- in `Registrar.registrations`: what only its owner knows, such as checks and maintenance.

A change takes five steps. The disk comes before gossip, as with policies and terms: what members have heard cannot be
taken back, and a write that fails leaves nothing to take back. Without a data directory steps 3 and 4 are left out.

1. `exclusively`: wait until no other change of these ids is in progress. Otherwise a change that was read before a wait
   would undo one that was acknowledged during it. Changes of different ids go side by side, and share commits.
2. `_prepared`: leave out what changes nothing, seal credentials, check, pack.
3. `PolicyWriter.stating`: if a term is stated or withdrawn, wait for the lock of policies and terms; the service's term
   register is written along with the rows.
4. `AsyncStateStore.put_instances`: write the rows, in one transaction.
5. `publish`: have the engine publish the records, keep the registrations, run their checks.

What is so when a step fails: the error is raised, and nothing has changed.

- Step 2 fails for what cannot be registered, step 4 with ``StorageError``. Steps 1 and 3 cannot fail.
- Step 5 fails only if the node was closed, or others have used up a limit, during steps 3 and 4. Then the rows are
  written back. If the disk refuses that as well, a restart registers what was refused: that is logged.

What is so when the task is cancelled, or the process dies:

- Cancelled in step 1 or 3, nothing has changed; the number of a term that was being stated is free again.
- Cancelled in step 4, the change is made all the same, and the cancellation counts after step 5. Steps 2 and 5 do not
  wait, so that they cannot be cancelled.
- A process that dies between steps 4 and 5 registers at its restart what it had written.

Health is no part of a registration: `InstanceHealth` publishes it. What files define is registered, and withdrawn, by
`DefinedInstances`; what an earlier run registered, by `restored_instances`.
"""

from __future__ import annotations

import logging
import os
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager

import attrs
import trio

from gossipreg.errors import GossipregError, InvalidInstance, NodeClosed, StorageError, UnknownInstance, naming
from gossipreg.model import Address, Instance
from gossipreg.protocol.registry.credentials import NONCE_BYTES, CredentialKeyring
from gossipreg.protocol.registry.service_view import ServiceView
from gossipreg.runtime.checks.monitor import Monitor
from gossipreg.runtime.id_locks import IdLocks
from gossipreg.runtime.instance_health import InstanceHealth
from gossipreg.runtime.node_context import NodeContext
from gossipreg.runtime.permission import permission
from gossipreg.runtime.policy_writer import PolicyWriter
from gossipreg.runtime.registrations import LocalRegistration
from gossipreg.runtime.supervision import log_bug
from gossipreg.spec import InstanceSpec
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
    _locks: IdLocks = attrs.field(init=False, factory=IdLocks)

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

    @property
    def zone(self) -> str:
        """The node's zone, which is that of its instances unless they name one."""
        return self._context.engine.identity.zone

    # Registering

    def registration(self, spec: InstanceSpec) -> LocalRegistration:
        """What this node registers by ``spec``. Raises ``InvalidInstance``."""
        if self.command_checks == "off" and spec.runs_commands:
            raise InvalidInstance("checks", 'commands are off on this node: set command_checks to "own" or "api"')
        identity = self._context.engine.identity
        return LocalRegistration.of(spec, member=identity.name, host=identity.address.host, zone=identity.zone)

    async def register(self, registration: LocalRegistration) -> Instance:
        """Register an instance; with a data directory it is on disk when this returns. The instance as lookups show it.

        If the one of its id is in maintenance, it stays so.
        """
        id_ = registration.instance.id
        async with self.exclusively(id_):
            await self.commit({id_: self.in_maintenance_as_before(registration)})
            return self.shown(registration.instance)

    async def register_many(
        self, registrations: Sequence[LocalRegistration], *, check: Callable[[str], None] | None = None
    ) -> tuple[Instance, ...]:
        """Register all of these or, if one cannot be, none; otherwise as `register`.

        An ``InvalidInstance`` has the place in ``registrations`` before the field, as in ``[3].port``. ``check`` raises
        why an id cannot be registered in place of what is there; it is asked while that cannot change.
        """
        places: dict[str, int] = {}
        for place, each in enumerate(registrations):
            first = places.setdefault(each.instance.id, place)
            if first != place:
                raise InvalidInstance(
                    f"[{place}].id", f"{each.instance.id!r} is that of [{first}] too: give each an id of its own"
                )
        async with self.exclusively(*places):
            if check is not None:
                for id_ in places:
                    check(id_)
            changes = {each.instance.id: self.in_maintenance_as_before(each) for each in registrations}
            await self.commit(changes, place_of=_place)
            return tuple(self.shown(each.instance) for each in registrations)

    async def set_maintenance(self, id: str, reason: str | None) -> Instance:
        """Put an instance into maintenance, or end that with None. Raises ``UnknownInstance``, ``InvalidInstance``."""
        if reason is not None:
            attrs.evolve(self.registration_of(id).instance, reason=reason).check()
        async with self.exclusively(id):
            wanted = attrs.evolve(self.registration_of(id), maintenance=reason)
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
        if registration is None or self._context.engine.local_registry.own(id) is None:
            raise self._context.engine.local_registry.unknown_instance(id)
        return registration

    def shown(self, instance: Instance) -> Instance:
        """This node's own ``instance`` as lookups answer it: fenced, with the weight that policies leave, and so on."""
        engine = self._context.engine
        found = engine.view.service(instance.service).find(instance.id, self._context.name)
        return found or engine.local_registry.own(instance.id) or instance

    def view(self, service: str) -> ServiceView:
        """A service as lookups answer it now."""
        return self._context.engine.view.service(service)

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
        async with self._locks.held(*ids):
            self._context.check_open()
            permit = permission.get()
            for id_ in ids if permit is not None else ():
                before = self._before(id_)
                if before is not None and permit is not None:
                    permit(before.instance)
            yield

    async def commit(self, changes: Changes, *, place_of: Callable[[int], str] | None = None) -> None:
        """Make changes of instances that are held `exclusively`, all or none: steps 2 to 5.

        ``place_of``: what the error that one of several cannot be registered has before the field, by its place.
        """
        prepared = self._prepared(changes, place_of)
        if not prepared:
            return
        store = self._context.store
        if store is None:
            self.publish(prepared)
            return
        wanted = [each.instance for each in prepared.values() if each is not None]
        before = [self.registrations[id_].instance for id_ in prepared if id_ in self.registrations]
        async with self._policies.stating(wanted, before) as registers:
            with trio.CancelScope(shield=True):
                rows = _rows({id_: each for id_, each in prepared.items() if self._concerns_disk(id_, each)})
                if rows or registers:
                    await store.put_instances(rows, registers)
                try:
                    self._context.check_open()
                    self._make_room(prepared)  # others may have taken it while this waited
                    self.publish(prepared)
                except GossipregError:
                    await self._write_back(list(prepared), list(registers))
                    raise

    async def commit_each(self, changes: Changes) -> dict[str, GossipregError]:
        """Make changes of instances that are held `exclusively`: together or, if one is refused, each by itself.

        Returns what went wrong, by id: there, all stays as it was.
        """
        try:
            await self.commit(changes)
        except StorageError as error:
            return dict.fromkeys(changes, error)
        except GossipregError as error:
            if len(changes) == 1:
                return dict.fromkeys(changes, error)
        else:
            return {}
        failed: dict[str, GossipregError] = {}
        for id_, change in changes.items():
            failed |= await self.commit_each({id_: change})
        return failed

    def _concerns_disk(self, id: str, wanted: LocalRegistration | None) -> bool:
        """Whether the disk holds a row of that id, or is to hold one."""
        before = self._before(id)
        return any(each is not None and not each.is_bound for each in (before, wanted))

    def is_stored(self, id: str) -> bool:
        """Whether the instance of that id is to be there after a restart."""
        return self._concerns_disk(id, None)

    def _prepared(self, changes: Changes, place_of: Callable[[int], str] | None) -> Changes:
        """Step 2: those of ``changes`` that change anything, sealed and checked. Raises why one cannot be made."""
        engine = self._context.engine
        room = engine.local_registry.room()
        prepared: dict[str, LocalRegistration | None] = {}
        for place, (id_, wanted) in enumerate(changes.items()):
            if wanted is None:
                if engine.local_registry.own(id_) is None:
                    raise engine.local_registry.unknown_instance(id_)
                prepared[id_] = None
                continue
            with naming("" if place_of is None else place_of(place)):
                registration = self.sealed(wanted)
                before = self.registrations.get(id_)
                if registration == before and engine.local_registry.own(id_) is not None:
                    continue
                registration.check_room()
                self.health.check_targets(registration, () if before is None else before.checks)
                room.add(registration.instance, registration.size_max)
                prepared[id_] = registration
        self._make_room(prepared)
        return prepared

    def _make_room(self, prepared: Changes) -> None:
        """Raise ``InvalidInstance`` if there would be too many checks."""
        self.monitor.make_room({id_: () if each is None else each.checks for id_, each in prepared.items()})

    def publish(self, prepared: Changes) -> None:
        """Step 5. If the engine refuses any, nothing changes."""
        context, now = self._context, trio.current_time()
        withdrawn = [id_ for id_, each in prepared.items() if each is None]
        offers = [self.health.offer(each) for each in prepared.values() if each is not None]
        offers = [
            (instance, payload)
            for instance, payload in offers
            if instance != context.engine.local_registry.own(instance.id)
        ]
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
        """Move the node to ``address``, and with it the instances that were registered at its old one.

        Those, too, whose registration at the old one is in progress. They share one write to disk.
        """
        context = self._context
        old = context.engine.identity.address.host
        context.driver.say(context.engine.move(address, trio.current_time()))
        ids = sorted({id_ for id_, each in self.registrations.items() if each.instance.host == old}.union(self._locks))
        failed: dict[str, GossipregError] = {}
        try:
            async with self.exclusively(*ids):
                moved: dict[str, LocalRegistration] = {}
                for id_ in ids:
                    registration = self.registrations.get(id_)
                    if registration is not None and registration.instance.host == old:
                        try:
                            moved[id_] = self._moved(registration, address.host)
                        except GossipregError as flaw:
                            failed[id_] = flaw
                failed |= await self.commit_each(moved)
        except NodeClosed:
            return
        for id_, error in failed.items():  # a full disk must not stop a node that serves
            log.warning("instance %s stays at %s: %s", id_, old, error)

    def _moved(self, registration: LocalRegistration, host: str) -> LocalRegistration:
        """The registration at ``host``. Raises ``CredentialsUnavailable``, ``InvalidInstance``."""
        instance = attrs.evolve(registration.instance, host=host)
        instance.check()
        credentials: Mapping[str, str] = {}
        if registration.instance.sealed:  # for its old address, so they are sealed anew for the new one
            credentials = self.keyring.open(registration.instance)
        return attrs.evolve(registration, instance=instance, credentials=credentials)


def _rows(changes: Changes) -> dict[str, bytes | None]:
    """What the disk is to hold of them, by id."""
    return {id_: None if each is None or each.is_bound else each.packed() for id_, each in changes.items()}


def _place(number: int) -> str:
    return f"[{number}]"
