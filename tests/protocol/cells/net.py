"""A net of engines in several cells: what they send arrives at once, unless the two are cut off from each other."""

from __future__ import annotations

from collections import deque
from random import Random

import attrs

from gossipreg.model import Address, Instance
from gossipreg.protocol.cells.cells import Cells
from gossipreg.protocol.engine import Engine
from gossipreg.protocol.outputs import (
    CellChanged,
    CloseStream,
    NameConflictFound,
    OpenStream,
    Output,
    RemoteMembersChanged,
    SeekSeeds,
    SendFrame,
    Transmit,
)
from tests.protocol.making import BORN, engine

#: Steps of the clock (seconds).
_STEP = 0.05


@attrs.define(eq=False)
class Net:
    """Engines by name, whose first letter is the cell. ``cut``: pairs of names or cells without a way between."""

    now: float = 0.0
    engines: dict[str, Engine] = attrs.field(factory=dict)
    dead: dict[str, None] = attrs.field(factory=dict)
    cut: list[frozenset[str]] = attrs.field(factory=list)
    reported: list[tuple[str, CellChanged]] = attrs.field(factory=list)
    remote_changes: list[tuple[str, str]] = attrs.field(factory=list)  # by which node, and of which member
    opened: list[tuple[str, str]] = attrs.field(factory=list)  # streams, by opener and accepter
    _seeds: dict[str, tuple[str, ...]] = attrs.field(factory=dict)
    _ends: dict[tuple[str, int], tuple[str, int]] = attrs.field(factory=dict)
    _accepted: int = 0
    _starts: int = 0
    _todo: deque[tuple[str, list[Output]]] = attrs.field(factory=deque)

    def start(
        self,
        name: str,
        *seeds: str,
        cell: str | None = None,
        generation: int | None = None,
        own_name: str | None = None,
        rng: Random | None = None,
    ) -> Engine:
        """Start a node that knows ``seeds``. ``generation``: its run, if not the present time.

        ``own_name``: what it is called, if another node has this name.
        """
        self._starts += 1
        self.dead.pop(name, None)
        made = self.engines[name] = engine(
            own_name or name,
            cell=name[0] if cell is None else cell,
            address=Address(f"10.0.{ord(name[0])}.{int(name[1:])}", 7000),
            has_seeds=bool(seeds),
            generation=BORN + int(1000 * self.now) if generation is None else generation,
            rng=rng or Random(self._starts),
            now=self.now,
        )
        self._seeds[name] = seeds
        return made

    def region(self, *names: str) -> None:
        """Start nodes, each with two seeds: the first of all, and the first of its cell; wait until all are known."""
        for name in names:
            first = next(each for each in names if each[0] == name[0])
            self.start(name, *dict.fromkeys(each for each in (names[0], first) if each != name))
        self.run(6.0)

    def kill(self, name: str) -> None:
        """End a node without a word."""
        self.dead[name] = None

    def cells(self, name: str) -> Cells:
        """What a node knows of other cells."""
        cells = self.engines[name].state.cells
        assert cells is not None
        return cells

    def register(self, name: str, id_: str = "o1") -> None:
        """Register an instance of orders."""
        offered = Instance(id=id_, service="orders", host="10.0.0.9", port=80)
        self.act(name, self.engines[name].register(offered, self.now))

    def seen(self, name: str) -> list[str]:
        """The ids of the instances of orders that a node calls."""
        return [each.id for each in self.engines[name].view.service("orders").healthy]

    def everywhere(self, *ids: str) -> bool:
        """Whether each node calls exactly these instances."""
        return all(self.seen(name) == list(ids) for name in self.alive)

    @property
    def alive(self) -> list[str]:
        """The names of the nodes that run."""
        return [name for name in self.engines if name not in self.dead]

    def run(self, seconds: float) -> None:
        """Let time pass."""
        until = self.now + seconds
        while self.now < until:
            self.now += _STEP
            for name in self.alive:
                node = self.engines[name]
                node.set_wall_clock(BORN + 1000 * self.now, self.now)
                if node.wants_timeout(self.now):
                    self.act(name, node.handle_timeout(self.now))

    def act(self, name: str, outputs: list[Output]) -> None:
        """Perform what an engine wants, and what follows from it."""
        self._todo.append((name, outputs))
        while self._todo:
            doer, wanted = self._todo.popleft()
            for output in wanted:
                self._perform(doer, output)

    def _reaches(self, one: str, other: str) -> bool:
        ends = {frozenset((a, b)) for a in (one, one[0]) for b in (other, other[0])}
        return other not in self.dead and not any(pair in ends for pair in self.cut)

    def _at(self, address: Address) -> str | None:
        return next((name for name, each in self.engines.items() if each.identity.address == address), None)

    def _perform(self, name: str, output: Output) -> None:
        node = self.engines[name]
        match output:
            case Transmit():
                to = self._at(output.to)
                if to is not None and self._reaches(name, to):
                    self._todo.append((to, self.engines[to].receive(output.data, node.identity.address, self.now)))
            case OpenStream():
                self._open(name, output)
            case SendFrame():
                self._send(name, output.stream, output.frame)
            case CloseStream():
                far = self._ends.pop((name, output.stream), None)
                if far is not None:
                    self._ends.pop(far, None)
                    self._todo.append((far[0], self.engines[far[0]].stream_ended(far[1], self.now)))
            case SeekSeeds():
                known = [self.engines[each].identity.address for each in self._seeds[name] if each in self.engines]
                self._todo.append((name, node.seeds(known, self.now)))
            case NameConflictFound(yielding=True):
                self.kill(name)  # as its driver stops
            case CellChanged():
                self.reported.append((name, output))
            case RemoteMembersChanged():
                self.remote_changes += [(name, each) for each in output.names]

    def _open(self, name: str, output: OpenStream) -> None:
        to = self._at(output.to)
        if to is None or not self._reaches(name, to):
            self._todo.append((name, self.engines[name].stream_ended(output.stream, self.now)))
            return
        self.opened.append((name, to))
        self._accepted -= 1
        self._ends[name, output.stream] = (to, self._accepted)
        self._ends[to, self._accepted] = (name, output.stream)
        self._send(name, output.stream, output.frame)

    def _send(self, name: str, stream: int, frame: bytes) -> None:
        far = self._ends.get((name, stream))
        if far is not None and self._reaches(name, far[0]):
            # A stream comes from a port of its own.
            source = Address(self.engines[name].identity.address.host, 40_000)
            self._todo.append((far[0], self.engines[far[0]].stream_frame(far[1], frame, source, self.now)))
