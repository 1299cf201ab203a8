"""Open requests: what the agent was asked and has not answered, each until when it waits for an agent that is away."""

from __future__ import annotations

import time
from collections.abc import Mapping
from concurrent.futures import Future
from typing import Any, Final

import attrs

from gossipreg import limits
from gossipreg.attach import frames
from gossipreg.errors import AgentRefused, AgentUnreachable, ConfigError, FieldError, GossipregError

#: How long a request waits for an agent that is away (seconds): a restart takes a second or two.
_AWAY_SECONDS: Final = 10.0


@attrs.define(eq=False, repr=False)
class _Request:
    frame: bytes
    future: Future[Any]
    give_up: float  # when, if the agent is away
    again: bool  # it is to be asked over the next stream, too


@attrs.define(eq=False, repr=False)
class OpenRequests:
    """The requests of one process, by number. All methods are called under the lock of the link."""

    _requests: dict[int, _Request] = attrs.field(init=False, factory=dict)

    def add(self, number: int, verb: str, values: Mapping[str, Any], *, again: bool) -> tuple[Future[Any], bytes]:
        """Ask ``verb`` with these arguments: the future of its answer, and the frame to send.

        Raises ``ConfigError`` for arguments that are too long.
        """
        frame = frames.pack([frames.ASK, number, verb, dict(values)])
        if len(frame) > limits.ATTACH_FRAME_BYTES_MAX:
            raise ConfigError(
                f"{verb}: its arguments take {len(frame)} bytes, and {limits.ATTACH_FRAME_BYTES_MAX} is the limit"
            )
        future: Future[Any] = Future()
        self._requests[number] = _Request(frame, future, time.monotonic() + _AWAY_SECONDS, again=again)
        return future, frame

    def pop(self, number: int) -> Future[Any] | None:
        """Take out the request of that number, if it is one: its future."""
        found = self._requests.pop(number, None)
        return None if found is None else found.future

    def frames(self) -> list[bytes]:
        """What asks for all of it over a new stream."""
        return [each.frame for each in self._requests.values()]

    def agent_lost(self) -> None:
        """The agent is away: give them up if it is not back in time, those at once that are not to be asked again."""
        until = time.monotonic() + _AWAY_SECONDS
        for each in self._requests.values():
            each.give_up = until if each.again else 0.0

    def take_late(self) -> list[Future[Any]]:
        """Take out those that are to be given up now: their futures."""
        now = time.monotonic()
        late = [number for number, each in self._requests.items() if each.give_up <= now]
        return [self._requests.pop(number).future for number in late]

    def end(self) -> list[Future[Any]]:
        """Take out all of them: their futures."""
        requests, self._requests = self._requests, {}
        return [each.future for each in requests.values()]


def refusal(code: str, sentence: str, field: str | None) -> GossipregError:
    """The error with which the agent answers, of the class that a member's verb raises."""
    if code == "node_closed":
        return AgentUnreachable("the agent is about to end: it comes back, or another does")
    kind = _classes().get(code)
    if kind is None or issubclass(kind, AgentRefused):
        return AgentRefused(sentence, code, field)
    return kind(field, sentence) if issubclass(kind, FieldError) else kind(sentence)


def _classes() -> dict[str, type[GossipregError]]:
    found: dict[str, type[GossipregError]] = {}
    left = [GossipregError]
    while left:
        kind = left.pop()
        found[kind.code] = kind
        left += kind.__subclasses__()
    return found
