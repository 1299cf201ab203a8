"""Journal: a run as a list of lines. It is the format of a saved run, and two runs are compared by it."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator
from functools import lru_cache
from heapq import merge
from operator import attrgetter
from pathlib import Path
from typing import Any, Final

import attrs

from gossipreg.protocol.membership.member_update import MemberUpdate
from gossipreg.protocol.membership.probe import Ack, Nack, Ping, PingReq
from gossipreg.protocol.wire.messages import Message
from gossipreg_sim.cluster import PacketTrace
from gossipreg_sim.report.files import write_file
from gossipreg_sim.report.recording import Recording, messages_of, record
from gossipreg_sim.runner import Outcome
from gossipreg_sim.scenario import ScenarioError
from gossipreg_sim.scenario_file import load
from gossipreg_sim.trace import Step

#: The suffix of a saved run's file.
SUFFIX: Final = ".trace"

_FORM: Final = 1

Figure = str | int | float | bool | None


@attrs.frozen
class Line:
    """What a node, or a fault, did at ``at`` (ns). ``check`` distinguishes packets whose text is equal."""

    at: int
    node: str
    text: str
    check: int = 0


@attrs.frozen
class Journal:
    """The events of a run, line by line, and its summary figures."""

    name: str
    figures: dict[str, Figure]
    lines: tuple[Line, ...] = attrs.field(repr=False)

    def save(self, path: Path) -> None:
        """Write the journal as gzipped JSON lines; the first line is the figures.

        Raises `ScenarioError`.
        """
        head = {"gossipreg_trace": _FORM, "name": self.name, "figures": self.figures}
        documents = [head, *([line.at, line.node, line.text, line.check] for line in self.lines)]
        text = "".join(f"{json.dumps(document, separators=(',', ':'))}\n" for document in documents)
        write_file(path, gzip.compress(text.encode(), mtime=0))


def load_journal(path: Path) -> Journal:
    """Read the run that `Journal.save` wrote to ``path``. Raises `ScenarioError`."""
    try:
        head, *rows = map(json.loads, gzip.decompress(path.read_bytes()).decode().splitlines())
        if head["gossipreg_trace"] != _FORM:
            raise ScenarioError(f"{path}: saved by another version: save it again with this one")
        return Journal(head["name"], head["figures"], tuple(Line(*row) for row in rows))
    except OSError as error:
        reason = error.strerror or "it is incomplete, or not a trace"
    except (EOFError, zlib.error, ValueError, KeyError, TypeError):
        reason = "it is incomplete, or not a trace"
    raise ScenarioError(f'cannot read {path}: {reason}: save one with "gossipreg sim run SCENARIO --save FILE.trace"')


def journal_named(name: str) -> Journal:
    """Return the journal for ``name``: a FILE.trace, or SCENARIO:SEED, which is run. Raises `ScenarioError`."""
    if name.endswith(SUFFIX):
        return load_journal(Path(name))
    scenario, colon, seed = name.rpartition(":")
    if not colon or not seed.isdecimal():
        scenario, seed = name, "0"
    return journal_of(record(load(scenario), int(seed)))


def journal_of(recording: Recording) -> Journal:
    """Return the journal of a run."""
    outcome = recording.outcome
    steps = map(_of_step, outcome.trace.steps)
    packets = map(_of_packet, recording.passages)
    lines = tuple(merge(steps, packets, key=attrgetter("at")))
    return Journal(f"{outcome.scenario.name}, seed {outcome.seed}", dict(_figures(outcome)), lines)


def _of_step(step: Step) -> Line:
    return Line(step.at, step.node or "-", " ".join(filter(None, (step.what, step.about, step.detail))))


def _of_packet(passage: PacketTrace) -> Line:
    said = ", ".join(map(_said, messages_of(passage.data))) or "begins or ends a stream"
    way = " on a stream" if passage.on_stream else ""
    fate = "" if passage.arrivals else f" (lost to {passage.culprit.removeprefix('fault ')})"
    text = f"-> {passage.receiver}{way}: {said}{fate}"
    return Line(passage.sent, passage.sender, text, zlib.crc32(passage.data + repr(passage.arrivals).encode()))


@lru_cache(maxsize=65_536)
def _said(message: Message) -> str:
    match message:
        case Ping(seq) | Ack(seq) | Nack(seq) | PingReq(seq):
            return f"{type(message).__name__.lower().replace('req', '-req')} {seq}"
        case MemberUpdate(name, _, incarnation, status):
            return f"{name} {status} {incarnation}"
        case _:
            return type(message).__name__.lower()


def _figures(outcome: Outcome) -> Iterator[tuple[str, Figure]]:
    yield "good", outcome.is_good
    yield "healed in (s)", None if outcome.healed_in is None else round(outcome.healed_in, 3)
    yield "lasted (s)", round(outcome.seconds, 3)
    yield "packets", outcome.packets
    yield "frames", outcome.frames
    yield "bytes", outcome.bytes
    for name in outcome.checks:
        yield f"violations of {name}", sum(violation.oracle == name for violation in outcome.violations)
    yield from outcome.marks.items()
    yield "trace hash", outcome.digest


def document_of(line: Line) -> dict[str, Any]:
    """Return a line as JSON; its time is in seconds."""
    return {"at": line.at / 1_000_000_000, "node": line.node, "text": line.text}
