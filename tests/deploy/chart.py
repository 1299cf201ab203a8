"""Kubernetes' manifest, made from the Helm chart: ``python -m tests.deploy.chart`` writes it."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path
from typing import Final

from tests.peers.suites.go_module import go

ROOT: Final = Path(__file__).parents[2]
CHART: Final = ROOT / "docs" / "deploy" / "helm" / "gossipreg"
MANIFEST: Final = ROOT / "docs" / "deploy" / "kubernetes" / "gossipreg.yaml"

_MODULES: Final = ("helm.sh/helm/v3@v3.16.4",)

_HEADING: Final = """\
# gossipreg on each node of a Kubernetes cluster: the chart in docs/deploy/helm, with its own values, in the namespace
# gossipreg. Written by `python -m tests.deploy.chart`. The image and what to do first: docs/deploy/README.md
"""


def build_renderer(directory: Path) -> Path:
    """Build Helm's renderer in an empty directory; returns the program. Skips the test when Helm cannot be had."""
    (directory / "go.mod").write_text("module chart\n\ngo 1.22\n")
    (directory / "main.go").write_text((Path(__file__).parent / "chart.go").read_text())
    go(directory, "get", *_MODULES)
    go(directory, "mod", "tidy")
    go(directory, "build", "-o", "chart", ".")
    return directory / "chart"


def rendered(renderer: Path, values: str) -> tuple[str, str]:
    """What the chart makes of these values (YAML), and what the renderer says is wrong."""
    done = subprocess.run([renderer, CHART], input=values, capture_output=True, text=True, timeout=60, check=False)
    return done.stdout, done.stderr


def manifest(renderer: Path) -> str:
    """The text of the manifest: the namespace, and the chart with its own values."""
    text, wrong = rendered(renderer, "minAvailable: 1\n")
    assert not wrong, wrong
    return f"{_HEADING}---\napiVersion: v1\nkind: Namespace\nmetadata:\n  name: gossipreg\n{text}"


def main() -> None:
    with tempfile.TemporaryDirectory() as directory:
        MANIFEST.write_text(manifest(build_renderer(Path(directory))))


if __name__ == "__main__":
    main()
