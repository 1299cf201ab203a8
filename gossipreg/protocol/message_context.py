"""Message context: the sender of a packet or frame, and the reply route."""

from __future__ import annotations

import attrs

from gossipreg.model import Address
from gossipreg.protocol.membership.member_update import Destination, MemberUpdate

#: New entries received over one stream that are also gossiped: anti-entropy repairs what gossip missed, and must not
#: cause a storm itself.
_STREAM_NEWS_MAX = 128


@attrs.define(eq=False, repr=False)
class MessageContext:
    """The sender of one packet or frame, and the replies to it."""

    sender: int  # run id
    source: Address
    member: MemberUpdate | None  # the sender, if it is known
    stream: int | None = None
    clock: int | None = None  # the sender's wall clock (ms since the epoch), if it was sent
    replies: list[bytes] = attrs.field(factory=list)
    news: int = 0  # new entries that came over this stream
    stale: dict[str, list[str]] = attrs.field(
        factory=dict
    )  # owner -> ids of obsolete records that the sender still holds
    answered: set[str] = attrs.field(factory=set)  # owners whose tables the sender has requested in this packet
    later_digests: dict[str, bytes] = attrs.field(factory=dict)  # owner -> digest to tell the sender: it holds less
    asked: set[type] = attrs.field(factory=set)  # kinds of questions in this packet or frame
    cell: str = ""  # the cell that the peer has said to be of on this stream, in a region of several
    is_unproven: bool = False  # whether it bears a member's run id but not the proof that is required

    @property
    def origin(self) -> Destination:
        """Where an answer goes: to the run that has sent this, at the address that it came from."""
        return Destination(self.sender, self.source)

    @property
    def is_answer(self) -> bool:
        """Whether it came over a stream that this node has opened."""
        return self.stream is not None and self.stream > 0

    @property
    def name(self) -> str | None:
        """The sender's name if it is a member and the message came in a packet; streams are part of no tree."""
        return None if self.member is None or self.over_stream else self.member.name

    @property
    def over_stream(self) -> bool:
        """Whether the message came over a stream, as part of a comparison of states."""
        return self.stream is not None

    def admit_question(self, question: object) -> bool:
        """Whether ``question`` is the first of its kind in the packet or frame; a peer has no reason to repeat one."""
        if type(question) in self.asked:
            return False
        self.asked.add(type(question))
        return True

    def admit_forward(self, *, announced: bool) -> bool:
        """Whether one more new entry may be gossiped on; counts it. What a joining node receives is new to no other."""
        if not self.over_stream:
            return True
        self.news += 1
        return announced and self.news <= _STREAM_NEWS_MAX
