"""The engine: the whole protocol of one node as a state machine without I/O (sans-I/O).

Theory of operation. The engine connects the parts. The prober's findings become membership updates, peers' messages
are merged into the cluster state, and whatever was new is queued for broadcast. Every verb takes ``now`` (seconds on
any steady clock) and returns its outputs, so no output can be missed. The driver passes in every packet that is
readable, then calls `handle_timeout`, then sleeps until `deadline` or the next packet; one sleep serves every timer.

    receive, stream_frame, stream_ended      input from peers
    unsent                                   what this host's kernel refuses to send
    register, deregister                     requests of the user
    drain, undrain, leave, forget
    ask_observations, give_up_observations, tell_observations
    set_policy, remove_policy, reset_term, recall
    seeds, join                              addresses at which to look for others
    handle_timeout                           run the timers that are due
    set_wall_clock                           what the wall clock shows

What changes nothing is asked of the parts: `local_registry` (own instances), `local_policies` (versions to be stored
and then published), `isolation`, `clocks`, `state`. `engine_creation` puts the parts together.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from random import Random

import attrs

from gossipreg.authority import Authority
from gossipreg.counters import Count
from gossipreg.errors import MemberPresent, UnknownMember
from gossipreg.model import Address, Instance, Status
from gossipreg.policy import Rule
from gossipreg.protocol.adoption import Adoption
from gossipreg.protocol.borders import Borders
from gossipreg.protocol.clock_watch import ClockWatch
from gossipreg.protocol.disseminator import Disseminator
from gossipreg.protocol.engine_settings import EngineSettings
from gossipreg.protocol.expulsion import Expulsion
from gossipreg.protocol.frame_handler import FrameHandler
from gossipreg.protocol.identity.authenticator import Authenticator, IdentityMode, Signer
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
from gossipreg.protocol.membership.paths import PathMonitor
from gossipreg.protocol.membership_handler import MembershipHandler
from gossipreg.protocol.observation_queries import ObservationQueries
from gossipreg.protocol.outbox import Outbox
from gossipreg.protocol.outputs import (
    InstancesChanged,
    MemberChanged,
    Output,
    PoliciesChanged,
    RemoteMembersChanged,
    TermsChanged,
)
from gossipreg.protocol.path_tests import PathTests
from gossipreg.protocol.peer_streams import PeerStreams
from gossipreg.protocol.record_handler import RecordHandler
from gossipreg.protocol.registry.payload import pack_instance
from gossipreg.protocol.registry.policy_version import PolicyVersion
from gossipreg.protocol.registry.terms import TermRegister
from gossipreg.protocol.registry.view import View
from gossipreg.protocol.state import ClusterState
from gossipreg.protocol.stream_sessions import StreamSessions

#: Time between sweeps that delete expired state (seconds). State is kept for minutes to a day.
SWEEP_SECONDS = 5.0

#: How long sweeps, and tries of seeds that are not urgent, wait for another reason to wake this node (seconds). It is
#: woken by its probes every second, and each wake-up costs an idle node a quarter of its CPU.
_MAINTENANCE_WAIT = 5.0


@attrs.define(eq=False, repr=False)
class Engine:
    """One node's protocol. Not safe for threads, except that `state.view` may be read from any."""

    settings: EngineSettings
    rng: Random
    identity: Identity
    state: ClusterState
    detector: Detector
    local_member: LocalMember
    membership_handler: MembershipHandler
    lifelines: Lifelines
    local_registry: LocalRegistry
    local_policies: LocalPolicies
    inbound: Inbound
    frame_handler: FrameHandler
    isolation: Isolation
    record_handler: RecordHandler
    streams: PeerStreams
    sessions: StreamSessions
    outbox: Outbox
    path_tests: PathTests
    disseminator: Disseminator
    observations: ObservationQueries
    borders: Borders
    counters: Counter[str]
    joining: Joining
    clocks: ClockWatch
    expulsion: Expulsion
    adoption: Adoption
    _sweep_at: float
    _deadline: float | None = None  # the deadline, until a verb may have moved it

    # Reading

    @property
    def members(self) -> Members:
        """The membership list."""
        return self.state.members

    @property
    def paths(self) -> PathMonitor:
        """What passes on the path to each member: packets, streams, up to which size."""
        return self.outbox.paths

    @property
    def view(self) -> View:
        """The view that lookups read."""
        return self.state.view

    @property
    def fingerprint(self) -> int:
        """64 bits that identify the converged state."""
        return self.state.fingerprint.total

    @property
    def local_health(self) -> int:
        """The local health score; 0 is healthy."""
        return self.detector.health.score

    def deadline(self) -> float:
        """When `handle_timeout` must be called next, if nothing happens before (seconds)."""
        if self._deadline is None:
            self._deadline = self.disseminator.deadline if self.identity.left else self._next_deadline()
        return self._deadline

    def _next_deadline(self) -> float:
        urgent = min(
            self.detector.deadline,
            self.disseminator.deadline,
            self.local_member.deadline,
            self.lifelines.deadline,
            self.paths.deadline,
            self.frame_handler.pacing.deadline,
            self.borders.deadline(),
            self.joining.deadline if self.joining.is_urgent else math.inf,
        )
        return min(urgent, min(self.joining.deadline, self._sweep_at) + _MAINTENANCE_WAIT)

    def wants_timeout(self, now: float) -> bool:
        """Whether `handle_timeout` has anything to do at ``now``."""
        return self.outbox.is_waiting or self.state.registry.is_dirty or self.deadline() <= now

    def _done(self) -> list[Output]:
        """Finish a verb: return its outputs, and let the deadline be computed anew."""
        self._deadline = None
        self.path_tests.report()
        services = self.state.terms.take_changed()
        if services:
            self.outbox.put(TermsChanged(services))
        remote = self.state.take_remote_changes()
        if remote:
            self.outbox.put(RemoteMembersChanged(remote))
        return self.outbox.take()

    # Requests of the user

    def register(self, instance: Instance, now: float, payload: bytes | None = None) -> list[Output]:
        """Register ``instance``, or replace its id's. Raises `InvalidInstance`, `RecordTooLarge`, `NodeClosed`.

        ``payload``: the instance as `pack_instance` packs it, from a caller that has checked and packed it already.
        """
        if payload is None:
            instance.check()
            payload = pack_instance(instance)
        return self.register_many([(instance, payload)], now)

    def register_many(self, instances: Sequence[tuple[Instance, bytes]], now: float) -> list[Output]:
        """Register checked instances, no two of one id, each with its payload: all of them, or none. Raises likewise.

        They share what a change costs beyond its record: one refresh of each service, and the packets.
        """
        room = self.local_registry.room()
        for instance, payload in instances:
            room.add(instance, len(payload))
        for instance, payload in instances:
            self.local_registry.offer(instance, payload, now)
        self._refresh()
        return self._done()

    def deregister(self, id: str, now: float) -> list[Output]:
        """Withdraw one of this node's own instances. Raises `UnknownInstance`, `NodeClosed`."""
        return self.deregister_many([id], now)

    def deregister_many(self, ids: Sequence[str], now: float) -> list[Output]:
        """Withdraw several of this node's own instances, or none. Raises likewise."""
        self.identity.check_open()
        for id_ in ids:
            if self.local_registry.own(id_) is None:
                raise self.local_registry.unknown_instance(id_)
        for id_ in dict.fromkeys(ids):
            self.local_registry.withdraw(id_, now)
        self._refresh()
        return self._done()

    def set_policy(self, rule: Rule, now: float) -> list[Output]:
        """Put ``rule`` in force everywhere, replacing any of its key. Raises `InvalidPolicy`, `NodeClosed`."""
        return self.publish_policy(self.local_policies.version_of(rule, now), now)

    def remove_policy(self, key: str, now: float) -> list[Output]:
        """Remove the policy of that key everywhere. Raises `UnknownPolicy`, `NodeClosed`."""
        return self.publish_policy(self.local_policies.removal_of(key, now), now)

    def publish_policy(self, version: PolicyVersion, now: float) -> list[Output]:
        """Broadcast a version of this node's own, unless a later one of its policy has arrived since it was made."""
        self.identity.check_open()
        keys = self.state.policy_state.publish(version, now)
        if keys:
            self.outbox.put(PoliciesChanged(keys))
        if version.revocation is not None:
            self.expulsion.expel(now)
        self._refresh()
        return self._done()

    def trust(self, authorities: tuple[Authority, ...], now: float) -> list[Output]:
        """Trust these authorities from now on, and drop what only others have signed."""
        self.state.authenticator.certificates.trust(authorities)
        self.expulsion.expel(now)
        self._refresh()
        return self._done()

    def unproven_policies(self) -> list[str]:
        """The keys of the policies and statements in force that a node which requires identity would not believe."""
        held = self.state.policies
        return [each.key for each in held if each.payload is not None and not (each.proof or each.revocation)]

    def require_identity(self, now: float) -> list[Output]:
        """Believe only what is signed from now on, and drop what is not."""
        self.identity.check_open()
        self.state.authenticator.mode = IdentityMode.REQUIRE
        self.detector.needs_two_accusers = True
        self.expulsion.drop_unsigned()
        self.state.term_state.vouch(now)
        self._refresh()
        return self._done()

    def review_identity(self, authorities: tuple[Authority, ...], now: float) -> Iterator[None]:
        """Verify what is held by these authorities, one statement at each step, ahead of `adopt_identity`."""
        own = self.state.authenticator
        by = Authenticator(CertificateVerifier(own.cluster, authorities, signatures=own.verifier), IdentityMode.PREFER)
        for _ in self.adoption.review(by, now):
            yield

    def adopt_identity(self, authorities: tuple[Authority, ...], now: float) -> list[Output]:
        """Verify what is signed from now on, as ``prefer`` does, in a node that had no identity so far.

        `renew_certificate` has it sign, too.
        """
        self.identity.check_open()
        assert not self.state.authenticator.is_on, "it is adopted once"
        self.state.authenticator.mode = IdentityMode.PREFER
        self.state.authenticator.certificates.trust(authorities)
        self.adoption.drop_wrong(now)
        self._refresh()
        return self._done()

    def renew_certificate(self, signer: Signer, now: float) -> list[Output]:
        """Sign with ``signer`` from now on, and have the others know its certificate."""
        self.identity.check_open()
        self.state.authenticator.use(signer)
        self.state.registry.sign = self.state.sign_record
        self.outbox.fit_paths()
        self.local_member.renew(now)
        self._refresh()
        return self._done()

    def reset_term(self, service: str, now: float) -> list[Output]:
        """Restart the terms of ``service`` everywhere, from the highest that its instances state now.

        Raises `UnknownTerm`, `NotJoined`, `NodeClosed`.
        """
        return self.publish_reset(self.local_policies.reset_of(service, now), now)

    def publish_reset(self, register: TermRegister, now: float) -> list[Output]:
        """Broadcast a reset made by this node."""
        self.identity.check_open()
        self.state.term_state.handle(register, now, spread=True)
        self._refresh()
        return self._done()

    def recall(
        self, versions: Iterable[PolicyVersion], now: float, *, terms: Iterable[TermRegister] = ()
    ) -> list[Output]:
        """Restore the policies and the ``terms`` of services that were stored before a restart."""
        for version in versions:
            self.state.policy_state.restore(version, now)
        for register in terms:
            self.state.term_state.handle(register, now, spread=False, stored=True)
        self.state.term_state.vouch(now)
        self._refresh()
        return self._done()

    def forget_recalled(self) -> list[Output]:
        """Drop what was recalled from before this node's start."""
        self.state.forget_recalled()
        self._refresh()
        return self._done()

    def drain(self, now: float) -> list[Output]:
        """Drain: give all own instances the weight 0 on every node."""
        self.identity.check_open()
        self.identity.drain()
        self.local_member.announce(now)
        self._refresh()
        return self._done()

    def undrain(self, now: float) -> list[Output]:
        """End `drain`: all own instances have the weights that they were registered with."""
        self.identity.check_open()
        self.identity.undrain()
        self.local_member.announce(now)
        self._refresh()
        return self._done()

    def forget(self, name: str, now: float) -> list[Output]:
        """Forget a failed member on every node, with its instances; nothing happens if it has left.

        A member that is alive behind a partition learns of this when the partition heals, and refutes. Raises
        `UnknownMember`, also for a member of another cell, `MemberPresent`, `NodeClosed`.
        """
        self.identity.check_open()
        held = self.members.get(name)
        cells = self.state.cells
        remote = None if cells is None or held is not None else cells.remote.get(name)
        if remote is not None:
            raise UnknownMember(
                f"{name!r} is a member of the cell {remote.cell!r}: have it forgotten at an agent of that cell"
            )
        if held is None and name != self.identity.name:
            raise UnknownMember(f"no member {name!r:.80} is remembered: see `gossipreg members`")
        if held is None or name == self.identity.name:
            raise MemberPresent(f"{name!r} is this node itself: have it leave with `gossipreg leave`")
        if held.status.is_present:
            raise MemberPresent(f"{name!r} is {held.status}: only a member that failed can be forgotten")
        if held.status is Status.FAILED:
            self.membership_handler.forget(held, now)
            self._refresh()
        return self._done()

    def move(self, address: Address, now: float) -> list[Output]:
        """Move to ``address``, since the host was renumbered; published with a later generation."""
        self.identity.check_open()
        self.local_member.move(address, now)
        self.lifelines.restart(now)
        self.joining.hurry(now)
        self._refresh()
        return self._done()

    def leave(self, now: float) -> list[Output]:
        """Leave the cluster. Call `handle_timeout` for a while longer, so that the departure spreads."""
        self.identity.check_open()
        self.identity.left = True
        self.local_member.announce(now)
        self._refresh()
        return self._done()

    def join(self, addresses: Sequence[Address], now: float) -> list[Output]:
        """Compare states with the peers at ``addresses``, each member or not, at a user's request.

        So two clusters become one. A `JoinEnded` follows for each address. Raises ``NodeClosed`` once it has left.
        """
        self.identity.check_open()
        self.joining.join(addresses, now)
        return self._done()

    def ask_observations(self, name: str) -> list[Output]:
        """Ask the member of that name what it believes of the others. An `ObservationsEnded` follows."""
        self.observations.ask(name)
        return self._done()

    def give_up_observations(self, name: str) -> list[Output]:
        """Close the stream of an `ask_observations` that was not answered in time."""
        self.observations.give_up(name)
        return self._done()

    def tell_observations(self, stream: int, version: str, problems: Sequence[str]) -> list[Output]:
        """Answer an `ObservationsRequested`, with this node's ``version`` and its ``problems`` (sentences)."""
        self.observations.tell(stream, version, problems)
        return self._done()

    def seeds(self, addresses: Sequence[Address], now: float) -> list[Output]:
        """Try the seeds at ``addresses``: several while no member was reached, else one that is not present."""
        self.joining.try_seeds(addresses, now)
        return self._done()

    # Input from peers

    def receive(self, data: bytes, source: Address, now: float) -> list[Output]:
        """Handle the payload of a datagram. Junk is counted and dropped."""
        self.inbound.packet(data, source, now)
        return self._done()

    # Streams

    def stream_frame(self, stream: int, frame: bytes, source: Address, now: float) -> list[Output]:
        """Handle a frame of a stream: its number is positive if `OpenStream` gave it, negative if a peer opened it."""
        self.frame_handler.handle(stream, frame, source, now)
        return self._done()

    def stream_ended(self, stream: int, now: float, *, refused: bool = False) -> list[Output]:
        """Handle the end of a stream; ``refused`` if a kernel answered that no process listens there.

        That kernel may be this host's own (a firewall). While it refuses packets as well, a refusal proves nothing.
        """
        self.frame_handler.stream_ended(stream, now, refused=refused)
        return self._done()

    def unsent(self, to: Address, now: float) -> list[Output]:
        """Handle that this host's kernel refused to send a `Transmit` to ``to``: a firewall, or no route."""
        self.counters[Count.PACKETS_UNSENT] += 1
        self.detector.send_rejected(to, now)
        return self._done()

    # Timers

    def handle_timeout(self, now: float, *, late: float = 0.0) -> list[Output]:
        """Run every timer due at ``now``. Call it after all readable packets were passed in.

        ``late`` (seconds) is how much later than asked for the driver called. A node that was itself stopped (SIGSTOP,
        a long collection, a starved CPU) declares no member failed for what it could not have received meanwhile.
        """
        if late > self.settings.lag_tolerance:
            self.counters[Count.LAGS] += 1
            self.detector.postpone(late, now)
        if not self.identity.left:
            self._run_timers(now)
        self.disseminator.handle_timeout(now)
        self._refresh()
        return self._done()

    def set_wall_clock(self, ms: float, now: float) -> None:
        """Set the wall clock to ``ms`` since the epoch. Without this call it runs evenly from the generation."""
        if self.clocks.set(ms, now):
            self.joining.hurry(now)
            self._deadline = None

    def _run_timers(self, now: float) -> None:
        self.membership_handler.probe(now)
        self.membership_handler.expire_suspicions(now)
        self.lifelines.handle_timeout(now)
        self.path_tests.handle_timeout(now)
        self.local_member.handle_timeout(now)
        self.joining.handle_timeout(now)
        self.frame_handler.handle_timeout(now)
        self.borders.handle_timeout(now)
        self.isolation.note(isolated=self.isolation.is_isolated(now), now=now)
        if now >= self._sweep_at:
            self._sweep_at = now + SWEEP_SECONDS
            self._sweep(now)

    def _sweep(self, now: float) -> None:
        self.path_tests.sweep(now)
        self.detector.prober.sweep(now)
        self.detector.sweep(now)
        self.outbox.forget(now)
        self.outbox.proofs.keep(frozenset(member.run_id for member in self.members))
        self.disseminator.sweep()
        self.clocks.sweep(now)
        self.expulsion.expel(now)
        for update in self.state.sweep(now):
            self.outbox.put(MemberChanged(update, None))

    def _refresh(self) -> None:
        if self.view.recalled and self.identity.announced and self.members.present:
            self.state.forget_recalled()
        changed = self.state.refresh()
        if changed:
            self.outbox.put(InstancesChanged(tuple(changed)))
