"""The inputs that are kept for each target: what fuzzing found, and small inputs that reach much.

One text file a target, one input a line as a Python bytes literal, so that a review can read them. A comment line
before an input says why it is there.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from tests.fuzz.target import Target

DIRECTORY: Final = Path(__file__).parent / "corpus"


def kept(name: str) -> list[bytes]:
    """The kept inputs of the target called ``name``, in the order of its file."""
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
    """All inputs that a run of ``target`` begins with."""
    return list(dict.fromkeys([*target.seeds(), *kept(target.name)]))


def keep(name: str, found: Iterable[bytes], why: str) -> None:
    """Add inputs to the file of the target called ``name``, below a comment."""
    known = set(kept(name))
    new = [each for each in dict.fromkeys(found) if each not in known]
    if new:
        with (DIRECTORY / f"{name}.txt").open("a", encoding="ascii") as file:
            file.write(f"# {why}\n" + "".join(f"{each!r}\n" for each in new))
