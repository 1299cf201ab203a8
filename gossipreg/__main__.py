"""The `gossipreg` command, also as `python -m gossipreg`: it says in one line which extra a command lacks.

An embedded node needs none of the packages that the commands need, so they come with extras of the package.
"""

from __future__ import annotations

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


def main() -> NoReturn:
    """Run the process's own command line and exit with its status; 1 where a package is missing."""
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
