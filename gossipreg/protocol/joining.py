"""Joining: how this node reaches a cluster through its seeds, and members that it has lost.

Theory of operation (docs/decisions/0017). A newcomer receives the whole state from its seed, so only one seed
should send it; but any of the seeds may be gone. So a few are pinged at once, each over a stream of its own. The node
compares states with the first that answers. Those that answer later wait until that session has ended, or has sent
nothing from one try to the next; a seed that turns out to be a known member by then is dropped instead. A comparison
with a peer of equal state costs 2 KiB, so several in a row do no harm; only the first one is expensive.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

import attrs

from gossipreg.model import Address
from gossipreg.protocol.engine_settings import EngineSettings
from gossipreg.protocol.local_member import LocalMember
from gossipreg.protocol.membership.identity import Identity
from gossipreg.protocol.membership.member_update import Destination
from gossipreg.protocol.membership.members import Members
from gossipreg.protocol.membership.probe import Ping
from gossipreg.protocol.outbox import Outbox
from gossipreg.protocol.outputs import JoinEnded, SeekSeeds
from gossipreg.protocol.peer_streams import PeerStreams
from gossipreg.protocol.stream_sessions import Purpose
from gossipreg.protocol.wire.messages import Message, pack

#: Seeds pinged at once until a member is reached.
_SEEDS_AT_ONCE = 4

#: Members of its cell that a node compares with at one time because another cell has named them.
_NAMED_AT_ONCE = 4


@attrs.define(eq=False, repr=False)
class Joining:
    """The tries of one node to reach others, and when the next one is due (seconds)."""

    settings: EngineSettings
    rng: Random
    identity: Identity
    members: Members
    local_member: LocalMember
    streams: PeerStreams
    outbox: Outbox
    has_seeds: bool
    deadline: float
    _wait: float
    _heard: int = 0  # frames that came in comparisons with seeds, at the last try
    _unsettled: dict[Address, None] = attrs.field(factory=dict)  # seeds tried that may be of this node's cell
    _settled: dict[Address, None] = attrs.field(factory=dict)  # those that have failed once, or are of another cell

    @property
    def _is_alone(self) -> bool:
        return not self.members.present or not self.identity.announced

    @property
    def is_urgent(self) -> bool:
        """Whether a member is missing, so that a try must not wait."""
        return self._is_alone or self.members.has_failed

    def handle_timeout(self, now: float) -> None:
        """Try to reach one failed member and the seeds, if it is time: that is how a partition heals by itself."""
        if now < self.deadline:
            return
        alone = self._is_alone
        wait = self._wait if alone and self.has_seeds else self.settings.reconnect_interval
        self.deadline = now + wait * (0.75 + self.rng.random() / 2)
        self._wait = min(self.settings.join_retry_max, 2 * self._wait) if alone else self.settings.join_retry
        failed = self.members.failed()
        if failed:
            lost = failed[self.rng.randrange(len(failed))]
            ping = Ping(0, lost.run_id, self.streams.state.fingerprint.total)
            self.outbox.send(lost.destination, pack(lost), pack(ping), now=now)
        if self.has_seeds:
            self.outbox.put(SeekSeeds())

    def try_seeds(self, addresses: Sequence[Address], now: float) -> None:
        """Try the seeds at ``addresses``: several while no member was reached, else one that is not present."""
        present = self._known_addresses() if self.identity.announced else {}
        tried = [a for a in dict.fromkeys(addresses) if a != self.identity.address and a not in present]
        for known in (self._unsettled, self._settled):  # names of seeds may stand for other addresses by now
            for address in [each for each in known if each not in tried]:
                del known[address]
        if addresses and not tried and not self.identity.announced and self.identity.rival is None:
            self.local_member.complete_join(now)  # this node is its own only seed
        if not self._has_progress():
            self.rng.shuffle(tried)
            self._try(tried[: 1 if present else _SEEDS_AT_ONCE], now)

    def _known_addresses(self) -> dict[Address, str]:
        """The addresses of members that are present here, or in another cell that can be reached."""
        known, cells = self.members.present_addresses(), self.streams.state.cells
        if cells is not None:
            reached = [each for each in cells.remote if each.status.is_present and each.cell not in cells.stale]
            known |= {each.address: each.name for each in reached}
        return known

    def join_own_cell(self, addresses: Sequence[Address], now: float) -> bool:
        """Compare states with members of this node's cell that another cell has named; returns whether all are asked.

        A few at a time, since any of these addresses may be wrong. Once this node has joined, they are strangers: no
        comparison with one takes the place of that with a member.
        """
        sessions, present = self.streams.sessions, self.members.present_addresses()
        for address in addresses:
            if address == self.identity.address or address in present or sessions.is_open(Purpose.JOIN, address):
                continue
            if sum(not session.requested for _, session in sessions.of(Purpose.JOIN)) >= _NAMED_AT_ONCE:
                return False
            self.streams.open_comparison(
                Purpose.JOIN, Destination(0, address), now, of_stranger=self.identity.announced
            )
        return True

    def _has_progress(self) -> bool:
        """Whether a seed under comparison has sent anything since the last try; if not, the next one has its turn."""
        heard, self._heard = self._heard, sum(session.frames for _, session in self.streams.sessions.of(Purpose.JOIN))
        if self._heard <= heard:
            self._compare_with_next()
        return self._heard > heard

    def _try(self, seeds: Sequence[Address], now: float) -> None:
        sessions = self.streams.sessions
        if len(seeds) == 1 and not sessions.is_open(Purpose.SEED_PING):
            if not sessions.is_open(Purpose.JOIN, seeds[0]):
                self._note_tried(seeds[0], self.streams.open_comparison(Purpose.JOIN, Destination(0, seeds[0]), now))
            return
        for seed in seeds:
            if not sessions.is_open(Purpose.SEED_PING, seed) and not sessions.is_open(Purpose.JOIN, seed):
                ping = Ping(0, 0, self.streams.state.fingerprint.total)
                said: list[Message] = [self.outbox.clock(now), ping]
                self._note_tried(seed, self.streams.open(Purpose.SEED_PING, Destination(0, seed), said))

    def _note_tried(self, seed: Address, stream: int | None) -> None:
        if stream is not None and not self.identity.announced and seed not in self._settled:
            self._unsettled[seed] = None

    @property
    def awaits_seed(self) -> bool:
        """Whether a seed that is tried may still turn out to be of this node's cell: none of its tries has ended."""
        return bool(self._unsettled)

    def settle(self, address: Address) -> None:
        """A try of the seed at ``address`` has ended: it has failed, or the peer there is of another cell."""
        if address in self._unsettled:
            del self._unsettled[address]
            self._settled[address] = None

    def join(self, addresses: Sequence[Address], now: float) -> None:
        """Compare states with the peer at each of ``addresses``, member or not; a `JoinEnded` follows for each.

        Unlike a try of the seeds it waits for nothing, and leaves no address out: a user has named them.
        """
        sessions = self.streams.sessions
        for address in dict.fromkeys(addresses):
            if address == self.identity.address:
                self.outbox.put(JoinEnded(address, compared=True))
                continue
            under_way = [stream for stream, session in sessions.of(Purpose.JOIN) if session.to == address]
            stream = (
                under_way[0] if under_way else self.streams.open_comparison(Purpose.JOIN, Destination(0, address), now)
            )
            session = None if stream is None else sessions.find(stream)
            if session is None:  # too many streams are open
                self.outbox.put(JoinEnded(address, compared=False))
            else:
                session.requested = True

    def hurry(self, now: float) -> None:
        """Try again at once, because the cause of the failure may be gone."""
        if self._is_alone:
            self.deadline = min(self.deadline, now)

    def go_on(self) -> None:
        """A seed has answered, or a comparison has ended: compare with the next, unless a comparison is under way."""
        if not self.streams.sessions.is_open(Purpose.JOIN):
            self._compare_with_next()

    def _compare_with_next(self) -> None:
        """Compare with a seed that was pinged and has answered; drop those that are known to be present."""
        present = self.members.present_addresses() if self.identity.announced else {}
        answered = [
            (stream, session) for stream, session in self.streams.sessions.of(Purpose.SEED_PING) if session.answered
        ]
        strangers = [(stream, session) for stream, session in answered if session.to not in present]
        for stream, session in strangers[:1]:
            session.purpose = Purpose.JOIN
            self.streams.compare(stream)
        for stream, session in answered:
            if session.to in present:
                self.streams.close(stream)
