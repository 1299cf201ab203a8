"""One run of a check: it ends with a finding, or with none where this node itself was stopped meanwhile."""

from __future__ import annotations

import os
import ssl
from collections.abc import Awaitable, Callable
from typing import Final

import trio

from gossipreg.check import Check, CheckKind
from gossipreg.model import Address, Health
from gossipreg.protocol.registry.checks import Finding
from gossipreg.runtime.checks.dialing import AllowedTargets
from gossipreg.targets import TargetRefused

#: A run that took this much longer than its timeout allows was not late: this process was stopped (seconds).
STOPPED_SECONDS: Final = 0.25


async def probe(check: Check, *, commands: bool, allowed: AllowedTargets) -> Finding | None:
    """Run ``check`` once, within its timeout. None if it says nothing about the target, because this node was stopped.

    A check that the node does not allow is not run and fails: it was allowed when it was registered, or its name
    resolves to another address now.
    """
    flaw = check.flaw(allowed.rules, allowed.own)
    if flaw is not None:
        return Finding(Health.CRITICAL, flaw[1])
    begun = trio.current_time()
    finding = Finding(Health.CRITICAL, f"no answer within {check.timeout:g} s")
    with trio.move_on_after(check.timeout):
        try:
            finding = await _run(check, commands, allowed)
        except TargetRefused as error:
            finding = Finding(Health.CRITICAL, str(error))
        except (OSError, ssl.SSLError, trio.BrokenResourceError, trio.ClosedResourceError) as error:
            finding = Finding(Health.CRITICAL, _sentence(error))
    stopped = trio.current_time() - begun > check.timeout + STOPPED_SECONDS
    return None if stopped and finding.health is not Health.PASSING else finding


async def _run(check: Check, commands: bool, allowed: AllowedTargets) -> Finding:
    """Each kind is loaded when it is first needed, and says what to install where a package is missing."""
    try:
        run = _runner(check.kind)
    except ModuleNotFoundError:
        what, extra = _EXTRAS[check.kind]
        return Finding(Health.CRITICAL, f'this node cannot {what}: pip install "gossipreg[{extra}]"')
    if check.kind is CheckKind.COMMAND and not commands:
        return Finding(Health.CRITICAL, "command checks are off on this node: see command_checks")
    return await run(check, allowed)


#: What a node cannot do without a package, and the extra that installs it.
_EXTRAS: Final = {CheckKind.HTTP: ("make HTTP requests", "agent"), CheckKind.GRPC: ("speak gRPC", "grpc")}


def _runner(kind: CheckKind) -> Callable[[Check, AllowedTargets], Awaitable[Finding]]:
    match kind:
        case CheckKind.HTTP:
            from gossipreg.runtime.checks.http import run_http

            return run_http
        case CheckKind.TCP:
            return _run_tcp
        case CheckKind.GRPC:
            from gossipreg.runtime.checks.grpc import run_grpc

            return run_grpc
        case CheckKind.COMMAND:
            return _run_command
        case CheckKind.TTL:
            raise AssertionError("a heartbeat is awaited, not run")


async def _run_command(check: Check, _reach: AllowedTargets) -> Finding:
    from gossipreg.runtime.checks.command import run_command

    return await run_command(check)


async def _run_tcp(check: Check, allowed: AllowedTargets) -> Finding:
    from gossipreg.runtime.checks.dialing import dial

    assert check.tcp is not None
    address = Address.parse(check.tcp, any_host=True)
    await trio.aclose_forcefully(await dial(address.host, address.port, allowed))
    return Finding(Health.PASSING, f"{address} accepts connections")


def _sentence(error: Exception) -> str:
    """What went wrong, for people."""
    cause = error.__cause__ if isinstance(error, trio.BrokenResourceError) else error
    if isinstance(cause, ssl.SSLCertVerificationError):
        return f"its certificate is not to be trusted: {cause.verify_message}"
    if isinstance(cause, OSError) and not isinstance(cause, ssl.SSLError) and cause.errno:
        return (os.strerror(cause.errno) if cause.errno > 0 else str(cause.strerror)).lower()
    return str(cause or error) or "the connection broke"
