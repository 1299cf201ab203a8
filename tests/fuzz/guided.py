"""Guided driver: libFuzzer through atheris, in its own process, because libFuzzer exits its process.

`run` starts that process and reads its output. ``python -m tests.fuzz.guided TARGET FLAGS…`` is the process: atheris
instruments the code of gossipreg at import, and libFuzzer runs the target.
"""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

import attrs

from tests.fuzz.corpus import inputs
from tests.fuzz.target import Target

_RUNS: Final = re.compile(r"stat::number_of_executed_units:\s*(\d+)")
_FEATURES: Final = re.compile(r"cov: (\d+) ft: (\d+)")

#: Memory limit beyond which libFuzzer reports a failure (MiB).
_MEMORY_MB: Final = 2048


def is_here() -> bool:
    """Whether atheris is installed: only some platforms and Python versions have wheels."""
    return importlib.util.find_spec("atheris") is not None


@attrs.frozen
class GuidedResult:
    """The result of a guided run: ``failures`` are inputs that broke the property; ``said`` is the last output."""

    inputs: int
    seconds: float
    edges: int
    features: int
    failures: tuple[bytes, ...]
    said: str
    corpus: tuple[bytes, ...]  # inputs that reached new code, including the initial ones

    @property
    def is_good(self) -> bool:
        """Whether libFuzzer finished without a failure."""
        return not self.failures and self.inputs > 0


def run(target: Target, *, seed: int, inputs_max: int = -1, seconds: float = 0) -> GuidedResult:
    """Fuzz ``target`` until it had ``inputs_max`` inputs (-1: any number) or for ``seconds`` (0: any time)."""
    with tempfile.TemporaryDirectory() as directory:
        here = Path(directory)
        (here / "corpus").mkdir()
        (here / "found").mkdir()
        for number, data in enumerate(inputs(target)):
            (here / "corpus" / f"start-{number:04}").write_bytes(data)
        words = "".join(f'"{_escaped(word)}"\n' for word in target.words)
        (here / "words").write_text(words)
        flags = [
            str(here / "corpus"),
            f"-artifact_prefix={here / 'found'}/",
            f"-seed={seed or 1}",  # libFuzzer takes 0 to mean "choose one"
            f"-runs={inputs_max}",
            f"-max_total_time={seconds:.0f}",
            f"-max_len={target.bytes_max}",
            *([f"-dict={here / 'words'}"] if words else []),  # an empty file is an error to libFuzzer
            f"-rss_limit_mb={_MEMORY_MB}",
            "-print_final_stats=1",
        ]
        began = time.monotonic()
        done = subprocess.run(
            [sys.executable, "-m", "tests.fuzz.guided", target.name, *flags],
            capture_output=True,
            env={**os.environ, "PYTHONHASHSEED": "0"},
            cwd=Path(__file__).parents[2],
            check=False,
        )
        took = time.monotonic() - began
        said = (done.stdout + done.stderr).decode(errors="replace")
        runs, reached = _RUNS.search(said), _FEATURES.findall(said)
        return GuidedResult(
            int(runs[1]) if runs else 0,
            took,
            int(reached[-1][0]) if reached else 0,
            int(reached[-1][1]) if reached else 0,
            tuple(each.read_bytes() for each in sorted((here / "found").iterdir())),
            _end(said),
            tuple(each.read_bytes() for each in sorted((here / "corpus").iterdir())),
        )


def _end(said: str) -> str:
    """Return the traceback of a failure, or the end of the output."""
    at = said.find("=== Uncaught Python exception")
    return said[-2000:] if at < 0 else said[at : at + 4000]


def _escaped(word: bytes) -> str:
    return "".join(chr(each) if 32 <= each < 127 and each not in b'"\\' else f"\\x{each:02x}" for each in word)


def main() -> None:
    """Run libFuzzer in this process; it does not return."""
    import atheris

    name, *flags = sys.argv[1:]
    with atheris.instrument_imports(include=["gossipreg"]):
        from tests.fuzz.targets import load

        target = load(name)

    def one(data: bytes) -> None:
        target.run(data)

    atheris.Setup([sys.argv[0], *flags], one)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
