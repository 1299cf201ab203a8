"""Membership updates: one update about one member, and which of two supersedes the other."""

from __future__ import annotations

import hashlib
from functools import cached_property
from typing import NamedTuple

import attrs

from gossipreg.model import Address, Member, Status
from gossipreg.values import frozen


class Destination(NamedTuple):
    """The run that a packet or frame is for, 0 if it is not known, and where it goes.

    The run is named by the sender of the packet, and not looked up by the address: a member may state whatever address,
    another member's too.
    """

    run_id: int
    address: Address


@frozen
class MemberUpdate:
    """One node's claim about one member, as gossip carries it (SWIM §4.2, "membership update").

    Updates about a member are totally ordered: later generation, then higher incarnation, then graver status. Only the
    member itself raises its incarnation, so it can always refute and no other node can answer for it. Departs from SWIM
    §4.2, where a confirmed death outranks every incarnation: here a restarted node has a later generation, and is
    accepted at once. What remains breaks ties, so that any two updates about a member are ordered and merging is taking
    the greater: commutative, associative, idempotent.
    """

    name: str
    generation: int  # ms since the epoch at boot
    incarnation: int
    status: Status
    address: Address
    zone: str = ""
    draining: bool = False
    accuser: int = attrs.field(default=0, eq=False)  # run id of the accuser; 0 when there is none in particular
    age: int = attrs.field(default=0, eq=False)  # seconds since a member failed or left; tells when to forget it
    refused: bool = attrs.field(default=False, eq=False)  # whether the accuser was refused by the member's kernel
    #: The member's signature of its own part, and its certificate; empty without identity.
    proof: bytes = attrs.field(default=b"", eq=False, repr=False)
    #: Accusers by run id, each with its signature of the verdict.
    witnesses: tuple[tuple[int, bytes], ...] = attrs.field(default=(), eq=False, repr=False)
    cell: str = attrs.field(default="", eq=False)  # the ring that the member belongs to; empty in a flat cluster

    @cached_property
    def rank(self) -> tuple[int, int, int, Address, bool, str]:
        """The order of the updates about one member."""
        return (self.generation, self.incarnation, self.status, self.address, self.draining, self.zone)

    @cached_property
    def run_id(self) -> int:
        """64 bits that identify this run of the member at this address, on the wire and in tables (cf. Redis)."""
        return run_id_of(self.name, self.generation, self.address)

    @property
    def destination(self) -> Destination:
        """Where packets for this run go."""
        return Destination(self.run_id, self.address)

    @cached_property
    def digest(self) -> int:
        """64 bits that stand for this update, all that ranks it included, in a fingerprint."""
        text = "\0".join(map(str, (self.name, *self.rank)))
        return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8, person=b"member").digest())

    def supersedes(self, other: MemberUpdate) -> bool:
        """Whether this update replaces ``other``. Equal updates do not, which ends gossip."""
        assert self.name == other.name, "updates about different members"
        return self.rank > other.rank

    @property
    def is_forgotten(self) -> bool:
        """Whether an operator has had the member forgotten after it failed; one that left says so itself."""
        return self.status is Status.LEFT and self.accuser != 0

    def is_same_run(self, other: MemberUpdate) -> bool:
        """Whether both are about one run of the member."""
        return self.generation == other.generation and self.address == other.address

    def graver(self, status: Status, accuser: int = 0, *, refused: bool = False) -> MemberUpdate:
        """The same update with a graver status: the only change that another node may make."""
        assert status > self.status, "only the member itself may go back to a milder status"
        return attrs.evolve(self, status=status, accuser=accuser, refused=refused, age=0, witnesses=())

    def as_member(self, *, stale: bool = False) -> Member:
        """The update as users see it; ``stale``: its cell is another one, which was not heard for a while."""
        return Member(
            name=self.name,
            address=self.address,
            status=self.status,
            generation=self.generation,
            incarnation=self.incarnation,
            zone=self.zone,
            draining=self.draining,
            cell=self.cell,
            stale=stale,
        )


def run_id_of(name: str, generation: int, address: Address) -> int:
    """64 bits that identify one run of one member; 0 is never used, it means "any run"."""
    text = f"{name}\0{generation}\0{address}"
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8, person=b"life").digest()) or 1
