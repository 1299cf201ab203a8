"""The membership handler: merges updates about other members, and declares members failed.

It takes the detector's findings (a missed probe, an expired suspicion) and the updates of peers, and turns both into
changes of the cluster state and into broadcasts.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice

import attrs

from gossipreg.counters import Count
from gossipreg.model import Status
from gossipreg.protocol.accusations import ACCUSERS, Accusations
from gossipreg.protocol.dissemination.broadcast_queue import Topic
from gossipreg.protocol.expulsion import Expulsion
from gossipreg.protocol.identity.authenticator import IdentityMode
from gossipreg.protocol.identity.refusals import StatementRefusal
from gossipreg.protocol.membership.admission import Admission
from gossipreg.protocol.membership.detector import Detector
from gossipreg.protocol.membership.identity import Identity
from gossipreg.protocol.membership.member_update import MemberUpdate
from gossipreg.protocol.membership.probe import IndirectPingFailed, Ping, ProbeEvent, ProbeFailed, ProbeOverStream, Send
from gossipreg.protocol.message_context import MessageContext
from gossipreg.protocol.outbox import Outbox
from gossipreg.protocol.outputs import MemberChanged
from gossipreg.protocol.peer_streams import PeerStreams
from gossipreg.protocol.state import ClusterState
from gossipreg.protocol.stream_sessions import Purpose
from gossipreg.protocol.wire.messages import pack

#: How long after a failed member is back its failure reports count as those of another partition side (seconds).
_FOREIGN_SECONDS = 60.0

#: Members that are pinged when a suspicion cannot expire for lack of a witness. Half of all may be dead.
_WITNESS_PINGS = 3

#: Why an accusation is refused.
_NO_ACCUSER = "no member is known to say so"

#: Of them, those that were heard or have answered last.
_NEAREST_PINGS = 2


@attrs.define(eq=False, repr=False)
class MembershipHandler:
    """Handles updates about other members."""

    identity: Identity
    state: ClusterState
    detector: Detector
    streams: PeerStreams
    outbox: Outbox
    expulsion: Expulsion
    accusations: Accusations = attrs.field(init=False)
    _admission: Admission = attrs.field(factory=Admission)

    def __attrs_post_init__(self) -> None:
        self.accusations = Accusations(self.identity, self.state, self.detector)
        self.detector.needs_two_accusers = self.accusations.are_required

    def handle(self, update: MemberUpdate, context: MessageContext, now: float) -> None:
        """Handle a peer's update about a member that is not this node."""
        held = self.state.members.get(update.name)
        if held is None and not self.state.expect(update):
            return  # now, as a failure that too few prove becomes a suspicion, for which no age is too great
        if self.state.authenticator.is_on:
            believed = self._authenticated(update, held, context, now)
            if believed is None:
                return
            update = believed
        self._merge(update, held, context, now)

    def _merge(self, update: MemberUpdate, held: MemberUpdate | None, context: MessageContext, now: float) -> None:
        if held is None:
            if not self._admit(update, context, now):
                return
        elif not update.supersedes(held):
            if update.rank == held.rank and update.status is Status.SUSPECT:
                self._confirm(held, update.accuser, now, refused=update.refused, witnesses=update.witnesses)
            elif update.rank == held.rank and not context.over_stream:
                self.state.broadcaster.note_duplicate(Topic.MEMBERSHIP, update.name, now)
            return
        if held is not None and update.is_forgotten and held.status.is_present and update.is_same_run(held):
            # Forgotten where it was held failed; here it may be alive, so it gets the chance to refute.
            update = attrs.evolve(update, status=Status.SUSPECT)
            if not update.supersedes(held):
                return
        spread = context.admit_forward(announced=self.identity.announced)
        if update.status is Status.FAILED and held is not None and self._needs_verification(update, held, context, now):
            self._handle_failure(update, held, now, spread=spread)
            return
        self._believe(update, now, spread=spread)
        if update.status is Status.SUSPECT and self.detector.prober.is_unreachable(update.run_id, now):
            self._corroborate(update, now)
        revived = held is not None and held.status is Status.FAILED and update.status is Status.ALIVE
        if revived and not context.over_stream:
            self.streams.hurry(now)  # it was away

    def _authenticated(
        self, update: MemberUpdate, held: MemberUpdate | None, context: MessageContext, now: float
    ) -> MemberUpdate | None:
        """``update`` as far as it was signed by those who may state it; None if it is new and nothing of it was."""
        if held is not None and not update.supersedes(held):
            return self._with_own_part(update, held, context, now)
        authenticator = self.state.authenticator
        checked = authenticator.check_update(update, held, self.state.clock.wall(now) / 1000)
        if isinstance(checked, StatementRefusal):
            self.expulsion.refuse(f"member {update.name}", checked, context)
            return None
        if not checked.is_forgotten or authenticator.mode is not IdentityMode.REQUIRE:
            return self._as_accused(self._with_verdict(checked), held, context)
        if authenticator.witnesses_of(checked, self.accusations.by_run_id, grant="forget"):
            return checked
        if held is None and context.is_answer:
            return self._as_told(checked, context)
        refusal = StatementRefusal("it is to be forgotten by the word of no member that may say so")
        self.expulsion.refuse(f"member {update.name}", refusal, context)
        return None

    def _as_told(self, unknown: MemberUpdate, context: MessageContext) -> MemberUpdate | None:
        """What a peer has told, as this node asked, of a member that is unknown here and not present any more.

        Its accusers may be gone, so the word of a member suffices. A seed is not proven to be one yet: what it tells is
        left out, as if it had not told of that member, and comes again when states are compared with a member.
        """
        certificate = (
            None if context.member is None else self.state.authenticator.certificates.of_member(context.member)
        )
        return None if certificate is None else unknown

    def _with_verdict(self, update: MemberUpdate) -> MemberUpdate:
        """``update``, whose claim that kernels have refused counts only as far as members have signed it.

        A failure is proven by two that hold different keys, or conceded by the member itself.
        """
        authenticator = self.state.authenticator
        is_claim = update.refused or update.accuser == update.run_id
        if authenticator.mode is not IdentityMode.REQUIRE or not is_claim:
            return update
        found = authenticator.witnesses_of(update, self.accusations.by_run_id)
        if update.accuser == update.run_id:
            own = any(run_id == update.run_id for run_id, _ in found.values())
            return update if own else attrs.evolve(update, accuser=0, refused=False, witnesses=())
        if len(found) >= (ACCUSERS if update.status is Status.FAILED else 1):
            return update
        return attrs.evolve(update, refused=False, witnesses=())

    def _with_own_part(
        self, update: MemberUpdate, held: MemberUpdate, context: MessageContext, now: float
    ) -> MemberUpdate | None:
        """An ``update`` that is held already: its proof is kept, if that was missing, and its verdict verified."""
        if update.rank != held.rank:
            return update
        if update.proof and not held.proof:
            checked = self.state.authenticator.check_update(update, None, self.state.clock.wall(now) / 1000)
            if isinstance(checked, MemberUpdate):
                self.state.begin_change()
                self.state.members.attest(update.name, checked.proof)
        if update.refused:
            update = self._with_verdict(update)
        is_new = update.status is Status.SUSPECT and not self.accusations.is_repeated(update)
        return self._as_accused(update, held, context) if is_new else update

    def _as_accused(
        self, update: MemberUpdate, held: MemberUpdate | None, context: MessageContext
    ) -> MemberUpdate | None:
        """``update``, accused by a member that is known to accuse it; or as far as that is not known, its own part."""
        is_accused = update.status in (Status.SUSPECT, Status.FAILED) and update.accuser != update.run_id
        if not (self.accusations.are_required and is_accused):
            return update
        proven = self.accusations.proven(update, context)
        if held is None and context.is_answer and update.status is Status.FAILED:
            return update if proven is not None and proven.status is update.status else self._as_told(update, context)
        if proven is not None:
            return proven
        own = attrs.evolve(update, status=Status.ALIVE, accuser=0, refused=False, witnesses=())
        if held is None and context.is_answer:
            return own
        self.expulsion.refuse(f"that {update.name} is {update.status}", StatementRefusal(_NO_ACCUSER), context)
        return own if held is None or own.supersedes(held) else None

    def _admit(self, newcomer: MemberUpdate, context: MessageContext, now: float) -> bool:
        """Whether an unknown member is to be remembered; if need be, another is evicted for it."""
        members = self.state.members
        if members.has_room():
            return True
        in_person = context.sender == newcomer.run_id and context.source.host == newcomer.address.host
        goes = members.first_to_go(newcomer)
        if goes is None or not self._admission.try_admit(now, in_person=in_person):
            self.state.counters[Count.UPDATES_OVER_MEMBER_LIMIT] += 1
            return False
        self.state.begin_change()
        self.state.counters[Count.MEMBERS_GAVE_WAY] += 1
        self.detector.end_suspicion(goes)
        self.outbox.put(MemberChanged(self.state.forget(goes), None))
        return True

    def _needs_verification(
        self, failure: MemberUpdate, held: MemberUpdate, context: MessageContext, now: float
    ) -> bool:
        """Whether a peer's ``failure`` of a member held to be present must be verified before it is believed.

        Not if the member concedes it itself. Nor if two kernels have proven it, unless the accuser was cut off from
        this node lately: then the network between the two sides may have refused.
        """
        if not held.status.is_present or failure.accuser == failure.run_id:
            return False
        if not self.detector.settings.verify_failures:
            return context.over_stream
        accuser = self.state.members.by_run_id(failure.accuser)
        is_credible = accuser is not None and not self.state.members.was_failed(accuser.name, _FOREIGN_SECONDS, now)
        return context.over_stream or not failure.refused or not is_credible

    def _handle_failure(self, failure: MemberUpdate, held: MemberUpdate, now: float, *, spread: bool) -> None:
        """A peer declared a present member failed: suspect it, and verify the failure with a ping of our own."""
        suspect = attrs.evolve(failure, status=Status.SUSPECT, refused=False)
        verifies = self.detector.settings.verify_failures
        if suspect.supersedes(held):
            self._believe(suspect, now, spread=spread)
            if verifies:
                self.detector.shorten_suspicion(failure.name)
        elif verifies:
            self.state.begin_change()
            self.detector.failure_received(failure)

    def _believe(self, update: MemberUpdate, now: float, *, spread: bool) -> None:
        self.state.begin_change()
        members = self.state.members
        if not members.present and not members.has_failed:
            self.detector.reachability.expect(now)
        if update.witnesses and update.status is Status.SUSPECT:
            update = self.accusations.note(update)
        before = self.state.believe(update, now, spread=spread)
        if update.status is Status.SUSPECT:
            self.detector.start_suspicion(update, now)
        else:
            self.detector.end_suspicion(update.name)
            self.accusations.forget(update.name)
        self.outbox.put(MemberChanged(before, update))
        self._act_on_suspicion(update, now)

    def _confirm(
        self,
        held: MemberUpdate,
        accuser: int,
        now: float,
        *,
        refused: bool = False,
        witnesses: tuple[tuple[int, bytes], ...] = (),
    ) -> None:
        self.state.begin_change()
        if accuser == self.identity.run_id:
            self.detector.probe_failed(held.name)
            if not refused:
                witnesses = self.accusations.signed(attrs.evolve(held, accuser=accuser, refused=False)).witnesses
        elif self.accusations.is_repeated(attrs.evolve(held, accuser=accuser)) and not refused:
            return
        if self.detector.confirm(held.name, accuser, refused=refused):
            context = attrs.evolve(held, accuser=accuser, refused=refused, witnesses=witnesses)
            if witnesses:
                self.accusations.note(context)
            self.state.broadcasts.enqueue(Topic.MEMBERSHIP, held.name, pack(context), now)
            self._act_on_suspicion(held, now)

    def _corroborate(self, suspect: MemberUpdate, now: float) -> None:
        """This node could not reach the suspect on behalf of another either: that is a confirmation of its own."""
        if self.detector.settings.corroborate:
            self._confirm(suspect, self.identity.run_id, now)

    def _act_on_suspicion(self, suspect: MemberUpdate, now: float) -> None:
        """Two speeds: routing reacts to a confirmed suspicion, membership to one that has expired or is proven."""
        if self.detector.is_proven(suspect.name):
            self._declare_failed(suspect, now)
        elif self.detector.is_confirmed(suspect.name):
            self.state.deprioritize(suspect.name)

    def _declare_failed(self, suspect: MemberUpdate, now: float) -> None:
        """Declare ``suspect`` failed. That two kernels have refused goes with it: then it needs no verification."""
        self.state.counters[Count.FAILURES_DECLARED] += 1
        proven = self.detector.is_proven(suspect.name)
        failure = suspect.graver(Status.FAILED, self.identity.run_id, refused=proven)
        failure = self.accusations.with_signatures(failure)
        self._believe(failure, now, spread=True)

    def forget(self, failed: MemberUpdate, now: float) -> None:
        """Have every node treat a failed member as one that left, and drop its records."""
        forgotten = failed.graver(Status.LEFT, self.identity.run_id)
        signed = self.state.authenticator.sign_verdict(forgotten, self.identity.run_id)
        self._believe(signed, now, spread=True)

    def adopt_failed(self, update: MemberUpdate, now: float) -> None:
        """Hold a member that is present by an update of another cell, and unknown or failed here, as failed."""
        if self.state.members.get(update.name) is not None or self.state.members.has_room():
            self._believe(update.graver(Status.FAILED, self.identity.run_id), now, spread=True)

    # Events of the prober, and expired suspicions

    def probe(self, now: float) -> None:
        """Probe the members that are due, and suspect those that have not answered."""
        self.perform(self.detector.prober.handle_timeout(self.state.fingerprint.total, now), now)
        for target in self.detector.reachability_pings(now):
            self.outbox.send(target.destination, pack(Ping(0, target.run_id, self.state.fingerprint.total)))

    def probe_early(self, now: float) -> None:
        """A ping has woken this node: begin the probe that will soon be due."""
        self.perform(self.detector.prober.begin_early(self.state.fingerprint.total, now), now)

    def expire_suspicions(self, now: float) -> None:
        """Expire the suspicions that are due, and ping the suspects that must be verified first."""
        due = self.detector.expired_suspicions(now, self.identity.run_id)
        for failure in due.failures:
            if failure.status is Status.FAILED:
                self._believe(failure, now, spread=True)
            else:
                self._declare_failed(failure, now)
        fingerprint = self.state.fingerprint.total
        for suspect in due.to_verify:
            self.perform(self.detector.prober.ping_suspect(suspect, fingerprint, now), now)
        for suspect in due.lack_accuser:
            self.perform(self.detector.prober.ask_helpers(suspect), now)
        if due.lacks_witness:
            self._ping_witnesses(now)

    def _ping_witnesses(self, now: float) -> None:
        """Ping members for an ack, first those heard last: in a partition they are on this side."""
        members = self.state.members
        nearest = [members.by_run_id(run_id) for run_id in self.detector.reachability.nearest[:_NEAREST_PINGS]]
        known = {peer.name: peer for peer in nearest if peer is not None and peer.status is Status.ALIVE}
        known |= {peer.name: peer for peer in members.sample(_WITNESS_PINGS)}
        for peer in islice(known.values(), _WITNESS_PINGS):
            self.outbox.send(peer.destination, pack(Ping(0, peer.run_id, self.state.fingerprint.total)), now=now)

    def perform(self, findings: Sequence[ProbeEvent], now: float) -> None:
        """Carry out what the prober wants done, and act on what it found."""
        for finding in findings:
            match finding:
                case Send():
                    self._send(finding, now)
                case ProbeOverStream(target, seq):
                    ping = Ping(seq, target.run_id, self.state.fingerprint.total)
                    self.streams.ping(Purpose.PROBE, target.destination, ping, about=seq)
                case ProbeFailed():
                    self._probe_failed(finding, now)
                case IndirectPingFailed(target):
                    suspect = self.state.members.by_run_id(target)
                    if suspect is not None and suspect.status is Status.SUSPECT:
                        self._corroborate(suspect, now)
                case _:
                    self.state.members.prove(finding.target.name)
                    self.detector.ack_received(finding.target.name, now, late=finding.late)
                    self.state.restore_priority(finding.target.name)

    def _send(self, finding: Send, now: float) -> None:
        message = pack(finding.message)
        accused = None if finding.about is None else self.state.members.get(finding.about)
        if accused is not None and accused.status is not Status.ALIVE:
            # The suspicion is sent first, so that the ack already carries the refutation.
            self.outbox.send(finding.to, pack(accused), message, now=now)
        else:
            self.outbox.send(finding.to, message, now=now)

    def _probe_failed(self, missed: ProbeFailed, now: float) -> None:
        if self._may_be_accused(missed.target):
            self.state.counters[Count.PROBES_MISSED] += 1
            self._accuse(missed.target, now, refused=missed.refused)

    def refused(self, target: MemberUpdate, confidants: Iterable[str], now: float) -> None:
        """The kernel of ``target`` has refused this node: report it, to the members named ``confidants`` at once."""
        if not self._may_be_accused(target):
            return
        self.state.counters[Count.REFUSALS] += 1
        self._accuse(target, now, refused=True)
        believed = self.state.members.get(target.name)
        assert believed is not None, "it has just been accused"
        version = pack(self._refusal(believed))
        for name in confidants:
            confidant = self.state.members.get(name)
            assert confidant is not None, "every name on the ring is a member"
            self.outbox.send(confidant.destination, version)

    def _may_be_accused(self, target: MemberUpdate) -> bool:
        held = self.state.members.get(target.name)
        return held is not None and held.is_same_run(target) and held.status.is_present

    def _accuse(self, target: MemberUpdate, now: float, *, refused: bool) -> None:
        held = self.state.members.get(target.name)
        assert held is not None, "only members are accused"
        if held.status is Status.SUSPECT:
            witnesses = self._refusal(held).witnesses if refused else ()
            self._confirm(held, self.identity.run_id, now, refused=refused, witnesses=witnesses)
        else:
            self.state.counters[Count.SUSPICIONS] += 1
            suspect = held.graver(Status.SUSPECT, self.identity.run_id, refused=refused)
            accused = self._refusal(suspect) if refused else self.accusations.signed(suspect)
            self._believe(accused, now, spread=True)
            self.detector.probe_failed(held.name)

    def _refusal(self, suspect: MemberUpdate) -> MemberUpdate:
        """The update that ``suspect``'s kernel has refused this node."""
        refused = attrs.evolve(suspect, accuser=self.identity.run_id, refused=True, witnesses=())
        return self.state.authenticator.sign_verdict(refused, self.identity.run_id)
