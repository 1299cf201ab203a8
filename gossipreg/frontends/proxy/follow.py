"""Following a service: at a node in this process, or at an agent, which may go away and return."""

from __future__ import annotations

import logging
import math
import ssl
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import suppress
from typing import Final, Protocol

import attrs
import trio

from gossipreg.errors import AgentUnreachable, NodeClosed
from gossipreg.events import Event, InstanceEvent, Snapshot
from gossipreg.frontends.proxy import limits
from gossipreg.frontends.proxy.agent import AgentEvents
from gossipreg.frontends.proxy.instance_table import InstanceTable
from gossipreg.frontends.proxy.settings import Forward
from gossipreg.model import Address, Instance, SocketFile
from gossipreg.protocol.registry.choose import Key, key_of
from gossipreg.runtime.node import Node
from gossipreg.values import frozen

log = logging.getLogger(__name__)

#: Takes events, at once.
Deliver = Callable[[Sequence[Event]], None]


@frozen
class FollowRule:
    """What decides which instances of a service are told: a panic threshold, or regions to fail over to.

    ``failover_threshold``, and the instances with the ``tag`` and the ``role``, decide which region is used.
    """

    panic: float = 0.0
    failover: tuple[str, ...] = ()
    failover_threshold: float = 0.0
    tag: str | None = None
    role: str | None = None

    @classmethod
    def of(cls, forward: Forward) -> FollowRule:
        """That of one port."""
        if not forward.failover:
            return cls(forward.panic_threshold)
        return cls(0.0, forward.failover, forward.failover_threshold, forward.tag, forward.role)

    @property
    def query(self) -> dict[str, str]:
        """The same for an agent's HTTP API."""
        asked = {
            "panic": f"{self.panic:g}" if self.panic else "",
            "failover": ",".join(self.failover),
            "failover_threshold": f"{self.failover_threshold:g}" if self.failover_threshold else "",
            "tag": self.tag or "",
            "role": self.role or "",
        }
        return {name: value for name, value in asked.items() if value}


#: The own region alone, and what can serve there.
ALONE: Final = FollowRule()


class Source(Protocol):
    """Where the events of services come from."""

    @property
    def counters(self) -> Counter[str]:
        """In which a bug in following is counted."""
        ...

    async def follow(
        self,
        service: str,
        deliver: Deliver,
        *,
        rule: FollowRule = ALONE,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Follow one service: see `follow_node` and `follow_agent`."""
        ...


@frozen(eq=False)
class NodeSource:
    """A node in this process."""

    node: Node

    @property
    def counters(self) -> Counter[str]:
        """The node's."""
        return self.node.counters

    async def follow(
        self,
        service: str,
        deliver: Deliver,
        *,
        rule: FollowRule = ALONE,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """As `follow_node`."""
        await follow_node(self.node, service, deliver, rule=rule, task_status=task_status)


@frozen(eq=False)
class AgentSource:
    """An agent, asked with a token if there is one."""

    address: Address | SocketFile
    token: str | None = None
    tls: ssl.SSLContext | None = None  # for an agent that speaks HTTPS
    counters: Counter[str] = attrs.field(factory=Counter)

    async def follow(
        self,
        service: str,
        deliver: Deliver,
        *,
        rule: FollowRule = ALONE,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """As `follow_agent`."""
        await follow_agent(
            self.address, service, deliver, rule=rule, token=self.token, tls=self.tls, task_status=task_status
        )


async def follow_node(
    node: Node,
    service: str,
    deliver: Deliver,
    *,
    rule: FollowRule = ALONE,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Tell what ``node`` sees of ``service``, by that ``rule``, until the node closes.

    Starts when there is an instance, or when a node that joins had time enough to learn of one.
    """
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def start_soon_enough() -> None:
            with suppress(NodeClosed), trio.move_on_after(limits.JOIN_SECONDS):
                await node.wait_for(service)
            task_status.started()

        events: AsyncIterator[Sequence[Event]] = (
            node.regional_events(
                service, failover=rule.failover, threshold=rule.failover_threshold, tag=rule.tag, role=rule.role
            )
            if rule.failover
            else node.events(service, panic=rule.panic)
        )
        async for batch in events:
            deliver(batch)


async def follow_agent(
    address: Address | SocketFile,
    service: str,
    deliver: Deliver,
    *,
    rule: FollowRule = ALONE,
    token: str | None = None,
    tls: ssl.SSLContext | None = None,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Tell what the agent at ``address`` sees of ``service``, by that ``rule``, for ever.

    Starts when it has sent the current instances. Raises ``AgentUnreachable`` if it cannot be reached at first. When it
    goes away later, its last answer stays in force, and it is asked again until it answers.
    """
    seen, met, wait = InstanceTable(), False, limits.AGENT_WAIT_SECONDS
    while True:
        try:
            async with await AgentEvents.open(address, service, token, rule.query, tls=tls) as events:
                if met:
                    log.info("the agent at %s answers again", address)
                resumed = ResumedStream(seen)
                while True:
                    told = await _next(events, resumed)
                    seen.apply(told)
                    deliver(told)
                    wait = limits.AGENT_WAIT_SECONDS
                    if not met:
                        met = True
                        task_status.started()
        except AgentUnreachable as error:
            if not met:
                raise
            if wait == limits.AGENT_WAIT_SECONDS:
                log.warning("%s; its last answer stays in force until it answers again", error)
        await trio.sleep(wait)
        wait = min(2 * wait, limits.AGENT_WAIT_SECONDS_MAX)


async def _next(events: AgentEvents, resumed: ResumedStream) -> list[Event]:
    """The next events, or removals that are now believed. Raises ``AgentUnreachable``."""
    while True:
        with trio.move_on_at(min(events.heard_at + limits.AGENT_SILENCE_SECONDS, resumed.deadline)):
            return resumed.apply(await events.next(), trio.current_time())
        now = trio.current_time()
        if now >= events.heard_at + limits.AGENT_SILENCE_SECONDS:  # it may have sent keep-alives meanwhile
            raise AgentUnreachable(f"the agent at {events.address} is silent")
        if now >= resumed.deadline and (gone := resumed.expire_missing()):
            return gone


@attrs.define(eq=False, repr=False)
class ResumedStream:
    """What an agent tells on a new stream, set against what was ``seen`` before.

    An agent that was restarted begins with what it owns itself and learns the rest from the others. So what its first
    snapshot lacks is kept for a while, unless it says that it is gone.
    """

    seen: InstanceTable
    deadline: float = math.inf  # when `settle` is wanted
    _missing: dict[Key, Instance] = attrs.field(factory=dict)

    def apply(self, events: Iterable[Event], now: float) -> list[Event]:
        """The events, with what the first snapshot lacks added to it."""
        told: list[Event] = []
        for event in events:
            match event:
                case Snapshot():
                    there = {key_of(each) for each in event.instances}
                    missing = [each for each in self.seen.instances if key_of(each) not in there]
                    self._missing = {key_of(each): each for each in missing}
                    self.deadline = now + limits.AGENT_SETTLE_SECONDS if missing else math.inf
                    told.append(attrs.evolve(event, instances=(*event.instances, *missing)))
                case InstanceEvent():
                    self._missing.pop(key_of(event.instance), None)
                    told.append(event)
                case _:
                    told.append(event)
        return told

    def expire_missing(self) -> list[Event]:
        """The agent had its time: what it still does not know is gone."""
        gone: list[Event] = [InstanceEvent("removed", each) for each in self._missing.values()]
        self._missing, self.deadline = {}, math.inf
        return gone
