"""Entry point of `gossipreg` and `python -m gossipreg`; where a package is missing, it names the extra to install.

An embedded node needs none of the packages that the commands need, so those are in extras.
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


#: Thresholds of the garbage collector (`gc.set_threshold`): new container objects before the youngest generation is
#: collected, and such collections before the middle one is. The imports of a start make 70,000 container objects that
#: stay: with the interpreter's defaults, 700 and 10, they are scanned again and again, which takes a twelfth of the CPU
#: time of an agent's start. With the collector off, the classes that attrs has replaced by others would stay: 3 MiB.
_COLLECTED_AFTER: Final = (5_000, 100)


def main() -> NoReturn:
    """Run the command that ``sys.argv`` names and exit with its status, or with 1 if a package is missing."""
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
    """The top-level packages that could not be imported. Errors of trio tasks arrive in exception groups."""
    if isinstance(error, ExceptionGroup):
        for inner in error.exceptions:
            yield from _missing(inner)
    elif isinstance(error, ModuleNotFoundError) and error.name:
        yield error.name.partition(".")[0]


if __name__ == "__main__":
    main()
