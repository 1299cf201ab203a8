"""Golden scenes: each script has a sentence, commands, and the resulting events."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.scenes.script import Scene

SCENES = sorted(Path(__file__).parent.glob("*.txt"))


@pytest.mark.parametrize("path", SCENES, ids=lambda path: path.stem)
def test_the_scene_runs_as_recorded(path: Path, request: pytest.FixtureRequest) -> None:
    scene = Scene.load(path)
    if request.config.getoption("--record-scenes"):
        scene.record()
    else:
        assert scene.run() == scene.expected


@pytest.mark.parametrize("path", SCENES, ids=lambda path: path.stem)
def test_a_scene_states_what_it_shows(path: Path) -> None:
    first = path.read_text().splitlines()[0]
    assert first.startswith("# ")
    assert first.endswith(".")
