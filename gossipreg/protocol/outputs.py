"""Outputs of the engine: what its driver must do, and what has happened."""

from __future__ import annotations

from gossipreg.model import Address
from gossipreg.observations import ObserverReport
from gossipreg.protocol.membership.member_update import MemberUpdate
from gossipreg.protocol.membership.paths import Passes
from gossipreg.values import frozen


@frozen
class Transmit:
    """Send a datagram."""

    data: bytes
    to: Address


@frozen
class OpenStream:
    """Connect to ``to``, send ``frame`` when connected, and hand what comes back to `Engine.stream_frame`.

    If the stream is silent for ``patience`` seconds, close it; one that is ``idle`` may be silent once it is open.
    ``segment``: the largest piece that the kernel may send at a time (bytes; 0: as it finds best).
    However it ends, tell `Engine.stream_ended` once.
    """

    stream: int
    to: Address
    frame: bytes
    patience: float
    idle: bool = False
    segment: int = 0


@frozen
class KeepStream:
    """A stream that a peer opened may be silent from now on."""

    stream: int


@frozen
class SendFrame:
    """Send a frame on a stream; if it is not open any more, do nothing."""

    stream: int
    frame: bytes


@frozen
class CloseStream:
    """Close a stream after what was sent on it; it has served its purpose."""

    stream: int


@frozen
class SeekSeeds:
    """Resolve the seeds' names afresh and hand the addresses to `Engine.seeds`."""


@frozen
class JoinEnded:
    """A join that `Engine.join` began has ended; ``compared``: the states were compared to the end."""

    peer: Address
    compared: bool


@frozen
class ObservationsRequested:
    """A peer asks on ``stream`` what this node believes: to be answered at once by `Engine.tell_observations`."""

    stream: int


@frozen
class ObservationsEnded:
    """What `Engine.ask_observations` has led to."""

    report: ObserverReport


@frozen
class MemberChanged:
    """The held update about a member changed. ``after`` is None when it was forgotten."""

    before: MemberUpdate | None
    after: MemberUpdate | None


@frozen
class PathChanged:
    """From now on ``passes`` on the path to ``member``; ``size``, ``hears``: see `paths.PathChange`."""

    member: str
    passes: Passes
    size: int
    hears: bool


@frozen
class InstancesChanged:
    """The view of these services changed."""

    services: tuple[str, ...]


@frozen
class PoliciesChanged:
    """The latest version of these policies changed, or there is none any more."""

    keys: tuple[str, ...]


@frozen
class IsolationChanged:
    """This node is isolated from now on, or no more: no member was heard for ``silence`` seconds."""

    isolated: bool
    silence: float


@frozen
class TermsChanged:
    """The term registers of these services have other values now."""

    services: tuple[str, ...]


@frozen
class StatementRefused:
    """A peer sent a statement that is not signed by whom it is about, or not as its certificate allows."""

    what: str  # what it was about
    why: str
    sender: str | None  # the member that sent it, by its own word
    source: Address


@frozen
class MessageFailed:
    """A bug in gossipreg kept a message, packet or frame of a peer from being read or checked; nothing has changed."""

    what: str
    source: Address
    error: Exception


@frozen
class MemberExpelled:
    """A member was dropped, since its certificate was revoked or has ended."""

    member: MemberUpdate


@frozen
class PolicyFromFuture:
    """The policy ``key``, set by the node ``writer``, is stamped ``ahead`` seconds ahead of our wall clock.

    It was received and refused or, if ``restamped``, was held here and has been published again as of now.
    """

    key: str
    writer: str
    ahead: float
    restamped: bool


@frozen
class ClockChanged:
    """This node's wall clock is off from its peers' by ``skew`` (seconds; + if it is ahead), or right again (None)."""

    skew: float | None


@frozen
class ClockRefused:
    """A session with a node at ``peer`` was ended: its wall clock is ``skew`` seconds ahead of ours (below 0: behind).

    ``joining``: this node wanted to join there; else the other one wanted to join here.
    """

    peer: Address
    skew: float
    joining: bool


@frozen
class CellChanged:
    """Nothing new is known any more of what another cell owns, or all is again: ``reachable``.

    ``age``: how long ago all of it was known at the latest (seconds); None if it never was.
    """

    cell: str
    reachable: bool
    age: float | None


@frozen
class RemoteMembersChanged:
    """What is known of members of other cells has changed."""

    names: tuple[str, ...]


@frozen
class NameConflictFound:
    """Another live member bears this node's name. ``yielding``: this node wants to join and must stop."""

    other: Address
    yielding: bool


@frozen
class NameConflicted:
    """An older member at ``other`` bears this node's name, and this node runs on without it; None: no more."""

    other: Address | None


Output = (
    Transmit
    | OpenStream
    | KeepStream
    | SendFrame
    | CloseStream
    | SeekSeeds
    | JoinEnded
    | ObservationsRequested
    | ObservationsEnded
    | MemberChanged
    | PathChanged
    | InstancesChanged
    | PoliciesChanged
    | IsolationChanged
    | TermsChanged
    | PolicyFromFuture
    | StatementRefused
    | MessageFailed
    | MemberExpelled
    | ClockChanged
    | ClockRefused
    | NameConflictFound
    | NameConflicted
    | CellChanged
    | RemoteMembersChanged
)
