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
from gossipreg.key_format import KEY_BYTES

#: Each takes 5 ms or more to import.
HEAVY = frozenset(
    {
        "asyncio",
        "click",
        "cryptography",
        "dns.name",
        "email",
        "h11",
        "h2",
        "http.client",
        "httpx",
        "hypothesis",
        "prometheus_client",
        "rich",
        "sqlite3",
        "statistics",
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
        _, told = process.communicate(timeout=120)
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


def of_cryptography() -> frozenset[str]:
    """What cryptography itself loads that is heavy: its older versions load email."""
    return loaded_by("import sys, cryptography.hazmat.primitives.ciphers.aead as _; print(*sys.modules)") & HEAVY


def test_a_sealed_node_needs_cryptography_too(key_file: str) -> None:
    assert loaded_by(OPEN, key_file) == {"trio", "cryptography"} | of_cryptography()


def test_a_node_that_keeps_nothing_does_not_load_what_writes_to_disk() -> None:
    told = told_by(OPEN, "")
    assert "gossipreg.runtime.driver" in told
    assert "gossipreg.runtime.state_store" not in told


@pytest.mark.parametrize(
    ("flags", "needed"),
    [
        pytest.param(["--http", "off", "--dns", "off"], set(), id="without frontends"),
        pytest.param(["--http", "127.0.0.1:0", "--dns", "127.0.0.1:0"], {"h11"}, id="with HTTP and DNS"),
    ],
)
def test_an_agent_loads_its_frontends_and_nothing_else_that_is_heavy(flags: list[str], needed: set[str]) -> None:
    assert loaded_by_agent(flags) == {"trio"} | needed


def test_a_sealed_agent_loads_cryptography_too(key_file: str) -> None:
    assert (
        loaded_by_agent(["--http", "off", "--dns", "off", "--key-file", key_file])
        == {"trio", "cryptography"} | of_cryptography()
    )


#: Prints how many modules of ours a program has loaded, and how many classes attrs made in them: each takes some
#: 0.1 ms of a start for its file, and 0.15 for its methods.
COUNTED = """
import sys
ours = {name: each for name, each in sys.modules.items() if name.partition(".")[0] == "gossipreg"}
found = (each for module in ours.values() for each in vars(module).values() if isinstance(each, type))
made = {each for each in found if "__attrs_attrs__" in vars(each) and each.__module__ in ours}
print(len(ours), len(made))
"""

NODE = f"""\
import gossipreg, trio
async def main():
    async with gossipreg.open_node(gossipreg.Config(bind="127.0.0.1:0")) as node:
        await node.register("orders", port=8080)
        node.lookup("orders")
        exec({COUNTED!r}, {{}})
trio.run(main)
"""

ATTACHED = f"""\
import sys
from gossipreg import Config
from gossipreg.embed.threads import open_node
with open_node(Config(attach=sys.argv[1])) as node:
    node.lookup("orders")
    exec({COUNTED!r}, {{}})
    print(*(name for name in ("trio", "asyncio", "ssl", "h11", "sqlite3") if name in sys.modules))
"""

LOOKUP = f"""\
import sys
from gossipreg.cli import main
sys.argv = ["gossipreg", "lookup", "orders", "--http", "127.0.0.1:1"]
try:
    main()
except SystemExit:
    exec({COUNTED!r}, {{}})
"""


def counts_of(program: str, *arguments: str) -> list[str]:
    """What the program prints: its counts, and what else it says."""
    ran = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=True)
    return ran.stdout.splitlines()


@pytest.mark.parametrize(
    ("program", "modules_most", "classes_most"),
    [pytest.param(NODE, 200, 300, id="a node"), pytest.param(LOOKUP, 25, 0, id="gossipreg lookup")],
)
def test_a_start_loads_no_more_modules_and_makes_no_more_classes(
    program: str, modules_most: int, classes_most: int
) -> None:
    """A bound is some twentieth more than there are. What exceeds one is to be loaded later, or the bound is raised."""
    [line] = counts_of(program)
    modules, classes = map(int, line.split())
    assert 0 < modules <= modules_most
    assert classes <= classes_most


def test_an_attached_process_loads_no_node_and_neither_trio_nor_tls(tmp_path: Path) -> None:
    place = f"unix:{tmp_path}/attach.sock"
    with agent("--http", "off", "--dns", "off", "--attach", place):
        counts, others = counts_of(ATTACHED, place)
    modules, classes = map(int, counts.split())
    assert 0 < modules <= 52
    assert 0 < classes <= 58
    assert others == ""


def test_nothing_is_generated_for_a_machine_that_is_not_asked_for() -> None:
    """Two of them are never equal, and none is printed: to compile that costs each start 0.4 ms a class."""
    found = [
        (str(file.relative_to(PACKAGE)), decorator)
        for file in sorted(PACKAGE.rglob("*.py"))
        for decorator in re.findall(r"^ *@(attrs\.define\b.*)", file.read_text(), re.MULTILINE)
    ]
    assert len(found) > 100
    assert [each for each in found if each[1] != "attrs.define(eq=False, repr=False)"] == []
