"""The code uses the words of its field: one public name for one class, no old words, no questions with side effects."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parent.parent
PACKAGES = ("gossipreg", "sim/gossipreg_sim")

#: Words that the project used before it used the field's. None may be a part of an identifier or of a module's name.
OLD_WORDS = frozenset(
    {
        *("rumor", "mill", "parcel", "voice", "judgement", "intake", "knowledge", "talk"),
        *("obituary", "bereft", "penance", "company", "ears", "dice", "door", "dialect"),
        *("reception", "desk", "shelf", "chore", "knock", "greet", "ride", "jury"),
        *("labour", "crowd", "arena", "lend", "eyes", "story", "troubles", "contest"),
        *("spreading", "orphan"),
    }
)

#: Identifiers that contain an old word all the same, and why. This list only shrinks.
ALLOWED: dict[str, str] = {}

#: The simulator, and the tests that stand on it or beside it.
SIMULATION = ("sim", "tests/sim", "tests/scenes", "tests/chaos", "tests/fuzz", "tests/mutation")

#: Old words of the simulation. None may be a part of an identifier or of a module's name there.
OLD_SIMULATION_WORDS = OLD_WORDS | {
    *("verdict", "judge", "judged", "stage", "actor", "player", "play", "ground", "liar", "life", "hearsay", "trouble"),
    *("nobody", "somebody", "everybody", "whoever"),
}

#: Pages of the documentation that are held to the words of the field as well.
PAGES = ("simulator", "scale", "chaos", "fuzzing", "mutation", "glossary")

#: Persons, which do not act in place of nodes, peers and callers: in no prose, and in no name of a test.
PERSONS = frozenset({"nobody", "somebody", "anybody", "everybody", "everyone", "whoever"})

#: The same in the names of tests of these folders. The tests of the others still say "who" here and there.
NO_WHO = ("tests/frontends", "tests/sim", "tests/scenes")

#: Words that the field lacks, in the prose of the package, the simulation, the frontends' tests and some pages.
OLD_PROSE = ("rumou?rs?", "hearsay", "no word", "last word", "penance", "obituary", "jury", "labour", "ears", "crowd")

BANNED_PERSONS = re.compile(rf"\b({'|'.join(sorted(PERSONS))})\b", re.IGNORECASE)
BANNED_PROSE = re.compile(rf"\b({'|'.join((*sorted(PERSONS), *OLD_PROSE, 'goodbye'))})\b", re.IGNORECASE)

FUNCTION = re.compile(r"^ *(?:async )?def (\w+)", re.MULTILINE)

#: Lines that contain such a word all the same, and why. This list only shrinks.
ALLOWED_PROSE: dict[str, str] = {
    'name="goodbye"': "the name of a scenario, which is in its packets",
    "be the user nobody": "the name of a user of the machine",
    "taken for failed by anybody": "a row of the measured tables, which is found by this name",
    'Not "who", "whoever" or "nobody"': "the rule itself",
}


def sources(*folders: str) -> Iterator[Path]:
    """The modules below ``folders``."""
    for folder in folders:
        yield from sorted((ROOT / folder).rglob("*.py"))


@cache
def parts(identifier: str) -> frozenset[str]:
    """Its words in lower case, each as it is and without a plural's s."""
    words = re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", identifier).lower().split("_")
    return frozenset({*words, *(word.removesuffix("s") for word in words)})


def identifiers(tree: ast.Module) -> Iterator[tuple[str, int]]:
    """Every name that is defined or used in a module, with its line."""
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                yield name, node.lineno
            case ast.Name(id=name) | ast.Attribute(attr=name) | ast.arg(arg=name):
                yield name, node.lineno
            case ast.keyword(arg=str(name)):
                yield name, node.lineno


def used_in(file: Path, words: Iterable[str]) -> Iterator[tuple[str, int]]:
    """The identifiers of a file, with their lines, and the parts of its path that contain one of ``words``."""
    forbidden, text = frozenset(words), file.read_text()
    names = [(part, 0) for part in file.relative_to(ROOT).with_suffix("").parts]
    # Most files have such a word nowhere, and to parse a file takes longer than to look.
    if any(parts(word) & forbidden for word in set(re.findall(r"[^\W\d]\w*", text))):
        names += identifiers(ast.parse(text))
    yield from (each for each in names if parts(each[0]) & forbidden)


def test_no_public_class_name_is_used_twice_in_the_package() -> None:
    places = defaultdict(list)
    for file in sorted((ROOT / "gossipreg").rglob("*.py")):
        for name in re.findall(r"^class ([^\W_]\w*)", file.read_text(), re.MULTILINE):
            places[name].append(str(file.relative_to(ROOT)))
    assert {name: where for name, where in places.items() if len(where) > 1} == {}


def test_old_words_do_not_come_back() -> None:
    found = {}
    for file in sources(*PACKAGES):
        for name, line in used_in(file, OLD_WORDS):
            if name not in ALLOWED:
                found[name] = f"{file.relative_to(ROOT)}:{line}"
    assert found == {}


def test_old_words_do_not_come_back_to_the_simulation() -> None:
    found = {}
    for file in sources(*SIMULATION):
        for name, line in used_in(file, OLD_SIMULATION_WORDS):
            found[name] = f"{file.relative_to(ROOT)}:{line}"
    assert found == {}


def prose_files(*folders: str) -> Iterator[Path]:
    """The files below ``folders`` in which there is prose, but for this one."""
    for folder in folders:
        for file in sorted((ROOT / folder).rglob("*")):
            is_prose = file.suffix in (".py", ".toml", ".js", ".html", ".txt") and file != Path(__file__)
            if is_prose and "regressions" not in file.parts:
                yield file


def lines_with(banned: re.Pattern[str], files: Iterable[Path]) -> list[str]:
    return [
        f"{file.relative_to(ROOT)}:{number}: {line.strip()}"
        for file in files
        for number, line in enumerate(file.read_text(errors="replace").splitlines(), 1)
        if banned.search(line) and not any(part in line for part in ALLOWED_PROSE)
    ]


def test_prose_has_no_persons_as_actors_and_no_old_words() -> None:
    files = [*prose_files("gossipreg", *SIMULATION, "tests/frontends"), *(ROOT / "docs" / f"{p}.md" for p in PAGES)]
    assert lines_with(BANNED_PROSE, files) == []


def test_no_page_has_persons_as_actors() -> None:
    pages = sorted((ROOT / "docs").rglob("*.md"))
    of_today = [page for page in pages if page.parent.name != "decisions"]
    assert lines_with(BANNED_PERSONS, [ROOT / "README.md", *of_today]) == []
    # The records of decisions keep their words, but for the one that hides which node, caller or operator is meant.
    assert lines_with(re.compile(r"\bwhoever\b", re.IGNORECASE), pages) == []


def test_no_test_has_persons_as_actors() -> None:
    assert lines_with(BANNED_PERSONS, prose_files("tests")) == []
    found = [
        f"{file.relative_to(ROOT)}: {name}"
        for file in sorted((ROOT / "tests").rglob("*.py"))
        for name in FUNCTION.findall(file.read_text())
        if parts(name) & (PERSONS | ({"who", "whom"} if within(file, NO_WHO) else set()))
    ]
    assert found == []


def within(file: Path, folders: Iterable[str]) -> bool:
    return any(file.is_relative_to(ROOT / folder) for folder in folders)


def test_each_allowed_name_is_still_there() -> None:
    named = sources(*PACKAGES) if ALLOWED else ()
    here = {name for file in named for name, _ in identifiers(ast.parse(file.read_text()))}
    assert set(ALLOWED) <= here, "take it off the list"
    files = [*prose_files("gossipreg", "sim", "tests"), *(ROOT / "docs").glob("*.md")]
    prose = "\n".join(file.read_text(errors="replace") for file in files)
    assert [part for part in ALLOWED_PROSE if part not in prose] == [], "take it off the list"


def test_module_docstrings_name_their_thing() -> None:
    files = [*sources(*PACKAGES, "tests")]
    assert [str(file.relative_to(ROOT)) for file in files if file.read_text().startswith('"""Know')] == []


def test_a_question_has_no_side_effect() -> None:
    """A function named ``is_``, ``has_`` or ``may_`` assigns to no attribute."""
    found = []
    for file in sources(*PACKAGES):
        text = file.read_text()
        for node in ast.walk(ast.parse(text)) if re.search(r"\bdef _?(is|has|may)_", text) else ():
            if isinstance(node, ast.FunctionDef) and re.match(r"_?(is|has|may)_", node.name):
                found += [f"{file.relative_to(ROOT)}:{each}" for each in assigned_attributes(node)]
    assert found == []


def assigned_attributes(function: ast.FunctionDef) -> Iterator[int]:
    """The lines at which it assigns to attributes, or to what is in them."""
    for node in ast.walk(function):
        targets: list[ast.expr] = []
        match node:
            case ast.Assign(targets=each) | ast.Delete(targets=each):
                targets = each
            case ast.AugAssign(target=target) | ast.AnnAssign(target=target):
                targets = [target]
        yield from (target.lineno for target in targets if is_attribute(target))


def is_attribute(target: ast.expr) -> bool:
    """Whether it is an attribute, or an item of one."""
    return isinstance(target, ast.Attribute) or (isinstance(target, ast.Subscript) and is_attribute(target.value))
