"""Answers: what the agent answers to a read, remembered for as long as it is away."""

from __future__ import annotations

from concurrent.futures import TimeoutError as FutureTimeout
from typing import Any, Final

import attrs

from gossipreg.embed.attached.link import Link
from gossipreg.errors import AgentUnreachable
from gossipreg.model import Instance

#: How long a read that needs the agent waits for it (seconds). The agent of a host answers within a millisecond.
READ_SECONDS: Final = 5.0

#: Answers that are remembered.
_LAST_MAX: Final = 1024


@attrs.define(eq=False, repr=False)
class Answers:
    """The agent's answers to the reads of one process. Any thread may ask; it is blocked until the answer is there."""

    _link: Link
    _last: dict[Any, Any] = attrs.field(init=False, factory=dict)  # by verb and arguments

    def read(self, verb: str, **values: Any) -> Any:
        """What the agent answers; while it is away, what it last answered.

        Raises ``AgentUnreachable``, ``NodeClosed``, and what the verb raises.
        """
        self._link.check_open()
        key = verb, *values.values()
        if not self._link.is_connected and key in self._last:
            return self._last[key]
        future = self._link.ask(verb, values)
        try:
            answer = future.result(READ_SECONDS)
        except (FutureTimeout, AgentUnreachable) as error:
            future.cancel()
            if key in self._last:
                return self._last[key]
            if isinstance(error, AgentUnreachable):
                raise
            raise AgentUnreachable(
                f"the agent at {self._link.attach.agent} has not answered within {READ_SECONDS:g} s"
            ) from None
        if len(self._last) >= _LAST_MAX:
            self._last.clear()
        self._last[key] = answer
        return answer

    def read_now(self, verb: str, **values: Any) -> Any:
        """The same, of what a former answer would be no answer to: while the agent is away there is none."""
        self._last.pop((verb, *values.values()), None)
        return self.read(verb, **values)

    def instances(self, verb: str, **values: Any) -> tuple[Instance, ...]:
        """As `read`, of instances: while the agent is away they are marked stale, as those of copies are."""
        found: tuple[Instance, ...] = self.read(verb, **values)
        return found if self._link.is_connected else tuple(attrs.evolve(each, stale=True) for each in found)
