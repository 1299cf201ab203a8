"""Knows the whole protocol of one node: verbs in, nouns out.

Theory of operation. The engine marries the rooms: what the prober finds becomes rumors, what peers say becomes
knowledge, what became news is queued to be told on. Every verb takes ``now`` (seconds on any steady clock) and returns
its outputs, so none can be left undrained. The driver hands in every packet that is readable, then calls `wake`, then
sleeps until `deadline` or the next packet; one sleep serves every timer.

    receive, stream_frame, stream_ended      what peers say
    register, deregister, drain, leave       what the user wants
    seeds                                    where to look for others
    wake                                     what is due
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import islice
from random import Random

import attrs

from gossipreg import limits
from gossipreg.config import Settings
from gossipreg.errors import NodeClosed, RecordTooLarge, UnknownInstance
from gossipreg.model import Address, Instance, Status
from gossipreg.protocol.knowledge import Knowledge
from gossipreg.protocol.membership.detector import Detector
from gossipreg.protocol.membership.identity import Answer, Contest, Identity
from gossipreg.protocol.membership.members import Members
from gossipreg.protocol.membership.probe import (
    Ack,
    Finding,
    Missed,
    Nack,
    Ping,
    PingReq,
    Say,
    TryStream,
)
from gossipreg.protocol.membership.rumor import Rumor
from gossipreg.protocol.outputs import (
    CloseStream,
    InstancesChanged,
    MemberChanged,
    NameContested,
    OpenStream,
    Output,
    SeekSeeds,
    SendFrame,
    Transmit,
)
from gossipreg.protocol.registry.payload import pack_instance
from gossipreg.protocol.registry.records import Announcement, Fetch, Head, Record
from gossipreg.protocol.registry.registry import Registry
from gossipreg.protocol.registry.table import Verdict
from gossipreg.protocol.registry.view import View
from gossipreg.protocol.spreading.dissemination import Topic
from gossipreg.protocol.spreading.reconcile import Compare, End
from gossipreg.protocol.talks import Purpose, Talk, Talks, answers, corrections, frames
from gossipreg.protocol.wire.messages import SENDER_BYTES, Junk, Message, pack, pack_sender, unpack

#: Time between sweeps of what can be forgotten (seconds). Memory spans are minutes to a day.
_SWEEP_SECONDS = 5.0

#: Least time between two messages that tell a member, unasked, what is believed of it (seconds).
_TELL_SECONDS = 0.5

#: Own records that are also gossiped when a node settles; beyond it the seed and reconciliation carry them.
_RESPREAD_MAX = 64

#: News from one talk that is also gossiped: a talk mends what gossip missed, it must not become a storm itself.
_TALK_NEWS_MAX = 128

#: Seeds tried at once while nobody was reached.
_SEEDS_AT_ONCE = 4

_NEVER = float("inf")

_END = pack(End())


@attrs.define
class _Voice:
    """Where a message came from, and where an answer to it goes."""

    sender: int  # life id
    source: Address
    member: Rumor | None  # the sender, if it is known
    stream: int | None = None
    replies: list[bytes] = attrs.field(factory=list)
    news: int = 0
    stale: dict[str, list[str]] = attrs.field(factory=dict)  # owner -> ids that the sender still holds

    @property
    def in_talk(self) -> bool:
        """Whether the message came over a stream, as part of a comparison of states."""
        return self.stream is not None


@attrs.define
class Engine:
    """One node's protocol. Not safe for threads, except that `knowledge.view` may be read from any."""

    settings: Settings
    dice: Random
    identity: Identity
    detector: Detector
    knowledge: Knowledge
    talks: Talks
    packet_room: int  # bytes of a datagram before it is sealed
    has_seeds: bool
    counters: Counter[str]
    _sender: bytes
    _reconnect_at: float
    _sweep_at: float
    _join_wait: float
    _unequal_since: float | None = None
    _talk_after: float = 0.0
    _told: dict[int, float] = attrs.field(factory=dict)  # life id -> when it was last told, unasked
    _out: list[Output] = attrs.field(factory=list)

    @classmethod
    def create(
        cls,
        *,
        name: str,
        generation: int,
        address: Address,
        zone: str,
        settings: Settings,
        dice: Random,
        has_seeds: bool,
        packet_room: int,
        now: float,
        counters: Counter[str] | None = None,
    ) -> Engine:
        """The engine of a node born in the millisecond ``generation``; alone until it is told of others."""
        counters = Counter() if counters is None else counters
        identity = Identity(settings, name, generation, address, zone)
        members = Members(settings, dice, name)
        knowledge = Knowledge(settings, members, Registry(name), View(generation), counters)
        engine = cls(
            settings=settings,
            dice=dice,
            identity=identity,
            detector=Detector.create(settings, members, dice, now),
            knowledge=knowledge,
            talks=Talks(),
            packet_room=packet_room,
            has_seeds=has_seeds,
            counters=counters,
            sender=pack_sender(identity.life),
            reconnect_at=now if has_seeds else now + settings.reconnect_interval,
            sweep_at=now + _SWEEP_SECONDS,
            join_wait=settings.join_retry,
        )
        knowledge.own = identity.rumor()
        if not has_seeds:
            engine._settle(now)
        return engine

    # What can be read

    @property
    def members(self) -> Members:
        """What is believed of everybody."""
        return self.knowledge.members

    @property
    def view(self) -> View:
        """What lookups answer."""
        return self.knowledge.view

    @property
    def fingerprint(self) -> int:
        """64 bits that stand for the converged state."""
        return self.knowledge.fingerprint.total

    @property
    def local_health(self) -> int:
        """0 is well."""
        return self.detector.health.score

    def is_isolated(self, now: float) -> bool:
        """Whether this node hears nobody although there should be somebody."""
        others = any(rumor.status is not Status.LEFT for rumor in self.members if rumor.name != self.identity.name)
        return (others or not self.identity.settled) and self.detector.is_isolated(now)

    def deadline(self) -> float:
        """When `wake` is wanted (seconds)."""
        if self.identity.left:
            return self.knowledge.mill.deadline
        return min(
            self.detector.deadline,
            self.knowledge.mill.deadline,
            self.identity.deadline,
            self._reconnect_at,
            self._sweep_at,
        )

    def _drain_out(self) -> list[Output]:
        out, self._out = self._out, []
        return out

    # What the user wants

    def register(self, instance: Instance, now: float) -> list[Output]:
        """Offer ``instance``, or replace one of its id. Raises `InvalidInstance`, `RecordTooLarge`, `NodeClosed`."""
        self._check_open()
        instance.check()
        size = len(pack_instance(instance))
        if size > limits.RECORD_BYTES_MAX:
            raise RecordTooLarge(
                f"instance {instance.id!r}: its record has {size} bytes, {limits.RECORD_BYTES_MAX} are allowed: "
                "shorten its meta or tags"
            )
        record, change = self.knowledge.registry.offer(instance, self.identity.generation)
        self.knowledge.remake(record, change)
        self.knowledge.spread(record, now)
        self._refresh()
        return self._drain_out()

    def deregister(self, id: str, now: float) -> list[Output]:  # noqa: A002
        """Withdraw one of this node's own instances. Raises `UnknownInstance`, `NodeClosed`."""
        self._check_open()
        if self.own(id) is None:
            raise UnknownInstance(f"this node owns no instance {id!r}: ask the node that registered it")
        record, change = self.knowledge.registry.bury(id, self.identity.generation)
        self.knowledge.remake(record, change)
        self.knowledge.spread(record, now)
        self._refresh()
        return self._drain_out()

    def own(self, id: str) -> Instance | None:  # noqa: A002
        """This node's own instance of that id, as it was registered."""
        table = self.knowledge.registry.table(self.identity.name)
        record = None if table is None else table.get(id)
        return None if record is None else record.instance

    def own_count(self) -> int:
        """How many instances this node offers."""
        return len(self.knowledge.registry.table(self.identity.name) or ())

    def drain(self, now: float) -> list[Output]:
        """Ask for no new work: all own instances weigh 0 from now on, everywhere."""
        self._check_open()
        self.identity.drain()
        self._announce(now)
        self._refresh()
        return self._drain_out()

    def leave(self, now: float) -> list[Output]:
        """Say goodbye. The engine should be woken for a while yet, so that the word spreads."""
        self._check_open()
        self.identity.left = True
        self._announce(now)
        self._refresh()
        return self._drain_out()

    def _check_open(self) -> None:
        if self.identity.left:
            raise NodeClosed(f"node {self.identity.name!r} has left the cluster: open a new one")

    def seeds(self, addresses: Sequence[Address], now: float) -> list[Output]:
        """Try the seeds at ``addresses``: all while nobody was reached, else one that is not among the present."""
        present = self.members.present_addresses() if self.identity.settled else {}
        tried = [a for a in dict.fromkeys(addresses) if a != self.identity.address and a not in present]
        self.dice.shuffle(tried)
        for address in tried[: 1 if present else _SEEDS_AT_ONCE]:
            if not self.talks.is_open(Purpose.JOIN, address):
                self._open_talk(Purpose.JOIN, address)
        if addresses and not tried and not self.identity.settled and self.identity.contested is None:
            self._settle(now)  # we are our own only seed
        return self._drain_out()

    # What peers say

    def receive(self, data: bytes, source: Address, now: float) -> list[Output]:
        """Take a datagram, its seal already opened. Junk is counted and dropped."""
        self.counters["packets_received"] += 1
        voice, messages = self._read(data, source, None, now)
        for message in messages:
            self._hear(message, voice, now)
        return self._drain_out()

    def _read(self, data: bytes, source: Address, stream: int | None, now: float) -> tuple[_Voice, list[Message]]:
        try:
            sender, messages = unpack(data)
        except Junk:
            self.counters["junk_packets"] += 1
            return _Voice(0, source, None, stream), []
        if sender == self.identity.life:
            self.counters["own_packets"] += 1
            return _Voice(0, source, None, stream), []
        member = self.members.by_life(sender)
        if member is not None:
            self.detector.heard(sender, now)
            if member.status in (Status.SUSPECT, Status.FAILED):
                self._tell(member, now)
        return _Voice(sender, source, member, stream), messages

    def _tell(self, accused: Rumor, now: float) -> None:
        """Tell a member that is there what is believed of it, so that it can refute."""
        if now - self._told.get(accused.life, -_NEVER) >= _TELL_SECONDS:
            self._told[accused.life] = now
            self._send(accused.address, pack(accused))

    def _hear(self, message: Message, voice: _Voice, now: float) -> None:
        match message:
            case Ping():
                self._answer_ping(message, voice, now)
            case Ack():
                self._hear_ack(message, voice, now)
            case Nack():
                self.detector.prober.nacked(message)
            case PingReq():
                if voice.member is not None:
                    request = self.detector.prober.ping_for(message, voice.source, self.fingerprint, now)
                    self._perform(request, now)
            case Rumor():
                self._hear_rumor(message, voice, now)
            case Contest():
                self._hear_contest(message, voice, now)
            case Record():
                self._hear_record(message, voice, now)
            case Announcement():
                self._hear_announcement(message, voice)
            case Head():
                self._hear_head(message, now)
            case _:
                if voice.in_talk:
                    voice.replies += answers(message, self.knowledge, now)

    def _answer_ping(self, ping: Ping, voice: _Voice, now: float) -> None:
        ack = pack(Ack(ping.seq, 0, self.fingerprint))
        if voice.in_talk:
            voice.replies.append(ack)
        elif voice.member is None:
            self._out.append(Transmit(self._sender + ack, voice.source))  # a stranger gets no more than it gave
        else:
            self._send(voice.source, ack, now=now)
        self._compare(ping.fingerprint, voice, now)

    def _hear_ack(self, ack: Ack, voice: _Voice, now: float) -> None:
        if voice.member is None:
            return
        self._perform(self.detector.prober.acked(ack, voice.sender, now), now)
        if not ack.subject:
            self._compare(ack.fingerprint, voice, now)

    def _hear_rumor(self, rumor: Rumor, voice: _Voice, now: float) -> None:
        if rumor.name == self.identity.name:
            self._hear_of_self(rumor, now)
            return
        held = self.members.get(rumor.name)
        if held is None:
            if not self.knowledge.expect(rumor):
                return
        elif not rumor.supersedes(held):
            if rumor.rank == held.rank and rumor.status is Status.SUSPECT:
                self._confirm(held, rumor.accuser, now)
            return
        if voice.in_talk and rumor.status is Status.FAILED and held is not None and held.status.is_present:
            # The verdict of the other side of a split: here the member may be well, so it gets the chance to refute.
            rumor = attrs.evolve(rumor, status=Status.SUSPECT, accuser=voice.sender)
            if not rumor.supersedes(held):
                return
        self._believe(rumor, now, spread=self._is_worth_telling(voice))
        revived = held is not None and held.status is Status.FAILED and rumor.status is Status.ALIVE
        if revived and not voice.in_talk:
            self._unequal_since = now - self.settings.reconcile_settle  # it was away: compare as soon as possible

    def _is_worth_telling(self, voice: _Voice) -> bool:
        """Whether news from there should be gossiped on; what a joiner is told is news to nobody else."""
        if not voice.in_talk:
            return True
        voice.news += 1
        return voice.news <= _TALK_NEWS_MAX and self.identity.settled

    def _confirm(self, held: Rumor, accuser: int, now: float, *, refused: bool = False) -> None:
        if self.detector.confirm(held.name, accuser, refused=refused):
            self.knowledge.mill.add(Topic.MEMBERSHIP, held.name, pack(attrs.evolve(held, accuser=accuser)), now)

    def _believe(self, rumor: Rumor, now: float, *, spread: bool, refused: bool = False) -> None:
        before = self.knowledge.believe(rumor, now, spread=spread)
        if rumor.status is Status.SUSPECT:
            self.detector.suspected(rumor, now, refused=refused)
        else:
            self.detector.cleared(rumor.name)
        self._out.append(MemberChanged(before, rumor))

    def _hear_of_shared_generation(self, said: Record | Head, now: float) -> bool:
        """Whether ``said`` is of our name and generation but not by us; then take a later generation.

        Two lives that reclaim their name above the same rumor at the same time come to share one.
        """
        if self.identity.left or not self.knowledge.is_foreign(said):
            return False
        self._reclaim(said.generation, now)
        return True

    def _hear_record(self, record: Record, voice: _Voice, now: float) -> None:
        if self._hear_of_shared_generation(record, now):
            return
        verdict = self.knowledge.judge(record.owner, record.generation, record.id, record.version)
        if verdict is Verdict.NEWS:
            if self.knowledge.take(record, now, spread=self._is_worth_telling(voice)):
                self.talks.got((record.owner, record.id))
        elif verdict is Verdict.DEAD and voice.in_talk:
            if record.owner != self.identity.name or self.identity.settled:  # else it may be a namesake's, and alive
                voice.stale.setdefault(record.owner, []).append(record.id)
        elif verdict is Verdict.FULL:
            self.counters["records_over_owner_limit"] += 1

    def _hear_head(self, head: Head, now: float) -> None:
        if not self._hear_of_shared_generation(head, now):
            self.knowledge.learn(head, now)

    def _hear_announcement(self, said: Announcement, voice: _Voice) -> None:
        if said.size > limits.RECORD_BYTES_MAX or voice.member is None:
            return
        if self.knowledge.judge(said.owner, said.generation, said.id, said.version) is Verdict.NEWS:
            key = (said.owner, said.id)
            if self.talks.want(key, said.generation, said.version, voice.member.address):
                self._fetch(key)

    def _fetch(self, key: tuple[str, str]) -> None:
        """Fetch a large record from the next peer that has it; if nobody is left, reconciliation will bring it."""
        source = self.talks.next_source(key)
        if source is None:
            return
        wanted, address = source
        fetch = Fetch(key[0], wanted.generation, wanted.version, key[1])
        if not self._open(Purpose.FETCH, address, [fetch, End()], about=key):
            self.talks.got(key)

    # Talks

    def stream_frame(self, stream: int, frame: bytes, source: Address, now: float) -> list[Output]:
        """Take a frame of a stream: a positive number was given by `OpenStream`, a negative one is a peer's."""
        self.counters["frames_received"] += 1
        talk = self.talks.get(stream, source)
        if talk is None:
            return []
        voice, messages = self._read(frame, source, stream, now)
        if not voice.sender:
            self._close(stream)
            return self._drain_out()
        ended = False
        for message in messages:
            talk.compared = talk.compared or isinstance(message, Compare)
            ended = ended or isinstance(message, End)
            self._hear(message, voice, now)
        voice.replies += corrections(voice.stale, self.knowledge)
        told_all = ended and not talk.spoken and not voice.replies
        if told_all and (talk.is_comparison or (talk.purpose is None and not talk.compared)):
            voice.replies += self._introduce(now)
        self._reply(stream, talk, voice.replies, ended=ended)
        return self._drain_out()

    def _reply(self, stream: int, talk: Talk, replies: list[bytes], *, ended: bool) -> None:
        """Say what there is to say; at the end of the peer's turn end ours, or close when nothing is left to say."""
        talk.spoken = talk.spoken or bool(replies)
        closing = ended and stream > 0 and not talk.spoken
        if ended and not closing:
            replies.append(_END)
            talk.spoken = talk.compared = False
        self._out += (SendFrame(stream, frame) for frame in frames(self._sender, replies))
        if closing:
            if talk.is_comparison:
                self._unequal_since = None
            self._close(stream)

    def _close(self, stream: int) -> None:
        """Close a stream that has served its purpose, or cannot any more."""
        talk = self.talks.end(stream)
        self._out.append(CloseStream(stream))
        if talk is not None and talk.purpose is Purpose.FETCH:
            assert isinstance(talk.about, tuple), "a fetch is known by owner and id"
            self._fetch(talk.about)

    def stream_ended(self, stream: int, now: float, *, refused: bool = False) -> list[Output]:
        """A stream was closed, by whomever; ``refused`` when the peer's kernel said that nobody listens there."""
        talk = self.talks.end(stream)
        if talk is not None and talk.purpose is Purpose.PROBE and refused:
            assert isinstance(talk.about, int), "a probe is known by its sequence number"
            self.detector.prober.refused(talk.about)
        elif talk is not None and talk.purpose is Purpose.FETCH:
            assert isinstance(talk.about, tuple), "a fetch is known by owner and id"
            self._fetch(talk.about)
        elif talk is not None and talk.purpose is Purpose.CONTEST and refused:
            self._uncontested(now)
        return self._drain_out()

    def _open(self, purpose: Purpose, to: Address, messages: Sequence[Message], about: object = None) -> bool:
        """Open a stream; False when too many are open."""
        stream = self.talks.open(purpose, to, about)
        if stream is None:
            self.counters["streams_over_limit"] += 1
            return False
        [frame] = frames(self._sender, map(pack, messages))
        self._out.append(OpenStream(stream, to, frame, self.settings.stream_patience))
        return True

    def _open_talk(self, purpose: Purpose, to: Address) -> None:
        self._open(purpose, to, [Compare(self.knowledge.fingerprint.sums), End()])

    def _compare(self, theirs: int, voice: _Voice, now: float) -> None:
        """Start a talk with a peer whose fingerprint has differed for longer than gossip needs."""
        if theirs == self.fingerprint:
            self._unequal_since = None
        elif self._unequal_since is None:
            self._unequal_since = now
        elif now - self._unequal_since >= self.settings.reconcile_settle and now >= self._talk_after:
            if voice.in_talk or self.identity.left or self.talks.is_open(Purpose.RECONCILE):
                return
            self._talk_after = now + self.settings.reconcile_gap * (0.75 + self.dice.random() / 2)
            self._open_talk(Purpose.RECONCILE, voice.source if voice.member is None else voice.member.address)

    # This node's own name

    def _announce(self, now: float) -> None:
        """Tell everybody what this node says of itself."""
        rumor = self.identity.rumor()
        self.knowledge.own = rumor
        self._sender = pack_sender(self.identity.life)
        if self.identity.settled:
            self._believe(rumor, now, spread=True)
        self.knowledge.registry.touch(rumor.name)

    def _settle(self, now: float) -> None:
        """The name is ours: join in."""
        self.identity.settled = True
        self._announce(now)
        table = self.knowledge.registry.table(self.identity.name)
        for record in islice(table or (), _RESPREAD_MAX):
            self.knowledge.spread(record, now)

    def _introduce(self, now: float) -> list[bytes]:
        """Settle, if the peer has just told us all that it knows and our name is free; returns what to tell it."""
        if self.identity.settled or self.identity.contested is not None:
            return []
        self._settle(now)
        table = self.knowledge.registry.table(self.identity.name)
        return [pack(self.identity.rumor()), *map(pack, table or ())]

    def _hear_of_self(self, rumor: Rumor, now: float) -> None:
        match self.identity.judge(rumor):
            case Answer.REFUTE:
                self.identity.refute(rumor)
                self.detector.health.worse()
                self.counters["refutations"] += 1
                self._announce(now)
            case Answer.RECLAIM:
                self._reclaim(rumor.generation, now)
            case Answer.CONTEST:
                self.identity.open_contest(rumor, now)

    def _reclaim(self, generation: int, now: float) -> None:
        """Begin a generation above the one heard of under our name, and offer everything again in it."""
        table = self.knowledge.registry.table(self.identity.name)
        instances = [record.instance for record in table or ()]
        self.knowledge.drop_table(self.identity.name)
        self.identity.reclaim(generation)
        self._announce(now)
        for instance in instances:
            record, change = self.knowledge.registry.offer(instance, self.identity.generation)
            self.knowledge.remake(record, change)
            self.knowledge.spread(record, now)

    def _ask_namesake(self, now: float) -> None:
        """Ask the other life of our name whether it is there, or conclude that it is not."""
        other = self.identity.contested
        assert other is not None, "a contest is open"
        contest = self.identity.contest()
        if not self.identity.next_try(now):
            self._uncontested(now)
            return
        self._send(other.address, pack(contest))
        if not self.talks.is_open(Purpose.CONTEST):
            self._open(Purpose.CONTEST, other.address, [contest, End()])

    def _uncontested(self, now: float) -> None:
        """Nobody lives there under our name: it was our own past."""
        other = self.identity.contested
        if other is None:
            return
        self._reclaim(other.generation, now)
        if not self.identity.settled:
            self._settle(now)

    def _hear_contest(self, contest: Contest, voice: _Voice, now: float) -> None:
        if contest.name != self.identity.name or contest.life == self.identity.life or self.identity.left:
            return
        yielding = self.identity.yields_to(contest)
        contested = self.identity.contested
        self._out.append(NameContested(voice.source if contested is None else contested.address, yielding))
        if voice.stream is not None:
            if voice.stream < 0:  # who asked needs no answer to its answer
                voice.replies.append(pack(self.identity.contest()))
        elif now - self._told.get(contest.life, -_NEVER) >= _TELL_SECONDS:
            self._told[contest.life] = now
            self._send(voice.source, pack(self.identity.contest()))
        if not yielding and contested is not None:
            self._uncontested(now)

    # What is due

    def wake(self, now: float, *, late: float = 0.0) -> list[Output]:
        """Do what is due at ``now``. Call it after every readable packet has been handed in.

        ``late`` (seconds) is how much later than asked for the driver was woken. A node that was itself stopped
        (SIGSTOP, a long collection, a starved CPU) judges nobody for what it could not have heard meanwhile.
        """
        if late > self.settings.lag_tolerance:
            self.counters["lags"] += 1
            self.detector.postpone(late, now)
        if not self.identity.left:
            self._watch_over(now)
        self._flush(now)
        self._refresh()
        return self._drain_out()

    def _watch_over(self, now: float) -> None:
        self._perform(self.detector.prober.wake(self.fingerprint, now), now)
        for suspect in self.detector.verdicts(now):
            self.counters["verdicts"] += 1
            self._believe(suspect.graver(Status.FAILED, self.identity.life), now, spread=True)
        if now >= self.identity.deadline:
            self._ask_namesake(now)
        if now >= self._reconnect_at:
            self._reconnect(now)
        if now >= self._sweep_at:
            self._sweep_at = now + _SWEEP_SECONDS
            self._sweep(now)

    def _perform(self, findings: Sequence[Finding], now: float) -> None:
        for finding in findings:
            match finding:
                case Say():
                    self._say(finding, now)
                case TryStream():
                    self._open(
                        Purpose.PROBE,
                        finding.target.address,
                        [Ping(finding.seq, finding.target.life, self.fingerprint), End()],
                        about=finding.seq,
                    )
                case Missed():
                    self._accuse(finding, now)
                case _:
                    self.detector.answered(finding.target.name, now)

    def _say(self, finding: Say, now: float) -> None:
        message = pack(finding.message)
        accused = None if finding.about is None else self.members.get(finding.about)
        if accused is not None and accused.status is not Status.ALIVE:
            self._send(finding.to, pack(accused), message, now=now)  # first, so that the ack carries the refutation
        else:
            self._send(finding.to, message, now=now)

    def _accuse(self, missed: Missed, now: float) -> None:
        held = self.members.get(missed.target.name)
        if held is None or not held.is_same_life(missed.target) or not held.status.is_present:
            return
        self.counters["probes_missed"] += 1
        if held.status is Status.SUSPECT:
            self._confirm(held, self.identity.life, now, refused=missed.refused)
        else:
            accusation = held.graver(Status.SUSPECT, self.identity.life)
            self._believe(accusation, now, spread=True, refused=missed.refused)

    def _reconnect(self, now: float) -> None:
        """Try to reach one failed member and the seeds: that is how a split heals by itself."""
        alone = not self.members.present or not self.identity.settled
        wait = self._join_wait if alone and self.has_seeds else self.settings.reconnect_interval
        self._reconnect_at = now + wait * (0.75 + self.dice.random() / 2)
        self._join_wait = min(self.settings.join_retry_max, 2 * self._join_wait) if alone else self.settings.join_retry
        failed = self.members.failed()
        if failed:
            lost = failed[self.dice.randrange(len(failed))]
            self._send(lost.address, pack(lost), pack(Ping(0, lost.life, self.fingerprint)), now=now)
        if self.has_seeds:
            self._out.append(SeekSeeds())

    def _sweep(self, now: float) -> None:
        self.detector.prober.expire(now)
        self._told = {life: at for life, at in self._told.items() if now - at < _TELL_SECONDS}
        self._out += (MemberChanged(rumor, None) for rumor in self.knowledge.sweep(now))

    def _flush(self, now: float) -> None:
        members = self.members.present_count
        for packet in self.knowledge.mill.flush(self.packet_room - SENDER_BYTES, members, now):
            targets = self.members.sample(self.settings.gossip_fanout)
            self._out += (Transmit(self._sender + b"".join(packet), target.address) for target in targets)

    def _send(self, to: Address, *messages: bytes, now: float | None = None) -> None:
        """Send a packet of ``messages``; with ``now``, rumors ride along in what room is left."""
        data = self._sender + b"".join(messages)
        if now is not None:
            data += b"".join(self.knowledge.mill.ride(self.packet_room - len(data), now))
        self._out.append(Transmit(data, to))

    def _refresh(self) -> None:
        changed = self.knowledge.refresh()
        if changed:
            self._out.append(InstancesChanged(tuple(changed)))
