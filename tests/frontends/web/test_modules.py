"""The page's modules that need no browser, run by node's own test runner."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
from contextlib import suppress
from pathlib import Path

import click
import pytest

from gossipreg.frontends.web.page import FOLDER
from tests.cli.test_docs import parse

TESTS = Path(__file__).parent / "modules"

#: Commands that take no argument.
WITHOUT_NAME = {"keys list"}

needs_node = pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed (Debian: nodejs)")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The modules and their tests side by side, as they import each other."""
    for file in (*FOLDER.glob("*.js"), *TESTS.glob("*.js")):
        shutil.copy(file, tmp_path)
    (tmp_path / "package.json").write_text('{"type": "module"}')  # for versions of node that ask for it
    return tmp_path


def node(folder: Path, *arguments: str) -> str:
    command = ["node", *arguments]
    ran = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=120)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


@needs_node
def test_modules_do_what_their_tests_say(folder: Path) -> None:
    node(folder, "--test", *sorted(each.name for each in folder.glob("*.test.js")))


@needs_node
def test_every_command_line_that_an_action_shows_is_one(folder: Path) -> None:
    shown = json.loads(node(folder, "every_action.js", "--print"))
    assert len(shown) > 10
    for line in shown:
        parse(shlex.split(line)[1:])


def test_commands_that_problems_name_are_there() -> None:
    source = (FOLDER / "text.js").read_text()
    made = [" ".join(re.findall(r'"([^"]+)"', each)) for each in re.findall(r"commandLine\((.*?)\)", source)]
    named = re.findall(r"gossipreg ([a-z]+(?: [a-z]+)?(?: --[a-z]+)?)", source) + made
    assert {"forget", "policy remove", "drain --end"} <= set(named)
    for line in named:
        with suppress(click.MissingParameter):  # a sentence need not name every option
            parse([*line.split(), *([] if "--" in line or line in WITHOUT_NAME else ["NAME"])])
