"""Running a balancer: from its ready line, through the signals it handles, to its last connection.

The command imports it when it runs: importing trio takes longer than all other commands take to run.
"""

from __future__ import annotations

import json
import logging
import os
import resource
import signal
import socket
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from functools import partial
from typing import Final

import attrs
import trio

from gossipreg.cli.client import AgentClient
from gossipreg.config import AgentConfig, Config
from gossipreg.frontends.proxy import Forward, Proxy, follow_agent, follow_node, serve_metrics
from gossipreg.model import Address, Event
from gossipreg.runtime import exposure_warnings
from gossipreg.runtime.node import Node
from gossipreg.runtime.opening import open_node
from gossipreg.runtime.supervision import start_restarting

_log = logging.getLogger("gossipreg.proxy")

#: The default bind address of an agent. A balancer often runs beside one, so for it that means any free port.
_AGENTS_BIND: Final = Config().bind

#: Descriptors for everything but connections: sockets to listen on, gossip, the agent, scrapes.
_OTHER_DESCRIPTORS: Final = 128


def run(forwards: Sequence[Forward], config: AgentConfig, agent: AgentClient | None, metrics: Address | None) -> None:
    """Run a balancer until it is told to stop, following ``agent``, or a node of its own if there is none.

    Raises ``BindError`` for a port, ``AgentUnreachable``, and what ``open_node`` raises, alone or in a group.
    """
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    trio.run(_serve, within(forwards, most), config, agent, metrics)


def within(forwards: Sequence[Forward], descriptors: int) -> Sequence[Forward]:
    """These ports, with no more connections than ``descriptors`` suffice for, two each.

    Callers beyond them wait in the kernel's queue. Were they accepted, no descriptor would be left to connect them
    further.
    """
    most = max(1, (descriptors - _OTHER_DESCRIPTORS) // 2 // len(forwards))
    if any(forward.connections_max > most for forward in forwards):
        _log.warning("%d descriptors: at most %d connections on each port (see ulimit -n)", descriptors, most)
    return [attrs.evolve(forward, connections_max=min(most, forward.connections_max)) for forward in forwards]


async def _serve(
    forwards: Sequence[Forward], config: AgentConfig, agent: AgentClient | None, metrics: Address | None
) -> None:
    proxies = [Proxy(forward) for forward in forwards]
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with AsyncExitStack() as stack:
            node = await stack.enter_async_context(open_node(_node_config(config, forwards))) if agent is None else None
            async with trio.open_nursery() as following:
                await _follow(proxies, node, agent, following)
                async with trio.open_nursery() as serving:
                    bound = [await serving.start(proxy.serve) for proxy in proxies]
                    if metrics is not None:
                        metrics = await following.start(serve_metrics, proxies, metrics)
                    _warn_of_exposure(bound, forwards, agent, metrics)
                    following.start_soon(_handle_signals, signals, proxies)
                    _print_ready(bound, forwards, node, agent, metrics, as_json=config.log_format == "json")
                following.cancel_scope.cancel()
    _log.info("done: %s", _total(proxies))


def _node_config(config: AgentConfig, forwards: Sequence[Forward]) -> AgentConfig:
    """The settings of the balancer's own node: beside an agent's on the same host, and of one name at each start."""
    port = forwards[0].listen.port
    name = config.name or (f"{socket.gethostname().split('.')[0]}-proxy-{port}" if port else None)
    bind = "127.0.0.1:0" if config.bind == _AGENTS_BIND else config.bind
    return attrs.evolve(config, name=name, bind=bind)


async def _follow(
    proxies: Sequence[Proxy], node: Node | None, agent: AgentClient | None, nursery: trio.Nursery
) -> None:
    """Follow each service once, at each threshold; returns when every snapshot has been applied."""

    def tell(service: str, panic: float, events: Sequence[Event]) -> None:
        for proxy in proxies:
            if (proxy.forward.service, proxy.forward.panic_threshold) == (service, panic):
                proxy.apply(events)

    async with trio.open_nursery() as starting:
        for service, panic in dict.fromkeys((each.forward.service, each.forward.panic_threshold) for each in proxies):
            told = partial(tell, service, panic)
            if node is not None:
                follow = partial(follow_node, node, service, told, panic=panic)
                counters = node.counters
            else:
                assert agent is not None, "there is no node, so there is an agent"
                follow = partial(follow_agent, agent.address, service, told, panic=panic, token=agent.token)
                counters = Counter()
            starting.start_soon(nursery.start, start_restarting, counters, f"following {service}", follow)


def _warn_of_exposure(
    bound: Sequence[Address], forwards: Sequence[Forward], agent: AgentClient | None, metrics: Address | None
) -> None:
    """Warn about listeners beyond this machine, and about a token that leaves it."""
    ports = zip(bound, forwards, strict=True)
    exposed = [exposure_warnings.balancer_warning(address, forward.service) for address, forward in ports]
    exposed.append(None if metrics is None else exposure_warnings.metrics_warning(metrics))
    exposed.append(None if agent is None or agent.token is None else exposure_warnings.token_warning(agent.address))
    for sentence in exposed:
        if sentence is not None:
            _log.warning("%s", sentence)


async def _handle_signals(signals: AsyncIterator[int], proxies: Sequence[Proxy]) -> None:
    """Let the connections end at the first signal; end the process at once at one that comes meanwhile."""
    told = False
    async for number in signals:
        name = signal.Signals(number).name
        if told:
            _log.warning("%s while connections end: stopping at once", name)
            os._exit(1)
        told = True
        _log.info("%s: accepting no more, %d connections to end", name, sum(proxy.open for proxy in proxies))
        for proxy in proxies:
            proxy.stop()


def _total(proxies: Sequence[Proxy]) -> str:
    total: Counter[str] = Counter()
    for proxy in proxies:
        total.update(proxy.counters)
    return ", ".join(f"{name} {count}" for name, count in sorted(total.items())) or "no connections"


def _print_ready(
    bound: Sequence[Address],
    forwards: Sequence[Forward],
    node: Node | None,
    agent: AgentClient | None,
    metrics: Address | None,
    *,
    as_json: bool,
) -> None:
    """Write the ready line to standard output, for the program that started the balancer."""
    ports = [(str(address), forward.service) for address, forward in zip(bound, forwards, strict=True)]
    if as_json:
        ready = {
            "ready": True,
            "forwards": [{"listen": address, "service": service} for address, service in ports],
            "agent": None if agent is None else str(agent.address),
            "name": None if node is None else node.name,
            "gossip": None if node is None else str(node.address),
            "metrics": None if metrics is None else str(metrics),
        }
        print(json.dumps(ready), flush=True)
    else:
        if agent is None:
            assert node is not None, "there is no agent, so there is a node"
            way = f"as member {node.name} at {node.address}"
        else:
            way = f"by the agent at {agent.address}"
        shown = f", metrics {metrics}" if metrics is not None else ""
        print(f"gossipreg proxy ready: {', '.join(f'{a} to {s}' for a, s in ports)}, {way}{shown}", flush=True)
