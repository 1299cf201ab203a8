"""The programs of docs/frameworks.md, each under the server that it is for, and how they are started."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from signal import SIGINT, SIGQUIT, SIGTERM
from typing import Final

import attrs

from tests.drills.agents import fixed_address
from tests.embed.pages import PATIENCE, programs_of
from tests.embed.programs import ROOT

PROGRAMS: Final = programs_of("frameworks.md")


@attrs.frozen
class Framework:
    """A kind of program, and how it is run. ``PORT`` in its arguments stands for its port."""

    name: str
    arguments: tuple[str, ...]
    needs: tuple[str, ...] = ()  # packages
    listens: bool = True
    instances: int = 1
    environment: Mapping[str, str] = attrs.field(factory=dict)
    ended_by: tuple[int, ...] = (SIGTERM, SIGINT, SIGQUIT)
    statuses: Mapping[int, int] = attrs.field(factory=dict)  # by the signal; without one here it ends by the signal
    other_statuses: frozenset[int] = frozenset({0, 1})  # while it starts, and after a second signal

    @property
    def missing(self) -> list[str]:
        """The packages that it needs and that are not installed."""
        return [each for each in self.needs if importlib.util.find_spec(each) is None]


def _framework(name: str, command: str, *needs: str, **fields: object) -> Framework:
    return Framework(name, tuple(command.split()), needs, **fields)  # type: ignore[arg-type]


_HYPERCORN: Final = "-m hypercorn --workers 0 --bind 127.0.0.1:PORT asgi_app:app"
_GUNICORN: Final = "-m gunicorn --bind 127.0.0.1:PORT --workers 2"
_CELERY: Final = "-m celery --app celery_app worker --concurrency 2 --loglevel WARNING"

#: Statuses by signal, as ``python -m tests.drills.signals --baseline`` prints them.
_BY_ANY: Final = dict.fromkeys((SIGTERM, SIGINT, SIGQUIT), 0)
_BY_TWO: Final = {SIGTERM: 0, SIGINT: 0}
_BY_INT: Final = {SIGINT: 0}
_BY_TERM: Final = {SIGTERM: 0}
_OF_CELERY: Final = {SIGTERM: 0, SIGINT: 1, SIGQUIT: 0}

FRAMEWORKS: Final = {
    each.name: each
    for each in (
        _framework("uvicorn", "-m uvicorn --port PORT asgi_app:app", "uvicorn", statuses=_BY_INT),
        _framework(
            "uvicorn-uvloop",
            "-m uvicorn --loop uvloop --port PORT asgi_app:app",
            "uvicorn",
            "uvloop",
            statuses=_BY_INT,
        ),
        _framework("django-asgi", "-m uvicorn --port PORT django_app:asgi", "uvicorn", "django", statuses=_BY_INT),
        _framework("hypercorn", _HYPERCORN, "hypercorn", statuses=_BY_TWO),
        _framework("hypercorn-trio", f"{_HYPERCORN} --worker-class trio", "hypercorn", statuses=_BY_INT),
        _framework("aiohttp", "aiohttp_app.py", "aiohttp", statuses=_BY_TWO),
        _framework("asyncio", "asyncio_server.py", statuses=_BY_ANY),
        _framework("uvloop", "asyncio_server.py uvloop", "uvloop", statuses=_BY_ANY),
        *(
            _framework(name, f"{_GUNICORN} {options}", "gunicorn", package, instances=2, statuses=_BY_ANY)
            for name, options, package in (
                ("gunicorn-sync", "flask_app:app", "flask"),
                ("gunicorn-gthread", "--threads 4 flask_app:app", "flask"),
                ("django", "--threads 4 django_app:wsgi", "django"),
            )
        ),
        _framework("waitress", "waitress_app.py", "waitress", "flask", statuses=_BY_INT),
        _framework("celery", _CELERY, "celery", listens=False, statuses=_OF_CELERY),
        _framework(
            "celery-processes",
            _CELERY,
            "celery",
            listens=False,
            instances=2,
            environment={"EACH_PROCESS": "yes"},
            statuses=_OF_CELERY,
        ),
        _framework("apscheduler", "scheduler.py", "apscheduler", listens=False, statuses=_BY_TERM),
        *(  # SIGQUIT ends the parent only: the child would go on, with a node or without
            _framework(each, f"processes.py {each}", listens=False, ended_by=(SIGTERM, SIGINT), statuses=_BY_TERM)
            for each in ("fork", "spawn", "forkserver")
        ),
    )
}


@attrs.define(eq=False)
class Started:
    """A program that was started."""

    process: subprocess.Popen[bytes]
    port: int
    log: Path


def write_programs(folder: Path) -> None:
    """Write the programs into files of their names."""
    for name, text in PROGRAMS.items():
        (folder / name).write_text(text)


@contextmanager
def started(framework: Framework, folder: Path, seed: object, **environment: str) -> Iterator[Started]:
    """Start the program, in a session of its own; at the end of the block nothing of it is left over."""
    port = fixed_address().rpartition(":")[2]
    log = folder / f"log-{port}"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, *(each.replace("PORT", port) for each in framework.arguments)],
            cwd=folder,
            env=os.environ
            | {
                "HOME": str(folder),
                "SEEDS": str(seed),
                "PYTHONPATH": f"{folder}{os.pathsep}{ROOT}",
                "PORT": port if framework.listens else "0",
            }
            | dict(framework.environment)
            | environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        yield Started(process, int(port), log)
    except BaseException as error:
        error.add_note(f"{framework.name}:\n{log.read_text(errors='replace')}")
        raise
    finally:
        with suppress(ProcessLookupError):  # all of it has ended
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(PATIENCE)
