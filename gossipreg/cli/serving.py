"""Knows how an agent runs: from its ready line, through the signals it obeys, to its goodbye.

Imported by the command that needs it, when it does: trio takes longer to import than all other commands take to run.
"""

from __future__ import annotations

import json
import logging
import os
import signal
from collections.abc import AsyncIterator
from functools import partial

import trio

from gossipreg.config import AgentConfig
from gossipreg.model import Address
from gossipreg.runtime.node import Node
from gossipreg.runtime.opening import open_node

_log = logging.getLogger("gossipreg.agent")


def run(config: AgentConfig) -> None:
    """Run an agent until it has left the cluster.

    Raises what ``open_node`` raises, and ``BindError`` for a door's address, alone or in an ``ExceptionGroup``.
    """
    trio.run(_serve, config)


async def _serve(config: AgentConfig) -> None:
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with open_node(config) as node, trio.open_nursery() as nursery:
            leave = trio.Event()
            nursery.start_soon(_leave_when_told, node, leave)
            nursery.start_soon(_obey, signals, leave)
            http = None if config.http == "off" else await _open_http(node, Address.parse(config.http), leave, nursery)
            dns = None if config.dns == "off" else await _open_dns(node, config, nursery)
            _announce(node, http, dns, as_json=config.log_format == "json")
            await node.wait_closed()
            nursery.cancel_scope.cancel()


async def _obey(signals: AsyncIterator[int], leave: trio.Event) -> None:
    """The first signal asks the node to leave; one that comes while it leaves ends the process there and then.

    That is as safe as being killed, which an agent must survive anyway: what it keeps on disk is whole at all times.
    """
    async for number in signals:
        name = signal.Signals(number).name
        if leave.is_set():
            _log.warning("%s while leaving: stopping at once", name)
            os._exit(1)
        _log.info("%s: leaving", name)
        leave.set()


async def _leave_when_told(node: Node, leave: trio.Event) -> None:
    await leave.wait()
    await node.leave()


async def _open_http(node: Node, asked: Address, leave: trio.Event, nursery: trio.Nursery) -> Address:
    """Open the HTTP door; the address that it got."""
    from gossipreg.doors.http import serve_http  # an agent with `--http off` does without

    def leave_when_asked() -> None:
        _log.info("asked over HTTP: leaving")
        leave.set()

    async def serve(*, task_status: trio.TaskStatus[Address]) -> None:
        await serve_http(node, asked, leave=leave_when_asked, task_status=task_status)

    got: Address = await nursery.start(serve)
    return got


async def _open_dns(node: Node, config: AgentConfig, nursery: trio.Nursery) -> Address:
    """Open the DNS door; the address that it got."""
    from gossipreg.doors.dns import serve_dns  # an agent with `--dns off` does without

    serve = partial(
        serve_dns,
        node,
        Address.parse(config.dns),
        domains=config.dns_domain,
        ttl=config.dns_ttl,
        counters=node.counters,
    )
    got: Address = await nursery.start(serve)
    return got


def _announce(node: Node, http: Address | None, dns: Address | None, *, as_json: bool) -> None:
    """Say on standard output that the agent is ready, for whoever started it to read."""
    if as_json:
        ready = {
            "ready": True,
            "name": node.name,
            "gossip": str(node.address),
            "http": None if http is None else str(http),
            "dns": None if dns is None else str(dns),
            "cluster": node.cluster,
        }
        print(json.dumps(ready), flush=True)
    else:
        where = f"gossip {node.address}, http {http or 'off'}, dns {dns or 'off'}, cluster {node.cluster}"
        print(f"gossipreg agent {node.name} ready: {where}", flush=True)
