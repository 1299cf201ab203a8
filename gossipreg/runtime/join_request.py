"""Join request: a user has a running node join others, each once; the outcome at each seed is told.

Unlike the seeds of the configuration, these are tried once, and not again later (docs/decisions/0059).
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from contextlib import suppress

import attrs
import trio

from gossipreg import limits
from gossipreg.config import read_seeds
from gossipreg.errors import GossipregError, JoinFailed
from gossipreg.model import Address
from gossipreg.node_info import JoinFailure, JoinResult
from gossipreg.runtime.joining import JoinAttempt, JoinFailureReason, UnresolvedSeed, addresses_of
from gossipreg.runtime.node_context import NodeContext

log = logging.getLogger(__name__)

_FAMILIES = {True: "IPv6", False: "IPv4"}


@attrs.define(eq=False, repr=False)
class JoinRequester:
    """The joins that a user requests of one node."""

    context: NodeContext
    _slots: trio.CapacityLimiter = attrs.field(factory=lambda: trio.CapacityLimiter(limits.JOIN_SEEDS_MAX))

    async def join(self, seeds: str | Iterable[str]) -> JoinResult:
        """Join ``seeds``. See `Node.join`."""
        names = tuple(dict.fromkeys(read_seeds(seeds)))
        context = self.context
        context.check_open()
        unfinished = JoinFailureReason.UNFINISHED
        outcomes: dict[str, JoinFailure | None] = {name: self._failure(name, unfinished) for name in names}

        async def join_one(name: str) -> None:
            outcomes[name] = await self._outcome(name)

        with trio.move_on_after(limits.JOIN_REQUEST_SECONDS):
            async with trio.open_nursery() as waiter:

                async def end_with_the_node() -> None:
                    with suppress(GossipregError):  # raised again below
                        await context.wait_closed()
                    waiter.cancel_scope.cancel()

                waiter.start_soon(end_with_the_node)
                async with trio.open_nursery() as nursery:
                    for name in names:
                        nursery.start_soon(join_one, name)
                waiter.cancel_scope.cancel()
        context.check_open()
        result = JoinResult(
            tuple(name for name, failure in outcomes.items() if failure is None),
            tuple(failure for failure in outcomes.values() if failure is not None),
        )
        why = "; ".join(f"{each.seed}: {each.detail}" for each in result.failures)
        if not result.joined:
            raise JoinFailed(f"not joined: {why}")
        log.info("joined %s on request%s", ", ".join(result.joined), f"; not joined: {why}" if why else "")
        return result

    async def _outcome(self, name: str) -> JoinFailure | None:
        """Join the members at each address of one seed; None if one of them was joined."""
        try:
            addresses = await addresses_of(name)
        except UnresolvedSeed as error:
            return JoinFailure(name, JoinFailureReason.UNRESOLVED, f"its name does not resolve: {error}")
        ipv6 = ":" in self.context.engine.identity.address.host
        usable = [each for each in dict.fromkeys(addresses) if (":" in each.host) == ipv6][: limits.JOIN_SEEDS_MAX]
        if not usable:
            detail = f"it has no {_FAMILIES[ipv6]} address, and this node has no other"
            return JoinFailure(name, JoinFailureReason.UNREACHABLE, detail)
        attempts: dict[Address, JoinAttempt] = {}

        async def attempt(address: Address) -> None:
            async with self._slots:
                if not self.context.engine.identity.left:
                    attempts[address] = self._begin(address)
                    await attempts[address].ended.wait()

        async with trio.open_nursery() as nursery:
            for address in usable:
                nursery.start_soon(attempt, address)
        if any(map(_is_joined, attempts.values())):
            return None
        failed = next((each.failure for each in attempts.values() if each.failure is not None), None)
        return self._failure(name, JoinFailureReason.BROKEN) if failed is None else JoinFailure(name, *failed)

    def _begin(self, address: Address) -> JoinAttempt:
        driver = self.context.driver
        attempt = driver.join_report.attempt(address)
        driver.say(self.context.engine.join([address], trio.current_time()))
        return attempt

    def _failure(self, name: str, reason: JoinFailureReason) -> JoinFailure:
        return JoinFailure(name, reason, self.context.driver.join_report.sentence(reason))


def _is_joined(attempt: JoinAttempt) -> bool:
    """Whether the states were compared, or the address is this node's own under another name."""
    return attempt.compared or (attempt.failure is not None and attempt.failure[0] is JoinFailureReason.ITSELF)
