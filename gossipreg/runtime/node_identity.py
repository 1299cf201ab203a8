"""Node identity: a running node's certificate, and the revocations that it publishes."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Final

import attrs
import msgpack
import trio
import trio.lowlevel

from gossipreg.authority import REVOCATION, decode
from gossipreg.config import Config
from gossipreg.errors import ConfigError, InvalidCertificate
from gossipreg.identities import ExposedCredentials, IdentityReport, MemberIdentity, RevokedCertificate
from gossipreg.model import Member
from gossipreg.protocol.identity.authenticator import Authenticator, IdentityMode
from gossipreg.revocation import Revocation
from gossipreg.runtime.identity_files import IdentityFiles
from gossipreg.runtime.node_context import NodeContext
from gossipreg.runtime.policy_writer import PolicyWriter

log = logging.getLogger(__name__)

#: How long before its end a certificate is said to end soon (seconds).
_SOON_SECONDS: Final = 7 * 86_400.0

#: How often the files are looked at, and the end of the certificate (seconds). A look is a `stat` of three files.
_LOOK_SECONDS: Final = 10.0

#: How often a certificate that ends soon, or has ended, is logged (seconds).
_WARN_SECONDS: Final = 6 * 3600.0

#: How many members a sentence names.
_NAMED_MAX: Final = 5

#: How many statements that are held are verified before other tasks run again (0.1 ms each).
_VERIFIED_AT_ONCE: Final = 50

#: The name of the field with credentials, as the payload of a record has it.
_SEALED: Final[bytes] = msgpack.packb("sealed")


def _may_hold_credentials(payload: bytes | None) -> bool:
    """Whether an instance with this payload may have credentials: few have to be unpacked to know."""
    return payload is not None and _SEALED in payload


@attrs.define(eq=False, repr=False)
class NodeIdentity:
    """The identity of one running node."""

    files: IdentityFiles
    _config: Config
    _context: NodeContext
    _policies: PolicyWriter
    #: By what was revoked: the sealed credentials that were held when the revocation was learned, by owner and id.
    _exposed: dict[tuple[bytes, bytes], dict[tuple[str, str], bytes]] = attrs.field(init=False, factory=dict)

    #: Why an issuer has not renewed the certificate, although it is due; empty: it has, or it is not.
    renewal_problem: str = attrs.field(init=False, default="")
    _warned_at: float = attrs.field(init=False, default=float("-inf"))
    _is_on: trio.Event = attrs.field(init=False, factory=trio.Event)  # set once the node has an identity

    def __attrs_post_init__(self) -> None:
        if self.files.mode is not IdentityMode.OFF:
            self._is_on.set()

    async def follow(self) -> None:
        """Until cancelled: read the files again when they change, and warn while the certificate ends soon."""
        await self._is_on.wait()
        seen = await trio.to_thread.run_sync(self._stamps)
        while True:
            self.note_exposed()
            self._warn()
            await trio.sleep(_LOOK_SECONDS)
            stamps = await trio.to_thread.run_sync(self._stamps)
            if stamps != seen:
                seen = stamps
                try:
                    await self.reread()
                except ConfigError as error:
                    log.warning("the files of identity have changed and are not used: %s", error)

    def _stamps(self) -> list[tuple[int, int, int] | None]:
        """What tells that a file has changed, for each of the files; None for one that is not there."""
        config = self._config
        return [_stamp(path) for path in (config.authority_file, config.identity_cert, config.identity_key)]

    def _warn(self) -> None:
        problems = self._own_problems()
        now = trio.current_time()
        if problems and now - self._warned_at >= _WARN_SECONDS:
            self._warned_at = now
            log.warning("%s", problems[0])

    async def revoke(self, line: str) -> str:
        """Have every member expel the holder of a certificate; returns its serial number.

        ``line``: the revocation, as ``gossipreg ca revoke`` writes it. Raises ``InvalidCertificate``.
        """
        if self.files.mode is IdentityMode.OFF:
            raise InvalidCertificate("this node has no identity: start it with authority_file")
        revocation = Revocation.read(decode(REVOCATION, line, where="the revocation"))
        if revocation.revoked not in self._exposed:
            self._exposed[revocation.revoked] = self._sealed()
        await self._policies.revoke(revocation)
        log.warning("certificate %s (%s) is revoked", revocation.serial_text, ", ".join(revocation.names))
        return revocation.serial_text

    def note_exposed(self) -> None:
        """Remember which credentials are registered, for each revocation that is new to this node."""
        new = [each for each in self._authenticator.certificates.revoked if each not in self._exposed]
        if new:
            sealed = self._sealed()
            self._exposed |= {each: dict(sealed) for each in new}

    def _sealed(self) -> dict[tuple[str, str], bytes]:
        """The sealed credentials that are held, by owner and id. Of most records a look at the bytes is enough."""
        tables = self._context.engine.state.registry.owners
        held = (record for table in tables for record in table if _may_hold_credentials(record.payload))
        return {(record.owner, record.id): record.instance.sealed for record in held if record.instance.sealed}

    @property
    def _authenticator(self) -> Authenticator:
        return self._context.engine.state.authenticator

    def report(self) -> IdentityReport:
        """What this node knows of the identities in its cluster."""
        self.note_exposed()
        signer = self.files.signer
        revoked = sorted(self._authenticator.certificates.revoked.values(), key=lambda each: (-each.at, each.serial))
        return IdentityReport(
            self._authenticator.mode.value,
            None if signer is None else float(signer.certificate.not_after),
            tuple(map(self._identity_of, self._context.catalog.members())),
            tuple(map(self._revoked, revoked)),
            dict(self._context.driver.refused_sources),
            () if self.files.mode is IdentityMode.OFF else tuple(self._context.engine.unproven_policies()),
        )

    def _identity_of(self, member: Member) -> MemberIdentity:
        engine = self._context.engine
        held = engine.state.own if member.name == self._context.name else engine.members.get(member.name)
        certificate = None if held is None else self._authenticator.certificates.of_member(held)
        if certificate is None:
            return MemberIdentity(member.name, member.status.is_present, None, None, None, ready=False)
        ready = certificate.is_in_force(time.time())
        return MemberIdentity(
            member.name,
            member.status.is_present,
            certificate.serial_text,
            certificate.authority,
            float(certificate.not_after),
            ready,
        )

    def _revoked(self, revocation: Revocation) -> RevokedCertificate:
        registry = self._context.engine.state.registry
        exposed = []
        for (owner, id_), sealed in sorted(self._exposed[revocation.revoked].items()):
            table = registry.table(owner)
            record = None if table is None else table.get(id_)
            if record is not None and record.payload is not None and record.instance.sealed == sealed:
                exposed.append(ExposedCredentials(owner, record.instance.service, id_))
        return RevokedCertificate(revocation.serial_text, revocation.names, float(revocation.at), tuple(exposed))

    async def publish(self) -> None:
        """Have every member know the revocations that the file holds."""
        for revocation in self.files.revocations:
            if revocation.revoked not in self._authenticator.certificates.revoked:
                names = ", ".join(revocation.names)
                log.warning("certificate %s (%s) is revoked: its holder is expelled", revocation.serial_text, names)
            await self._policies.revoke(revocation)

    async def reread(self) -> None:
        """Read the files again. Raises ``ConfigError``: then nothing has changed. The mode stays as it is."""
        if self.files.mode is not IdentityMode.OFF:
            await self._read(self._config)

    async def use(self, authorities: Path, certificate: Path | None, key: Path | None) -> None:
        """Use these files from now on. Raises ``ConfigError``: then nothing has changed."""
        is_off = self.files.mode is IdentityMode.OFF
        if certificate is None and self.files.signer is not None:
            raise ConfigError("identity_cert: it is not given any more: to sign no more takes a restart")
        config = attrs.evolve(
            self._config,
            authority_file=authorities,
            identity_cert=certificate,
            identity_key=key,
            identity=IdentityMode.PREFER.value if is_off else self._config.identity,
        )
        if config != self._config or is_off:
            await self._read(config)

    async def _read(self, config: Config) -> None:
        """Read the files that ``config`` names, and use them. Raises ``ConfigError``: then nothing has changed."""
        files = await trio.to_thread.run_sync(IdentityFiles.of, config)
        files.check_name(config, self._context.name)
        if self.files.mode is IdentityMode.OFF:
            await self._verify_ahead(files)
        if self.files.mode is IdentityMode.OFF:  # no other call has come first
            self._context.driver.say(self._context.engine.adopt_identity(files.authorities, trio.current_time()))
            log.info("what members sign is verified from now on")
        before, self.files, self._config = self.files, files, config
        self._is_on.set()
        driver, engine = self._context.driver, self._context.engine
        if self.files.authorities != before.authorities:
            driver.say(engine.trust(self.files.authorities, trio.current_time()))
        signer = self.files.signer
        if signer is not None and (before.signer is None or signer.certificate != before.signer.certificate):
            driver.say(engine.renew_certificate(signer, trio.current_time()))
            log.info("this node signs under certificate %s", signer.certificate.serial_text)
        await self.publish()

    async def _verify_ahead(self, files: IdentityFiles) -> None:
        """Verify what is held, in slices: the results are remembered."""
        steps = self._context.engine.review_identity(files.authorities, trio.current_time())
        while sum(1 for _ in islice(steps, _VERIFIED_AT_ONCE)) == _VERIFIED_AT_ONCE:
            await trio.lowlevel.checkpoint()

    async def require(self) -> None:
        """Believe only what is signed from now on. Raises ``ConfigError`` if not all is ready, and changes nothing."""
        if self._authenticator.mode is IdentityMode.REQUIRE:
            return
        if self.files.mode is IdentityMode.OFF:
            raise ConfigError("identity: this node has none: give it authority_file and identity_cert")
        if self.files.signer is None:
            raise ConfigError("identity: `require` without identity_cert: the others would not believe this node")
        why = []
        if members := self.not_ready():
            why.append(f"members sign nothing that counts: {_named(members)}")
        if policies := self._context.engine.unproven_policies():
            why.append(f"policies are not signed, set them again: {_named(policies)}")
        if why:
            raise ConfigError(f"identity: it stays `prefer`, as {'; '.join(why)}")
        await trio.lowlevel.checkpoint()
        self._config = attrs.evolve(self._config, identity=IdentityMode.REQUIRE.value)
        self.files = attrs.evolve(self.files, mode=IdentityMode.REQUIRE)
        self._context.driver.say(self._context.engine.require_identity(trio.current_time()))
        log.info("identity is required from now on")

    def not_ready(self) -> list[str]:
        """The present members, sorted, that a node which requires identity would not believe."""
        engine, wall = self._context.engine, time.time()
        held = [each for each in engine.members.snapshot() if each.status.is_present]
        found = ((each.name, self._authenticator.certificates.of_member(each)) for each in held)
        return sorted(name for name, signed in found if signed is None or not signed.is_in_force(wall))

    @property
    def problems(self) -> tuple[str, ...]:
        """What is wrong with this node's identity, or that of others, each a sentence."""
        if self.files.mode is IdentityMode.OFF:
            return ()
        return (*self._own_problems(), *self._unsigned(), *self._unsigned_policies())

    def _own_problems(self) -> tuple[str, ...]:
        signer = self.files.signer
        if signer is None:
            return ("this node has no certificate: members that require one do not believe what it states",)
        certificate, where = signer.certificate, self._config.identity_cert
        if self._authenticator.certificates.is_revoked(certificate):
            return (f"the certificate in {where} was revoked: the others have expelled this node",)
        left = certificate.not_after - time.time()
        if left <= 0:
            why = f" ({self.renewal_problem})" if self.renewal_problem else ""
            return (f"the certificate in {where} has ended{why}: renew it with `gossipreg ca renew`",)
        if self._config.issuers:
            ends = f"the certificate in {where} ends in {left / 3600:.1f} hours and was not renewed"
            return (f"{ends}: {self.renewal_problem}",) if self.renewal_problem else ()
        soon = f"the certificate in {where} ends in {left / 3600:.0f} hours: renew it with `gossipreg ca renew`"
        return (soon,) if left < _SOON_SECONDS else ()

    def _unsigned(self) -> tuple[str, ...]:
        """Which present members do not sign what they state, in one sentence: who is not ready for ``require``."""
        names = self.not_ready()
        if not names or names == [self._context.name]:
            return ()
        return (f"not every member signs what it states: {_named(names)}",)

    def _unsigned_policies(self) -> tuple[str, ...]:
        """Which policies no certificate proves, in one sentence: they keep the node from `require`."""
        keys = self._context.engine.unproven_policies()
        return (f"not every policy is signed, set these again: {_named(keys)}",) if keys else ()


def _named(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED_MAX} more" if len(names) > _NAMED_MAX else ""
    return ", ".join(names[:_NAMED_MAX]) + more


def _stamp(path: Path | None) -> tuple[int, int, int] | None:
    if path is None:
        return None
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
