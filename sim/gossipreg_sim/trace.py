"""Trace of a run: a hash that equal runs share, and the steps that reports are drawn from."""

from __future__ import annotations

import hashlib
from typing import Any

import attrs

from gossipreg.model import FENCED, PRIMARY
from gossipreg.protocol.outputs import (
    InstancesChanged,
    IsolationChanged,
    MemberChanged,
    NameConflicted,
    NameConflictFound,
    OpenStream,
    Output,
    PoliciesChanged,
    SendFrame,
    Transmit,
)
from gossipreg_sim.process import Process


@attrs.frozen
class Step:
    """A change of a node's belief, or an action on a node."""

    at: int  # ns
    node: str
    what: str
    about: str
    detail: str = ""


@attrs.define
class Trace:
    """The running hash of all outputs of all nodes, and the steps that reports show."""

    steps: list[Step] = attrs.field(factory=list)
    _hash: Any = attrs.field(factory=lambda: hashlib.blake2b(digest_size=16))

    @property
    def digest(self) -> str:
        """The hash so far (hex). Equal runs have equal hashes on every Python version and with every hash seed."""
        digest: str = self._hash.hexdigest()
        return digest

    def note(self, at: int, node: str, what: str, about: str = "", detail: str = "") -> None:
        """Record an action on a node, or the beginning of a phase."""
        self._hash.update(f"{at} {node} {what} {about} {detail}\n".encode())
        self.steps.append(Step(at, node, what, about, detail))

    def see(self, process: Process, output: Output) -> None:
        """Record that a node's engine returned ``output``."""
        at = process.world.now
        match output:
            case Transmit():
                self._hash.update(f"{at} {process.name} {output.to} ".encode() + output.data)
            case MemberChanged(before, after):
                known = after or before
                assert known is not None, "a change has a state before or after it"
                was = "unknown" if before is None else str(before.status)
                status = "forgotten" if after is None else str(after.status)
                self.note(at, process.name, status, known.name, f"{was} {known.generation} {known.incarnation}")
            case InstancesChanged():
                for service in output.services:
                    view = process.engine.view.service(service)
                    self.note(at, process.name, "service", service, f"{len(view.healthy)} {len(view.instances)}")
                    term = process.engine.state.terms.seen(service)
                    claims = [each for each in view.instances if each.role in (PRIMARY, FENCED)] if term else ()
                    for claim in claims:
                        self.note(at, process.name, str(claim.role), claim.id, str(claim.term))
            case PoliciesChanged():
                for key in output.keys:
                    version = process.engine.state.policies.get(key)
                    what = "policy" if version is not None and version.payload is not None else "policy removed"
                    self.note(at, process.name, what, key)
            case IsolationChanged(isolated, silence):
                self.note(at, process.name, "isolated" if isolated else "heard", process.name, f"{silence:.3f}")
            case NameConflictFound():
                self.note(at, process.name, "contested", str(output.other), str(output.yielding))
            case NameConflicted(other):
                self.note(at, process.name, "conflict" if other is not None else "conflict over", str(other or ""))
            case OpenStream() | SendFrame():
                self._hash.update(f"{at} {process.name} {output.stream} ".encode() + output.frame)
            case _:
                self._hash.update(f"{at} {process.name} {type(output).__name__}\n".encode())
