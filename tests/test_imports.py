"""Imports: no modules of the package or the simulator need each other in a circle, not even inside functions."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping, Sequence
from graphlib import CycleError, TopologicalSorter
from itertools import pairwise
from pathlib import Path

ROOT = Path(__file__).parent.parent

#: `import_module("…")` and the like take a module's name as a string.
NAME = re.compile(r'"(gossipreg(?:_sim)?(?:\.\w+)+)"')

#: Packages that export names of their modules, each loaded at its first use. No module depends on all that they export.
EXPORTING = ("gossipreg", "gossipreg_sim")


def modules() -> dict[str, Path]:
    """Every module, by its name."""
    found = {}
    for base in (ROOT, ROOT / "sim"):
        for package in base.glob("gossipreg*"):
            for file in sorted(package.rglob("*.py")):
                parts = file.relative_to(base).with_suffix("").parts
                found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = file
    return found


def imports(statements: Sequence[ast.AST]) -> Iterator[ast.Import | ast.ImportFrom]:
    """The import statements among and inside these, but for those that only type checkers run."""
    for each in statements:
        match each:
            case ast.Import() | ast.ImportFrom():
                yield each
            case ast.If(test=ast.Name("TYPE_CHECKING")):
                yield from imports(each.orelse)
            case ast.stmt() | ast.ExceptHandler() | ast.match_case():
                for field in ("body", "orelse", "finalbody", "handlers", "cases"):
                    yield from imports(getattr(each, field, ()))


def needed(text: str, known: Mapping[str, Path]) -> set[str]:
    """The modules among ``known`` that a module's source imports or names."""
    found = set(NAME.findall(text))
    for statement in imports(ast.parse(text).body):
        match statement:
            case ast.Import():
                found |= {alias.name for alias in statement.names}
            case ast.ImportFrom(module=str(module), level=0):
                members = {f"{module}.{alias.name}" for alias in statement.names}
                found |= {name if name in known else module for name in members}
    return found & known.keys()


def circle_in(graph: Mapping[str, set[str]]) -> list[str]:
    """Modules of which each needs the next one, and the last is the first again; empty if there are none."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(reversed(error.args[1]))
    return []


def graph_of(known: Mapping[str, Path]) -> dict[str, set[str]]:
    graph = {name: needed(file.read_text(), known) - {name} for name, file in known.items()}
    return graph | {name: set[str]() for name in EXPORTING}


def test_no_modules_need_each_other_in_a_circle() -> None:
    graph = graph_of(modules())
    assert "gossipreg.cli.completion" in graph["gossipreg.cli.declare"], "one that is named in a string"
    assert "gossipreg.cli.root" in graph["gossipreg.cli"], "one that is imported in a function"
    assert circle_in(graph) == []


def test_a_circle_is_found_through_functions_strings_and_branches() -> None:
    known = dict.fromkeys(("gossipreg.a", "gossipreg.b", "gossipreg.c", "gossipreg.d"), ROOT)
    sources = {
        "gossipreg.a": "def first():\n    from gossipreg import b\n",
        "gossipreg.b": 'import_module("gossipreg.c")\n',
        "gossipreg.c": "try:\n    import gossipreg.d\nexcept ImportError:\n    pass\n",
        "gossipreg.d": "if TYPE_CHECKING:\n    from gossipreg.b import B\nelse:\n    from gossipreg.a import A\n",
    }
    graph = {name: needed(text, known) for name, text in sources.items()}
    circle = circle_in(graph)
    assert set(circle) == known.keys()
    assert all(after in graph[before] for before, after in pairwise(circle))
    graph["gossipreg.d"] = needed("if TYPE_CHECKING:\n    from gossipreg.a import A\n", known)
    assert circle_in(graph) == []
