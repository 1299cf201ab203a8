"""Node context: what all parts of one running node share, and whether the node is still open."""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING

import attrs
import trio

from gossipreg.errors import GossipregError, NodeClosed, UnknownRegion
from gossipreg.protocol.engine import Engine
from gossipreg.runtime.catalog import Catalog
from gossipreg.runtime.change_log import ChangeLog
from gossipreg.runtime.driver import Driver
from gossipreg.runtime.regions.failover import Failovers

if TYPE_CHECKING:
    from gossipreg.runtime.regions.regions import Regions
    from gossipreg.runtime.state_store import AsyncStateStore


@attrs.define(eq=False, repr=False)
class NodeContext:
    """One engine with its driver, its change log, its counters and, if it has a data directory, its store."""

    cluster: str
    engine: Engine
    driver: Driver
    change_log: ChangeLog
    counters: Counter[str]
    store: AsyncStateStore | None  # None: nothing is kept on disk
    region: str  # the cluster's, by name
    regions: Regions | None = None  # that are followed, if any are
    failure: GossipregError | None = None  # what closed the node, if that was an error
    has_ended: bool = attrs.field(init=False, default=False)  # the node is closed; a read looks at nothing else
    catalog: Catalog = attrs.field(init=False)
    failovers: Failovers = attrs.field(init=False)
    _closed: trio.Event = attrs.field(init=False, factory=trio.Event)

    def __attrs_post_init__(self) -> None:
        self.catalog = Catalog(self.engine, trio.lowlevel.current_clock().current_time)
        self.failovers = Failovers(time.monotonic, self.counters)

    @property
    def name(self) -> str:
        """The member's name."""
        return self.engine.identity.name

    @property
    def is_closed(self) -> bool:
        """Whether the node is closed."""
        return self._closed.is_set()

    def check_open(self) -> None:
        """Raise ``NodeClosed``, or what closed the node, once it is closed."""
        if self.failure is not None:
            raise self.failure
        if self.is_closed:
            raise NodeClosed(f"node {self.name!r} is closed: open a new one")

    def following(self, region: str) -> Regions:
        """The regions that are followed, of which ``region`` may be one. Raises ``UnknownRegion``, ``NodeClosed``."""
        if self.has_ended:
            self.check_open()
        if self.regions is None:
            raise UnknownRegion(
                f"no region {region!r} is known here: this node is in {self.region!r} and follows no other"
            )
        return self.regions

    def close(self, failure: GossipregError | None = None) -> None:
        """Stop at once, without telling any peer. Idempotent."""
        if not self.is_closed:
            self.failure = failure
            self.has_ended = True
            self._closed.set()
            self.change_log.close()
            if self.regions is not None:
                self.regions.close()
            self.driver.nursery.cancel_scope.cancel()

    async def wait_closed(self) -> None:
        """Return when the node is closed; raises what closed it, if that was an error."""
        await self._closed.wait()
        if self.failure is not None:
            raise self.failure
