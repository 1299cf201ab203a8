"""Frozen values: attrs classes that compile nothing at start but their ``__init__``.

attrs writes ``==``, ``hash`` and ``repr`` of each class as source and compiles them, at each start: more than half of
what a class costs. Those of `frozen` get the fields by name instead, which compiles nothing; ``==`` then takes some
0.2 µs longer (``docs/decisions/0077-values-that-compile-less.md``).
"""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING, Any

import attrs

__all__ = ["frozen"]

if TYPE_CHECKING:
    from attrs import frozen  # so type checkers see what they know of attrs
else:

    def frozen(cls: type | None = None, *, eq: bool = True, **options: Any) -> Any:
        """Make ``cls`` an attrs class as `attrs.frozen` does, equal and printed as those are.

        ``eq``: whether instances with equal fields are equal; else each equals itself only. ``options``: others of
        `attrs.frozen`, except ``order``, ``hash`` and ``repr``. A method of these that ``cls`` defines stays.
        """
        if cls is None:
            return lambda cls: frozen(cls, eq=eq, **options)
        own = vars(cls).keys()
        made = attrs.frozen(cls, eq=False, repr=False, **options)
        if eq and "__eq__" not in own:
            _add_eq(made)
            if "__hash__" not in own:
                _add_hash(made)
        if "__repr__" not in own:
            _add_repr(made)
        return made


def _getter(names: list[str]) -> attrgetter[Any]:
    """What returns these fields of an instance: a tuple, or the value if there is one alone."""
    return attrgetter(*names) if names else attrgetter("__class__")


def _add_eq(made: Any) -> None:
    compared = _getter([each.name for each in made.__attrs_attrs__ if each.eq])

    def __eq__(self: object, other: object) -> bool:  # noqa: N807 - it becomes a method
        if other.__class__ is not self.__class__:
            return NotImplemented
        return bool(compared(self) == compared(other))

    made.__eq__ = __eq__


def _add_hash(made: Any) -> None:
    hashed = _getter([each.name for each in made.__attrs_attrs__ if (each.eq if each.hash is None else each.hash)])

    def __hash__(self: object) -> int:  # noqa: N807 - it becomes a method
        return hash(hashed(self))

    made.__hash__ = __hash__


def _add_repr(made: Any) -> None:
    shown = [(each.name, repr if each.repr is True else each.repr) for each in made.__attrs_attrs__ if each.repr]

    def __repr__(self: object) -> str:  # noqa: N807 - it becomes a method
        fields = ", ".join(f"{name}={show(getattr(self, name))}" for name, show in shown)
        return f"{self.__class__.__qualname__.rpartition('>.')[2]}({fields})"

    made.__repr__ = __repr__
