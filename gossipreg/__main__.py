"""The `gossipreg` command, also as `python -m gossipreg`: it says in one line which extra a command lacks.

An embedded node needs none of the packages that the commands need, so they come with extras of the package.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator, Mapping
from typing import Final, NoReturn

#: Packages that only commands need -> the extra that brings them.
EXTRAS: Final[Mapping[str, str]] = {
    "click": "agent",
    "dns": "agent",
    "h11": "agent",
    "prometheus_client": "agent",
    "rich": "agent",
    "hypothesis": "sim",
    "jinja2": "render",
}


#: After how many new objects that can be part of a cycle, and how many such collections, garbage is looked for among
#: them and among all that are a little older. What a start imports makes 70,000 that stay: with the interpreter's 700
#: and 10 they are looked at again and again, for a twelfth of the CPU of an agent's start. Without any collection
#: classes that attrs has replaced by others would stay, too: 3 MiB.
_COLLECTED_AFTER: Final = (5_000, 100)


def main() -> NoReturn:
    """Run the process's own command line and exit with its status; 1 where a package is missing."""
    if sys.version_info < (3, 14):
        gc.set_threshold(*_COLLECTED_AFTER)
    try:
        from gossipreg.cli import main as run

        run()
    except (ModuleNotFoundError, ExceptionGroup) as error:
        packages = [package for package in _missing(error) if package in EXTRAS]
        if not packages:
            raise
        extra = "sim" if packages[0] in ("click", "rich") and sys.argv[1:2] == ["sim"] else EXTRAS[packages[0]]
        sys.exit(f'gossipreg: {packages[0]} is not installed: pip install "gossipreg[{extra}]"')


def _missing(error: Exception) -> Iterator[str]:
    """The packages that could not be imported; a task's error comes in groups."""
    if isinstance(error, ExceptionGroup):
        for inner in error.exceptions:
            yield from _missing(inner)
    elif isinstance(error, ModuleNotFoundError) and error.name:
        yield error.name.partition(".")[0]


if __name__ == "__main__":
    main()
