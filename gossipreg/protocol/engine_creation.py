"""Engine creation: makes the parts of an engine, and gives each part those that it uses."""

from __future__ import annotations

from collections import Counter
from random import Random

from gossipreg.model import Address
from gossipreg.protocol.adoption import Adoption
from gossipreg.protocol.answer_pacing import AnswerPacing
from gossipreg.protocol.borders import Borders
from gossipreg.protocol.cells.cells import Cells
from gossipreg.protocol.clock_watch import ClockWatch
from gossipreg.protocol.disseminator import Disseminator
from gossipreg.protocol.engine import SWEEP_SECONDS, Engine
from gossipreg.protocol.engine_settings import engine_settings
from gossipreg.protocol.expulsion import Expulsion
from gossipreg.protocol.frame_handler import FrameHandler
from gossipreg.protocol.identity.authenticator import Authenticator
from gossipreg.protocol.identity.certificate_verifier import CertificateVerifier
from gossipreg.protocol.inbound import Inbound
from gossipreg.protocol.isolation import Isolation
from gossipreg.protocol.joining import Joining
from gossipreg.protocol.lifelines import Lifelines
from gossipreg.protocol.local_member import LocalMember
from gossipreg.protocol.local_policies import LocalPolicies
from gossipreg.protocol.local_registry import LocalRegistry
from gossipreg.protocol.membership.detector import Detector
from gossipreg.protocol.membership.identity import Identity
from gossipreg.protocol.membership.members import Members
from gossipreg.protocol.membership_handler import MembershipHandler
from gossipreg.protocol.observation_queries import ObservationQueries
from gossipreg.protocol.outbox import Outbox
from gossipreg.protocol.path_tests import PathTests
from gossipreg.protocol.peer_streams import PeerStreams
from gossipreg.protocol.question_handler import QuestionHandler
from gossipreg.protocol.record_handler import RecordHandler
from gossipreg.protocol.registry.clock import Clock
from gossipreg.protocol.registry.registry import Registry
from gossipreg.protocol.registry.view import View, first_index
from gossipreg.protocol.remote_handler import RemoteHandler
from gossipreg.protocol.state import ClusterState
from gossipreg.protocol.wire.reader import Reader
from gossipreg.settings import Settings


def create_engine(
    *,
    name: str,
    generation: int,
    address: Address,
    zone: str,
    settings: Settings,
    rng: Random,
    has_seeds: bool,
    packet_room: int,
    now: float,
    counters: Counter[str] | None = None,
    reader: Reader | None = None,
    index: int = 0,
    cell: str = "",
    checks_clocks: bool = False,
    is_open: bool = False,
    authenticator: Authenticator | None = None,
) -> Engine:
    """Create the engine of a node booted in the millisecond ``generation``. It is alone until it learns of others.

    ``packet_room`` is the size of a datagram's payload before it is encoded (bytes). Engines of one thread may
    share a reader. ``checks_clocks``: see `ClockWatch.keeps_out`. ``is_open``: any process can send packets, since
    the cluster has no key. ``index`` is below every index that the view gives, if an earlier run is known to have
    gone so far. ``cell``: the ring that it is a member of; empty in a flat cluster. ``authenticator``: what signs
    and verifies; without it the node has no identity.
    """
    counters = Counter() if counters is None else counters
    settings = engine_settings(settings)
    identity = Identity(settings, name, generation, address, zone, cell)
    members = Members(settings, rng, name)
    detector = Detector.create(settings, members, rng, now)
    state = ClusterState(
        settings,
        members,
        Registry(name),
        View(max(first_index(generation), index)),
        counters,
        Clock.started(name, generation, now),
        Authenticator(CertificateVerifier("")) if authenticator is None else authenticator,
        cells=Cells(cell, members) if cell else None,
    )
    if state.authenticator.signer is not None:
        state.registry.sign = state.sign_record
    outbox = Outbox(settings, state, packet_room)
    if is_open:
        detector.prober.draw_numbers(rng)
        outbox.has_answered = detector.prober.trips.is_measured
    streams = PeerStreams(settings, rng, state, outbox)
    expulsion = Expulsion(state, detector, streams)
    local_member = LocalMember(identity, state, detector, streams, outbox, expulsion)
    membership_handler = MembershipHandler(identity, state, detector, streams, outbox, expulsion)
    local_member.begin(now, alone=not has_seeds)
    lifelines = Lifelines(settings, name, members, streams, membership_handler, now)
    record_handler = RecordHandler(local_member, state, streams, expulsion)
    joining = Joining(
        settings,
        rng,
        identity,
        members,
        local_member,
        streams,
        outbox,
        has_seeds=has_seeds,
        deadline=now if has_seeds else now + settings.reconnect_interval,
        wait=settings.join_retry,
    )
    clocks = ClockWatch(state, outbox, checks_clocks)
    isolation = Isolation(identity, members, detector, outbox)
    disseminator = Disseminator.create(settings, state, outbox, detector.prober.trips)
    observations = ObservationQueries(state, detector, streams, outbox)
    borders = Borders(rng, state, streams, local_member, joining, isolation)
    remote_handler = RemoteHandler(identity, state, membership_handler, record_handler, joining, outbox)
    pacing = AnswerPacing()
    inbound = Inbound(
        identity,
        state,
        detector,
        local_member,
        membership_handler,
        record_handler,
        lifelines,
        streams,
        outbox,
        clocks,
        isolation,
        disseminator,
        observations,
        borders,
        remote_handler,
        Reader() if reader is None else reader,
        QuestionHandler(state, streams.sessions, borders, pacing),
    )
    frame_handler = FrameHandler(
        inbound,
        identity,
        state,
        detector,
        local_member,
        lifelines,
        streams,
        outbox,
        joining,
        clocks,
        observations,
        borders,
        pacing,
    )
    return Engine(
        settings=settings,
        rng=rng,
        identity=identity,
        state=state,
        detector=detector,
        local_member=local_member,
        membership_handler=membership_handler,
        lifelines=lifelines,
        local_registry=LocalRegistry(identity, state),
        local_policies=LocalPolicies(identity, state, clocks),
        inbound=inbound,
        frame_handler=frame_handler,
        isolation=isolation,
        record_handler=record_handler,
        streams=streams,
        sessions=streams.sessions,
        outbox=outbox,
        path_tests=PathTests(state, streams, outbox),
        disseminator=disseminator,
        observations=observations,
        borders=borders,
        counters=counters,
        joining=joining,
        sweep_at=now + SWEEP_SECONDS,
        clocks=clocks,
        expulsion=expulsion,
        adoption=Adoption(state, expulsion),
    )
