"""What each installation brings: a node in a program needs four packages; a command that lacks one names its extra."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from gossipreg.__main__ import EXTRAS

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

#: Blocks packages as if they were not installed, then goes on as the command does.
WITHOUT = "import sys; [sys.modules.__setitem__(name, None) for name in {packages!r}]\n"

RUN = "sys.argv = ['gossipreg', *{arguments!r}]\nfrom gossipreg.__main__ import main\nmain()"

EMBEDDED = """\
import gossipreg, trio
async def main():
    async with gossipreg.open_node(gossipreg.Config(name="n", bind="127.0.0.1:0")) as node:
        await node.register("orders", port=8080, checks=[{"http": "http://127.0.0.1:9/"}, {"tcp": "127.0.0.1:9"}])
        with trio.fail_after(60):
            while "pip install" not in (reason := node.lookup("orders", healthy=False)[0].reason):
                await trio.sleep(0.02)
        print(reason)
trio.run(main)
"""

SIMULATED = """\
from gossipreg_sim import load, run_scenario
print(run_scenario(load("cold-start"), 1).is_good)
"""


def run(program: str, *without: str) -> subprocess.CompletedProcess[str]:
    script = WITHOUT.format(packages=without) + program
    return subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=120)


@pytest.mark.parametrize(
    ("missing", "arguments", "extra"),
    [
        ("click", ["lookup", "--help"], "agent"),
        ("click", ["sim", "list"], "sim"),
        ("h11", ["agent", "--bind", "127.0.0.1:0", "--http", "127.0.0.1:0", "--dns", "off"], "agent"),
        ("dns", ["agent", "--bind", "127.0.0.1:0", "--http", "off", "--dns", "127.0.0.1:0"], "agent"),
        ("h11", ["proxy", "--listen", "127.0.0.1:0", "--service", "orders"], "agent"),
        ("jinja2", ["render", "-", "--once"], "render"),
    ],
)
def test_a_command_that_lacks_a_package_names_the_extra_in_one_line(
    missing: str, arguments: list[str], extra: str
) -> None:
    ended = run(RUN.format(arguments=arguments), missing)
    assert ended.returncode in (1, 2)
    assert ended.stderr.splitlines()[-1].startswith("gossipreg: ")
    assert f'pip install "gossipreg[{extra}]"' in ended.stderr
    assert "Traceback" not in ended.stderr


def test_an_embedded_node_needs_none_of_the_commands_packages_and_says_what_a_check_lacks() -> None:
    ended = run(EMBEDDED, *EXTRAS)
    assert ended.returncode == 0, ended.stderr
    assert 'pip install "gossipreg[agent]"' in ended.stdout


def test_the_simulator_plays_without_the_agents_packages() -> None:
    ended = run(SIMULATED, *EXTRAS, "trio")
    assert (ended.returncode, ended.stdout.strip()) == (0, "True"), ended.stderr


def test_each_package_comes_with_the_extra_that_is_named_for_it() -> None:
    distributions = {"dns": "dnspython", "prometheus_client": "prometheus-client"}
    for package, extra in EXTRAS.items():
        listed = PROJECT["optional-dependencies"][extra]
        assert any(each.startswith(distributions.get(package, package)) for each in listed), package
    assert not [each for each in PROJECT["dependencies"] if each.startswith(tuple(distributions.values()))]
    assert {each.partition(">")[0] for each in PROJECT["dependencies"]} == {"attrs", "cryptography", "msgpack", "trio"}


def test_the_readme_installs_what_its_command_needs() -> None:
    assert '.venv/bin/pip install -q -e ".[agent]" && .venv/bin/gossipreg demo' in (ROOT / "README.md").read_text()
