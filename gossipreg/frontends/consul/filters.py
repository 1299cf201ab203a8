"""The language of ``?filter=``: expressions with which Consul's clients select rows of an answer.

    filter    = all { "or" all }
    all       = one { "and" one }
    one       = "not" one | "(" filter ")" | each | match
    each      = ("any" | "all") field "as" word ["," word] "{" filter "}"
    match     = field ("==" | "!=" | ["not"] "contains" | ["not"] "matches") value | field "is" ["not"] "empty"
              | value ["not"] "in" field
    field     = name { "." name | "[" string "]" } | string that is a JSON pointer (RFC 6901)
    value     = string | `string` | word

A field that is a list of objects, such as ``Checks``, is any of them. ``any`` and ``all`` name one element of a list,
or the key of a map; with two words, its place or key, and its value. ``_`` names nothing.
"""

from __future__ import annotations

import json
import re
from collections import ChainMap
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Any, Final

from gossipreg.frontends.consul.patterns import BadPattern, Pattern, compile_pattern
from gossipreg.frontends.serving.response import HttpError
from gossipreg.text import shown
from gossipreg.values import frozen

_LEXEME: Final = re.compile(
    r"""\s*(?:
        (?P<string>"(?:[^"\\]|\\.)*"|`[^`]*`)
      | (?P<sign>==|!=|\(|\)|\[|\]|\{|\}|,)
      | (?P<word>[^\s"`()\[\]=!{},]+)
    )""",
    re.VERBOSE,
)

#: How deep a filter may be nested.
_DEPTH_MAX: Final = 32

#: Matches in one filter. Each is tried on each row: what is more is no person's question, and clients that select by
#: many ids ask for all and choose themselves.
_MATCHES_MAX: Final = 64

#: Regular expressions in one filter: they take the most time.
_PATTERNS_MAX: Final = 8

#: How deep ``any`` and ``all`` may be within one another: each multiplies the work by the length of a list.
_EACH_MAX: Final = 2

#: Elements that ``any`` and ``all`` look at in one row, times the matches of the filter: some 10 ms of work. A row has
#: some ten elements; one with a thousand entries of meta, looked at within one another, would have a million.
_ELEMENTS_MAX: Final = 20_000

#: Fields with keys of the user's choice: a key that is not there is no error.
_OPEN: Final = frozenset({"Meta", "NodeMeta", "ServiceMeta", "TaggedAddresses", "ServiceTaggedAddresses", "Definition"})

_MISSING: Final = object()

#: Whether a row is wanted.
Test = Callable[[Any], bool]


@frozen
class _Lexeme:
    kind: str  # string, sign or word; end after the last
    text: str


def parse(text: str, example: Mapping[str, Any]) -> Test:
    """The test that ``text`` describes, for rows with the fields of ``example``. Raises a 400 ``HttpError``."""
    return _Reader(text, example).read()


def _refusal(sentence: str) -> HttpError:
    return HttpError(400, f"Failed to create boolean expression evaluator: {sentence}")


def _lexemes(text: str) -> list[_Lexeme]:
    found, at = [], 0
    text = text.rstrip()
    while at < len(text):
        match = _LEXEME.match(text, at)
        if match is None:
            raise _refusal(f"{shown(text[at:].strip())} cannot be read")
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
        raise _refusal(f"{shown(text)} is not a string") from None


class _Reader:
    """Reads one filter, from left to right."""

    def __init__(self, text: str, example: Mapping[str, Any]) -> None:
        self._lexemes = _lexemes(text)
        self._at = 0
        self._depth = 0
        self._matches = 0
        self._example = example
        self._patterns = 0
        self._looked_at = 0  # elements of the row that is tested, times the matches
        self._bound: list[str] = []  # the names that stand for elements here

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
        return _refusal(f"{wanted} was expected, not {shown(self._next.text)}")

    # What it says

    def _any(self) -> Test:
        self._depth += 1
        if self._depth > _DEPTH_MAX:
            raise _refusal(f"it is nested more than {_DEPTH_MAX} deep")
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
        elif self._next.text in ("any", "all") and self._lexemes[self._at + 1].kind in ("word", "string"):
            test = self._each() if self._is_each() else self._match()
        else:
            test = self._match()
        return (lambda row: not test(row)) if inverted else test

    def _is_each(self) -> bool:
        """Whether ``any`` or ``all`` is the word of that meaning, and no field or value."""
        following = self._lexemes[self._at + 1]
        return self._next.kind == "word" and following.text not in ("in", "not", "is", "contains", "matches")

    def _each(self) -> Test:
        combine = any if self._take().text == "any" else all
        path = self._field()
        if not self._took("as"):
            raise self._unexpected("as")
        names = [self._name()]
        if self._took(","):
            names.append(self._name())
        if not self._took("{"):
            raise self._unexpected("{")
        if len(self._bound) >= 2 * _EACH_MAX:
            raise _refusal(f"any and all are nested more than {_EACH_MAX} deep")
        self._bound += [*names, ""][:2]
        test = self._any()
        del self._bound[-2:]
        if not self._took("}"):
            raise self._unexpected("}")
        is_outer = not self._bound

        def passes(row: Any) -> bool:
            if is_outer:
                self._looked_at = 0
            return combine(test(ChainMap(bound, row)) for bound in self._counted(_elements(_found(row, path), names)))

        return passes

    def _counted(self, elements: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        """Yield the elements; raise a 400 ``HttpError`` when one row has too many."""
        for element in elements:
            self._looked_at += self._matches
            if self._looked_at > _ELEMENTS_MAX:
                raise _refusal(f"any and all look at more than {_ELEMENTS_MAX // self._matches} elements of one row")
            yield element

    def _name(self) -> str:
        if self._next.kind != "word":
            raise self._unexpected("a name")
        return self._take().text

    def _match(self) -> Test:
        self._matches += 1
        if self._matches > _MATCHES_MAX:
            raise _refusal(f"it has more than {_MATCHES_MAX} matches")
        if self._lexemes[self._at + 1 : self._at + 2] == [_Lexeme("word", "in")]:
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
        for words, wanted in _MATCHES.items():
            if self._took(*words):
                return self._test(path, partial(_matches, self._pattern(), wanted))
        raise self._unexpected("==, !=, in, contains, matches or is empty")

    def _pattern(self) -> Pattern:
        self._patterns += 1
        if self._patterns > _PATTERNS_MAX:
            raise _refusal(f"it has more than {_PATTERNS_MAX} regular expressions")
        try:
            return compile_pattern(self._value())
        except BadPattern as error:
            raise _refusal(f"the regular expression cannot be used: {error}") from None

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
        if self._next.kind == "string" and self._next.text.startswith("/"):
            pointed = self._take().text[1:].split("/")
            path = [each.replace("~1", "/").replace("~0", "~") for each in pointed]
            self._check_known(path)
            return tuple(path)
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
        if path[0] in self._bound and path[0] != "_":
            return
        here: Any = self._example
        for name in path:
            here = here[0] if isinstance(here, list) and here else here
            if not isinstance(here, Mapping) or name not in here:
                raise _refusal(f"there is no field {shown('.'.join(path))} to select by")
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


def _found(here: Any, path: tuple[str, ...]) -> Any:
    """What is at ``path``: of a list of objects, a list of what each has there."""
    for number, name in enumerate(path):
        if isinstance(here, list | tuple):
            return [_found(each, path[number:]) for each in here]
        here = here.get(name, _MISSING) if isinstance(here, Mapping) else _MISSING
    return here


def _elements(found: Any, names: list[str]) -> Iterator[dict[str, Any]]:
    """What the names stand for, for each element of a list or a map."""
    if isinstance(found, Mapping):
        pairs: Iterable[tuple[Any, Any]] = found.items()
    else:
        pairs = enumerate(found) if isinstance(found, list | tuple) else ()
    for key, value in pairs:
        alone = key if isinstance(found, Mapping) else value
        said = (alone,) if len(names) == 1 else (key, value)
        yield {name: each for name, each in zip(names, said, strict=True) if name != "_"}


def _matches(pattern: Pattern, wanted: bool, found: Any) -> bool:
    """Whether a text matches, or one of a list does, or a key of a map."""
    texts = [found] if isinstance(found, str) else found if isinstance(found, list | tuple | Mapping) else ()
    return any(isinstance(each, str) and pattern.is_in(each) for each in texts) is wanted


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

_MATCHES: Final = {("matches",): True, ("not", "matches"): False}

_WITH_VALUE: Final[Mapping[tuple[str, ...], Callable[[str, Any], bool]]] = {
    ("==",): _equal,
    ("!=",): lambda value, found: not _equal(value, found),
    ("contains",): _holds,
    ("not", "contains"): _holds_not,
}
