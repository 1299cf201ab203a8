"""The container file: it is built as it stands, on a base of Debian's packages, and what it says is run as it says."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import attrs
import pytest
import yaml  # type: ignore[import-untyped]

from gossipreg.cli.settings import SETTINGS
from gossipreg.hosts import DEFAULT_HTTP

ROOT: Final = Path(__file__).parents[2]
DIRECTORY: Final = ROOT / "docs" / "deploy" / "container"
FILE: Final = DIRECTORY / "Containerfile"

#: How long making the base and building on it may take (seconds): packages are fetched.
_PATIENCE: Final = 900

#: What of the machine a build needs to reach the package index, where it is set up there.
_SHARED: Final = tuple(path for path in ("/etc/pip.conf", "/etc/ssl/certs") if Path(path).exists())

needs_builder = pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("buildah") is None or shutil.which("debootstrap") is None,
    reason="needs root, and buildah and debootstrap (Debian packages of these names)",
)


def variables(text: str) -> set[str]:
    return set(re.findall(r"\b(GOSSIPREG_[A-Z_]+)\b", text))


def test_every_variable_is_one_of_an_agent() -> None:
    known = {setting.variable for setting in SETTINGS.values()}
    for file in DIRECTORY.iterdir():
        assert variables(file.read_text()) <= known, file.name
    assert variables(FILE.read_text())


def test_the_health_check_asks_the_address_that_an_agent_has_by_default() -> None:
    assert f"http://{DEFAULT_HTTP}/healthz" in FILE.read_text()


def test_the_three_of_the_compose_file_differ_in_name_and_volume_alone() -> None:
    services: dict[str, Any] = yaml.safe_load((DIRECTORY / "compose.yaml").read_text())["services"]
    first = services["agent-1"]
    for name, service in services.items():
        assert service["environment"] == {**first["environment"], "GOSSIPREG_NAME": name}
        assert service["volumes"] == [f"{name}:/var/lib/gossipreg"]
        assert service["environment"]["GOSSIPREG_JOIN"].split(",") == list(services)


@attrs.frozen
class Image:
    """The built image, and the working container that its commands are run in."""

    builder: tuple[str, ...]
    container: str
    config: dict[str, Any]
    directory: Path

    def run(self, *command: str, settings: dict[str, str]) -> str:
        """The line of a shell that runs a command in the container, as the image's user."""
        environ = [f"--env={name}={value}" for name, value in settings.items()]
        volumes = [f"--volume={self.directory}:/mnt"]
        parts = [*self.builder, "run", "--isolation=chroot", *volumes, *environ, self.container, "--", *command]
        return shlex.join(parts)

    def files(self) -> Path:
        """Where its files are."""
        return Path(built(*self.builder, "mount", self.container))


def built(*command: str, directory: Path = ROOT) -> str:
    done = subprocess.run(command, cwd=directory, capture_output=True, text=True, timeout=_PATIENCE, check=False)
    assert done.returncode == 0, f"{shlex.join(command)}: {done.stdout[-1000:]}{done.stderr[-2000:]}"
    return done.stdout.strip()


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Image]:
    """The image, of a clone of what is committed."""
    directory = tmp_path_factory.mktemp("container")
    builder = ("buildah", f"--root={directory}/store", f"--runroot={directory}/run", "--storage-driver=vfs")
    base = directory / "base"
    made = subprocess.run(
        ["debootstrap", "--variant=minbase", "--include=python3-venv,ca-certificates", "bookworm", str(base)],
        capture_output=True,
        text=True,
        timeout=_PATIENCE,
        check=False,
    )
    if made.returncode != 0:
        pytest.skip(f"no base could be made: {made.stdout[-300:]}{made.stderr[-300:]}")
    bare = built(*builder, "from", "scratch")
    built(*builder, "add", "--quiet", bare, str(base), "/")
    built(*builder, "commit", "--quiet", bare, "localhost/base")
    context = directory / "clone"
    built("git", "clone", "--quiet", "--no-hardlinks", str(ROOT), str(context))
    built(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", "dist", ".", directory=context)
    build = re.search(r"^#     podman build (.*)$", FILE.read_text(), re.MULTILINE)
    assert build is not None
    built(
        *(*builder, "bud", "--isolation=chroot", "--build-arg=BASE=localhost/base"),
        *(f"--volume={path}:{path}:ro" for path in _SHARED),
        *shlex.split(build[1]),
        directory=context,
    )
    container = built(*builder, "from", "localhost/gossipreg")
    config = json.loads(built(*builder, "inspect", "--type=image", "localhost/gossipreg"))["Docker"]["config"]
    yield Image(builder, container, config, directory)
    built(*builder, "rm", "--all")


def in_a_network_of_its_own(script: str) -> subprocess.CompletedProcess[str]:
    """Run lines of a shell where there is a loopback and nothing else."""
    command = ["unshare", "--net", "bash", "-c", f"ip link set lo up\n{script}"]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


@needs_builder
@pytest.mark.slow
def test_the_image_runs_an_agent_as_a_user_without_privileges_that_is_healthy_and_ends_with_0(image: Image) -> None:
    assert image.config["User"] == "7940:7940"
    assert set(image.config["ExposedPorts"]) == {"7940/tcp", "7940/udp", "8500/tcp", "8600/tcp", "8600/udp"}
    kind, *health = image.config["Healthcheck"]["Test"]
    assert kind == "CMD"
    command = (*image.config["Entrypoint"], *image.config["Cmd"])
    settings = {"GOSSIPREG_KEY_FILE": "/mnt/key", "GOSSIPREG_ADVERTISE": "127.0.0.1", "GOSSIPREG_NAME": "one"}
    key = image.directory / "key"
    image.directory.chmod(0o755)
    ready, healthy = (image.run(*part, settings=settings) for part in (command, health))
    ran = in_a_network_of_its_own(f"""
        {image.run("gossipreg", "keygen", settings={})} > {shlex.quote(str(key))}
        chown 7940:7940 {shlex.quote(str(key))}; chmod 600 {shlex.quote(str(key))}
        {healthy} 2> /dev/null && echo 'healthy before it runs'
        mkfifo {image.directory}/out
        {ready} > {image.directory}/out &
        exec 3< {image.directory}/out
        read -r line <&3; echo "$line"
        {healthy} && echo healthy
        here="--ns $$ --nslist net"  # this network's processes: others run agents, too
        newest=$(pgrep $here --newest --full 'gossipreg agent')
        agent=$(pgrep $here --parent "$newest" || echo "$newest")
        echo "user $(stat -c %u /proc/$agent)"
        kill -TERM "$agent"; wait %1; echo "status $?"
    """)
    lines = ran.stdout.splitlines()
    assert lines[0].startswith("gossipreg agent one ready: gossip 127.0.0.1:7940"), ran
    assert lines[1:] == ["healthy", "user 7940", "status 0"], ran


@needs_builder
@pytest.mark.slow
def test_an_agent_that_other_hosts_reach_does_not_start_without_a_key(image: Image) -> None:
    command = (*image.config["Entrypoint"], *image.config["Cmd"])
    ran = in_a_network_of_its_own(image.run(*command, settings={"GOSSIPREG_ADVERTISE": "127.0.0.1"}))
    assert ran.returncode != 0
    assert "key" in ran.stderr
    assert "Traceback" not in ran.stderr


@needs_builder
@pytest.mark.slow
def test_it_holds_no_package_installer(image: Image) -> None:
    commands = {path.name for path in (image.files() / "opt/gossipreg/bin").iterdir()}
    assert "gossipreg" in commands
    assert not [name for name in commands if name.startswith("pip")]
