"""Prepared queries as frontends find them."""

from __future__ import annotations

from collections.abc import Iterable
from uuid import UUID

import pytest

from gossipreg import prepared_query
from gossipreg.frontends.serving import prepared_queries
from gossipreg.frontends.serving.prepared_queries import DefinedQueries
from gossipreg.policy import Policy
from gossipreg.prepared_query import PreparedQuery
from gossipreg.values import frozen

TEMPLATES = [
    PreparedQuery(str(UUID(int=900)), "${name.suffix}", "w", template=True),
    PreparedQuery(str(UUID(int=901)), "${name.suffix}", "name-1", template=True),
    PreparedQuery(str(UUID(int=902)), "${name.full}", template=True),
]
NAMED = [PreparedQuery(str(UUID(int=number)), f"service-{number}", f"Name-{number % 50}") for number in range(100)] + [
    PreparedQuery(str(UUID(int=200)), "odd", str(UUID(int=3)))
]


@frozen
class Defined:
    """A source of policies that do not change."""

    held: tuple[Policy, ...]

    @classmethod
    def of(cls, queries: Iterable[PreparedQuery]) -> Defined:
        return cls(tuple(Policy(each, "a", 1.0) for each in sorted(queries, key=lambda each: each.key)))

    def policies(self) -> tuple[Policy, ...]:
        return self.held


@pytest.mark.parametrize("queries", [[], NAMED, TEMPLATES, NAMED + TEMPLATES])
def test_a_name_means_the_same_query_as_if_all_were_looked_through(queries: list[PreparedQuery]) -> None:
    found = DefinedQueries(Defined.of(queries))
    for name in ("", "w", "web", "NAME-7", "name-77", "name-1", *(each.id.upper() for each in queries), "x" * 256):
        assert found.find(name) == prepared_query.find(queries, name), name


def test_however_many_queries_there_are_a_name_is_compared_with_templates_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Any client of DNS may ask, for any name."""
    compared = list[int]()

    def find(queries: tuple[PreparedQuery, ...], name: str) -> PreparedQuery | None:
        compared.append(len(queries))
        return prepared_query.find(queries, name)

    monkeypatch.setattr(prepared_queries, "find", find)
    found = DefinedQueries(Defined.of(NAMED + TEMPLATES))
    for name in ("name-7", "nothing", NAMED[5].id):
        assert found.find(name) is not None
    assert compared == [1, len(TEMPLATES), 1]
