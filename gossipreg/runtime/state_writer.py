"""State writer: keeps the data directory up to date with what changes by itself: identity, peers and ttl checks."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import attrs
import trio

from gossipreg.errors import StorageError
from gossipreg.model import Address
from gossipreg.runtime.checks.monitor import Monitor
from gossipreg.runtime.checks.ttl_state import pack
from gossipreg.runtime.node_context import NodeContext

if TYPE_CHECKING:
    from gossipreg.runtime.state_store import AsyncStateStore  # a node without a data directory does not load it

log = logging.getLogger(__name__)

#: Peers that are remembered over a restart; any one of them leads to all.
_PEERS_MAX = 64

#: Time between looks at whether the remembered peers are still right (seconds).
_PEERS_INTERVAL = 5.0

#: Time between two looks at the disk of the data directory (seconds): a call to the system, in a thread. A person who
#: watches is told within two seconds what is wrong with it.
_DISK_INTERVAL = 1.0

#: Time between two writes of the state of ttl checks (seconds): heartbeats of many services share one sync of the disk.
_CHECKS_INTERVAL = 0.5

#: How far the index on disk is ahead of the view's: many times what a node could use up between two looks at it,
#: and as much as a generation is given for a second, so that a restart need not be later than its clock for it.
_INDEXES_AHEAD = 1_000_000


@attrs.define(eq=False, repr=False)
class StateWriter:
    """Writes for one node. A full disk must stop neither its start nor its service, so it is only logged, once."""

    _context: NodeContext
    _monitor: Monitor
    _store: AsyncStateStore
    _is_stored: Callable[[str], bool]  # whether the instance of an id is: the state of its checks goes with it
    _stored_index: int = attrs.field(init=False, default=0)  # below 0: the last write failed

    async def store_identity(self) -> None:
        """Store the identity, and an index that no lookup has been given yet, nor will be for a while."""
        context = self._context
        index = max(context.engine.view.highest, context.change_log.position)
        if index + _INDEXES_AHEAD // 2 < self._stored_index:
            return
        try:
            await self._store.set_identity(context.name, context.engine.identity.born, index + _INDEXES_AHEAD)
        except StorageError as error:
            if self._stored_index >= 0:
                log.warning("the node's generation is not stored on disk: %s", error)
            self._stored_index = -1
        else:
            self._stored_index = index + _INDEXES_AHEAD

    async def keep_identity_stored(self) -> None:
        """Keep the index on disk ahead of the indexes that lookups are given, and look at the disk, until cancelled.

        After a write that failed there is one each time: what else would be written may be hours away.
        """
        while True:
            due = trio.current_time() + _PEERS_INTERVAL
            while (left := due - trio.current_time()) > 0:
                await self._store.look_at_disk()
                await trio.sleep(min(left, _DISK_INTERVAL))
            if self._store.problem:
                self._stored_index = min(0, self._stored_index)
            await self.store_identity()

    async def keep_peers_stored(self) -> None:
        """Store the addresses of present members, so that a restart finds back without its seeds; until cancelled."""
        stored: list[Address] = []
        failing = False
        while True:
            await trio.sleep(_PEERS_INTERVAL)
            peers = sorted(self._context.engine.members.present_addresses())[:_PEERS_MAX]
            if not peers or peers == stored:
                continue
            try:
                await self._store.set_peers(peers)
            except StorageError as error:
                if not failing:
                    log.warning("the peers are not stored on disk: %s", error)
                failing = True
            else:
                stored, failing = peers, False

    async def keep_checks_stored(self) -> None:
        """Store the state of ttl checks soon after it changes, until cancelled: no heartbeat waits for the disk."""
        failing = False
        while True:
            await self._monitor.wait_unkept()
            failing = await self.store_checks(quietly=failing)
            await trio.sleep(_CHECKS_INTERVAL)

    async def store_checks(self, *, quietly: bool) -> bool:
        """Store the state of those ttl checks that have changed. Returns whether that failed."""
        unkept = {id_: states for id_, states in self._monitor.take_unkept().items() if self._is_stored(id_)}
        if not unkept:
            return False
        offset = time.time() - trio.current_time()
        try:
            await self._store.put_checks({id_: pack(states, offset) for id_, states in unkept.items()})
        except StorageError as error:
            if not quietly:
                log.warning("the state of ttl checks is not stored on disk: %s", error)
            self._monitor.not_kept(unkept)
            return True
        return False
