"""Mutants of one source file: each is one small change inside a function, or to a named constant of the module.

Not changed: code that does not run (annotations, docstrings), assertions (``assert``), error messages, and class
bodies, decorators and defaults, which run once at import.
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import attrs

_COMPARISONS: dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]] = {
    ast.Lt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
}

_OPERATORS: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult,
    ast.Pow: ast.Mult,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
    ast.BitXor: ast.BitOr,
}

#: Functions that are easily confused.
_TWINS = {"min": "max", "max": "min", "any": "all", "all": "any"}

_Function = ast.FunctionDef | ast.AsyncFunctionDef


@attrs.frozen
class Mutant:
    """One change. The key names it without a line number, so that it is stable when other code moves."""

    file: str  # below the protocol's folder
    where: str  # the function's qualified name; "" for a module's constant
    first_line: int  # of the function including its decorators, as in its code object
    line: int
    change: str  # "before -> after"
    number: int  # of this change in the file
    copy: int = 1  # counts equal changes in one function

    @property
    def key(self) -> str:
        """The name of the mutant."""
        again = f" ({self.copy})" if self.copy > 1 else ""
        return f"{self.file} {self.where or '<module>'}: {self.change}{again}"


def mutants_of(path: Path, file: str) -> list[Mutant]:
    """Return all mutants of the source at ``path``, named ``file``, in code order."""
    found: list[Mutant] = []
    seen: Counter[tuple[str, str]] = Counter()
    for number, (where, first_line, line, change, _) in enumerate(_changes(ast.parse(path.read_text()))):
        seen[where, change] += 1
        found.append(Mutant(file, where, first_line, line, change, number, seen[where, change]))
    return found


def mutated(path: Path, mutant: Mutant) -> ast.Module:
    """Return the source with that one change."""
    tree = ast.parse(path.read_text())
    *_, apply = list(_changes(tree))[mutant.number]
    apply()
    return ast.fix_missing_locations(tree)


_Change = tuple[str, int, int, str, Callable[[], None]]  # function, its first line, line, change, apply


def _changes(tree: ast.Module) -> Iterator[_Change]:
    for statement in tree.body:
        yield from _constant(statement)
    yield from _in_functions(tree, "")


def _constant(statement: ast.stmt) -> Iterator[_Change]:
    """Yield other numbers for a constant of the module."""
    match statement:
        case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value) if _is_number(value):
            for node in ast.walk(value):
                if isinstance(node, ast.Constant) and isinstance(node.value, int | float):
                    for other in _other_values(node.value):
                        change = _tried(statement.value or value, _set(node, value=other), _set(node, value=node.value))
                        yield "", 0, statement.lineno, f"{name} = {_said(value)} -> {change[0]}", change[1]


def _is_number(value: ast.expr) -> bool:
    arithmetic = ast.Constant | ast.BinOp | ast.UnaryOp | ast.operator | ast.unaryop
    return all(isinstance(node, arithmetic) for node in ast.walk(value))


def _in_functions(node: ast.AST, inside: str) -> Iterator[_Change]:
    for child in ast.iter_child_nodes(node):
        name = f"{inside}.{child.name}" if inside and hasattr(child, "name") else getattr(child, "name", inside)
        if isinstance(child, _Function):
            first = min([child.lineno, *(decorator.lineno for decorator in child.decorator_list)])
            for place, statement in enumerate(child.body):
                if not (place == 0 and _is_docstring(statement)):
                    for line, change, apply in _of(statement, child.body):
                        yield name, first, line, change, apply
        elif isinstance(child, ast.ClassDef):
            yield from _in_functions(child, name)


def _is_docstring(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)


def _of(node: ast.AST, siblings: list[ast.stmt] | None = None) -> Iterator[tuple[int, str, Callable[[], None]]]:
    """Yield the changes of ``node`` and everything below it; for a statement also its deletion."""
    if isinstance(node, ast.Assert | ast.Raise | ast.Import | ast.ImportFrom | ast.JoinedStr):
        return
    if siblings is not None and isinstance(node, ast.stmt):
        yield from _left_out(node, siblings)
    line = getattr(node, "lineno", 0)
    for what, apply in _of_itself(node):
        before = _said(node)
        yield line, f"{before} -> {what}", apply
    for field, value in ast.iter_fields(node):
        if field in ("annotation", "returns", "decorator_list", "args") and not isinstance(node, ast.Call):
            continue
        if isinstance(value, ast.AST):
            yield from _of(value)
        elif isinstance(value, list):
            body = value if field in ("body", "orelse", "finalbody") else None
            for each in list(value):
                if isinstance(each, ast.AST) and not (isinstance(each, ast.stmt) and _is_docstring(each)):
                    yield from _of(each, body)


def _left_out(node: ast.stmt, siblings: list[ast.stmt]) -> Iterator[tuple[int, str, Callable[[], None]]]:
    is_call = isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)
    stores = isinstance(node, ast.Assign) and all(isinstance(t, ast.Attribute | ast.Subscript) for t in node.targets)
    if is_call or stores or isinstance(node, ast.AugAssign | ast.Delete):
        place = siblings.index(node)

        def leave_out() -> None:
            siblings[place] = ast.copy_location(ast.Pass(), node)

        yield node.lineno, f"{_said(node)} -> pass", leave_out


def _of_itself(node: ast.AST) -> Iterator[tuple[str, Callable[[], None]]]:
    match node:
        case ast.Compare(ops=ops):
            for place, op in enumerate(ops):
                for other in _COMPARISONS[type(op)]:
                    yield _tried(node, _put(ops, place, other()), _put(ops, place, op))
        case ast.BinOp(op=op) | ast.AugAssign(op=op) if type(op) in _OPERATORS:
            yield _tried(node, _set(node, op=_OPERATORS[type(op)]()), _set(node, op=op))
        case ast.BoolOp(op=op):
            other_op = ast.Or() if isinstance(op, ast.And) else ast.And()
            yield _tried(node, _set(node, op=other_op), _set(node, op=op))
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            yield f"not {_said(node)}", _set(node, operand=ast.UnaryOp(ast.Not(), operand))
        case ast.UnaryOp(op=ast.USub() as op):
            yield _tried(node, _set(node, op=ast.UAdd()), _set(node, op=op))
        case ast.Constant(value=value) if not isinstance(value, bytes) and value is not None and value is not ...:
            for other_value in _other_values(value):
                yield repr(other_value), _set(node, value=other_value)
        case ast.Return(value=value) if value is not None and not isinstance(value, ast.Constant):
            yield "return None", _set(node, value=ast.Constant(None))
        case _:
            yield from _of_choice(node)


def _of_choice(node: ast.AST) -> Iterator[tuple[str, Callable[[], None]]]:
    match node:
        case ast.If(test=test) | ast.While(test=test) | ast.IfExp(test=test) if not isinstance(
            test, ast.Compare | ast.UnaryOp
        ):
            other = ast.UnaryOp(ast.Not(), test)
            yield _said(other), _set(node, test=other)
        case ast.Call(func=ast.Name(id=name) as func) if name in _TWINS:
            yield _tried(node, _set(func, id=_TWINS[name]), _set(func, id=name))


def _other_values(value: object) -> tuple[object, ...]:
    match value:
        case bool():
            return (not value,)
        case int():
            return (value + 1,) if value != 1 else (0, 2)
        case float():
            return (value * 2 + 1,)
        case str() if value:
            return (value + "_",)
    return ()


def _set(node: ast.AST, **fields: object) -> Callable[[], None]:
    def do() -> None:
        for field, value in fields.items():
            setattr(node, field, value)

    return do


def _put(items: list[ast.cmpop], place: int, item: ast.cmpop) -> Callable[[], None]:
    def do() -> None:
        items[place] = item

    return do


def _tried(node: ast.AST, apply: Callable[[], None], undo: Callable[[], None]) -> tuple[str, Callable[[], None]]:
    """Return the source of ``node`` with a change, and the change."""
    apply()
    said = _said(node)
    undo()
    return said, apply


def _said(node: ast.AST) -> str:
    """Return its first line of code, shortened."""
    text = ast.unparse(node).splitlines()[0]
    return text if len(text) <= 100 else f"{text[:97]}..."
