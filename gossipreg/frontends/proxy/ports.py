"""Ports of the balancer: opened, changed and closed while connections go on."""

from __future__ import annotations

import logging
import socket
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import chain

import attrs
import trio

from gossipreg.events import Event
from gossipreg.frontends.proxy.follow import FollowRule, Source
from gossipreg.frontends.proxy.listeners import OwnAddresses
from gossipreg.frontends.proxy.proxy import Proxy
from gossipreg.frontends.proxy.settings import Forward
from gossipreg.model import Address
from gossipreg.runtime.supervision import start_restarting

log = logging.getLogger(__name__)


@attrs.define(eq=False, repr=False)
class Ports:
    """The ports that are open, each with its proxy. Those that are opened together follow the registry together."""

    _source: Source
    _nursery: trio.Nursery  # in which they serve
    proxies: list[Proxy] = attrs.field(init=False, factory=list)  # those that accept connections
    _stopped: list[Proxy] = attrs.field(init=False, factory=list)  # those that do no longer
    _own: OwnAddresses = attrs.field(init=False, factory=OwnAddresses)
    _counters: dict[tuple[Address, str, int], Counter[str]] = attrs.field(init=False, factory=dict)

    @property
    def connections(self) -> int:
        """How many connections are open."""
        return sum(proxy.open for proxy in (*self.proxies, *self._stopped))

    async def open(
        self, forwards: Sequence[Forward], handed_over: dict[Address, list[socket.socket]] | None = None
    ) -> list[Address]:
        """Open these ports, with the sockets of ``handed_over`` that are theirs, which are taken from it.

        Returns where they listen, once each service is known. Raises ``BindError`` and ``AgentUnreachable``, alone or
        in a group; then none of them is open.
        """
        proxies = [Proxy(each, counters_of=self._counters_of(each), own=self._own) for each in forwards]
        taken = [(handed_over or {}).pop(forward.listen, None) for forward in forwards]
        bound: list[Address] = await self._nursery.start(self._serve, proxies, taken)
        return bound

    def _counters_of(self, forward: Forward) -> Callable[[str], Counter[str]]:
        """What a port counts of each service, and goes on counting when its settings change."""
        distinction = 0 if forward.listen.port else len(self._counters)

        def of(service: str) -> Counter[str]:
            return self._counters.setdefault((forward.listen, service, distinction), Counter())

        return of

    async def replace(self, forwards: Sequence[Forward]) -> list[tuple[Address, Forward]]:
        """Have these ports open, and no others; returns those that are opened or changed, each with its address.

        One that stays as it is goes on. One with other settings gets them for its next connection; the socket stays
        open, so no caller is refused. Raises as `open` does, and then all is as it was.
        """
        stays = [proxy for proxy in self.proxies if proxy.forward in forwards]
        kept = [proxy.forward for proxy in stays]
        wanted = [forward for forward in forwards if forward not in kept]
        goes = [proxy for proxy in self.proxies if proxy not in stays]
        by_address = {proxy.forward.listen: proxy for proxy in goes if proxy.forward.listen.port}
        handed_over: dict[Address, list[socket.socket]] = {
            forward.listen: by_address[forward.listen].duplicate_listeners()
            for forward in wanted
            if forward.listen in by_address
        }
        try:
            bound = await self.open(wanted, handed_over) if wanted else []
        finally:
            for left in handed_over.values():  # it failed before they were taken
                for each in left:
                    each.close()
        self._stopped = [proxy for proxy in self._stopped if proxy.open]
        for proxy in goes:
            proxy.stop(is_replaced=proxy.forward.listen in {forward.listen for forward in wanted})
            self.proxies.remove(proxy)
            self._stopped.append(proxy)
        log.info(
            "read the ports again: %d opened or changed, %d closed or changed, %d as before",
            len(wanted),
            len(goes),
            len(kept),
        )
        return list(zip(bound, wanted, strict=True))

    @contextmanager
    def listeners_for_another(self) -> Iterator[dict[Address, list[socket.socket]]]:
        """Duplicates of the listening sockets, by the address that a port was given, for as long as the block.

        A port that took any free address is not among them: the other process could not tell which of its own it is.
        """
        given = {
            proxy.forward.listen: proxy.duplicate_listeners() for proxy in self.proxies if proxy.forward.listen.port
        }
        try:
            yield given
        finally:
            for each in chain.from_iterable(given.values()):
                each.close()

    def hand_over(self) -> None:
        """Accept no more: another process has the same sockets, and the callers that wait are its.

        The connections that are open have the drain time to end, as after `stop`.
        """
        for proxy in self.proxies:
            proxy.stop(is_replaced=proxy.forward.listen.port != 0)
            proxy.drain()
        for proxy in self._stopped:
            proxy.drain()

    def stop(self) -> None:
        """Accept no more at any port."""
        for proxy in self.proxies:
            proxy.stop()
        for proxy in self._stopped:
            proxy.drain()

    def total(self) -> str:
        """What was counted, in words."""
        total = sum(self._counters.values(), Counter())
        return ", ".join(f"{name} {count}" for name, count in sorted(total.items())) or "no connections"

    async def _serve(
        self,
        proxies: Sequence[Proxy],
        sockets: Sequence[list[socket.socket] | None],
        *,
        task_status: trio.TaskStatus[list[Address]] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        try:
            async with trio.open_nursery() as following:
                await self._follow(proxies, following)
                async with trio.open_nursery() as serving:
                    bound = []
                    for proxy, given in zip(proxies, sockets, strict=True):
                        listeners = None if given is None else [trio.socket.from_stdlib_socket(each) for each in given]
                        bound.append(await serving.start(proxy.serve, listeners))
                    self.proxies += proxies
                    task_status.started(bound)
                following.cancel_scope.cancel()
        finally:
            for each in chain.from_iterable(filter(None, sockets)):
                each.close()

    async def _follow(self, proxies: Sequence[Proxy], nursery: trio.Nursery) -> None:
        """Follow each service once, by each rule; returns when every snapshot has been applied."""

        def tell(service: str, rule: FollowRule, events: Sequence[Event]) -> None:
            for proxy in proxies:
                if service in proxy.upstreams and FollowRule.of(proxy.forward) == rule:
                    proxy.apply(events, service)

        followed = dict.fromkeys(
            (service, FollowRule.of(proxy.forward)) for proxy in proxies for service in proxy.upstreams
        )
        async with trio.open_nursery() as starting:
            for service, rule in followed:
                follow = partial(self._source.follow, service, partial(tell, service, rule), rule=rule)
                counters = self._source.counters
                starting.start_soon(nursery.start, start_restarting, counters, f"following {service}", follow)
