"""Knows who this node is: its life, how it answers accusations, and how it keeps or yields its name.

Theory of operation. Nobody else may speak for a member, so all that others can do is accuse, and all that the
member need do is answer with a higher incarnation (SWIM §4.2). A later *life* of the same name supersedes an
earlier one at once: that is how a restart is believed without anybody waiting for the old life to time out.

The price is that two live processes under one name would supersede each other. They are told apart by asking:

- A node that joins stays *quiet*: it does not announce itself until a member has told it who is known. If its own
  name is among them, alive at another address, it sends that life a `NameConflictQuery`. An answer means that the name
  is held: the newcomer stops, and the cluster never saw it. Silence or a refusal means that it was our own past.
- Two lives that grew up on two sides of a split meet when it heals. Whoever hears a later life of its own name at
  another address contests it; the one that booted earlier keeps the name (ties: the lower life id). The other reports
  the *conflict* and goes on; it asks again now and then, and takes the name when nobody answers any more. A packet
  ends no node that runs: whoever holds the cluster's key could send it (docs/decisions/0038).
- Only the answer to a question of our own counts, from the address and of the life that was asked.

Who keeps the name takes a generation above all that it has heard of, and so supersedes what the other has said.
"""

from __future__ import annotations

import enum
from typing import Final

import attrs

from gossipreg.model import Address, Status
from gossipreg.protocol.engine_settings import EngineSettings
from gossipreg.protocol.membership.member_update import MemberUpdate, run_id_of

#: How much later a reclaimed generation is than the one heard of (milliseconds). The view's indexes begin with the
#: generation, a thousand a millisecond: so ours are above those of a past life that saw up to a million changes. A node
#: that is restarted again and again takes longer than that for each start, so its generation does not run away.
RECLAIM_STEP_MS: Final = 1000

#: How often another life of one's own name is asked before it is taken for gone.
_TRIES: Final = 3


@attrs.frozen
class NameConflictQuery:
    """Said to another life of one's own name: "I am alive, and this is since when I hold the name"."""

    name: str
    run_id: int
    born: int  # ms since the epoch at boot, whatever generation was taken since
    announced: bool  # whether this life was ever announced


class Reaction(enum.Enum):
    """What a node does about a rumor that bears its own name."""

    IGNORE = "ignore"
    REFUTE = "refute"  # same life, accused: answer with a higher incarnation
    RECLAIM = "reclaim"  # a later life that cannot be anyone's: take a still later generation
    NAME_CONFLICT = "contest"  # another life that may be somebody: ask it


@attrs.define(eq=False, repr=False)
class Identity:
    """This node's own claim, and the contests for its name that are open."""

    settings: EngineSettings
    name: str
    born: int
    address: Address
    zone: str
    generation: int = attrs.field(init=False)
    incarnation: int = 0
    draining: bool = False
    left: bool = False
    announced: bool = False
    _run_id: int = attrs.field(init=False)
    conflict: Address | None = None  # where an older node is that bears this name while this one is announced, too
    _rival: MemberUpdate | None = None
    _asked: int = 0  # the life that the question is put to
    _queries_left: int = 0
    _query_at: float = float("inf")

    def __attrs_post_init__(self) -> None:
        self.generation = self.born
        self._run_id = run_id_of(self.name, self.generation, self.address)

    @property
    def run_id(self) -> int:
        """This life's id."""
        return self._run_id

    def own_update(self) -> MemberUpdate:
        """What this node says of itself."""
        status = Status.LEFT if self.left else Status.ALIVE
        return MemberUpdate(
            self.name, self.generation, self.incarnation, status, self.address, self.zone, draining=self.draining
        )

    def reaction_to(self, update: MemberUpdate) -> Reaction:
        """What to do about ``rumor``, which bears this node's name."""
        if self.left:
            return Reaction.IGNORE
        if update.generation < self.generation:
            # Ours is the later life and would supersede that one, which is right only if that one is over.
            may_live = not self.announced and update.status.is_present and update.address != self.address
            return Reaction.NAME_CONFLICT if may_live else Reaction.IGNORE
        if update.generation == self.generation and update.address == self.address:
            return Reaction.REFUTE if update.supersedes(self.own_update()) else Reaction.IGNORE
        if update.address == self.address or not update.status.is_present:
            return Reaction.RECLAIM
        return Reaction.NAME_CONFLICT

    def refute(self, update: MemberUpdate) -> None:
        """Outbid an accusation of this life."""
        self.incarnation = max(self.incarnation, update.incarnation) + 1

    def reclaim(self, generation: int) -> None:
        """Take a generation later than ours and than the ``generation`` that was heard of."""
        self.generation = max(self.generation, generation) + RECLAIM_STEP_MS
        self.incarnation = 0
        self._run_id = run_id_of(self.name, self.generation, self.address)
        if self._rival is not None and self._rival.generation < self.generation:
            self.close_query()  # else that life is the later one still, and must be asked

    def drain(self) -> None:
        """Say that no new work is wanted."""
        self.draining = True
        self.incarnation += 1

    def undrain(self) -> None:
        """Say that work is wanted again: the higher incarnation outranks what was said while draining."""
        self.draining = False
        self.incarnation += 1

    # Contests

    @property
    def deadline(self) -> float:
        """When the open contest is to be repeated or given up (seconds), or infinity."""
        return self._query_at

    @property
    def rival(self) -> MemberUpdate | None:
        """The other life whose answer is awaited."""
        return self._rival

    def query(self) -> NameConflictQuery:
        """What is said to the other life."""
        return NameConflictQuery(self.name, self._run_id, self.born, self.announced)

    def query_rival(self, update: MemberUpdate, now: float) -> bool:
        """Start to ask the life in ``rumor``; False when it is being asked already."""
        if self._rival is not None and self._rival.rank >= update.rank:
            return False
        self._rival = update
        self.ask(update.run_id, now)
        return True

    def ask(self, run_id: int, at: float) -> None:
        """From ``at`` (seconds) on, put the question to ``life``, which is at the address of the contested one."""
        self._asked = run_id
        self._queries_left = _TRIES
        self._query_at = at

    def is_queried(self, run_id: int) -> bool:
        """Whether an answer of ``life`` is awaited."""
        return self._rival is not None and run_id == self._asked and self._queries_left < _TRIES

    def next_try(self, now: float) -> bool:
        """Whether to ask once more; False when the other life has had its chances."""
        assert self._rival is not None, "no contest is open"
        self._queries_left -= 1
        self._query_at = now + self.settings.probe_timeout
        return self._queries_left >= 0

    def close_query(self) -> None:
        """Stop asking."""
        self._rival = self.conflict = None
        self._query_at = float("inf")

    def yields_to(self, other: NameConflictQuery) -> bool:
        """Whether ``other`` keeps the name. Both sides come to the same answer."""
        if self.announced != other.announced:
            return other.announced
        return (other.born, other.run_id) < (self.born, self._run_id)
