"""What is loaded by whom: a heavy module is paid for by those who need it, and when they do."""

from __future__ import annotations

import base64
import re
import secrets
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import pytest

import gossipreg
from gossipreg.config import KEY_BYTES

#: Each takes 5 ms or more to import.
HEAVY = frozenset(
    {
        "asyncio",
        "click",
        "cryptography",
        "dns",
        "h11",
        "h2",
        "http.client",
        "httpx",
        "hypothesis",
        "prometheus_client",
        "rich",
        "sqlite3",
        "trio",
    }
)

PACKAGE = Path(gossipreg.__file__).parent

IMPORTING = "import gossipreg, sys; print(*sys.modules)"
OPEN = """\
import gossipreg, sys, trio
async def main():
    async with gossipreg.open_node(gossipreg.Config(bind="127.0.0.1:0", key_file=sys.argv[1] or None)) as node:
        await node.register("orders", port=8080)
        assert node.lookup("orders")
        print(*sys.modules)
trio.run(main)
"""


@cache
def told_by(program: str, *arguments: str) -> frozenset[str]:
    """The modules that a program prints in the end: those that are loaded."""
    ran = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=True)
    return frozenset(ran.stdout.split())


def loaded_by(program: str, *arguments: str) -> frozenset[str]:
    """The heavy modules that are loaded when the program has said which are."""
    return HEAVY & told_by(program, *arguments)


@contextmanager
def agent(*flags: str) -> Iterator[subprocess.Popen[str]]:
    """An agent that is ready, and tells on standard error what it imports."""
    command = [sys.executable, "-X", "importtime", "-m", "gossipreg", "agent", "--name", "lean", *flags]
    command += ["--bind", "127.0.0.1:0", "--log-format", "json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline().startswith('{"ready"')
            yield process
        finally:
            process.kill()


def loaded_by_agent(flags: Sequence[str]) -> set[str]:
    """The heavy modules that an agent has loaded when it is ready."""
    with agent(*flags) as process:
        process.terminate()
        _, told = process.communicate(timeout=30)
    imported = {line.rpartition("|")[2].strip() for line in told.splitlines() if line.startswith("import time:")}
    return set(HEAVY & imported)


@pytest.fixture
def key_file(tmp_path: Path) -> str:
    file = tmp_path / "key"
    file.touch(mode=0o600)
    file.write_text(base64.b64encode(secrets.token_bytes(KEY_BYTES)).decode())
    return str(file)


def test_importing_the_package_loads_nothing_heavy() -> None:
    assert loaded_by(IMPORTING) == set()


def test_importing_the_package_does_not_load_what_reads_registrations() -> None:
    assert {"gossipreg.spec", "json"}.isdisjoint(told_by(IMPORTING))


def test_an_embedded_node_that_offers_and_looks_up_needs_trio_alone() -> None:
    assert loaded_by(OPEN, "") == {"trio"}


def test_a_node_without_a_data_directory_loads_no_module_for_mistakes_and_disks_alone() -> None:
    told = told_by(OPEN, "")
    assert {"json", "shlex", "statistics", "decimal", "fractions"}.isdisjoint(told)


def test_a_sealed_node_needs_cryptography_too(key_file: str) -> None:
    assert loaded_by(OPEN, key_file) == {"trio", "cryptography"}


def test_a_node_that_keeps_nothing_does_not_load_what_writes_to_disk() -> None:
    told = told_by(OPEN, "")
    assert "gossipreg.runtime.driver" in told
    assert "gossipreg.runtime.state_store" not in told


@pytest.mark.parametrize(
    ("flags", "needed"),
    [
        pytest.param(["--http", "off", "--dns", "off"], set(), id="without frontends"),
        pytest.param(["--http", "127.0.0.1:0", "--dns", "off"], {"h11"}, id="with HTTP"),
        pytest.param(["--http", "off", "--dns", "127.0.0.1:0"], {"dns"}, id="with DNS"),
    ],
)
def test_an_agent_loads_its_frontends_and_nothing_else_that_is_heavy(flags: list[str], needed: set[str]) -> None:
    assert loaded_by_agent(flags) == {"trio", "click"} | needed


def test_a_sealed_agent_loads_cryptography_too(key_file: str) -> None:
    assert loaded_by_agent(["--http", "off", "--dns", "off", "--key-file", key_file]) == {
        "trio",
        "click",
        "cryptography",
    }


def test_nothing_is_generated_for_a_machine_that_is_not_asked_for() -> None:
    """Two of them are never equal, and none is printed: to compile that costs each start 0.4 ms a class."""
    found = [
        (str(file.relative_to(PACKAGE)), decorator)
        for file in sorted(PACKAGE.rglob("*.py"))
        for decorator in re.findall(r"^ *@(attrs\.define\b.*)", file.read_text(), re.MULTILINE)
    ]
    assert len(found) > 100
    assert [each for each in found if each[1] != "attrs.define(eq=False, repr=False)"] == []
