"""Running an agent: from its ready line, through the signals it handles, to its leave.

The command imports it when it runs: importing trio takes longer than all other commands take to run.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import socket
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import trio

from gossipreg.agent_config import AgentConfig
from gossipreg.cli import ports_in_use
from gossipreg.cli.agent_listeners import ListenerParts, Reload, open_attach, open_dns, open_http
from gossipreg.cli.gc_pauses import keep_pauses_short
from gossipreg.cli.service_manager import ServiceManager
from gossipreg.config_rules import DEFAULT_PORT
from gossipreg.errors import BindError, ConfigError, GossipregError
from gossipreg.model import Address, SocketFile
from gossipreg.runtime import exposure_warnings
from gossipreg.runtime.definitions import DefinitionFiles, LocatedSpec, by_id, define
from gossipreg.runtime.node import Node
from gossipreg.runtime.opening import check_start, open_node
from gossipreg.runtime.supervision import run_contained, run_restarting
from gossipreg.targets import CheckRules, literal

if TYPE_CHECKING:
    from gossipreg.frontends.serving.access import Access

_log = logging.getLogger("gossipreg.agent")


def run(config: AgentConfig, file: Path | None = None, again: Callable[[], AgentConfig] | None = None) -> None:
    """Run an agent until it has left the cluster, with the services that ``file`` and ``services_dir`` define.

    ``again`` puts the configuration together anew, for SIGHUP; None: as it is.

    Raises ``ConfigError`` for a file that cannot be used or an unknown compatibility API, what ``open_node`` raises,
    and ``BindError`` for a listener's address, alone or in an ``ExceptionGroup``. One ``BindError`` names all addresses
    that other programs use, and free ones.
    """
    files = _files(config, file)
    try:
        again = again or (lambda: config)
        trio.run(_serve, config, files, _read_definitions(files, config), ListenerParts.of(config), again)
    except (BindError, ExceptionGroup) as error:
        is_bind_error = not isinstance(error, ExceptionGroup) or error.subgroup(BindError)
        taken = ports_in_use.of(config) if is_bind_error else {}
        if not taken:
            raise
        raise BindError(ports_in_use.sentence(taken)) from None


def check(config: AgentConfig, file: Path | None = None) -> str:
    """Check that an agent can start with this, as far as files can tell. Raises ``ConfigError``."""
    check_start(config)
    parts = ListenerParts.of(config)
    if parts.spans is not None:
        parts.spans.shutdown()
    count = len(_read_definitions(_files(config, file), config))
    return f"ok, with {count} service{'s' if count > 1 else ''} defined" if count else "ok"


def _files(config: AgentConfig, file: Path | None) -> DefinitionFiles:
    return DefinitionFiles(file, config.services_dir, commands=config.command_checks != "off")


def _read_definitions(files: DefinitionFiles, config: AgentConfig) -> tuple[LocatedSpec, ...]:
    """What the files define. Raises ``ConfigError`` for the first thing that is wrong."""
    found = files.read()
    for error in found.wrong:
        raise error
    by_id(found.located, config.name or socket.gethostname().split(".")[0])
    if config.credential_key is None and config.credential_key_file is None:
        for where, definition in found.located:
            if definition.credentials:
                raise ConfigError(f"{where}: credentials: there is no key to seal them: set credential_key_file")
    _check_targets(config, found.located)
    return found.located


def _check_targets(config: AgentConfig, located: Sequence[LocatedSpec]) -> None:
    """Raise ``ConfigError`` for the first health check that the agent would refuse to run.

    The agent's own address may be known at its start only; then each target counts as it.
    """
    rules = CheckRules.of(config.check_targets, config.check_headers)
    bound = Address.parse(config.advertise or config.bind, default_port=DEFAULT_PORT).host
    address = literal(bound)
    is_open = address is None or address.is_unspecified
    for where, spec in located:
        for number, check in enumerate(spec.checks):
            own = (check.host or "",) if is_open else (spec.host or bound, bound)
            flaw = check.flaw(rules, own)
            if flaw is not None:
                raise ConfigError(f"{where}: checks[{number}].{flaw[0]}: {flaw[1]}")


async def _serve(
    config: AgentConfig,
    files: DefinitionFiles,
    located: Sequence[LocatedSpec],
    parts: ListenerParts,
    again: Callable[[], AgentConfig],
) -> None:
    access, tls = parts.access, parts.tls
    manager = ServiceManager.of(os.environ, os.getpid())
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM, signal.SIGHUP) as signals:
        async with open_node(config) as node, trio.open_nursery() as nursery:
            for error in await define(node, located):
                raise error
            leave = trio.Event()
            reloads: list[Reload] = [node.reread_keys, partial(_follow_identity, node, again)]
            reloads.append(partial(_define_again, node, files))
            nursery.start_soon(run_restarting, node.counters, "the watch over pauses", keep_pauses_short)
            nursery.start_soon(_leave_when_told, node, leave, manager)
            nursery.start_soon(manager.keep_informed)
            reload = partial(_reload, reloads, trio.Lock(), manager)
            nursery.start_soon(_handle_signals, node, signals, leave, reload, nursery)
            kept = (access, parts.attach_access, tls, parts.dns_tls)
            reloads += [partial(trio.to_thread.run_sync, each.reload) for each in kept if each is not None]
            http = (
                None
                if access is None
                else await open_http(node, config, access, leave, nursery, reloads=reloads, reload=reload, parts=parts)
            )
            attach = (
                None
                if parts.attach_access is None
                else await open_attach(node, config, nursery, reloads=reloads, parts=parts)
            )
            dns = None if config.dns == "off" else await open_dns(node, config, parts.dns_tls, nursery)
            _warn_of_exposure(node, http, dns, access, is_tls=tls is not None)
            _print_ready(node, http, dns, attach, is_tls=tls is not None, as_json=config.log_format == "json")
            manager.ready(_addresses(node, http, dns, attach, is_tls=tls is not None))
            await node.wait_closed()
            nursery.cancel_scope.cancel()


async def _handle_signals(
    node: Node, signals: AsyncIterator[int], leave: trio.Event, reload: Reload, nursery: trio.Nursery
) -> None:
    """Leave at the first signal; end the process at once at one that comes while the node leaves.

    That is as safe as being killed, which an agent must survive anyway: its data directory is whole at all times.
    SIGHUP only has files read again, unless it reports that the terminal of the agent has closed.
    """
    in_terminal = [stream for stream in (0, 1, 2) if os.isatty(stream)]
    async for number in signals:
        name = signal.Signals(number).name
        if number == signal.SIGHUP:
            if 0 not in in_terminal or os.isatty(0):
                nursery.start_soon(run_contained, node.counters, "SIGHUP", reload)
                continue
            _write_to_nothing(in_terminal)
        if leave.is_set():
            _log.warning("%s while leaving: stopping at once", name)
            os._exit(1)
        else:
            _log.info("%s: leaving", name)
            leave.set()


def _write_to_nothing(streams: Iterable[int]) -> None:
    """Connect these standard streams to nothing: what their closed terminal did not take would fail the exit."""
    null = os.open(os.devnull, os.O_RDWR)
    for stream in streams:
        os.dup2(null, stream)
    os.close(null)


async def _reload(reloads: Sequence[Reload], turn: trio.Lock, manager: ServiceManager) -> None:
    """Run all reloads; one that fails does not prevent the others."""
    async with turn:
        with manager.reloading():
            for reload in reloads:
                try:
                    await reload()
                except GossipregError as error:
                    _log.error("%s", error)
        _log.info("files are read again")


async def _follow_identity(node: Node, again: Callable[[], AgentConfig]) -> None:
    """Take up an identity, and require one, if the configuration does now. Raises ``ConfigError``.

    What it says of less is for a restart.
    """
    config = await trio.to_thread.run_sync(again)
    if config.authority_file is None or config.identity == "off":
        return
    await node.use_identity(config.authority_file, config.identity_cert, config.identity_key)
    if config.identity == "require":
        await node.require_identity()


async def _define_again(node: Node, files: DefinitionFiles) -> None:
    """Register what the files define now; an invalid file stands for its last valid content."""
    found = await trio.to_thread.run_sync(files.read)
    for error in (*found.wrong, *await define(node, found.located)):
        _log.error("%s (what was defined there before stays)", error)


async def _leave_when_told(node: Node, leave: trio.Event, manager: ServiceManager) -> None:
    await leave.wait()
    manager.stopping("draining, then leaving the cluster")
    await node.leave()


def _warn_of_exposure(
    node: Node, http: Address | SocketFile | None, dns: Address | None, access: Access | None, *, is_tls: bool
) -> None:
    """Warn about listeners beyond this machine."""
    exposed = (
        None
        if http is None or access is None
        else exposure_warnings.http_warning(http, asks_tokens=not access.is_open, is_tls=is_tls),
        None if dns is None else exposure_warnings.dns_warning(dns),
    )
    for sentence in exposed:
        if sentence is not None:
            node.warn(sentence)


def _print_ready(
    node: Node,
    http: Address | SocketFile | None,
    dns: Address | None,
    attach: Address | SocketFile | None,
    *,
    is_tls: bool,
    as_json: bool,
) -> None:
    """Write the ready line to standard output, for the program that started the agent."""
    if as_json:
        ready = {
            "ready": True,
            "name": node.name,
            "gossip": str(node.address),
            "http": None if http is None else str(http),
            **({"tls": True} if is_tls else {}),
            "dns": None if dns is None else str(dns),
            **({} if attach is None else {"attach": str(attach)}),
            "cluster": node.cluster,
        }
        print(json.dumps(ready), flush=True)
    else:
        print(f"gossipreg agent {node.name} ready: {_addresses(node, http, dns, attach, is_tls=is_tls)}", flush=True)


def _addresses(
    node: Node,
    http: Address | SocketFile | None,
    dns: Address | None,
    attach: Address | SocketFile | None,
    *,
    is_tls: bool,
) -> str:
    """Where the agent can be reached, for people."""
    protocol = "https" if is_tls else "http"
    attached = "" if attach is None else f"attach {attach}, "
    return f"gossip {node.address}, {protocol} {http or 'off'}, dns {dns or 'off'}, {attached}cluster {node.cluster}"
