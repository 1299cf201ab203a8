"""Registrar: registers this node's own instances, on disk and in gossip, and keeps them true to their health checks."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from functools import partial

import attrs
import trio

from gossipreg import limits
from gossipreg.check import Check
from gossipreg.errors import (
    GossipregError,
    InvalidInstance,
    NodeClosed,
    RecordTooLarge,
    StorageError,
    UnknownInstance,
)
from gossipreg.model import NODE_REASON, NODE_SERVICE, Address, Health, Instance
from gossipreg.protocol.registry.checks import Finding
from gossipreg.protocol.registry.credentials import NONCE_BYTES, Keyring
from gossipreg.protocol.registry.payload import pack_instance
from gossipreg.protocol.registry.terms import TermRegister
from gossipreg.protocol.wire.messages import pack
from gossipreg.runtime.checks.dialing import AllowedTargets
from gossipreg.runtime.checks.monitor import Monitor
from gossipreg.runtime.checks.probing import probe
from gossipreg.runtime.checks.ttl_state import UnusableTtlState, unpack
from gossipreg.runtime.node_context import NodeContext
from gossipreg.runtime.registrations import LocalRegistration
from gossipreg.runtime.saved_state import CHECKS, INSTANCE, Place, SavedState
from gossipreg.runtime.supervision import log_bug, run_contained
from gossipreg.targets import CheckRules
from gossipreg.text import shortened

log = logging.getLogger(__name__)


@attrs.define(eq=False, repr=False)
class Registrar:
    """The registrations of one node.

    Changes of one instance are made one at a time, those of different instances side by side. ``policies_lock`` is
    held where a registration raises a term, since the term is stored and published like a policy.
    """

    _context: NodeContext
    _policies_lock: trio.Lock
    command_checks: str  # see `Config`
    _check_rules: CheckRules
    keyring: Keyring
    registrations: dict[str, LocalRegistration] = attrs.field(init=False, factory=dict)  # by id
    monitor: Monitor = attrs.field(init=False)
    _undefined_yet: dict[str, LocalRegistration] = attrs.field(
        init=False, factory=dict
    )  # files defined before a restart
    _pending_terms: dict[str, list[int]] = attrs.field(init=False, factory=dict)  # being written to disk, by service
    _locks: dict[str, trio.Lock] = attrs.field(init=False, factory=dict)  # of instances that are being changed, by id

    def __attrs_post_init__(self) -> None:
        context = self._context
        self.monitor = Monitor(
            context.driver.nursery, self._probe, self._checked, self._flapped, self._expired, context.counters
        )

    # Registering

    async def register(self, registration: LocalRegistration) -> Instance:
        """Register an instance; with a data directory it is on disk when this returns. The instance as lookups show it.

        If the one of its id is in maintenance, it stays so.
        """
        async with self._exclusively(registration.instance.id):
            before = self._previous(registration.instance.id)
            maintenance = None if before is None else before.maintenance
            return await self._register(attrs.evolve(registration, maintenance=maintenance))

    async def change(self, id: str, change: Callable[[LocalRegistration], LocalRegistration]) -> Instance:
        """Register anew what ``change`` makes of what is registered under that id. Raises ``UnknownInstance``."""
        async with self._exclusively(id):
            return await self._register(change(self.registration_of(id)))

    async def deregister(self, id: str) -> None:
        """Withdraw an instance; with a data directory it is off the disk when this returns."""
        async with self._exclusively(id):
            await self._deregister(id)

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
        view = engine.view.service(instance.service)
        own = (each for each in view.instances if each.owner == self._context.name and each.id == instance.id)
        return next(own, engine.own(instance.id) or instance)

    @asynccontextmanager
    async def _exclusively(self, id: str) -> AsyncIterator[None]:
        """Change one instance at a time: while a change is being written to disk, the next one of that id waits.

        Otherwise a change that was read before the wait would undo one that was acknowledged during it.
        """
        self._context.check_open()
        lock = self._locks.setdefault(id, trio.Lock())
        try:
            lock.acquire_nowait()  # nearly always: without a turn of the event loop
        except trio.WouldBlock:
            await lock.acquire()
        try:
            self._context.check_open()
            yield
        finally:
            lock.release()
            if not lock.locked():
                self._locks.pop(id, None)

    async def _register(self, registration: LocalRegistration) -> Instance:
        registration = self._with_sealed_credentials(registration)
        registration.check_room()
        id_, store = registration.instance.id, self._context.store
        self.monitor.make_room(id_, registration.checks)
        before = self.registrations.get(id_)
        self._check_targets(registration, () if before is None else before.checks)
        if store is not None and (raised := self._raised_term(registration)) is not None:
            await self._store_and_announce(registration, raised)
            return self.shown(registration.instance)
        self._announce(registration)
        if store is not None:
            with self._rollback_on_error(id_, before):
                await store.put(id_, registration.packed(), term=self._term_of(registration))
        return self.shown(registration.instance)

    async def _deregister(self, id: str) -> None:
        before, context = self.registrations.get(id), self._context
        context.driver.say(context.engine.deregister(id, trio.current_time()))
        if context.store is not None:
            try:
                with self._rollback_on_error(id, before):
                    await context.store.drop(id, term=self._term_of(before))
            except trio.Cancelled:  # it is withdrawn all the same, and its row goes with the next that is written
                self._forget(id)
                raise
        self._forget(id)

    def _forget(self, id: str) -> None:
        """Forget an instance that the engine has withdrawn."""
        self.registrations.pop(id, None)
        self.monitor.drop(id)
        self._follow_node(id)

    @property
    def member(self) -> str:
        """The node's name."""
        return self._context.name

    def _announce(self, registration: LocalRegistration) -> None:
        """Publish the instance if it has changed, and run its checks. If the engine refuses it, nothing changes."""
        id_, instance = registration.instance.id, self._with_health(registration)
        if instance != self._context.engine.own(id_):
            self._publish(registration, instance)
        self.registrations[id_] = registration
        self._undefined_yet.pop(id_, None)
        self.monitor.put(id_, registration.checks)
        self._follow_node(id_)

    def _publish(self, registration: LocalRegistration, instance: Instance) -> None:
        """Publish ``instance``, which is that of ``registration`` with the health that its checks give it."""
        payload = registration.payload if instance == registration.instance else pack_instance(instance)
        self._context.driver.say(self._context.engine.register(instance, trio.current_time(), payload))

    @contextmanager
    def _rollback_on_error(self, id: str, before: LocalRegistration | None) -> Iterator[None]:
        """Undo in the engine what could not be stored."""
        context = self._context
        try:
            yield
        except GossipregError:
            if not context.is_closed:
                if before is not None:
                    self._announce(before)
                elif context.engine.own(id) is not None:
                    context.driver.say(context.engine.deregister(id, trio.current_time()))
                    self._forget(id)
            raise

    def _previous(self, id: str) -> LocalRegistration | None:
        """What was last registered under that id, by this run of the node or the one before."""
        return self.registrations.get(id) or self._undefined_yet.get(id)

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
            return attrs.evolve(registration, instance=instance)

        for id_ in [id_ for id_, each in self.registrations.items() if each.instance.host == old.host]:
            try:
                await self.change(id_, moved)
            except UnknownInstance:
                pass  # it was withdrawn while the ones before it were written to disk
            except GossipregError as error:  # a full disk must not stop a node that serves
                log.warning("instance %s stays at %s: %s", id_, old.host, error)

    # Terms

    def next_term(self, service: str) -> int:
        """A term above all that are known here, those included that are just being written. Raises ``NotJoined``."""
        pending = (term + 1 for term in self._pending_terms.get(service, ()))
        return max([self._context.engine.next_term(service), *pending])

    async def _store_and_announce(self, registration: LocalRegistration, raised: TermRegister) -> None:
        """Announce an instance once it is on disk: a term that every member has heard of cannot be taken back."""
        context, instance = self._context, registration.instance
        assert context.store is not None, "without a disk there is nothing to wait for"
        context.engine.check_registration(instance, len(registration.payload))
        pending = self._pending_terms.setdefault(raised.service, [])
        pending.append(instance.term)
        try:
            with trio.CancelScope(shield=True):  # as with a policy
                async with self._policies_lock:
                    term = (raised.service, pack(raised))
                    await context.store.put(instance.id, registration.packed(), term=term)
                    context.check_open()
                    self._announce(registration)
        finally:
            pending.remove(instance.term)
            if not pending:
                self._pending_terms.pop(raised.service, None)

    def _raised_term(self, registration: LocalRegistration) -> TermRegister | None:
        """The term register of the service once the instance is registered, if that raises it."""
        instance = registration.instance
        register = self._context.engine.state.terms.get(instance.service) or TermRegister(instance.service)
        raised = register.raised(instance) if instance.term else register
        return None if raised == register else raised

    def _term_of(self, registration: LocalRegistration | None) -> tuple[str, bytes] | None:
        """The term register that is to be on disk along with a change of ``registration``, if that states a term.

        Stored later it could be lost in a crash that the removal survives: the term would be given out again.
        """
        if registration is None or not registration.instance.term:
            return None
        register = self._context.engine.state.terms.get(registration.instance.service)
        return None if register is None else (register.service, pack(register))

    # Credentials

    def _with_sealed_credentials(self, registration: LocalRegistration) -> LocalRegistration:
        """The registration with its credentials sealed into its instance: without the key they cannot be read there."""
        if not registration.credentials:
            return registration
        before = self._previous(registration.instance.id)
        held = b"" if before is None else before.instance.sealed
        sealed = self.keyring.seal(registration.credentials, registration.instance, os.urandom(NONCE_BYTES), held)
        return attrs.evolve(registration, instance=attrs.evolve(registration.instance, sealed=sealed), credentials={})

    async def renew_credentials(self) -> None:
        """Seal anew what an earlier run sealed with a key that is being replaced."""
        for id_ in list(self.registrations):
            registration = self.registrations.get(id_)  # it may have changed, or be gone, since this began
            if registration is None or self._context.engine.own(id_) is None:
                continue
            if not self.keyring.supersedes(registration.instance):
                continue
            try:
                await self.change(id_, lambda each: attrs.evolve(each, credentials=self.keyring.open(each.instance)))
            except UnknownInstance:
                pass  # it was withdrawn in this very moment
            except GossipregError as error:
                log.warning("the credentials of %s stay sealed as they were: %s", id_, error)
            except Exception as error:  # noqa: BLE001 - it is logged
                log_bug(self._context.counters, f"the renewal of the credentials of {id_}", error)

    # Health checks

    async def _probe(self, id: str, check: Check) -> Finding | None:
        registration = self.registrations.get(id)
        own = () if registration is None else self._own_hosts(registration.instance)
        allowed = AllowedTargets(self._check_rules, own)
        return await probe(check, commands=self.command_checks != "off", allowed=allowed)

    def _own_hosts(self, instance: Instance) -> tuple[str, ...]:
        """The hosts that are an instance's own: where it is, and where this node is."""
        return instance.host, self._context.engine.identity.address.host

    def _check_targets(self, registration: LocalRegistration, before: Sequence[Check]) -> None:
        """Raise ``InvalidInstance`` for a new check that this node would not run; those ``before`` go on as they do."""
        own = self._own_hosts(registration.instance)
        for place, check in enumerate(registration.checks):
            flaw = None if check in before else check.flaw(self._check_rules, own)
            if flaw is not None:
                raise InvalidInstance(f"checks[{place}].{flaw[0]}", flaw[1])

    def _with_health(self, registration: LocalRegistration) -> Instance:
        """The instance with the health that its checks give it, or those of the node if they are graver."""
        id_ = registration.instance.id
        health, reason = self.monitor.standing(id_, registration.checks, registration.maintenance)
        node = self.registrations.get(NODE_SERVICE)
        if node is not None and node.checks and id_ != NODE_SERVICE:
            nodes, why = self.monitor.standing(NODE_SERVICE, node.checks, None)
            if nodes.gravity > health.gravity:
                health, reason = nodes, shortened(f"{NODE_REASON}{why}", limits.REASON_CHARS_MAX)
        return attrs.evolve(registration.instance, health=health, reason=reason)

    def _checked(self, id: str) -> None:
        """Publish the instance anew if the result of a check changes it."""
        published = self._context.engine.own(id)
        if published is not None and not self._context.engine.identity.left:
            instance = self._with_health(self.registrations[id])
            if instance != published:
                self._publish(self.registrations[id], instance)
                self._follow_node(id)

    def _follow_node(self, changed: str) -> None:
        """Publish what the health of the node itself changes, if that is what ``changed``."""
        if changed == NODE_SERVICE:
            for id_ in list(self.registrations):
                if id_ != NODE_SERVICE:
                    self._follow_node_of(id_)

    def _follow_node_of(self, id: str) -> None:
        """Publish an instance anew; without new calls, if its record has no room for what the node's check found."""
        try:
            self._checked(id)
        except RecordTooLarge as error:
            log.warning("instance %s is drained while a check of its node fails: %s", id, error)
            registration = self.registrations[id]
            self._publish(registration, attrs.evolve(registration.instance, weight=0))

    def _flapped(self, id: str, check: str) -> None:
        self._context.change_log.write([("check", f"{id} {check}")])

    def _expired(self, id: str, check: str) -> None:
        log.warning("instance %s is deregistered: its check %s was critical for too long", id, check)
        withdraw = partial(self._withdraw, id, check)
        self._context.driver.nursery.start_soon(
            run_contained, self._context.counters, f"the withdrawal of {id}", withdraw
        )

    async def _withdraw(self, id: str, check: str) -> None:
        """Withdraw an instance because of a check, unless that has recovered or is no longer there."""
        try:
            async with self._exclusively(id):
                state = self.monitor.state(id, check)
                if state is not None and state.health is Health.CRITICAL:
                    await self._deregister(id)
        except StorageError as error:
            log.warning("instance %s stays for now: %s", id, error)
        except (UnknownInstance, NodeClosed):
            pass  # it is gone already

    # Files and restarts

    async def define(self, registrations: Iterable[LocalRegistration]) -> dict[str, GossipregError]:
        """Register exactly these of all that files define, and leave alone what was registered otherwise.

        What is already as it is wanted is not touched. Returns what went wrong, by id: there, all stays as it was.
        """
        wanted = {each.instance.id: each for each in registrations}
        failed: dict[str, GossipregError] = {}

        async def attempt(id: str, act: Callable[[], Awaitable[object]]) -> None:
            try:
                await act()
            except GossipregError as error:
                failed[id] = error

        async with trio.open_nursery() as nursery:  # side by side, so that they share what syncing the disk costs
            for id_, registration in wanted.items():
                nursery.start_soon(attempt, id_, partial(self._define, registration))
        async with trio.open_nursery() as nursery:
            for id_ in [id_ for id_, each in self.registrations.items() if each.defined and id_ not in wanted]:
                nursery.start_soon(attempt, id_, partial(self._undefine, id_))
            for id_ in self._undefined_yet.keys() - wanted:
                nursery.start_soon(attempt, id_, partial(self._drop_undefined, id_))
        for id_ in self._undefined_yet.keys() - failed:
            self.monitor.forget_recalled(id_)
        self._undefined_yet = {id_: each for id_, each in self._undefined_yet.items() if id_ in failed}
        return failed

    async def _define(self, wanted: LocalRegistration) -> None:
        id_ = wanted.instance.id
        async with self._exclusively(id_):
            before = self._previous(id_)
            maintenance = None if before is None else before.maintenance
            registration = attrs.evolve(self._with_sealed_credentials(wanted), maintenance=maintenance, defined=True)
            if registration != self.registrations.get(id_):
                await self._register(registration)

    async def _undefine(self, id: str) -> None:
        """Withdraw an instance that no file defines any more, unless it was registered otherwise meanwhile."""
        async with self._exclusively(id):
            registration = self.registrations.get(id)
            if registration is not None and registration.defined:
                await self._deregister(id)

    async def _drop_undefined(self, id: str) -> None:
        """Take off the disk what files defined before the restart, unless it was registered since."""
        async with self._exclusively(id):
            if id in self._undefined_yet and self._context.store is not None:
                await self._context.store.drop(id)

    def restore(self, saved: SavedState) -> list[Place]:
        """Register again what was saved; what files defined, only once they do so again.

        Returns the rows that cannot be used.
        """
        unusable: list[Place] = []
        for id_, body in saved.instances.items():
            try:
                registration = LocalRegistration.unpack(body, id=id_, owner=self._context.name)
                if id_ in saved.checks and not self._recall_checks(registration, saved.checks[id_]):
                    unusable.append((CHECKS, id_))
                if registration.defined:
                    self._undefined_yet[id_] = registration
                else:
                    self._announce(registration)
            except Exception as flaw:  # noqa: BLE001 - today's checks refuse it, or no version could ever read it
                log.warning("instance %s is not registered again: %s", id_, str(flaw) or type(flaw).__name__)
                unusable.append((INSTANCE, id_))
                self.monitor.forget_recalled(id_)
        return unusable + [(CHECKS, id_) for id_ in saved.checks if id_ not in saved.instances]

    def _recall_checks(self, registration: LocalRegistration, body: bytes) -> bool:
        """Have ttl checks go on from their stored state; False if that cannot be read."""
        id_, now = registration.instance.id, trio.current_time()
        try:
            self.monitor.recall(id_, unpack(body, registration.checks, now, time.time() - now))
        except UnusableTtlState as flaw:
            log.warning("the ttl checks of instance %s begin anew: %s", id_, flaw)
            return False
        return True
