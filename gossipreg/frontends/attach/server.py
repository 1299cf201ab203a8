"""Attach frontend: listens at an address or a socket file for the attached processes of this host, and serves them.

One task follows the node for all of them: it compares the index of each followed service with the one before, and
wakes the sessions that follow one which has changed. So a process that follows nothing that changes costs nothing.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack, suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import attrs
import trio

from gossipreg import limits
from gossipreg.attach import frames
from gossipreg.counters import Count
from gossipreg.errors import InsecureError, NodeClosed
from gossipreg.frontends.attach.bindings import Binding, Bindings, InstanceRegistry
from gossipreg.frontends.attach.feed import ServiceFeed
from gossipreg.frontends.attach.session import Session
from gossipreg.frontends.serving.access import Access, token_of_certificate
from gossipreg.frontends.serving.audit_log import AuditLog
from gossipreg.frontends.serving.listening import listen, listen_at_file
from gossipreg.frontends.serving.node_api import NodeApi
from gossipreg.model import Address, SocketFile
from gossipreg.runtime.accepting import serve
from gossipreg.runtime.supervision import run_contained
from gossipreg.targets import is_loopback

if TYPE_CHECKING:
    from gossipreg.frontends.serving.tls import ServerTls

#: The pause after changes were told in which more of them may come, and the longest (seconds). It doubles as long as
#: some do: then a change is told up to so much later.
_PAUSE_FIRST: Final = 0.01
_PAUSE_MAX: Final = 0.04


async def serve_attach(
    node: NodeApi,
    registry: InstanceRegistry,
    address: Address | SocketFile,
    *,
    access: Access,
    audit: AuditLog | None = None,
    insecure: bool = False,
    tls: ServerTls | None = None,
    group: int | None = None,
    counters: Counter[str],
    task_status: trio.TaskStatus[Address | SocketFile] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve attached processes at ``address`` until the node closes. Start it with ``nursery.start``.

    Starts with the address that it really listens on. ``registry`` registers what lives as long as a process does.
    ``access`` says what which token is for, and ``audit`` records what processes change; ``group`` is the id of a group
    whose processes may open the socket file, too. Raises ``BindError`` if the address cannot be had, and
    ``InsecureError`` if processes of other machines would need no token, or would show it in clear, unless ``insecure``
    is set.
    """
    access.follow(node.tokens_with)
    server = AttachServer(node, Bindings(registry), access, AuditLog() if audit is None else audit, counters, tls)
    with ExitStack() as stack:
        if isinstance(address, SocketFile):
            listeners = [
                stack.enter_context(listen_at_file(address, what="attached processes", flag="--attach", group=group))
            ]
            bound: Address | SocketFile = address
        else:
            listeners = await listen(address, what="attached processes", flag="--attach")
            addresses = [Address(*listener.socket.getsockname()[:2]) for listener in listeners]
            bound = addresses[0]
            access.is_exposed = not all(is_loopback(each.host) for each in addresses)
            if access.is_exposed and not insecure and (access.is_open or tls is None):
                for listener in listeners:
                    await trio.aclose_forcefully(listener)
                raise InsecureError(
                    f"cannot serve attached processes at {address} of every caller: pass --tokens-file FILE, "
                    "--tls-cert FILE and --tls-key FILE, or --insecure on a trusted network"
                )
        async with trio.open_nursery() as nursery:
            server.nursery = nursery
            nursery.start_soon(run_contained, counters, "following the node for attached processes", server.follow_node)
            task_status.started(bound)
            nursery.start_soon(partial(serve, server.accept, listeners, counters, Count.ATTACH_NOT_ACCEPTED))
            try:
                await node.wait_closed()
            finally:
                nursery.cancel_scope.cancel()


@attrs.define(eq=False, repr=False)
class AttachServer:
    """The sessions of one agent, and what they share."""

    node: NodeApi
    bindings: Bindings
    access: Access
    audit: AuditLog
    counters: Counter[str]
    _tls: ServerTls | None
    boot: bytes = attrs.field(init=False, factory=lambda: os.urandom(8))
    status: dict[str, Any] = attrs.field(init=False)
    nursery: trio.Nursery = attrs.field(init=False)
    _sessions: dict[Session, None] = attrs.field(init=False, factory=dict)
    _followers: dict[str, Counter[Session]] = attrs.field(init=False, factory=dict)
    _feeds: dict[str, ServiceFeed] = attrs.field(init=False, factory=dict)  # of each followed service
    _told: dict[str, int] = attrs.field(init=False, factory=dict)  # the index of each when its followers were woken

    def __attrs_post_init__(self) -> None:
        info = self.node.info()
        self.status = {
            "cluster": info.cluster,
            "region": self.node.region,
            "zone": info.zone,
            "joined": info.joined,
            **self._present(),
        }

    def _present(self) -> dict[str, Any]:
        node = self.node
        return {
            "name": node.name,
            "address": node.address,
            "isolated": node.isolated,
            "draining": node.draining,
            "reachable": node.reachable,
            "drained": node.drained,
            "command_checks": node.command_checks,
        }

    # Accepting

    async def accept(self, stream: trio.SocketStream) -> None:
        """Serve an accepted connection."""
        if self._tls is None:
            await self.serve(stream, _no_certificate)
        else:
            secure = self._tls.serve(stream, self.counters)
            await self.serve(secure, lambda: None if secure.client is None else token_of_certificate(secure.client))

    async def serve(self, served: trio.abc.Stream, token: Callable[[], str | None]) -> None:
        """Serve one stream to its end. ``token``: what stands for the certificate that the client has shown."""
        self.counters[Count.ATTACH_STREAMS] += 1
        session = Session(self, served, token)
        unproven = sum(not each.is_proven for each in self._sessions)
        if len(self._sessions) >= limits.ATTACHED_MAX or unproven >= limits.ATTACHED_UNPROVEN_MAX:
            self.counters[Count.ATTACH_REFUSED] += 1
            await _refuse(served)
            return
        self._sessions[session] = None
        try:
            await session.run()
        finally:
            del self._sessions[session]
            await trio.aclose_forcefully(served)

    def ended(self, binding: Binding, cut: Callable[[], None]) -> None:
        """Withdraw what the process has registered, now or after its grace; returns at once."""
        what = "the end of an attached process"
        self.nursery.start_soon(run_contained, self.counters, what, partial(self.bindings.stream_ended, binding, cut))

    # Following the node

    def follow(self, session: Session, service: str) -> ServiceFeed:
        """Have ``session`` woken when ``service`` changes. Returns what tells of it."""
        if service not in self._followers:
            self._followers[service] = Counter()
            self._feeds[service] = feed = ServiceFeed(service, partial(self.bindings.registry.view, service))
            feed.update()
            self._told[service] = feed.index
        self._followers[service][session] += 1
        return self._feeds[service]

    def unfollow(self, session: Session, service: str) -> None:
        """End that."""
        followers = self._followers[service]
        followers[session] -= 1
        if not followers[session]:
            del followers[session]
        if not followers:
            del self._followers[service], self._feeds[service], self._told[service]

    async def follow_node(self) -> None:
        """Wake the sessions whenever something that they are told of changes, until the node closes.

        The first change is told at once. While one follows another, they are told together, after pauses that grow: to
        tell costs a write for each session, and has each process run.
        """
        pause = 0.0
        while True:
            position = self.node.index()
            has_told = self._look()
            pause = min(max(2 * pause, _PAUSE_FIRST), _PAUSE_MAX) if has_told else 0.0
            await trio.sleep(pause)
            if self.node.index() == position:
                pause = 0.0  # no change follows this one
            try:
                await self.node.wait_changed(None, position)
            except NodeClosed:
                return

    def _look(self) -> bool:
        """Wake the sessions that are told of something that has changed; whether there are any."""
        present = self._present()
        joined = self.status["joined"] or self.node.info().joined
        news = {**self.status, **present, "joined": joined}
        woken: dict[Session, None] = {}
        if news != self.status:
            self.status = news
            woken = dict.fromkeys(self._sessions)
        for service, followers in self._followers.items():
            index = self.node.index(service)
            if index != self._told[service]:
                self._told[service] = index
                woken.update(dict.fromkeys(followers))
        for session in woken:
            session.wake()
        return bool(woken)


def _no_certificate() -> None:
    return None


async def _refuse(stream: trio.abc.Stream) -> None:
    sentence = f"{limits.ATTACHED_MAX} processes are attached, which is the limit: end one or try later"
    with trio.move_on_after(1):
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            await stream.send_all(frames.pack([frames.REFUSED, "agent_refused", sentence]))
    await trio.aclose_forcefully(stream)
