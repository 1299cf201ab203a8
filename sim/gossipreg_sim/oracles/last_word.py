"""Knows oracle 19: of what is said about a policy the last word counts, and it is not lost."""

from __future__ import annotations

from typing import Any, ClassVar, Final

import attrs

from gossipreg.protocol.outputs import Output, PoliciesChanged
from gossipreg.protocol.registry.policies import Word
from gossipreg_sim.oracles.oracle import Oracle
from gossipreg_sim.process import Process

#: A generation and a stamp are in whole milliseconds.
_ROUNDING: Final = 2.0

#: When it was said, and by whom; of two words by one name at one time the digest decides.
_Rank = tuple[int, int, str, int]


@attrs.define
class LastWord(Oracle):
    """What a node holds of a key was said by its writer, and gives way only to what was said later.

    What is said by one who has heard of another word, be it about another key, is later than that; and no earlier than
    the wall clock shows there, so that what was said on both sides of a split is in its order. When all agree, they
    hold the same words and weigh everybody by them alike, and no word is lost that somebody said who lived on or came
    back with its disk. Whoever came back without has taken no word along; if nobody else had it, it is gone.
    """

    law: ClassVar[str] = "the last word about a policy counts, on all nodes, and is not lost"
    wants: ClassVar[tuple[type[Any], ...]] = (PoliciesChanged,)

    _said: dict[str, dict[int, Word]] = attrs.field(factory=dict)  # writer -> by digest, all that it ever said
    _kept: dict[str, list[Word]] = attrs.field(factory=dict)  # writer -> what the life that lives now must remember
    _lives: dict[str, Process] = attrs.field(factory=dict)
    _held: dict[tuple[Process, str], Word] = attrs.field(factory=dict)

    def after(self, process: Process) -> None:
        """See who begins a new life, and whether with its disk."""
        if self._lives.get(process.name) is not process:
            self._lives[process.name] = process
            if not process.has_disk:
                self._kept[process.name] = []

    def see(self, process: Process, output: Output) -> None:
        """Compare the new word with the one before, and with what its writer said."""
        assert isinstance(output, PoliciesChanged), "nothing else is wanted"
        self.after(process)
        for key in output.keys:
            word = process.engine.knowledge.policies.get(key)
            before = self._held.get((process, key))
            if word is None:
                self.check(process, before is None, f"forgot {_named(before)}")
                continue
            self._held[process, key] = word
            later = before is None or word == before or _rank(word) > _rank(before)
            self.check(process, later, f"took {_named(word)} for {_named(before)}")
            if word.digest not in self._said.get(word.writer, {}):
                self._hear_new(process, word)

    def _hear_new(self, process: Process, word: Word) -> None:
        if word.writer != process.name:
            self.wrong(process.name, f"holds {_named(word)}, which {word.writer} never said")
            return
        self._said.setdefault(process.name, {})[word.digest] = word
        self._kept[process.name].append(word)
        wall = 1000 * process.clock.wall_at(process.now)
        self.check(process, word.ms >= wall - _ROUNDING, f"says {_named(word)} at {wall:.0f}")
        for other in process.engine.knowledge.policies:
            earlier = other is word or (other.ms, other.counter) < (word.ms, word.counter)
            self.check(process, earlier, f"says {_named(word)} after it heard {_named(other)}")

    def finish(self) -> None:
        """Compare what everybody holds at the end, and look for each word that must not be lost."""
        if self.stage.healed_in is None:
            return
        core = [
            process
            for process in self.cluster.alive
            if process.name not in self.stage.outside and not process.engine.identity.left
        ]
        for process in core:
            self.after(process)
        if not any(self._said.values()):
            self.not_applicable("nobody set a policy")
            return
        first = core[0]
        words = {word.key: word for word in first.engine.knowledge.policies}
        for process in core[1:]:
            self.check(process, words == _words_of(process), f"knows other policies than {first.name}")
            alike = bool(self.stage.outside) or _weights(first) == _weights(process)
            self.check(process, alike, f"shows other weights than {first.name}")
        for process in core:
            for said in self._kept[process.name]:
                last = words.get(said.key)
                holds = last is not None and _rank(last) >= _rank(said)
                self.check(process, holds, f"said {_named(said)}, but {first.name} holds {_named(last)}")


def _words_of(process: Process) -> dict[str, Word]:
    return {word.key: word for word in process.engine.knowledge.policies}


def _rank(word: Word) -> _Rank:
    return word.ms, word.counter, word.writer, word.digest


def _named(word: Word | None) -> str:
    if word is None:
        return "no word"
    what = "the removal" if word.payload is None else "the word"
    return f"{what} of {word.writer} about {word.key} at {word.ms}.{word.counter}"


def _weights(process: Process) -> list[tuple[str, str, str, int]]:
    """Who can serve, and what the policies make each weigh."""
    views = process.engine.view.services.values()
    return sorted((each.service, each.owner, each.id, each.weight) for view in views for each in view.healthy)
