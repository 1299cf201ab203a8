"""The term registers: per service the highest fencing term, kept apart from the instances that bear it.

Theory of operation (docs/decisions/0024). A term that fell with its bearer would bring a superseded primary back, and
would be handed out twice. So each service has a register that grows only: `TermRegister.merged` takes the greater of
each part, which is commutative, associative and idempotent, so registers may be told in any order and any number of
times. The only way down is a reset by an operator. It begins a new *epoch*, which outranks all earlier ones whatever
their terms, and is stamped with its writer and time, by the same hybrid clock as policies.

With identity each part of a register carries a proof of its own (docs/decisions/0081): the parts may be of different
signers, and a merge keeps the proof of each part that it takes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from functools import cached_property

import attrs

from gossipreg import limits
from gossipreg.model import PRIMARY, Instance
from gossipreg.protocol.registry.clock import Stamp
from gossipreg.values import frozen


@frozen
class TermProofs:
    """What proves the parts of a register: for each a signature and a certificate, empty without identity.

    A term that a primary has claimed is proven to be seen by the same signature, so ``seen`` is used above it only.
    """

    reset: bytes = b""
    claimed: bytes = b""
    seen: bytes = b""


@frozen
class TermRegister:
    """One service's terms: the highest that was claimed by a primary, and the highest that was stated at all.

    Both count since the last reset, which ``ms``, ``counter`` and ``writer`` stamp: zeros and "" if there was none.
    """

    service: str
    ms: int = 0  # since the epoch of Unix time
    counter: int = 0
    writer: str = ""
    claimed: int = 0  # by an instance with the role primary: any claim below it is fenced
    seen: int = 0  # in whatever role: the next term is above it
    proofs: TermProofs = attrs.field(default=TermProofs(), eq=False, repr=False)

    @property
    def reset(self) -> Stamp | None:
        """When an operator last reset it, and through which member; None if it was never reset."""
        return Stamp(self.ms, self.counter, self.writer) if self.ms else None

    @property
    def epoch(self) -> tuple[int, int, str]:
        """The rank of its last reset: of two registers in different epochs the later one counts."""
        return self.ms, self.counter, self.writer

    @property
    def is_empty(self) -> bool:
        """Whether it states nothing but that all earlier terms are void."""
        return self.seen == 0

    @cached_property
    def digest(self) -> int:
        """64 bits that stand for this register in a fingerprint."""
        text = f"{self.service}\0{self.ms}\0{self.counter}\0{self.writer}\0{self.claimed}\0{self.seen}"
        return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8, person=b"term").digest())

    def merged(self, other: TermRegister) -> TermRegister:
        """The merge of both: the later epoch; within one epoch the greater of each number."""
        if self.epoch != other.epoch:
            return max(self, other, key=lambda each: each.epoch)
        claimed, seen = max(self.claimed, other.claimed), max(self.seen, other.seen)
        if (claimed, seen) == (self.claimed, self.seen):
            return self
        by_claim = self if claimed == self.claimed else other
        by_sight = self if seen == self.seen else other
        proofs = TermProofs(self.proofs.reset, by_claim.proofs.claimed, by_sight.proofs.seen)
        return attrs.evolve(self, claimed=claimed, seen=seen, proofs=proofs)

    def raised(self, instance: Instance, proof: bytes = b"") -> TermRegister:
        """The register once ``instance`` of its service was seen; ``proof``: what proves that its owner states it."""
        is_claim = instance.role == PRIMARY
        proofs = TermProofs(self.proofs.reset, proof if is_claim else b"", b"" if is_claim else proof)
        claimed = instance.term if is_claim else 0
        return self.merged(attrs.evolve(self, claimed=claimed, seen=instance.term, proofs=proofs))


@attrs.define(eq=False, repr=False)
class Terms:
    """The registers of all services of which a term was ever stated. Reading is safe from any thread."""

    _registers: dict[str, TermRegister] = attrs.field(factory=dict)
    _changed: dict[str, None] = attrs.field(factory=dict)  # services, in order of change

    def __len__(self) -> int:
        return len(self._registers)

    def __iter__(self) -> Iterator[TermRegister]:
        """Every register, sorted by service."""
        return iter([register for _, register in sorted(self._registers.copy().items())])

    def get(self, service: str) -> TermRegister | None:
        """The register of a service; None if no term of it was ever stated."""
        return self._registers.get(service)

    def claimed(self, service: str) -> int:
        """The highest term that was claimed; 0 if none was."""
        register = self._registers.get(service)
        return 0 if register is None else register.claimed

    def seen(self, service: str) -> int:
        """The highest term that was stated by any instance; 0 if none was."""
        register = self._registers.get(service)
        return 0 if register is None else register.seen

    def has_room(self, service: str, *, beside: int = 0) -> bool:
        """Whether a user may state a term of ``service``, and of ``beside`` services more that have none yet."""
        return service in self._registers or len(self._registers) + beside < limits.TERMS_MAX

    def accepts(self, said: TermRegister) -> bool:
        """Whether there is room for ``said``. There is twice the room that users are given, as for policies."""
        if said.service in self._registers:
            return True
        if said.is_empty:
            empty = self._empty()
            return len(empty) < limits.TERMS_EMPTY_MAX or said.epoch > empty[0].epoch
        return len(self._registers) < 2 * limits.TERMS_MAX

    def put(self, register: TermRegister) -> list[TermRegister]:
        """Hold ``register``, which was accepted; returns those that it replaces or evicts.

        Of the registers that a reset left empty the latest `limits.TERMS_EMPTY_MAX` are kept: which these are follows
        from their content, not from when they arrived.
        """
        gone = [held for held in (self._registers.get(register.service),) if held is not None]
        self._registers[register.service] = register
        self._changed[register.service] = None
        if register.is_empty:
            for oldest in self._empty()[: -limits.TERMS_EMPTY_MAX]:
                del self._registers[oldest.service]
                self._changed[oldest.service] = None
                gone.append(oldest)
        return gone

    def attest(self, register: TermRegister) -> None:
        """Hold a register, which is held already, with other proofs."""
        self._registers[register.service] = register

    def void(self, register: TermRegister) -> None:
        """Hold ``register`` in place of that of a reset which counts no more; nothing, if it is empty."""
        if register.is_empty:
            del self._registers[register.service]
        else:
            self._registers[register.service] = register
        self._changed[register.service] = None

    def _empty(self) -> list[TermRegister]:
        """The registers that hold no terms, the oldest first."""
        return sorted((each for each in self._registers.values() if each.is_empty), key=lambda each: each.epoch)

    def take_changed(self) -> tuple[str, ...]:
        """The services whose register has changed since the last call, in order of change."""
        changed = tuple(self._changed)
        self._changed.clear()
        return changed
