"""Frozen values behave as those of attrs do: compared, hashed, printed, and copied with a change."""

from __future__ import annotations

import ast
import pickle
from pathlib import Path
from typing import Any

import attrs
import pytest

import gossipreg
from gossipreg.values import frozen

PACKAGE = Path(gossipreg.__file__).parent


def _length(value: object) -> str:
    return f"<{len(str(value))}>"


def _body() -> dict[str, Any]:
    return {
        "__annotations__": dict.fromkeys(("number", "name", "seen", "meta", "key", "secret"), "Any"),
        "name": "a",
        "seen": attrs.field(default=0.0, eq=False),
        "meta": attrs.field(factory=dict, hash=False),
        "key": attrs.field(default=b"k", repr=False),
        "secret": attrs.field(default="hush", repr=_length),
    }


Ours: Any = frozen(type("Made", (), _body()))
Theirs: Any = attrs.frozen(type("Made", (), _body()))

FIELDS: tuple[dict[str, Any], ...] = (
    {"number": 1},
    {"number": 2},
    {"number": 1, "name": "b"},
    {"number": 1, "seen": 5.0},
    {"number": 1, "meta": {"zone": "z"}},
    {"number": 1, "key": b"x"},
    {"number": 1, "secret": "longer"},
)


@frozen
class Empty:
    pass


@frozen
class Pair:
    left: int
    right: int


@frozen
class Wider(Pair):
    more: int = 0


@frozen(kw_only=True)
class Named:
    left: int


@frozen(eq=False)
class Single:
    left: int


@frozen
class Own:
    left: int

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Own)

    def __hash__(self) -> int:
        return 7

    def __repr__(self) -> str:
        return "own"


@pytest.mark.parametrize("one", FIELDS)
@pytest.mark.parametrize("other", FIELDS)
def test_what_attrs_takes_for_equal_is_equal_and_hashed_alike(one: dict[str, Any], other: dict[str, Any]) -> None:
    expected = Theirs(**one) == Theirs(**other)
    assert (Ours(**one) == Ours(**other)) is expected
    assert (Ours(**one) != Ours(**other)) is not expected
    if expected:
        assert hash(Ours(**one)) == hash(Ours(**other))


def test_a_field_that_cannot_be_hashed_is_left_out_if_it_says_so() -> None:
    assert hash(Ours(1, meta={"a": "b"})) == hash(Ours(1, meta={"c": "d"}))


@pytest.mark.parametrize("fields", FIELDS)
def test_each_is_printed_as_attrs_prints_it(fields: dict[str, Any]) -> None:
    assert repr(Ours(**fields)) == repr(Theirs(**fields))


def test_a_class_within_a_function_is_printed_by_its_name_alone() -> None:
    @frozen
    class Within:
        number: int

    assert repr(Within(1)) == "Within(number=1)"


def test_only_instances_of_the_same_class_are_equal() -> None:
    same: object = (1, 2)
    assert Pair(1, 2) != same
    assert Pair(1, 2) != Wider(1, 2)
    assert Wider(1, 2) == Wider(1, 2, 0)
    assert Wider(1, 2, 3) != Wider(1, 2)
    assert Empty() == Empty()
    assert {Empty(), Empty()} == {Empty()}


def test_without_eq_each_is_equal_to_itself_only() -> None:
    one, other = Single(1), Single(1)
    assert one != other
    assert len({one, other, one}) == 2


def test_what_a_class_defines_stays() -> None:
    assert Own(1) == Own(2)
    assert hash(Own(1)) == 7
    assert repr(Own(1)) == "own"


def test_none_can_be_changed_and_each_can_be_copied_with_a_change() -> None:
    pair = Pair(1, 2)
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        pair.left = 3  # type: ignore[misc]  # that is what is asked
    assert attrs.evolve(pair, left=3) == Pair(3, 2)
    assert attrs.asdict(pair) == {"left": 1, "right": 2}
    assert pickle.loads(pickle.dumps(pair)) == pair
    assert not hasattr(pair, "__dict__")
    with pytest.raises(TypeError):
        Named(1)  # type: ignore[call-arg]  # likewise
    assert Named(left=1) == Named(left=1)


def test_no_value_of_the_package_has_its_methods_compiled() -> None:
    """0.2 ms of each start for each class; that which has an order is made by attrs, since one alone has."""
    for file in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            for decorator in node.decorator_list if isinstance(node, ast.ClassDef) else ():
                text = ast.unparse(decorator)
                assert not text.startswith("attrs.frozen") or text == "attrs.frozen(order=True)", f"{file}: {text}"
