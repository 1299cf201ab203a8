"""Plain command lines give a command what click gives it, and every other line is left to click."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import click
import pytest

from gossipreg.cli import cli
from gossipreg.cli.declare import DeclaredCommand
from gossipreg.cli.help_page import made
from gossipreg.cli.plain_line import NotPlain, values_of
from gossipreg.cli.sections import SECTIONS

COMMANDS: Final = {
    each.name: command
    for section in SECTIONS.values()
    for each in section
    if isinstance(command := each.load(), DeclaredCommand)
}

#: Words that may follow an option or stand alone; some are refused by one type or another.
WORDS: Final = (
    "orders",
    "0",
    "80",
    "65535",
    "65536",
    "0.5",
    "1.5",
    ".5",
    "1e-1",
    "",
    "a b",
    "-1",
    "-",
    "next",
    "1_0",
    "k=v",
)
#: Words for some options.
WORDS_OF: Final = {
    "--http": ("127.0.0.1:1", "https://h:2", "unix:/s", "h:0"),
    "--host": ("10.0.0.9", "1.2", "db"),
    "--port": ("80", "0", "65535", "65536", "1_0"),
    "--weight": ("2", "0", "x"),
    "--term": ("next", "3", "x"),
    "--panic": ("0.5", ".5", "1", "1.5", "1e-1", "0x1"),
}


def by_click(command: DeclaredCommand, words: Sequence[str]) -> dict[str, Any]:
    """What click calls the command with. Raises whatever it raises."""
    return made(command).make_context(command.name, list(words)).params


def lines(rng: random.Random, command: DeclaredCommand) -> Iterator[list[str]]:
    """Lines of options and arguments of the command, many of them wrong."""
    seldom = max(6, 2 * len(command.parameters))  # a line with all options of an agent would be wrong somewhere
    for _ in range(300):
        line: list[str] = []
        for parameter in command.parameters:
            wanted = parameter.told.get("required") or not parameter.is_option
            for _ in range(rng.choice([1] * 20 + [0, 2]) if wanted else rng.choice([0] * seldom + [1] * 3 + [2])):
                name = (
                    rng.choice([each for each in parameter.names if each.startswith("--")])
                    if parameter.is_option
                    else ""
                )
                value = rng.choice(WORDS_OF.get(name, WORDS))
                if not parameter.is_option:
                    line.append(value)
                elif parameter.told.get("is_flag"):
                    line.append(name)
                else:
                    line += rng.choice([[name, value], [f"{name}={value}"]])
        if rng.random() < 0.1:
            line.insert(rng.randrange(len(line) + 1), rng.choice(["--nothing", "--help", "-h", "--", "stray"]))
        yield line


def takes_several(command: DeclaredCommand) -> bool:
    """Whether an argument takes any number of words: such a line is click's."""
    return any("nargs" in each.told for each in command.parameters)


@pytest.mark.parametrize("name", sorted(name for name, each in COMMANDS.items() if not takes_several(each)))
def test_a_plain_line_means_what_click_makes_of_it(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GOSSIPREG_AGENT", raising=False)
    monkeypatch.setenv("GOSSIPREG_HTTP", "10.0.0.1:8500")
    command = COMMANDS[name]
    plain = 0
    for line in lines(random.Random(name), command):
        try:
            values = values_of(command, line)
        except NotPlain:
            continue
        plain += 1
        assert values == by_click(command, line), line
    assert plain > 10


def test_the_commands_that_ask_an_agent_most_are_declared_for_it() -> None:
    assert {"agent", "lookup", "services", "members", "register", "deregister", "info"} <= COMMANDS.keys()


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_click_knows_each_parameter_by_the_same_name(name: str) -> None:
    parameters = cli.commands[name].params
    assert [each.name for each in COMMANDS[name].parameters] == [each.name for each in parameters]


@pytest.mark.parametrize(
    "line",
    [
        ["orders", "--help"],
        ["orders", "--port", "99999"],
        ["orders", "--port", "80", "--port", "81"],
        ["orders", "--port", "80", "--host", "1.2"],
        ["orders", "--port", "80", "--tag", "-x"],
        ["orders", "--port", "80", "--json=yes"],
        ["orders", "--port"],
        ["orders", "--por", "80"],
        ["--port", "80"],
        ["orders", "--port", "80", "--", "x"],
    ],
)
def test_what_is_not_plain_is_left_to_click(line: list[str]) -> None:
    with pytest.raises(NotPlain):
        values_of(COMMANDS["register"], line)


def test_files_are_paths() -> None:
    values = values_of(COMMANDS["register"], ["orders", "--port", "80", "--checks", "c.toml", "--tag", "a", "--tag=b"])
    assert values["file"] == Path("c.toml")
    assert values["tags"] == ("a", "b")
    assert isinstance(cli.commands["register"], click.Command)
