"""The outbox: collects the outputs of one verb, and piggybacks updates on the packets among them.

Everything that a verb of the engine causes gathers here until the verb returns it.
"""

from __future__ import annotations

from collections.abc import Callable

import attrs

from gossipreg import limits
from gossipreg.counters import Count
from gossipreg.model import Address
from gossipreg.protocol.dissemination.receipts import RECEIPT_REQUEST_BYTES
from gossipreg.protocol.engine_settings import EngineSettings
from gossipreg.protocol.identity.packet_proofs import PacketProofs
from gossipreg.protocol.membership.member_update import Destination, MemberUpdate
from gossipreg.protocol.membership.paths import PathMonitor
from gossipreg.protocol.membership.peer_clocks import WallClock
from gossipreg.protocol.outputs import Output, Transmit
from gossipreg.protocol.state import ClusterState
from gossipreg.protocol.wire.messages import SENDER_BYTES, pack, pack_sender

#: Least time between two unsolicited messages to one peer about itself or its name (seconds).
_TELL_SECONDS = 0.5


@attrs.define(eq=False, repr=False)
class AnswerRoom:
    """What may still be sent in answer to one packet to where its sender is not proven to be."""

    source: Address | None  # where it came from; None: from where its member is stated to be
    room: int  # bytes


@attrs.define(eq=False, repr=False)
class Outbox:
    """The outputs of the verb under way."""

    settings: EngineSettings
    state: ClusterState
    packet_room: int  # bytes of a datagram before it is sealed
    paths: PathMonitor = attrs.field(init=False)
    proofs: PacketProofs = attrs.field(init=False)
    sender: bytes = b""
    _room: int = attrs.field(init=False)  # bytes of a datagram before it is sealed, as far as the paths pass it
    _outputs: list[Output] = attrs.field(factory=list)
    _answers: AnswerRoom | None = None  # of the packet that is being handled, if its source is not proven
    has_answered: Callable[[int], bool] | None = None  # in an open cluster: whether a run has answered at its address
    _told: dict[int, float] = attrs.field(factory=dict)  # run id -> when it was last sent an unsolicited message

    def __attrs_post_init__(self) -> None:
        self.proofs = PacketProofs(self.state.authenticator)
        self.paths = PathMonitor(limits.PACKET_BYTES_MAX - self.packet_room)
        self.fit_paths()

    def fit_paths(self) -> None:
        """Send packets of a size that passes to every member, as far as it is known."""
        self._room = self.paths.least_size - self.paths.overhead - self.proofs.overhead
        self.state.message_room = self.room - RECEIPT_REQUEST_BYTES

    def sign(self, run_id: int) -> None:
        """Send under the run id ``run_id`` from now on: every packet and frame begins with it."""
        self.sender = pack_sender(run_id)

    def clock(self, now: float) -> WallClock:
        """What this node's wall clock shows."""
        return WallClock(self.state.clock.wall(now))

    @property
    def room(self) -> int:
        """How many bytes of messages a packet holds now."""
        return self._room - SENDER_BYTES

    @property
    def is_waiting(self) -> bool:
        """Whether anything is left to be taken."""
        return bool(self._outputs)

    def put(self, output: Output) -> None:
        """One more output."""
        self._outputs.append(output)

    def take(self) -> list[Output]:
        """The outputs so far, in order; they are the caller's now."""
        outputs, self._outputs = self._outputs, []
        return outputs

    def begin_answers(self, source: Address, member: MemberUpdate | None, size: int) -> None:
        """Begin to answer a packet of ``size`` bytes under the run id of ``member``, maybe with a false ``source``.

        The address of a member proves that it is there; in an open cluster, where any process can state one, once it
        has answered a ping there, or if it has signed that it is there. A code proves the sender, not where it is: any
        member can send a packet under another's address.
        """
        is_elsewhere = member is None or source != member.address
        if is_elsewhere or (self.has_answered is not None and not self.proofs.are_required):
            self._answers = AnswerRoom(source if is_elsewhere else None, size * limits.ANSWER_FACTOR_MAX)

    def end_answers(self) -> AnswerRoom | None:
        """What is sent from now on answers no packet; returns what `resume_answers` goes on with."""
        answers, self._answers = self._answers, None
        return answers

    def resume_answers(self, answers: AnswerRoom | None) -> None:
        """What is sent from now on answers the packet again."""
        self._answers = answers

    def _answer_room(self, to: Destination) -> AnswerRoom | None:
        """What bounds a packet to ``to``; None if nothing does.

        A member may send from elsewhere, as from behind a NAT: what it asks for is sent to where it is proven to be.
        """
        answers = self._answers
        if answers is None or to.address == answers.source:
            return answers
        member = self.state.members.by_run_id(to.run_id)
        return None if member is not None and self._is_there(member, to.address) else answers

    def _is_there(self, member: MemberUpdate, address: Address) -> bool:
        """Whether a member is proven to be at ``address``."""
        if address != member.address:
            return False
        if self.has_answered is None:
            return not self.state.members.is_stranger(member.name)
        return (self.state.authenticator.is_on and bool(member.proof)) or self.has_answered(member.run_id)

    def send(self, to: Destination, *messages: bytes, now: float | None = None) -> None:
        """Send a packet of ``messages``; with ``now``, updates are piggybacked in the room that is left.

        What is too long an answer for an address that is not proven is not sent.
        """
        answers = self._answer_room(to)
        room = self._room if answers is None else min(self._room, answers.room - self.proofs.overhead)
        data = self.sender + b"".join(messages)
        if now is not None:
            data += b"".join(self.state.broadcasts.piggyback(max(0, room - len(data)), now))
            data += b"".join(self.state.piggyback_digests(max(0, room - len(data)), now))
        self._transmit(self.proven(data, to), to, answers)

    def answer_stranger(self, to: Destination, message: bytes) -> None:
        """Answer a packet of no known member: without a code, and with no updates."""
        self._transmit(self.sender + message, to, self._answer_room(to))

    def _transmit(self, packet: bytes, to: Destination, answers: AnswerRoom | None) -> None:
        if answers is not None:
            if len(packet) > answers.room:
                self.state.counters[Count.ANSWERS_TOO_LONG] += 1
                return
            answers.room -= len(packet)
        self.put(Transmit(packet, to.address))

    def proven(self, data: bytes, to: Destination) -> bytes:
        """A packet or frame with a code for the run that it is for; if that is not known, for the member there."""
        proofs = self.proofs
        if not proofs.are_made:
            return data
        members = self.state.members
        member = members.by_run_id(to.run_id) or members.held_at(to.address)
        return proofs.seal(data, member)

    def tell(self, to: Destination, message: bytes, now: float) -> None:
        """Send ``message`` to a peer unasked, unless it was sent one a moment ago."""
        if now - self._told.get(to.run_id, -_TELL_SECONDS) >= _TELL_SECONDS:
            if len(self._told) >= limits.TOLD_MAX:
                del self._told[next(iter(self._told))]
            self._told[to.run_id] = now
            self.send(to, message)

    def tell_accused(self, accused: MemberUpdate, now: float) -> None:
        """Tell a member that it is suspected or failed, so that it can refute."""
        if self.settings.tell_accused:
            self.tell(accused.destination, pack(accused), now)

    def forget(self, now: float) -> None:
        """Drop what no longer matters."""
        self._told = {run_id: at for run_id, at in self._told.items() if now - at < _TELL_SECONDS}
