"""Oracle 23: a member whose certificate was revoked is gone everywhere within a bound, and does not come back."""

from __future__ import annotations

from typing import ClassVar, Final

import attrs

from gossipreg.certificate import Certificate
from gossipreg.protocol.identity.authenticator import IdentityMode
from gossipreg.signatures import SIGNATURE_BYTES
from gossipreg_sim.fault import Fault
from gossipreg_sim.identities import permit_key, revocation_key
from gossipreg_sim.oracles.oracle import Oracle
from gossipreg_sim.process import Process
from gossipreg_sim.world import SECOND, ns

#: Within this time of its publication each node holds a revocation, where no fault holds but packets lost, repeated or
#: forged (seconds).
BOUND: Final = 1.0

#: Such faults, and the greatest share of packets that they lose.
_MILD: Final = ("impostor", "forge", "replay", "duplicate", "rotate", "revoke")
_LOSS_MAX: Final = 0.2

#: The slowest one-way trip with which the bound can be kept (seconds).
_TRIP_MAX: Final = 0.05


@attrs.define
class Expelled(Oracle):
    """A node that holds a revocation holds no member, record or policy under that certificate, from that step on.

    The expelled node itself is not looked at.

    It keeps the revocation as long as it runs. Each running node holds it within a second of its publication where only
    mild faults hold, else when all agree. A node that restarts without its disk has lost it; one that each holder has
    lost so is gone.
    """

    law: ClassVar[str] = "a revoked member is gone everywhere in time, and stays out"

    _bound: int = attrs.field(init=False)  # ns; longer than any run where only the final agreement is checked
    _started: dict[Process, int] = attrs.field(factory=dict)  # ns
    _held: dict[Process, dict[bytes, None]] = attrs.field(factory=dict)
    _kept: dict[bytes, dict[str, None]] = attrs.field(factory=dict)  # `permit_key` -> nodes that have not lost it
    _late: dict[tuple[Process, bytes], None] = attrs.field(factory=dict)  # reported
    _serials: dict[bytes, bytes] = attrs.field(factory=dict)  # document -> `permit_key`

    def __attrs_post_init__(self) -> None:
        scenario = self.context.scenario
        mild = all(map(_is_mild, scenario.faults)) and scenario.wiring.slowest(2.0) <= _TRIP_MAX
        self._bound = ns(BOUND) if mild and scenario.together else 1 << 62

    def after(self, process: Process) -> None:
        """Compare what the node holds with what was revoked."""
        identities = self.cluster.identities
        if identities is None or not process.engine.state.authenticator.is_on:
            return
        if process not in self._started and not process.has_disk:
            for names in self._kept.values():
                names.pop(process.name, None)
        started = self._started.setdefault(process, self.cluster.world.now)
        if not identities.ledger.revoked:
            return
        signer = process.engine.state.authenticator.signer
        if signer is not None and permit_key(signer.certificate) in identities.ledger.revoked:
            return  # expelled itself
        policies = process.engine.state.policies
        revocations = [held.revocation for held in policies.revocations if held.revocation is not None]
        holds = {revocation_key(revocation): None for revocation in revocations}
        before = self._held.setdefault(process, {})
        for serial, at in identities.ledger.revoked.items():
            if serial in holds:
                before[serial] = None
                self._kept.setdefault(serial, {})[process.name] = None
            elif serial in before:
                self.check(process, False, f"has forgotten that {serial.hex()} was revoked")
                del before[serial]
            elif self.cluster.world.now - max(at, started) > self._bound and (process, serial) not in self._late:
                self._late[process, serial] = None
                self._check_late(process, serial, at)
        if holds:
            self._check_gone(process, holds)

    def _check_late(self, process: Process, serial: bytes, at: int) -> None:
        if process.name in self.context.outside or process.engine.identity.left:
            return
        took = (self.cluster.world.now - at) / SECOND
        self.check(process, False, f"does not hold, {took:.3f} s later, that {serial.hex()} was revoked")

    def _check_gone(self, process: Process, revoked: dict[bytes, None]) -> None:
        self.checks += 1
        state = process.engine.state
        for member in state.members.snapshot():
            if member.name != process.name and self._serial_in(member.proof) in revoked:
                self.wrong(process.name, f"holds {member.name}, {member.status}, whose certificate was revoked")
        names = {member.name: None for member in state.members.snapshot()}
        for table in state.registry.owners:
            # Without `require` records may come before their owner, whatever became of it.
            is_kept = table.owner not in names and table.owner != process.name and len(table)
            if is_kept and state.authenticator.mode is IdentityMode.REQUIRE:
                self.wrong(process.name, f"holds records of {table.owner}, which is no member")
        for version in state.policies:
            if self._serial_in(version.proof) in revoked:
                self.wrong(process.name, f"holds {version.key} of {version.writer}, whose certificate was revoked")

    def _serial_in(self, proof: bytes) -> bytes:
        if not proof:
            return b""
        document = proof[SIGNATURE_BYTES:]
        serial = self._serials.get(document)
        if serial is None:
            serial = self._serials[document] = permit_key(Certificate.read(document))
        return serial

    def finish(self) -> None:
        """Look for nodes that hold no revocation although all agree."""
        identities = self.cluster.identities
        if identities is None or not identities.ledger.revoked:
            self.not_applicable("no certificate was revoked")
            return
        if self.context.healed_in is None:
            return
        for process in self.cluster.alive:
            is_core = process.name not in self.context.outside and not process.engine.identity.left
            if is_core and process.engine.state.authenticator.is_on:
                held = self._held.get(process, {})
                missing = [
                    serial.hex()
                    for serial in identities.ledger.revoked
                    if serial not in held and not self._is_gone(serial)
                ]
                self.check(process, not missing, f"does not hold, at the end, that {missing} were revoked")

    def _is_gone(self, serial: bytes) -> bool:
        """Whether some nodes held this revocation, and none of them that still has it is running."""
        kept = self._kept.get(serial)
        return kept is not None and not any(self.cluster.running(name) for name in kept)


def _is_mild(fault: Fault) -> bool:
    return fault.kind in _MILD or (fault.kind == "loss" and fault.probability <= _LOSS_MAX)
