r"""Regular expressions of filters, in time proportional to the text (Thompson's simulation of an automaton).

Python's own module backtracks, so that a client's expression could keep this node busy for as long as it pleases. This
one knows what expressions for names, tags and addresses use of Go's syntax (RE2): literals, ``.``, classes, groups,
``|``, ``* + ? {m,n}``, ``^ $ \A \z \b \B``, ``\d \w \s`` and their opposites, and ``(?i)`` at the beginning.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Final, Literal

import attrs

from gossipreg.values import frozen

#: Steps of one automaton. A repetition such as ``{1,50}`` takes as many copies.
STEPS_MAX: Final = 128

#: Characters of a text that are looked at: an id has 255 at most.
TEXT_CHARS_MAX: Final = 256

#: Moves from one set of states to the next that are kept of an expression: each holds up to `STEPS_MAX` numbers, some
#: 2 KiB, and 64 expressions are kept.
_MOVES_MAX: Final = 256

_REPEATS_MAX: Final = 100
_DEPTH_MAX: Final = 16

_Is = Callable[[str], bool]


class BadPattern(ValueError):
    """An expression that cannot be read, with a sentence that says why."""


def _is_word(char: str) -> bool:
    return char == "_" or (char.isascii() and char.isalnum())


_CLASSES: Final[dict[str, _Is]] = {
    "d": lambda char: "0" <= char <= "9",
    "w": _is_word,
    "s": lambda char: char in "\t\n\f\r ",
    "D": lambda char: not "0" <= char <= "9",
    "W": lambda char: not _is_word(char),
    "S": lambda char: char not in "\t\n\f\r ",
}
_ESCAPES: Final = {"n": "\n", "t": "\t", "r": "\r", "f": "\f", "v": "\v", "a": "\a"}
_ANCHORS: Final = {"A": "begin", "z": "end", "b": "boundary", "B": "inside"}


@frozen
class _Step:
    """One step: consume a character that ``takes`` accepts, or go on where ``anchor`` holds, or just go on."""

    takes: _Is | None = None
    anchor: str = ""
    to: tuple[int, ...] = ()


#: What stands before a place of the text, as far as anchors tell it apart: nothing, a part of a word, or another.
_Before = Literal["", "a", "-"]


@attrs.define(eq=False, repr=False)
class Pattern:
    """A compiled expression. What was found out of its states is kept, so that most characters take one look-up."""

    _steps: tuple[_Step, ...]  # the last is reached when it has matched
    _ignores_case: bool
    _moves: dict[tuple[frozenset[int], _Before, str], tuple[bool, frozenset[int]]] = attrs.field(
        init=False, factory=dict
    )

    def is_in(self, text: str) -> bool:
        """Whether any part of the text matches, as far as that shows in its first `TEXT_CHARS_MAX` characters."""
        text = text.lower() if self._ignores_case else text
        states: frozenset[int] = frozenset()
        before: _Before = ""
        for place in range(min(len(text), TEXT_CHARS_MAX) + 1):
            after = text[place : place + 1]
            move = self._moves.get((states, before, after))
            if move is None:
                move = self._found(states, before, after)
            has_matched, states = move
            if has_matched:
                return True
            before = "a" if after and _is_word(after) else "-"
        return False

    def _found(self, states: frozenset[int], before: _Before, after: str) -> tuple[bool, frozenset[int]]:
        """Whether it has matched between these two characters, and the states once the second is consumed."""
        closed = self._closed({*states, 0}, before, after)
        steps = (self._steps[each] for each in closed) if after else ()
        consumed = frozenset(to for step in steps if step.takes is not None and step.takes(after) for to in step.to)
        if len(self._moves) >= _MOVES_MAX:
            self._moves.clear()
        move = self._moves[states, before, after] = (len(self._steps) - 1 in closed, consumed)
        return move

    def _closed(self, states: set[int], before: str, after: str) -> set[int]:
        """The states with all that are reached from them between these two characters without consuming one."""
        found, waiting = set(states), list(states)
        while waiting:
            step = self._steps[waiting.pop()]
            if step.takes is None and _holds(step.anchor, before, after):
                for to in step.to:
                    if to not in found:
                        found.add(to)
                        waiting.append(to)
        return found


def _holds(anchor: str, before: str, after: str) -> bool:
    if anchor == "begin":
        return not before
    if anchor == "end":
        return not after
    if anchor:
        at_boundary = (bool(before) and _is_word(before)) is not (bool(after) and _is_word(after))
        return at_boundary is (anchor == "boundary")
    return True


@functools.lru_cache(maxsize=64)
def compile_pattern(text: str) -> Pattern:
    """The automaton of an expression. Raises `BadPattern`."""
    ignores_case = text.startswith("(?i)")
    reader = _Reader(text.removeprefix("(?i)"), str.lower if ignores_case else str)
    tree = reader.alternatives(0)
    if reader.coming:
        raise BadPattern("a ')' closes no group")
    if _size(tree) > STEPS_MAX:
        raise BadPattern(f"it is too large: its repetitions come to more than {STEPS_MAX} steps")
    steps: list[_Step] = []
    _emit(tree, steps)
    return Pattern((*steps, _Step()), ignores_case)


# Trees: a character class, an anchor, or one of these with its parts


@frozen
class _Sequence:
    parts: tuple[_Tree, ...]


@frozen
class _Choice:
    parts: tuple[_Tree, ...]


@frozen
class _Repeat:
    part: _Tree
    least: int
    most: int | None


@frozen
class _Char:
    takes: _Is


@frozen
class _Anchor:
    kind: str


_Tree = _Sequence | _Choice | _Repeat | _Char | _Anchor


def _size(tree: _Tree) -> int:
    """How many parts a tree has with all repetitions written out, and so how much work it is to emit its steps.

    An empty part counts, too: it emits no step, but repetitions of repetitions of it would take time without end.
    """
    match tree:
        case _Sequence(parts) | _Choice(parts):
            return 1 + sum(map(_size, parts))
        case _Repeat(part, least, most):
            return 1 + _size(part) * max(1, least + 1 if most is None else most)
        case _:
            return 1


def _emit(tree: _Tree, steps: list[_Step]) -> None:
    """Append the steps of a tree; after the last of them comes what is appended next."""
    match tree:
        case _Char(takes):
            steps.append(_Step(takes=takes, to=(len(steps) + 1,)))
        case _Anchor(kind):
            steps.append(_Step(anchor=kind, to=(len(steps) + 1,)))
        case _Sequence(parts):
            for part in parts:
                _emit(part, steps)
        case _Choice(parts):
            _emit_choice(parts, steps)
        case _Repeat(part, least, most):
            for _ in range(least):
                _emit(part, steps)
            if most is None:
                _emit_loop(part, steps)
            else:
                for _ in range(most - least):
                    _emit_choice((part, _Sequence(())), steps)


def _emit_choice(parts: tuple[_Tree, ...], steps: list[_Step]) -> None:
    fork = len(steps)
    steps.append(_Step())
    starts, ends = [], []
    for part in parts:
        starts.append(len(steps))
        _emit(part, steps)
        ends.append(len(steps))
        steps.append(_Step())
    steps[fork] = _Step(to=tuple(starts))
    for end in ends:
        steps[end] = _Step(to=(len(steps),))


def _emit_loop(part: _Tree, steps: list[_Step]) -> None:
    fork = len(steps)
    steps.append(_Step())
    _emit(part, steps)
    steps.append(_Step(to=(fork,)))
    steps[fork] = _Step(to=(fork + 1, len(steps)))


class _Reader:
    """Reads an expression from left to right."""

    def __init__(self, text: str, fold: Callable[[str], str]) -> None:
        self._text = text
        self._fold = fold  # what is done to a character that stands for itself
        self._at = 0

    @property
    def coming(self) -> str:
        """The next character; empty at the end."""
        return self._text[self._at : self._at + 1]

    def _take(self) -> str:
        char = self.coming
        if not char:
            raise BadPattern("it ends too early")
        self._at += 1
        return char

    def _took(self, text: str) -> bool:
        if not self._text.startswith(text, self._at):
            return False
        self._at += len(text)
        return True

    def alternatives(self, depth: int) -> _Tree:
        """Sequences with ``|`` between them, up to a ``)`` or the end."""
        if depth > _DEPTH_MAX:
            raise BadPattern(f"its groups are nested more than {_DEPTH_MAX} deep")
        parts = [self._sequence(depth)]
        while self._took("|"):
            parts.append(self._sequence(depth))
        return parts[0] if len(parts) == 1 else _Choice(tuple(parts))

    def _sequence(self, depth: int) -> _Tree:
        parts = []
        while self.coming and self.coming not in "|)":
            parts.append(self._repeated(self._one(depth)))
        return _Sequence(tuple(parts))

    def _repeated(self, part: _Tree) -> _Tree:
        bounds = self._bounds()
        if bounds is None:
            return part
        self._took("?")  # whether it takes as little as it can makes no difference to whether it matches
        if self.coming and self.coming in "*+?":
            raise BadPattern("a repetition is repeated")
        return _Repeat(part, *bounds)

    def _bounds(self) -> tuple[int, int | None] | None:
        for sign, bounds in (("*", (0, None)), ("+", (1, None)), ("?", (0, 1))):
            if self._took(sign):
                return bounds
        if self.coming != "{":
            return None
        least, comma, most = self._text[self._at + 1 :].partition("}")[0].partition(",")
        if not _is_count(least) or (most and not _is_count(most)):
            return None  # a brace as itself, as in Go
        self._at = self._text.index("}", self._at) + 1
        low, high = int(least), int(most) if most else (None if comma else int(least))
        if low > _REPEATS_MAX or (high is not None and not low <= high <= _REPEATS_MAX):
            raise BadPattern(f"a repetition is from 0 to {_REPEATS_MAX} times")
        return low, high

    def _one(self, depth: int) -> _Tree:
        char = self._take()
        match char:
            case "(":
                tree = self._group(depth)
            case "[":
                tree = _Char(self._class())
            case ".":
                tree = _Char(lambda each: each != "\n")
            case "^" | "$":
                tree = _Anchor("begin" if char == "^" else "end")
            case "*" | "+" | "?":
                raise BadPattern(f"{char!r} repeats nothing")
            case "\\":
                tree = self._escaped()
            case _:
                tree = _Char(self._fold(char).__eq__)
        return tree

    def _group(self, depth: int) -> _Tree:
        if self._took("?") and not self._took(":"):
            raise BadPattern("of the groups that begin with '(?' only '(?:' is known, and '(?i)' at the beginning")
        tree = self.alternatives(depth + 1)
        if not self._took(")"):
            raise BadPattern("a '(' has no ')'")
        return tree

    def _escaped(self) -> _Tree:
        char = self._take()
        if char in _ANCHORS:
            return _Anchor(_ANCHORS[char])
        return _Char(_CLASSES.get(char) or self._fold(_literal(char)).__eq__)

    def _class(self) -> _Is:
        negated = self._took("^")
        tests: list[_Is] = []
        first = True
        while first or self.coming != "]":
            tests.append(self._member())
            first = False
        self._take()
        return lambda char: any(test(char) for test in tests) is not negated

    def _member(self) -> _Is:
        low = self._take()
        if low == "[" and self.coming == ":":
            raise BadPattern("classes such as [:alpha:] are not known: write their characters")
        if low == "\\":
            escaped = self._take()
            if escaped in _CLASSES:
                return _CLASSES[escaped]
            low = _literal(escaped)
        if self.coming != "-" or self._text[self._at + 1 : self._at + 2] in ("]", ""):
            return self._fold(low).__eq__
        self._at += 1
        high = self._take()
        if high == "\\":
            high = _literal(self._take())
        if high < low:
            raise BadPattern(f"the range {low}-{high} is empty")
        if self._fold is str:
            return lambda char: low <= char <= high
        return lambda char: low <= char <= high or low <= char.upper() <= high  # texts are in lower case


def _is_count(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 4


def _literal(escaped: str) -> str:
    if escaped in _ESCAPES:
        return _ESCAPES[escaped]
    if escaped.isascii() and escaped.isalnum():
        raise BadPattern(f"\\{escaped} is not known")
    return escaped
