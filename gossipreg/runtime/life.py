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
from gossipreg.protocol.registry.policies import Word
from gossipreg.protocol.registry.terms import TermRegister
from gossipreg.protocol.wire.messages import Junk, message_of, pack
from gossipreg.runtime.changes import Changes
from gossipreg.runtime.checks.kept import UnusableState, unpack
from gossipreg.runtime.checks.kept import pack as pack_checks
from gossipreg.runtime.checks.monitor import Monitor
from gossipreg.runtime.checks.probing import probe
from gossipreg.runtime.checks.reach import Reach
from gossipreg.runtime.containment import contained, note
from gossipreg.runtime.driver import Driver
from gossipreg.runtime.offers import Offer
from gossipreg.runtime.own_address import OwnAddress
from gossipreg.runtime.saved import CHECKS, INSTANCE, POLICY, TERM, Place, Saved
from gossipreg.targets import CheckRules

if TYPE_CHECKING:
    from gossipreg.runtime.persistence import Keeper

log = logging.getLogger(__name__)

#: Peers that are remembered over a restart; any one of them leads to all.
_PEERS_KEPT = 64

#: Time between looks at whether the remembered peers are still right (seconds).
_PEERS_INTERVAL = 5.0

#: Time between two writes of how ttl checks stand (seconds): heartbeats of many services share one sync of the disk.
_CHECKS_INTERVAL = 0.5

#: How far ahead of the view's indexes the one on disk is: many times what a node could use up between two looks at it,
#: and as much as a generation is given for a second, so that a restart need not be later than its clock for it.
_INDEXES_AHEAD = 1_000_000


@attrs.define(eq=False, repr=False)
class Life:
    """An engine with its driver, from opening to closing."""

    cluster: str
    engine: Engine
    driver: Driver
    changes: Changes
    counters: Counter[str]
    keeper: Keeper | None
    command_checks: str  # see `Config`
    check_rules: CheckRules
    keyring: Keyring
    failure: GossipregError | None = None
    leaving: bool = attrs.field(init=False, default=False)  # it drains in order to leave, or has left
    drained: str | None = attrs.field(init=False, default=None)  # why it was told to ask for no new work, if it was
    offers: dict[str, Offer] = attrs.field(init=False, factory=dict)  # what was registered here, by id
    _awaited: dict[str, Offer] = attrs.field(init=False, factory=dict)  # what files defined before the restart
    monitor: Monitor = attrs.field(init=False)
    own_address: OwnAddress | None = attrs.field(init=False, default=None)
    warnings: dict[str, None] = attrs.field(init=False, factory=dict)  # of how it is set up
    _notes_behind: bool = attrs.field(init=False, default=False)  # something of policies or terms may not be on disk
    _index_noted: int = attrs.field(init=False, default=0)  # on disk; below 0 when that failed
    _leaving: trio.Lock = attrs.field(factory=trio.Lock)
    _claiming: dict[str, list[int]] = attrs.field(init=False, factory=dict)  # terms that are being written, by service
    _turns: dict[str, trio.Lock] = attrs.field(init=False, factory=dict)  # instances that are being changed, by id
    _policies_turn: trio.Lock = attrs.field(factory=trio.Lock)  # what is held of policies, and what is on disk
    _closed: trio.Event = attrs.field(factory=trio.Event)

    def __attrs_post_init__(self) -> None:
        self.monitor = Monitor(
            self.driver.nursery, self._probe, self._checked, self._flapped, self._expired, self.counters
        )

    async def _probe(self, id: str, check: Check) -> Finding | None:
        offer = self.offers.get(id)
        own = () if offer is None else self._own_hosts(offer.instance)
        return await probe(check, commands=self.command_checks != "off", reach=Reach(self.check_rules, own))

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

    async def register(self, offer: Offer) -> Instance:
        """Offer an instance; with a data directory it is on disk when this returns. The instance as it stands.

        If one of its id is in maintenance, it stays so.
        """
        async with self._turn(offer.instance.id):
            before = self._before(offer.instance.id)
            return await self._register(attrs.evolve(offer, maintenance=None if before is None else before.maintenance))

    async def change(self, id: str, change: Callable[[Offer], Offer]) -> Instance:
        """Register anew what ``change`` makes of what is registered under that id. Raises ``UnknownInstance``."""
        async with self._turn(id):
            return await self._register(change(self.offer_of(id)))

    @asynccontextmanager
    async def _turn(self, id: str) -> AsyncIterator[None]:
        """Change one instance at a time: while a change is being written to disk, the next one of that id waits.

        Otherwise a change that was read before the wait would undo one that was acknowledged during it.
        """
        self.check_open()
        turn = self._turns.setdefault(id, trio.Lock())
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
                self._turns.pop(id, None)

    async def _register(self, offer: Offer) -> Instance:
        """What `register` does, in its turn."""
        offer = self._sealed(offer)
        offer.check_room()
        id_ = offer.instance.id
        self.monitor.make_room(id_, offer.checks)
        before = self.offers.get(id_)
        self._check_targets(offer, () if before is None else before.checks)
        if self.keeper is not None and (raised := self._raised_by(offer)) is not None:
            await self._store_and_offer(offer, raised, self.keeper)
            return self.shown(offer.instance)
        self._offer(offer)
        if self.keeper is not None:
            with self._undoing(id_, before):
                await self.keeper.put(id_, offer.packed(), term=self._term_of(offer))
        return self.shown(offer.instance)

    def _check_targets(self, offer: Offer, before: Sequence[Check]) -> None:
        """Raise ``InvalidInstance`` for a new check that this node would not run; those ``before`` go on as they do."""
        own = self._own_hosts(offer.instance)
        for place, check in enumerate(offer.checks):
            flaw = None if check in before else check.flaw(self.check_rules, own)
            if flaw is not None:
                raise InvalidInstance(f"checks[{place}].{flaw[0]}: {flaw[1]}")

    def _raised_by(self, offer: Offer) -> TermRegister | None:
        """The term register of the offer's service once the offer is made, if that raises it."""
        instance = offer.instance
        register = self.engine.knowledge.terms.get(instance.service) or TermRegister(instance.service)
        raised = register.raised(instance) if instance.term else register
        return None if raised == register else raised

    async def _store_and_offer(self, offer: Offer, raised: TermRegister, keeper: Keeper) -> None:
        """Make an offer once it is on disk: a term that everybody has heard of cannot be taken back."""
        self.engine.check_registration(offer.instance)
        claiming = self._claiming.setdefault(raised.service, [])
        claiming.append(offer.instance.term)
        try:
            with trio.CancelScope(shield=True):  # as with a policy
                async with self._policies_turn:
                    await keeper.put(offer.instance.id, offer.packed(), term=(raised.service, pack(raised)))
                    self.check_open()
                    self._offer(offer)
        finally:
            claiming.remove(offer.instance.term)
            if not claiming:
                self._claiming.pop(raised.service, None)

    def next_term(self, service: str) -> int:
        """A term above all that are known here, those included that are just being written. Raises ``NotJoined``."""
        return max([self.engine.next_term(service), *(term + 1 for term in self._claiming.get(service, ()))])

    def _term_of(self, offer: Offer | None) -> tuple[str, bytes] | None:
        """The term register that is to be on disk along with a change of ``offer``, if it states a term.

        Noted later it could be lost in a crash, while the instance is gone from the disk: the term would be given anew.
        """
        if offer is None or not offer.instance.term:
            return None
        register = self.engine.knowledge.terms.get(offer.instance.service)
        return None if register is None else (register.service, pack(register))

    def shown(self, instance: Instance) -> Instance:
        """This node's own ``instance`` as lookups answer it: fenced, with the weight that policies leave, and so on."""
        view = self.engine.view.service(instance.service)
        seen = (each for each in view.instances if each.owner == self.name and each.id == instance.id)
        return next(seen, self.engine.own(instance.id) or instance)

    async def deregister(self, id: str) -> None:
        """Withdraw an instance; with a data directory it is off the disk when this returns."""
        async with self._turn(id):
            await self._deregister(id)

    async def _deregister(self, id: str) -> None:
        before = self.offers.get(id)
        self.driver.say(self.engine.deregister(id, trio.current_time()))
        if self.keeper is not None:
            with self._undoing(id, before):
                await self.keeper.drop(id, term=self._term_of(before))
        self.offers.pop(id, None)
        self.monitor.drop(id)

    async def define(self, offers: Iterable[Offer]) -> dict[str, GossipregError]:
        """Offer just these of all that files define, and leave alone what was registered otherwise.

        What stands as it is wanted is not touched. Returns what went wrong, by id: there, all stays as it was.
        """
        wanted = {offer.instance.id: offer for offer in offers}
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
            for id_ in [id_ for id_, offer in self.offers.items() if offer.defined and id_ not in wanted]:
                nursery.start_soon(attempt, id_, partial(self.deregister, id_))
            for id_ in self._awaited.keys() - wanted:
                nursery.start_soon(attempt, id_, partial(self._drop_awaited, id_))
        for id_ in self._awaited.keys() - failed:
            self.monitor.forget_recalled(id_)
        self._awaited = {id_: offer for id_, offer in self._awaited.items() if id_ in failed}
        return failed

    async def _define(self, said: Offer) -> None:
        id_ = said.instance.id
        async with self._turn(id_):
            before = self._before(id_)
            maintenance = None if before is None else before.maintenance
            offer = attrs.evolve(self._sealed(said), maintenance=maintenance, defined=True)
            if offer != self.offers.get(id_):
                await self._register(offer)

    async def _drop_awaited(self, id: str) -> None:
        """Take off the disk what files defined before the restart, and do no more, unless it was registered since."""
        async with self._turn(id):
            if id in self._awaited and self.keeper is not None:
                await self.keeper.drop(id)

    def _before(self, id: str) -> Offer | None:
        """What was last offered under that id, in this life or the one before."""
        return self.offers.get(id) or self._awaited.get(id)

    def _sealed(self, offer: Offer) -> Offer:
        """The offer with its credentials in its instance, where nobody can read them who lacks the key."""
        if not offer.credentials:
            return offer
        offer.instance.check()
        before = self._before(offer.instance.id)
        held = b"" if before is None else before.instance.sealed
        sealed = self.keyring.seal(offer.credentials, offer.instance, os.urandom(NONCE_BYTES), held)
        return attrs.evolve(offer, instance=attrs.evolve(offer.instance, sealed=sealed), credentials={})

    def offer_of(self, id: str) -> Offer:
        """What was registered here under that id. Raises ``UnknownInstance``."""
        self.check_open()
        offer = self.offers.get(id)
        if offer is None or self.engine.own(id) is None:
            raise self.engine.unknown_instance(id)
        return offer

    def _offer(self, offer: Offer) -> None:
        """Say it, unless it is as it was, and check it from now on. If the engine will not have it nothing changes."""
        stands = self._standing(offer)
        if stands != self.engine.own(offer.instance.id):
            self.driver.say(self.engine.register(stands, trio.current_time()))
        self.offers[offer.instance.id] = offer
        self._awaited.pop(offer.instance.id, None)
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
        self.driver.nursery.start_soon(contained, self.counters, f"the withdrawal of {id}", partial(self._withdraw, id))

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

    def restore(self, saved: Saved) -> list[Place]:
        """Offer again what was registered before the restart; what files defined, only once they do so again.

        Returns the rows that cannot be used. Whatever a row holds, the agent starts without it.
        """
        for warning in saved.warnings:
            log.warning("%s", warning)
        unusable: list[Place] = []
        words = []
        for key, body in saved.policies.items():
            try:
                words.append(_word(key, body))
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
                offer = Offer.unpack(body, id=id_, owner=self.name)
                if id_ in saved.checks and not self._recall_checks(offer, saved.checks[id_]):
                    unusable.append((CHECKS, id_))
                self._offer_again(offer)
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

    def _recall_checks(self, offer: Offer, body: bytes) -> bool:
        """Have the offer's ttl checks go on as they stood; False if that cannot be read."""
        id_, now = offer.instance.id, trio.current_time()
        try:
            self.monitor.recall(id_, unpack(body, offer.checks, now, time.time() - now))
        except UnusableState as flaw:
            log.warning("the ttl checks of instance %s begin anew: %s", id_, flaw)
            return False
        return True

    def _offer_again(self, offer: Offer) -> None:
        if offer.defined:
            self._awaited[offer.instance.id] = offer
        else:
            self._offer(offer)

    async def set_aside(self, unusable: Sequence[Place]) -> None:
        """Move rows that cannot be used out of the way, where they are kept."""
        if self.keeper is None or not unusable:
            return
        try:
            await self.keeper.set_aside(unusable)
        except StorageError as error:  # they stay where they are, and are told of again at the next start
            log.warning("what cannot be used is not set aside: %s", error)

    async def renew_credentials(self) -> None:
        """Seal anew what an earlier run sealed with a key that is being replaced."""
        for id_ in list(self.offers):
            offer = self.offers.get(id_)  # it may have been registered anew, or withdrawn, since this began
            if offer is None or self.engine.own(id_) is None or not self.keyring.supersedes(offer.instance):
                continue
            try:
                await self.change(id_, lambda each: attrs.evolve(each, credentials=self.keyring.open(each.instance)))
            except UnknownInstance:
                pass  # it was withdrawn in this very moment
            except GossipregError as error:
                log.warning("the credentials of %s stay sealed as they were: %s", id_, error)
            except Exception as error:  # noqa: BLE001 - it is logged
                note(self.counters, f"the renewal of the credentials of {id_}", error)

    async def set_policy(self, rule: Rule) -> None:
        """Have a rule obeyed everywhere; with a data directory it is on disk before anybody is told.

        Raises ``StorageError`` if the disk refuses it: then nothing has changed anywhere.
        """
        self.check_open()
        await self._say_word(partial(self.engine.word_of, rule))

    async def remove_policy(self, key: str) -> None:
        """Have a rule obeyed no more; otherwise as `set_policy`."""
        self.check_open()
        await self._say_word(partial(self.engine.word_of_removal, key))

    async def _say_word(self, word_at: Callable[[float], Word]) -> None:
        """Say a word about a policy once it is on disk: one that everybody has heard cannot be taken back."""
        with trio.CancelScope(shield=True):  # a word on disk that was never said would come into force at a restart
            async with self._policies_turn:
                word = word_at(trio.current_time())
                if self.keeper is not None:
                    await self.keeper.put_policy(word.key, pack(word))
                self.check_open()
                self.driver.say(self.engine.say_word(word, trio.current_time()))

    async def _note_policy(self, key: str) -> None:
        word = self.engine.knowledge.policies.get(key)
        assert self.keeper is not None, "without a disk nothing is noted"
        if word is None:
            await self.keeper.drop_policy(key)
        else:
            await self.keeper.put_policy(key, pack(word))

    async def reset_term(self, service: str) -> None:
        """Have a service's terms count anew everywhere, once that is on disk.

        Raises ``StorageError`` if the disk refuses it: then nothing has changed anywhere.
        """
        self.check_open()
        with trio.CancelScope(shield=True):  # as with a policy
            async with self._policies_turn:
                register = self.engine.reset_of(service, trio.current_time())
                if self.keeper is not None:
                    await self.keeper.put_term(service, pack(register))
                self.check_open()
                self.driver.say(self.engine.say_reset(register, trio.current_time()))
        await trio.lowlevel.checkpoint()

    async def _note_term(self, service: str) -> None:
        register = self.engine.knowledge.terms.get(service)
        assert self.keeper is not None, "without a disk nothing is noted"
        if register is None:
            await self.keeper.drop_term(service)
        else:
            await self.keeper.put_term(service, pack(register))

    async def keep_policies(self) -> None:
        """Note on disk what others say of policies and terms, so that these outlive even the end of all agents."""
        position = self.changes.position
        while not self.changes.closed:
            await self.changes.wait(position)
            entries = self.changes.since(position)
            position = self.changes.position
            knowledge = self.engine.knowledge
            if entries is None or self._notes_behind:  # what could not be noted is tried again
                entries = [
                    *(("policy", word.key) for word in knowledge.policies),
                    *(("term", register.service) for register in knowledge.terms),
                ]
            notes = {"policy": self._note_policy, "term": self._note_term}
            was_behind, self._notes_behind = self._notes_behind, True
            try:
                # In turns with what is said here, or an older word could be written over one that is about to be said.
                # All at once, so that they share a sync.
                async with self._policies_turn, trio.open_nursery() as nursery:
                    for kind, key in entries:
                        if kind in notes:
                            nursery.start_soon(self._noted, f"the note of {kind} {key}", partial(notes[kind], key))
            except* StorageError as errors:  # a full disk must not stop a node that serves
                if not was_behind:
                    log.warning("policies and terms are not noted on disk: %s", errors.exceptions[0])
            else:
                self._notes_behind = False

    async def _noted(self, what: str, write: Callable[[], Awaitable[None]]) -> None:
        """Note one thing on disk; one that cannot be, by a mistake of ours, is in no other's way."""
        try:
            await write()
        except StorageError:
            raise
        except Exception as error:  # noqa: BLE001 - it is logged
            note(self.counters, what, error)

    async def keep_checks(self, keeper: Keeper) -> None:
        """Note on disk how ttl checks stand, soon after they change: no heartbeat waits for the disk."""
        failing = False
        while True:
            await self.monitor.wait_unkept()
            failing = await self._note_checks(keeper, quietly=failing)
            await trio.sleep(_CHECKS_INTERVAL)

    async def _note_checks(self, keeper: Keeper, *, quietly: bool) -> bool:
        """Note on disk how those ttl checks stand that have changed; whether that failed."""
        unkept = self.monitor.take_unkept()
        if not unkept:
            return False
        offset = time.time() - trio.current_time()
        try:
            await keeper.put_checks({id_: pack_checks(states, offset) for id_, states in unkept.items()})
        except StorageError as error:  # a full disk must not stop a node that serves
            if not quietly:
                log.warning("how ttl checks stand is not noted on disk: %s", error)
            self.monitor.not_kept(unkept)
            return True
        return False

    async def note_identity(self, keeper: Keeper) -> None:
        """Note on disk who this is, and an index that no lookup has been given yet, nor will be for a while."""
        index = max(self.engine.view.highest, self.changes.position)
        if index + _INDEXES_AHEAD // 2 < self._index_noted:
            return
        try:
            await keeper.set_identity(self.name, self.engine.identity.born, index + _INDEXES_AHEAD)
        except StorageError as error:  # a full disk must not keep a node from starting, nor stop one that serves
            if self._index_noted >= 0:
                log.warning("this life of the node is not noted on disk: %s", error)
            self._index_noted = -1
        else:
            self._index_noted = index + _INDEXES_AHEAD

    async def keep_identity(self, keeper: Keeper) -> None:
        """Keep what is noted on disk ahead of the indexes that lookups are given."""
        while True:
            await trio.sleep(_PEERS_INTERVAL)
            await self.note_identity(keeper)

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

    def disown(self) -> None:
        """Let go of all that a fork copied of it, in the child and without a word: it lives on in the parent.

        Else the kernel would hide the parent's death from its peers, and keep its port and its data directory taken,
        for as long as the child lives.
        """
        if not self.is_closed:
            self.driver.disown()
            if self.keeper is not None:
                self.keeper.disown()

    async def set_draining(self, reason: str | None) -> None:
        """Ask for no new work, and note why; or with None ask for work again. With a data directory it outlives this.

        Raises ``NodeClosed``, and ``StorageError`` if the disk refuses it: then nothing has changed.
        """
        self.check_open()
        if self.leaving and reason is None:
            raise NodeClosed(f"node {self.name!r} is leaving: it takes no work any more")
        with trio.CancelScope(shield=True):  # what is on disk is true, whoever has gone meanwhile
            if self.keeper is not None and reason != self.drained:
                await self.keeper.set_drained(reason)
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

        def moved(offer: Offer) -> Offer:
            at_old = offer.instance.host == old.host
            return attrs.evolve(offer, instance=attrs.evolve(offer.instance, host=address.host)) if at_old else offer

        for id_ in [id_ for id_, offer in self.offers.items() if offer.instance.host == old.host]:
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
            if self.keeper is not None:
                await self._note_checks(self.keeper, quietly=False)
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


def _word(key: str, body: bytes) -> Word:
    """What an earlier run of the node kept of a policy. Raises ``Junk``."""
    word = message_of(body)
    if not isinstance(word, Word) or word.key != key:
        raise Junk("it says something else")
    return word


def _register(service: str, body: bytes) -> TermRegister:
    """What an earlier run of the node kept of the term of a service. Raises ``Junk``."""
    register = message_of(body)
    if not isinstance(register, TermRegister) or register.service != service:
        raise Junk("it says something else")
    return register
