"""Restored instances: what an earlier run of the node registered, registered again at its start.

A row that cannot be read is set aside: today's checks refuse it, or no version could ever read it. One that can be read
stays on disk whatever comes of it: a limit that it exceeds today, with all that is there beside it, says nothing about
tomorrow, and a bug is mended one day.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager

import trio

from gossipreg.errors import GossipregError
from gossipreg.protocol.registry.payload import BadPayload
from gossipreg.runtime.checks.ttl_state import UnusableTtlState, unpack
from gossipreg.runtime.node_context import NodeContext
from gossipreg.runtime.registrar import Registrar
from gossipreg.runtime.registrations import LocalRegistration
from gossipreg.runtime.saved_state import CHECKS, INSTANCE, Place, SavedState
from gossipreg.runtime.supervision import is_broken_invariant, log_bug

log = logging.getLogger(__name__)


def restore_instances(context: NodeContext, registrar: Registrar, saved: SavedState) -> list[Place]:
    """Register again what was saved; what files defined, only once they do so again.

    Returns the rows that cannot be read, now or ever, so that they can be set aside.
    """
    unusable = [(CHECKS, id_) for id_ in saved.checks if id_ not in saved.instances]
    again: dict[str, LocalRegistration] = {}
    for id_, body in saved.instances.items():
        with _going_on(context, registrar, id_):
            try:
                registration = LocalRegistration.unpack(body, id=id_, owner=context.name)
            except (GossipregError, BadPayload) as flaw:
                log.warning("instance %s is not registered again: %s", id_, flaw)
                unusable.append((INSTANCE, id_))
                continue
            if id_ in saved.checks and not _recall_checks(registrar, registration, saved.checks[id_]):
                unusable.append((CHECKS, id_))
            (registrar.not_defined_yet if registration.defined else again)[id_] = registration
    try:
        registrar.publish(again)
    except Exception as error:
        if is_broken_invariant(error):
            raise
        for id_, registration in again.items():
            with _going_on(context, registrar, id_):
                registrar.publish({id_: registration})
    return unusable


@contextmanager
def _going_on(context: NodeContext, registrar: Registrar, id: str) -> Iterator[None]:
    """Have an instance that is refused now, or meets a bug, not registered; its row stays where it is."""
    try:
        yield
    except GossipregError as error:
        registrar.monitor.forget_recalled(id)
        log.warning("instance %s is not registered for now, and is tried at the next start: %s", id, error)
    except Exception as error:  # noqa: BLE001 - it is logged, and raised if the engine cannot be relied on
        registrar.monitor.forget_recalled(id)
        log_bug(context.counters, f"registering instance {id} again", error)


def _recall_checks(registrar: Registrar, registration: LocalRegistration, body: bytes) -> bool:
    """Have ttl checks go on from their stored state; False if that cannot be read."""
    id_, now = registration.instance.id, trio.current_time()
    try:
        registrar.monitor.recall(id_, unpack(body, registration.checks, now, time.time() - now))
    except UnusableTtlState as flaw:
        log.warning("the ttl checks of instance %s begin anew: %s", id_, flaw)
        return False
    return True
