"""Running a balancer: from its ready line, through the signals it handles, to its last connection.

The command imports it when it runs: importing trio takes longer than all other commands take to run.
"""

from __future__ import annotations

import json
import logging
import os
import resource
import socket
from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import Final

import attrs
import trio

from gossipreg.agent_config import AgentConfig
from gossipreg.cli.client import AgentClient
from gossipreg.cli.proxy_signals import HANDLED, Reload, Signals
from gossipreg.cli.service_manager import ServiceManager
from gossipreg.config import Config
from gossipreg.frontends.proxy import Forward, Ports, open_metrics, serve_metrics
from gossipreg.frontends.proxy.follow import AgentSource, NodeSource, Source
from gossipreg.frontends.proxy.listeners import take_handed_over
from gossipreg.frontends.proxy.succession import Inheritance
from gossipreg.limits import NAME_CHARS_MAX
from gossipreg.model import Address
from gossipreg.runtime import exposure_warnings
from gossipreg.runtime.node import Node
from gossipreg.runtime.opening import open_node

_log = logging.getLogger("gossipreg.proxy")

#: The default bind address of an agent. A balancer often runs beside one, so for it that means any free port.
_AGENTS_BIND: Final = Config().bind

#: Descriptors for everything but connections: sockets to listen on, gossip, the agent, scrapes.
_OTHER_DESCRIPTORS: Final = 128


def run(
    forwards: Sequence[Forward],
    config: AgentConfig,
    agent: AgentClient | None,
    metrics: Address | None,
    reload: Reload | None = None,
) -> None:
    """Run a balancer until it is told to stop, following ``agent``, or a node of its own if there is none.

    On SIGHUP ``reload`` says which ports there are from now on, on SIGUSR2 a new process takes over. Raises
    ``BindError`` for a port, ``AgentUnreachable``, and what ``open_node`` raises, alone or in a group.
    """
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    again = None if reload is None else lambda: within(reload(), most)
    trio.run(_serve, within(forwards, most), config, agent, metrics, again)


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
    forwards: Sequence[Forward],
    config: AgentConfig,
    agent: AgentClient | None,
    metrics: Address | None,
    reload: Reload | None,
) -> None:
    inherited = Inheritance.taken(os.environ)
    handed_over = inherited.listeners or take_handed_over(os.environ)
    manager = ServiceManager.of(os.environ, os.getpid(), is_successor=inherited.is_successor)
    with trio.open_signal_receiver(*HANDLED) as signals:
        async with AsyncExitStack() as stack:
            own = _node_config(config, forwards, is_successor=inherited.is_successor)
            node = await stack.enter_async_context(open_node(own)) if agent is None else None
            async with trio.open_nursery() as nursery:
                async with trio.open_nursery() as serving:
                    ports = Ports(_source(node, agent), serving)
                    handling = Signals(ports, reload, _warn_of_ports, manager)
                    nursery.start_soon(handling.handle, signals)
                    nursery.start_soon(manager.keep_informed)
                    with handling.starting:
                        bound = await ports.open(forwards, handed_over)
                        for address, sockets in handed_over.items():
                            _log.warning("the socket at %s was handed over and leads nowhere: no port has it", address)
                            for each in sockets:
                                each.close()
                        if metrics is not None:
                            handling.metrics = await _metrics_listeners(metrics, inherited)
                            metrics = await nursery.start(_serve_metrics, handling, metrics)
                        _warn_of_exposure(bound, forwards, agent, metrics)
                        handling.started.set()
                        _print_ready(bound, forwards, node, agent, metrics, as_json=config.log_format == "json")
                        inherited.tell_ready()
                        manager.ready(_ports(bound, forwards))
                nursery.cancel_scope.cancel()
    _log.info("done: %s", ports.total())


async def _metrics_listeners(address: Address, inherited: Inheritance) -> Sequence[trio.SocketListener]:
    if inherited.metrics and address.port in {each.getsockname()[1] for each in inherited.metrics}:
        return [trio.SocketListener(trio.socket.from_stdlib_socket(each)) for each in inherited.metrics]
    for each in inherited.metrics:
        each.close()
    return await open_metrics(address)


async def _serve_metrics(
    handling: Signals, address: Address, *, task_status: trio.TaskStatus[Address] = trio.TASK_STATUS_IGNORED
) -> None:
    """Serve them until the balancer ends, or another process has taken over."""
    with handling.metrics_scope:
        await serve_metrics(handling.ports.proxies, address, handling.metrics, task_status=task_status)


def _source(node: Node | None, agent: AgentClient | None) -> Source:
    """Where the instances come from."""
    if node is not None:
        return NodeSource(node)
    assert agent is not None, "there is no node, so there is an agent"
    if not agent.is_tls:
        return AgentSource(agent.address, agent.token)
    from gossipreg.cli.client_tls import client_context

    return AgentSource(agent.address, agent.token, client_context())


def _node_config(config: AgentConfig, forwards: Sequence[Forward], *, is_successor: bool) -> AgentConfig:
    """The settings of the balancer's own node: beside an agent's on the same host, and of one name at each start.

    A successor has another name: the member that it follows has not left yet.
    """
    port = forwards[0].listen.port
    name = config.name or (f"{socket.gethostname().split('.')[0]}-proxy-{port}" if port else None)
    if name is not None and is_successor:
        suffix = f"-{os.getpid()}"
        name = name[: NAME_CHARS_MAX - len(suffix)] + suffix
    bind = "127.0.0.1:0" if config.bind == _AGENTS_BIND else config.bind
    return attrs.evolve(config, name=name, bind=bind)


def _warn_of_exposure(
    bound: Sequence[Address], forwards: Sequence[Forward], agent: AgentClient | None, metrics: Address | None
) -> None:
    """Warn about listeners beyond this machine, and about a token that leaves it."""
    _warn_of_ports(list(zip(bound, forwards, strict=True)))
    exposed = [None if metrics is None else exposure_warnings.metrics_warning(metrics)]
    exposed.append(
        None if agent is None or agent.token is None or agent.is_tls else exposure_warnings.token_warning(agent.address)
    )
    _warn(exposed)


def _warn_of_ports(opened: Sequence[tuple[Address, Forward]]) -> None:
    """Warn about ports that other machines reach."""
    _warn([exposure_warnings.balancer_warning(address, forward.leads_to) for address, forward in opened])


def _warn(sentences: Sequence[str | None]) -> None:
    for sentence in filter(None, sentences):
        _log.warning("%s", sentence)


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
    ports = list(zip(map(str, bound), forwards, strict=True))
    if as_json:
        ready = {
            "ready": True,
            "forwards": [
                {"listen": address, "service": each.service, "tls": dict(each.tls)} for address, each in ports
            ],
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
        print(f"gossipreg proxy ready: {_ports(bound, forwards)}, {way}{shown}", flush=True)


def _ports(bound: Sequence[Address], forwards: Sequence[Forward]) -> str:
    """Which port leads where, for people."""
    return ", ".join(f"{address} to {each.leads_to}" for address, each in zip(bound, forwards, strict=True))
