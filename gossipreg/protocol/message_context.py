"""Knows who says something, and where an answer to it goes."""

from __future__ import annotations

import attrs

from gossipreg.model import Address
from gossipreg.protocol.membership.member_update import MemberUpdate

#: News from one talk that is also gossiped: a talk mends what gossip missed, it must not become a storm itself.
_STREAM_NEWS_MAX = 128


@attrs.define(eq=False, repr=False)
class MessageContext:
    """The sender of one packet or frame, and what is to be said back to it."""

    sender: int  # life id
    source: Address
    member: MemberUpdate | None  # the sender, if it is known
    stream: int | None = None
    clock: int | None = None  # what the sender's wall clock shows (ms since the epoch), if it says so
    replies: list[bytes] = attrs.field(factory=list)
    news: int = 0  # pieces of news that it told in a talk
    stale: dict[str, list[str]] = attrs.field(factory=dict)  # owner -> ids that the sender still holds

    @property
    def name(self) -> str | None:
        """The sender's name, if it is known and gossips; what is told in a talk comes by no tree."""
        return None if self.member is None or self.over_stream else self.member.name

    @property
    def over_stream(self) -> bool:
        """Whether the message came over a stream, as part of a comparison of states."""
        return self.stream is not None

    def admit_forward(self, *, announced: bool) -> bool:
        """Whether one more piece of news from here should be gossiped on; what a joiner is told is news to nobody."""
        if not self.over_stream:
            return True
        self.news += 1
        return announced and self.news <= _STREAM_NEWS_MAX
