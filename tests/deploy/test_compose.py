"""The compose file, loaded by the library that Docker Compose loads it with, against its schema."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any, Final

import pytest

from tests.peers.suites.go_module import go, needs_go

FILE: Final = Path(__file__).parents[2] / "docs" / "deploy" / "container" / "compose.yaml"

_MODULE: Final = "github.com/compose-spec/compose-go/v2@v2.4.7"

pytestmark = [pytest.mark.slow, needs_go]


@pytest.fixture(scope="module")
def loader(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program that loads a compose file. Skips the tests where the library cannot be had."""
    directory = tmp_path_factory.mktemp("compose")
    (directory / "go.mod").write_text("module compose\n\ngo 1.22\n")
    (directory / "main.go").write_text(Path(__file__).with_name("compose.go").read_text())
    go(directory, "get", _MODULE)
    go(directory, "mod", "tidy")
    go(directory, "build", "-o", "compose", ".")
    return directory / "compose"


def loaded(loader: Path, file: Path) -> tuple[Any, str]:
    """The project of a compose file, and what is wrong with it."""
    done = subprocess.run([loader, file], capture_output=True, text=True, timeout=60, check=False)
    return (json.loads(done.stdout) if done.returncode == 0 else None), done.stderr


def test_the_file_is_one_and_its_api_is_on_loopback_only(loader: Path) -> None:
    project, wrong = loaded(loader, FILE)
    assert not wrong
    assert list(project["services"]) == ["agent-1", "agent-2", "agent-3"]
    ports = [port for service in project["services"].values() for port in service.get("ports", ())]
    assert [(each["host_ip"], each["published"], each["target"]) for each in ports] == [("127.0.0.1", "8500", 8500)]
    build = project["services"]["agent-1"]["build"]
    containerfile = Path(build["context"]) / build["dockerfile"]
    assert containerfile.resolve() == FILE.parent / "Containerfile"


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("read_only: true", "readonly: true"),
        ("depends_on: [agent-1]", "depends_on: [agent-9]"),
        ("init: true", "init: 3"),
    ],
)
def test_what_compose_does_not_know_is_refused(loader: Path, tmp_path: Path, right: str, wrong: str) -> None:
    text = FILE.read_text()
    assert right in text
    (tmp_path / "compose.yaml").write_text(text.replace(right, wrong))
    project, said = loaded(loader, tmp_path / "compose.yaml")
    assert project is None
    assert said
