"""Node identity: a running node's certificate, and the revocations that it publishes."""

from __future__ import annotations

import logging
import time
from typing import Final

import attrs
import trio

from gossipreg.config import Config
from gossipreg.protocol.identity.authenticator import IdentityMode
from gossipreg.runtime.identity_files import IdentityFiles
from gossipreg.runtime.node_context import NodeContext
from gossipreg.runtime.policy_writer import PolicyWriter

log = logging.getLogger(__name__)

#: How long before its end a certificate is said to end soon (seconds).
_SOON_SECONDS: Final = 7 * 86_400.0

#: How many members a sentence names.
_NAMED_MAX: Final = 5


@attrs.define(eq=False, repr=False)
class NodeIdentity:
    """The identity of one running node."""

    files: IdentityFiles
    _config: Config
    _context: NodeContext
    _policies: PolicyWriter

    async def publish(self) -> None:
        """Have every member know the revocations that the file holds."""
        for revocation in self.files.revocations:
            if revocation.serial not in self._context.engine.state.authenticator.revoked:
                names = ", ".join(revocation.names)
                log.warning("certificate %s (%s) is revoked: its holder is expelled", revocation.serial_text, names)
            await self._policies.revoke(revocation)

    async def reread(self) -> None:
        """Read the files again. Raises ``ConfigError``: then nothing has changed. The mode stays as it was started."""
        if self.files.mode is IdentityMode.OFF:
            return
        files = await trio.to_thread.run_sync(IdentityFiles.of, self._config)
        files.check_name(self._config, self._context.name)
        before, self.files = self.files, files
        driver, engine = self._context.driver, self._context.engine
        if self.files.authorities != before.authorities:
            driver.say(engine.trust(self.files.authorities, trio.current_time()))
        signer = self.files.signer
        if signer is not None and (before.signer is None or signer.certificate != before.signer.certificate):
            driver.say(engine.renew_certificate(signer, trio.current_time()))
            log.info("this node signs under certificate %s", signer.certificate.serial_text)
        await self.publish()

    @property
    def problems(self) -> tuple[str, ...]:
        """What is wrong with this node's identity, or that of others, each a sentence."""
        if self.files.mode is IdentityMode.OFF:
            return ()
        return (*self._own_problems(), *self._unsigned())

    def _own_problems(self) -> tuple[str, ...]:
        signer = self.files.signer
        if signer is None:
            return ("this node has no certificate: members that require one do not believe what it states",)
        certificate, where = signer.certificate, self._config.identity_cert
        if certificate.serial in self._context.engine.state.authenticator.revoked:
            return (f"the certificate in {where} was revoked: the others have expelled this node",)
        left = certificate.not_after - time.time()
        if left <= 0:
            return (f"the certificate in {where} has ended: renew it with `gossipreg ca renew`, and send SIGHUP",)
        if left < _SOON_SECONDS:
            return (f"the certificate in {where} ends in {left / 3600:.0f} hours: renew it with `gossipreg ca renew`",)
        return ()

    def _unsigned(self) -> tuple[str, ...]:
        """Which present members do not sign what they state, in one sentence: who is not ready for ``require``."""
        names = sorted(
            each.name for each in self._context.engine.members.snapshot() if each.status.is_present and not each.proof
        )
        if not names or names == [self._context.name]:
            return ()
        named = ", ".join(names[:_NAMED_MAX]) + (
            f" and {len(names) - _NAMED_MAX} more" if len(names) > _NAMED_MAX else ""
        )
        return (f"not every member signs what it states: {named}",)
