"""Knows one life of a node in this process: what it offers and keeps on disk, and how it ends."""

from __future__ import annotations

import logging
import os
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from typing import TYPE_CHECKING

import attrs
import trio

from gossipreg.check import Check
from gossipreg.errors import GossipregError, InvalidInstance, NodeClosed, StorageError, UnknownInstance
from gossipreg.model import Address, Instance
from gossipreg.policy import Rule
from gossipreg.protocol.engine import Engine
from gossipreg.protocol.registry.checks import Finding
from gossipreg.protocol.registry.credentials import NONCE_BYTES, Keyring
from gossipreg.protocol.registry.policies import PolicyVersion
from gossipreg.protocol.registry.terms import TermRegister
from gossipreg.protocol.wire.messages import Junk, message_of, pack
from gossipreg.runtime.advertised_address import AdvertisedAddress
from gossipreg.runtime.change_log import ChangeLog
from gossipreg.runtime.checks.allowed_targets import AllowedTargets
from gossipreg.runtime.checks.monitor import Monitor
from gossipreg.runtime.checks.probing import probe
from gossipreg.runtime.checks.ttl_state import UnusableTtlState, unpack
from gossipreg.runtime.checks.ttl_state import pack as pack_checks
from gossipreg.runtime.driver import Driver
from gossipreg.runtime.registrations import LocalRegistration
from gossipreg.runtime.saved_state import CHECKS, INSTANCE, POLICY, TERM, Place, SavedState
from gossipreg.runtime.supervision import log_bug, run_contained
from gossipreg.targets import CheckRules

if TYPE_CHECKING:
    from gossipreg.runtime.state_store import AsyncStateStore

log = logging.getLogger(__name__)

#: Peers that are remembered over a restart; any one of them leads to all.
_PEERS_MAX = 64

#: Time between looks at whether the remembered peers are still right (seconds).
_PEERS_INTERVAL = 5.0

#: Time between two writes of how ttl checks stand (seconds): heartbeats of many services share one sync of the disk.
_CHECKS_INTERVAL = 0.5

#: How far ahead of the view's indexes the one on disk is: many times what a node could use up between two looks at it,
#: and as much as a generation is given for a second, so that a restart need not be later than its clock for it.
_INDEXES_AHEAD = 1_000_000


@attrs.define(eq=False, repr=False)
class NodeLifecycle:
    """An engine with its driver, from opening to closing."""

    cluster: str
    engine: Engine
    driver: Driver
    change_log: ChangeLog
    counters: Counter[str]
    store: AsyncStateStore | None
    command_checks: str  # see `Config`
    check_rules: CheckRules
    keyring: Keyring
    failure: GossipregError | None = None
    leaving: bool = attrs.field(init=False, default=False)  # it drains in order to leave, or has left
    drained: str | None = attrs.field(init=False, default=None)  # why it was told to ask for no new work, if it was
    registrations: dict[str, LocalRegistration] = attrs.field(
        init=False, factory=dict
    )  # what was registered here, by id
    _undefined_yet: dict[str, LocalRegistration] = attrs.field(
        init=False, factory=dict
    )  # what files defined before the restart
    monitor: Monitor = attrs.field(init=False)
    advertised_address: AdvertisedAddress | None = attrs.field(init=False, default=None)
    warnings: dict[str, None] = attrs.field(init=False, factory=dict)  # of how it is set up
    _policies_unsaved: bool = attrs.field(
        init=False, default=False
    )  # something of policies or terms may not be on disk
    _stored_index: int = attrs.field(init=False, default=0)  # on disk; below 0 when that failed
    _leaving: trio.Lock = attrs.field(factory=trio.Lock)
    _pending_terms: dict[str, list[int]] = attrs.field(
        init=False, factory=dict
    )  # terms that are being written, by service
    _locks: dict[str, trio.Lock] = attrs.field(init=False, factory=dict)  # instances that are being changed, by id
    _policies_lock: trio.Lock = attrs.field(factory=trio.Lock)  # what is held of policies, and what is on disk
    _closed: trio.Event = attrs.field(factory=trio.Event)

    def __attrs_post_init__(self) -> None:
        self.monitor = Monitor(
            self.driver.nursery, self._probe, self._checked, self._flapped, self._expired, self.counters
        )

    async def _probe(self, id: str, check: Check) -> Finding | None:
        registration = self.registrations.get(id)
        own = () if registration is None else self._own_hosts(registration.instance)
        return await probe(check, commands=self.command_checks != "off", allowed=AllowedTargets(self.check_rules, own))

    def _own_hosts(self, instance: Instance) -> tuple[str, ...]:
        """The hosts that are its own for an instance: where it is, and where this node is."""
        return instance.host, self.engine.identity.address.host

    @property
    def name(self) -> str:
        """The member's name."""
        return self.engine.identity.name

    def warn(self, sentence: str) -> None:
        """Log a warning about how the node is set up, once, and keep it."""
        if sentence not in self.warnings:
            self.warnings[sentence] = None
            log.warning("%s", sentence)

    # What it offers

    async def register(self, registration: LocalRegistration) -> Instance:
        """Offer an instance; with a data directory it is on disk when this returns. The instance as it stands.

        If one of its id is in maintenance, it stays so.
        """
        async with self._exclusively(registration.instance.id):
            before = self._previous(registration.instance.id)
            return await self._register(
                attrs.evolve(registration, maintenance=None if before is None else before.maintenance)
            )

    async def change(self, id: str, change: Callable[[LocalRegistration], LocalRegistration]) -> Instance:
        """Register anew what ``change`` makes of what is registered under that id. Raises ``UnknownInstance``."""
        async with self._exclusively(id):
            return await self._register(change(self.registration_of(id)))

    @asynccontextmanager
    async def _exclusively(self, id: str) -> AsyncIterator[None]:
        """Change one instance at a time: while a change is being written to disk, the next one of that id waits.

        Otherwise a change that was read before the wait would undo one that was acknowledged during it.
        """
        self.check_open()
        turn = self._locks.setdefault(id, trio.Lock())
        try:
            turn.acquire_nowait()  # nearly always: without a turn of the event loop
        except trio.WouldBlock:
            await turn.acquire()
        try:
            self.check_open()
            yield
        finally:
            turn.release()
            if not turn.locked():
                self._locks.pop(id, None)

    async def _register(self, registration: LocalRegistration) -> Instance:
        """What `register` does, in its turn."""
        registration = self._with_sealed_credentials(registration)
        registration.check_room()
        id_ = registration.instance.id
        self.monitor.make_room(id_, registration.checks)
        before = self.registrations.get(id_)
        self._check_targets(registration, () if before is None else before.checks)
        if self.store is not None and (raised := self._raised_by(registration)) is not None:
            await self._store_and_announce(registration, raised, self.store)
            return self.shown(registration.instance)
        self._announce(registration)
        if self.store is not None:
            with self._rollback_on_error(id_, before):
                await self.store.put(id_, registration.packed(), term=self._term_of(registration))
        return self.shown(registration.instance)

    def _check_targets(self, registration: LocalRegistration, before: Sequence[Check]) -> None:
        """Raise ``InvalidInstance`` for a new check that this node would not run; those ``before`` go on as they do."""
        own = self._own_hosts(registration.instance)
        for place, check in enumerate(registration.checks):
            flaw = None if check in before else check.flaw(self.check_rules, own)
            if flaw is not None:
                raise InvalidInstance(f"checks[{place}].{flaw[0]}: {flaw[1]}")

    def _raised_by(self, registration: LocalRegistration) -> TermRegister | None:
        """The term register of the offer's service once the offer is made, if that raises it."""
        instance = registration.instance
        register = self.engine.state.terms.get(instance.service) or TermRegister(instance.service)
        raised = register.raised(instance) if instance.term else register
        return None if raised == register else raised

    async def _store_and_announce(
        self, registration: LocalRegistration, raised: TermRegister, store: AsyncStateStore
    ) -> None:
        """Make an offer once it is on disk: a term that everybody has heard of cannot be taken back."""
        self.engine.check_registration(registration.instance)
        claiming = self._pending_terms.setdefault(raised.service, [])
        claiming.append(registration.instance.term)
        try:
            with trio.CancelScope(shield=True):  # as with a policy
                async with self._policies_lock:
                    await store.put(
                        registration.instance.id, registration.packed(), term=(raised.service, pack(raised))
                    )
                    self.check_open()
                    self._announce(registration)
        finally:
            claiming.remove(registration.instance.term)
            if not claiming:
                self._pending_terms.pop(raised.service, None)

    def next_term(self, service: str) -> int:
        """A term above all that are known here, those included that are just being written. Raises ``NotJoined``."""
        return max([self.engine.next_term(service), *(term + 1 for term in self._pending_terms.get(service, ()))])

    def _term_of(self, registration: LocalRegistration | None) -> tuple[str, bytes] | None:
        """The term register that is to be on disk along with a change of ``offer``, if it states a term.

        Noted later it could be lost in a crash, while the instance is gone from the disk: the term would be given anew.
        """
        if registration is None or not registration.instance.term:
            return None
        register = self.engine.state.terms.get(registration.instance.service)
        return None if register is None else (register.service, pack(register))

    def shown(self, instance: Instance) -> Instance:
        """This node's own ``instance`` as lookups answer it: fenced, with the weight that policies leave, and so on."""
        view = self.engine.view.service(instance.service)
        seen = (each for each in view.instances if each.owner == self.name and each.id == instance.id)
        return next(seen, self.engine.own(instance.id) or instance)

    async def deregister(self, id: str) -> None:
        """Withdraw an instance; with a data directory it is off the disk when this returns."""
        async with self._exclusively(id):
            await self._deregister(id)

    async def _deregister(self, id: str) -> None:
        before = self.registrations.get(id)
        self.driver.say(self.engine.deregister(id, trio.current_time()))
        if self.store is not None:
            with self._rollback_on_error(id, before):
                await self.store.drop(id, term=self._term_of(before))
        self.registrations.pop(id, None)
        self.monitor.drop(id)

    async def define(self, registrations: Iterable[LocalRegistration]) -> dict[str, GossipregError]:
        """Offer just these of all that files define, and leave alone what was registered otherwise.

        What stands as it is wanted is not touched. Returns what went wrong, by id: there, all stays as it was.
        """
        wanted = {registration.instance.id: registration for registration in registrations}
        failed: dict[str, GossipregError] = {}

        async def attempt(id: str, act: Callable[[], Awaitable[object]]) -> None:
            try:
                await act()
            except GossipregError as error:
                failed[id] = error

        async with trio.open_nursery() as nursery:  # side by side, so that they share what syncing the disk costs
            for id_, said in wanted.items():
                nursery.start_soon(attempt, id_, partial(self._define, said))
        async with trio.open_nursery() as nursery:
            for id_ in [
                id_ for id_, registration in self.registrations.items() if registration.defined and id_ not in wanted
            ]:
                nursery.start_soon(attempt, id_, partial(self.deregister, id_))
            for id_ in self._undefined_yet.keys() - wanted:
                nursery.start_soon(attempt, id_, partial(self._drop_undefined, id_))
        for id_ in self._undefined_yet.keys() - failed:
            self.monitor.forget_recalled(id_)
        self._undefined_yet = {id_: registration for id_, registration in self._undefined_yet.items() if id_ in failed}
        return failed

    async def _define(self, said: LocalRegistration) -> None:
        id_ = said.instance.id
        async with self._exclusively(id_):
            before = self._previous(id_)
            maintenance = None if before is None else before.maintenance
            registration = attrs.evolve(self._with_sealed_credentials(said), maintenance=maintenance, defined=True)
            if registration != self.registrations.get(id_):
                await self._register(registration)

    async def _drop_undefined(self, id: str) -> None:
        """Take off the disk what files defined before the restart, and do no more, unless it was registered since."""
        async with self._exclusively(id):
            if id in self._undefined_yet and self.store is not None:
                await self.store.drop(id)

    def _previous(self, id: str) -> LocalRegistration | None:
        """What was last offered under that id, in this life or the one before."""
        return self.registrations.get(id) or self._undefined_yet.get(id)

    def _with_sealed_credentials(self, registration: LocalRegistration) -> LocalRegistration:
        """The offer with its credentials in its instance, where nobody can read them who lacks the key."""
        if not registration.credentials:
            return registration
        registration.instance.check()
        before = self._previous(registration.instance.id)
        held = b"" if before is None else before.instance.sealed
        sealed = self.keyring.seal(registration.credentials, registration.instance, os.urandom(NONCE_BYTES), held)
        return attrs.evolve(registration, instance=attrs.evolve(registration.instance, sealed=sealed), credentials={})

    def registration_of(self, id: str) -> LocalRegistration:
        """What was registered here under that id. Raises ``UnknownInstance``."""
        self.check_open()
        registration = self.registrations.get(id)
        if registration is None or self.engine.own(id) is None:
            raise self.engine.unknown_instance(id)
        return registration

    def _announce(self, registration: LocalRegistration) -> None:
        """Say it, unless it is as it was, and check it from now on. If the engine will not have it nothing changes."""
        stands = self._with_health(registration)
        if stands != self.engine.own(registration.instance.id):
            self.driver.say(self.engine.register(stands, trio.current_time()))
        self.registrations[registration.instance.id] = registration
        self._undefined_yet.pop(registration.instance.id, None)
        self.monitor.put(registration.instance.id, registration.checks)

    def _with_health(self, registration: LocalRegistration) -> Instance:
        """The instance with the health that its checks give it."""
        health, reason = self.monitor.standing(registration.instance.id, registration.checks, registration.maintenance)
        return attrs.evolve(registration.instance, health=health, reason=reason)

    def _checked(self, id: str) -> None:
        """A check of one of our instances has changed: tell everybody, if that changes the instance."""
        said = self.engine.own(id)
        if said is not None and not self.engine.identity.left:
            stands = self._with_health(self.registrations[id])
            if stands != said:
                self.driver.say(self.engine.register(stands, trio.current_time()))

    def _flapped(self, id: str, check: str) -> None:
        self.change_log.write([("check", f"{id} {check}")])

    def _expired(self, id: str, check: str) -> None:
        log.warning("instance %s is deregistered: its check %s was critical for too long", id, check)
        self.driver.nursery.start_soon(
            run_contained, self.counters, f"the withdrawal of {id}", partial(self._withdraw, id)
        )

    async def _withdraw(self, id: str) -> None:
        try:
            await self.deregister(id)
        except StorageError as error:
            log.warning("instance %s stays for now: %s", id, error)
        except (UnknownInstance, NodeClosed):
            pass  # somebody else was quicker

    @contextmanager
    def _rollback_on_error(self, id: str, before: LocalRegistration | None) -> Iterator[None]:
        """What could not be stored did not happen."""
        try:
            yield
        except GossipregError:
            if not self.is_closed:
                now = trio.current_time()
                if before is not None:
                    self._announce(before)
                elif self.engine.own(id) is not None:
                    self.driver.say(self.engine.deregister(id, now))
                    self.registrations.pop(id, None)
                    self.monitor.drop(id)
            raise

    # What it keeps

    def restore(self, saved: SavedState) -> list[Place]:
        """Offer again what was registered before the restart; what files defined, only once they do so again.

        Returns the rows that cannot be used. Whatever a row holds, the agent starts without it.
        """
        for warning in saved.warnings:
            log.warning("%s", warning)
        unusable: list[Place] = []
        words = []
        for key, body in saved.policies.items():
            try:
                words.append(_unpack_policy(key, body))
            except Junk as flaw:
                log.warning("policy %s on disk is not used: %s", key, flaw)
                unusable.append((POLICY, key))
        registers = []
        for service, body in saved.terms.items():
            try:
                registers.append(_register(service, body))
            except Junk as flaw:
                log.warning("the term of %s on disk is not used: %s", service, flaw)
                unusable.append((TERM, service))
        self.driver.say(self.engine.recall(words, trio.current_time(), terms=registers))
        for id_, body in saved.instances.items():
            try:
                registration = LocalRegistration.unpack(body, id=id_, owner=self.name)
                if id_ in saved.checks and not self._recall_checks(registration, saved.checks[id_]):
                    unusable.append((CHECKS, id_))
                self._restore_registration(registration)
            except Exception as flaw:  # noqa: BLE001 - today's checks refuse it, or no version could ever read it
                log.warning("instance %s is not offered again: %s", id_, str(flaw) or type(flaw).__name__)
                unusable.append((INSTANCE, id_))
                self.monitor.forget_recalled(id_)
        unusable += [(CHECKS, id_) for id_ in saved.checks if id_ not in saved.instances]
        if saved.drained is not None:
            why = f" ({saved.drained})" if saved.drained else ""
            log.warning("this node still asks for no new work, as before its restart%s: `gossipreg drain --end`", why)
            self._drain(saved.drained)
        return unusable

    def _recall_checks(self, registration: LocalRegistration, body: bytes) -> bool:
        """Have the offer's ttl checks go on as they stood; False if that cannot be read."""
        id_, now = registration.instance.id, trio.current_time()
        try:
            self.monitor.recall(id_, unpack(body, registration.checks, now, time.time() - now))
        except UnusableTtlState as flaw:
            log.warning("the ttl checks of instance %s begin anew: %s", id_, flaw)
            return False
        return True

    def _restore_registration(self, registration: LocalRegistration) -> None:
        if registration.defined:
            self._undefined_yet[registration.instance.id] = registration
        else:
            self._announce(registration)

    async def set_aside(self, unusable: Sequence[Place]) -> None:
        """Move rows that cannot be used out of the way, where they are kept."""
        if self.store is None or not unusable:
            return
        try:
            await self.store.set_aside(unusable)
        except StorageError as error:  # they stay where they are, and are told of again at the next start
            log.warning("what cannot be used is not set aside: %s", error)

    async def renew_credentials(self) -> None:
        """Seal anew what an earlier run sealed with a key that is being replaced."""
        for id_ in list(self.registrations):
            registration = self.registrations.get(
                id_
            )  # it may have been registered anew, or withdrawn, since this began
            if (
                registration is None
                or self.engine.own(id_) is None
                or not self.keyring.supersedes(registration.instance)
            ):
                continue
            try:
                await self.change(id_, lambda each: attrs.evolve(each, credentials=self.keyring.open(each.instance)))
            except UnknownInstance:
                pass  # it was withdrawn in this very moment
            except GossipregError as error:
                log.warning("the credentials of %s stay sealed as they were: %s", id_, error)
            except Exception as error:  # noqa: BLE001 - it is logged
                log_bug(self.counters, f"the renewal of the credentials of {id_}", error)

    async def set_policy(self, rule: Rule) -> None:
        """Have a rule obeyed everywhere; with a data directory it is on disk before anybody is told.

        Raises ``StorageError`` if the disk refuses it: then nothing has changed anywhere.
        """
        self.check_open()
        await self._publish_policy(partial(self.engine.policy_version_of, rule))

    async def remove_policy(self, key: str) -> None:
        """Have a rule obeyed no more; otherwise as `set_policy`."""
        self.check_open()
        await self._publish_policy(partial(self.engine.policy_removal_of, key))

    async def _publish_policy(self, version_at: Callable[[float], PolicyVersion]) -> None:
        """Say a word about a policy once it is on disk: one that everybody has heard cannot be taken back."""
        with trio.CancelScope(shield=True):  # a word on disk that was never said would come into force at a restart
            async with self._policies_lock:
                version = version_at(trio.current_time())
                if self.store is not None:
                    await self.store.put_policy(version.key, pack(version))
                self.check_open()
                self.driver.say(self.engine.publish_policy(version, trio.current_time()))

    async def _store_policy(self, key: str) -> None:
        version = self.engine.state.policies.get(key)
        assert self.store is not None, "without a disk nothing is noted"
        if version is None:
            await self.store.drop_policy(key)
        else:
            await self.store.put_policy(key, pack(version))

    async def reset_term(self, service: str) -> None:
        """Have a service's terms count anew everywhere, once that is on disk.

        Raises ``StorageError`` if the disk refuses it: then nothing has changed anywhere.
        """
        self.check_open()
        with trio.CancelScope(shield=True):  # as with a policy
            async with self._policies_lock:
                register = self.engine.reset_of(service, trio.current_time())
                if self.store is not None:
                    await self.store.put_term(service, pack(register))
                self.check_open()
                self.driver.say(self.engine.say_reset(register, trio.current_time()))
        await trio.lowlevel.checkpoint()

    async def _store_term(self, service: str) -> None:
        register = self.engine.state.terms.get(service)
        assert self.store is not None, "without a disk nothing is noted"
        if register is None:
            await self.store.drop_term(service)
        else:
            await self.store.put_term(service, pack(register))

    async def store_policies_loop(self) -> None:
        """Note on disk what others say of policies and terms, so that these outlive even the end of all agents."""
        position = self.change_log.position
        while not self.change_log.closed:
            await self.change_log.wait(position)
            entries = self.change_log.since(position)
            position = self.change_log.position
            state = self.engine.state
            if entries is None or self._policies_unsaved:  # what could not be noted is tried again
                entries = [
                    *(("policy", version.key) for version in state.policies),
                    *(("term", register.service) for register in state.terms),
                ]
            notes = {"policy": self._store_policy, "term": self._store_term}
            was_behind, self._policies_unsaved = self._policies_unsaved, True
            try:
                # In turns with what is said here, or an older word could be written over one that is about to be said.
                # All at once, so that they share a sync.
                async with self._policies_lock, trio.open_nursery() as nursery:
                    for kind, key in entries:
                        if kind in notes:
                            nursery.start_soon(self._store_one, f"the note of {kind} {key}", partial(notes[kind], key))
            except* StorageError as errors:  # a full disk must not stop a node that serves
                if not was_behind:
                    log.warning("policies and terms are not noted on disk: %s", errors.exceptions[0])
            else:
                self._policies_unsaved = False

    async def _store_one(self, what: str, write: Callable[[], Awaitable[None]]) -> None:
        """Note one thing on disk; one that cannot be, by a mistake of ours, is in no other's way."""
        try:
            await write()
        except StorageError:
            raise
        except Exception as error:  # noqa: BLE001 - it is logged
            log_bug(self.counters, what, error)

    async def store_checks_loop(self, store: AsyncStateStore) -> None:
        """Note on disk how ttl checks stand, soon after they change: no heartbeat waits for the disk."""
        failing = False
        while True:
            await self.monitor.wait_unkept()
            failing = await self._store_checks(store, quietly=failing)
            await trio.sleep(_CHECKS_INTERVAL)

    async def _store_checks(self, store: AsyncStateStore, *, quietly: bool) -> bool:
        """Note on disk how those ttl checks stand that have changed; whether that failed."""
        unkept = self.monitor.take_unkept()
        if not unkept:
            return False
        offset = time.time() - trio.current_time()
        try:
            await store.put_checks({id_: pack_checks(states, offset) for id_, states in unkept.items()})
        except StorageError as error:  # a full disk must not stop a node that serves
            if not quietly:
                log.warning("how ttl checks stand is not noted on disk: %s", error)
            self.monitor.not_kept(unkept)
            return True
        return False

    async def store_identity(self, store: AsyncStateStore) -> None:
        """Note on disk who this is, and an index that no lookup has been given yet, nor will be for a while."""
        index = max(self.engine.view.highest, self.change_log.position)
        if index + _INDEXES_AHEAD // 2 < self._stored_index:
            return
        try:
            await store.set_identity(self.name, self.engine.identity.born, index + _INDEXES_AHEAD)
        except StorageError as error:  # a full disk must not keep a node from starting, nor stop one that serves
            if self._stored_index >= 0:
                log.warning("this life of the node is not noted on disk: %s", error)
            self._stored_index = -1
        else:
            self._stored_index = index + _INDEXES_AHEAD

    async def store_identity_loop(self, store: AsyncStateStore) -> None:
        """Keep what is noted on disk ahead of the indexes that lookups are given."""
        while True:
            await trio.sleep(_PEERS_INTERVAL)
            await self.store_identity(store)

    async def store_peers_loop(self, store: AsyncStateStore) -> None:
        """Note on disk who is there, so that a restart finds back without its seeds."""
        noted: list[Address] = []
        failing = False
        while True:
            await trio.sleep(_PEERS_INTERVAL)
            peers = sorted(self.engine.members.present_addresses())[:_PEERS_MAX]
            if not peers or peers == noted:
                continue
            try:
                await store.set_peers(peers)
            except StorageError as error:  # a full disk must not stop a node that serves
                if not failing:
                    log.warning("the peers are not noted on disk: %s", error)
                failing = True
            else:
                noted, failing = peers, False

    # How it ends

    def disown(self) -> None:
        """Let go of all that a fork copied of it, in the child and without a word: it lives on in the parent.

        Else the kernel would hide the parent's death from its peers, and keep its port and its data directory taken,
        for as long as the child lives.
        """
        if not self.is_closed:
            self.driver.disown()
            if self.store is not None:
                self.store.disown()

    async def set_draining(self, reason: str | None) -> None:
        """Ask for no new work, and note why; or with None ask for work again. With a data directory it outlives this.

        Raises ``NodeClosed``, and ``StorageError`` if the disk refuses it: then nothing has changed.
        """
        self.check_open()
        if self.leaving and reason is None:
            raise NodeClosed(f"node {self.name!r} is leaving: it takes no work any more")
        with trio.CancelScope(shield=True):  # what is on disk is true, whoever has gone meanwhile
            if self.store is not None and reason != self.drained:
                await self.store.set_drained(reason)
            self.check_open()
            self._drain(reason)
        await trio.lowlevel.checkpoint()

    def _drain(self, reason: str | None) -> None:
        self.drained = reason
        identity = self.engine.identity
        if not identity.left and (reason is not None) != identity.draining:
            verb = self.engine.undrain if reason is None else self.engine.drain
            self.driver.say(verb(trio.current_time()))

    def forget(self, name: str) -> None:
        """Have a member that failed forgotten on every node."""
        self.check_open()
        self.driver.say(self.engine.forget(name, trio.current_time()))
        log.info("member %s is forgotten on request", name)

    async def move(self, address: Address) -> None:
        """Be at ``address`` from now on, and so what was offered at the old one."""
        old = self.engine.identity.address
        self.driver.say(self.engine.move(address, trio.current_time()))

        def moved(registration: LocalRegistration) -> LocalRegistration:
            at_old = registration.instance.host == old.host
            return (
                attrs.evolve(registration, instance=attrs.evolve(registration.instance, host=address.host))
                if at_old
                else registration
            )

        for id_ in [id_ for id_, registration in self.registrations.items() if registration.instance.host == old.host]:
            try:
                await self.change(id_, moved)
            except UnknownInstance:
                pass  # it was withdrawn while the ones before it were written to disk
            except GossipregError as error:  # a full disk must not stop a node that serves
                log.warning("instance %s stays at %s: %s", id_, old.host, error)

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
            self.leaving = True
            settings, identity = self.engine.settings, self.engine.identity
            has_peers = bool(self.engine.members.present)
            if has_peers and self.engine.own_count() and not identity.draining and not identity.left:
                self.driver.say(self.engine.drain(trio.current_time()))
                await trio.sleep(settings.drain_time)
            if self.store is not None:
                await self._store_checks(self.store, quietly=False)
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
            self.change_log.close()
            self.driver.nursery.cancel_scope.cancel()

    async def wait_closed(self) -> None:
        """Return when it is over; raises what closed it, if that was an error."""
        await self._closed.wait()
        if self.failure is not None:
            raise self.failure


def _unpack_policy(key: str, body: bytes) -> PolicyVersion:
    """What an earlier run of the node kept of a policy. Raises ``Junk``."""
    version = message_of(body)
    if not isinstance(version, PolicyVersion) or version.key != key:
        raise Junk("it says something else")
    return version


def _register(service: str, body: bytes) -> TermRegister:
    """What an earlier run of the node kept of the term of a service. Raises ``Junk``."""
    register = message_of(body)
    if not isinstance(register, TermRegister) or register.service != service:
        raise Junk("it says something else")
    return register
