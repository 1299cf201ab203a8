"""The cluster state as this node holds it: members and records, with their fingerprint, view and broadcast queue.

This is the one place where the converged state changes. An update comes in (`believe`, `take`, `apply_digest`) and is
compared with what is held. If it is new it enters the tables, the fingerprint and the broadcast queue in one step, so
the three cannot disagree.

An owner's records count in the fingerprint only while the owner is known in the run that made them and has not left
(`_filed`): updates and records travel separately, and an unknown owner's record may arrive before its update does.
"""

from __future__ import annotations

from collections import Counter
from functools import partial

import attrs

from gossipreg import limits
from gossipreg.counters import Count
from gossipreg.model import PRIMARY, Instance, Status
from gossipreg.protocol.anti_entropy.fingerprint import Entry, Fingerprint
from gossipreg.protocol.broadcaster import Broadcaster
from gossipreg.protocol.cells.cell_head import COMMON, CellHead
from gossipreg.protocol.cells.cells import Cells
from gossipreg.protocol.dissemination.broadcast_queue import BroadcastQueue, Topic
from gossipreg.protocol.dissemination.digest_rounds import DigestRounds
from gossipreg.protocol.engine_settings import EngineSettings
from gossipreg.protocol.identity.authenticator import Authenticator
from gossipreg.protocol.identity.certificate_verifier import CertificateVerifier
from gossipreg.protocol.membership.member_update import MemberUpdate
from gossipreg.protocol.membership.members import Members
from gossipreg.protocol.policy_state import PolicyState
from gossipreg.protocol.registry.clock import Clock
from gossipreg.protocol.registry.payload import BadPayload
from gossipreg.protocol.registry.policies import Policies
from gossipreg.protocol.registry.records import CONTENT_BYTES, Record, TableDigest
from gossipreg.protocol.registry.refresh import in_reach
from gossipreg.protocol.registry.registry import Change, Registry, announcement, is_inline
from gossipreg.protocol.registry.table import Freshness, Table
from gossipreg.protocol.registry.terms import TermRegister, Terms
from gossipreg.protocol.registry.view import View
from gossipreg.protocol.term_state import TermState
from gossipreg.protocol.wire.messages import pack
from gossipreg.signatures import SIGNATURE_BYTES

#: Most bytes of a table digest without deleted ids: an owner of 63 characters, three numbers of nine bytes, the rest.
DIGEST_BYTES_MAX = 96

#: What proves a table digest (bytes), with its head.
_DIGEST_PROOF_BYTES = CONTENT_BYTES + SIGNATURE_BYTES + 2

#: How long the records of an owner without a membership update are kept (seconds).
_PENDING_OWNER_SECONDS = 60.0


@attrs.define(eq=False, repr=False)
class ClusterState:
    """Members, registry, view, fingerprint and broadcast queue of one node."""

    settings: EngineSettings
    members: Members
    registry: Registry
    view: View
    counters: Counter[str]
    clock: Clock
    authenticator: Authenticator = attrs.field(factory=lambda: Authenticator(CertificateVerifier("")))
    policies: Policies = attrs.field(factory=Policies)
    terms: Terms = attrs.field(factory=Terms)
    fingerprint: Fingerprint = attrs.field(factory=Fingerprint)
    cells: Cells | None = None  # the other cells of the region; None in a flat cluster
    broadcaster: Broadcaster = attrs.field(init=False)
    policy_state: PolicyState = attrs.field(init=False)
    term_state: TermState = attrs.field(init=False)
    digests: DigestRounds = attrs.field(init=False)  # owners whose tables changed lately
    message_room: int = limits.PACKET_BYTES_MAX  # bytes of the largest message that fits a packet now
    own: MemberUpdate | None = None  # this node's own update: it counts in its own view even before it is announced
    changes: int = 0  # how often anything here, or in the parts around it, has begun to change
    _filed: dict[str, int] = attrs.field(factory=dict)  # owner -> generation whose records are in the fingerprint
    _deprioritized: dict[str, None] = attrs.field(factory=dict)  # owners that more than one member could not reach
    _no_strangers_until: float = float("-inf")  # until when no unknown owner is assumed to hold records (seconds)
    _pending_owners: dict[str, float] = attrs.field(factory=dict)  # owner without a membership update -> since when
    _remote_changed: dict[str, None] = attrs.field(factory=dict)  # members of other cells, since they were last taken
    _barred: dict[str, int] = attrs.field(factory=dict)  # owner -> generation in which it has stated what it may not

    def __attrs_post_init__(self) -> None:
        self.digests = DigestRounds(self.settings.gossip_tree_gap)
        self._connect()

    def _connect(self) -> None:
        """Make the parts that change the others' tables."""
        root = None if self.cells is None else self.cells.root
        self.broadcaster = Broadcaster(self.settings, self.members, BroadcastQueue(self.settings), root)
        count = partial(self._count, COMMON)
        self.policy_state = PolicyState(
            self.members.own_name,
            self.policies,
            self.registry,
            count,
            self.broadcaster,
            self.clock,
            self.counters,
            self.authenticator,
            self.begin_change,
        )
        self.term_state = TermState(
            self.members.own_name,
            self.terms,
            self.registry,
            self.view,
            count,
            self.broadcaster,
            self.clock,
            self.counters,
            self.authenticator,
            self.owner_of,
            self.begin_change,
        )

    @property
    def broadcasts(self) -> BroadcastQueue:
        """What is still to be broadcast."""
        return self.broadcaster.queue

    def begin_change(self) -> None:
        """Note that the state is about to change: an exception may leave it half-changed now (docs/decisions/0092)."""
        self.changes += 1

    # Members

    def believe(self, update: MemberUpdate, now: float, *, spread: bool) -> MemberUpdate | None:
        """Hold ``update``, which is new; returns the update that was held before."""
        self.begin_change()
        before = self.members.put(update, now)
        held = self.members.get(update.name)
        assert held is not None, "it was just put there"
        self._count(self._own_partition, before, held)
        if update.status is not Status.SUSPECT or (before is not None and not before.is_same_run(update)):
            self._deprioritized.pop(update.name, None)
        if spread:
            # At random: most of these are sent while nodes do not know each other yet, so their trees differ.
            wait = self.settings.gossip_coalesce if update.name == self.members.own_name else 0.0
            self.broadcasts.enqueue(Topic.MEMBERSHIP, update.name, pack(update), now, wait=wait)
        self._keep_table(update)
        return before

    def _keep_table(self, update: MemberUpdate) -> None:
        """Keep the records of a member's run, about which there is an ``update``; drop those of another run.

        With identity, what came before its owner was known was not verified. If the owner signs, it is dropped, and
        comes again by the digests of those that hold it.
        """
        table = self.registry.table(update.name)
        if table is not None:
            is_unverified = self.authenticator.is_on and bool(update.proof) and update.name in self._pending_owners
            if table.generation != update.generation or update.status is Status.LEFT or is_unverified:
                self.drop_table(update.name)
            else:
                self.registry.touch(update.name)
                self._file(update.name)

    def find(self, name: str) -> MemberUpdate | None:
        """The update held about ``name``, a member of this cell or of another."""
        held = self.members.get(name)
        return self.cells.remote.get(name) if held is None and self.cells is not None else held

    def with_age(self, update: MemberUpdate, now: float) -> MemberUpdate:
        """``update`` with the time since its member failed or left, for a peer that may not know it."""
        since = self.since(update.name)
        return update if since is None else attrs.evolve(update, age=min(limits.AGE_MAX, max(0, int(now - since))))

    def since(self, name: str) -> float | None:
        """When ``name``, of this cell or another, failed or left (seconds); None if it did neither, or is not known."""
        since = self.members.since(name)
        return self.cells.remote.since(name) if since is None and self.cells is not None else since

    # Other cells

    def part(self, partition: str) -> Fingerprint:
        """The fingerprint of a partition; that of the whole state if it is empty."""
        return self.cells.partitions.of(partition) if partition and self.cells is not None else self.fingerprint

    @property
    def _own_partition(self) -> str:
        return "" if self.cells is None else self.cells.own

    def cell_of(self, owner: str) -> str:
        """The cell of ``owner``, which is the partition of what it has registered; empty in a flat cluster."""
        held = None if self.cells is None else self.cells.remote.get(owner)
        return self._own_partition if held is None else held.cell

    def _count(self, partition: str, before: Entry | None, after: Entry | None) -> None:
        """An entry came, went, or took another's place: count that in the fingerprints."""
        self.fingerprint.replace(before, after)
        if self.cells is not None:
            self.cells.partitions.replace(partition, before, after)

    def believe_remote(
        self, update: MemberUpdate, now: float, *, spread: bool, received_from: str | None = None
    ) -> None:
        """Hold ``update``, which is new, about a member of another cell."""
        cells = self.cells
        assert cells is not None, "only a node of a cell knows others"
        self.begin_change()
        held = cells.remote.get(update.name)
        if held is not None and held.cell != update.cell:
            self.forget_remote(update.name)
        self._remote_changed[update.name] = None
        before = cells.remote.put(update, now)
        after = cells.remote.get(update.name)
        self._count(update.cell, before, after)
        cells.note(update.cell, now)
        if spread:
            self.broadcaster.broadcast(
                Topic.MEMBERSHIP, update.name, pack(update), now, origin=update.name, received_from=received_from
            )
        self._keep_table(update)

    def forget_remote(self, name: str) -> None:
        """Forget a member of another cell, and its records."""
        assert self.cells is not None, "only a node of a cell knows others"
        self.begin_change()
        self._remote_changed[name] = None
        self.drop_table(name)
        update = self.cells.remote.drop(name)
        self._count(update.cell, update, None)

    def take_remote_changes(self) -> tuple[str, ...]:
        """The members of other cells of which anything has changed since the last call."""
        names = tuple(self._remote_changed)
        self._remote_changed.clear()
        return names

    def makes_room_for_cell(self, cell: str, now: float) -> bool:
        """Whether ``cell`` may be known; one that was only ever named gives way to it."""
        assert self.cells is not None, "only a node of a cell knows others"
        if self.cells.has_room_for(cell):
            return True
        gone = self.cells.first_to_go(now)
        if gone is not None:
            self._forget_cell(self.cells, gone)
        return gone is not None

    def _forget_cell(self, cells: Cells, cell: str) -> None:
        self.begin_change()
        for name in list(cells.remote.names(cell)):
            self.forget_remote(name)
        cells.forget(cell)

    def spread_head(self, head: CellHead, now: float, received_from: str | None = None) -> None:
        """Tell this cell of the head of another."""
        assert self.cells is not None, "only a node of a cell knows others"
        origin = self.cells.relays(head.cell)[0]
        self.broadcaster.broadcast(Topic.HEADS, head.cell, pack(head), now, origin=origin, received_from=received_from)

    def note_cell_state(self, cell: str, why: str | None) -> None:
        """What is known of ``cell`` is stale, and ``why``; or is not (None)."""
        assert self.cells is not None, "only a node of a cell knows others"
        self.begin_change()
        if why is None:
            self.cells.stale.pop(cell, None)
        else:
            self.cells.stale[cell] = why
        for name in self.cells.remote.names(cell):
            self._remote_changed[name] = None
            self.registry.touch(name)

    def deprioritize(self, name: str) -> None:
        """Prefer other members' instances to those of ``name``, which several members suspect."""
        self.begin_change()
        self._deprioritized[name] = None
        self.registry.touch(name)

    def expect(self, update: MemberUpdate) -> bool:
        """Whether ``update``, about an unknown member, is recent enough to be held."""
        if update.age >= self.members.memory(update.status):
            self.counters[Count.UPDATES_TOO_OLD] += 1
            return False
        return True

    def restore_priority(self, name: str) -> None:
        """End `deprioritize` for a member that has answered this node."""
        if name in self._deprioritized:
            del self._deprioritized[name]
            self.registry.touch(name)

    # Records

    def classify(self, owner: str, generation: int, id: str, version: int) -> Freshness:
        """Classify a record, without taking it."""
        if owner == self.members.own_name:
            table = self.registry.table(owner)
            held = table.get(id) if table is not None and table.generation == generation else None
            return Freshness.OBSOLETE if held is None else Freshness.KNOWN  # no peer has newer records of this node
        if not self._admits(owner, generation):
            return Freshness.OBSOLETE
        return self.registry.classify(owner, generation, id, version)

    def is_foreign(self, entry: Record | TableDigest) -> bool:
        """Whether ``entry`` has this node's name and generation although this node never sent it."""
        if entry.owner != self.members.own_name or self.own is None or entry.generation != self.own.generation:
            return False
        table = self.registry.table(entry.owner)
        if entry.version > (0 if table is None else table.latest_digest.version):
            return True
        held = table.get(entry.id) if table is not None and isinstance(entry, Record) and entry.payload else None
        return held is not None and held.version == entry.version and held.digest != entry.digest

    def _admits(self, owner: str, generation: int) -> bool:
        """Whether records of this generation of ``owner`` may be held: that of its update, or any if it is unknown.

        A later generation is not accepted from a record: it may be of a newcomer whose name is taken, and to accept
        it would drop the records of the member that is here.
        """
        member = self.find(owner)
        if member is not None:
            return generation == member.generation and member.status is not Status.LEFT
        return owner in self._pending_owners or len(self._pending_owners) < limits.PENDING_OWNERS_MAX

    def take(self, record: Record, now: float, *, spread: bool, received_from: str | None = None) -> bool:
        """Take a record that `classify` called new; returns whether it was taken."""
        try:
            term = 0 if record.payload is None else record.instance.term
        except BadPayload:
            self.counters[Count.RECORDS_WITH_BAD_PAYLOAD] += 1
            return False
        if term > self.clock.highest_term(now):
            self.counters[Count.TERMS_TOO_HIGH] += 1
            return False
        self.begin_change()
        if not self._make_room(record, now):
            return False
        self._make_way(record.owner, record.generation, now)
        change = self.registry.apply(record)
        self._refile(record.owner, change)
        if spread:
            self.spread(record, now, received_from)
        self.term_state.raise_by(record, now, spread=spread, received_from=received_from)
        return True

    def _make_room(self, record: Record, now: float) -> bool:
        """Return whether there is room for ``record``, after evicting strangers' tables as needed."""
        table = self.registry.table(record.owner)
        size = 0 if record.payload is None else len(record.payload)
        is_known = table is not None and table.generation == record.generation
        holds = table.grown(record.id, size) if is_known and table is not None else size
        count = table.size if is_known and table is not None else 0
        if self.find(record.owner) is None:
            has_room = holds <= limits.PENDING_OWNER_BYTES_MAX and count < limits.PENDING_OWNER_RECORDS_MAX
        else:
            has_room = holds <= limits.RECORDS_BYTES_PER_OWNER_MAX
        if not has_room:
            self.counters[Count.RECORDS_OVER_OWNER_LIMIT] += 1
            return False
        while self.registry.is_full(size):
            if self._is_stranger(record.owner) or not self._drop_stranger(now):
                self.counters[Count.RECORDS_OVER_TOTAL_LIMIT] += 1
                return False
        return True

    def _is_stranger(self, owner: str) -> bool:
        return self.find(owner) is None or self.members.is_stranger(owner)

    def _drop_stranger(self, now: float) -> bool:
        """Drop the table of one stranger; if there is none, do not search again within a second."""
        if now < self._no_strangers_until:
            return False
        owner = next((table.owner for table in self.registry.owners if self._is_stranger(table.owner)), None)
        if owner is None:
            self._no_strangers_until = now + 1.0
            return False
        self.drop_table(owner)
        return True

    def spread(self, record: Record, now: float, received_from: str | None = None) -> None:
        """Broadcast a record: the record itself, or an announcement of it."""
        data = pack(record if is_inline(record) else announcement(record))
        if len(data) > self.message_room:
            data = pack(announcement(record))
        about = (record.owner, record.id)
        self.broadcaster.broadcast(Topic.INSTANCES, about, data, now, origin=record.owner, received_from=received_from)
        if self.broadcaster.has_receipts:
            self.digests.changed(record.owner, now)

    def told_digest(self, owner: str) -> bytes | None:
        """The digest of the table of ``owner`` as others are told it, if this node holds it whole.

        It goes without its proof, which is twice as long: it is for others to know what to request.
        """
        table = self.registry.table(owner)
        if table is None or not table.is_complete or not table.compacted_below:
            return None
        return pack(table.latest_digest.unproven)

    @property
    def digest_bytes(self) -> int:
        """Most bytes of a table digest without deleted ids, with what proves it if members sign."""
        return DIGEST_BYTES_MAX + (_DIGEST_PROOF_BYTES if self.authenticator.is_on else 0)

    def piggyback_digests(self, room: int, now: float) -> list[bytes]:
        """Table digests that fit into ``room`` bytes of a packet that goes out anyway."""
        if not len(self.digests):
            return []
        owners = self.digests.piggyback(room // DIGEST_BYTES_MAX, now)
        return [digest for digest in map(self.told_digest, owners) if digest is not None]

    def is_word(self, digest: TableDigest) -> bool:
        """Whether a digest is no more than the word of its sender: its owner signs, and has not signed it."""
        if not self.authenticator.is_on or digest.proof or digest.gone:
            return False
        owner = self.owner_of(digest)
        return owner is not None and bool(owner.proof)

    def would_change(self, digest: TableDigest) -> bool:
        """Whether a digest may change anything here; if not, it need not be verified."""
        table = self.registry.table(digest.owner)
        if table is None or digest.generation != table.generation:
            return True
        return bool(digest.gone) or digest.version > table.latest_digest.version

    def apply_digest(self, digest: TableDigest, now: float) -> Change | None:
        """Apply a digest of an owner's whole table; returns what it changed, or None where it does not count."""
        if digest.owner == self.members.own_name or not self._admits(digest.owner, digest.generation):
            return None
        table = self.registry.table(digest.owner)
        if table is not None and digest.generation < table.generation:
            return None
        self.begin_change()
        self._make_way(digest.owner, digest.generation, now)
        change = self.registry.apply_digest(digest, proven=self.authenticator.is_on and bool(digest.proof))
        self._refile(digest.owner, change)
        return change

    def remake(self, record: Record, change: Change) -> None:
        """Enter a change that this node made to its own table into the fingerprint."""
        self._refile(record.owner, change)

    def _make_way(self, owner: str, generation: int, now: float) -> None:
        """Drop the table of a stranger's past run, and mark an owner without a membership update."""
        table = self.registry.table(owner)
        if table is not None and table.generation < generation:
            self.drop_table(owner)
        if self.find(owner) is None:
            self._pending_owners.setdefault(owner, now)

    def drop_table(self, owner: str) -> None:
        """Drop all records of ``owner``."""
        self.begin_change()
        if owner in self._filed:
            table = self.registry.table(owner)
            assert table is not None, "what is filed is held"
            del self._filed[owner]
            self._toggle_all(table, present=False)
        self.registry.drop(owner)
        self._pending_owners.pop(owner, None)

    def _file(self, owner: str) -> None:
        """Count an owner's records in the fingerprint from now on, if its update is of the run that made them."""
        table = self.registry.table(owner)
        member = self.find(owner)
        if table is None or member is None or member.generation != table.generation or owner in self._filed:
            return
        self._filed[owner] = table.generation
        self._pending_owners.pop(owner, None)
        self._toggle_all(table, present=True)

    def _toggle_all(self, table: Table, *, present: bool) -> None:
        entries = [*table, *([table.latest_digest] if table.latest_digest.version else [])]
        partition = self.cell_of(table.owner)
        for entry in entries:
            self._count(partition, None if present else entry, entry if present else None)

    def _refile(self, owner: str, change: Change) -> None:
        if owner not in self._filed:
            self._file(owner)
            return
        partition = self.cell_of(owner)
        for record in change.went:
            self._count(partition, record, None)
        for record in change.came:
            self._count(partition, None, record)
        if change.digest_before != change.digest_after:
            before = change.digest_before if change.digest_before.version else None
            self._count(partition, before, change.digest_after)

    # Identity

    def sign_record(self, record: Record, instance: Instance | None) -> bytes:
        """The proof of one of this node's own records: its signature, and that of its term if it states one."""
        proof = self.authenticator.sign_record(record)
        if instance is None or not instance.term or not proof:
            return proof
        register = self.terms.get(instance.service) or TermRegister(instance.service)
        term_proof = self.authenticator.sign_term(register, instance.term, claimed=instance.role == PRIMARY)
        return proof + term_proof[:SIGNATURE_BYTES]

    def owner_of(self, said: Record | TableDigest) -> MemberUpdate | None:
        """What is held of the member that ``said`` is about."""
        return self.own if said.owner == self.members.own_name else self.find(said.owner)

    def bar(self, owner: str, generation: int) -> None:
        """Request no records of an owner that has signed one beyond its certificate: its table is never complete."""
        self._barred[owner] = generation

    def is_barred(self, table: Table | Record | TableDigest) -> bool:
        """Whether the records of a table, or of that which a record or digest is of, are not requested."""
        return self._barred.get(table.owner) == table.generation

    # View, and expiry

    def refresh(self) -> list[str]:
        """Bring the view up to date; returns the services that changed."""
        dirty = self.registry.take_dirty()
        if not dirty:
            return []
        return self.view.refresh(
            dirty,
            self.registry,
            self._find_owner,
            self._deprioritized,
            self.policies.of,
            since=self.since,
            highest_term=self.terms.claimed,
            cut_off=in_reach if self.cells is None else self.cells.cut_off,
        )

    def forget_recalled(self) -> None:
        """Drop what was recalled from before this node's start, since the cluster was reached."""
        for service in self.view.forget_recalled():
            self.registry.touch_service(service)

    def _find_owner(self, owner: str, generation: int) -> MemberUpdate | None:
        member = self.own if owner == self.members.own_name else self.find(owner)
        return member if member is not None and member.generation == generation else None

    def forget(self, name: str) -> MemberUpdate:
        """Evict a member to make room for another; returns its last update."""
        update = self.members.drop(name)
        self._forget(update)
        return update

    def _forget(self, update: MemberUpdate) -> None:
        self.drop_table(update.name)
        self._count(self._own_partition, update, None)
        self._deprioritized.pop(update.name, None)
        self._barred.pop(update.name, None)

    def sweep(self, now: float) -> list[MemberUpdate]:
        """Forget expired members, and records without an owner; returns the members."""
        forgotten = self.members.forget(now)
        for update in forgotten:
            self._forget(update)
        if self.cells is not None:
            self._sweep_cells(self.cells, now)
        for owner in [owner for owner, since in self._pending_owners.items() if now - since > _PENDING_OWNER_SECONDS]:
            self.drop_table(owner)
        return forgotten

    def _sweep_cells(self, cells: Cells, now: float) -> None:
        """Forget remote members whose time is over, and cells of which nothing was heard for as long."""
        for update in cells.remote.snapshot():
            since = cells.remote.since(update.name)
            if since is not None and now - since >= self.members.memory(update.status):
                self.forget_remote(update.name)
        for cell in cells.others:
            if cells.silence(cell, now) >= self.members.memory(Status.FAILED):
                self._forget_cell(cells, cell)
