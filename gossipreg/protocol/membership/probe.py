"""The prober: pings, indirect pings, nacks, and a stream beside them.

Theory of operation (SWIM §3.1, Lifeguard §IV-A). Time is cut into periods. At the start of each, the next member of
the round is pinged. If no ack came by the probe timeout, k others are asked to ping it, and a stream to it is opened
in parallel, for networks that carry TCP but lose UDP. If nothing came by the end of the period, the probe was missed.

    |-- ping ------ timeout |-- ping-req to k, stream ------------- period ends |   missed, or answered
                            |------ 0.8 of the patience: helpers without an ack send a nack

A helper that sends neither ack nor nack was probably not heard by *us*: so missed nacks count against our own health,
and a node in bad health stretches both its timeout and its period.

Waking up costs an idle node more than sending a packet. So a healthy node that is woken by a ping sends the probe that
would soon be due together with its ack (docs/decisions/0020). The periods stay where they are, so the number of probes
is the same.

The prober decides nothing about membership: it reports `ProbeFailed` and `ProbeAcked`, and its owner acts on them.
"""

from __future__ import annotations

from collections import OrderedDict
from random import Random

import attrs

from gossipreg.protocol.engine_settings import EngineSettings
from gossipreg.protocol.membership.indirect_answers import IndirectAnswers
from gossipreg.protocol.membership.local_health import LocalHealth
from gossipreg.protocol.membership.member_update import Destination, MemberUpdate
from gossipreg.protocol.membership.members import Members
from gossipreg.protocol.membership.round_trips import RoundTrips
from gossipreg.values import frozen

#: Probes and relays remembered, so that a late ack still counts. A relay costs about 200 bytes.
_OPEN_MAX = 1024

#: For how many periods an unanswered ping on another member's behalf is evidence.
_UNREACHABLE_PERIODS = 2

_NEVER = float("inf")


@frozen
class Ping:
    """Asks the run ``target`` (0: any run) for an ack."""

    seq: int
    target: int
    fingerprint: int


@frozen
class Ack:
    """Answers a ping; ``subject`` is the run that answered when a helper relays its ack, else 0."""

    seq: int
    subject: int
    fingerprint: int


@frozen
class Nack:
    """Says "I asked, and have no ack yet": the helper is well, whatever the target is."""

    seq: int


@frozen
class PingReq:
    """Asks a helper to ping the run ``target`` and to nack at a share of ``patience`` (ms)."""

    seq: int
    target: int
    patience: int


@frozen
class Send:
    """A message to send to a member; ``about``: the member whose update goes along (Lifeguard's buddy)."""

    to: Destination
    message: Ping | Ack | Nack | PingReq
    about: str | None = None


@frozen
class ProbeOverStream:
    """A ping is to be sent to the member over a stream as well."""

    target: MemberUpdate
    seq: int


@frozen
class ProbeFailed:
    """The probe of ``target`` got no ack; ``refused`` when its kernel answered that no process listens there."""

    target: MemberUpdate
    refused: bool


@frozen
class ProbeAcked:
    """The run ``target`` acked; ``late`` when its period was over; ``rtt`` in seconds, for a direct ack."""

    target: MemberUpdate
    late: bool
    rtt: float | None


@frozen
class IndirectPingFailed:
    """The run ``target`` did not answer a ping that was made on another member's behalf."""

    target: int


ProbeEvent = Send | ProbeOverStream | ProbeFailed | ProbeAcked | IndirectPingFailed


@attrs.define(eq=False, repr=False)
class _Probe:
    seq: int
    target: MemberUpdate
    started: float
    timeout_at: float
    ends_at: float
    next_at: float  # when the next period begins
    helpers: int = 0
    nacks: int = 0
    acked: bool = False
    refused: bool = False
    is_indirect: bool = False  # whether helpers were asked to ping the target
    over: bool = False


def _due(probe: _Probe) -> float:
    """When a probe is due: to ask others, to end, or, if it was answered, to begin the next."""
    if probe.acked:
        return probe.next_at
    return probe.ends_at if probe.is_indirect else probe.timeout_at


@frozen
class _Relay:
    origin: Destination
    origin_seq: int
    target: int
    nack_at: float


#: Highest number of a ping (32 bits).
_SEQ_MAX = 0xFFFF_FFFF


@attrs.define(eq=False, repr=False)
class Prober:
    """The probe under way, those just over, and the pings made for others."""

    settings: EngineSettings
    members: Members
    health: LocalHealth
    next_period: float
    _seq: int = 0
    _numbers: Random | None = None  # draws the numbers of pings, where any process can send acks
    _current: _Probe | None = None
    _probes: OrderedDict[int, _Probe] = attrs.field(factory=OrderedDict)
    _relays: OrderedDict[int, _Relay] = attrs.field(factory=OrderedDict)
    _unreachable: dict[int, float] = attrs.field(
        factory=dict
    )  # run id -> when a ping on another member's behalf had no answer
    trips: RoundTrips = attrs.field(init=False)
    indirect: IndirectAnswers = attrs.field(init=False, factory=IndirectAnswers)

    def __attrs_post_init__(self) -> None:
        self.trips = RoundTrips(self.settings.probe_timeout_min, self.settings.probe_timeout)

    @property
    def deadline(self) -> float:
        """When `handle_timeout` is wanted (seconds)."""
        nack_at = min([relay.nack_at for relay in self._relays.values()]) if self._relays else _NEVER
        probe = self._current
        if probe is None:
            return min(nack_at, self.next_period)
        return min(nack_at, _due(probe))

    def draw_numbers(self, rng: Random) -> None:
        """Number pings at random, so that an ack shows that its sender has received the ping."""
        self._numbers = rng

    def _next_seq(self) -> int:
        if self._numbers is not None:
            return self._numbers.randrange(_SEQ_MAX) + 1
        self._seq = self._seq % _SEQ_MAX + 1
        return self._seq

    def handle_timeout(self, fingerprint: int, now: float) -> list[ProbeEvent]:
        """End the probe that is over, ask helpers, or begin the next probe."""
        found: list[ProbeEvent] = []
        self._nack_overdue(found, now)
        probe = self._current
        if probe is not None:
            if not probe.acked and not probe.is_indirect and now >= probe.timeout_at:
                self._probe_indirectly(probe, found, now)
            if (probe.acked or probe.is_indirect) and now >= _due(probe):
                self._end_probe(probe, found)
                self.next_period = probe.next_at
        if self._current is None and now >= self.next_period:
            self._begin_probe(fingerprint, found, now)
        return found

    def begin_early(self, fingerprint: int, now: float) -> list[ProbeEvent]:
        """A ping has woken this node: if all is well, begin the probe that would soon be due."""
        probe = self._current
        if self.health.score or (probe is not None and not probe.acked):
            return []
        begins = self.next_period if probe is None else probe.next_at
        if not begins - self.settings.probe_early * self.settings.probe_interval <= now < begins:
            return []
        found: list[ProbeEvent] = []
        if probe is not None:
            self._end_probe(probe, found)
            self.next_period = begins
        self._begin_probe(fingerprint, found, now)
        return found

    def _begin_probe(self, fingerprint: int, found: list[ProbeEvent], now: float) -> None:
        target = self.members.next_target()
        if target is None:
            self.next_period = now + self.settings.probe_interval
            return
        seq = self._next_seq()
        timeout = self.trips.timeout(target.run_id)
        patience = timeout + max(0.0, self.settings.probe_interval - self.settings.probe_timeout)
        stretch = self.health.stretch
        probe = _Probe(
            seq,
            target,
            now,
            timeout_at=now + stretch(timeout),
            ends_at=now + stretch(patience),
            next_at=max(now, self.next_period) + stretch(self.settings.probe_interval),
        )
        self._current = probe
        self._remember(probe)
        found.append(
            Send(
                target.destination,
                Ping(seq, target.run_id, fingerprint),
                about=target.name if self.settings.buddy else None,
            )
        )

    def _remember(self, probe: _Probe) -> None:
        self._probes[probe.seq] = probe
        while len(self._probes) > _OPEN_MAX:
            self._probes.popitem(last=False)

    def ping_suspect(self, suspect: MemberUpdate, fingerprint: int, now: float) -> list[ProbeEvent]:
        """Ping ``suspect`` beside the probes, to verify it; its ack counts like any that comes late."""
        seq = self._next_seq()
        self._remember(_Probe(seq, suspect, now, timeout_at=now, ends_at=now, next_at=now, over=True))
        ping = Ping(seq, suspect.run_id, fingerprint)
        return [Send(suspect.destination, ping, about=suspect.name if self.settings.buddy else None)]

    def ask_helpers(self, suspect: MemberUpdate) -> list[ProbeEvent]:
        """Ask members to ping ``suspect``: those that get no answer accuse it, too."""
        patience = int(1000 * self.trips.timeout(suspect.run_id))
        helpers = self.members.sample(self.settings.indirect_probes, without=suspect.name)
        request = PingReq(self._next_seq(), suspect.run_id, patience)
        return [Send(helper.destination, request, about=suspect.name) for helper in helpers]

    def _probe_indirectly(self, probe: _Probe, found: list[ProbeEvent], now: float) -> None:
        probe.is_indirect = True
        self.indirect.no_answer(probe.target.run_id)
        patience = int(1000 * max(0.0, probe.ends_at - now))
        helpers = self.members.sample(self.settings.indirect_probes, without=probe.target.name)
        probe.helpers = len(helpers)
        found += (Send(helper.destination, PingReq(probe.seq, probe.target.run_id, patience)) for helper in helpers)
        if self.settings.stream_probe:
            found.append(ProbeOverStream(probe.target, probe.seq))

    def _end_probe(self, probe: _Probe, found: list[ProbeEvent]) -> None:
        probe.over = True
        self._current = None
        if not probe.acked:
            if not probe.refused:  # the refusal of a kernel arrived, so this node does receive packets
                self.health.worse(1 + max(0, probe.helpers - probe.nacks))
            found.append(ProbeFailed(probe.target, probe.refused))

    def _nack_overdue(self, found: list[ProbeEvent], now: float) -> None:
        overdue = [seq for seq, relay in self._relays.items() if now >= relay.nack_at]
        for seq in overdue:
            relay = self._relays[seq]
            found.append(Send(relay.origin, Nack(relay.origin_seq)))
            self._relays[seq] = attrs.evolve(relay, nack_at=_NEVER)
            self._unreachable[relay.target] = now
            found.append(IndirectPingFailed(relay.target))

    def is_unreachable(self, run_id: int, now: float) -> bool:
        """Whether ``run_id`` has lately not answered a ping that this node made on another member's behalf."""
        at = self._unreachable.get(run_id)
        return at is not None and now - at <= _UNREACHABLE_PERIODS * self.health.stretch(self.settings.probe_interval)

    def handle_ack(self, ack: Ack, sender: int, now: float) -> list[ProbeEvent]:
        """Take an ack from the run ``sender``."""
        subject = ack.subject or sender
        self._unreachable.pop(subject, None)
        relay = self._relays.get(ack.seq)
        if relay is not None and relay.target == subject:
            del self._relays[ack.seq]
            return [Send(relay.origin, Ack(relay.origin_seq, subject, ack.fingerprint))]
        if subject == sender:
            self.indirect.directly(sender)
        probe = self._probes.get(ack.seq)
        if probe is None or probe.acked or probe.target.run_id != subject:
            return []
        if probe.over and not self.settings.late_acks:
            return []
        probe.acked = True
        if not probe.over:
            self.health.better()
        rtt = now - probe.started if subject == sender else None
        if rtt is None:
            self.indirect.through_others(subject, now)
        else:
            self.trips.measured(subject, rtt)
        return [ProbeAcked(probe.target, probe.over, None if probe.over else rtt)]

    def handle_nack(self, nack: Nack) -> None:
        """A helper is well but has no ack."""
        probe = self._probes.get(nack.seq)
        if probe is not None and not probe.over:
            probe.nacks = min(probe.nacks + 1, probe.helpers)

    def handle_refusal(self, seq: int) -> None:
        """The stream beside probe ``seq`` was refused by the target's kernel."""
        probe = self._probes.get(seq)
        if probe is not None and not probe.acked:
            probe.refused = True

    def handle_ping_req(self, request: PingReq, origin: Destination, fingerprint: int, now: float) -> list[ProbeEvent]:
        """Ping on behalf of the member ``origin``; only known members.

        A ping-req must not let a peer make us send to an arbitrary address.
        """
        target = self.members.by_run_id(request.target)
        if target is None or len(self._relays) >= _OPEN_MAX:
            return [Send(origin, Nack(request.seq))]
        seq = self._next_seq()
        patience = min(request.patience / 1000, self.health.stretch(self.settings.probe_interval) * 10)
        self._relays[seq] = _Relay(origin, request.seq, request.target, now + patience * self.settings.nack_fraction)
        return [Send(target.destination, Ping(seq, target.run_id, fingerprint))]

    def sweep(self, now: float) -> None:
        """Forget relays that were nacked long ago, and probes too old for a late ack to mean anything."""
        for seq in [seq for seq, relay in self._relays.items() if relay.nack_at == _NEVER]:
            del self._relays[seq]
        self._unreachable = {run_id: at for run_id, at in self._unreachable.items() if self.is_unreachable(run_id, now)}
        self.trips.keep(lambda run_id: self.members.by_run_id(run_id) is not None)
        self.indirect.keep(lambda run_id: self.members.by_run_id(run_id) is not None)
        oldest = now - 10 * self.settings.probe_interval * (self.settings.local_health_max + 1)
        while self._probes and (first := next(iter(self._probes.values()))).over and first.started < oldest:
            self._probes.popitem(last=False)

    def postpone(self, seconds: float) -> None:
        """Extend the probe by ``seconds``, in which this node itself was stopped and could receive nothing."""
        probe = self._current
        if probe is not None:
            probe.timeout_at += seconds
            probe.ends_at += seconds
            probe.next_at += seconds
