"""The language of ``?filter=``: expressions with which Consul's clients select rows of an answer.

    filter    = all { "or" all }
    all       = one { "and" one }
    one       = "not" one | "(" filter ")" | match
    match     = field ("==" | "!=" | ["not"] "contains") value | field "is" ["not"] "empty" | value ["not"] "in" field
    field     = name { "." name | "[" string "]" }
    value     = string | `string` | word

A field that is a list of objects, such as ``Checks``, is any of them. There is no ``matches``: a client's regular
expression could keep this node busy for as long as it pleases.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

import attrs

from gossipreg.frontends.serving.response import HttpError
from gossipreg.text import shown

_LEXEME: Final = re.compile(
    r"""\s*(?:
        (?P<string>"(?:[^"\\]|\\.)*"|`[^`]*`)
      | (?P<sign>==|!=|\(|\)|\[|\])
      | (?P<word>[^\s"`()\[\]=!]+)
    )""",
    re.VERBOSE,
)

#: How deep a filter may be nested.
_DEPTH_MAX: Final = 32

#: Matches in one filter. Each is tried on each row: what is more is no person's question, and clients that select by
#: many ids ask for all and choose themselves.
_MATCHES_MAX: Final = 64

#: Fields with keys of the user's choice: a key that is not there is no error.
_OPEN: Final = frozenset(
    {"Tags", "Meta", "NodeMeta", "ServiceMeta", "TaggedAddresses", "ServiceTaggedAddresses", "Definition"}
)

_MISSING: Final = object()

#: Whether a row is wanted.
Test = Callable[[Any], bool]


@attrs.frozen
class _Lexeme:
    kind: str  # string, sign or word; end after the last
    text: str


def parse(text: str, example: Mapping[str, Any]) -> Test:
    """The test that ``text`` describes, for rows with the fields of ``example``. Raises a 400 ``HttpError``."""
    return _Reader(text, example).read()


def _lexemes(text: str) -> list[_Lexeme]:
    found, at = [], 0
    text = text.rstrip()
    while at < len(text):
        match = _LEXEME.match(text, at)
        if match is None:
            raise HttpError(400, f"Failed to create filter: {shown(text[at:].strip())} cannot be read")
        kind = str(match.lastgroup)
        found.append(_Lexeme(kind, _unquoted(match[kind]) if kind == "string" else match[kind]))
        at = match.end()
    return [*found, _Lexeme("end", "the end")]


def _unquoted(text: str) -> str:
    if text.startswith("`"):
        return text[1:-1]
    try:
        return str(json.loads(text, strict=False))
    except ValueError:
        raise HttpError(400, f"Failed to create filter: {shown(text)} is not a string") from None


class _Reader:
    """Reads one filter, from left to right."""

    def __init__(self, text: str, example: Mapping[str, Any]) -> None:
        self._lexemes = _lexemes(text)
        self._at = 0
        self._depth = 0
        self._matches = 0
        self._example = example

    def read(self) -> Test:
        test = self._any()
        if self._next.kind != "end":
            raise self._unexpected("and, or, or the end")
        return test

    # What comes next

    @property
    def _next(self) -> _Lexeme:
        return self._lexemes[self._at]

    def _take(self) -> _Lexeme:
        lexeme = self._next
        self._at += lexeme.kind != "end"
        return lexeme

    def _took(self, *texts: str) -> bool:
        """Whether just these signs and words came next, and were taken."""
        coming = self._lexemes[self._at : self._at + len(texts)]
        if any(each.kind == "string" for each in coming) or [each.text for each in coming] != list(texts):
            return False
        self._at += len(texts)
        return True

    def _unexpected(self, wanted: str) -> HttpError:
        return HttpError(400, f"Failed to create filter: {wanted} was expected, not {shown(self._next.text)}")

    # What it says

    def _any(self) -> Test:
        self._depth += 1
        if self._depth > _DEPTH_MAX:
            raise HttpError(400, f"Failed to create filter: it is nested more than {_DEPTH_MAX} deep")
        tests = [self._all()]
        while self._took("or"):
            tests.append(self._all())
        self._depth -= 1
        return tests[0] if len(tests) == 1 else lambda row: any(test(row) for test in tests)

    def _all(self) -> Test:
        tests = [self._one()]
        while self._took("and"):
            tests.append(self._one())
        return tests[0] if len(tests) == 1 else lambda row: all(test(row) for test in tests)

    def _one(self) -> Test:
        inverted = False
        while self._took("not"):
            inverted = not inverted
        if self._took("("):
            test = self._any()
            if not self._took(")"):
                raise self._unexpected("a closing parenthesis")
        else:
            test = self._match()
        return (lambda row: not test(row)) if inverted else test

    def _match(self) -> Test:
        self._matches += 1
        if self._matches > _MATCHES_MAX:
            raise HttpError(400, f"Failed to create filter: it has more than {_MATCHES_MAX} matches")
        if self._next.kind == "string" or self._lexemes[self._at + 1 : self._at + 2] == [_Lexeme("word", "in")]:
            return self._in()
        if [each.text for each in self._lexemes[self._at + 1 : self._at + 3]] == ["not", "in"]:
            return self._in()
        path = self._field()
        for words, passes in _WITHOUT_VALUE.items():
            if self._took(*words):
                return self._test(path, passes)
        for words, compare in _WITH_VALUE.items():
            if self._took(*words):
                return self._test(path, partial(compare, self._value()))
        raise self._unexpected("==, !=, in, contains or is empty")

    def _in(self) -> Test:
        value = self._value()
        holds = _holds_not if self._took("not") else _holds
        if not self._took("in"):
            raise self._unexpected("in")
        return self._test(self._field(), partial(holds, value))

    @staticmethod
    def _test(path: tuple[str, ...], passes: Test) -> Test:
        return lambda row: _some(row, path, passes)

    def _value(self) -> str:
        if self._next.kind not in ("string", "word"):
            raise self._unexpected("a value")
        return self._take().text

    def _field(self) -> tuple[str, ...]:
        if self._next.kind != "word":
            raise self._unexpected("a field")
        path = self._take().text.split(".")
        while self._took("["):
            path.append(self._value())
            if not self._took("]"):
                raise self._unexpected("]")
            if self._next.kind == "word" and self._next.text.startswith("."):
                path += self._take().text[1:].split(".")
        self._check_known(path)
        return tuple(path)

    def _check_known(self, path: list[str]) -> None:
        here: Any = self._example
        for name in path:
            here = here[0] if isinstance(here, list) and here else here
            if not isinstance(here, Mapping) or name not in here:
                raise HttpError(400, f"Failed to create filter: there is no field {shown('.'.join(path))} to select by")
            if name in _OPEN:
                return
            here = here[name]


def _some(here: Any, path: tuple[str, ...], test: Test) -> bool:
    """Whether what is found at ``path`` passes; in a list of objects, whether that of any of them does."""
    for number, name in enumerate(path):
        if isinstance(here, list | tuple):
            return any(_some(each, path[number:], test) for each in here)
        here = here.get(name, _MISSING) if isinstance(here, Mapping) else _MISSING
    return test(here)


def _equal(value: str, found: Any) -> bool:
    if isinstance(found, bool):
        return value.lower() == str(found).lower()
    if isinstance(found, int):
        return value == str(found)
    return bool(found == value)


def _holds(value: str, found: Any) -> bool:
    """Whether a list has such an element, a map such a key, a text such a part."""
    return isinstance(found, str | list | tuple | Mapping) and value in found


def _holds_not(value: str, found: Any) -> bool:
    return not _holds(value, found)


_WITHOUT_VALUE: Final[Mapping[tuple[str, ...], Test]] = {
    ("is", "empty"): lambda found: found is _MISSING or not found,
    ("is", "not", "empty"): lambda found: found is not _MISSING and bool(found),
}

_WITH_VALUE: Final[Mapping[tuple[str, ...], Callable[[str, Any], bool]]] = {
    ("==",): _equal,
    ("!=",): lambda value, found: not _equal(value, found),
    ("contains",): _holds,
    ("not", "contains"): _holds_not,
}
