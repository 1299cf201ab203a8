"""A library is silent: a program that has configured no logging gets no output, and one that has gets all of it."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import gossipreg
from tests.embed.programs import run

PACKAGE = Path(gossipreg.__file__).parent


def test_warnings_and_errors_of_a_node_are_not_printed_unless_the_program_wants_them() -> None:
    program = """
        import logging
        {configure}
        from gossipreg.embed.threads import open_node
        from tests.embed.seeing import config
        with open_node(config("bob")) as node:
            node.warn("the danger, and the remedy")
            logging.getLogger("gossipreg.runtime.supervision").error("a bug")
    """
    assert run(program.format(configure="")) == ""
    handler = "logging.basicConfig(stream=__import__('sys').stdout, format='%(message)s', level=logging.WARNING)"
    assert run(program.format(configure=handler)) == "the danger, and the remedy\na bug\n"


def test_all_loggers_are_below_that_of_the_package() -> None:
    names = set()
    for file in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "logging.getLogger":
                names.add(ast.unparse(node.args[0]) if node.args else f"the root, in {file.relative_to(PACKAGE)}")
    assert {name.strip("'").partition(".")[0] for name in names} == {"__name__", "gossipreg", "the root, in cli/logs"}


def test_only_the_command_prints() -> None:
    printing = set()
    for file in PACKAGE.rglob("*.py"):
        text = file.read_text()
        if re.search(r"(?<![\w.])(print\(|sys\.std|warnings\.warn)", text):
            printing.add(file.relative_to(PACKAGE).parts[0])
    assert printing <= {"cli", "__main__.py"}
