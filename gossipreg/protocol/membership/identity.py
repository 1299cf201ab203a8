"""The identity of this node: its run, its refutations, and how it keeps or yields its name.

Theory of operation. No other node may speak for a member. Others can only accuse it, and the member answers with a
higher incarnation (SWIM §4.2). A later *generation* of the same name supersedes an earlier one at once: so a restart is
accepted without waiting for the old run to time out.

The price is that two live processes under one name would supersede each other. They are told apart by a query:

- A node that joins is not announced until a member has sent it the membership list. If its own name is in it, alive at
  another address, it sends that run a `NameConflictQuery`. An answer means that the name is taken: the newcomer stops,
  and the cluster never saw it. Silence or a refusal means that the entry was of our own past run.
- Two runs that were announced on two sides of a partition meet when it heals. A node that receives a later run of its
  own name at another address queries it; the one that booted earlier keeps the name (ties: the lower run id). The other
  reports the *conflict* and goes on; it queries again now and then, and takes the name when no answer comes any more. A
  packet ends no running node: any holder of the cluster's key could send it (docs/decisions/0038).
- Only the answer to a query of our own counts, from the address and of the run that was queried.

The node that keeps the name takes a generation above all that it has seen, and so supersedes the other's updates.
"""

from __future__ import annotations

import enum
from typing import Final

import attrs

from gossipreg.errors import NodeClosed
from gossipreg.model import Address, Status
from gossipreg.protocol.engine_settings import EngineSettings
from gossipreg.protocol.membership.member_update import MemberUpdate, run_id_of
from gossipreg.values import frozen

#: How much later a reclaimed generation is than the one received (milliseconds). The view's indexes begin with the
#: generation, a thousand a millisecond: so ours are above those of a past run that saw up to a million changes. A node
#: that is restarted again and again takes longer than that for each start, so its generation does not run away.
RECLAIM_STEP_MS: Final = 1000

#: How often another run of this node's name is queried before it counts as gone.
_TRIES: Final = 3


@frozen
class NameConflictQuery:
    """Sent to another run of the same name: "I am alive, and I have held the name since then"."""

    name: str
    run_id: int
    born: int  # ms since the epoch at boot, whatever generation was taken since
    announced: bool  # whether this run was ever announced
    proof: bytes = attrs.field(default=b"", eq=False, repr=False)  # a signature and a certificate; empty without


class Reaction(enum.Enum):
    """What a node does about an update that bears its own name."""

    IGNORE = "ignore"
    REFUTE = "refute"  # same run, accused: answer with a higher incarnation
    RECLAIM = "reclaim"  # a later run that cannot be another node's: take a still later generation
    NAME_CONFLICT = "contest"  # another run that may be another node's: query it


@attrs.define(eq=False, repr=False)
class Identity:
    """This node's own update, and the name conflict that is open."""

    settings: EngineSettings
    name: str
    born: int
    address: Address
    zone: str
    cell: str = ""
    generation: int = attrs.field(init=False)
    incarnation: int = 0
    draining: bool = False
    left: bool = False
    announced: bool = False
    _run_id: int = attrs.field(init=False)
    conflict: Address | None = None  # where an older node runs that bears this name while this one is announced, too
    _rival: MemberUpdate | None = None
    _asked: int = 0  # the run that the query is sent to
    _queries_left: int = 0
    _query_at: float = float("inf")

    def __attrs_post_init__(self) -> None:
        self.generation = self.born
        self._run_id = run_id_of(self.name, self.generation, self.address)

    @property
    def run_id(self) -> int:
        """This run's id."""
        return self._run_id

    def check_open(self) -> None:
        """Raise `NodeClosed` once this node has left: nothing can be requested of it any more."""
        if self.left:
            raise NodeClosed(f"node {self.name!r} has left the cluster: open a new one")

    def own_update(self) -> MemberUpdate:
        """The update of this node about itself."""
        status = Status.LEFT if self.left else Status.ALIVE
        return MemberUpdate(
            self.name,
            self.generation,
            self.incarnation,
            status,
            self.address,
            self.zone,
            draining=self.draining,
            cell=self.cell,
        )

    def reaction_to(self, update: MemberUpdate) -> Reaction:
        """How to react to ``update``, which bears this node's name."""
        if self.left:
            return Reaction.IGNORE
        if update.generation < self.generation:
            # Ours is the later run and would supersede that one, which is right only if that one is over.
            may_live = not self.announced and update.status.is_present and update.address != self.address
            return Reaction.NAME_CONFLICT if may_live else Reaction.IGNORE
        if update.generation == self.generation and update.address == self.address:
            return Reaction.REFUTE if update.supersedes(self.own_update()) else Reaction.IGNORE
        if update.address == self.address or not update.status.is_present:
            return Reaction.RECLAIM
        return Reaction.NAME_CONFLICT

    def refute(self, update: MemberUpdate) -> None:
        """Take an incarnation above that of an accusation of this run."""
        self.incarnation = max(self.incarnation, update.incarnation) + 1

    def reclaim(self, generation: int) -> None:
        """Take a generation later than ours and than the ``generation`` received."""
        self.generation = max(self.generation, generation) + RECLAIM_STEP_MS
        self.incarnation = 0
        self._run_id = run_id_of(self.name, self.generation, self.address)
        if self._rival is not None and self._rival.generation < self.generation:
            self.close_query()  # else that run is the later one still, and must be queried

    def restate(self) -> None:
        """Take the next incarnation, so that what this run says of itself outranks what it said before."""
        self.incarnation += 1

    def drain(self) -> None:
        """State that this node wants no new work."""
        self.draining = True
        self.incarnation += 1

    def undrain(self) -> None:
        """State that this node wants work again; the higher incarnation outranks the statement that it drains."""
        self.draining = False
        self.incarnation += 1

    # Name conflicts

    @property
    def deadline(self) -> float:
        """When the query is to be repeated or given up (seconds), or infinity."""
        return self._query_at

    @property
    def rival(self) -> MemberUpdate | None:
        """The other run whose answer is awaited."""
        return self._rival

    @property
    def asked(self) -> int:
        """The run id that the query is sent to."""
        return self._asked

    def query(self) -> NameConflictQuery:
        """The query that is sent to the other run."""
        return NameConflictQuery(self.name, self._run_id, self.born, self.announced)

    def query_rival(self, update: MemberUpdate, now: float) -> bool:
        """Start to query the run in ``update``; False when it is being queried already."""
        if self._rival is not None and self._rival.rank >= update.rank:
            return False
        self._rival = update
        self.ask(update.run_id, now)
        return True

    def ask(self, run_id: int, at: float) -> None:
        """From ``at`` (seconds) on, query the run ``run_id``, at the rival's address."""
        self._asked = run_id
        self._queries_left = _TRIES
        self._query_at = at

    def is_queried(self, run_id: int) -> bool:
        """Whether an answer of the run ``run_id`` is awaited."""
        return self._rival is not None and run_id == self._asked and self._queries_left < _TRIES

    def next_try(self, now: float) -> bool:
        """Whether to query once more; False when the other run has had its tries."""
        assert self._rival is not None, "no name conflict is open"
        self._queries_left -= 1
        self._query_at = now + self.settings.probe_timeout
        return self._queries_left >= 0

    def close_query(self) -> None:
        """Stop querying."""
        self._rival = self.conflict = None
        self._query_at = float("inf")

    def yields_to(self, other: NameConflictQuery) -> bool:
        """Whether ``other`` keeps the name. Both sides come to the same answer."""
        if self.announced != other.announced:
            return other.announced
        return (other.born, other.run_id) < (self.born, self._run_id)
