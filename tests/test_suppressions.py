"""Every finding of a linter or type checker that the code suppresses has its reason beside it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FILES = sorted([*(ROOT / "gossipreg").rglob("*.py"), *(ROOT / "sim").rglob("*.py")])
MARK = re.compile(r"#\s*(?:ruff:\s*)?(?:noqa|type:\s*ignore)\b(.*)")
REASONED = re.compile(r"(?::\s*[A-Z0-9, ]+|\[[a-z, -]+\])\s+(?:--?|#)\s+\S+ \S.*")


def bare(text: str) -> list[str]:
    """The suppressions in a module's source that name no code, or no reason of at least two words."""
    return [found[0] for found in MARK.finditer(text) if not REASONED.fullmatch(found[1])]


def test_every_suppression_names_its_code_and_its_reason() -> None:
    found = {str(file.relative_to(ROOT)): bare(file.read_text()) for file in FILES}
    assert {file: marks for file, marks in found.items() if marks} == {}, 'write "# noqa: CODE -- why it is right here"'


@pytest.mark.parametrize(
    ("line", "is_bare"),
    [
        ("x = y  # noqa: SLF001 -- it is ours", False),
        ("x = y  # type: ignore[misc]  # gRPC has no types", False),
        ("# ruff: noqa: D102 -- the base class says it", False),
        ("x = y  # noqa", True),
        ("x = y  # noqa: SLF001", True),
        ("x = y  # type: ignore[misc]", True),
        ("x = y  # type: ignore  # gRPC has no types", True),
        ("x = y  # noqa: ARG002 -- this", True),
    ],
)
def test_a_code_alone_is_no_reason(line: str, *, is_bare: bool) -> None:
    assert bool(bare(line)) is is_bare
