"""The code uses the words of its field: one public name for one class, no old words, no questions with side effects."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
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

#: What prose may not contain: persons who act in place of nodes, peers and callers, and words that the field lacks.
#: tests/protocol, tests/runtime, tests/frontends and the other pages are not held to it yet.
BANNED_PROSE = re.compile(
    r"\b(nobody|somebody|everybody|whoever|anybody|everyone"
    r"|rumou?rs?|hearsay|no word|last word|penance|obituary|jury|labour|ears|crowd|goodbye)\b",
    re.IGNORECASE,
)

#: Lines that contain such a word all the same, and why. This list only shrinks.
ALLOWED_PROSE: dict[str, str] = {
    "to whoever asks": "an error message of the agent, which other tests quote",
    'name="goodbye"': "the name of a scenario, which is in its packets",
}


@cache
def trees() -> dict[Path, ast.Module]:
    return {
        file: ast.parse(file.read_text()) for package in PACKAGES for file in sorted((ROOT / package).rglob("*.py"))
    }


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


def test_no_public_class_name_is_used_twice_in_the_package() -> None:
    places = defaultdict(list)
    for file, tree in trees().items():
        if file.is_relative_to(ROOT / "gossipreg"):
            for node in tree.body:
                if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                    places[node.name].append(f"{file.relative_to(ROOT)}:{node.lineno}")
    assert {name: where for name, where in places.items() if len(where) > 1} == {}


def test_old_words_do_not_come_back() -> None:
    found = {}
    for file, tree in trees().items():
        for name, line in [(part, 0) for part in file.relative_to(ROOT).with_suffix("").parts] + list(
            identifiers(tree)
        ):
            if parts(name) & OLD_WORDS and name not in ALLOWED:
                found[name] = f"{file.relative_to(ROOT)}:{line}"
    assert found == {}


def test_old_words_do_not_come_back_to_the_simulation() -> None:
    found = {}
    for folder in SIMULATION:
        for file in sorted((ROOT / folder).rglob("*.py")):
            name_parts = file.relative_to(ROOT).with_suffix("").parts
            for name, line in [*((part, 0) for part in name_parts), *identifiers(ast.parse(file.read_text()))]:
                if parts(name) & OLD_SIMULATION_WORDS:
                    found[name] = f"{file.relative_to(ROOT)}:{line}"
    assert found == {}


def prose_files() -> Iterator[Path]:
    """The files whose prose is checked: the package, the simulation with its tests, and some pages."""
    for folder in ("gossipreg", *SIMULATION):
        for file in sorted((ROOT / folder).rglob("*")):
            if file.suffix in (".py", ".toml", ".js", ".html", ".txt") and "regressions" not in file.parts:
                yield file
    yield from (ROOT / "docs" / f"{page}.md" for page in PAGES)


def test_prose_has_no_persons_as_actors_and_no_old_words() -> None:
    found = [
        f"{file.relative_to(ROOT)}:{number}: {line.strip()}"
        for file in prose_files()
        for number, line in enumerate(file.read_text(errors="replace").splitlines(), 1)
        if BANNED_PROSE.search(line) and not any(part in line for part in ALLOWED_PROSE)
    ]
    assert found == []


def test_each_allowed_name_is_still_there() -> None:
    here = {name for tree in trees().values() for name, _ in identifiers(tree)} if ALLOWED else set()
    assert set(ALLOWED) <= here, "take it off the list"
    prose = "\n".join(file.read_text(errors="replace") for file in prose_files())
    assert [part for part in ALLOWED_PROSE if part not in prose] == [], "take it off the list"


def test_module_docstrings_name_their_thing() -> None:
    files = [*trees(), *sorted((ROOT / "tests").rglob("*.py"))]
    assert [str(file.relative_to(ROOT)) for file in files if file.read_text().startswith('"""Know')] == []


def test_a_question_has_no_side_effect() -> None:
    """A function named ``is_``, ``has_`` or ``may_`` assigns to no attribute."""
    found = []
    for file, tree in trees().items():
        for node in ast.walk(tree):
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
