"""Node lifecycle: the parts of one running node; what it restores at its start; how it drains, leaves and closes."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import attrs
import trio

from gossipreg.errors import NodeClosed, StorageError
from gossipreg.node_info import JoinResult
from gossipreg.runtime.advertised_address import AdvertisedAddress
from gossipreg.runtime.defined_instances import DefinedInstances
from gossipreg.runtime.join_request import JoinRequester
from gossipreg.runtime.node_context import NodeContext
from gossipreg.runtime.node_identity import NodeIdentity
from gossipreg.runtime.node_keyring import NodeKeyring
from gossipreg.runtime.policy_writer import PolicyWriter
from gossipreg.runtime.registrar import Registrar
from gossipreg.runtime.restored_instances import restore_instances
from gossipreg.runtime.saved_state import Place, SavedState
from gossipreg.runtime.state_writer import StateWriter

if TYPE_CHECKING:
    from gossipreg.runtime.certificate_issuing import CertificateIssuing

log = logging.getLogger(__name__)


@attrs.define(eq=False, repr=False)
class NodeLifecycle:
    """One node from its opening to its close."""

    context: NodeContext
    registrar: Registrar
    defined_instances: DefinedInstances
    policies: PolicyWriter
    state_writer: StateWriter | None  # None: the node has no data directory
    advertised_address: AdvertisedAddress
    keyring: NodeKeyring
    identity: NodeIdentity
    leaving: bool = attrs.field(init=False, default=False)  # it drains in order to leave, or has left
    drained: str | None = attrs.field(init=False, default=None)  # why it was told to drain, if it was
    warnings: dict[str, None] = attrs.field(init=False, factory=dict)  # about how it is set up
    join_requester: JoinRequester = attrs.field(init=False)
    _join_uses: Mapping[str, bytes] = attrs.field(init=False, factory=dict)
    _issuing: CertificateIssuing | None = attrs.field(init=False, default=None)
    _leave_lock: trio.Lock = attrs.field(init=False, factory=trio.Lock)

    def __attrs_post_init__(self) -> None:
        self.join_requester = JoinRequester(self.context)

    @property
    def issuing(self) -> CertificateIssuing:
        """What decides on requests for certificates."""
        if self._issuing is None:
            from gossipreg.runtime.certificate_issuing import CertificateIssuing  # few agents are issuers

            self._issuing = CertificateIssuing(self.context, lambda: self.identity.files.issuer)
            self._issuing.restore(self._join_uses)
        return self._issuing

    def warn(self, sentence: str) -> None:
        """Log a warning about how the node is set up, once, and keep it."""
        if sentence not in self.warnings:
            self.warnings[sentence] = None
            log.warning("%s", sentence)

    async def begin(self, saved: SavedState | None) -> None:
        """Take up what an earlier run ``saved``, if there was one, and publish the revocations that are known here."""
        if saved is not None:
            await self.restore(saved)
        await self.identity.publish()

    async def restore(self, saved: SavedState) -> None:
        """Restore what an earlier run left. A row that cannot be used is left out, and never prevents the start.

        What that run had registered is registered again; what files defined, only once they do so again.
        """
        for warning in saved.warnings:
            log.warning("%s", warning)
        unusable = [*self.policies.restore(saved), *restore_instances(self.context, self.registrar, saved)]
        self.keyring.apply()
        self._join_uses = saved.join_uses
        if saved.drained is not None:
            why = f" ({saved.drained})" if saved.drained else ""
            log.warning("this node still drains, as before its restart%s: end that with `gossipreg drain --end`", why)
            self._drain(saved.drained)
        await self._set_aside(unusable)

    async def _set_aside(self, unusable: Sequence[Place]) -> None:
        """Move rows that cannot be used out of the way, where they are kept."""
        if self.context.store is None or not unusable:
            return
        try:
            await self.context.store.set_aside(unusable)
        except StorageError as error:  # they stay where they are, and are logged again at the next start
            log.warning("what cannot be used is not set aside: %s", error)

    def disown(self) -> None:
        """Close a fork's copies of the node's sockets and locks, in the child; the node goes on in the parent.

        Otherwise the kernel would hide the parent's death from its peers, and keep its port and its data directory
        taken, for as long as the child lives.
        """
        if not self.context.is_closed:
            self.context.driver.disown()
            if self.context.store is not None:
                self.context.store.disown()

    async def set_draining(self, reason: str | None) -> None:
        """Drain, and store the reason; None ends it. With a data directory it outlives a restart.

        Raises ``NodeClosed``, and ``StorageError`` if the disk refuses it: then nothing has changed.
        """
        context = self.context
        context.check_open()
        if self.leaving and reason is None:
            raise NodeClosed(f"node {context.name!r} is leaving: it takes no work any more")
        with trio.CancelScope(shield=True):  # disk and engine must agree, even when the caller is cancelled
            if context.store is not None and reason != self.drained:
                await context.store.set_drained(reason)
            context.check_open()
            self._drain(reason)
        await trio.lowlevel.checkpoint()

    def _drain(self, reason: str | None) -> None:
        self.drained = reason
        engine = self.context.engine
        if not engine.identity.left and (reason is not None) != engine.identity.draining:
            verb = engine.undrain if reason is None else engine.drain
            self.context.driver.say(verb(trio.current_time()))

    async def join(self, seeds: str | Iterable[str]) -> JoinResult:
        """Join the members at ``seeds``. Raises ``NodeClosed`` if the node is leaving."""
        self.context.check_open()
        if self.leaving:
            raise NodeClosed(f"node {self.context.name!r} is leaving: it joins no member any more")
        return await self.join_requester.join(seeds)

    def forget(self, name: str) -> None:
        """Have a failed member forgotten on every node."""
        self.context.check_open()
        self.context.driver.say(self.context.engine.forget(name, trio.current_time()))
        log.info("member %s is forgotten on request", name)

    async def leave(self) -> None:
        """Drain, announce the departure, wait until that has spread, close. If cancelled, call it again."""
        context, engine = self.context, self.context.engine
        async with self._leave_lock:
            if context.is_closed:
                return
            self.leaving = True
            settings, identity = engine.settings, engine.identity
            has_peers = bool(engine.members.present)
            if has_peers and len(engine.local_registry) and not identity.draining and not identity.left:
                context.driver.say(engine.drain(trio.current_time()))
                await trio.sleep(settings.drain_time)
            if self.state_writer is not None:
                await self.state_writer.store_checks(quietly=False)
            self.registrar.monitor.close()
            if not identity.left:
                context.driver.say(engine.leave(trio.current_time()))
            if has_peers:
                await trio.sleep(settings.leave_linger)
            context.close()
