"""The term state: raises, merges, resets and proves the term registers of services, and broadcasts what is new.

`gossipreg.protocol.registry.terms` has the theory of the registers themselves.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import attrs

from gossipreg.counters import Count
from gossipreg.model import FENCED, PRIMARY
from gossipreg.protocol.anti_entropy.fingerprint import Entry
from gossipreg.protocol.broadcaster import Broadcaster
from gossipreg.protocol.dissemination.broadcast_queue import Topic
from gossipreg.protocol.identity.authenticator import Authenticator, IdentityMode
from gossipreg.protocol.membership.member_update import MemberUpdate
from gossipreg.protocol.registry.clock import Clock, Stamp
from gossipreg.protocol.registry.records import Record
from gossipreg.protocol.registry.registry import Registry
from gossipreg.protocol.registry.terms import TermProofs, TermRegister, Terms
from gossipreg.protocol.registry.view import View
from gossipreg.protocol.wire.messages import pack


@attrs.define(eq=False, repr=False)
class TermState:
    """The term registers of one node, and what follows from a change of one."""

    own_name: str
    registers: Terms
    registry: Registry
    view: View
    count: Callable[[Entry | None, Entry | None], None]  # enters what came, went or was replaced in the fingerprints
    broadcaster: Broadcaster
    clock: Clock
    counters: Counter[str]
    authenticator: Authenticator
    owner_of: Callable[[Record], MemberUpdate | None]  # what is held of a record's owner
    begin_change: Callable[[], None]  # see `ClusterState`

    def raise_by(self, record: Record, now: float, *, spread: bool, received_from: str | None = None) -> None:
        """Raise a service's register if ``record``, just taken or published, states its highest term yet.

        The register is also broadcast by itself: the old primary must not be called even where the record does not
        arrive (a later one replaced it) or arrives late (it is large).
        """
        if record.payload is None or not record.instance.term:
            return
        service = record.service
        held = self.registers.get(service) or TermRegister(service)
        if held.raised(record.instance) == held:
            return
        proof = self._proof(held, record)
        if not proof and record.owner != self.own_name and self.authenticator.mode is IdentityMode.REQUIRE:
            return  # signed in another epoch: its owner states it again in this one
        raised = held.raised(record.instance, proof)
        if self._put(raised) and spread:
            self._broadcast(raised, now, origin=record.owner, received_from=received_from)

    def _proof(self, register: TermRegister, record: Record) -> bytes:
        """What proves that the owner of ``record`` states its term, in the epoch of ``register``."""
        instance = record.instance
        if record.owner == self.own_name:
            return self.authenticator.sign_term(register, instance.term, claimed=instance.role == PRIMARY)
        if not self.authenticator.is_on:
            return b""
        return self.authenticator.term_proof_of(register, record, self.owner_of(record))

    def handle(self, register: TermRegister, now: float, *, spread: bool, stored: bool = False) -> bool:
        """Merge a register of a peer, or one ``stored`` on disk, into this node's.

        Returns False for a reset from the far future: it is refused, because it could not be reset again. A stored one
        is not refused: this node's clock may have been set back meanwhile, and to lose its terms would be worse.
        """
        if register.claimed > register.seen or (register.is_empty and register.reset is None):
            self.counters[Count.TERMS_MALFORMED] += 1
            return True
        if register.seen > self.clock.highest_term(now):
            self.counters[Count.TERMS_TOO_HIGH] += 1
            return True
        held = self.registers.get(register.service)
        merged = register if held is None else held.merged(register)
        if merged == held:
            return True
        self.begin_change()
        is_later = merged.reset is not None and (held is None or merged.epoch != held.epoch)
        if is_later and not self.clock.observe(Stamp(*merged.epoch), now):
            if not stored:
                self.counters[Count.TERMS_FROM_THE_FUTURE] += 1
                return False
            self.clock.note_future_stamps()
        if not self._put(merged):
            return True
        if spread:
            self._broadcast(merged, now, origin=None)
        if held is None or held.epoch != merged.epoch:
            self._claim_again(register.service, now, spread=spread)
        return True

    def new_reset(self, service: str, now: float) -> TermRegister:
        """The register that begins a new epoch, with the terms that the service's instances state now."""
        instances = self.view.service(service).instances
        seen = max([each.term for each in instances], default=0)
        claimed = max([each.term for each in instances if each.role in (PRIMARY, FENCED)], default=0)
        stamp = self.clock.stamp(now)
        register = TermRegister(service, stamp.ms, stamp.counter, stamp.writer, claimed, seen)
        return self.authenticator.sign_reset(register)

    def restamp(self, now: float) -> list[TermRegister]:
        """Publish again, with a stamp of now, resets that other nodes refuse; returns their former registers."""
        far = [register for register in self.registers if self.clock.is_too_far(register.ms, now)]
        for register in far:
            stamp = self.clock.stamp(now)
            anew = attrs.evolve(register, ms=stamp.ms, counter=stamp.counter, writer=stamp.writer, proofs=TermProofs())
            anew = self.authenticator.vouch(anew, stamp.ms / 1000)
            self._put(anew)
            self._broadcast(anew, now, origin=stamp.writer)
        return far

    def _claim_again(self, service: str, now: float, *, spread: bool) -> None:
        """Raise the register again by this node's own instances, after a reset that did not include their terms.

        Only by its own: other owners may have withdrawn theirs, and the reset may be meant to forget those terms.
        """
        for record in self.registry.table(self.own_name) or ():
            if record.service == service:
                self.raise_by(record, now, spread=spread)

    def _put(self, register: TermRegister) -> bool:
        if not self.registers.accepts(register):
            self.counters[Count.TERMS_OVER_LIMIT] += 1
            return False
        gone = self.registers.put(register)
        self.count(None, register)
        for each in gone:
            self.count(each, None)
        self.registry.touch_term(register.service)
        return True

    def _broadcast(
        self, register: TermRegister, now: float, *, origin: str | None, received_from: str | None = None
    ) -> None:
        """Broadcast a register: down the tree of the record that raised it, or at random if it came by itself."""
        data = pack(register)
        if origin is None:
            self.broadcaster.queue.enqueue(Topic.TERMS, register.service, data, now)
        else:
            self.broadcaster.broadcast(
                Topic.TERMS, register.service, data, now, origin=origin, received_from=received_from
            )

    def attest(self, said: TermRegister, now: float) -> None:
        """Keep the proofs of a register that a peer states as it is held here, if those held count no more."""
        held, wall = self.registers.get(said.service), self.clock.wall(now) / 1000
        assert held == said, "only a register that is held already is attested"
        if not self.authenticator.lacks_proof(held, wall):
            return
        # What the peer states is verified first, as far as its packet may have that done: it is not held yet.
        is_believed = self.authenticator.check_terms(said, None, wall) is None
        if is_believed and not self.authenticator.lacks_proof(said, wall):
            self.begin_change()
            self.registers.attest(said)

    def vouch(self, now: float) -> None:
        """Prove the registers held again, where their proofs count no more: their signers' certificates have ended."""
        wall = self.clock.wall(now) / 1000
        for held in list(self.registers):
            vouched = self.authenticator.vouch(held, wall)
            if vouched == held:
                self.registers.attest(vouched)
                continue
            self.count(held, None if vouched.is_empty else vouched)
            self.registers.void(vouched)
            self.registry.touch_service(held.service)
