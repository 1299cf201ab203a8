"""Node info: a node's description of itself, gathered from its parts."""

from __future__ import annotations

from collections import Counter
from typing import Final

import trio

from gossipreg import __version__
from gossipreg.counters import Count
from gossipreg.model import NODE_SERVICE, Status
from gossipreg.node_info import NodeInfo
from gossipreg.runtime.diagnostics import path_states, problems_of
from gossipreg.runtime.lifecycle import NodeLifecycle
from gossipreg.runtime.node_context import NodeContext
from gossipreg.runtime.node_record import stated_regions

#: Members that one sentence names; of the others it gives the number.
_NAMED_MAX: Final = 8

#: The name of every counter: the info is read often, and iterating over an enum is slow.
_COUNTS: Final = tuple(map(str, Count))


def node_info(lifecycle: NodeLifecycle) -> NodeInfo:
    """Describe the node of ``lifecycle``."""
    context, engine, now = lifecycle.context, lifecycle.context.engine, trio.current_time()
    identity, members, services = engine.identity, context.catalog.members(), context.catalog.services()
    by_status = Counter(str(member.status) for member in members)
    return NodeInfo(
        name=identity.name,
        version=__version__,
        cluster=context.cluster,
        region=context.region,
        address=identity.address,
        generation=identity.generation,
        incarnation=identity.incarnation,
        zone=identity.zone,
        local_health=engine.local_health,
        isolated=engine.isolation.reported,
        silence=engine.isolation.silence(now),
        reachable=engine.members.reachable,
        forgotten=sum(1 for update in engine.members.snapshot() if update.is_forgotten),
        joined=identity.announced,
        join_failures=context.driver.join_report.failures,
        draining=identity.draining or identity.left,
        leaving=lifecycle.leaving,
        fingerprint=engine.fingerprint,
        members={str(status): by_status[str(status)] for status in Status},
        services=len(services),
        instances=sum(count.instances for count in services.values()),
        serving_last_known=bool(engine.view.recalled),
        counters={name: context.counters[name] for name in _COUNTS},
        paths=path_states(engine),
        clock_skew=engine.clocks.skew(now),
        send_errors=dict(sorted(context.driver.datagrams.errors.counts.items())),
        name_conflict=identity.conflict,
        problems=problems(lifecycle),
        warnings=tuple(lifecycle.warnings),
    )


def problems(lifecycle: NodeLifecycle) -> tuple[str, ...]:
    """What is wrong with the node of ``lifecycle``, or between it and its peers, a sentence each."""
    now = trio.current_time()
    address, errors = lifecycle.advertised_address, lifecycle.context.driver.datagrams.errors
    context = lifecycle.context
    store = context.store
    failed = {each.address for each in context.engine.members.snapshot() if each.status is Status.FAILED}
    local = [
        None if store is None else store.problem,
        None if address is None else address.problem,
        errors.problem(failed),
    ]
    return (
        *(problem for problem in local if problem),
        *lifecycle.keyring.problems,
        *lifecycle.identity.problems,
        *_mixed_regions(lifecycle.context),
        *_stale_cells(lifecycle.context),
        *_stale_regions(lifecycle.context),
        *problems_of(lifecycle.context.engine, now),
    )


def _stale_cells(context: NodeContext) -> tuple[str, ...]:
    """That nothing new is known of other cells of the region."""
    return tuple(
        f"nothing is known of the cell {each.name}: none of its members answers"
        if each.age is None
        else f"the cell {each.name} was last heard {each.age:.0f} s ago: what it has registered is shown as stale"
        for each in context.catalog.cells()
        if each.stale
    )


def _stale_regions(context: NodeContext) -> tuple[str, ...]:
    """That nothing new is known of regions that this node follows."""
    infos = () if context.regions is None else context.regions.infos()
    return tuple(
        f"nothing is known of the region {each.name}: {each.problem}"
        if each.age is None
        else f"the region {each.name} was last confirmed {each.age:.0f} s ago, and is shown as stale: {each.problem}"
        for each in infos
        if each.stale
    )


def _mixed_regions(context: NodeContext) -> tuple[str, ...]:
    """That present members state another region than this node, if any do. One that states none has the cluster's name.

    A region is a whole cluster. Clients are told by each agent that its own region is that of all instances, so agents
    that differ contradict each other.
    """
    engine = context.engine
    stated = stated_regions(engine.view.service(NODE_SERVICE).instances)
    if not stated:
        return ()
    present = [each.name for each in engine.members.snapshot() if each.status.is_present and each.name != context.name]
    others = {name: region for name in present if (region := stated.get(name, context.cluster)) != context.region}
    if not others:
        return ()
    named = ", ".join(f"{name} {others[name]!r}" for name in sorted(others)[:_NAMED_MAX])
    more = f" and {len(others) - _NAMED_MAX} more" if len(others) > _NAMED_MAX else ""
    return (f"this node's region is {context.region!r}, that of {named}{more}: give all nodes of a cluster one region",)
