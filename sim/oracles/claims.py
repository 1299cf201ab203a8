"""Knows oracles 5 and 9 for members: nobody else speaks for a member, and it answers whoever accuses it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Final

import attrs
import msgpack

from gossipreg.model import Status
from gossipreg.protocol.outputs import MemberChanged, Output
from gossipreg.protocol.wire.messages import SENDER_BYTES, pack
from gossipreg.protocol.wire.sealing import Refused, Seal
from sim.oracles.oracle import Oracle
from sim.process import Process

#: Where in a packed rumor these fields are, and the bytes before its name: head, kind, head of the name.
_GENERATION, _INCARNATION, _STATUS, _HOST, _PORT = 2, 3, 4, 5, 6
_BEFORE_NAME: Final = 3

_ACCUSED: Final = (int(Status.SUSPECT), int(Status.FAILED))


@attrs.define
class Claims(Oracle):
    """Every life and incarnation that is believed of a member is one that the member itself has taken."""

    law: ClassVar[str] = "only a member itself raises its generation and incarnation"
    wants: ClassVar[tuple[type[Any], ...]] = (MemberChanged,)

    _said: dict[tuple[str, int], int] = attrs.field(factory=dict)  # (name, generation) -> highest incarnation
    _last: dict[Process, tuple[int, int]] = attrs.field(factory=dict)

    def after(self, process: Process) -> None:
        """Note what a member says of itself."""
        identity = process.engine.standing.identity
        last = self._last.get(process)
        if last is None or last[1] != identity.incarnation or last[0] != identity.generation:
            self._last[process] = (identity.generation, identity.incarnation)
            self._said[process.name, identity.generation] = identity.incarnation

    def see(self, process: Process, output: Output) -> None:
        """Compare what somebody comes to believe with what the member has said."""
        assert isinstance(output, MemberChanged), "nothing else is wanted"
        after = output.after
        if after is None or after.name == process.name:
            return
        self.checks += 1
        if after.incarnation > self._said.get((after.name, after.generation), -1):
            life = f"{after.name} in generation {after.generation}, incarnation {after.incarnation}"
            self.wrong(process.name, f"believes in {life}, of which {after.name} never spoke")


@attrs.define
class Answers(Oracle):
    """A member that hears itself accused in its present life has a higher incarnation when the step is over."""

    law: ClassVar[str] = "who hears itself accused answers in the same step"

    _heard: list[tuple[int, int]] = attrs.field(factory=list)  # (generation, incarnation) of accusations in this step

    def after(self, process: Process) -> None:
        """Compare the accusations of this step with what the accused says of itself now."""
        if type(process.seal) is not _Ear:
            process.seal = _Ear(process.seal, process, self._hear)
        if not self._heard:
            return
        identity = process.engine.standing.identity
        now = (identity.generation, identity.incarnation)
        for accusation in self._heard:
            self.checks += 1
            waits = process.engine.standing.calm.verdict is not None  # it keeps being failed, and takes its time
            if now <= accusation and not identity.left and not waits:
                self.wrong(process.name, f"heard itself accused in {accusation}, and is still in {now}")
        self._heard.clear()

    def _hear(self, process: Process, fields: list[Any]) -> None:
        """A rumor about ``process`` has reached it."""
        own = process.engine.standing.identity
        of_this_life = fields[_GENERATION] == own.generation and tuple(fields[_HOST : _PORT + 1]) == own.address
        if fields[_STATUS] in _ACCUSED and of_this_life:
            self._heard.append((fields[_GENERATION], fields[_INCARNATION]))

    def finish(self) -> None:
        """Say so if nobody was accused."""
        if not self.checks:
            self.not_applicable("nobody heard itself accused")


@attrs.define(eq=False)
class _Ear:
    """A process's seal, and somebody who listens for what comes out of it about that very process."""

    inner: Seal
    process: Process
    tell: Callable[[Process, list[Any]], None]
    overhead: int = attrs.field(init=False)
    seal: Callable[..., bytes] = attrs.field(init=False)
    _sign: bytes = attrs.field(init=False)  # how a rumor about the process begins

    def __attrs_post_init__(self) -> None:
        self.overhead = self.inner.overhead
        self.seal = self.inner.seal
        own = self.process.engine.standing.identity.rumor()
        self._sign = pack(own)[: _BEFORE_NAME + len(own.name)]

    def open(self, packet: bytes, wall: float) -> bytes | Refused:
        """Open a packet, and look whether the process is spoken of; nothing is decoded unless it is."""
        payload = self.inner.open(packet, wall)
        if type(payload) is bytes and self._sign in payload:
            at = payload.find(self._sign, SENDER_BYTES)
            while at >= 0:
                unpacker = msgpack.Unpacker()
                unpacker.feed(payload[at:])
                self.tell(self.process, next(unpacker))
                at = payload.find(self._sign, at + 1)
        return payload
