"""Which tests of a suite are about what an agent does here: read from a file that names every test."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final, Self

import attrs

FOLDER: Final = Path(__file__).parent


@attrs.frozen
class Classification:
    """The tests of one package. Each is relevant, or not applicable for a reason.

    Relevant ones that are known to fail have a reason, too. Some need an agent that offers the service ``consul``, as
    Consul's servers do.
    """

    relevant: Mapping[str, str]  # test -> what it is about
    not_applicable: Mapping[str, str]  # test -> reason
    failures: Mapping[str, str]  # test -> reason
    needing_a_service: frozenset[str]

    @classmethod
    def of(cls, table: Mapping[str, Any]) -> Self:
        """Read one package's table."""
        return cls(
            relevant=_by_test(table["relevant"], "about"),
            not_applicable=_by_test(table["not_applicable"], "reason"),
            failures=_by_test(table.get("failures", ()), "reason"),
            needing_a_service=frozenset(table.get("needing_a_service", ())),
        )

    def faults(self, tests: Iterable[str]) -> list[str]:
        """What is wrong with it, if the package has these ``tests``."""
        there, named = set(tests), {*self.relevant, *self.not_applicable}
        return [
            *(f"{test} is not classified" for test in sorted(there - named)),
            *(f"{test} does not exist" for test in sorted(named - there)),
            *self.contradictions(),
        ]

    def contradictions(self) -> list[str]:
        """What it says of a test in two places that do not fit."""
        both = sorted(self.relevant.keys() & self.not_applicable.keys())
        strangers = sorted((self.failures.keys() | self.needing_a_service) - self.relevant.keys())
        return [
            *(f"{test} is relevant and not applicable" for test in both),
            *(f"{test} is not among the relevant" for test in strangers),
        ]


def _by_test(groups: Iterable[Mapping[str, Any]], key: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for group in groups:
        for test in group["tests"]:
            assert test not in found, f"{test} is there twice"
            found[test] = group[key]
    return found


def read_classification(file: Path) -> dict[str, Classification]:
    """The classification of every package in a file, by the package's name."""
    return {name: Classification.of(table) for name, table in tomllib.loads(file.read_text()).items()}
