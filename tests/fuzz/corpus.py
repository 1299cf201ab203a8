"""Corpus of each target: inputs that once failed, and small inputs that reach much code.

Each target has a text file with one input per line as a Python bytes literal, so that it can be reviewed. A comment
line before an input gives the reason.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from tests.fuzz.target import Target

DIRECTORY: Final = Path(__file__).parent / "corpus"


def corpus_of(name: str) -> list[bytes]:
    """Return the corpus of the target called ``name``, in the order of its file."""
    file = DIRECTORY / f"{name}.txt"
    if not file.exists():
        return []
    lines = file.read_text(encoding="ascii").splitlines()
    return [_input(line) for line in lines if line and not line.startswith("#")]


def _input(line: str) -> bytes:
    value = ast.literal_eval(line)
    assert isinstance(value, bytes), f"not a bytes literal: {line:.60}"
    return value


def inputs(target: Target) -> list[bytes]:
    """Return the initial inputs of a run of ``target``."""
    return list(dict.fromkeys([*target.seeds(), *corpus_of(target.name)]))


def add_to_corpus(name: str, found: Iterable[bytes], why: str) -> None:
    """Add inputs to the corpus of the target called ``name``, below a comment."""
    known = set(corpus_of(name))
    new = [each for each in dict.fromkeys(found) if each not in known]
    if new:
        with (DIRECTORY / f"{name}.txt").open("a", encoding="ascii") as file:
            file.write(f"# {why}\n" + "".join(f"{each!r}\n" for each in new))
