"""Prepared queries as frontends use them: finding the one that a name means, and what carrying it out gives."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Protocol

import attrs

from gossipreg.model import Instance
from gossipreg.policy import Policy
from gossipreg.prepared_query import PreparedQuery, find
from gossipreg.values import frozen


class PolicySource(Protocol):
    """What knows the policies in force."""

    def policies(self) -> tuple[Policy, ...]:
        """See `Node.policies`."""
        ...


@attrs.define(eq=False, repr=False)
class DefinedQueries:
    """The prepared queries of the cluster, read anew only when its policies have changed."""

    _source: PolicySource
    _read_from: tuple[Policy, ...] = attrs.field(init=False, default=())
    _found: tuple[PreparedQuery, ...] = attrs.field(init=False, default=())
    _exact: dict[str, PreparedQuery] = attrs.field(init=False, factory=dict)  # by id and by name, in lower case
    _templates: tuple[PreparedQuery, ...] = attrs.field(init=False, default=())

    @property
    def all(self) -> tuple[PreparedQuery, ...]:
        """Every query, sorted by id."""
        policies = self._source.policies()
        if policies is not self._read_from:
            self._found = tuple(each.rule for each in policies if isinstance(each.rule, PreparedQuery))
            self._read_from = policies
            by_name = {each.name.lower(): each for each in reversed(self._found) if not each.template}
            self._exact = by_name | {each.id: each for each in self._found}
            self._templates = tuple(each for each in self._found if each.template)
        return self._found

    def find(self, name: str) -> PreparedQuery | None:
        """The query that a name or an id means, if there is one."""
        if not self.all:
            return None
        exact = self._exact.get(name.lower())
        return find(self._templates if exact is None else (exact,), name)

    def is_filled_in(self, query: PreparedQuery) -> bool:
        """Whether a query that was found is a template, filled in."""
        return any(each.template for each in self.all if each.id == query.id)


@frozen(eq=False)
class QueryInstances:
    """The instances that a query means now. The same object is given again while they are the same.

    Those of a query with the same ``key`` take the place of these when something has changed.
    ``awaited`` are services of which something may be known soon, each with its region: then it is not known yet
    whether another region has what this one lacks, and there are no instances.
    """

    instances: tuple[Instance, ...] = ()
    key: Hashable = None
    is_own_region: bool = True
    awaited: tuple[tuple[str, str], ...] | None = None


#: Carries out a query, as far as it can be done at once.
RunQuery = Callable[[PreparedQuery], QueryInstances]
